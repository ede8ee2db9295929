"""Reduce: the gradient, and what else trainers share (ops/joint.py), goes to the caller and comes back averaged.

Design: the plan returns at a yield record and goes on when the caller has changed the array in place. Rejected: a
callback from C, which would need the interpreter's lock inside of a team.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import ArgumentError
from ...ir import Array, Step, yield_step
from ...nn.store import Store
from .buffers import Buffers

Reduce = Callable[[Array], Any]


def check_reduce(reduce: Any) -> tuple[Reduce | None, int]:
    """The function, and the number of trainers; (None, 0) where nothing is joined."""
    if reduce is None:
        return None, 0
    function, n = reduce if type(reduce) is tuple and len(reduce) == 2 else (reduce, 1)
    if not callable(function) or isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ArgumentError(
            f"reduce: expected a function of an array, or (function, number of trainers), got {reduce!r:.80}"
        )
    return function, n


def reduce_steps(buffers: Buffers, store: Store, source: int) -> list[Step]:
    """source: number of the buffer with the gradient."""
    gradient = buffers.bound(source, store.params.size, 0)
    return [yield_step(0, [gradient], scope="reduce")]
