"""Reduce: the gradient goes to the caller and comes back, such as averaged over several trainers.

Design: the plan returns at a yield record and goes on when the caller has changed the gradient in place. Rejected: a
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
GRADIENT_TAG = 1


def check_reduce(reduce: Any) -> Reduce | None:
    if reduce is None or callable(reduce):
        return reduce
    raise ArgumentError(f"reduce: expected a function of the gradient, got {reduce!r:.80}")


def reduce_steps(buffers: Buffers, store: Store, source: int) -> list[Step]:
    """source: number of the buffer with the gradient."""
    gradient = buffers.bound(source, store.params.size, 0)
    return [yield_step(GRADIENT_TAG, [gradient], scope="reduce")]
