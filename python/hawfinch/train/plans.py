"""The plans of one trainer: by key, as many as fit in so many bytes."""

from __future__ import annotations

from ..errors import warn
from ..ir import Array, collector_paused
from ..nn.module import Module
from ..runtime.cache import PlanCache
from .batch_plan import BatchPlan
from .batch_trace import BatchTrace, StepKey
from .update import Update

MAX_BYTES = 1 << 24  # of activations
FEW = 3  # plans as large as the last one are kept whatever their size: training, evaluation, one more shape


class Plans:
    """Plans for one model's parameters. Two calls with equal keys, the second of no larger batch, get one plan."""

    def __init__(self) -> None:
        self.cache: PlanCache[BatchPlan] = PlanCache(lambda plan: plan.nbytes, MAX_BYTES)
        self._told: set[str] = set()

    def get(
        self, model: Module, key: StepKey, batch: int, update: Update | None, buffers: tuple[Array, ...]
    ) -> BatchPlan:
        """A plan for batches of this size, bound to the buffers."""
        plan = self.cache.get(key)
        if plan is None or plan.capacity < batch or not all([w.unchanged() for w in plan.watches]):
            with collector_paused():
                plan = self.compile(model, key, batch, update, buffers)
            self.cache.max_bytes = max(MAX_BYTES, FEW * plan.nbytes)
            self.cache.put(key, plan)
        plan.buffers, plan.update = buffers, update
        return plan

    def compile(
        self, model: Module, key: StepKey, batch: int, update: Update | None, buffers: tuple[Array, ...]
    ) -> BatchPlan:
        trace = BatchTrace(model, key)
        for text in trace.advice:
            if text not in self._told:
                self._told.add(text)
                warn(text)
        return BatchPlan(trace, batch, update, buffers, key.precision)

    def clear(self) -> None:
        """To be called when the parameters have moved or the optimiser has other slots."""
        self.cache.clear()
