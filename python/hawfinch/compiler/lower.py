"""Lower: from fields of steps to what the records of C hold.

Design: a step's fields already have the names of its argument struct (csrc/defs/ops.def), so that lowering is one
function of a field's value: numbers stay, tensors become addresses, and what only the run knows stays a Dim or a
Dynamic. Rejected: a lowering per op, a second list of every op's arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir import Array, Dim, Step, Tensor
from .memory import Dynamic, Layout, base_of


def lowering(layout: Layout, arena: int, address: Callable[[Array], int]) -> Callable[[Any, Step], Any]:
    """value(field, step): what a field of a step that is no number holds.

    The address of a tensor, or of (tensor, offset in elements); a Dynamic where only the run knows it, a Dim where it
    moves with the batch; for a string the size of an item. ``arena``: its address; ``address``: of a given buffer.
    """
    itemsize, places, offsets = layout.itemsize, layout.places, layout.offsets

    def value(given: Any, step: Step) -> Any:
        if isinstance(given, str):
            return 8 if step.writes[0].dtype == "int" else itemsize
        if isinstance(given, Tensor):
            t, offset = given, 0
        elif type(given) is tuple:
            t, offset = given
        else:
            return given
        item = 8 if t.dtype == "int" else itemsize
        key = id(base_of(t))
        place = places.get(key)
        if place is None:
            start = arena + offsets[key]
        elif isinstance(place, Dynamic):
            return Dynamic(place.number, place.offset + offset * item)
        else:
            start = address(place[0]) + place[1]
        return offset * item + start if isinstance(offset, Dim) else start + offset * item

    return value
