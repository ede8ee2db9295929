"""What numbers a schedule and a hyperparameter may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from .base import Schedule

Number = float | Schedule | Callable[[int], float]
MOST = float(np.finfo(np.float64).max)  # a larger int has no float
BELOW_ONE = ("momentum", "alpha", "beta1", "beta2", "rho", "eta_minus")


def _bound(name: str, limit: float) -> str:
    return (
        "must be in [0, 1)"
        if limit == 1
        else "must be finite and not negative"
        if name == "lr"
        else "must be finite and >= 0"
    )


def check_values(name: str, values: Array, what: Callable[[int], str]) -> None:
    """Raises ArgumentError for the first of a hyperparameter's values that is out of range. what(i): where it is
    from."""
    limit = 1.0 if name in BELOW_ONE else np.inf
    bad = ~((values >= 0) & (values < limit))
    if bad.any():
        i = int(bad.argmax())
        raise ArgumentError(f"{what(i)} is {values[i]}; it {_bound(name, limit)}")


def check_number(what: str, name: str, value: Any) -> Any:
    """A setting that is a number, a schedule or a function of the step; raises ArgumentError for a number out of
    range."""
    if callable(value) and not isinstance(value, type):
        return value
    if isinstance(value, type):
        raise ArgumentError(
            f"{what}: {name} is the class {value.__name__}; pass an object of it, {value.__name__}(...)"
        )
    if not isinstance(value, Schedule):
        limit = 1.0 if name in BELOW_ONE else np.inf
        if not 0 <= as_number(what, name, value) < limit:
            raise ArgumentError(f"{what}: {name} {_bound(name, limit)}, got {value}")
    return value


def as_number(what: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"{what}: {name} must be a number, got {value!r}")
    if isinstance(value, int) and abs(value) > MOST:
        raise ArgumentError(f"{what}: {name} is a number beyond the range of float64")
    return float(value)
