"""Optimisers that look at a parameter as a whole: traced functions of it (``hawfinch.optim.traced``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ... import ops
from ...compiler.memory import Dynamic
from ...ir import Shape, Step, Tensor, numel, size_at
from ...nn.store import LINE, Store
from ...optim.traced import Moving, TracedOptimizer
from ...regularizers import Regularizer
from .buffers import PARAMS, SLOTS, Buffers
from .columns import Rows
from .traced import traced_steps


class Slot(NamedTuple):
    """State of one parameter: shape, and its place in the buffer of that name."""

    shape: Shape
    offset: int


class Whole(NamedTuple):
    """A parameter that is moved as a whole. names: of the columns from ``column`` on."""

    optimizer: TracedOptimizer
    column: int
    names: tuple[str, ...]

    @property
    def signature(self) -> tuple[Any, ...]:
        return (*self.optimizer.structure, self.column, self.names)


def whole_columns(
    optimizer: TracedOptimizer,
    clip_value: float | None,
    regularizer: Regularizer | None,
    penalties: Mapping[str, Any],
    every: int,
) -> dict[str, Any]:
    """The columns of a parameter: hyperparameters, what comes before the rule, whether a step updates."""
    given = optimizer.numbers()
    if clip_value is not None:
        given["clip_value"] = clip_value
    if regularizer is not None:
        given |= penalties
    if every > 1:
        given["active"] = Rows(lambda clock: clock.active(every))
    return given


def layout(optimizer: TracedOptimizer, store: Store) -> tuple[dict[str, int], dict[str, dict[str, Slot]]]:
    """Sizes of the buffers of the optimiser's own, and for each parameter that it may take its slots by name."""
    sizes: dict[str, int] = {}
    found: dict[str, dict[str, Slot]] = {}
    shared = optimizer.slots_of(optimizer.rule)
    for name, p in store.parameters.items():
        if not isinstance(optimizer.part(name, p.shape), TracedOptimizer):
            continue
        slots = found[name] = {}
        for slot, shape in optimizer.own_slots(p.shape).items():
            slots[slot] = Slot(shape, p.offset if slot in shared else sizes.setdefault(slot, 0))
            if slot not in shared:
                sizes[slot] += -(-size_at(numel(shape), 1) // LINE) * LINE
    return sizes, found


def whole_steps(
    buffers: Buffers,
    store: Store,
    of: Mapping[str, Whole],
    slots: Mapping[str, Mapping[str, Slot]],
    slot_names: Sequence[str],
    source: int,
    scale: Tensor | None,
    precision: str,
    changes: Mapping[str, Tensor],
) -> list[Step]:
    """One trace for all of them. source: number of the buffer with the gradient; scale: what clips its norm. changes:
    where those of them go by which some parameters change."""
    item = store.params.itemsize
    arrays: list[tuple[Shape, Any]] = [] if scale is None else [((1,), buffers.places[id(scale)])]
    targets: list[Any] = []
    for name in of:
        p = store.parameters[name]
        mine = [Dynamic(SLOTS + slot_names.index(k), s.offset * item) for k, s in slots[name].items()]
        place = Dynamic(PARAMS, p.offset * item)
        arrays += [(p.shape, place), (p.shape, Dynamic(source, p.offset * item))]
        arrays += [(s.shape, at) for s, at in zip(slots[name].values(), mine, strict=True)]
        targets += [place, *mine, *([buffers.places[id(changes[name])]] if name in changes else [])]
    columns = sorted({(w.column + i, k) for w in of.values() for i, k in enumerate(w.names)})

    def move(*tensors: Tensor) -> list[Tensor]:
        rest = iter(tensors)
        factor = None if scale is None else next(rest)
        taken = {name: (next(rest), next(rest), {slot: next(rest) for slot in slots[name]}) for name in of}
        number = dict(zip([c for c, _ in columns], rest, strict=True))
        given = []
        for name, (p, g, state) in taken.items():
            numbers = {k: number[of[name].column + i] for i, k in enumerate(of[name].names)}
            given.append(Moving(of[name].optimizer, p, _gradient(p, g, factor, numbers), state, numbers, store.dtype))
        moved: list[tuple[Tensor, dict[str, Tensor]]] = [None] * len(given)  # type: ignore[list-item]
        for kind in {type(k.optimizer) for k in given}:
            mine = [i for i, k in enumerate(given) if type(k.optimizer) is kind]
            for i, result in zip(mine, given[mine[0]].optimizer.move([given[i] for i in mine]), strict=True):
                moved[i] = result
        results = []
        for (name, (p, _, state)), (new, new_state), k in zip(taken.items(), moved, given, strict=True):
            pairs = [(p, new), *((old, new_state[slot]) for slot, old in state.items())]
            if "active" in k.numbers:
                pairs = [(old, ops.where(ops.greater(k.numbers["active"], 0.0), after, old)) for old, after in pairs]
            results += [after for _, after in pairs]
            if name in changes:
                results.append(pairs[0][1] - p)
        return results

    scope = "optimizer: " + " ".join(sorted({type(w.optimizer).__name__.lower() for w in of.values()}))
    return traced_steps(buffers, store, move, arrays, [c for c, _ in columns], targets, scope, precision)


def _gradient(p: Tensor, g: Tensor, factor: Tensor | None, numbers: Mapping[str, Tensor]) -> Tensor:
    """Clipped, then with the penalties' parts."""
    if factor is not None:
        g = g * ops.reshape(factor, ())
    if "clip_value" in numbers:
        limit = numbers["clip_value"]
        g = ops.where(ops.greater(g, limit), limit, ops.where(ops.less(g, -limit), -limit, g))
    if "decay" in numbers:
        g = g + numbers["decay"] * p
    if "l1" in numbers:
        above = ops.where(ops.greater(p, 0.0), numbers["l1"], 0.0)
        g = g + ops.where(ops.less(p, 0.0), -numbers["l1"], above)
    return g
