"""Lower: from fields of steps to what the records of C hold.

Design: a step's fields already have the names of its argument struct (csrc/defs/ops.def), so that lowering is one
function of a field's value: numbers stay, tensors become addresses, and what only the run knows stays a Dim or a
Dynamic. Rejected: a lowering per op, a second list of every op's arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir import Array, Dim, Step, Tensor
from .memory import Dynamic, Layout


class Lowering:
    """lowering(field, step): what a field of a step that is no number holds.

    The address of a tensor, or of (tensor, offset in elements); a Dynamic where only the run knows it, a Dim where it
    moves with the batch; for a string the size of an item. ``addresses``: of all tensors that steps touch, so that
    most fields are looked up, not asked for. ``arena``: its address; ``address``: of a given buffer.
    """

    def __init__(self, layout: Layout, arena: int, address: Callable[[Array], int]):
        self.layout, self.arena, self.address = layout, arena, address
        self.addresses: dict[Tensor, int | Dynamic] = {}
        places, offsets = layout.places, layout.offsets
        for t, base in layout.base.items():
            place = places.get(id(base))
            if place is None:
                self.addresses[t] = arena + offsets[id(base)]
            else:
                self.addresses[t] = place if isinstance(place, Dynamic) else address(place[0]) + place[1]

    def _address(self, t: Tensor) -> int | Dynamic:
        buffer, offset = self.layout.place(t)
        if isinstance(buffer, Dynamic):
            return buffer
        return offset + (self.arena if buffer is None else self.address(buffer))

    def __call__(self, given: Any, step: Step) -> Any:
        itemsize = self.layout.itemsize
        if isinstance(given, str):
            return 8 if step.writes[0].dtype == "int" else itemsize
        if isinstance(given, Tensor):
            t, offset = given, 0
        elif type(given) is tuple:
            t, offset = given
        else:
            return given
        item = 8 if t.dtype == "int" else itemsize
        start = self.addresses.get(t)
        if start is None:
            start = self._address(t)
        if isinstance(start, Dynamic):
            return Dynamic(start.number, start.offset + offset * item)
        return offset * item + start if isinstance(offset, Dim) else start + offset * item
