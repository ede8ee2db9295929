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
from ...optim.base import OfUpdates
from ...schedules import Schedule, as_number, check_values
from ...values import called, short
from ..fingerprint import value_text
from ..monitor import check_monitor, score_of


class Clock(NamedTuple):
    """Steps [first, first + n) of the trainer, in a run that began at step ``start`` and has ``total`` steps.

    total: None where the length is not known. kept: what schedules keep between epochs, by their text. updates: those
    before these steps, of which the average has seen all from number ``averaged_from`` on. rows: of the data that the
    steps go over, in batches of ``batch``. weights: of each step, by which its gradient counts where several are
    accumulated; None: its rows. begin: updates before the run.
    """

    first: int
    n: int
    start: int
    total: int | None
    kept: Mapping[str, Any] = {}
    updates: int = 0
    averaged_from: int = 0
    rows: int = 1
    batch: int = 1
    weights: Array | None = None
    begin: int = 0

    # What accumulation makes of the steps: an update after every k-th, and after the last.
    def updates_before(self, k: int) -> Array:
        """The trainer's updates before each step."""
        return self.updates + np.arange(self.n) // k

    def total_updates(self, k: int) -> int | None:
        """Of the run, of epochs such as this one."""
        return None if self.total is None else self.total // self.n * -(-self.n // k) + -(-(self.total % self.n) // k)

    def active(self, k: int) -> Array:
        """1 for steps that update, else 0."""
        i = np.arange(self.n)
        return (((i + 1) % k == 0) | (i == self.n - 1)).astype(np.float64)

    def since(self, lag: int, k: int) -> float | Array:
        """The number of the update of a parameter that has missed ``lag`` of them, less the trainer's step."""
        if k == 1:
            return float(self.updates - lag + 1 - self.first)
        return (self.updates_before(k) - lag + 1 - self.first - np.arange(self.n)).astype(np.float64)

    def continues(self, k: int) -> Array:
        """0 for the first step of each update."""
        return (np.arange(self.n) % k != 0).astype(np.float64)

    def share(self, k: int) -> Array:
        """Of a step in the rows, or the weights, of its update."""
        if self.weights is not None:
            update = np.arange(self.n) // k
            whole = np.bincount(update, self.weights)[update]
            return np.where(whole > 0, self.weights / np.where(whole > 0, whole, 1.0), 0.0)
        ends = np.minimum(np.arange(1, self.n + 1) * self.batch, self.rows)
        first = np.arange(self.n) // k * k
        last = np.minimum(first + k, self.n) - 1
        return (ends - np.arange(self.n) * self.batch) / (ends[last] - first * self.batch)


class Rows(NamedTuple):
    """A source that is worked out from the clock."""

    at: Callable[[Clock], float | Array]


class Times(NamedTuple):
    """The product of two sources."""

    a: Any
    b: Any


class Named(NamedTuple):
    """A source that errors call ``what``."""

    source: Any
    what: str


def of_parameter(sources: Mapping[str, Any], lag: int, every: int) -> dict[str, Any]:
    """Those that follow from a parameter's updates, of which it has missed ``lag``, by the clock."""

    def by_clock(source: OfUpdates) -> Rows:
        return Rows(lambda clock: source.at(clock.updates_before(every) - lag + 1.0))

    return {k: by_clock(v) if isinstance(v, OfUpdates) else v for k, v in sources.items()}


class Columns:
    """Sources by position. A source: a number, a schedule, a function of the step, ``Rows``, ``Times``, ``Named``, or a
    tuple of these, to be added."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sources: list[Any] = []
        self.schedules: list[Schedule] = []
        self.fits: int | None = None  # the last length of a run that was checked
        self.fixed: tuple[int, Array] | None = None  # for clocks whose steps are as many ahead of the updates

    def add(self, sources: Mapping[str, Any]) -> int:
        """Appends columns, gives the number of the first."""
        at = len(self.names)
        self.names += sources
        self.sources += sources.values()
        for source in sources.values():
            if type(source) is not float:
                self.schedules += _schedules(source)
        return at

    def fill(self, clock: Clock) -> Array:
        """float64 (clock.n, k), or (1, k) where every step has the same numbers. Raises ArgumentError for one that is
        out of range."""
        ahead = clock.first - clock.updates
        if self.fixed is not None and self.fixed[0] == ahead:
            return self.fixed[1]
        self.check_length(clock.total)
        values = [
            source if type(source) is float else values_of(name, source, clock)
            for name, source in zip(self.names, self.sources, strict=True)
        ]
        if all([isinstance(v, float) for v in values]):
            self.fixed = ahead, np.array([values])
            return self.fixed[1]
        out = np.empty((clock.n, len(values)))
        for i, v in enumerate(values):
            out[:, i] = v
        return out

    def check_length(self, total: int | None) -> None:
        """Raises ArgumentError where a schedule does not fit into the run, or needs to know its length, which is not
        known."""
        if total is not None and total == self.fits:
            return
        for schedule in self.schedules:
            if total is not None:
                schedule.check(total)
            elif schedule.needs_total:
                raise ArgumentError(
                    f"{schedule!r} needs to know how long the run is: call fit with arrays, or make the Trainer with "
                    "total_steps="
                )
        self.fits = total


def _schedules(source: Any) -> list[Schedule]:
    """Those in a source that is no number."""
    if type(source) in (tuple, Times, Named):
        return [schedule for part in source for schedule in _schedules(part)]
    return [source] if isinstance(source, Schedule) else []


def values_of(name: str, source: Any, clock: Clock) -> float | Array:
    """A hyperparameter at the clock's steps."""
    if isinstance(source, Rows):
        return source.at(clock)
    if isinstance(source, Times):
        return values_of("lr", source.a, clock) * values_of(name, source.b, clock)
    if isinstance(source, Named):
        return values_of(source.what, source.source, clock)
    if isinstance(source, tuple):
        return sum((values_of(name, s, clock) for s in source[1:]), values_of(name, source[0], clock))
    if not callable(source) and not isinstance(source, Schedule):
        return float(source)
    what = "learning rate" if name == "lr" else name
    if isinstance(source, Schedule):
        steps = np.arange(clock.first - clock.start, clock.first - clock.start + clock.n)
        now = source.with_state(clock.kept.get(value_text(source))) if clock.kept else source
        given = now.at(steps, clock.total)
        try:
            values = np.asarray(given, np.float64)
        except Exception:
            raise ArgumentError(f"{source!r}: at() must give numbers, got {short(given)}") from None
        if values.shape != steps.shape:
            raise ArgumentError(f"{source!r}: at() must give one value per step, {steps.shape}, got {values.shape}")
    else:
        values = np.array([_asked(what, source, clock.first + i) for i in range(clock.n)])
    check_values(name, values, lambda i: f"the {what} at step {clock.first + i}")
    return values


def _asked(what: str, function: Callable[[int], Any], step: int) -> float:
    value = called(f"the function of the {what}", function, step)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"the {what} at step {step} is {value!r}; its function must give a number")
    return as_number(f"step {step}", f"the {what}", value)


def after_epoch(columns: Columns, kept: dict[str, Any], logs: dict[str, float]) -> None:
    """Lets the schedules see an epoch's results."""
    for text, schedule in {value_text(s): s for s in columns.schedules}.items():  # once, whatever columns it fills
        for name in schedule.monitors:
            check_monitor(type(schedule).__name__, name, logs)
            score_of(type(schedule).__name__, name, logs)
        state = schedule.after_epoch(kept.get(text), logs)
        if state is not None:
            kept[text] = state
