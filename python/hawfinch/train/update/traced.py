"""Parts of an update that are written in traced ops: they go down the road of every other function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...compiler.group import fuse
from ...compiler.memory import Place, base_of
from ...compiler.rewrite import fresh, rewrite
from ...ir import Graph, Shape, Step, Tensor, input_tensor, single, tracing
from ...nn.store import Store
from ...runtime.rows import model_places
from .buffers import Buffers


def traced_steps(
    buffers: Buffers,
    store: Store,
    function: Callable[..., Tensor],
    arrays: Sequence[tuple[Shape, Place]],
    columns: Sequence[int],
    result: Place,
    scope: str,
) -> list[Step]:
    """result = function(*arrays, *numbers), as steps of an update.

    arrays: shapes and where they are; columns: those that hold the numbers of this step. The result may lie where one
    of the arrays lies: nothing is read after it is written.
    """
    graph = Graph()
    with tracing(graph):
        given = [input_tensor(graph, f"array{i}", shape) for i, (shape, _) in enumerate(arrays)]
        numbers = [input_tensor(graph, f"number{i}", ()) for i in range(len(columns))]
        wanted = fresh(graph, [function(*given, *numbers)])
    new, to = rewrite(graph, wanted)
    places = model_places(new, store.params, store.buffers)
    for t, (_, place) in zip(given, arrays, strict=True):
        if id(t) in to:
            places[id(to[id(t)])] = place
    out = to[id(wanted[0])]
    places[id(base_of(out))] = result
    steps = []
    for t, column in zip(numbers, columns, strict=True):
        if id(t) in to:
            fields: dict[str, Any] = {"y": to[id(t)], "column": column, "n": 1}
            steps.append(single("scalars", fields, (to[id(t)],), ()))
    steps += fuse(new, [out])
    for step in steps:
        step.update, step.scope = True, scope
    buffers.adopt(new, places)
    return steps
