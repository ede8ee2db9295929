"""The nets that the command trains, and their learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import hawfinch as hf


def cosine(peak: float, steps: int) -> Callable[[int], float]:
    """A learning rate that rises over the first steps and falls to 0 along a cosine (Loshchilov, Hutter, ICLR 2017)."""
    rise = min(50, steps // 10 + 1)
    return lambda step: peak * min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def mlp(widths: Sequence[int], dropout: float, outputs: int) -> hf.Sequential:
    layers: list[hf.Module] = []
    for width in widths:
        layers += [hf.Linear(width), hf.BatchNorm(), hf.ReLU()] + ([hf.Dropout(dropout)] if dropout else [])
    return hf.Sequential(*layers, hf.Linear(outputs))
