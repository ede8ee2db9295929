"""Elementwise programs: a group of elementwise nodes as the code of one ``ewise`` record (csrc/defs/ewise.def,
runtime/program.h)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._core import CONSTANTS
from ..errors import ShapeError
from ..ir import SCALAR, Node, Shape, Size, Step, Tensor, numel, times
from ..ops.elementwise import COPY
from ..ops.instructions import MAX_CODE, MAX_TEMP, OPCODE, OUT0, TEMP0, instruction


def operands(nodes: Sequence[Node]) -> list[Tensor]:
    """Tensors that the group reads from memory, in order of first use."""
    inside = {t for n in nodes for t in n.outputs}
    return list(dict.fromkeys([t for n in nodes for t in n.inputs if t not in inside and t.node.op is not SCALAR]))


class Program:
    """Code for ``nodes`` (in topological order) that leaves ``outputs`` in memory."""

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Tensor]):
        self.inputs = operands(nodes)
        self.outputs = list(outputs)
        self.code: list[int] = []
        self.imm: list[float] = []
        self.names: list[str] = []
        self.last_read: dict[int, int] = {}  # input register -> position of its last use
        self.written: dict[int, int] = {}  # output number -> position where it is written
        self._free = list(range(TEMP0 + MAX_TEMP - 1, TEMP0 - 1, -1))
        self.reg = {t: i for i, t in enumerate(self.inputs)}
        last_use = {t: i for i, n in enumerate(nodes) for t in n.inputs}
        out_reg = {t: OUT0 + j for j, t in enumerate(self.outputs)}
        for i, node in enumerate(nodes):
            y = node.outputs[0]
            if node.op is COPY and y not in out_reg and self.reg.get(node.inputs[0], TEMP0) < len(self.inputs):
                self.reg[y] = self.reg[node.inputs[0]]  # operands are broadcast as they are read
                continue
            temps = self._emit_operands(node)
            for t in dict.fromkeys(node.inputs):
                r = self.reg.get(t, -1)
                if r >= TEMP0 and last_use[t] == i:
                    self._free.append(r)
            dst = out_reg[y] if y in out_reg else self._free.pop()
            self._instruction(node, temps, dst)
            self.reg[y] = dst
            if y in out_reg:
                self.written[dst - OUT0] = len(self.code) - 1

    def _emit_operands(self, node: Node) -> list[int | float]:
        """Registers of a node's inputs; numbers stay numbers where an immediate form exists."""
        if not any([t.node.op is SCALAR for t in node.inputs]):
            return [self.reg[t] for t in node.inputs]
        values = [t.node.attrs["value"] if t.node.op is SCALAR else None for t in node.inputs]
        regs: list[int | float] = [
            self.reg[t] if v is None else float(v) for t, v in zip(node.inputs, values, strict=True)
        ]
        name = node.op.name
        numbers = [i for i, v in enumerate(values) if v is not None]
        if numbers and name + "_b" in OPCODE:  # of three: c or b may be the immediate
            numbers = [i for i in numbers if i != (2 if 2 in numbers else 1)]
        elif len(numbers) == 1 and (
            (name + "_imm" in OPCODE and numbers == [1]) or (node.op.swapped is not None and numbers == [0])
        ):
            return regs
        for i in numbers:  # no immediate form: a register full of the number
            dst = self._free.pop()
            self._add("constant", dst, dst, imm=float(regs[i]))
            regs[i] = dst
            self._free.insert(0, dst)  # dead after this node; last in line for reuse
        return regs

    def _instruction(self, node: Node, regs: list[int | float], dst: int) -> None:
        name, imm = node.op.name, float(node.attrs.get("imm", 0.0))
        if len(regs) == 2 and isinstance(regs[1], float):
            name, imm, regs = name + "_imm", regs[1], regs[:1]
        elif len(regs) == 2 and isinstance(regs[0], float):
            name, imm, regs = node.op.swapped or name, regs[0], regs[1:]
        elif len(regs) == 3 and isinstance(regs[2], float):
            name, imm, regs = name + "_c", regs[2], regs[:2]
        elif len(regs) == 3 and isinstance(regs[1], float):
            name, imm, regs = name + "_b", regs[1], [regs[0], 0, regs[2]]
        self._add(name, dst, *map(int, regs), imm=imm, stream=node.attrs.get("stream", 0))

    def _add(self, name: str, dst: int, *regs: int, imm: float = 0.0, stream: int = 0) -> None:
        for r in regs:
            if r < len(self.inputs):
                self.last_read[r] = len(self.code)
        a, b, c = (*(regs or (dst,)), 0, 0)[:3]  # no operand: what it would read is its own
        self.code.append(instruction(name, dst, a, b, c, stream))
        self.imm.append(imm)
        self.names.append(name)

    def fits(self) -> bool:
        return len(self.code) <= MAX_CODE


