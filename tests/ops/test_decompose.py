"""An op's decomposition gives what the op gives: the oracle of its kernel, and its gradient where it has no rule."""

import sys

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.ir import Op, apply, as_tensor, current_graph

rng = np.random.default_rng(3)


def draw(*sizes):
    return rng.normal(size=sizes) * 2


LABELS = np.array([1, 0, 4, 2])
ROW, COL = np.abs(draw(4)) + 0.1, np.abs(draw(5)) + 0.1


def SYMMETRIC(n):
    a = draw(n, n)
    return a + a.T


# op -> inputs, attributes; a list of such pairs
ROWS = {
    "square": [([draw(3, 4)], {})],
    "reciprocal": [([draw(3, 4)], {})],
    "sigmoid": [([draw(3, 4)], {}), ([np.array([-800.0, 0.0, 800.0])], {})],
    "softplus": [([draw(3, 4)], {}), ([np.array([-800.0, 0.0, 800.0])], {})],
    "gelu": [([draw(3, 4)], {})],
    "gelu_slope": [([draw(3, 4)], {})],
    "relu": [([np.array([-1.0, 0.0, 2.0, np.nan])], {})],
    "relu_mask": [([draw(6), np.array([-1.0, 0.0, 2.0, 1.0, -2.0, 0.5])], {})],
    "leaky_relu": [([draw(3, 4)], {"imm": 0.1})],
    "elu": [([draw(3, 4)], {"imm": 0.7}), ([np.array([-1e4, 1e4])], {"imm": 0.7})],
    "fma": [([draw(3, 4), draw(3, 4), draw(3, 4)], {})],
    "fms": [([draw(3, 4), draw(3, 4), draw(3, 4)], {})],
    "fnma": [([draw(3, 4), draw(3, 4), draw(3, 4)], {})],
    "stop_gradient": [([draw(3, 4)], {})],
    "extreme": [([draw(3, 4, 2)], {"kind": k, "axes": a}) for k in ("max", "min") for a in ((0, 1), (0, 2), (0, 1, 2))],
    "matmul_symmetric": [
        *[
            ([draw(*shape)], {"kind": kind, "scale": 0.7, "add": 0.0, "diagonal": d, "precision": "f32"})
            for kind, shape in (("rows", (5, 3)), ("columns", (3, 70)), ("rows", (100, 40)), ("columns", (40, 33)))
            for d in (0.0, 1.5)
        ],
        *[
            ([SYMMETRIC(n)], {"kind": "square", "scale": -2.0, "add": a, "diagonal": 0.3, "precision": "f32"})
            for n in (1, 7, 64, 65, 130)
            for a in (0.0, 0.4)
        ],
    ],
    "dropout": [([draw(9, 65)], {"imm": p, "stream": 3}) for p in (0.0, 0.25, 1.0)],
    "argument": [([draw(3, 4)], {"number": 1})],
    "moments": [
        *[([draw(4, 5) + 100], {"per_row": p}) for p in (False, True)],
        ([draw(3, 4, 5)], {"per_row": False}),
        ([draw(3, 70, 1)], {"per_row": False}),
    ],
    "normalize_groups": [([draw(2, 3, 6), draw(6), draw(6)], {"groups": g, "eps": 0.1}) for g in (1, 2, 6)],
    "norm_grad": [
        ([draw(4, 5), draw(4, 5), draw(4), ROW], {"per_row": True}),
        ([draw(4, 5), draw(4, 5), draw(5), COL], {"per_row": False}),
        ([draw(4, 5), draw(4, 5), draw(5), COL, draw(5), draw(5)], {"per_row": False}),
        ([draw(3, 4, 5), draw(3, 4, 5), draw(3, 5), np.abs(draw(3, 5)) + 0.1], {"per_row": False}),
    ],
    "norm_row_grad": [
        ([draw(4, 5), draw(4, 5), draw(4), ROW, draw(5)], {}),
        ([draw(4, 5), draw(4, 5), draw(4), ROW], {}),
    ],
    "rms_row_grad": [([draw(4, 5), draw(4, 5), ROW, *gamma], {}) for gamma in ((), (draw(5),))],
    "rms_normalize": [([draw(4, 5), draw(5)], {"eps": 0.1})],
    "normalize": [([draw(4, 5), draw(5), draw(5)], {"per_row": p, "eps": 0.1}) for p in (False, True)],
    "softmax": [
        ([x], {"log": log})
        for log in (False, True)
        for x in (draw(4, 5), np.array([[1e4, -1e4, 0.0], [-1e4, 9e3, 9e3]]))
    ],
    "softmax_cross_entropy": [
        ([x, t], {"smoothing": s})
        for s in (0.0, 0.2)
        for x in (draw(4, 5), np.sign(draw(4, 5)) * 1e4)
        for t in (LABELS, np.abs(draw(4, 5)))
    ],
    "softmax_cross_entropy_grad": [
        ([x, t, g], {"smoothing": s})
        for s in (0.0, 0.2)
        for x in (draw(4, 5), np.sign(draw(4, 5)) * 1e4)
        for t in (LABELS, np.abs(draw(4, 5)))
        for g in (draw(4), np.array(0.3))
    ],
    "softmax_cross_entropy_both": [
        ([draw(4, 5), t, np.array(0.3)], {"smoothing": 0.1}) for t in (LABELS, np.abs(draw(4, 5)))
    ],
}
OPS = {
    v.name: v
    for name, module in list(sys.modules.items())
    if name.startswith("hawfinch.ops")
    for v in vars(module).values()
    if isinstance(v, Op) and v.decompose is not None
}


def test_every_decomposition_has_a_row():
    assert set(OPS) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_decomposition_is_its_op(name):
    op = OPS[name]
    for inputs, attrs in ROWS[name]:

        def whole(*xs, attrs=attrs):
            made = apply(op, *xs, **attrs)
            return made if isinstance(made, tuple) else (made,)

        def parts(*xs, attrs=attrs):
            made = op.decompose(*[as_tensor(current_graph(), x) for x in xs], **attrs)
            assert all(n.op is not op for n in current_graph().nodes)
            return made

        for got, want in zip(hf.compile(parts)(*inputs), hf.compile(whole)(*inputs), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13 * np.abs(np.nan_to_num(want)).max())
