"""Which of several models: ``model_selection``.

Design: all fits, of every candidate on every fold, are one ``fit_many``; candidates are compared fold by fold, on the
same rows from the same seed. Rejected: the smallest mean alone, which takes the luckiest of equals, and the largest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, HawfinchError
from ..ir import Array
from ..values import check_flag, check_whole, short
from .given import anew, axes, labels_of, order_of, run_of, table, task_for
from .run import Rows, Run, Trial, check_finite, train
from .task import Task


class Selection:
    """What ``model_selection`` found; see there."""

    def __init__(self, task: Task, names: list[str], sizes: list[int], errors: Array, nested: Array | None):
        self._task, self.names, self.sizes, self.errors, self.nested_errors = task, names, sizes, errors, nested
        self.best, self.chosen = [names[i] for i in _choices(errors, sizes)]

    @property
    def error(self) -> dict[str, float]:
        """By name the mean over folds."""
        return {name: float(row.mean()) for name, row in zip(self.names, self.errors, strict=True)}

    @property
    def standard_error(self) -> dict[str, float]:
        """By name that of the mean: the deviation over folds by the root of their number."""
        return dict(zip(self.names, _standard_errors(self.errors).tolist(), strict=True))

    @property
    def nested_error(self) -> float | None:
        """The error of what is chosen so, on rows that neither training nor choice has seen; None where not asked."""
        return None if self.nested_errors is None else float(self.nested_errors.mean())

    def __repr__(self) -> str:
        text, best = self._task.text, self.errors[self.names.index(self.best)]
        rows: list[tuple[str, ...]] = [("candidate", "parameters", "error", "standard error", "worse than best by")]
        for name, size, row in zip(self.names, self.sizes, self.errors, strict=True):
            away = row - best
            worse = "" if name == self.best else f"{away.mean():.2g} ± {_standard_errors(away):.1g}"
            rows.append((name, f"{size:,}", text(float(row.mean())), f"{_standard_errors(row):.2g}", worse))
        lines = [f"model selection: {self.chosen} ({self.errors.shape[1]} folds), lowest error: {self.best}"]
        lines += table(rows)
        if self.nested_error is not None:
            lines.append(f"nested: what is chosen so has an error of {text(self.nested_error)}")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draws the error of each candidate, the smallest first, with its standard error and its folds, and the line of
        the one-standard-error rule. Gives the Axes. Needs matplotlib."""
        ax = axes(ax)
        order = np.argsort(self.sizes, kind="stable")
        spread = _standard_errors(self.errors)
        best = self.names.index(self.best)
        for place, i in enumerate(order):
            color = "tab:green" if self.names[i] == self.chosen else "tab:blue"
            ax.plot(np.full(self.errors.shape[1], place), self.errors[i], ".", color=color, alpha=0.35)
            ax.errorbar(place, self.errors[i].mean(), spread[i], fmt="o", color=color, capsize=4)
        limit = self.errors[best].mean() + spread[best]
        ax.axhline(limit, color="gray", linestyle="--", linewidth=1, label="best + one standard error")
        ax.set_xticks(range(len(order)), [f"{self.names[i]}\n{self.sizes[i]:,}" for i in order])
        ax.set_xlabel("candidate, parameters")
        ax.set_ylabel(self._task.unit)
        ax.set_title(f"chosen: {self.chosen}", fontsize=10)
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
        return ax


def _standard_errors(errors: Array) -> Array:
    return np.asarray(errors.std(-1, ddof=1) / np.sqrt(errors.shape[-1]))


def _choices(errors: Array, sizes: Sequence[int]) -> tuple[int, int]:
    """The candidate of the smallest mean, and the one with the fewest parameters within a standard error of it."""
    means = errors.mean(1)
    best = int(means.argmin())
    good = np.flatnonzero(means <= means[best] + _standard_errors(errors)[best]).tolist()
    return best, min(good, key=lambda i: (sizes[i], means[i]))


