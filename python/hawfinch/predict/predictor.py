"""Prediction: rows stream through the net in chunks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..data.arrays import as_inputs, check_features, check_finite
from ..errors import ArgumentError, LabelError
from ..function import check_out
from ..ir import Array, size_at
from ..nn.module import Module
from ..runtime.plan import Plan
from .plan import MOST_THREADS, prediction_plan

CACHE_BYTES = 1 << 18  # activations of one thread's chunk stay in L2
SMALL = 64  # rows: calls up to this size share one small plan


class Pool:
    """Plans of one capacity: one for each call at work, so calls from several Python threads do not wait."""

    def __init__(self, model: Module, capacity: int):
        self.model, self.capacity = model, capacity
        plan, self.outputs = prediction_plan(model, capacity, MOST_THREADS)
        self.free: list[Plan] = [plan]
        self.row_bytes = plan.arena.nbytes // capacity

    def take(self) -> Plan:
        try:
            return self.free.pop()
        except IndexError:
            return prediction_plan(self.model, self.capacity, MOST_THREADS)[0]

    def shapes(self, rows: int) -> list[tuple[tuple[int, ...], str]]:
        return [
            (tuple(size_at(s, rows) for s in shape), _result_dtype(kind, self.model)) for shape, kind in self.outputs
        ]


def _result_dtype(kind: str, model: Module) -> str:
    return "int64" if kind == "int" else model.dtype


def _pool(model: Module, rows: int) -> Pool:
    model.store()
    small: Pool | None = model._pools.get("small")
    if small is None:
        small = model._pools["small"] = Pool(model, SMALL)
    if rows <= SMALL:
        return small
    large: Pool | None = model._pools.get("large")
    if large is None:
        chunk = _core.max_threads() * CACHE_BYTES // max(small.row_bytes, 1)
        chunk = max(SMALL, min(4096, chunk // SMALL * SMALL))
        large = model._pools["large"] = small if chunk == SMALL else Pool(model, chunk)
    return large


def predict(model: Module, x: Any, out: Array | None, threads: int | None) -> Any:
    """``Module.predict``."""
    arrays = as_inputs(x)
    if model._store is None or model._input is None:
        model.build(*[a.shape[1:] for a in arrays])
    assert model._input is not None
    check_features(arrays, model._input)
    for i, a in enumerate(arrays):
        check_finite(a, "x" if len(arrays) == 1 else f"x[{i}]")
    rows = len(arrays[0])
    pool = _pool(model, rows)
    results = _results(pool, rows, out, arrays)
    if rows:
        plan = pool.take()
        for i, a in enumerate(arrays):
            plan.core.set_source(i, a)
        batch = min(pool.capacity, rows)
        n_steps = -(-rows // batch)
        status, _ = plan.core.run(
            tuple(results), n_steps=n_steps, batch=batch, rows=rows, threads=plan.team(threads, batch, n_steps)
        )
        plan.core.drop_sources()
        pool.free.append(plan)
        if pool.capacity == SMALL and len(arrays) == len(results) == 1:
            most = next((n for n in (SMALL, 16, 4, 1) if plan.threads_for(n) == 1), 0)
            model._quick = _core.Quick(pool.free, arrays, 1, most, 1, results[0])
        if status == _core.BAD_INDEX:
            raise LabelError("an index is outside of the table that it reads")
    return results[0] if len(results) == 1 else tuple(results)


def _results(pool: Pool, rows: int, out: Array | None, arrays: tuple[Array, ...]) -> list[Array]:
    shapes: list[tuple[tuple[int, ...], str]] = pool.shapes(rows)
    if out is not None:
        if len(shapes) > 1:
            raise ArgumentError(f"out: the model has {len(shapes)} outputs; leave it out and take the tuple")
        check_out(out, *shapes[0], list(arrays))
        return [out]
    return [np.empty(shape, dtype) for shape, dtype in shapes]
