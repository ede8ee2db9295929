"""One row per public op of hf.ops: how to call it, its NumPy float64 reference, its inputs, tolerance and kinks.

test_ops.py compares the forward pass, test_derivatives.py the derivatives, test_kernels.py ISAs, threads and batches.
The reference of an elementwise op is also the meaning of its instruction in numpy_backend.py, special values included.

Tolerance: |got - want| <= tol * eps * scale, eps of the dtype. ``tol`` is (float32, float64); ``scale`` is |want|
unless the row gives the size of the terms that cancel in the result. The default, 3, is the worst error in ULP of the
functions of csrc/kernels/cpu/vmath.h (sigmoid: 2.41 in float32, 2.39 in float64) rounded up.
Inputs are float32 numbers in both dtypes, so the reference sees just what the op sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from references import (
    batch_norm,
    cross_entropy,
    dropout,
    erf,
    gelu,
    group_norm,
    group_norm_scale,
    interp,
    layer_norm,
    log_softmax,
    norm_scale,
    rms_norm,
    sigmoid,
    softplus,
)

import hawfinch as hf
from hawfinch import _core

Array = np.ndarray
EXACT = (0.0, 0.0)  # no arithmetic, or arithmetic without rounding
ROUNDED = (0.5, 0.5)  # one IEEE operation: half a unit in the last place
MODES = ("float32", "float64")


# ---- inputs: one draw per argument, a function (rng, shape) -> array ----
def real(low: float, high: float) -> Callable[..., Array]:
    return lambda rng, shape: np.asarray(rng.uniform(low, high, shape), np.float32).astype(np.float64)


def ties(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Few different numbers, 0 and both signs among them."""
    return np.asarray(rng.integers(-3, 4, shape) * 0.5)


def distinct(offset: float) -> Callable[..., Array]:
    """Numbers 1/4 apart, and 1/8 from those of the other offset: nothing ties, nothing changes order nearby."""
    return lambda rng, shape: np.asarray(rng.permutation(int(np.prod(shape))).reshape(shape) * 0.25 - 1 + offset)


def whole(high: int) -> Callable[..., Array]:
    return lambda rng, shape: np.asarray(rng.integers(0, high, shape))


