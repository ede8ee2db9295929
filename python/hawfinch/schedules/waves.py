"""Schedules that rise and fall along cosines."""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError, unknown_name
from ..ir import Array
from ..values import check_real, check_whole, is_word, short
from .base import Curve, check_steps, number, steps_of
from .exact import cos_pi, cos_turns, log2


class Cosine(Curve):
    """Rises evenly from peak/warmup to ``peak``, then falls along half a cosine towards ``end``, which a step after the
    last would have.

    peak: the largest value. warmup: default 0; a number of steps, or below 1 a part of the run. end: default 0. steps:
    in which it does all this, the warmup too; default: the run; after them ``end`` stays.
    With w steps of warmup, s counted from 0 and u = (s - w) / (total - w): peak (s + 1) / w for s < w, then
    end + (peak - end) (1 + cos(pi u)) / 2. Loshchilov, Hutter, ICLR 2017, without restarts; PyTorch's CosineAnnealingLR
    (T_max, eta_min), which rises again after T_max.

    >>> import hawfinch as hf
    >>> hf.schedules.Cosine(1.0, warmup=2).at(np.arange(6), 6).round(3)
    array([0.5  , 1.   , 1.   , 0.854, 0.5  , 0.146])
    """

    to_the_end = True

    def __init__(self, peak: float, *, warmup: float = 0, end: float = 0.0, steps: int | None = None):
        self.peak, self.end = number("Cosine", "peak", peak), number("Cosine", "end", end)
        super().__init__(warmup, steps)

    def curve(self, s: Array, n: int | None) -> Array:
        assert n is not None
        return fall(self.peak, self.end, np.minimum(s, n) / n)


class CosineRestarts(Curve):
    """Half a cosine from ``peak`` to ``end``, again and again: each ``times`` as long as the one before.

    every: steps of the first, below 1 a part of the run. times: a whole number, default 1. end: default 0. warmup:
    default 0; see Cosine. Loshchilov, Hutter, ICLR 2017 (SGDR); PyTorch's CosineAnnealingWarmRestarts (T_0, T_mult,
    eta_min).

    >>> import hawfinch as hf
    >>> hf.schedules.CosineRestarts(1.0, every=2, times=2).at(np.arange(7), None).round(3)
    array([1.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 1.   ])
    """

    def __init__(self, peak: float, *, every: float, times: int = 1, end: float = 0.0, warmup: float = 0):
        self.peak, self.end = number("CosineRestarts", "peak", peak), number("CosineRestarts", "end", end)
        self.every = check_steps("CosineRestarts", "every", every)
        if self.every == 0:
            raise ArgumentError("CosineRestarts: every must be above 0")
        self.times = check_whole(times, "CosineRestarts: times", 1)
        super().__init__(warmup)

    @property
    def needs_total(self) -> bool:
        return super().needs_total or self.every < 1

    def check(self, total: int) -> None:
        super().check(total)
        rest = total - (steps_of(self.warmup, total) or 0)
        if self.every > rest:
            raise ArgumentError(f"{self!r}: its first part takes {self.every:.0f} steps, but it has {rest} of the run")

    def curve(self, s: Array, n: int | None) -> Array:
        first = max(steps_of(self.every, n) or 0, 1)
        if self.times == 1:
            return fall(self.peak, self.end, s % first / first)
        ends = [0, first]
        while ends[-1] <= s.max(initial=0):
            ends.append(ends[-1] + (ends[-1] - ends[-2]) * self.times)
        bounds = np.array(ends)
        i = np.searchsorted(bounds, s, "right") - 1
        return fall(self.peak, self.end, (s - bounds[i]) / (bounds[i + 1] - bounds[i]))


