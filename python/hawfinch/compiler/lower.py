"""Lower: from fields of steps to what the records of C hold.

Design: a step's fields already have the names of its argument struct (csrc/defs/ops.def), so that lowering is one
function of a field's value: numbers stay, tensors become addresses, and what only the run knows stays a Dim or a
Dynamic. Rejected: a lowering per op, a second list of every op's arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..ir import Array, Dim, Step, Tensor
from .memory import Dynamic, Layout


class Addresses(dict[Tensor, Any]):
    """What the fields of steps that are no numbers hold: ``addresses[t]`` for a tensor.

    arena: its address; address: of a given buffer.
    """

    def __init__(self, steps: Sequence[Step], layout: Layout, arena: int, address: Callable[[Array], int]):
        self.layout, self.arena, self.address = layout, arena, address
        for step in steps:
            self.update(dict.fromkeys(step.reads))
            self.update(dict.fromkeys(step.writes))
        self._place(self)

    def _place(self, tensors: Iterable[Tensor]) -> None:
        places, offsets, arena, address = self.layout.places, self.layout.offsets, self.arena, self.address
        for t in tensors:
            key = id(t if t.view_of is None else t.view_of)
            place = places.get(key)
            if place is None:
                self[t] = arena + offsets[key]
            else:
                self[t] = place if isinstance(place, Dynamic) else address(place[0]) + place[1]

    def __missing__(self, t: Tensor) -> Any:
        """A table that a step holds and never writes is not among what it reads."""
        self._place([t])
        return self[t]

    def __call__(self, given: Any, step: Step) -> Any:
        """What any field holds: the address of a tensor, or of (tensor, offset in elements), a Dynamic where only the
        run knows it, a Dim where it moves with the batch; for a string the size of an item."""
        if isinstance(given, str):
            return 8 if step.writes[0].dtype == "int" else self.layout.itemsize
        if isinstance(given, Tensor):
            return self[given]
        if type(given) is not tuple:
            return given
        t, offset = given
        offset = offset * (8 if t.dtype == "int" else self.layout.itemsize)
        start = self[t]
        if isinstance(start, Dynamic):
            return Dynamic(start.number, start.offset + offset)
        return offset + start if isinstance(offset, Dim) else start + offset
