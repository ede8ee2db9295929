"""``label_noise``: rows whose targets are probably wrong."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from ..data.arrays import as_data, as_inputs
from ..errors import ArgumentError, HawfinchWarning, ShapeError, import_extra
from ..ir import Array
from ..nn import Sequential
from ..nn.module import Module
from ..train.trainer import Trainer
from ..values import check_whole, short
from . import edits
from .case import Case
from .references import out_of_fold, probabilities, references, residuals
from .run import Rows, Run
from .task import Task, task_of

SHOWN = 10


class Suspect(NamedTuple):
    """A row. given: its target. suggested: what nets that have not seen the row say. confidence: of classes the
    probability that they give the target; of numbers how many robust deviations it is away."""

    row: int
    given: Any
    suggested: Any
    confidence: float


class LabelNoise:
    """What ``label_noise`` found.

    rows: (n,) int64, those whose target is probably wrong, the likeliest first. suspects: the same, a ``Suspect`` each.
    share: of all rows. confidence: (rows,) of every row, see ``Suspect``. said: (rows, classes) the probabilities, or
    the numbers, that nets which have not seen a row give it. error: their mean error on the targets as given.
    """

    def __init__(self, task: Task, y: Array, said: Array, rows: Array, error: float):
        self._classes, self._y = task.kind == "classes", y
        self.rows, self.error, self.share = rows, error, len(rows) / max(len(y), 1)
        if self._classes:
            self.said = probabilities(said)
            self.confidence = self.said[np.arange(len(y)), y]
        else:
            self.said = said.reshape(y.shape)
            self.confidence = residuals(said, y)
        self.suspects = [Suspect(int(i), _plain(y[i]), self._says(i), float(self.confidence[i])) for i in rows]
        self._text = task.text(error)

    def _says(self, row: int) -> Any:
        return int(self.said[row].argmax()) if self._classes else _plain(self.said[row])

    def __repr__(self) -> str:
        n = len(self._y)
        lines = [
            f"label noise: {len(self.rows)} of {n} rows ({100 * self.share:.1f} %) are probably mislabelled; "
            f"out of fold: {self._text}"
        ]
        if not self.suspects:
            return lines[0]
        last = "p(given)" if self._classes else "deviations"
        table = [("row", "given", "suggested", last)]
        for s in self.suspects[:SHOWN]:
            table.append((str(s.row), _shown(s.given), _shown(s.suggested), f"{s.confidence:.3g}"))
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["  ".join(f"{v:>{w}}" for v, w in zip(row, widths, strict=True)) for row in table]
        if len(self.suspects) > SHOWN:
            lines.append(f"... and {len(self.suspects) - SHOWN} more")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Of classes, how many suspects were given one class (down) and are said to be another (across); of numbers,
        what was given over what is said, with the suspects marked. Gives the Axes. Needs matplotlib."""
        plt = import_extra("matplotlib.pyplot", "plot")
        if ax is None:
            ax = plt.subplots(figsize=(5, 4.5), layout="constrained")[1]
        if self._classes:
            n = self.said.shape[1]
            counts = np.zeros((n, n), np.int64)
            np.add.at(counts, ([s.given for s in self.suspects], [s.suggested for s in self.suspects]), 1)
            ax.imshow(counts, cmap="Oranges", vmin=0, vmax=max(int(counts.max()), 1))
            for i, j in np.argwhere(counts > 0) if n <= 20 else ():
                dark = counts[i, j] > 0.6 * counts.max()
                ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color="white" if dark else "black")
            ax.set_xlabel("class that nets suggest")
            ax.set_ylabel("class that was given")
            if n <= 20:
                ax.set_xticks(range(n))
                ax.set_yticks(range(n))
        else:
            given, said = self._y.reshape(len(self._y), -1)[:, 0], self.said.reshape(len(self._y), -1)[:, 0]
            ax.scatter(said, given, s=8, color="tab:gray", alpha=0.5, linewidths=0)
            ax.scatter(said[self.rows], given[self.rows], s=18, color="tab:red", label="suspects", linewidths=0)
            ax.axline((float(said.mean()), float(said.mean())), slope=1.0, color="gray", linestyle=":", linewidth=1)
            ax.set_xlabel("number that nets say, out of fold")
            ax.set_ylabel("number that was given")
            ax.legend(frameon=False)
        ax.set_title(f"{len(self.rows)} of {len(self._y)} rows are suspected", fontsize=10)
        return ax


def _plain(value: Any) -> Any:
    return value.item() if np.size(value) == 1 else value.tolist()


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else short(value)