def ascending(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Quarters that ascend along the last axis, some of them equal."""
    return np.sort(np.asarray(rng.integers(-6, 20, shape) * 0.25), -1)


def flags(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    return np.asarray(rng.integers(0, 2, shape).astype(bool))


Variant = tuple[tuple[tuple[int, ...], ...], dict[str, Any]]  # input shapes, attributes


@dataclass(frozen=True)
class Case:
    name: str
    ref: Callable[..., Any]
    variants: Sequence[Variant]
    draws: Sequence[Callable[..., Array]]
    tol: tuple[float, float] = (3.0, 3.0)
    scale: Callable[..., Any] | None = None  # of (*inputs, **attributes), per output where there are several
    grad: Sequence[int] = ()  # inputs to differentiate by
    kinks: Sequence[float] = ()  # the gradient is not checked within 0.05 of these inputs
    eager: bool = True  # works outside of a trace
    form: Callable[..., Any] | None = None  # how to call the op where op(*inputs, **attrs) is not it
    room: Any = hf.ops  # where the op is found

    def call(self, *inputs: Any, **attrs: Any) -> Any:
        op = getattr(self.room, self.name)
        return self.form(op, *inputs, **attrs) if self.form else op(*inputs, **attrs)

    def inputs(self, shapes: Sequence[tuple[int, ...]], seed: int = 0) -> list[Array]:
        rng = np.random.default_rng([seed, len(shapes), *itertools.chain(*shapes)])
        return [draw(rng, shape) for draw, shape in zip(self.draws, shapes, strict=False)]


def cast(inputs: Sequence[Array], dtype: str) -> list[Array]:
    """Real inputs in dtype; integers and flags as they are."""
    return [a.astype(dtype) if a.dtype.kind == "f" else a for a in inputs]


def outputs(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def problems(case: Case, dtype: str, run: Callable[..., Any] | None = None) -> Iterator[str]:
    """What is wrong with the forward pass; run(*inputs, **attrs) gives the result (default: compiled)."""
    eps = np.finfo(dtype).eps
    tol = case.tol[MODES.index(dtype)]
    for shapes, attrs in case.variants:
        inputs = case.inputs(shapes)
        with np.errstate(all="ignore"):
            want = outputs(case.ref(*inputs, **attrs))
            scale = outputs(case.scale(*inputs, **attrs)) if case.scale else want
        if run is None:
            got = outputs(hf.compile(lambda *x, attrs=attrs: case.call(*x, **attrs))(*cast(inputs, dtype)))
        else:
            got = outputs(run(*cast(inputs, dtype), **attrs))
        where = f"{case.name} {dtype} {shapes} {attrs}"
        if len(got) != len(want):
            yield f"{where}: {len(got)} results, expected {len(want)}"
            continue
        for g, w, s in zip(got, want, scale, strict=True):
            g, w = np.asarray(g), np.asarray(w)
            only_whole = all(a.dtype.kind != "f" for a in inputs)  # then the plan is a float32 one
            expected = w.dtype if w.dtype.kind in "ib" else np.dtype("float32" if only_whole else dtype)
            if g.shape != w.shape or g.dtype != expected:
                yield f"{where}: got {g.dtype} {g.shape}, expected {expected} {w.shape}"
            elif w.dtype.kind in "ib":
                if not np.array_equal(g, w):
                    yield f"{where}: {np.argwhere(g != w)[0]}"
            else:
                unknown = np.isnan(w)
                off = np.abs(np.where(unknown, 0, g.astype(np.float64) - w)) / (np.finfo(dtype).tiny + eps * np.abs(s))
                if not np.array_equal(np.isnan(g), unknown):
                    yield f"{where}: NaN in {np.isnan(g).sum()} places, expected {unknown.sum()}"
                elif off.size and off.max() > tol:
                    at = np.unravel_index(off.argmax(), off.shape)
                    yield f"{where}: at {at} got {g[at]!r}, expected {w[at]!r}: off by {off.max():.3g}, allowed {tol}"


def variants(shapes: Sequence[Any], *attrs: dict[str, Any]) -> list[Variant]:
    return [(s, a) for a in attrs or ({},) for s in shapes]


# Sizes around the 16 (8) lanes and the blocks of 512 (256) elements of an elementwise program, empty and 0-d ones.
ONE = [((n,),) for n in (0, 1, 7, 8, 9, 15, 16, 17, 255, 256, 257, 511, 512, 513)] + [
    ((),),
    ((2, 3, 4, 5),),
    ((3, 0, 2),),
    ((7, 33),),
    ((5, 600),),
]
FEW = [((),), ((17,),), ((4, 5),), ((513,),), ((0, 3),)]
TWO = [(a, a) for (a,) in ONE] + [
    ((17,), ()),
    ((), (3, 4)),
    ((513,), (1,)),
    ((5, 1), (1, 7)),
    ((1, 7), (5, 1)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((2, 3, 4, 5), (3, 1, 5)),
    ((4, 1, 3, 1), (1, 2, 1, 5)),
    ((2, 1, 600), (3, 1)),
    ((1,), (3, 0)),
    ((40, 1), (1, 40)),
    ((6, 5, 4), (6, 1, 1)),
    ((1, 5, 1, 2), (3, 1, 2, 1)),
]
THREE = [((n,),) * 3 for n in (0, 1, 16, 513)] + [
    ((4, 5), (), (5,)),
    ((5, 1), (1, 7), ()),
    ((), (3, 1), (1, 4)),
    ((2, 3, 4), (4,), (3, 1)),
]
# (.., C) around the 32 columns up to which softmax goes by tiles of rows, and the 16 lanes of wider rows
LAST = [
    ((1,),),
    ((5,),),
    ((1, 1),),
    ((5, 1),),
    ((17, 10),),
    ((16, 31),),
    ((15, 32),),
    ((3, 33),),
    ((2, 47),),
    ((2, 48),),
    ((2, 3, 17),),
    ((4, 513),),
    ((0, 3),),
    ((33, 2),),
]
ROWS = [s for s in LAST if len(s[0]) == 2]
MATRICES = [
    ((m, k), (k, n))
    for m, k, n in [
        (1, 1, 1),
        (2, 3, 4),
        (0, 3, 2),
        (3, 0, 2),
        (3, 2, 0),
        (14, 16, 64),
        (15, 17, 65),
        (13, 15, 63),
        (31, 512, 33),
        (33, 513, 31),
        (1, 40, 16),
        (5, 63, 2),
        (5, 64, 2),
        (7, 65, 1),
        (169, 20, 70),
        (12, 511, 128),
        (6, 9, 129),
        (130, 512, 260),  # from 2**24 multiply-adds on by columns
    ]
] + [((3,), (3,)), ((3,), (3, 4)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (4,)), ((70,), (70,))]
AXES = [
    *variants([((n,),) for n in (1, 15, 16, 17, 63, 64, 65, 512, 513)], {"axis": None}, {"axis": 0, "keepdims": True}),
    *variants(
        [((3, 4),), ((17, 65),), ((65, 17),), ((130, 3),), ((1, 5),), ((5, 1),), ((2, 200),)],
        {"axis": None},
        {"axis": 0},
        {"axis": -1},
        {"axis": 1, "keepdims": True},
    ),
    *variants([((2, 3, 4, 5),)], {"axis": 2}, {"axis": 0}, {"axis": None, "keepdims": True}),
]
MANY_AXES = [
    *variants([((2, 3, 4, 5),), ((3, 1, 2, 7),)], *({"axis": a} for a in ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3)))),
    (((2, 3, 4),), {"axis": (0, 2), "keepdims": True}),
    (((2, 3, 4),), {"axis": ()}),
    (((0, 3),), {"axis": 1}),
    (((2, 3, 4),), {"axis": (-1, -2, -3)}),
]


def reduction(f: Callable[..., Array]) -> Callable[..., Array]:
    return lambda x, axis=None, keepdims=False: np.asarray(f(x, axis=axis, keepdims=keepdims))


def unary(name: str, ref: Callable[..., Any], low: float = -3, high: float = 3, **more: Any) -> Case:
    return Case(name, ref, variants(ONE), (real(low, high),), **{"grad": (0,), **more})


def binary(name: str, ref: Callable[..., Any], a: Callable[..., Array], b: Callable[..., Array], **more: Any) -> Case:
    return Case(name, ref, variants(TWO), (a, b), **{"grad": (0, 1), **more})


ANY = real(-3, 3)
POSITIVE = real(0.1, 3)

CASES = [
    # elementwise, one input
    unary("neg", np.negative, tol=EXACT),
    unary("abs", np.abs, tol=EXACT, kinks=(0.0,)),
    unary("sign", lambda x: np.where(np.isnan(x), 0, np.sign(x)), tol=EXACT, kinks=(0.0,)),
    unary("sqrt", np.sqrt, 0.1, 9, tol=ROUNDED),
    unary("square", np.square, tol=ROUNDED),
    unary("reciprocal", np.reciprocal, 0.2, 3, tol=ROUNDED),
    unary("exp", np.exp, -80, 3),
    unary("expm1", np.expm1),
    unary("log", np.log, 0.05, 9),
    unary("log1p", np.log1p, -0.9, 9),
    unary("tanh", np.tanh, -6, 6),
    unary("sigmoid", sigmoid, -20, 6),
    unary("erf", erf, -4, 4),
    # errors are relative to 1, the size of the terms of the series, beside that of a result near 0
    unary("sinpi", lambda x: np.sin(np.pi * (x - 2 * np.rint(x / 2))), -9, 9, scale=lambda x: np.ones_like(x)),
    unary("cospi", lambda x: np.cos(np.pi * (x - 2 * np.rint(x / 2))), -9, 9, scale=lambda x: np.ones_like(x)),
    unary("relu", lambda x: np.where(x < 0, 0, x), tol=EXACT, kinks=(0.0,)),
    unary("softplus", softplus, -20, 20),
    unary("softsign", lambda x: x / (1 + np.abs(x)), kinks=(0.0,)),
    unary("gelu", gelu, scale=np.abs),  # x * (erf(..) / 2 + 1/2) cancels for negative x: errors are relative to x
    # two roundings more than sigmoid
    unary("silu", lambda x: x * sigmoid(x), tol=(4, 4)),
    Case(
        "leaky_relu",
        lambda x, negative_slope=0.01: np.where(x < 0, x * negative_slope, x),
        variants(FEW, {}, {"negative_slope": 0.25}),
        (ANY,),
        grad=(0,),
        kinks=(0.0,),
    ),
    Case(
        "elu",
        lambda x, alpha=1.0: np.where(x < 0, alpha * np.expm1(x), x),
        variants(FEW, {}, {"alpha": 0.5}),
        (ANY,),
        grad=(0,),
        kinks=(0.0,),
    ),
    Case(
        "clip",
        lambda x, low=None, high=None: np.clip(x, low, high),
        variants(FEW, {"low": -1.0, "high": 0.5}, {"low": 0.5}, {"high": 1.0}, {}),
        (ANY,),
        tol=EXACT,
        grad=(0,),
        kinks=(-1.0, 0.5, 1.0),
    ),
    Case(
        "dropout",
        dropout,
        variants([*FEW, ((9, 65),)], {"p": 0.25}, {"p": 0.0}, {"p": 1.0}),
        (ANY,),
        grad=(0,),
        eager=False,
    ),
    Case("stop_gradient", lambda x: x, variants(FEW), (ANY,), tol=EXACT),
    # elementwise, broadcasting
    binary("add", np.add, ANY, ANY, tol=ROUNDED),
    binary("sub", np.subtract, ANY, ANY, tol=ROUNDED),
    binary("mul", np.multiply, ANY, ANY, tol=ROUNDED),
    binary("div", np.divide, ANY, real(0.2, 3), tol=ROUNDED),
    Case(
        "pow",
        lambda a, b: a**b,
        [*variants(TWO), *variants(FEW, *({"b": b} for b in (2, 1, 0.5, -1, 3, 0, -1.5)))],
        (POSITIVE, ANY),
        grad=(0, 1),
    ),
    binary("maximum", np.maximum, distinct(0), distinct(0.125), tol=EXACT),
    binary("minimum", np.minimum, distinct(0), distinct(0.125), tol=EXACT),
    binary("greater", np.greater, ties, ties, grad=()),
    binary("greater_equal", np.greater_equal, ties, ties, grad=()),
    binary("less", np.less, ties, ties, grad=()),
    binary("less_equal", np.less_equal, ties, ties, grad=()),
    binary("equal", np.equal, ties, ties, grad=()),
    binary("not_equal", np.not_equal, ties, ties, grad=()),
    Case("where", np.where, variants(THREE), (flags, ANY, ANY), tol=EXACT, grad=(1, 2)),
    # products and reductions: roundings of the terms add up like a random walk, relative to the sum of their sizes
    Case("matmul", np.matmul, variants(MATRICES), (ANY, ANY), scale=lambda x, w: np.abs(x) @ np.abs(w), grad=(0, 1)),
    Case("sum", reduction(np.sum), AXES + MANY_AXES, (ANY,), scale=lambda x, **k: np.sum(np.abs(x), **k), grad=(0,)),
    Case("mean", reduction(np.mean), AXES + MANY_AXES, (ANY,), scale=lambda x, **k: np.mean(np.abs(x), **k), grad=(0,)),
    Case("max", reduction(np.max), [*AXES, *MANY_AXES[:10]], (distinct(0),), tol=EXACT, grad=(0,)),
    Case("min", reduction(np.min), [*AXES, *MANY_AXES[:10]], (distinct(0),), tol=EXACT, grad=(0,)),
    Case("argmax", reduction(np.argmax), AXES, (ties,)),
    # movement
    Case(
        "reshape",
        np.reshape,
        [
            (((6,),), {"shape": (2, 3)}),
            (((2, 3),), {"shape": (-1,)}),
            (((4, 6),), {"shape": (3, -1, 2)}),
            (((1,),), {"shape": ()}),
            (((),), {"shape": (1, 1)}),
            (((0, 3),), {"shape": (3, 0)}),
        ],
        (ANY,),
        tol=EXACT,
        grad=(0,),
        form=lambda op, x, shape: op(x, *shape),
    ),
    Case(
        "transpose",
        np.transpose,
        variants([((3, 4),), ((5,),), ((2, 3, 4),), ((17, 65),), ((0, 2),)])
        + variants([((2, 3, 4),)], *({"axes": a} for a in itertools.permutations(range(3))))
        + [(((2, 3, 4),), {"axes": (-1, 0, 1)}), (((2, 1, 3, 2, 2, 2),), {"axes": (5, 3, 0, 1, 4, 2)})],
        (ANY,),
        tol=EXACT,
        grad=(0,),
    ),
    Case(
        "getitem",
        lambda x, key: x[key],
        [
            (((5, 6),), {"key": k})
            for k in (
                0,
                -1,
                slice(1, 4),
                slice(None, None, -1),
                slice(4, 0, -2),
                (slice(None), 2),
                (..., -1),
                None,
                (1, 2),
                (slice(None), None, slice(1, 6, 3)),
                slice(3, 3),
                (slice(None, None, 2), slice(None, None, 3)),
                ...,
            )
        ]
        + [(((2, 3, 4),), {"key": (..., slice(None, None, -2))}), (((2, 3, 4),), {"key": (1, ..., 0)})],
        (ANY,),
        tol=EXACT,
        grad=(0,),
    ),
    Case(
        "pad",
        lambda x, widths, value=0.0: np.pad(x, widths, constant_values=value),
        [
            (((3,),), {"widths": [(1, 2)]}),
            (((2, 3),), {"widths": [(0, 1), (2, 0)], "value": -1.5}),
            (((2, 3),), {"widths": [(0, 0), (0, 0)]}),
            (((0, 2),), {"widths": [(1, 0), (0, 1)]}),
            (((2, 1, 3),), {"widths": ((1, 1), (0, 2), (3, 0))}),
        ],
        (ANY,),
        tol=EXACT,
        grad=(0,),
    ),
    Case(
        "concat",
        lambda *xs, axis=0: np.concatenate(xs, axis),
        [
            (((2,), (3,), (1,)), {}),
            (((2, 3), (2, 1), (2, 4)), {"axis": 1}),
            (((2, 3), (1, 3), (0, 3)), {"axis": -2}),
            (((2, 3, 1), (2, 3, 17), (2, 3, 5)), {"axis": -1}),
            (((4, 2),), {}),
        ],
        (ANY, ANY, ANY),
        tol=EXACT,
        grad=(0, 1, 2),
        form=lambda op, *xs, **attrs: op(list(xs), **attrs),
    ),
    *[
        Case(
            "interp",
            lambda x, knots, values: np.stack(
                [interp(x[..., j], knots[j], values)[0] for j in range(len(knots))], -1
            ).reshape(x.shape),
            variants(
                [((7, 3), (3, 5), (5,)), ((2, 4, 2), (2, 17), (17,)), ((6, 1), (1, 1), (1,)), ((0, 3), (3, 4), (4,))]
            ),
            (draw, ascending, ANY),
            scale=lambda x, knots, values: np.full(x.shape, 4 * np.abs(values).max()),
            grad=grad,
        )
        for draw, grad in ((distinct(0.125), (0,)), (ties, ()))
    ],
    Case(
        "gather",
        lambda table, index: table[index],
        variants(
            [
                ((5, 3), (7,)),
                ((5,), (4,)),
                ((5, 2, 3), (2, 2)),
                ((5, 3), ()),
                ((5, 0), (3,)),
                ((5, 3), (0,)),
                ((6, 17), (40,)),
            ]
        ),
        (ANY, whole(5)),
        tol=EXACT,
        grad=(0,),
    ),
    Case(
        "broadcast_to",
        np.broadcast_to,
        [
            (((3,),), {"shape": (2, 3)}),
            (((),), {"shape": (3, 2)}),
            (((4, 1),), {"shape": (4, 5)}),
            (((1, 3),), {"shape": (0, 3)}),
            (((2, 1, 3),), {"shape": (2, 4, 3)}),
            (((3,),), {"shape": (3,)}),
            (((1, 17),), {"shape": (40, 17)}),
        ],
        (ANY,),
        tol=EXACT,
        grad=(0,),
    ),
    Case("to_real", lambda x: x.astype(np.float64), variants(FEW), (whole(1000),), tol=EXACT),
    # normalisation: the mean and the deviation carry the errors of two sums
    Case(
        "batch_norm",
        batch_norm,
        [
            ((x, x[-1:], x[-1:]), a)
            for x in ((1, 3), (2, 3), (63, 17), (64, 16), (65, 15), (129, 130), (4, 5, 3), (200, 1))
            for a in ({}, {"eps": 0.1})
        ],
        (ANY, ANY, ANY),
        tol=(6, 6),
        scale=lambda x, gamma, beta, eps=1e-5: (
            norm_scale(x, gamma, beta, tuple(range(x.ndim - 1)), eps),
            np.abs(x).max(tuple(range(x.ndim - 1))),
            np.square(x).max(tuple(range(x.ndim - 1))),
        ),
        grad=(0, 1, 2),
    ),
    Case(
        "layer_norm",
        layer_norm,
        [
            ((x, x[-1:], x[-1:]), a)
            for x in ((3, 1), (3, 2), (5, 15), (5, 16), (5, 17), (33, 65), (4, 5, 3), (2, 513), (0, 4), (7,))
            for a in ({}, {"eps": 0.1})
        ],
        (ANY, ANY, ANY),
        tol=(6, 6),
        scale=lambda x, gamma, beta, eps=1e-5: norm_scale(x, gamma, beta, -1, eps),
        grad=(0, 1, 2),
    ),
    Case(
        "rms_norm",
        rms_norm,
        [
            ((x, x[-1:]), a)
            for x in ((3, 1), (5, 15), (5, 16), (5, 17), (33, 65), (4, 5, 3), (2, 513), (0, 4), (7,))
            for a in ({}, {"eps": 0.1})
        ],
        (ANY, ANY),
        tol=(6, 6),
        grad=(0, 1),
    ),
    Case(
        "group_norm",
        group_norm,
        [
            ((x, x[-1:], x[-1:]), {"groups": groups, **a})
            for groups, x in (
                *((1, (2, 3, 4)), (2, (2, 3, 4)), (4, (2, 3, 4)), (4, (3, 4)), (2, (2, 1, 2, 4))),
                *((3, (2, 6)), (3, (3, 70, 18)), (3, (1, 130, 48))),
            )
            for a in ({}, {"eps": 0.1})
        ],
        (ANY, ANY, ANY),
        tol=(8, 8),
        scale=group_norm_scale,
        grad=(0, 1, 2),
        form=lambda op, x, gamma, beta, groups, **a: op(x, groups, gamma, beta, **a),
    ),
    # exp magnifies the rounding of x - max, a number up to 6
    Case("softmax", lambda x: np.exp(log_softmax(x)), variants(LAST), (ANY,), tol=(6, 6), grad=(0,)),
    # x - max - log(sum): errors are relative to x - max and the logarithm, both below the sum of 6 and |want|
    Case("log_softmax", log_softmax, variants(LAST), (ANY,), scale=lambda x: 1 + np.abs(log_softmax(x)), grad=(0,)),
    Case(
        "softmax_cross_entropy",
        cross_entropy,
        [
            *variants([(x, x[:-1]) for (x,) in LAST if x[-1] >= 3], {}, {"label_smoothing": 0.1})
            # with smoothing: loss = log(sum) * sum(t) - sum(t * (x - max)), each around 4
        ],
        (ANY, whole(3)),
        tol=(5, 5),
        scale=lambda x, t, **k: 1 + np.abs(cross_entropy(x, t, **k)),
        grad=(0,),
    ),
    Case(
        "softmax_cross_entropy",
        cross_entropy,
        [*variants([(x, x) for (x,) in LAST], {}, {"label_smoothing": 0.1})],
        (ANY, real(0, 1)),
        tol=(4, 4),
        grad=(0, 1),
        scale=lambda x, t, **k: (1 + t) @ np.ones(x.shape[-1]) + np.abs(cross_entropy(x, t, **k)),
    ),
    Case(
        "correct",
        lambda x, labels: (x.argmax(-1) == labels).astype(np.float64),
        variants([(x, x[:1]) for (x,) in ROWS if x[-1] >= 3]),
        (ties, whole(3)),
        tol=EXACT,
    ),
]


def labels_of(case: Case) -> str:
    return f"{case.name}-{case.draws[1].__qualname__.split('.')[0]}" if case.name.endswith("entropy") else case.name


IDS = [labels_of(c) for c in CASES]

# instruction -> its row: the elementwise ops that are one instruction; the random ones are functions of a position too
ELEMENTWISE = {c.name: c for c in CASES if c.name in _core.INSTRUCTIONS and c.eager}
