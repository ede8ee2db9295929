"""What part of an error is bias and what is variance: ``bias_variance``.

Design: nets on bootstrap samples of the training rows, all at the same time, judged on the same rows; the sums are
identities of these nets, not estimates that add up in the limit. Rejected: reading bias and variance off one training
and one validation error, of which each holds both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from ..nn.module import Module
from ..values import check_whole
from .given import anew, axes, run_of, task_for
from .run import check_finite, train
from .task import Task


class BiasVariance:
    """What ``bias_variance`` found; see there."""

    def __init__(self, task: Task, said: Array, truth: Array, notes: list[str]):
        self._task, self.predictions, self.notes = task, said, notes
        if task.kind == "numbers":
            main = said.mean(0)
            self.bias_rows = _by_row((main - truth) ** 2)
            self.variance_rows = _by_row(((said - main) ** 2).mean(0))
            self.error_rows = _by_row(((said - truth) ** 2).mean(0))
            self.variance_unbiased, self.variance_biased = float(self.variance_rows.mean()), 0.0
        else:
            main = _mode(said)
            biased, away = main != truth, (said != main).mean(0)
            right = (said == truth).mean(0)
            self.bias_rows, self.variance_rows = _by_row(biased * 1.0), _by_row(away)
            self.error_rows = _by_row((said != truth).mean(0))
            self.variance_unbiased = float(np.where(biased, 0.0, away).mean())
            self.variance_biased = float(np.where(biased, right, 0.0).mean())
        self.bias, self.error = float(self.bias_rows.mean()), float(self.error_rows.mean())
        self.main = main

    @property
    def variance(self) -> float:
        """What variance adds to the error: ``variance_unbiased`` - ``variance_biased``."""
        return self.variance_unbiased - self.variance_biased

    @property
    def verdict(self) -> str:
        """ "bias", "variance", or "both": one is less than twice the other."""
        low, high = sorted((self.bias, max(self.variance, 0.0)))
        return "both" if high <= 2 * low else "bias" if self.bias == high else "variance"

    def __repr__(self) -> str:
        unit = self._task.unit
        lines = [f"bias and variance: {self.verdict} ({len(self.predictions)} bootstrap samples; {unit})"]
        lines.append(f"error {self.error:.4g} = bias {self.bias:.4g} + variance {self.variance:.4g}")
        if self._task.kind != "numbers":
            lines.append(
                f"variance: {self.variance_unbiased:.4g} where the main prediction is right, less "
                f"{self.variance_biased:.4g} where it is wrong and a net that differs is right"
            )
        return "\n".join([*lines, *[f"note: {note}" for note in self.notes]])

    def plot(self, ax: Any = None) -> Any:
        """Draws the error as bias and variance, of all rows and of the tenths of rows from the least error to the
        largest. Gives the Axes. Needs matplotlib."""
        ax = axes(ax)
        tenths = np.array_split(np.argsort(self.error_rows, kind="stable"), min(10, len(self.error_rows)))
        bias = np.array([self.bias, *[self.bias_rows[rows].mean() for rows in tenths]])
        error = np.array([self.error, *[self.error_rows[rows].mean() for rows in tenths]])
        places = np.array([0.0, *(np.arange(len(tenths)) + 1.5)])
        variance = error - bias
        ax.bar(places, bias, label="bias", color="tab:blue")
        ax.bar(places, variance, bottom=bias, label="variance", color="tab:orange", alpha=0.8)
        ax.set_xticks(places, ["all", *[str(i + 1) for i in range(len(tenths))]])
        ax.set_xlabel("rows: all, and tenths by their error")
        ax.set_ylabel(self._task.unit)
        ax.set_title(f"error {self.error:.3g} = bias {self.bias:.3g} + variance {self.variance:.3g}", fontsize=10)
        ax.legend(frameon=False)
        ax.grid(axis="y", alpha=0.3)
        return ax


def _by_row(a: Array) -> Array:
    """(rows, ...) to the mean of each row."""
    return a.reshape(len(a), -1).mean(1)


def _mode(said: Array) -> Array:
    """(nets, rows, ...) of classes: what most nets say, the smallest of several."""
    counts = np.stack([(said == c).sum(0) for c in range(int(said.max()) + 1)])
    return np.asarray(counts.argmax(0))


def bias_variance(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    validation_data: Any = None,
    samples: int = 20,
    epochs: int | None = None,
    batch_size: int | str = 32,
    seed: int = 0,
    **settings: Any,
) -> BiasVariance:
    """The error on validation rows as bias and variance, over nets on bootstrap samples of the training rows.

    Squared error, ŷ_d(x) what net d says and ȳ(x) the mean over nets: mean_d (ŷ_d - y)² = (ȳ - y)² + mean_d (ŷ_d - ȳ)²,
    bias plus variance, exactly; in units of the targets' variance. What is noise in y is in the bias. Classes, by
    Domingos: the main prediction ŷ_m(x) is what most nets say, the bias 1 where that is wrong, else 0, the variance
    v(x) the share of nets that say something else. Where the main prediction is right variance adds v to the error;
    where it is wrong variance takes off the share of nets that are right: error = bias + mean of the first - mean of
    the second, exactly.
    Each net has a seed of its own, so that its start and the order of rows are part of the variance.

    model: is not changed; each net begins a copy anew, unless something in it is frozen. samples: at least 2. epochs:
    default as many as make 1500 steps, 10 to 200. validation_data: (x, y); default: a fifth of the rows is held out.
    loss, optimizer, batch_size, settings: as for ``Trainer`` and ``fit``.

    Gives ``.error``, ``.bias``, ``.variance`` (what it adds), ``.variance_unbiased`` and ``.variance_biased``, which it
    is the difference of, ``.verdict`` ("bias": a larger net, more features; "variance": more rows, regularisation, an
    ensemble; "both"), ``.error_rows``, ``.bias_rows``, ``.variance_rows`` (rows,), ``.predictions`` (samples, rows,
    ...), ``.main``; ``print``, ``.plot()``. Raises ArgumentError where targets are neither numbers nor classes, and as
    ``fit`` for bad data. Geman, Bienenstock, Doursat, Neural Computation 4, 1992; Domingos, AAAI 2000.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-2, 2, size=(200, 1))
    >>> y = np.sin(2 * x)
    >>> line = hf.bias_variance(hf.Sequential(hf.Linear(1)), x, y, loss="mse", optimizer=hf.SGD(0.1), epochs=10)
    >>> line.verdict, bool(np.isclose(line.error, line.bias + line.variance))
    ('bias', True)
    """
    samples = check_whole(samples, "samples", 2)
    training = dict(loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size)
    run, notes = run_of(
        "bias_variance", model, x, y, validation_data=validation_data, seed=seed, settings=settings, **training
    )
    task = task_for(run, seed)
    if task.kind == "loss":
        raise ArgumentError("bias_variance: the error must be one of numbers or classes, of a model with one output")
    run, runs = run._replace(model=anew(run.model)), []
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        rows = np.sort(rng.integers(0, run.data.n, run.data.n))
        runs.append(run._replace(data=run.data.take(rows)))
    trials = train(runs, task, seed=list(range(seed, seed + samples)))
    check_finite(trials, "bias_variance")
    said = [task.decisions(np.asarray(t.trainer.model.predict(run.validation.x))) for t in trials]
    return BiasVariance(task, np.array(said), task.truth(run.validation.y), notes)
