"""Tensors that stand for memory outside of a graph, so that barriers see who touches it."""

from __future__ import annotations

from ...compiler.memory import Dynamic, Place
from ...ir import Array, Graph, Size, Step, Tensor, input_tensor, numel, single

PARAMS, STATE, GRADIENT, SLOTS = range(4)  # numbers of what a batch's plan is bound to; slots from the last on


class Buffers:
    """Makes such tensors for one plan. ``places``: where those of the plan are, by id."""

    def __init__(self, graph: Graph, places: dict[int, Place]):
        self.graph, self.places, self.n = graph, places, 0
        self.graphs: list[Graph] = []

    def of(self, array: Array) -> Tensor:
        """All of an array."""
        return self._placed(array.size, (array, 0))

    def bound(self, number: int, n: int, offset: int) -> Tensor:
        """n elements, from this byte on, of one of the arrays that are given at each run."""
        return self._placed(n, Dynamic(number, offset))

    def fresh(self, n: Size, dtype: str = "real") -> Tensor:
        """n elements of the plan's own memory."""
        self.n += 1
        return input_tensor(self.graph, f"buffer{self.n}", (n,), dtype)

    def adopt(self, graph: Graph, places: dict[int, Place]) -> None:
        """Tensors of another graph become part of the plan, which holds it: ids stay theirs."""
        self.graphs.append(graph)
        self.places.update(places)

    def _placed(self, size: int, place: Place) -> Tensor:
        t = self.fresh(size)
        self.places[id(t)] = place
        return t


def state_step(target: Tensor, value: Tensor) -> Step:
    """A state buffer takes a new value."""
    n = numel(value.shape)
    fields = {
        "y": target,
        "x": value,
        "dim": [n, 1, 1, 1, 1, 1],
        "y_stride": [1, 0, 0, 0, 0, 0],
        "x_stride": [1, 0, 0, 0, 0, 0],
        "itemsize": "itemsize",
    }
    return single("copy", fields, (target,), (value,), units=n, update=True, scope="state")
