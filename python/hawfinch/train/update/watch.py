"""Watch: the norms of gradients, parameters and their changes, by name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import ArgumentError
from ...ir import Array
from ...values import items_of
from .sweep import SQUARES


def check_watch(watch: object) -> tuple[str, ...]:
    """Patterns of parameter names."""
    if watch is None or isinstance(watch, str):
        return () if watch is None else (watch,)
    patterns = items_of(watch, "watch: expected patterns of parameter names such as '*.weight'")
    if not all(isinstance(p, str) for p in patterns):
        raise ArgumentError(f"watch: expected patterns of parameter names such as '*.weight', got {watch!r:.80}")
    return patterns


def norms(places: Mapping[str, int], squares: Array) -> dict[str, float]:
    """By "grad_norm/0.weight" and so on, the roots of squares (parameters, 3). places: name -> row."""
    roots = np.sqrt(squares)
    return {f"{what}/{name}": float(roots[row, i]) for i, what in enumerate(SQUARES) for name, row in places.items()}