class OneCycle(Curve):
    """From peak / div_factor up to ``peak``, and down to peak / (div_factor final_div_factor) at the last step.

    div_factor: default 25. final_div_factor: default 1e4. pct_start: the part of the steps in which it rises, default
    0.3. anneal_strategy: "cos" (default) or "linear". three_phase: default False; True: down to the first value in as
    many steps as it rose, and the rest of the way in those that are left. steps: default: the run. All as PyTorch's
    OneCycleLR, which moves momentum too: give it a schedule of its own,
    ``momentum=OneCycle(0.85, div_factor=0.85 / 0.95, final_div_factor=1)``. Smith, Topin, arXiv:1708.07120, 2017.

    >>> import hawfinch as hf
    >>> hf.schedules.OneCycle(1.0, anneal_strategy="linear").at(np.arange(10), 10).round(2)
    array([0.04, 0.52, 1.  , 0.86, 0.71, 0.57, 0.43, 0.29, 0.14, 0.  ])
    """

    to_the_end = True

    def __init__(
        self,
        peak: float,
        *,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        anneal_strategy: str = "cos",
        three_phase: bool = False,
        steps: int | None = None,
    ):
        def positive(name: str, value: float) -> float:
            return check_real(value, f"OneCycle: {name}", "above 0", lambda v: 0 < v < float("inf"))

        self.peak = number("OneCycle", "peak", peak)
        if not isinstance(three_phase, bool):
            raise ArgumentError(f"OneCycle: three_phase must be True or False, got {short(three_phase)}")
        most = 0.5 if three_phase else 1.0
        wanted = f"from 0 to {most:g}"
        self.pct_start = check_real(pct_start, "OneCycle: pct_start", wanted, lambda v: 0 <= v <= most)
        self.div_factor = positive("div_factor", div_factor)
        self.final_div_factor = positive("final_div_factor", final_div_factor)
        if not is_word(anneal_strategy, "cos", "linear"):
            raise unknown_name("OneCycle: anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.anneal_strategy, self.three_phase = anneal_strategy, three_phase
        super().__init__(0, steps)

    def curve(self, s: Array, n: int | None) -> Array:
        assert n is not None
        first = self.peak / self.div_factor
        rise = self.pct_start * n - 1
        ends, values = [0.0, rise, n - 1.0], [first, self.peak, first / self.final_div_factor]
        if self.three_phase:
            ends.insert(2, 2 * self.pct_start * n - 2)
            values.insert(2, first)
        found = np.full(len(s), values[-1])
        for i in range(len(ends) - 2, -1, -1):
            here = s <= ends[i + 1] if i else (s <= ends[1])
            u = (s[here] - ends[i]) / (ends[i + 1] - ends[i]) if ends[i + 1] > ends[i] else np.ones(here.sum())
            cos = self.anneal_strategy == "cos"
            found[here] = fall(values[i], values[i + 1], u) if cos else values[i] + (values[i + 1] - values[i]) * u
        return found


class FlatCosine(Curve):
    """``peak`` for the part ``flat`` of the steps, then half a cosine to ``end``.

    flat: default 0.75, as in fastai's fit_flat_cos; in [0, 1). end: default 0. warmup: default 0; steps: default: the
    run; for both see Cosine. With RMSprop-like optimisers and short runs often better than Cosine.

    >>> import hawfinch as hf
    >>> hf.schedules.FlatCosine(1.0, flat=0.5).at(np.arange(8), 8).round(3)
    array([1.   , 1.   , 1.   , 1.   , 1.   , 0.854, 0.5  , 0.146])
    """

    to_the_end = True

    def __init__(
        self, peak: float, *, flat: float = 0.75, end: float = 0.0, warmup: float = 0, steps: int | None = None
    ):
        self.peak, self.end = number("FlatCosine", "peak", peak), number("FlatCosine", "end", end)
        self.flat = check_real(flat, "FlatCosine: flat", "from 0 to below 1", lambda v: 0 <= v < 1)
        super().__init__(warmup, steps)

    def curve(self, s: Array, n: int | None) -> Array:
        assert n is not None
        u = np.clip((s / n - self.flat) / (1.0 - self.flat), 0.0, 1.0)
        return fall(self.peak, self.end, u)


class CosLog4(Curve):
    """peak (1 - cos(2 pi log2(1 + 15 t))) / 2, t = step / steps: four waves, each longer than the one before it.

    It begins at 0 and comes back to 0 at t = 1/15, 3/15, 7/15 and 1. steps: default: the run. warmup: default 0; see
    Cosine. Holzmueller, Grinsztajn, Steinwart, NeurIPS 2024 (RealMLP).

    >>> import hawfinch as hf
    >>> hf.schedules.CosLog4(1.0).at(np.array([0, 1, 3, 7, 10, 15]), 15).round(3)
    array([0.   , 0.   , 0.   , 0.   , 0.984, 0.   ])
    """

    to_the_end = True

    def __init__(self, peak: float, *, warmup: float = 0, steps: int | None = None):
        self.peak = number("CosLog4", "peak", peak)
        super().__init__(warmup, steps)

    def curve(self, s: Array, n: int | None) -> Array:
        assert n is not None
        return self.peak * (0.5 * (1.0 - cos_turns(log2(1.0 + 15.0 * (np.minimum(s, n) / n)))))


def fall(first: float, last: float, u: Array) -> Array:
    """From first (u = 0) to last (u = 1) along half a cosine."""
    return last + (first - last) * (0.5 * (1.0 + cos_pi(np.clip(u, 0.0, 1.0))))
