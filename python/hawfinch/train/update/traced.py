"""Parts of an update that are written in traced ops: they go down the road of every other function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...compiler.group import fuse
from ...compiler.memory import Dynamic, Place, base_of
from ...compiler.precision import in_precision
from ...compiler.rewrite import fresh, rewrite
from ...compiler.schedule import share
from ...ir import Graph, Shape, Step, Tensor, input_tensor, single, tracing
from ...nn.store import Store
from ...runtime.rows import model_places
from .buffers import Buffers, state_step


def traced_steps(
    buffers: Buffers,
    store: Store,
    function: Callable[..., Tensor | Sequence[Tensor]],
    arrays: Sequence[tuple[Shape, Place]],
    columns: Sequence[int],
    result: Place | Sequence[Place],
    scope: str,
    precision: str = "f32",
) -> list[Step]:
    """result = function(*arrays, *numbers), as steps of an update; or several results at once.

    arrays: shapes and where they are; columns: those that hold the numbers of this step. A result may lie where one
    of the arrays lies; where that is read while it is written, or later, the result takes a place of its own first.
    precision: of the products.
    """
    several = isinstance(result, list)
    targets: list[Place] = result if isinstance(result, list) else [result]  # type: ignore[list-item]
    graph = Graph()
    with tracing(graph):
        given = [input_tensor(graph, f"array{i}", shape) for i, (shape, _) in enumerate(arrays)]
        numbers = [input_tensor(graph, f"number{i}", ()) for i in range(len(columns))]
        made = function(*given, *numbers)
        wanted = fresh(graph, list(made) if several else [made])  # type: ignore[list-item]
    new, to = rewrite(graph, wanted)
    places = model_places(new, store.params, store.buffers)
    for t, (_, place) in zip(given, arrays, strict=True):
        if id(t) in to:
            places[id(to[id(t)])] = place
    outs = [to[id(t)] for t in wanted]
    steps = []
    for t, column in zip(numbers, columns, strict=True):
        if id(t) in to:
            fields: dict[str, Any] = {"y": to[id(t)], "column": column, "n": 1}
            steps.append(single("scalars", fields, (to[id(t)],), ()))
    inputs = [(base_of(to[id(t)]), place) for t, (_, place) in zip(given, arrays, strict=True) if id(t) in to]
    taken_by = [
        {t for t, place in inputs if type(where) is type(place) is Dynamic and place == where} for where in targets
    ]
    apart = [out for out, taken in zip(outs, taken_by, strict=True) if taken]
    computed = fuse(in_precision(new, precision, store.dtype), outs, apart)
    steps += computed
    for out, where, taken in zip(outs, targets, taken_by, strict=True):
        if _reads_what_it_writes(computed, base_of(out), taken):
            with tracing(new):
                target = input_tensor(new, "result", out.shape)
            places[id(target)] = where
            steps.append(state_step(target, out))
        else:
            places[id(base_of(out))] = where
    share(steps)
    for step in steps:
        step.update, step.scope = True, scope
    buffers.adopt(new, places)
    return steps


def _reads_what_it_writes(steps: Sequence[Step], out: Tensor, taken: set[Tensor]) -> bool:
    """Whether a step from the first one on that writes ``out`` reads what lies in the same place, but element by
    element."""
    written = False
    for step in steps:
        written = written or any(base_of(t) is out for t in step.writes)
        by_element = {base_of(source) for target, source in step.in_place if base_of(target) is out}
        if written and any(base_of(t) in taken - by_element for t in step.reads):
            return True
    return False
