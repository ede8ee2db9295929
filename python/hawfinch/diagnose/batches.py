"""Which batch size: ``batch_size_study``.

Design: gradients are the changes that one step of SGD at rate 1 makes to a float64 copy, so that they are those of
training. Rejected: the variance of rows' own gradients, of which a batch norm has none.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from ..nn.module import Module
from ..optim import SGD, get_optimizer
from ..train.trainer import Trainer
from ..values import check_whole, is_word
from .given import anew, axes, check_several, run_of, table, task_for
from .hessian import curvature
from .run import Run, train
from .task import Task

MOST_ROWS = 4096  # of which gradients are taken
DRAWS = 16  # batches of each size


class BatchStudy:
    """What ``batch_size_study`` found; see there."""

    def __init__(self, task: Task, columns: dict[str, Array], noise_scale: float):
        self._task, self._columns, self.noise_scale = task, columns, noise_scale
        self.batch_sizes, self.rates = columns["batch"], columns["rate"]
        self.gradient_variance, self.errors = columns["variance"], columns["errors"]
        self.train_errors, self.sharpness = columns["train_errors"], columns["sharpness"]

    @property
    def error(self) -> Array:
        """(sizes,): the mean over seeds, on validation rows."""
        return self.errors.mean(1)

    def __repr__(self) -> str:
        text = self._task.text
        head = ("batch", "rate", "gradient variance", "training", "validation", "sharpness")
        rows: list[tuple[str, ...]] = [head]
        for i, b in enumerate(self.batch_sizes):
            found = [f"{v:.3g}" for v in (self.rates[i], self.gradient_variance[i])]
            errors = [text(float(e[i].mean())) for e in (self.train_errors, self.errors)]
            rows.append((str(int(b)), *found, *errors, f"{self.sharpness[i]:.3g}"))
        return "\n".join([f"batch sizes: noise scale {self.noise_scale:.3g} rows", *table(rows)])

    def plot(self, ax: Any = None) -> Any:
        """Draws the variance of the gradient over its square, over the batch size, with the law of the noise scale, and
        the validation error beside it. Gives the Axes. Needs matplotlib."""
        ax = axes(ax)
        ax.plot(self.batch_sizes, self.gradient_variance, "o", label="variance / square of the gradient")
        ax.plot(self.batch_sizes, self.noise_scale / self.batch_sizes, "-", label="noise scale / batch size")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xlabel("batch size")
        ax.set_ylabel("gradient: variance / square")
        ax.grid(alpha=0.3)
        other = ax.twinx()
        other.plot(self.batch_sizes, self.error, "s--", color="tab:green", label="validation error")
        other.set_ylabel(self._task.unit)
        other.set_ylim(0, 1.6 * float(self.error.max()) + 1e-12)
        lines = [*ax.get_lines(), *other.get_lines()]
        ax.legend(lines, [line.get_label() for line in lines], frameon=False)
        return ax


def gradient_variance(run: Run, sizes: Sequence[int], seed: int) -> tuple[Array, float]:
    """(mean |g_B - G|² / |G|² of each size, the noise scale): batches are drawn with replacement."""
    model = copy.deepcopy(run.model).astype("float64")
    trainer = Trainer(model, run.trainer["loss"], SGD(1.0), seed=seed)
    rng = np.random.default_rng(seed)
    few = run.data.take(np.sort(rng.permutation(run.data.n)[:MOST_ROWS]))
    trainer._check(few.x, few.y, few.weight, learn=True)
    start = {k: v.copy() for k, v in model.trainable().items()}

    def gradient(rows: Any) -> Array:
        part = few.take(rows)
        trainer.step(part.x, part.y, sample_weight=part.weight)
        now = model.trainable()
        g = np.concatenate([(start[k] - v).ravel() for k, v in now.items()])
        for k, v in now.items():
            v[...] = start[k]
        return g

    whole = gradient(np.arange(few.n))
    square = float(whole @ whole)
    found = []
    for size in sizes:
        draws = [gradient(rng.integers(0, few.n, size)) - whole for _ in range(DRAWS)]
        found.append(float(np.mean([d @ d for d in draws])))
    variance = np.array(found)
    trace = float(np.mean(variance * np.array(sizes)))
    return variance / square, trace / square


def batch_size_study(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    validation_data: Any = None,
    batch_sizes: Sequence[int] = (8, 16, 32, 64, 128, 256),
    batch_size: int = 32,
    scale: str | None = None,
    seeds: int = 2,
    epochs: int | None = None,
    seed: int = 0,
    **settings: Any,
) -> BatchStudy:
    """How the batch size changes the gradient's noise, the error and the sharpness of what is found.

    Of each size B: the variance of the gradient, mean |g_B - G|² / |G|² over 16 batches, G of up to 4,096 rows, for the
    model as training begins. It is near noise_scale / B: beyond that size larger batches gain little. Then trainings
    with the same epochs and the rate scaled from ``batch_size``, at which the optimizer's is meant: scale "linear",
    lr B / batch_size, "sqrt", or "none"; default "linear" for SGD, "sqrt" for others. sharpness: the largest eigenvalue
    of the Hessian on up to 512 training rows, of the first seed's net; NaN where it diverged.

    Gives ``.batch_sizes``, ``.rates``, ``.gradient_variance``, ``.sharpness`` (sizes,), ``.errors`` and
    ``.train_errors`` (sizes, seeds), ``.error``, ``.noise_scale``; ``print``, ``.plot()``. Other arguments as for
    ``hf.learning_curve``. Raises ArgumentError, and as ``fit`` for bad data. McCandlish et al., An empirical model of
    large-batch training, 2018 (their simple noise scale).

    >>> x = np.random.default_rng(0).normal(size=(500, 4))
    >>> model = hf.Sequential(hf.Linear(16), hf.Tanh(), hf.Linear(1))
    >>> study = hf.batch_size_study(model, x, x[:, :1] ** 2, loss="mse", batch_sizes=[8, 64], epochs=5)
    >>> study.rates.round(5).tolist(), bool(study.gradient_variance[0] > 4 * study.gradient_variance[1])
    ([0.0005, 0.00141], True)
    """
    sizes = check_several(batch_sizes, "batch_sizes", "whole numbers from 1")
    sizes = [check_whole(b, "batch_sizes: each", 1) for b in sizes]
    seeds, batch_size = check_whole(seeds, "seeds", 1), check_whole(batch_size, "batch_size", 1)
    if scale is not None and not is_word(scale, "linear", "sqrt", "none"):
        raise ArgumentError(f'scale must be "linear", "sqrt" or "none", not {scale!r:.60}')
    training = dict(loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size)
    run, _ = run_of(
        "batch_size_study", model, x, y, validation_data=validation_data, seed=seed, settings=settings, **training
    )
    own = get_optimizer(optimizer)
    if not isinstance(own.lr, int | float):
        raise ArgumentError("batch_size_study scales a rate that is a number; this optimizer's is a schedule")
    if sizes[-1] > run.data.n:
        raise ArgumentError(f"batch_sizes: {sizes[-1]} is more than the {run.data.n} training rows")
    power = {"linear": 1.0, "sqrt": 0.5, "none": 0.0}[scale or ("linear" if isinstance(own, SGD) else "sqrt")]
    rates = float(own.lr) * (np.array(sizes) / batch_size) ** power
    run, task = run._replace(model=anew(run.model)), task_for(run, seed)
    variance, noise_scale = gradient_variance(run, sizes, seed)
    runs = [
        run.with_fit(batch_size=b).with_trainer(optimizer=own.replace(lr=float(rate)))
        for b, rate in zip(sizes, rates, strict=True)
        for _ in range(seeds)
    ]
    trials = train(runs, task, seed=[seed + i for _ in sizes for i in range(seeds)])
    few = run.data.take(slice(0, 512))
    sharp = []
    for t in trials[::seeds]:
        surface = None if t.diverged else curvature(t.trainer.model, few.x, few.y, loss=loss)
        sharp.append(float("nan") if surface is None else surface.extreme(ends="largest", tolerance=1e-3).largest)
    errors = np.array([(t.error, t.train_error) for t in trials]).reshape(len(sizes), seeds, 2)
    columns = dict(batch=np.array(sizes), rate=rates, variance=variance, sharpness=np.array(sharp))
    columns |= dict(errors=errors[..., 0], train_errors=errors[..., 1])
    return BatchStudy(task, columns, noise_scale)
