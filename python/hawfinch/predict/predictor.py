"""Prediction: rows stream through the net in chunks.

Design: a model keeps one ``Predictor``, which holds its plans, one pool for each shape of the inputs, in a bounded
cache; they are thrown away when the model's memory or its layers have changed. Rejected: plans in the module, which
then could not be copied or pickled as a value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..data.arrays import as_inputs, check_finite, check_whole, input_specs, reads_as_is, wrong_index, wrong_shape
from ..errors import ArgumentError, ShapeError, unknown_name
from ..function import check_out
from ..ir import Array, Spec, collector_paused, size_at
from ..nn.module import Module
from ..nn.store import Store
from ..runtime.cache import PlanCache
from ..runtime.plan import Plan
from .plan import MOST_THREADS, prediction_plan

CHUNK_BYTES = 1 << 18  # activations of one thread's chunk stay in L2
SMALL = 64  # rows: calls up to this size share one small plan


class Pool:
    """Plans of one capacity: one for each call at work, so calls from several Python threads do not wait."""

    def __init__(self, model: Module, inputs: tuple[Spec, ...], capacity: int, layer: Module | None = None):
        self.inputs, self.capacity, self.layer = inputs, capacity, layer
        plan, self.outputs = prediction_plan(model, inputs, capacity, MOST_THREADS, layer)
        self.free: list[Plan] = [plan]
        self.row_bytes = plan.arena.nbytes // capacity

    @property
    def nbytes(self) -> int:
        return sum([plan.nbytes for plan in self.free])

    def take(self, model: Module) -> Plan:
        try:
            return self.free.pop()
        except IndexError:
            return prediction_plan(model, self.inputs, self.capacity, MOST_THREADS, self.layer)[0]


class Predictor:
    """A model's plans for prediction, as long as its memory and its layers stay as they are."""

    def __init__(self, store: Store, version: int):
        self.store, self.version = store, version
        self.pools: PlanCache[Pool] = PlanCache(lambda pool: pool.nbytes)

    def pool(self, model: Module, inputs: tuple[Spec, ...], rows: int, layer: Module | None = None) -> Pool:
        small = self._pool(model, inputs, SMALL, layer)
        if rows <= SMALL:
            return small
        chunk = _core.max_threads() * CHUNK_BYTES // max(small.row_bytes, 1)
        chunk = max(SMALL, min(4096, chunk // SMALL * SMALL))
        return small if chunk == SMALL else self._pool(model, inputs, chunk, layer)

    def _pool(self, model: Module, inputs: tuple[Spec, ...], capacity: int, layer: Module | None) -> Pool:
        key = inputs, capacity, layer
        found = self.pools.get(key)
        if found is None:
            with collector_paused():
                found = self.pools.put(key, Pool(model, inputs, capacity, layer))
        return found


def outputs(model: Module, x: Any, name: str) -> Array | tuple[Array, ...]:
    """``Module.outputs``."""
    layers = dict(model.modules())
    if not isinstance(name, str) or name not in layers:
        raise unknown_name("layer", name, [path for path in layers if path])
    results = predict(model, x, None, None, layers[name] if name else None)
    if isinstance(results, dict):
        return tuple(results.values())
    if isinstance(results, tuple) and not results:
        raise ArgumentError(f"layer {name!r} gives no output in inference: forward does not call it")
    return results


def predict(
    model: Module, x: Any, out: Array | None, threads: int | None, layer: Module | None = None
) -> Array | tuple[Array, ...] | dict[str, Array]:
    """``Module.predict``; layer: what that layer gives instead."""
    arrays = as_inputs(x, model.forward)
    if model.inputs is None:
        model.build(*[a.shape[1:] for a in arrays])
    store, inside = model.home(), model._hf
    predictor = inside.predictor
    if predictor is None or predictor.store is not store or predictor.version != model.version:
        predictor = inside.predictor = Predictor(store, model.version)
    watch = inside.watch
    assert model.inputs is not None
    inputs = input_specs(arrays, model.inputs)
    rows = len(arrays[0])
    try:
        pool: Pool = predictor.pool(model, inputs, rows, layer)
    except ShapeError as error:
        if model.inputs is None or inputs == model.inputs:
            raise
        raise wrong_shape(arrays, model.inputs, f" ({error})") from None
    for i, (a, spec) in enumerate(zip(arrays, inputs, strict=True)):
        name = "x" if len(arrays) == 1 else f"x[{i}]"
        check_finite(a, name)
        if spec.dtype == "int":
            check_whole(a, name)
    results = _results(pool, store, rows, out, arrays)
    if rows:
        plan = pool.take(model)
        for i, a in enumerate(arrays):
            plan.core.set_source(i, a)
        batch = min(pool.capacity, rows)
        n_steps = -(-rows // batch)
        status, _ = plan.core.run(
            tuple(results), n_steps=n_steps, batch=batch, rows=rows, threads=plan.team(threads, batch, n_steps)
        )
        plan.core.drop_sources()
        pool.free.append(plan)
        if (
            pool.capacity == SMALL
            and layer is None
            and len(arrays) == len(results) == 1
            and watch is not None
            and not model.output_names
            and reads_as_is(inputs[0], arrays[0])
        ):
            most = next((n for n in (SMALL, 16, 4, 1) if plan.threads_for(n) == 1), 0)
            inside.quick = _core.Quick(watch, pool.free, arrays, 1, most, 1, results[0])
        if status == _core.BAD_INDEX:
            raise wrong_index(arrays, inputs)
    if model.output_names and layer is None:
        return dict(zip(model.output_names, results, strict=True))
    return results[0] if len(results) == 1 else tuple(results)


def _results(pool: Pool, store: Store, rows: int, out: Array | None, arrays: tuple[Array, ...]) -> list[Array]:
    shapes = [tuple([size_at(s, rows) for s in spec.shape]) for spec in pool.outputs]
    dtypes = ["int64" if spec.dtype == "int" else store.dtype for spec in pool.outputs]
    if out is not None:
        if len(shapes) > 1:
            raise ArgumentError(f"out: the model has {len(shapes)} outputs; leave it out and take the tuple")
        check_out(out, shapes[0], dtypes[0], list(arrays))
        return [out]
    return [np.empty(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
