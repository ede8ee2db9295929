"""Adaptive clipping: the gradient of each unit is limited to a part of the unit's own norm.

Design: a traced function of one weight and its gradient, in place, between check and sweep. What it clips is stored, so
no product is taken by the sweep. Rejected: a part of the sweep, which sees elements, not units.
"""

from __future__ import annotations

from collections.abc import Mapping

from ... import ops
from ...compiler.memory import Dynamic
from ...ir import Step, Tensor
from ...nn.store import Store
from .buffers import PARAMS, Buffers
from .traced import traced_steps

LEAST_NORM = 1e-3  # of a unit, so that weights that begin at 0 can move
TINY = 1e-6


def clip_adaptive_steps(
    buffers: Buffers, store: Store, number: int, of: Mapping[str, int], active: int | None
) -> list[Step]:
    """number: of the buffer with the gradient. of: name -> column of its limit. active: the column that is 0 in steps
    that update nothing, if there are any: these leave a gradient that is still summed up as it is."""
    steps: list[Step] = []
    for name, column in of.items():
        p = store.parameters[name]
        places = [Dynamic(n, p.offset * store.params.itemsize) for n in (number, PARAMS)]
        columns = [column] if active is None else [column, active]
        arrays = [(p.shape, place) for place in places]
        steps += traced_steps(buffers, store, _clipped, arrays, columns, places[0], f"clip: {name}")
    return steps


def _clipped(g: Tensor, p: Tensor, limit: Tensor, active: Tensor | None = None) -> Tensor:
    most = limit * ops.maximum(_norm(p), LEAST_NORM)
    norm = ops.maximum(_norm(g), TINY)
    factor = ops.where(ops.greater(norm, most), most / norm, 1.0)
    return g * (factor if active is None else ops.where(ops.greater(active, 0.0), factor, 1.0))


def _norm(x: Tensor) -> Tensor:
    """Of each output unit: over all axes but the last; of all of a vector."""
    axes = tuple(range(max(len(x.shape) - 1, 1))) if x.shape else ()
    return ops.sqrt(ops.sum(x * x, axes, keepdims=True) if x.shape else x * x)
