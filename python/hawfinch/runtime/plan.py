"""Plan: steps with memory and a schedule, bound to a backend, ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .. import _core
from ..compiler.memory import Dynamic, Layout, Place
from ..compiler.schedule import Schedule
from ..compiler.show import listing, stage
from ..errors import ArgumentError
from ..ir import Array, Step, Tensor, numel, size_at
from .backend import Backend, backend_in_use
from .buffers import Memory


def check_threads(threads: int | None) -> int | None:
    """threads itself; raises ArgumentError unless it is None or a whole number from 1 on."""
    if threads is None or (isinstance(threads, int | np.integer) and not isinstance(threads, bool) and threads >= 1):
        return threads
    raise ArgumentError(f"threads must be a whole number >= 1, got {threads!r}")


class Plan:
    """Steps with addresses, ready to run.

    keep: tensors whose values outlive the run; places: id of a tensor -> where it lives, for those that are not the
    arena's; capacity: the largest batch; buffers: what ``memory`` counts, by kind; max_threads: the most that a run may
    be asked to use (default: what the process may use now); backend: what runs it (default: the one in use).
    """

    def __init__(
        self,
        steps: Sequence[Step],
        keep: Sequence[Tensor],
        places: Mapping[int, Place],
        *,
        dtype: str,
        capacity: int,
        buffers: Mapping[str, Sequence[Array]] | None = None,
        max_threads: int | None = None,
        backend: Backend | None = None,
    ):
        self.steps = list(steps)
        self.capacity, self.dtype = capacity, dtype
        self._buffers = buffers or {}
        self.layout = Layout(self.steps, keep, places, capacity=capacity, itemsize=np.dtype(dtype).itemsize)
        self.schedule = Schedule(self.steps, self.layout)
        self.barriers = self.schedule.barriers
        self.max_threads = max_threads or _core.max_threads()
        backend = backend or backend_in_use()
        self.arena = backend.arena(self.layout.arena_bytes)
        self.core = backend.bind(self, self.max_threads)
        stage("plan", self.describe)

    @property
    def nbytes(self) -> int:
        """What this plan itself holds: its arena, and the workspace of the threads that there may be now."""
        return self.arena.nbytes + self.schedule.scratch_bytes * min(self.max_threads, _core.max_threads())

    def view(self, t: Tensor, batch: int, dynamic: Sequence[Array] = ()) -> Array | None:
        """The values of t in memory for a batch of this size: a real array, or None for integers.

        dynamic: the arrays of the run; None for what lives in one that is not given.
        """
        buffer, start = self.layout.place(t)
        if t.dtype == "int" or (isinstance(buffer, Dynamic) and buffer.number >= len(dynamic)):
            return None
        held = self.arena if buffer is None else dynamic[buffer.number] if isinstance(buffer, Dynamic) else buffer
        n = size_at(numel(t.shape), batch) * self.layout.itemsize
        raw: Array = held.reshape(-1).view(np.uint8)[start : start + n]
        return raw.view(self.dtype) if len(raw) == n else None

    def threads_for(self, batch: int, steps: int = 1) -> int:
        """The team size of the least estimated time for ``steps`` steps of ``batch`` rows in one call."""
        return self.schedule.threads_for(batch, steps, self.max_threads)

    def team(self, threads: int | None, batch: int, steps: int = 1) -> int:
        """What to ask of ``_core.Plan.run``: ``threads`` if given, else the estimate, to be confirmed by
        measurement."""
        if check_threads(threads) is not None:
            return min(int(threads), self.max_threads)  # type: ignore[arg-type]
        n = self.threads_for(batch, steps)
        return -n if n > 1 else 1

    @property
    def memory(self) -> Memory:
        """Bytes of parameters, gradients, optimiser state, activations and per-thread workspace."""

        def total(kind: str) -> int:
            return sum(b.nbytes for b in self._buffers.get(kind, ()))

        return Memory(
            total("parameters"), total("gradients"), total("optimizer"), self.arena.nbytes, self.schedule.scratch_bytes
        )

    def describe(self, batch: int | None = None) -> str:
        """A readable listing: one line per record with shapes, bytes, split over threads, estimated time."""
        b = self.capacity if batch is None else batch
        memory = self.memory
        return "\n".join(
            [
                f"plan: {len(self.steps)} records, {sum(self.barriers)} barriers, {self.dtype}, capacity "
                f"{self.capacity}, {self.threads_for(b, 1000)} thread(s) at batch {b}, kernels {_core.kernel_isa()}",
                *listing(self.schedule, b),
                f"bytes: parameters {memory.parameters}, gradients {memory.gradients}, optimizer {memory.optimizer}, "
                f"activations {memory.activations}, workspace {memory.workspace} per thread",
            ]
        )
