"""Rows: of a table that only ``gather`` reads, the update sees the rows that the batch has touched.

Design: the batch's indices are put in order, the gradients of equal ones summed in the order of the batch, and the rule
applied to those rows of parameter and slots: the step's cost follows from the batch, not from the table. Decay, moments
and clipping leave the other rows alone, as PyTorch's SparseAdam does, so it is asked for
(``groups={"*.table": dict(sparse=True)}``). Rejected: other rows' decay made up for when they are next touched, which
has a closed form for some rules only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..._core import RULES
from ...compiler.memory import base_of
from ...ir import Step, Tensor, numel, single, size_at
from ...nn.store import Store
from ...ops.shape import SCATTER_ADD
from .buffers import PARAMS, SLOTS, Buffers


class TouchedRows(NamedTuple):
    """The gradient g(room, cols) of the distinct rows of parameter ``name``, elements [offset, offset + size) of the
    flat buffer; ``step`` has summed it."""

    name: str
    offset: int
    size: int
    step: Step

    @property
    def gradient(self) -> Tensor:
        return self.step.writes[0]


def touched_rows(
    steps: Sequence[Step],
    buffers: Buffers,
    store: Store,
    gradients: Mapping[str, Tensor],
    capacity: int,
    names: Collection[str],
) -> tuple[list[Step], list[TouchedRows]]:
    """Puts sums over the batch in the place of those gradients of ``names`` that are one scatter_add for nobody but the
    optimiser."""
    if not names:
        return list(steps), []
    readers = {id(base_of(t)) for step in steps for t in step.reads}
    name_of = {id(base_of(gradients[name])): name for name in names}
    left: list[Step] = []
    found: list[TouchedRows] = []
    for step in steps:
        key = id(base_of(step.writes[0])) if step.op == SCATTER_ADD.name else 0
        if key not in name_of or key in readers:
            left.append(step)
            continue
        name, f = name_of[key], step.fields
        rows, cols = f["rows"], f["cols"]
        order, row = buffers.fresh(rows, "int"), buffers.fresh(rows, "int")
        room = size_at(rows, capacity)
        g = buffers.fresh(room * cols)
        fields = {"order": order, "row": row, "index": f["index"], "rows": rows, "table_rows": f["table_rows"]}
        left.append(single("order_rows", fields, (order, row), (f["index"],), units=1, scope=step.scope))
        fields = {"g": g, "dy": f["dy"], "order": order, "row": row, "rows": rows, "cols": cols}
        reads = (f["dy"], order, row)
        left.append(Step("sum_rows", fields, (g,), reads, units=room, scope=step.scope, flops=room * cols))
        p = store.trainable[name]
        found.append(TouchedRows(name, p.offset, numel(p.shape), left[-1]))  # type: ignore[arg-type]
    return left, found


def rows_sweep(
    buffers: Buffers, rule: str, n_slots: int, scale: Tensor, itemsize: int, touched: TouchedRows, column: int
) -> Step:
    """The rule for these rows, with the columns from ``column`` on."""
    numbers = (PARAMS, *range(SLOTS, SLOTS + n_slots))
    p, *slots = (buffers.bound(number, touched.size, touched.offset * itemsize) for number in numbers)
    g, f = touched.gradient, touched.step.fields
    fields: dict[str, Any] = {
        "p": p,
        "g": g,
        "slot": slots,
        "scale": scale,
        "row": f["row"],
        "rows": f["rows"],
        "cols": f["cols"],
        "rule": RULES[rule][0],
        "column": column,
    }
    return Step(
        "sweep_rows",
        fields,
        writes=(p, *slots),
        reads=(p, g, *slots, scale, f["row"]),
        units=f["rows"],
        by_rows=tuple([(t, g) for t in (p, *slots)]),
        update=True,
        scope=f"optimizer: {rule}",
        flops=12 * g.shape[0],
    )
