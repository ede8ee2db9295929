"""What a schedule or a callback may follow: the names that the History will have, known before an epoch is over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, near_names, unknown_name
from ..values import is_word
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


def check_mode(what: str, mode: object) -> str:
    if not is_word(mode, "auto", "min", "max"):
        raise unknown_name(f"{what}: mode", mode, ("auto", "min", "max"))
    return str(mode)


def direction(what: str, name: str, mode: str, objective: Objective) -> float:
    """1 where smaller is better, -1 where larger is. Raises ArgumentError where "auto" can't know."""
    if mode != "auto":
        return 1.0 if mode == "min" else -1.0
    base = name.removeprefix("val_")
    if base in ("loss", "penalty"):
        return 1.0
    for head in objective.heads:
        prefix = f"{head.name}_" if head.name else ""
        if base == f"{prefix}loss":
            return 1.0
        for key, metric in head.metrics:
            if base == f"{prefix}{key}" and metric.larger_is_better is not None:
                return -1.0 if metric.larger_is_better else 1.0
    raise ArgumentError(f"{what}: whether {name!r} is to be small or large is not known; pass mode='min' or mode='max'")


def better(score: float, best: float | None, sign: float, delta: float = 0.0) -> bool:
    """Whether score is better than best by more than delta; NaN never is."""
    if best is None:
        return not math.isnan(score)
    return sign * score < sign * best - delta


def score_of(what: str, name: str, logs: Mapping[str, Any]) -> float:
    """What an epoch's results have under a name. Raises ArgumentError where that is not one number."""
    score = logs[name]
    if isinstance(score, np.ndarray):
        raise ArgumentError(f"{what}: {name!r} is an array of shape {score.shape}; it can follow a number only")
    return float(score)
