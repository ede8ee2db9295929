"""Backend: where buffers live, and which kernel runs a step.

Design: a plan is steps with named fields, a layout and a schedule; a backend gives it an arena and makes it runnable.
What comes out has ``run`` and ``set_source`` as ``_core.Plan`` has them. Rejected: a method per op: the named fields
of a step are its whole interface, so a backend may keep a table of kernels under the ops' names, as C does.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import _core
from ..compiler.lower import Addresses
from ..compiler.memory import Dynamic
from ..compiler.rewrite import unfused
from ..ir import Array
from .buffers import aligned_zeros

if TYPE_CHECKING:
    from .plan import Plan


class Backend(Protocol):
    """What a plan asks of the machine that runs it. ``fuses``: whether it has the ops that others are made of in one
    pass, and elementwise programs; else it gets primitive ops, a record each."""

    fuses: bool

    def arena(self, nbytes: int) -> Array:
        """A zeroed buffer of bytes for what a plan computes on the way."""

    def bind(self, plan: Plan, max_threads: int) -> Any:
        """The plan, whose arena this backend made, ready to run."""


class CPU:
    """Buffers are NumPy arrays, kernels are those of the processor's best ISA."""

    fuses = True

    def arena(self, nbytes: int) -> Array:
        return aligned_zeros(nbytes)

    def bind(self, plan: Plan, max_threads: int) -> _core.Plan:
        schedule, arena = plan.schedule, plan.arena
        given = [p[0] for p in plan.layout.places.values() if not isinstance(p, Dynamic)]
        return _core.Plan(
            plan.steps,
            schedule.time_shares,
            schedule.pieces,
            schedule.barriers,
            Addresses(plan.steps, plan.layout, _core.address(arena), _core.address),
            _core.kernel_isa(),
            np.dtype(plan.dtype) == np.float64,
            schedule.scratch_bytes,
            max_threads,
            schedule.slow,
            schedule.keeps_lock,
            (arena, given),
        )


_in_use: contextvars.ContextVar[Backend] = contextvars.ContextVar("hawfinch_backend", default=CPU())  # noqa: B039


def backend_in_use() -> Backend:
    """The backend of plans that are made now."""
    return _in_use.get()


@contextlib.contextmanager
def using(backend: Backend) -> Iterator[None]:
    """Graphs are lowered for ``backend`` inside, and plans run on it."""
    token = _in_use.set(backend)
    try:
        with contextlib.nullcontext() if backend.fuses else unfused():
            yield
    finally:
        _in_use.reset(token)
