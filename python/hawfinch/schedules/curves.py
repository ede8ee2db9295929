"""Schedules that fall: step by step, by a power, as 1/t."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from ..values import check_real, check_whole, items_of, short
from .base import Curve, check_steps, number, steps_of
from .exact import power, whole_power


class Step(Curve):
    """value * factor**k, where k is the number of whole ``every`` steps that are over. factor: default 0.1.

    PyTorch's StepLR (step_size, gamma). warmup: default 0; see Cosine. ``every`` counts from its end. One that is
    longer than the run is an error of ``fit``.

    >>> import hawfinch as hf
    >>> hf.schedules.Step(1.0, every=2, factor=0.5).at(np.arange(5), None)
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    def __init__(self, value: float, *, every: int, factor: float = 0.1, warmup: float = 0):
        self.value, self.factor = number("Step", "value", value), number("Step", "factor", factor)
        self.every = check_whole(every, "Step: every", 1)
        super().__init__(warmup)

    def check(self, total: int) -> None:
        super().check(total)
        rest = total - (steps_of(self.warmup, total) or 0)
        if self.every >= max(rest, 2):
            raise ArgumentError(f"{self!r}: its first step, after {self.every}, is never reached in {rest} steps")

    def curve(self, s: Array, n: int | None) -> Array:
        return self.value * whole_power(self.factor, s // self.every)


class MultiStep(Curve):
    """value * factor**k, where k is the number of ``milestones`` that are reached. factor: default 0.1.

    PyTorch's MultiStepLR (gamma). milestones: numbers of steps, or below 1 parts of the run, ascending; they count from
    the end of the warmup (default 0; see Cosine). One that the run does not reach is an error of ``fit``.

    >>> import hawfinch as hf
    >>> hf.schedules.MultiStep(1.0, milestones=[2, 3], factor=0.5).at(np.arange(5), None)
    array([1.  , 1.  , 0.5 , 0.25, 0.25])
    """

    def __init__(self, value: float, *, milestones: Iterable[float], factor: float = 0.1, warmup: float = 0):
        self.value, self.factor = number("MultiStep", "value", value), number("MultiStep", "factor", factor)
        given = items_of(milestones, "MultiStep: milestones must be a list such as [300, 600]")
        self.milestones = tuple([check_steps("MultiStep", "milestones", m) for m in given])
        if any([b < a and (a < 1) == (b < 1) for a, b in pairwise(self.milestones)]):
            raise ArgumentError(f"MultiStep: milestones must be ascending, not {short(self.milestones)}")
        super().__init__(warmup)

    @property
    def needs_total(self) -> bool:
        return super().needs_total or any([0 < m < 1 for m in self.milestones])

    def check(self, total: int) -> None:
        super().check(total)
        rest = total - (steps_of(self.warmup, total) or 0)
        for m in self.milestones:
            if m >= max(rest, 1):
                raise ArgumentError(f"{self!r}: the milestone at step {m:.0f} is never reached in {rest} steps")

    def curve(self, s: Array, n: int | None) -> Array:
        reached = np.zeros(len(s), np.int64)
        for m in self.milestones:
            reached += s >= steps_of(m, n)
        return self.value * whole_power(self.factor, reached)


class Exponential(Curve):
    """value * factor**(step / every): it falls evenly by ``factor`` in each ``every`` steps.

    every: default 1, PyTorch's ExponentialLR (gamma), which is mostly stepped once an epoch: give its steps here; other
    numbers are Keras's ExponentialDecay. factor: >= 0. warmup: default 0; see Cosine. steps: after so many it stays.

    >>> import hawfinch as hf
    >>> hf.schedules.Exponential(1.0, factor=0.5).at(np.arange(3), None)
    array([1.  , 0.5 , 0.25])
    """

    def __init__(self, value: float, *, factor: float, every: int = 1, warmup: float = 0, steps: int | None = None):
        self.value = number("Exponential", "value", value)
        self.factor = check_real(factor, "Exponential: factor", "from 0", lambda v: 0 <= v < float("inf"))
        self.every = check_whole(every, "Exponential: every", 1)
        super().__init__(warmup, steps)

    def curve(self, s: Array, n: int | None) -> Array:
        if self.steps is not None and n is not None:
            s = np.minimum(s, n)
        whole = self.value * whole_power(self.factor, s // self.every)
        return whole if self.every == 1 else whole * power(self.factor, s % self.every / self.every)


class InverseTime(Curve):
    """value / (1 + rate step), the 1/t decay of stochastic approximation. Robbins, Monro, 1951.

    Keras's InverseTimeDecay(decay_steps, decay_rate) is ``rate=decay_rate / decay_steps``. rate: >= 0. warmup: default
    0; see Cosine.

    >>> import hawfinch as hf
    >>> hf.schedules.InverseTime(1.0, rate=1.0).at(np.arange(4), None)
    array([1.        , 0.5       , 0.33333333, 0.25      ])
    """

    def __init__(self, value: float, *, rate: float, warmup: float = 0):
        self.value = number("InverseTime", "value", value)
        self.rate = check_real(rate, "InverseTime: rate", "from 0", lambda v: 0 <= v < float("inf"))
        super().__init__(warmup)

    def curve(self, s: Array, n: int | None) -> Array:
        return self.value / (1.0 + self.rate * s)


class Polynomial(Curve):
    """end + (value - end) (1 - s/n)**power: from value to ``end`` in n steps, evenly with power 1.

    power: default 1, > 0. end: default 0. steps: n with the warmup; default: the run. PyTorch's PolynomialLR (there
    total_iters is 5 by default) and LinearLR, Keras's PolynomialDecay. warmup: default 0; see Cosine.

    >>> import hawfinch as hf
    >>> hf.schedules.Polynomial(1.0).at(np.arange(5), 4)
    array([1.  , 0.75, 0.5 , 0.25, 0.  ])
    """

    to_the_end = True

    def __init__(
        self, value: float, *, power: float = 1.0, end: float = 0.0, warmup: float = 0, steps: int | None = None
    ):
        self.value, self.end = number("Polynomial", "value", value), number("Polynomial", "end", end)
        self.power = check_real(power, "Polynomial: power", "above 0", lambda v: 0 < v < float("inf"))
        super().__init__(warmup, steps)

    def curve(self, s: Array, n: int | None) -> Array:
        assert n is not None
        left = 1.0 - np.minimum(s, n) / n
        return self.end + (self.value - self.end) * (left if self.power == 1 else power(left, self.power))
