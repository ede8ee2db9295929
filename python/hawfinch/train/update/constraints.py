"""Constraints after the sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...compiler.memory import Dynamic
from ...constraints import Constraint
from ...ir import Step
from ...nn.store import Store
from .buffers import PARAMS, Buffers
from .traced import traced_steps


def constraint_columns(constraint: Constraint) -> dict[str, Any]:
    return constraint.numbers


def constraint_steps(buffers: Buffers, store: Store, of: Mapping[str, tuple[Constraint, int]]) -> list[Step]:
    """of: name -> constraint and its first column."""
    steps: list[Step] = []
    for name, (constraint, column) in of.items():
        p = store.parameters[name]
        place = Dynamic(PARAMS, p.offset * store.params.itemsize)
        columns = range(column, column + len(constraint.numbers))
        scope = f"constraint: {name}"
        steps += traced_steps(buffers, store, constraint.apply, [(p.shape, place)], columns, place, scope)
    return steps
