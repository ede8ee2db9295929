"""Constraints after the sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ... import ops
from ...compiler.memory import Dynamic
from ...constraints import Constraint
from ...errors import ArgumentError, NonFiniteError
from ...ir import Step, Tensor
from ...nn.store import Store
from ...values import short
from .buffers import PARAMS, Buffers
from .columns import Named
from .traced import traced_steps


def constraint_columns(constraint: Constraint, pattern: str) -> dict[str, Any]:
    """pattern: under which it is given, for errors."""
    where = f"of {short(constraint)} (constraints[{pattern!r}])"
    if not isinstance(constraint.numbers, dict):
        raise ArgumentError(f"{constraint!r}: numbers must be a dict, got {short(constraint.numbers)}")
    return {k: v if type(v) is float else Named(v, f"{k} {where}") for k, v in constraint.numbers.items()}


def constraint_steps(
    buffers: Buffers, store: Store, of: Mapping[str, tuple[Constraint, int]], active: int | None
) -> list[Step]:
    """of: name -> constraint and its first column. active: the column that is 0 in steps that update nothing, if there
    are any: these leave the parameters as they are."""
    steps: list[Step] = []
    for name, (constraint, column) in of.items():
        p = store.parameters[name]
        place = Dynamic(PARAMS, p.offset * store.params.itemsize)
        columns = list(range(column, column + len(constraint.numbers)))
        if active is not None:
            columns.append(active)
        apply = _checked(constraint, active is not None)
        steps += traced_steps(buffers, store, apply, [(p.shape, place)], columns, place, f"constraint: {name}")
    return steps


def check_limited(of: Mapping[str, tuple[Constraint, int]], store: Store) -> None:
    """Raises NonFiniteError where a constraint has given what is not finite; C has looked at what comes before it."""
    for name, (constraint, _) in of.items():
        if not np.isfinite(store.parameters[name].data).all():  # type: ignore[arg-type]
            raise NonFiniteError(
                f"{constraint!r} has given numbers that are not finite for parameter {name!r}, which has them now",
                tensor=f"parameter {name!r}",
            )


def _checked(constraint: Constraint, only_active: bool) -> Callable[..., Tensor]:
    """``apply``, whose result must fit where the parameter lies; the last number says whether a step updates."""

    def apply(p: Tensor, *numbers: Tensor) -> Any:
        new = constraint.apply(p, *(numbers[:-1] if only_active else numbers))
        if not isinstance(new, Tensor) or new.shape != p.shape:
            got = f"shape {new.shape}" if isinstance(new, Tensor) else type(new).__name__
            raise ArgumentError(f"{constraint!r}: apply must give a traced tensor of shape {p.shape}, got {got}")
        return ops.where(ops.greater(numbers[-1], 0.0), new, p) if only_active else new

    return apply
