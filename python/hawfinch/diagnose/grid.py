"""Rates and batch sizes together: ``lr_batch_map``, a grid of trainings by ``fit_many``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from ..nn.module import Module
from ..optim import get_optimizer
from ..values import check_whole
from .given import anew, axes, check_several, run_of, table, task_for
from .run import train
from .task import Task


class RateBatchMap:
    """What ``lr_batch_map`` found; see there."""

    def __init__(self, task: Task, rates: Array, batch_sizes: Array, errors: Array, diverged: Array):
        self._task, self.rates, self.batch_sizes, self.errors, self.diverged = (
            task,
            rates,
            batch_sizes,
            errors,
            diverged,
        )

    @property
    def error(self) -> Array:
        """(rates, sizes): the mean over seeds; NaN where one diverged."""
        return np.where(self.diverged, np.nan, self.errors.mean(2))

    @property
    def best(self) -> tuple[float, int] | None:
        """Rate and batch size of the least error; None where all diverged."""
        if self.diverged.all():
            return None
        i, j = np.unravel_index(int(np.nanargmin(self.error)), self.error.shape)
        return float(self.rates[i]), int(self.batch_sizes[j])

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("rate", *[f"batch {b}" for b in self.batch_sizes])]
        for rate, row in zip(self.rates, self.error, strict=True):
            rows.append((f"{rate:.3g}", *["diverged" if np.isnan(e) else self._task.text(float(e)) for e in row]))
        best = "all diverged" if self.best is None else f"best lr={self.best[0]:.3g} at batch {self.best[1]}"
        return "\n".join([f"lr x batch: {best}", *table(rows)])

    def plot(self, ax: Any = None) -> Any:
        """Draws the errors as a heat map; grey where a training diverged. Gives the Axes. Needs matplotlib."""
        ax = axes(ax, 6.0, 4.5)
        ax.set_facecolor("0.85")
        image = ax.imshow(self.error, aspect="auto", origin="lower", cmap="viridis_r")
        ax.set_xticks(range(len(self.batch_sizes)), [str(b) for b in self.batch_sizes])
        ax.set_yticks(range(len(self.rates)), [f"{r:.2g}" for r in self.rates])
        ax.set_xlabel("batch size")
        ax.set_ylabel("learning rate")
        ax.figure.colorbar(image, ax=ax, label=self._task.unit)
        return ax


def lr_batch_map(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    rates: Sequence[float] = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    batch_sizes: Sequence[int] = (16, 32, 64, 128, 256),
    validation_data: Any = None,
    seeds: int = 1,
    epochs: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> RateBatchMap:
    """The validation error over learning rates and batch sizes: a training of the same epochs for each pair and seed,
    all at the same time by ``fit_many``.

    optimizer: its own rate is not used. Gives ``.rates``, ``.batch_sizes``, ``.errors`` (rates, sizes, seeds),
    ``.error``, their means, NaN where one diverged, ``.diverged``, ``.best`` (rate, batch size); ``print``,
    ``.plot()``, the heat map. Other arguments as for ``hf.learning_curve``. Raises ArgumentError, and as
    ``fit`` for bad data.

    >>> x = np.random.default_rng(0).normal(size=(300, 3))
    >>> model = hf.Sequential(hf.Linear(16), hf.Tanh(), hf.Linear(1))
    >>> found = hf.lr_batch_map(
    ...     model, x, x[:, :1], loss="mse", rates=[1e-5, 1e-2], batch_sizes=[16, 64], epochs=10
    ... )
    >>> found.best
    (0.01, 16)
    """
    lrs = check_several(rates, "rates", "numbers above 0")
    sizes = [check_whole(b, "batch_sizes: each", 1) for b in check_several(batch_sizes, "batch_sizes", "whole numbers")]
    if lrs[0] <= 0 or not np.isfinite(lrs[-1]):
        raise ArgumentError(f"rates must be numbers above 0, not {lrs}")
    seeds = check_whole(seeds, "seeds", 1)
    training = dict(loss=loss, optimizer=optimizer, epochs=epochs, batch_size=32)
    run, _ = run_of(
        "lr_batch_map", model, x, y, validation_data=validation_data, seed=seed, settings=settings, **training
    )
    own, task = get_optimizer(optimizer), task_for(run, seed)
    run = run._replace(model=anew(run.model))
    pairs = [(rate, b, one) for rate in lrs for b in sizes for one in range(seed, seed + seeds)]
    runs = [run.with_fit(batch_size=b).with_trainer(optimizer=own.replace(lr=float(rate))) for rate, b, _ in pairs]
    trials = train(runs, task, seed=[one for *_, one in pairs])
    shape = (len(lrs), len(sizes), seeds)
    errors = np.array([t.error for t in trials]).reshape(shape)
    diverged = np.array([t.diverged for t in trials]).reshape(shape).any(2)
    return RateBatchMap(task, np.array(lrs), np.array(sizes), errors, np.asarray(diverged))