def folds_of(data: Rows, folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """(training rows, the others) for each fold, with classes in proportion."""
    order, labels, found = order_of(data, seed), labels_of(data.y), []
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    for i in range(folds):
        out = np.zeros(data.n, bool)
        out[order[i::folds]] = True
        found.append((data.take(np.flatnonzero(~out)), data.take(np.flatnonzero(out))))
    return found


def model_selection(
    candidates: Mapping[str, Any],
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    folds: int = 5,
    nested: bool = False,
    epochs: int | None = None,
    batch_size: int | str = 32,
    seed: int = 0,
    **settings: Any,
) -> Selection:
    """Which of several models: N-fold cross-validation of all candidates at the same time, by ``fit_many``.

    candidates: by name a model, or a pair (model, options) whose options, of ``Trainer`` and ``fit``, are in place of
    the others: {"small": net, "small, SGD": (net, dict(optimizer=hf.SGD(0.1)))}. No model is changed; every fold begins
    a copy anew, unless something in it is frozen. folds: of at least 2, with classes in proportion. nested: whether to
    measure the choice itself: in each fold the candidates are compared by folds of its training rows alone, and what is
    chosen is trained on these and judged on the fold; it takes ``folds`` times as many fits. epochs: default as many as
    make 1500 steps, 10 to 200. loss, optimizer, batch_size, settings: as for ``Trainer`` and ``fit``. What is made of
    the data belongs into the model (``hf.Standardize``), so that each fold learns it from its own training rows.

    The best is the candidate of the smallest mean error; chosen is the one with the fewest parameters whose mean is at
    most that of the best plus its standard error, s / sqrt(folds), s the deviation over folds (the one-standard-error
    rule). Folds share rows, so that this standard error is a guide, no test.

    Gives ``.best``, ``.chosen`` (names), ``.error`` and ``.standard_error`` by name, ``.errors`` (candidates, folds),
    ``.nested_error`` and ``.nested_errors`` (folds,), ``.names``, ``.sizes``; ``print``, ``.plot()``. The error is as
    in ``hf.learning_curve``. Raises ArgumentError, and as ``fit`` for bad data.

    Breiman et al., Classification and regression trees, 1984; Varma, Simon, BMC Bioinformatics 7:91, 2006 (nested).

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 3))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> def net(*hidden):
    ...     return hf.Sequential(*[layer for n in hidden for layer in (hf.Linear(n), hf.ReLU())], hf.Linear(2))
    >>> models = {"linear": net(), "hidden": net(16), "wide": net(256)}
    >>> training = dict(loss="softmax_cross_entropy", optimizer=hf.Adam(0.01), epochs=20)
    >>> found = hf.model_selection(models, x, y, folds=4, **training)
    >>> found.chosen in ("hidden", "wide"), found.errors.shape, found.error["linear"] > 0.3
    (True, (3, 4), True)
    """
    if not isinstance(candidates, Mapping) or not candidates:
        raise ArgumentError(f"candidates: expected a dict of models by name, got {short(candidates)}")
    folds, nested = check_whole(folds, "folds", 2), check_flag(nested, "nested")
    common = dict(loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, seed=seed)
    names, runs = [str(name) for name in candidates], []
    for name, given in candidates.items():
        model, own = given if isinstance(given, tuple | list) and len(given) == 2 else (given, {})
        if not isinstance(own, Mapping) or {"sample_weight", "seed"} & set(own):
            raise ArgumentError(f"candidate {name!r}: expected a model or (model, options), got {short(given)}")
        options = {**common, **{k: v for k, v in own.items() if k in common}}
        more = {**settings, **{k: v for k, v in own.items() if k not in common}}
        try:
            run, _ = run_of("model_selection", model, x, y, hold_out=False, settings=more, **options)
        except HawfinchError as error:
            error.args = (f"candidate {name!r}: {error}",)
            raise
        runs.append(run._replace(model=anew(run.model)))
    data, tasks = runs[0].data, [task_for(run, seed) for run in runs]
    if data.n < 2 * folds:
        raise ArgumentError(f"{folds} folds need at least {2 * folds} rows, there are {data.n}")
    if len({(task.kind, task.classes) for task in tasks}) > 1:
        raise ArgumentError("the candidates' losses ask for different targets, so that their errors can't be compared")
    outer = folds_of(data, folds, seed)
    trials = _fitted(runs, outer, tasks[0], seed)
    errors = np.array([[t.error for t in row] for row in trials])
    sizes = [sum([p.size for p in row[0].trainer.model.parameters().values()]) for row in trials]
    found = None
    if nested:
        found = np.zeros(folds)
        for i, (learn, _) in enumerate(outer):
            inner = _fitted(runs, folds_of(learn, folds, seed + 1 + i), tasks[0], seed)
            chosen = _choices(np.array([[t.error for t in row] for row in inner]), sizes)[1]
            found[i] = errors[chosen, i]
    return Selection(tasks[0], names, sizes, errors, found)


def _fitted(runs: list[Run], parts: list[tuple[Rows, Rows]], task: Task, seed: int) -> list[list[Trial]]:
    """For each run its trials on all parts."""
    every = [run._replace(data=learn, validation=test) for run in runs for learn, test in parts]
    trials = train(every, task, seed=seed)
    check_finite(trials, "model_selection")
    return [trials[i : i + len(parts)] for i in range(0, len(trials), len(parts))]
