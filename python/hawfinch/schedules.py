"""Schedules: values that change from step to step. Any hyperparameter of an optimiser takes one in place of its number.

Design: a schedule is a value, and ``at(steps, total)`` a function of the steps alone, asked once per epoch for all of
its steps; C reads the results from an array. What a schedule has to remember (Plateau) is kept by the trainer and
handed in, so that a run can be resumed and two trainers can share one. Only additions, products and quotients are used,
which give the same bits on every machine; NumPy's exp, cos and power do not. Rejected: schedule objects with a
``step()`` that count by themselves.

``steps`` count from the beginning of the ``fit``, which a schedule spans; ``total`` is its number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .errors import ArgumentError
from .ir import Array
from .values import Value

__all__ = ["Constant", "Cosine", "Exponential", "InverseTime", "Plateau", "Scaled", "Schedule", "Step"]


class Schedule(Value):
    """Base. ``at`` gives one value per step; ``needs_total``: only where the length of the run is known.

    >>> class Halved(hf.schedules.Schedule):
    ...     def __init__(self, first, every):
    ...         self.first, self.every = first, every
    ...
    ...     def at(self, steps, total):
    ...         return self.first * 0.5 ** (steps // self.every)
    >>> Halved(1.0, every=2).at(np.arange(6), None)
    array([1.  , 1.  , 0.5 , 0.5 , 0.25, 0.25])
    >>> optimizer = hf.Adam(lr=Halved(1e-3, every=1000))
    """

    needs_total: ClassVar[bool] = False

    def at(self, steps: Array, total: int | None) -> Array:
        """The values at these steps: int64 (n,) to float64 (n,)."""
        raise NotImplementedError

    def after_epoch(self, state: Any, logs: dict[str, float]) -> Any:
        """What to keep of an epoch's results: ``state`` is what was kept before, None at first."""
        return None

    def with_state(self, state: Any) -> Schedule:
        """The schedule that goes on from what was kept."""
        return self

    def scaled(self, base: Any) -> Any:
        """What this is where the trainer's own value is ``base``; Scaled depends on it."""
        return self


class Constant(Schedule):
    """The same value at every step.

    >>> import hawfinch as hf
    >>> hf.schedules.Constant(0.1).at(np.arange(3), None)
    array([0.1, 0.1, 0.1])
    """

    def __init__(self, value: float):
        self.value = _number("Constant", "value", value)

    def at(self, steps: Array, total: int | None) -> Array:
        return np.full(len(steps), self.value)


class Cosine(Schedule):
    """Rises evenly from peak/warmup to ``peak``, then falls along half a cosine to ``end`` at the end of the run.

    peak: the largest value. warmup: default 0; a number of steps, or below 1 a part of the run. end: default 0.
    With w steps of warmup, s counted from 0 and u = (s - w) / (total - w): peak (s + 1) / w for s < w, then
    end + (peak - end) (1 + cos(pi u)) / 2. Loshchilov, Hutter, ICLR 2017, without restarts.

    >>> import hawfinch as hf
    >>> hf.schedules.Cosine(1.0, warmup=2).at(np.arange(6), 6).round(3)
    array([0.5  , 1.   , 1.   , 0.854, 0.5  , 0.146])
    """

    needs_total = True

    def __init__(self, peak: float, *, warmup: float = 0, end: float = 0.0):
        self.peak, self.end = _number("Cosine", "peak", peak), _number("Cosine", "end", end)
        if _number("Cosine", "warmup", warmup) < 0 or (warmup >= 1 and warmup != int(warmup)):
            raise ArgumentError(
                f"Cosine: warmup must be a number of steps or a part of the run in [0, 1), got {warmup}"
            )
        self.warmup = float(warmup)

    def at(self, steps: Array, total: int | None) -> Array:
        assert total is not None
        rise = _steps_of(self.warmup, total)
        u = np.clip((steps - rise) / max(total - rise, 1), 0.0, 1.0)
        fall = self.end + (self.peak - self.end) * (0.5 * (1.0 + _cos_pi(u)))
        return np.where(steps < rise, self.peak * ((steps + 1.0) / max(rise, 1)), fall)


class Step(Schedule):
    """value * factor**k, where k is the number of whole ``every`` steps that are over. factor: default 0.1.

    >>> import hawfinch as hf
    >>> hf.schedules.Step(1.0, every=2, factor=0.5).at(np.arange(5), None)
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    def __init__(self, value: float, *, every: int, factor: float = 0.1):
        self.value, self.factor = _number("Step", "value", value), _number("Step", "factor", factor)
        if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
            raise ArgumentError(f"Step: every must be a whole number of steps >= 1, got {every!r}")
        self.every = int(every)

    def at(self, steps: Array, total: int | None) -> Array:
        return self.value * _power(self.factor, steps // self.every)


class Exponential(Schedule):
    """value * factor**step.

    >>> import hawfinch as hf
    >>> hf.schedules.Exponential(1.0, factor=0.5).at(np.arange(3), None)
    array([1.  , 0.5 , 0.25])
    """

    def __init__(self, value: float, *, factor: float):
        self.value, self.factor = _number("Exponential", "value", value), _number("Exponential", "factor", factor)

    def at(self, steps: Array, total: int | None) -> Array:
        return self.value * _power(self.factor, steps)


class InverseTime(Schedule):
    """value / (1 + rate step), the 1/t decay of stochastic approximation. Robbins, Monro, 1951.

    >>> import hawfinch as hf
    >>> hf.schedules.InverseTime(1.0, rate=1.0).at(np.arange(4), None)
    array([1.        , 0.5       , 0.33333333, 0.25      ])
    """

    def __init__(self, value: float, *, rate: float):
        self.value, self.rate = _number("InverseTime", "value", value), _number("InverseTime", "rate", rate)

    def at(self, steps: Array, total: int | None) -> Array:
        return self.value / (1.0 + self.rate * steps)


class Scaled(Schedule):
    """For ``groups``: ``factor`` times the trainer's own value of that hyperparameter, which may be a schedule.

    >>> import hawfinch as hf
    >>> hf.schedules.Scaled(0.5).scaled(hf.schedules.Constant(0.2)).at(np.arange(2), None)
    array([0.1, 0.1])
    """

    def __init__(self, factor: float, base: Schedule | None = None):
        if base is not None and not isinstance(base, Schedule):
            raise ArgumentError(f"Scaled: base must be a schedule, got {base!r}")
        self.factor, self.base = _number("Scaled", "factor", factor), base
        self.needs_total = base is not None and base.needs_total  # type: ignore[misc]

    def at(self, steps: Array, total: int | None) -> Array:
        if self.base is None:
            raise ArgumentError("Scaled is for groups=, where the trainer's own value is known")
        return self.factor * self.base.at(steps, total)

    def scaled(self, base: Any) -> Any:
        if callable(base) and not isinstance(base, Schedule):
            return lambda step: self.factor * base(step)
        return Scaled(self.factor, base) if isinstance(base, Schedule) else self.factor * base

    def after_epoch(self, state: Any, logs: dict[str, float]) -> Any:
        return None if self.base is None else self.base.after_epoch(state, logs)

    def with_state(self, state: Any) -> Schedule:
        return self if self.base is None else Scaled(self.factor, self.base.with_state(state))


class Plateau(Schedule):
    """value, times ``factor`` after each ``patience`` epochs in which ``monitor`` was no smaller than ever before.

    factor: default 0.1. patience: default 10 epochs. monitor: a name in the History, default "val_loss". least: default
    0; the value does not fall below it.

    >>> import hawfinch as hf
    >>> s = hf.schedules.Plateau(0.1, factor=0.5, patience=1, monitor="loss")
    >>> state = s.after_epoch(s.after_epoch(None, {"loss": 1.0}), {"loss": 2.0})
    >>> s.with_state(state).at(np.arange(2), None)
    array([0.05, 0.05])
    """

    def __init__(
        self, value: float, *, factor: float = 0.1, patience: int = 10, monitor: str = "val_loss", least: float = 0.0
    ):
        self.value, self.factor = _number("Plateau", "value", value), _number("Plateau", "factor", factor)
        self.least = _number("Plateau", "least", least)
        if isinstance(patience, bool) or not isinstance(patience, int | np.integer) or patience < 1:
            raise ArgumentError(f"Plateau: patience must be a whole number of epochs >= 1, got {patience!r}")
        if not isinstance(monitor, str):
            raise ArgumentError(f"Plateau: monitor must be a name in the History, got {monitor!r}")
        self.patience, self.monitor = int(patience), monitor
        self._times = 0

    def at(self, steps: Array, total: int | None) -> Array:
        value = self.value
        for _ in range(self._times):
            value *= self.factor
        return np.full(len(steps), max(value, self.least))

    def after_epoch(self, state: Any, logs: dict[str, float]) -> Any:
        """(best score, epochs since then, times that the value fell)."""
        if self.monitor not in logs:
            hint = "; pass validation_data to fit" if self.monitor.startswith("val_") else ""
            raise ArgumentError(f"Plateau: there is no {self.monitor!r} in the history, only {', '.join(logs)}{hint}")
        best, waited, times = (math.inf, 0, 0) if state is None else state
        score = logs[self.monitor]
        best, waited = (score, 0) if score < best else (best, waited + 1)
        return (best, 0, times + 1) if waited >= self.patience else (best, waited, times)

    def with_state(self, state: Any) -> Schedule:
        changed = Plateau(
            self.value, factor=self.factor, patience=self.patience, monitor=self.monitor, least=self.least
        )
        changed.__dict__["_times"] = 0 if state is None else state[2]
        return changed


def _number(what: str, name: str, value: Any) -> float:
    number = not isinstance(value, bool) and isinstance(value, int | float | np.integer | np.floating)
    if not number or not -MOST <= value <= MOST:
        raise ArgumentError(f"{what}: {name} must be a finite number, got {value!r}")
    return float(value)


def _steps_of(warmup: float, total: int) -> int:
    """Steps, or a part of the run."""
    return round(warmup * total) if warmup < 1 else int(warmup)


def _cos_pi(u: Array) -> Array:
    """cos(pi u) for u in [0, 1]: -sin z, z = pi (u - 1/2), by its Taylor series up to z^21; below 1e-15 off."""
    z = np.pi * (np.asarray(u, np.float64) - 0.5)
    square = z * z
    series = np.zeros_like(z)
    for n in range(20, 0, -2):  # 1 - z^2 / (2 3) (1 - z^2 / (4 5) (1 - ...))
        series = square * (1.0 - series) / (n * (n + 1.0))
    return z * (series - 1.0)


def _power(base: float, exponents: Array) -> Array:
    """base**exponents for whole numbers >= 0, by squaring: NumPy's bits depend on the processor."""
    left = np.array(exponents, np.int64)
    result, square = np.ones(len(left)), np.float64(base)
    with np.errstate(under="ignore", over="ignore"):
        while left.any():
            result = np.where(left & 1, result * square, result)
            square, left = square * square, left >> 1
    return result


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
