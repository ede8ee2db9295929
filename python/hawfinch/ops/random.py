"""Random numbers: functions of (seed, step, stream, position), so that nothing is stored and any split over threads
gives the same ones.

In a trace, seed and step are those of the run: a trainer's seed and its step; in a compiled function the ``seed=`` of
the call, and step 0. The stream is the number of the draw in the trace. Outside of a trace ``seed`` must be given, and
the numbers are those of the first draw of a trace that runs with it, in float32. Rejected: a hidden global generator:
what a call gives would depend on what was called before.

>>> hf.ops.random.uniform((2, 3), seed=1).shape
(2, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, TraceError
from ..ir import Op, Size, Tensor, apply, as_number, current_graph, run_at_once
from .elementwise import add, as_shape, is_whole, mul, setting, sub, where

FIRST_STREAM = 1
MOST_SEEDS = 1 << 64


def _define(name: str) -> Op:
    """The instruction of this name of csrc/defs/ewise.def."""
    return Op(name, lambda *, shape, stream, imm=0.0: [(shape, "real")], elementwise=True)


UNIFORM, NORMAL, BERNOULLI = _define("random_uniform"), _define("random_normal"), _define("random_bernoulli")
DROPOUT: Op = Op(
    "dropout",
    lambda x, *, imm, stream: [(x.shape, "real")],
    lambda node, g: [apply(DROPOUT, g, **node.attrs)],
    decompose=lambda x, *, imm, stream: (_dropped(x, imm, stream),),
    elementwise=True,
)


def _dropped(x: Tensor, p: float, stream: int) -> Tensor:
    """0 with probability p, else x / (1 - p)."""
    dropped = apply(BERNOULLI, shape=x.shape, imm=p, stream=stream)
    return where(dropped, 0.0, x * (1.0 / (1.0 - p)) if p < 1 else x)


def check_seed(seed: Any) -> int:
    """seed itself; raises ArgumentError unless it is a whole number in [0, 2**64)."""
    if not is_whole(seed) or not 0 <= seed < MOST_SEEDS:
        raise ArgumentError(f"seed must be a whole number in [0, 2**64), got {seed!r}")
    return int(seed)


def _draw(op: Op, shape: Any, seed: int | None, **attrs: Any) -> Tensor:
    attrs["shape"] = as_shape(shape)
    graph = current_graph()
    if graph is None:
        if seed is None:
            raise ArgumentError("random numbers outside of a trace need a seed: pass seed=, a whole number")
        drawn: Tensor = run_at_once(op, (), {**attrs, "stream": FIRST_STREAM}, check_seed(seed))
        return drawn
    if seed is not None:
        raise ArgumentError("in a trace random numbers follow from the seed of the run: leave seed= out")
    made: Tensor = apply(op, **attrs, stream=graph.new_stream())
    return made


def uniform(shape: Sequence[Size] | Size, low: Any = 0.0, high: Any = 1.0, *, seed: int | None = None) -> Tensor:
    """Numbers of a shape, uniform in [low, high), in steps of 2**-24 of the range (float64: 2**-53).

    low, high: default 0 and 1; numbers or what broadcasts against shape, in a trace with gradients. seed: needed
    outside of a trace. Raises ShapeError, ArgumentError.

    >>> hf.ops.random.uniform(3, -1.0, 1.0, seed=0)
    array([0.03335822, 0.5819385 , 0.54669416], dtype=float32)
    """
    known = isinstance(low, int | float) and isinstance(high, int | float)
    width = as_number(high) - as_number(low) if known else sub(high, low)
    return _scaled(_draw(UNIFORM, shape, seed), width, low)


def normal(shape: Sequence[Size] | Size, mean: Any = 0.0, std: Any = 1.0, *, seed: int | None = None) -> Tensor:
    """Numbers of a shape from the normal distribution; at most 6.7 deviations from the mean.

    mean, std: default 0 and 1; numbers or what broadcasts against shape, in a trace with gradients. seed: needed
    outside of a trace. Box and Muller, Annals of Mathematical Statistics 29, 1958. Raises ShapeError, ArgumentError.

    >>> hf.ops.random.normal(3, seed=0).round(2)
    array([ 1.07,  0.4 , -0.03], dtype=float32)
    """
    return _scaled(_draw(NORMAL, shape, seed), std, mean)


def bernoulli(shape: Sequence[Size] | Size, p: float = 0.5, *, seed: int | None = None) -> Tensor:
    """1 with probability p, else 0, as real numbers of a shape. p: a number in [0, 1], in steps of 2**-32.

    seed: needed outside of a trace. Raises ShapeError, ArgumentError, DTypeError.

    >>> hf.ops.random.bernoulli(8, 0.25, seed=0)
    array([0., 0., 0., 1., 0., 0., 1., 1.], dtype=float32)
    """
    p = setting("p", p)
    if not 0 <= p <= 1:
        raise ArgumentError(f"bernoulli: p must be in [0, 1], got {p}")
    return _draw(BERNOULLI, shape, seed, imm=p)


def _scaled(drawn: Any, factor: Any, offset: Any) -> Tensor:
    plain = [isinstance(v, int | float) and v == neutral for v, neutral in ((factor, 1), (offset, 0))]
    y = drawn if plain[0] else mul(drawn, factor)
    return y if plain[1] else add(y, offset)


def dropout(x: Any, p: float = 0.5) -> Tensor:
    """Sets each element to 0 with probability p and divides the rest by 1 - p. Only inside a trace.

    The mask follows from (seed, step, position) alone: nothing is stored for the backward pass. In ``compile`` seed and
    step are 0. Raises ArgumentError, DTypeError, and TraceError outside of a trace.
    Srivastava et al., JMLR 15, 2014.

    >>> x = np.ones(1000, np.float32)
    >>> y = hf.compile(lambda x: hf.ops.dropout(x, 0.25))(x)
    >>> np.unique(y), bool(200 < (y == 0).sum() < 300)
    (array([0.       , 1.3333334], dtype=float32), True)
    """
    graph = current_graph()
    if graph is None:
        raise TraceError("dropout needs a trace: call it inside a model's forward")
    p = setting("p", p)
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout: p must be in [0, 1], got {p}")
    return apply(DROPOUT, x, imm=p, stream=graph.new_stream())
