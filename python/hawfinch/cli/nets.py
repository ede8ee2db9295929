"""The nets that the command trains, and their learning rate."""

from __future__ import annotations

from collections.abc import Sequence

import hawfinch as hf


def cosine(peak: float, steps: int) -> hf.schedules.Cosine:
    """The learning rate of a run of so many steps: up over the first ones, then along a cosine towards 0."""
    return hf.schedules.Cosine(peak, warmup=min(50, steps // 10 + 1))


def mlp(widths: Sequence[int], dropout: float, outputs: int) -> hf.Sequential:
    layers: list[hf.Module] = []
    for width in widths:
        layers += [hf.Linear(width), hf.BatchNorm(), hf.ReLU()] + ([hf.Dropout(dropout)] if dropout else [])
    return hf.Sequential(*layers, hf.Linear(outputs))
