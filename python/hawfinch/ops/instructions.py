"""Instructions of elementwise programs, as csrc/runtime/program.h lays them out; the steps of programs that ops write
themselves."""

from __future__ import annotations

from .. import _core
from ..ir import Step, Tensor, numel

MAX_IN, MAX_OUT, MAX_CODE, MAX_TEMP, OUT0, TEMP0 = (  # OUT0, TEMP0: the first register of an output, a temporary value
    _core.CONSTANTS[name]
    for name in ("HF_MAX_IN", "HF_MAX_OUT", "HF_MAX_CODE", "HF_MAX_TEMP", "HF_REG_OUT", "HF_REG_TEMP")
)
OPCODE = {name: i for i, name in enumerate(_core.INSTRUCTIONS)}


def instruction(name: str, dst: int, a: int = 0, b: int = 0, c: int = 0, stream: int = 0) -> int:
    """dst = name(a, b, c), registers by number."""
    return OPCODE[name] | dst << 8 | a << 16 | b << 24 | c << 32 | stream << 40


def fill_step(y: Tensor, value: float) -> Step:
    """y = value everywhere."""
    rows = y.shape[0] if y.shape else 1
    fields = {
        "out": [y],
        "in": [],
        "rows": rows,
        "dim": [1, 1, numel(y.shape[1:])],
        "in_row": [],
        "in_stride": [],
        "n_out": 1,
        "n_in": 0,
        "n_code": 1,
        "row_sum": [],
        "code": [instruction("constant", OUT0, OUT0)],
        "imm": [value],
    }
    return Step("ewise", fields, (y,), (), units=rows, local=(y,), code=("constant",))