def _collapse(domain: Shape, strides: list[list[Size]]) -> tuple[list[Size], list[list[Size]]]:
    """Inner dimensions (all but the first) with neighbours joined where every operand allows it."""
    dims: list[Size] = []
    kept: list[list[Size]] = [[] for _ in strides]
    for axis in range(1, len(domain)):
        if domain[axis] == 1:
            continue
        if dims and all(_same(k[-1], s[axis], domain[axis]) for k, s in zip(kept, strides, strict=True)):
            dims[-1] = times(dims[-1], domain[axis])
            for k, s in zip(kept, strides, strict=True):
                k[-1] = s[axis]
        else:
            dims.append(domain[axis])
            for k, s in zip(kept, strides, strict=True):
                k.append(s[axis])
    return dims, kept


def _same(outer: Size, inner: Size, size: Size) -> bool:
    return outer == times(inner, size)


def broadcast_strides(shape: Shape, domain: Shape) -> list[Size]:
    """Element strides of a contiguous array of ``shape`` seen in ``domain``: 0 where it is repeated."""
    strides: list[Size] = []
    n: Size = 1
    for s in reversed(shape):
        strides.append(0 if s == 1 else n)
        n = times(n, s)
    return [0] * (len(domain) - len(shape)) + strides[::-1]


def is_one_run(program: Program, domain: Shape) -> bool:
    """Whether a row of the domain is one run of elements in every operand."""
    return len(_collapse(domain, [broadcast_strides(t.shape, domain) for t in program.inputs])[0]) <= 1


def ewise_fields(
    program: Program, domain: Shape, outputs: Sequence[Tensor | None], row_sum: Sequence[int] = ()
) -> dict[str, Any]:
    """The fields of struct hf_ewise_args."""
    strides = [broadcast_strides(t.shape, domain) for t in program.inputs]
    dims, inner = _collapse(domain, strides)
    if len(dims) > 3:
        raise ShapeError(f"an elementwise op over {domain} broadcasts in too many dimensions; reshape to fewer axes")
    pad = 3 - len(dims)
    return {
        "out": list(outputs),
        "in": list(program.inputs),
        "rows": domain[0] if domain else 1,
        "dim": [*[1] * pad, *dims],
        "in_row": [s[0] if domain else 0 for s in strides],
        "in_stride": [v for k in inner for v in (*[0] * pad, *k)],
        "n_out": len(program.outputs),
        "n_in": len(program.inputs),
        "n_code": len(program.code),
        "row_sum": list(row_sum),
        "code": program.code,
        "imm": program.imm,
    }


ROW_SUMS = {"sum": CONSTANTS["HF_ROW_SUM"], "mean": CONSTANTS["HF_ROW_MEAN"]}


def ewise_step(program: Program, domain: Shape, scope: str = "", summed: Mapping[Tensor, Node] | None = None) -> Step:
    """One ``ewise`` record. Outputs may take the memory of an input that nothing reads later.

    summed: outputs that are not stored, but the result of the reduction over their rows.
    """
    summed = summed or {}
    reads = tuple(program.inputs)
    writes = tuple([summed[t].outputs[0] if t in summed else t for t in program.outputs])
    kinds = [summed[t].attrs["kind"] if t in summed else "" for t in program.outputs]
    row = domain[:1]
    local = tuple(t for t in reads if t.shape == domain or (t.shape[:1] == row and len(t.shape) == len(domain) > 0))
    in_place = tuple(
        (w, t)
        for j, w in enumerate(writes)
        for i, t in enumerate(reads)
        if not kinds[j] and t.shape == w.shape and program.last_read.get(i, -1) <= program.written[j]
    )
    rows: Size = domain[0] if domain else 1
    return Step(
        "ewise",
        ewise_fields(program, domain, writes, [ROW_SUMS.get(kind, 0) for kind in kinds]),
        writes,
        reads,
        units=rows,
        local=(*writes, *local),
        scope=scope,
        flops=numel(domain) * len(program.code),
        in_place=in_place,
        code=(*program.names, *[f"row_{kind}" for kind in kinds if kind]),
        single=isinstance(rows, int) and rows == 1,
    )
