"""What a schedule or a callback may follow: the names that the History will have, known before an epoch is over."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ArgumentError, near_names
from .objective import Objective


def history_names(objective: Objective, penalised: bool, validated: bool) -> list[str]:
    """The columns of the History of a fit, in their order."""
    names = ["loss"]
    for head in objective.heads:
        prefix = f"{head.name}_" if head.name else ""
        names += [name for name in (f"{prefix}loss", *[f"{prefix}{m}" for m, _ in head.metrics]) if name != "loss"]
    evaluated = [f"val_{name}" for name in names] if validated else []
    return [*names, *(["penalty"] if penalised else []), *evaluated]


def check_monitor(what: str, name: str, names: Iterable[str]) -> None:
    """Raises ArgumentError for a name that is none of the History's."""
    names = list(names)
    if name not in names:
        near = near_names(name, names)
        hint = f". Did you mean {' or '.join(map(repr, near))}?" if near else ""
        if name.startswith("val_") and not any(known.startswith("val_") for known in names):
            hint = "; pass validation_data to fit"
        raise ArgumentError(f"{what}: there is no {name!r} in the history, only {', '.join(names)}{hint}")
