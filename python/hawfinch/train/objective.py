"""Objective: the loss, its weight and the metrics of each output of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..losses import Loss, get_loss
from ..metrics import Metric, get_metrics
from ..values import Value, items_of, short


class Head(Value):
    """One loss. name: that of its output, "" where one loss is for all of them."""

    def __init__(self, name: str, loss: Loss, weight: float, metrics: tuple[tuple[str, Metric], ...]):
        self.name, self.loss, self.weight, self.metrics = name, loss, weight, metrics


class Objective(Value):
    """What a training minimises, sum_i weight_i loss_i, and the metrics beside it."""

    def __init__(self, heads: tuple[Head, ...]):
        self.heads = heads
        self.is_single = len(heads) == 1 and heads[0].name == ""  # one loss for all outputs, not one for each


def get_losses(loss: Any) -> dict[str, Loss]:
    """Name of the output -> loss; one loss for all outputs has the name ""."""
    if isinstance(loss, Mapping):
        for name in loss:
            if not isinstance(name, str) or not name:
                raise ArgumentError(f"loss: the names of the outputs must be text, got {name!r}")
        found = {name: get_loss(part) for name, part in loss.items()}
    elif isinstance(loss, tuple | list):
        found = {f"output{i}": get_loss(part) for i, part in enumerate(loss)}
    else:
        return {"": get_loss(loss)}
    if not found:
        raise ArgumentError("loss: expected at least one loss")
    return found


def get_objective(losses: Mapping[str, Loss], weights: Any, metrics: Any) -> Objective:
    """weights: one number per loss, as a tuple or by name (a missing one is 1). metrics: a list for every output, or a
    tuple or a dict of lists."""
    names = list(losses)
    numbers = _by_name(weights, names, "loss_weights") if weights is not None else {}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not value >= 0:
            raise ArgumentError(f"loss_weights: expected numbers >= 0, got {value!r} for {name!r}")
    if weights is not None and not np.isfinite(list(numbers.values())).all():
        raise ArgumentError(f"loss_weights must be finite, got {weights!r}")
    several = names != [""]
    if several and isinstance(metrics, tuple | Mapping) and metrics:
        parts = _by_name(metrics, names, "metrics")
    else:
        parts = dict.fromkeys(names, list(metrics.values()) if isinstance(metrics, Mapping) else metrics)
    heads = []
    for name, loss in losses.items():
        given = parts.get(name, ())
        found = get_metrics(list(given.values()) if isinstance(given, Mapping) else given)
        bound = tuple([(key, metric.for_loss(loss)) for key, metric in found.items()])
        heads.append(Head(name, loss, float(numbers.get(name, 1.0)), bound))
    return Objective(tuple(heads))


def _by_name(given: Any, names: list[str], what: str) -> dict[str, Any]:
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise ArgumentError(f"{what}: there is no loss for an output {name!r}; the outputs are {names}")
        return dict(given)
    wanted = f"{what}: expected {len(names)} of them, one for each loss, or a dict by name"
    parts = items_of(given, wanted)
    if len(parts) != len(names):
        raise ArgumentError(f"{wanted}; got {short(given)}")
    return dict(zip(names, parts, strict=True))
