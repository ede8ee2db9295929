"""How the error falls as there are more rows: ``learning_curve``.

Design: each net takes as many steps as on all rows, so that only the rows differ. Rejected: the same epochs, as
scikit-learn has it, where a net on a tenth of the rows takes a tenth of the steps, and what looks like a lack of rows
is one of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from ..nn.module import Module
from ..values import check_whole
from .given import anew, axes, check_several, order_of, run_of, table, task_for
from .run import check_finite, train
from .task import Task


class LearningCurve:
    """What ``learning_curve`` found; see there."""

    def __init__(self, task: Task, rows: Array, train_errors: Array, errors: Array, notes: list[str]):
        self._task, self.rows, self.train_errors, self.errors, self.notes = task, rows, train_errors, errors, notes

    @property
    def train_error(self) -> Array:
        """(sizes,): the mean over seeds."""
        return self.train_errors.mean(1)

    @property
    def error(self) -> Array:
        """(sizes,): the mean over seeds, on validation rows."""
        return self.errors.mean(1)

    @property
    def gain(self) -> tuple[float, float]:
        """By how much the validation error would fall with twice the rows, if it went on as it did over the larger
        sizes (from a sixth of all rows), and the standard error of that: a line through error over log(rows) for each
        seed."""
        large = self.rows >= min(self.rows[-1] / 6, self.rows[-2])
        slopes = np.polyfit(np.log2(self.rows[large]), self.errors[large], 1)[0]
        return float(-slopes.mean()), float(slopes.std(ddof=1) / np.sqrt(len(slopes)))

    @property
    def verdict(self) -> str:
        """ "more rows help": the gain of twice the rows is above two standard errors, and a twentieth of the error;
        "enough rows": it is below a fifth of the error, two standard errors included; else "no clear answer"."""
        (gain, spread), error = self.gain, float(self.error[-1])
        if gain > max(2.0 * spread, 0.05 * error):
            return "more rows help"
        return "enough rows" if gain + 2.0 * spread < 0.2 * error else "no clear answer"

    def __repr__(self) -> str:
        text = self._task.text
        seeds = self.errors.shape[1]
        rows: list[tuple[str, ...]] = [("rows", "training", "validation", "spread over seeds")]
        for n, a, b, s in zip(self.rows, self.train_error, self.error, self.errors.std(1, ddof=1), strict=True):
            rows.append((str(n), text(float(a)), text(float(b)), f"{s:.2g}"))
        gain, spread = self.gain
        lines = [f"learning curve: {self.verdict} ({seeds} seeds)", *table(rows)]
        lines.append(f"twice the rows: the validation error would change by {-gain:.2g} ± {spread:.1g}")
        return "\n".join([*lines, *[f"note: {note}" for note in self.notes]])

    def plot(self, ax: Any = None) -> Any:
        """Draws both errors over the number of rows, with a band of one standard deviation over seeds. Gives the Axes.
        Needs matplotlib."""
        ax = axes(ax)
        for errors, name, style in ((self.train_errors, "training", "o--"), (self.errors, "validation", "o-")):
            middle, spread = errors.mean(1), errors.std(1, ddof=1)
            (line,) = ax.plot(self.rows, middle, style, label=name, markersize=4)
            ax.fill_between(self.rows, middle - spread, middle + spread, color=line.get_color(), alpha=0.2, linewidth=0)
        ax.set_xscale("log")
        ax.set_xticks(self.rows, [str(n) for n in self.rows])
        ax.minorticks_off()
        ax.set_ylim(bottom=min(0.0, float(self.train_errors.min())))
        ax.set_xlabel("training rows")
        ax.set_ylabel(self._task.unit)
        ax.set_title(self.verdict, fontsize=10)
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
        return ax


def learning_curve(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    validation_data: Any = None,
    fractions: Sequence[float] = (0.1, 0.2, 0.4, 0.7, 1.0),
    seeds: int = 3,
    epochs: int | None = None,
    batch_size: int | str = 32,
    callbacks: Sequence[Any] = (),
    seed: int = 0,
    **settings: Any,
) -> LearningCurve:
    """The error on training and validation rows over the number of training rows: would more rows help?

    Each net trains on a part of the rows, drawn by its seed with classes in proportion, smaller parts within larger
    ones, and takes as many steps as a training of ``epochs`` on all rows. All of them by ``fit_many``.

    model: is not changed; every seed begins a copy anew, unless something in it is frozen. loss, optimizer, batch_size,
    callbacks, settings: as for ``Trainer`` and ``fit``. epochs: default as many as make 1500 steps, 10 to 200.
    validation_data: (x, y); default: a fifth of the rows is held out. fractions: parts of the training rows, in (0, 1],
    at least two. seeds: how many, at least 2; the first is ``seed``.

    Gives ``.rows`` (sizes,), ``.train_errors`` and ``.errors`` (sizes, seeds), ``.train_error`` and ``.error``, their
    means, ``.gain``, what twice the rows would bring, and its standard error, ``.verdict``: "more rows help", "enough
    rows" or "no clear answer"; ``print``, ``.plot()``. The error is the share of rows whose class is wrong, or the
    squared error over the variance of the targets (1 - R²); where the loss has neither, the loss. Raises ArgumentError,
    and as ``fit`` for bad data.

    Cortes et al., Learning curves: asymptotic values and rate of convergence, NIPS 1993.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1200, 8))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = hf.Sequential(hf.Linear(32), "relu", hf.Linear(2))
    >>> curve = hf.learning_curve(
    ...     model, x, y, loss="softmax_cross_entropy", optimizer=hf.Adam(0.01), epochs=15, fractions=[0.1, 0.4, 1.0]
    ... )
    >>> curve.verdict, curve.rows.tolist(), bool(curve.error[0] > 2 * curve.error[-1])
    ('more rows help', [96, 384, 960], True)
    """
    seeds = check_whole(seeds, "seeds", 2)
    parts = check_several(fractions, "fractions", "numbers in (0, 1]", 2)
    if parts[0] <= 0 or parts[-1] > 1:
        raise ArgumentError(f"fractions must be numbers in (0, 1], not {parts[0] if parts[0] <= 0 else parts[-1]}")
    training = dict(loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, callbacks=callbacks)
    run, notes = run_of(
        "learning_curve", model, x, y, validation_data=validation_data, seed=seed, settings=settings, **training
    )
    run = run._replace(model=anew(run.model))
    sizes = [max(round(part * run.data.n), 1) for part in parts]
    if len(set(sizes)) < len(sizes) or sizes[0] < 2:
        raise ArgumentError(f"{run.data.n} training rows are too few for the fractions {parts}")
    runs, numbers = [], []
    for one in range(seed, seed + seeds):
        order = order_of(run.data, one)
        for n in sizes:
            part = run._replace(data=run.data if n == run.data.n else run.data.take(np.sort(order[:n])))
            steps = max(-(-n // part.batch), 1)
            runs.append(part.with_fit(epochs=max(round(run.steps / steps), 1)))
            numbers.append(one)
    task = task_for(run)
    trials = train(runs, task, seed=numbers)
    check_finite(trials, "learning_curve")
    errors = np.array([(t.train_error, t.error) for t in trials]).reshape(seeds, len(sizes), 2)
    return LearningCurve(task, np.array(sizes), errors[..., 0].T.copy(), errors[..., 1].T.copy(), notes)
