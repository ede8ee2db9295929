"""How argument structs are filled from the fields of a Step, and what C tells Python about itself."""

import pytest

from hawfinch import _core
from hawfinch.ir import Graph, Step, Tensor, input_tensor
from hawfinch.runtime.buffers import aligned_zeros
from hawfinch.runtime.plan import Plan

MATMUL = dict(m=2, n=2, k=2, x_row=2, x_col=1, w_row=2, w_col=1, by_cols=0, bias=None, epilogue=None)
PROGRAM = dict(
    rows=2, dim=[1, 1, 2], in_row=[], in_stride=[], n_out=1, n_in=0, n_code=1, row_sum=[], code=[0], imm=[0.0]
)


def product(**changes: object) -> Plan:
    """A plan of one matmul whose fields are changed; those set to ``...`` are left out."""
    graph, memory = Graph(), aligned_zeros(128)
    x, w, y = (input_tensor(graph, name, (2, 2)) for name in "xwy")
    given = {**MATMUL, "x": x, "w": w, "y": y, **changes}
    fields = {name: value for name, value in given.items() if value is not ...}
    places = {id(t): (memory, 32 * i) for i, t in enumerate((x, w, y))}
    return Plan([Step("matmul", fields, (y,), (x, w), units=2)], [y], places, dtype="float32", capacity=1)


def test_a_field_that_is_forgotten_is_an_error_that_names_op_and_field() -> None:
    product()
    for name in _core.FIELDS["matmul"]:
        with pytest.raises(TypeError, match=rf"record of matmul: .*no value for {name} \(absent on purpose: None\)"):
            product(**{name: ...})


def test_a_field_forgotten_in_an_epilogue_is_an_error_too() -> None:
    out: list[Tensor] = []
    whole = {**PROGRAM, "out": out, "in": []}
    product(epilogue=whole)
    for name in _core.FIELDS["ewise"]:
        fields = {key: value for key, value in whole.items() if key != name}
        with pytest.raises(TypeError, match=f"record of matmul: ewise has .*no value for {name} "):
            product(epilogue=fields)


def test_an_unknown_field_a_number_that_is_none_and_too_many_values_are_errors() -> None:
    with pytest.raises(TypeError, match="there is no colour"):
        product(colour=1)
    with pytest.raises(TypeError, match="field m of matmul is a number and can't be None"):
        product(m=None)
    with pytest.raises(TypeError, match="field dim of ewise holds 3 values, got 4"):
        product(epilogue={**PROGRAM, "out": [], "in": [], "dim": [1, 1, 1, 1]})


def test_constants_and_kinds_of_reduction_come_from_c() -> None:
    constants = _core.CONSTANTS
    assert constants["HF_REG_OUT"] == constants["HF_REG_IN"] + constants["HF_MAX_IN"]
    assert constants["HF_N_REGS"] == constants["HF_REG_TEMP"] + constants["HF_MAX_TEMP"]
    assert _core.FIELDS["ewise"]["code"][2] == constants["HF_MAX_CODE"]
    assert list(_core.REDUCE_KINDS.values()) == list(range(len(_core.REDUCE_KINDS)))
    assert {"sum", "mean", "argmax"} <= _core.REDUCE_KINDS.keys()
