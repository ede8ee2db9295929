"""The numbers of an update: which columns there are, and what fills them.

Design: whatever may change from step to step (learning rate, momentum, weight decay, strength of a penalty, decay of an
average) is a column of float64 ``scalars(n_steps, k)``, which C reads. The kinds of an update ask for columns when its
plan is made; where they are follows from what there is, not from the numbers, so that a number can change without a
new plan. A source that is a schedule or a function is asked once per call for all of its steps, and checked before
anything runs. Rejected: numbers inside records, which would have to be found and rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError
from ...ir import Array
from ...optim import check_values
from ...schedules import Schedule


class Clock(NamedTuple):
    """Steps [first, first + n) of the trainer, in a run that began at step ``start`` and has ``total`` steps.

    total: None where the length is not known. kept: what schedules keep between epochs.
    """

    first: int
    n: int
    start: int
    total: int | None
    kept: Mapping[Schedule, Any] = {}


class Columns:
    """Sources by position. A source: a number, a schedule, a function of the step, or a tuple of these, to be added."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sources: list[Any] = []
        self._fixed: Array | None = None

    def add(self, sources: Mapping[str, Any]) -> int:
        """Appends columns, gives the number of the first."""
        at = len(self.names)
        self.names += sources
        self.sources += sources.values()
        return at

    def fill(self, clock: Clock) -> Array:
        """float64 (clock.n, k), or (1, k) where every step has the same numbers. Raises ArgumentError for one that is
        out of range."""
        if self._fixed is not None:
            return self._fixed
        self.check_length(clock.total)
        values = [values_of(name, source, clock) for name, source in zip(self.names, self.sources, strict=True)]
        if set(map(type, values)) <= {float}:
            self._fixed = np.array([values])
            return self._fixed
        out = np.empty((clock.n, len(values)))
        for i, v in enumerate(values):
            out[:, i] = v
        return out

    def check_length(self, total: int | None) -> None:
        """Raises ArgumentError where a schedule needs to know the length of the run, which is not known."""
        for schedule in self.schedules:
            if schedule.needs_total and total is None:
                raise ArgumentError(
                    f"{schedule!r} needs to know how long the run is: call fit with arrays, or make the Trainer with "
                    "total_steps="
                )

    @property
    def schedules(self) -> list[Schedule]:
        return [s for s in _flat(self.sources) if isinstance(s, Schedule)]


def _flat(sources: Any) -> list[Any]:
    return [s for source in sources for s in (_flat(source) if isinstance(source, tuple) else [source])]


def values_of(name: str, source: Any, clock: Clock) -> float | Array:
    """A hyperparameter at the clock's steps."""
    if isinstance(source, tuple):
        return sum((values_of(name, s, clock) for s in source[1:]), values_of(name, source[0], clock))
    if not callable(source) and not isinstance(source, Schedule):
        return float(source)
    what = "learning rate" if name == "lr" else name
    if isinstance(source, Schedule):
        steps = np.arange(clock.first - clock.start, clock.first - clock.start + clock.n)
        values = np.asarray(source.with_state(clock.kept.get(source)).at(steps, clock.total), np.float64)
        if values.shape != steps.shape:
            raise ArgumentError(f"{source!r}: at() must give one value per step, {steps.shape}, got {values.shape}")
    else:
        values = np.array([_asked(what, source, clock.first + i) for i in range(clock.n)])
    check_values(name, values, lambda i: f"the {what} at step {clock.first + i}")
    return values


def _asked(what: str, function: Callable[[int], Any], step: int) -> float:
    value = function(step)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"the {what} at step {step} is {value!r}; its function must give a number")
    return float(value)
