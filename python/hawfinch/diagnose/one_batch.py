"""Can the net learn a handful of rows by heart? ``overfit_batch``.

Design: where it can't, experiments on the same rows say why: without rows that contradict each other, with other
rates, without what holds it back, with another output, shallower, wider. Rejected: the loss alone, which is the same
whether the net is too small, the optimiser lost, or the rows are impossible.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..ir import Array
from ..nn import Flatten, Module, Sequential, Standardize, TargetScale
from ..optim import Adam
from ..values import check_whole
from . import edits
from .case import as_matrix
from .given import axes, order_of, run_of, table, task_for
from .run import Rows, Run, Trial, train
from .task import Task

CLOSE = 0.01  # squared error over the variance of the targets that counts as none; part of the first loss
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
LONGER = 3  # times the steps, for what is tried
HELD_BACK = ("groups", "regularizers", "constraints", "average")


class Attempt(NamedTuple):
    """text: what was changed. kind: the verdict that it would prove. error, loss: at the end. fits: whether it does."""

    text: str
    kind: str
    error: float
    loss: float
    fits: bool


class OverfitBatch:
    """What ``overfit_batch`` found; see there."""

    def __init__(
        self, task: Task, rows: Array, contradictions: list[tuple[int, ...]], tried: list[Attempt], curves: list[Any]
    ):
        self._task, self.rows, self.contradictions, self.tried, self._curves = task, rows, contradictions, tried, curves

    @property
    def verdict(self) -> str:
        """ "fits", "data contradict", "optimisation", "output", "model too small" or "no clear answer"."""
        none_left = sum(map(len, self.contradictions)) >= len(self.rows) - 1
        return next((t.kind for t in self.tried if t.fits), "data contradict" if none_left else "no clear answer")

    @property
    def losses(self) -> list[float]:
        """Of each step of the training as given."""
        return list(self._curves[0][1])

    def __repr__(self) -> str:
        proof = next((t for t in self.tried if t.fits), None)
        lines = [f"overfit batch: {self.verdict} ({len(self.rows)} rows, {len(self.losses)} steps)"]
        if proof is not None and proof.kind != "fits":
            lines.append(f"proof: it fits {proof.text}")
        for group in self.contradictions[:5]:
            lines.append(f"rows {', '.join(map(str, group))} are equal, with different targets")
        rows: list[tuple[str, ...]] = [("tried", "error", "loss")]
        rows += [(t.text, self._task.text(t.error), f"{t.loss:.3g}") for t in self.tried]
        return "\n".join([*lines, *table(rows)])

    def plot(self, ax: Any = None) -> Any:
        """Draws the loss over steps, of the training as given and of the one that proves the verdict. Gives the Axes.
        Needs matplotlib."""
        ax = axes(ax)
        proof = next((t.text for t in self.tried if t.fits), None)
        for text, losses in self._curves:
            if text in ("as given", proof):
                ax.plot(np.arange(1, len(losses) + 1), losses, label=text)
        ax.set_xscale("log")
        if min(min(losses) for _, losses in self._curves) > 0:
            ax.set_yscale("log")
        ax.set_xlabel("step")
        ax.set_ylabel("loss of the batch")
        ax.set_title(self.verdict, fontsize=10)
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
        return ax


def overfit_batch(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    optimizer: Any = "adam",
    rows: int = 32,
    steps: int = 500,
    seed: int = 0,
    **settings: Any,
) -> OverfitBatch:
    """Can the net learn one small batch by heart? Trains a copy on it, and where it fails finds out why.

    It fits where no row of the batch is wrong any more, or the squared error is 1 % of the targets' variance; of other
    targets, where the loss is 1 % of the first one. Else, in this order, what fits first is the verdict:

    "data contradict": without the rows that are equal and have different targets (``.contradictions``) it does.
    "optimisation": with Adam at rates from 0.001 to 0.03, three times the steps, without dropout, penalties and
    constraints; or with nothing frozen; or a net of one hidden layer with no more parameters does.
    "output": without the activation behind the last layer. "model too small": with four times the units, or a net of
    two hidden layers of 256. "no clear answer": nothing does.

    model: is not changed; one that has values is trained from these. rows: of the batch, drawn by seed, classes in
    proportion; default 32, all where there are fewer. steps: of the first training, each on the whole batch. loss,
    optimizer, settings: as for ``Trainer`` and ``fit``.

    Gives ``.verdict``, ``.rows`` (row numbers of the batch), ``.losses`` (steps,), ``.contradictions``, groups of row
    numbers, ``.tried`` with text, error, loss and fits; ``print``, ``.plot()``. Raises ArgumentError, and as ``fit``
    for bad data. Karpathy, A recipe for training neural networks, 2019.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> def verdict(*layers):
    ...     model = hf.Sequential(*layers, hf.Linear(2))
    ...     return hf.overfit_batch(model, x, y, loss="softmax_cross_entropy", optimizer=hf.Adam(0.01)).verdict
    >>> verdict(hf.Linear(64), hf.ReLU()), verdict()
    ('fits', 'model too small')
    """
    rows, steps = check_whole(rows, "rows", 2), check_whole(steps, "steps", 1)
    training = dict(loss=loss, optimizer=optimizer, epochs=steps, batch_size="full")
    run, _ = run_of("overfit_batch", model, x, y, hold_out=False, seed=seed, settings=settings, **training)
    task = task_for(run, seed)
    chosen = np.sort(order_of(run.data, seed)[:rows])
    batch = run.data.take(chosen)
    given = run._replace(data=batch, validation=batch)
    groups = _contradictions(batch)
    tried: list[Attempt] = []
    curves: list[Any] = []

    def attempt(kind: str, runs: dict[str, Run | None]) -> bool:
        known = {text: run for text, run in runs.items() if run is not None}
        for text, trial in zip(known, train(list(known.values()), task, seed=seed), strict=True):
            tried.append(Attempt(text, kind, trial.train_error, trial.loss, _fits(task, trial)))
            if "loss" in trial.history:
                curves.append((text, trial.history["loss"]))
        return any([t.fits for t in tried if t.kind == kind])

    kept = np.setdiff1d(np.arange(len(chosen)), np.concatenate([[], *groups]).astype(np.int64))
    done = attempt("fits", {"as given": given})
    if not done and groups and len(kept) > 1:
        batch = batch.take(kept)
        given = given._replace(data=batch, validation=batch)
        done = attempt("data contradict", {"without the rows that contradict each other": given})
    done = done or (bool(groups) and len(kept) < 2)  # no net can
    if not done:
        free = _free(given)
        rates = {
            f"with Adam at {rate:g}, {LONGER} times the steps, nothing that holds it back": _at(free, rate)
            for rate in RATES
        }
        done = attempt("optimisation", {**rates, "with nothing frozen": _unfrozen(free)})
    if not done:
        done = attempt("optimisation", {"as a net of one hidden layer, not larger": _small(free, task)})
    if not done:
        done = attempt("output", {"without the activation at its end": _of(free, edits.without_end(free.model))})
    if not done:
        wide, large = _of(free, edits.wider(free.model, 4)), _net(free, task, [256, 256])
        attempt("model too small", {"with four times the units": wide, "as a net of two layers of 256": large})
    numbers = [tuple(chosen[list(group)].tolist()) for group in groups]
    return OverfitBatch(task, chosen, numbers, tried, curves or [("as given", [float("nan")])])


def _fits(task: Task, trial: Trial) -> bool:
    if trial.diverged:
        return False
    if task.kind == "loss":
        return trial.loss < CLOSE * abs(float(trial.history["loss"][0]))
    return trial.train_error <= (CLOSE if task.kind == "numbers" else 0.0)


def _contradictions(batch: Rows) -> list[tuple[int, ...]]:
    """Rows whose inputs are equal in float32, with different targets."""
    parts = batch.x if isinstance(batch.x, tuple) else (batch.x,)
    targets = batch.y.values() if isinstance(batch.y, dict) else batch.y if isinstance(batch.y, tuple) else (batch.y,)
    groups: dict[bytes, list[int]] = {}
    for i in range(batch.n):
        groups.setdefault(b"".join([np.asarray(p[i], np.float32).tobytes() for p in parts]), []).append(i)
    wrong = []
    for group in groups.values():
        first = group[0]
        same = all([np.array_equal(t[i], t[first]) for t in targets if t is not None for i in group])
        wrong += [] if same else [tuple(group)]
    return wrong


def _free(run: Run) -> Run:
    """Without dropout, penalties, constraints, and what else holds a training back."""
    trainer = {k: v for k, v in run.trainer.items() if k not in HELD_BACK}
    quiet = edits.without_noise(run.model)
    fit = {**run.fit, "epochs": LONGER * run.epochs, "callbacks": []}
    return run._replace(model=run.model if quiet is None else quiet, trainer=trainer, fit=fit)


def _at(run: Run, rate: float) -> Run:
    return run.with_trainer(optimizer=Adam(rate))


def _of(run: Run, model: Module | None) -> Run | None:
    return None if model is None else _at(run._replace(model=model), 1e-2)


def _unfrozen(run: Run) -> Run | None:
    model = run.model
    if model.inputs is None or len(model.trainable()) == len(model.parameters()):
        return None
    return _of(run, edits.untrained(model))


def _net(run: Run, task: Task, hidden: list[int]) -> Run | None:
    """A net of good habits for the same targets; None where there is no plain table."""
    y = run.data.y
    if as_matrix(run.data.x) is None or not isinstance(y, np.ndarray) or task.kind == "loss":
        return None
    shape = _output(run)
    if len(shape) != 1:
        return None
    first = [Flatten()] if np.ndim(run.data.x[0] if isinstance(run.data.x, tuple) else run.data.x) > 2 else []
    end = [TargetScale()] if task.kind == "numbers" else []
    layers = edits.mlp(shape[0], hidden, norm=False)
    return _at(run._replace(model=Sequential(*first, Standardize(), *layers, *end)), 1e-2)


def _output(run: Run) -> tuple[int, ...]:
    """The shape of a row of the model's output; () where there are several."""
    built = copy.deepcopy(run.model)
    if built.inputs is None:
        x = run.data.x if isinstance(run.data.x, tuple) else (run.data.x,)
        built.build(*[a.shape[1:] for a in x])
    specs = built.output_specs
    return tuple([s for s in specs[0].shape[1:] if isinstance(s, int)]) if len(specs) == 1 else ()


def _small(run: Run, task: Task) -> Run | None:
    """One hidden layer, with no more parameters than the model has."""
    found = edits.widths(run.model)
    matrix = as_matrix(run.data.x)
    if matrix is None or len(found) < 3:
        return None
    n_in, n_out = matrix.shape[1], found[-1]
    total = sum([(a + 1) * b for a, b in pairwise([n_in, *found])])
    hidden = min((total - n_out) // (n_in + 1 + n_out), 512)
    return _net(run, task, [hidden]) if hidden >= 1 else None
