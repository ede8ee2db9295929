"""Schedule, what is made of several (Chain, Product, Scaled), and Curve, the base of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from ..errors import ArgumentError, import_extra
from ..ir import Array
from ..values import Value, check_real, check_whole, items_of


class Schedule(Value):
    """Base. ``at`` gives one value per step; ``needs_total``: only where the length of the run is known.

    ``a.then(b)``: one after the other. ``a * b``, ``a * 0.5``: the product at each step. ``a.plot(total=1000)``.

    >>> class Halved(hf.schedules.Schedule):
    ...     def __init__(self, first, every):
    ...         self.first, self.every = first, every
    ...
    ...     def at(self, steps, total):
    ...         return self.first * 0.5 ** (steps // self.every)
    >>> Halved(1.0, every=2).at(np.arange(6), None)
    array([1.  , 1.  , 0.5 , 0.5 , 0.25, 0.25])
    >>> optimizer = hf.Adam(lr=Halved(1e-3, every=1000) * hf.schedules.Cosine(1.0))
    """

    @property
    def needs_total(self) -> bool:
        """Whether ``at`` needs to know how long the run is."""
        return False

    @property
    def length(self) -> int | None:
        """How many steps it takes, where it says so itself; after them its last value stays."""
        return None

    @property
    def monitors(self) -> tuple[str, ...]:
        """Names in the History that it follows."""
        return ()

    def at(self, steps: Array, total: int | None) -> Array:
        """The values at these steps: int64 (n,) to float64 (n,)."""
        raise NotImplementedError

    def check(self, total: int) -> None:
        """Raises ArgumentError where it does not fit into a run of this many steps."""

    def after_epoch(self, state: Any, logs: dict[str, float]) -> Any:
        """What to keep of an epoch's results: ``state`` is what was kept before, None at first."""
        return None

    def with_state(self, state: Any) -> Schedule:
        """The schedule that goes on from what was kept."""
        return self

    def scaled(self, base: Any) -> Any:
        """What this is where the trainer's own value is ``base``; Scaled depends on it."""
        return self

    def then(self, other: Schedule | float, *, at: float | None = None) -> Schedule:
        """This one first, then the other, whose steps count from 0 again.

        at: when the other begins; a number of steps, or below 1 a part of the run. Default: where this one's ``steps``
        end; those that say no number of steps share the rest of the run equally.

        >>> hf.schedules.Constant(1.0).then(0.5, at=2).at(np.arange(4), None)
        array([1. , 1. , 0.5, 0.5])
        >>> hf.schedules.Cosine(1.0, steps=2).then(hf.schedules.Constant(0.25)).at(np.arange(4), None)
        array([1.  , 0.5 , 0.25, 0.25])
        """
        parts, starts = (self.parts, self.starts) if isinstance(self, Chain) else ((self,), (0,))
        start = None if at is None else check_steps("then", "at", at)
        return Chain((*parts, as_schedule("then", other)), (*starts, start))

    def __mul__(self, other: Any) -> Schedule:
        if isinstance(other, Schedule):
            return Product((self, other))
        return Scaled(other, self)

    def __rmul__(self, other: Any) -> Schedule:
        return self * other

    def plot(self, total: int | None = None, *, ax: Any = None) -> Any:
        """Draws the value at each step of a run of ``total`` steps (default 1000). Gives the Axes.

        ax: matplotlib Axes to draw into; default: a new figure. Needs matplotlib (``pip install hawfinch[plot]``).

        >>> axes = hf.schedules.Cosine(2e-3, warmup=100).then(hf.schedules.Constant(1e-5)).plot(total=2000)
        >>> axes.get_xlabel()
        'step'
        """
        n = 1000 if total is None else check_whole(total, "plot: total", 1)
        self.check(n)
        values = self.at(np.arange(n), n)
        if ax is None:
            plt = import_extra("matplotlib.pyplot", "plot")
            ax = plt.subplots(figsize=(7, 3), layout="constrained")[1]
        ax.plot(np.arange(n), values)
        ax.set_xlabel("step")
        ax.set_ylabel("value")
        ax.grid(alpha=0.3)
        return ax


class _Made(Schedule):
    """Made of ``parts``, whose states it keeps as a list."""

    parts: tuple[Schedule, ...]

    def _of(self, parts: tuple[Schedule, ...]) -> Schedule:
        """The same, of other parts."""
        raise NotImplementedError

    @property
    def monitors(self) -> tuple[str, ...]:
        return tuple([name for part in self.parts for name in part.monitors])

    def after_epoch(self, state: Any, logs: dict[str, float]) -> Any:
        kept = [None] * len(self.parts) if state is None else state
        new = [part.after_epoch(s, logs) for part, s in zip(self.parts, kept, strict=True)]
        return None if all([s is None for s in new]) else new

    def with_state(self, state: Any) -> Schedule:
        if state is None:
            return self
        return self._of(tuple([part.with_state(s) for part, s in zip(self.parts, state, strict=True)]))

    def scaled(self, base: Any) -> Any:
        return self._of(tuple([part.scaled(base) for part in self.parts]))


class Chain(_Made):
    """One schedule after another: what ``a.then(b, at=...)`` makes.

    parts: in their order. starts: for each the step at which it begins, below 1 a part of the run, None where that
    follows from the ``steps`` of the others; default None. A Plateau sees the results of every epoch, also of those
    before its part. Raises ArgumentError for a run in which a part never begins.

    >>> import hawfinch as hf
    >>> parts = [hf.schedules.Polynomial(1.0, steps=2), 0.5]
    >>> hf.schedules.Chain(parts).at(np.arange(4), None)
    array([1. , 0.5, 0.5, 0.5])
    """

    def __init__(self, parts: Sequence[Schedule | float], starts: Sequence[float | None] | None = None):
        self.parts = tuple([as_schedule("Chain", part) for part in items_of(parts, "Chain: expected a list of parts")])
        given = (None,) * len(self.parts) if starts is None else items_of(starts, "Chain: expected a list of starts")
        if not self.parts or len(given) != len(self.parts) or given[0] not in (None, 0):
            raise ArgumentError(f"Chain: expected {len(self.parts)} starts, the first 0; got {starts!r}")
        self.starts = (0, *[None if s is None else check_steps("Chain", "starts", s) for s in given[1:]])

    def _of(self, parts: tuple[Schedule, ...]) -> Schedule:
        return Chain(parts, self.starts)

    def _begins(self, total: int | None) -> list[int | None]:
        """The step at which each part begins; None: that can't be known without ``total``."""
        said = [(i, steps_of(start, total)) for i, start in enumerate(self.starts) if start is not None]
        found: list[int | None] = []
        for (i, begin), (j, end) in pairwise([*said, (len(self.parts), total)]):
            lengths = [part.length for part in self.parts[i:j]]
            shares, shared = lengths.count(None), 0
            free = None if begin is None or end is None else end - begin - sum([n for n in lengths if n is not None])
            at = begin
            for n in lengths:
                found.append(at)
                if n is None and free is not None:
                    n, shared = free * (shared + 1) // shares - free * shared // shares, shared + 1
                at = None if at is None or n is None else at + n
        return found

    def _spans(self, total: int | None) -> list[tuple[int | None, int | None]]:
        """Begin and length of each part."""
        begins = self._begins(total)
        ends = [*begins[1:], total]
        return [(a, None if a is None or b is None else b - a) for a, b in zip(begins, ends, strict=True)]

    @property
    def needs_total(self) -> bool:
        spans = self._spans(None)
        return any(
            a is None or (n is None and part.needs_total) for part, (a, n) in zip(self.parts, spans, strict=True)
        )

    @property
    def length(self) -> int | None:
        begin, last = self._begins(None)[-1], self.parts[-1].length
        return None if begin is None or last is None else begin + last

    def check(self, total: int) -> None:
        begins = self._begins(total)
        if any(a is None or b is None or b <= a for a, b in pairwise([*begins, total])):
            raise ArgumentError(
                f"{self!r}: its parts begin at steps {', '.join(map(str, begins))} of a run of {total} steps; each "
                "must begin after the one before it, and before the end"
            )
        for part, (_, n) in zip(self.parts, self._spans(total), strict=True):
            assert n is not None
            part.check(n)

    def at(self, steps: Array, total: int | None) -> Array:
        values = np.zeros(len(steps))
        for part, (begin, n) in zip(self.parts, self._spans(total), strict=True):
            assert begin is not None
            here = steps >= begin
            if here.any():
                values[here] = part.at(steps[here] - begin, n)
        return values


class Product(_Made):
    """The product of schedules at each step: what ``a * b`` makes.

    >>> import hawfinch as hf
    >>> (hf.schedules.Constant(2.0) * hf.schedules.Exponential(1.0, factor=0.5)).at(np.arange(3), None)
    array([2. , 1. , 0.5])
    """

    def __init__(self, parts: Sequence[Schedule]):
        wanted = "Product: expected a list of schedules"
        self.parts = tuple([as_schedule("Product", part) for part in items_of(parts, wanted)])

    def _of(self, parts: tuple[Schedule, ...]) -> Schedule:
        return Product(parts)

    @property
    def needs_total(self) -> bool:
        return any([part.needs_total for part in self.parts])

    @property
    def length(self) -> int | None:
        return max([part.length for part in self.parts if part.length is not None], default=None)

    def check(self, total: int) -> None:
        for part in self.parts:
            part.check(total)

    def at(self, steps: Array, total: int | None) -> Array:
        values = np.ones(len(steps))
        for part in self.parts:
            values = values * part.at(steps, total)
        return values


class Scaled(Schedule):
    """For ``groups``: ``factor`` times the trainer's own value of that hyperparameter, which may be a schedule.

    base: what it is ``factor`` times of, where that is said here, as ``0.5 * schedule`` does.

    >>> import hawfinch as hf
    >>> hf.schedules.Scaled(0.5).scaled(hf.schedules.Constant(0.2)).at(np.arange(2), None)
    array([0.1, 0.1])
    """

    def __init__(self, factor: float, base: Schedule | None = None):
        if base is not None and not isinstance(base, Schedule):
            raise ArgumentError(f"Scaled: base must be a schedule, got {base!r}")
        self.factor, self.base = number("Scaled", "factor", factor), base

    @property
    def needs_total(self) -> bool:
        return self.base is not None and self.base.needs_total

    @property
    def length(self) -> int | None:
        return None if self.base is None else self.base.length

    @property
    def monitors(self) -> tuple[str, ...]:
        return () if self.base is None else self.base.monitors

    def at(self, steps: Array, total: int | None) -> Array:
        if self.base is None:
            raise ArgumentError("Scaled is for groups=, where the trainer's own value is known")
        return self.factor * self.base.at(steps, total)

    def check(self, total: int) -> None:
        if self.base is not None:
            self.base.check(total)

    def scaled(self, base: Any) -> Any:
        if self.base is not None:
            return Scaled(self.factor, self.base.scaled(base))
        if callable(base) and not isinstance(base, Schedule):
            return lambda step: self.factor * base(step)
        return Scaled(self.factor, base) if isinstance(base, Schedule) else self.factor * base

    def after_epoch(self, state: Any, logs: dict[str, float]) -> Any:
        return None if self.base is None else self.base.after_epoch(state, logs)

    def with_state(self, state: Any) -> Schedule:
        return self if self.base is None else Scaled(self.factor, self.base.with_state(state))


class Curve(Schedule):
    """Base of those with a ``warmup``, and a number of ``steps`` of their own or that of the run.

    A subclass gives ``curve(s, n)``: the value s >= 0 steps after the warm-up, of which there are n, or None where
    that is not known. The warm-up rises evenly: with w steps of it, (step + 1) / w times the value at its end.
    """

    to_the_end: ClassVar[bool] = False  # whether the curve depends on n

    def __init__(self, warmup: float, steps: int | None = None):
        what = type(self).__name__
        self.warmup = check_steps(what, "warmup", warmup)
        self.steps = None if steps is None else check_whole(steps, f"{what}: steps", 1)

    def curve(self, s: Array, n: int | None) -> Array:
        """The values so many steps after the warm-up."""
        raise NotImplementedError

    @property
    def needs_total(self) -> bool:
        return self.steps is None and (self.to_the_end or 0 < self.warmup < 1)

    @property
    def length(self) -> int | None:
        return self.steps

    def check(self, total: int) -> None:
        if self.steps is not None and self.steps > total:
            raise ArgumentError(f"{self!r} takes {self.steps} steps, but it has {total} of the run")
        n = total if self.steps is None else self.steps
        if (rise := steps_of(self.warmup, n)) is not None and rise > n:
            raise ArgumentError(f"{self!r}: its warm-up takes {rise} steps, but it has {n} of the run")

    def at(self, steps: Array, total: int | None) -> Array:
        n = total if self.steps is None else self.steps
        rise = steps_of(self.warmup, n)
        assert rise is not None
        rest = None if n is None else max(n - rise, 1)
        values = self.curve(np.maximum(steps - rise, 0), rest)
        if rise == 0:
            return values
        return np.where(steps < rise, self.curve(np.zeros(1, np.int64), rest) * ((steps + 1.0) / rise), values)


class Constant(Curve):
    """The same value at every step. warmup: default 0; see Cosine.

    >>> import hawfinch as hf
    >>> hf.schedules.Constant(0.1, warmup=2).at(np.arange(4), None)
    array([0.05, 0.1 , 0.1 , 0.1 ])
    """

    def __init__(self, value: float, *, warmup: float = 0):
        self.value = number("Constant", "value", value)
        super().__init__(warmup)

    def curve(self, s: Array, n: int | None) -> Array:
        return np.full(len(s), self.value)


def number(what: str, name: str, value: Any) -> float:
    """A finite number."""
    return check_real(value, f"{what}: {name}", "that is finite", lambda v: abs(v) < float("inf"))


def check_steps(what: str, name: str, value: Any) -> float:
    """A number of steps, or below 1 a part of what a schedule spans."""
    value = number(what, name, value)
    if value < 0 or (value >= 1 and value != int(value)):
        raise ArgumentError(f"{what}: {name} must be a number of steps, or a part of the run in [0, 1), got {value}")
    return value


def steps_of(given: float, total: int | None) -> int | None:
    """What ``check_steps`` has taken, in steps; None: a part of nobody knows what."""
    if given >= 1 or given == 0:
        return int(given)
    return None if total is None else round(given * total)


def as_schedule(what: str, given: Any) -> Schedule:
    """A schedule; a number stands for one that is constant."""
    return given if isinstance(given, Schedule) else Constant(number(what, "a part", given))
