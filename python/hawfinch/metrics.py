"""Metrics: one number per row, averaged over an epoch in C. Computed inside the training step, at almost no cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import ops
from .errors import ArgumentError, unknown_name
from .ir import Tensor
from .losses import Loss, per_row

Metric = Callable[[Tensor, Tensor], Tensor]

METRICS: dict[str, Callable[[Loss], Metric]] = {
    "accuracy": lambda loss: loss.accuracy,
    "mse": lambda loss: lambda p, t: per_row(ops.square(p - t)),
    "mae": lambda loss: lambda p, t: per_row(ops.abs(p - t)),
}


def get_metrics(metrics: Sequence[Any], loss: Loss) -> dict[str, Metric]:
    """Name -> function of traced (prediction, target). Raises ArgumentError with near matches for unknown names."""
    if isinstance(metrics, str):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise ArgumentError(f"metrics: expected a list of names or functions, got {type(metrics).__name__}")
    found: dict[str, Metric] = {}
    for m in metrics:
        if isinstance(m, str):
            if m not in METRICS:
                raise unknown_name("metric", m, METRICS)
            name, function = m, METRICS[m](loss)
        elif callable(m):
            name, function = getattr(m, "__name__", type(m).__name__), m
        else:
            raise ArgumentError(f"metrics: expected names or functions, got {type(m).__name__}")
        if name == "loss" or name in found:
            raise ArgumentError(f"metrics: the name {name!r} is taken; give the function another __name__")
        found[name] = function
    return found
