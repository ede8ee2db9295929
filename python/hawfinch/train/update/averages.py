"""Averages of parameters and state, and which of the two sets is in the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...averaging import Average
from ...compiler.memory import Dynamic
from ...errors import ArgumentError
from ...ir import Array, Step, Tensor
from ...nn.store import Store
from ...optim.base import Optimizer
from ...values import called
from .buffers import PARAMS, STATE, Buffers
from .columns import Clock, Rows
from .state import UpdateState
from .traced import traced_steps


def check_average(average: Any) -> Average | None:
    if average is None or isinstance(average, Average):
        return average
    raise ArgumentError(f"average: expected an average such as hf.EMA(0.999), got {average!r:.80}")


def average_columns(average: Average, accumulate: int) -> dict[str, Any]:
    """keep and gain; 1 and 0 in steps that update nothing."""

    def factors(clock: Clock) -> tuple[Array, Array]:
        updates = clock.updates_before(accumulate) - clock.averaged_from
        begin, total = clock.begin - clock.averaged_from, clock.total_updates(accumulate)
        if type(average).factors_in_fit is Average.factors_in_fit:  # a user's own: what it gets wrong is told
            given = called(f"factors of {average!r}", average.factors, updates)
        else:
            given = average.factors_in_fit(updates, begin, total)
        try:
            keep, gain = (np.broadcast_to(np.asarray(part, np.float64), updates.shape) for part in given)
        except (TypeError, ValueError):
            raise ArgumentError(
                f"{average!r}: factors must give (keep, gain), of {updates.shape} numbers each"
            ) from None
        if not np.isfinite([keep, gain]).all():
            raise ArgumentError(f"{average!r}: factors gave numbers that are not finite")
        active = np.asarray(clock.active(accumulate)) != 0
        return np.where(active, keep, 1.0), np.where(active, gain, 0.0)

    return {"keep": Rows(lambda clock: factors(clock)[0]), "gain": Rows(lambda clock: factors(clock)[1])}


def average_steps(
    buffers: Buffers, store: Store, number: int, column: int, swept: Sequence[tuple[int, int]]
) -> list[Step]:
    """number: of the buffer with the average of the parameters; that of the state follows. swept: parameters [begin,
    end) that a sweep has averaged."""

    def next_average(average: Tensor, p: Tensor, keep: Tensor, gain: Tensor) -> Any:
        return keep * average + gain * p

    steps: list[Step] = []
    itemsize, columns = store.params.itemsize, [column, column + 1]
    pieces = [(PARAMS, number, begin, end) for begin, end in _left(store, swept)]
    if store.buffers.size:
        pieces.append((STATE, number + 1, 0, store.buffers.size))
    for source, target, begin, end in pieces:
        result = Dynamic(target, begin * itemsize)
        arrays = [((end - begin,), result), ((end - begin,), Dynamic(source, begin * itemsize))]
        steps += traced_steps(buffers, store, next_average, arrays, columns, result, "average")
    return steps


def work_out_average(own: Mapping[str, Optimizer], store: Store, slots: dict[str, Array]) -> None:
    """That of an optimiser which averages by itself. own: the optimiser of each parameter."""
    gap, average = slots["average_gap"], slots["average"]
    for name, p in store.parameters.items():
        part = slice(p.offset, p.offset + p.room)
        if p.frozen:  # its own average, and where it goes on from
            gap[part] = 0
        np.multiply(gap[part], gap.dtype.type(own[name].reach), out=average[part])
        average[part] += store.params[part]


def _left(store: Store, swept: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parameters that no sweep has averaged, those that touch joined. Padding is 0 and its own average."""
    left: list[tuple[int, int]] = []
    for p in store.parameters.values():
        begin, end = p.offset, p.offset + p.room
        if any([a <= begin and begin + math.prod(p.shape) <= b for a, b in swept]):
            continue
        if left and left[-1][1] == begin:
            begin = left.pop()[0]
        left.append((begin, end))
    return left


def show_average(
    state: UpdateState, store: Store, slots: dict[str, Array], recompute: Callable[[], None] | None = None
) -> None:
    """At the end of a fit: the contents are exchanged, so that views of the parameters see the average.

    recompute: what makes new running statistics for it, where it is another than what was trained.
    """
    if state.updates > state.averaged_from:
        _exchange(store, slots)
        try:
            if recompute is not None and not np.array_equal(store.params, slots["average"]):
                recompute()
        finally:
            state.shown = _digest(store)


def take_back(state: UpdateState, store: Store, slots: dict[str, Array]) -> None:
    """Before training goes on: from where it was, or from what the user has put into the model."""
    if state.shown:
        if state.shown == _digest(store):
            _exchange(store, slots)
        else:
            state.averaged_from = state.updates
            if "average_gap" in slots:
                slots["average_gap"][...] = 0
        state.shown = ""


def _arrays(store: Store, slots: dict[str, Array]) -> list[tuple[bool, Array, Array]]:
    """Of each array of the model: whether it is frozen, its elements, and those of its average."""
    found = []
    groups = (("average", store.params, store.parameters), ("average_state", store.buffers, store.state))
    for name, flat, arrays in [group for group in groups if group[0] in slots]:
        for p in arrays.values():
            part = slice(p.offset, p.offset + p.room)
            found.append((p.frozen, flat[part], slots[name][part]))
    return found


def _exchange(store: Store, slots: dict[str, Array]) -> None:
    """What is frozen stays in the model, whichever of the two it was frozen as, and is its own average."""
    for frozen, array, average in _arrays(store, slots):
        kept = array.copy()
        if not frozen:
            array[...] = average
        average[...] = kept


def _digest(store: Store) -> str:
    import hashlib  # slow to import

    found = hashlib.sha256(store.params.tobytes())
    found.update(store.buffers.tobytes())
    return found.hexdigest()
