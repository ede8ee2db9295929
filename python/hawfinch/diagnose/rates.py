"""Which learning rates train: ``lr_find``.

Design: the rate grows by a factor in each step of short trainings of copies, one for each seed, by ``fit_many``; beside
each goes one that stands still, on the same batches with the same dropout, so that what differs is training and not the
batch. The answer is of all seeds, and is none where they disagree or the loss says too little. Rejected: one seed, the
batches' own losses, whose noise hides where the fall begins, a running mean, which lags, and the point of the least
loss, at which a training is about to diverge.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from ..nn.module import Module
from ..optim import SGD, get_optimizer
from ..schedules import Exponential
from ..train.many import fit_many
from ..values import check_real, check_whole
from .given import axes, run_of

WINDOW = 9  # steps of a mean
DIVERGED = 3.0  # times the loss of the untrained net: the training is over
DISAGREE = 10.0  # between the least and the largest suggestion of the seeds
BEGUN, HALF = 0.1, 0.5  # of the fall


class RateRange:
    """What ``lr_find`` found; see there."""

    def __init__(self, rates: Array, losses: Array, still: Array):
        self.rates, self.losses = rates, losses
        self.smoothed = np.array([_smoothed(row, own) for row, own in zip(losses, still, strict=True)])
        found = [_range(rates, row, float(own.mean())) for row, own in zip(self.smoothed, still, strict=True)]
        self.suggestions: list[float | None] = [None if isinstance(f, str) else f[1] for f in found]
        known = [f for f in found if not isinstance(f, str)]
        self.suggestion: float | None = None
        self.lowest: float | None = None
        self.highest: float | None = None
        self.reason = ""
        if len(known) <= len(found) / 2:
            self.reason = next(f for f in found if isinstance(f, str))
            return
        low, middle, high = np.array(known).T
        if middle.max() / middle.min() > DISAGREE:
            self.reason = f"the seeds disagree, from {middle.min():.1e} to {middle.max():.1e}"
            return
        self.lowest, self.suggestion, self.highest = [float(np.exp(np.median(np.log(v)))) for v in (low, middle, high)]

    @property
    def verdict(self) -> str:
        """ "found" or "no clear answer"."""
        return "no clear answer" if self.suggestion is None else "found"

    def __repr__(self) -> str:
        if self.suggestion is None:
            return f"lr_find: no clear answer: {self.reason}"
        each = ", ".join(["none" if s is None else f"{s:.2g}" for s in self.suggestions])
        return (
            f"lr_find: lr={self.suggestion:.2g}; the loss falls from {self.lowest:.2g} to {self.highest:.2g} "
            f"({len(self.suggestions)} seeds: {each})"
        )

    def plot(self, ax: Any = None) -> Any:
        """Draws the smoothed loss of each seed over the rate, the range in which it falls, and the suggestion. Gives
        the Axes. Needs matplotlib."""
        ax = axes(ax)
        for row in self.smoothed:
            ax.plot(self.rates, row, linewidth=1.5)
        if self.suggestion is not None:
            ax.axvspan(self.lowest, self.highest, color="tab:green", alpha=0.12, label="the loss falls")
            ax.axvline(self.suggestion, color="tab:green", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
            ax.legend(frameon=False)
        top, bottom = np.nanmax(self.smoothed[:, :10]), np.nanmin(self.smoothed)
        ax.set_ylim(bottom - 0.1 * (top - bottom), top + 0.5 * (top - bottom))
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.set_title(self.reason and f"no clear answer: {self.reason}", fontsize=10)
        ax.grid(alpha=0.3)
        return ax


def _smoothed(losses: Array, still: Array) -> Array:
    """The mean loss of the untrained net, and what training changes of it, as a centred mean over ``WINDOW`` steps; NaN
    from where the training has diverged."""
    level = float(still.mean())
    bad = ~np.isfinite(losses) | (np.abs(losses - still) > DIVERGED * max(abs(level), float(still.std())))
    end = int(bad.argmax()) if bad.any() else len(losses)
    change, found, half = (losses - still)[:end], np.full(len(losses), np.nan), WINDOW // 2
    for i in range(end):
        found[i] = level + change[max(i - half, 0) : i + half + 1].mean()
    return found


def _range(rates: Array, curve: Array, level: float) -> tuple[float, float, float] | str:
    """(where the fall begins, the suggestion, where it ends), or why there is no answer."""
    known = curve[~np.isnan(curve)]
    if len(known) < WINDOW:
        return "the loss grows beyond bounds at the lowest rates: begin lower"
    end = int(known.argmin())
    fall = level - float(known[end])
    rough = float(np.abs(np.diff(known[: end + 1 : WINDOW], prepend=level)).sum()) - fall  # of rises, twice
    if fall < 0.02 * abs(level) or fall < rough:
        return "the loss falls at no rate by more than its noise"
    if end >= len(curve) - WINDOW:
        return "the loss still falls at the highest rate: try higher ones"
    begin, middle = [int(np.flatnonzero(known <= level - part * fall)[0]) for part in (BEGUN, HALF)]
    if begin < WINDOW:
        return "the loss falls from the lowest rate on: begin lower"
    suggestion = min(float(rates[middle]), float(rates[end]) / 4)
    return min(float(rates[begin]), suggestion), suggestion, float(rates[end])


class _Losses:
    """A callback that keeps the loss of each step."""

    def __init__(self, n: int):
        self.losses, self.at = np.full(n, np.nan), 0

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        """One more."""
        if self.at < len(self.losses):
            self.losses[self.at] = loss
            self.at += 1


def lr_find(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 200,
    batch_size: int | str = 32,
    seeds: int = 3,
    seed: int = 0,
    **settings: Any,
) -> RateRange:
    """Learning rates at which the training makes progress: lowest (highest / lowest)^(i / (steps - 1)) in step i.

    Copies of the model are trained so, by ``fit_many``, one for each seed (initial values where it is not built, order
    of rows, dropout); the model itself, its values and its random state are as before. Of each seed's losses those of a
    net that stands still on the same batches are taken off, and a mean over nine steps is taken: the range begins where
    a tenth of the fall is done and ends at the least value; the suggestion is where half of the fall is done, at most a
    quarter of the end. Of all seeds the medians are given.

    optimizer: its own rate, and a schedule of it, are not used. lowest, highest: of the rates. steps: at least 50.
    seeds: how many; the first is ``seed``. batch_size, settings: as for ``Trainer`` and ``fit``; another batch has
    other rates.

    Gives ``.suggestion``, ``.lowest`` and ``.highest``, None where there is no clear answer, ``.verdict`` ("found" or
    "no clear answer") and ``.reason`` (no fall beyond the noise; it falls from the lowest rate on, or still at the
    highest; seeds that disagree by more than 10 times), ``.rates`` (steps,), ``.losses`` and ``.smoothed`` (seeds,
    steps), ``.suggestions``; ``print``, ``.plot()``. Raises ArgumentError, and as ``fit`` for bad data.

    Smith, Cyclical learning rates for training neural networks, WACV 2017.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 4))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = hf.Sequential(hf.Linear(32), "relu", hf.Linear(2))
    >>> found = hf.lr_find(model, x, y, loss="softmax_cross_entropy")
    >>> found.verdict, bool(1e-3 < found.suggestion < 0.1)
    ('found', True)
    """
    positive = ("above 0", lambda v: 0 < v < np.inf)
    lowest, highest = check_real(lowest, "lowest", *positive), check_real(highest, "highest", *positive)
    if lowest >= highest:
        raise ArgumentError(f"lowest must be below highest; they are {lowest:g} and {highest:g}")
    steps, seeds = check_whole(steps, "steps", 50), check_whole(seeds, "seeds", 1)
    training = dict(loss=loss, optimizer=optimizer, epochs=1, batch_size=batch_size)
    run, _ = run_of("lr_find", model, x, y, hold_out=False, seed=seed, settings=settings, **training)
    own = get_optimizer(optimizer)
    if own.searches:
        raise ArgumentError(f"{type(own).__name__} searches for the length of each step: there is no rate to find")
    growing = own.replace(lr=Exponential(lowest, factor=highest / lowest, every=steps - 1))
    nets, kept = [], []
    for one in range(seed, seed + seeds):
        n = min(run.data.n, steps * run.batch)
        rows = np.sort(np.random.default_rng(one).permutation(run.data.n)[:n])
        data = run.data if n == run.data.n else run.data.take(rows)
        kept.append(_Losses(steps))
        options = {**run.trainer, **run.fit, "optimizer": growing, "seed": one, "callbacks": [kept[-1]]}
        options |= dict(x=data.x, y=data.y, sample_weight=data.weight, epochs=-(-steps // -(-n // run.batch)))
        nets.append((copy.deepcopy(model), options))
        kept.append(_Losses(steps))
        nets.append((copy.deepcopy(model), {**options, "optimizer": SGD(0.0), "callbacks": [kept[-1]]}))
    fit_many(nets, run.data.x, run.data.y)
    losses = np.array([k.losses for k in kept])
    return RateRange(lowest * (highest / lowest) ** (np.arange(steps) / (steps - 1)), losses[::2], losses[1::2])