def label_noise(
    model: Module | None,
    x: Any,
    y: Any,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    epochs: int | None = None,
    batch_size: int | str = 32,
    folds: int = 5,
    seed: int = 0,
) -> LabelNoise:
    """Rows whose targets are probably wrong, by nets that have not seen them.

    The rows are dealt into ``folds`` (default 5); for each a net is trained on the others and says p, (rows, classes),
    of this one. Confident learning: a row given class i is suspected where some class j has p_j >= t_j and p_j > p_i,
    and is the likeliest; t_j is the mean of p_j over the rows given class j, so that a net that is unsure of a class
    throughout suspects no row for it. Of numbers: |y - said| beyond 5 robust deviations (1.4826 times its median).

    model: trained from anew in each fold, whatever values it has, and not changed; None: a net of good habits (scaled
    inputs, two hidden layers with batch norm and dropout, AdamW with a cosine), for plain tables and images. x, y:
    as for ``fit``; y are class numbers (rows,), one-hot, 0 and 1 for one output, or numbers. loss, optimizer,
    batch_size: of the model, as for ``Trainer`` and ``fit``; without a model they are chosen. epochs: default as many
    as make 1,500 steps, 10 to 200. Costs ``folds`` trainings, on as many cores as there are.

    Raises ArgumentError for a model without a loss or a loss without a model, for targets that are several labels a
    row, and for fewer rows than two a fold. Source: Northcutt, Jiang, Chuang, "Confident learning", JAIR 70, 2021.

    >>> import numpy as np, hawfinch as hf
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 2))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> y[:10] = 1 - y[:10]
    >>> noise = hf.label_noise(None, x, y)
    >>> len(set(noise.rows) & set(range(10))) >= 8, noise.suspects[0].suggested != noise.suspects[0].given
    (True, True)
    """
    arrays = as_inputs(x)
    rows = Rows(arrays if len(arrays) > 1 else arrays[0], as_data(y, "y"))
    if len(rows.y) != rows.n:
        raise ShapeError(f"label_noise: x has {rows.n} rows and y has {len(rows.y)}")
    folds = check_whole(folds, "folds", 2)
    if rows.n < 2 * folds:
        raise ArgumentError(f"label_noise: {rows.n} rows are too few for {folds} folds of two rows or more")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HawfinchWarning)
        if model is None:
            if loss is not None:
                raise ArgumentError("label_noise: loss is for a model; without one it follows from y")
            case, run = _without_model(rows, seed)
        else:
            case, run = _with_model(model, rows, loss, optimizer, epochs, batch_size, seed)
        found, _ = out_of_fold(case, run, seed, folds)
    truth = case.task.truth(rows.y) if case.task.kind == "classes" else rows.y
    return LabelNoise(case.task, truth, found.said, found.suspects, float(found.error.mean()))


def _without_model(rows: Rows, seed: int) -> tuple[Case, Run]:
    y = rows.y
    if y.dtype.kind in "iub" and y.size == rows.n:
        y = y.reshape(-1).astype(np.int64)
        if y.min() < 0:
            raise ArgumentError(f"label_noise: class numbers begin at 0, got {y.min()}")
        task, rows = Task("classes", int(y.max()) + 1), rows._replace(y=y)
    else:
        task = task_of("mse", y.astype(np.float64), y.shape)
        if task.kind != "numbers":
            task = Task("numbers", centre=y.mean(0, dtype=np.float64), scale=1.0)
    case = Case(Run(Sequential(), rows, rows, {}, {}), task, math.inf, seed)
    nets = references(case)
    if nets is None:
        raise ArgumentError("label_noise: without a model x must be one array (rows, features...); give a model")
    return case, nets.dropped


def _with_model(
    model: Module, rows: Rows, loss: Any, optimizer: Any, epochs: int | None, batch_size: int | str, seed: int
) -> tuple[Case, Run]:
    if not isinstance(model, Module):
        raise ArgumentError(f"label_noise: expected a hawfinch Module or None, got {type(model).__name__}")
    if loss is None:
        raise ArgumentError("label_noise: the loss is missing: loss=hf.SoftmaxCrossEntropy(), as for Trainer")
    model = edits.untrained(model)
    built = copy.deepcopy(model)
    trainer = Trainer(built, loss, optimizer, seed=seed)
    call = trainer._prepare(rows.x, rows.y, batch_size=batch_size)
    outputs = built.output_specs
    task = task_of(loss, rows.y, outputs[0].shape if len(outputs) == 1 else None)
    if task.kind not in ("classes", "numbers") or task.ordinal:
        raise ArgumentError("label_noise: expected one class a row with a loss of classes, or numbers")
    batch = min(call.batch or rows.n, rows.n)
    usual = int(np.clip(1500 * batch / rows.n, 10, 200))
    epochs = usual if epochs is None else check_whole(epochs, "epochs", 1)
    run = Run(model, rows, rows, dict(loss=loss, optimizer=optimizer), dict(epochs=epochs, batch_size=batch_size))
    return Case(run, task, math.inf, seed), run
