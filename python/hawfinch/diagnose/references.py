"""Nets of good habits on the same rows: what can be reached, and what the rows themselves say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ir import Array
from ..losses import MSE, BCEWithLogits, Loss, SoftmaxCrossEntropy
from ..nn import Flatten, Linear, Module, Sequential, Standardize, TargetScale
from ..optim import AdamW
from ..schedules import Cosine
from ..train.early_stopping import EarlyStopping
from . import edits
from .case import Case
from .run import Rows, Run, Trial, train
from .task import Task

STEPS = 1500  # of a reference
FOLDS = 3
FAR = 5.0  # residuals, in robust deviations, from which on a number is suspected


class Beside(NamedTuple):
    """The references: two nets, without and with dropout, and a linear one."""

    plain: Run
    dropped: Run
    linear: Run


def references(case: Case) -> Beside | None:
    """None where there is no plain table of inputs, or no plain target."""
    if case.matrix is None or case.truth is None or case.validation_truth is None:
        return None
    kind, truth = case.task.kind, np.asarray(case.truth)
    loss: Loss
    if kind == "classes":
        out, loss, y, v = case.task.classes, SoftmaxCrossEntropy(), truth, case.validation_truth
    elif kind == "labels":
        y, v = truth.reshape(len(truth), -1), case.validation_truth.reshape(len(case.validation_truth), -1)
        out, loss, y, v = y.shape[1], BCEWithLogits(), y.astype(float), v.astype(float)
    else:
        y = np.asarray(case.run.data.y, np.float64).reshape(len(truth), -1)
        v = np.asarray(case.run.validation.y, np.float64).reshape(len(case.validation_truth), -1)
        out, loss = y.shape[1], MSE()
    x, vx = [r.x[0] if isinstance(r.x, tuple) else r.x for r in (case.run.data, case.run.validation)]
    rows, width = len(truth), max([*edits.widths(case.run.model)[:-1], 64])
    hidden = [int(np.clip(width, 64, 256))] * 2
    batch = int(np.clip(rows // 30, 16, 128))
    epochs = int(np.clip(STEPS * batch / rows, 8, 60))
    trainer: dict[str, Any] = dict(loss=loss, optimizer=AdamW(lr=Cosine(3e-3, warmup=0.1), weight_decay=0.01))
    fit: dict[str, Any] = dict(epochs=epochs, batch_size=batch)
    data, validation = Rows(x, y, case.run.data.weight), Rows(vx, v, case.run.validation.weight)

    def net(layers: Sequence[Module]) -> Run:
        end = [TargetScale()] if kind == "numbers" else []
        first = [Flatten()] if np.ndim(x) > 2 else []
        return Run(Sequential(*first, Standardize(), *layers, *end), data, validation, trainer, fit)

    stopped = [EarlyStopping("val_loss", patience=epochs)]  # to end on the best weights
    plain, dropped = net(edits.mlp(out, hidden)), net(edits.mlp(out, hidden, dropout=0.25))
    linear = net([Linear(out)])
    return Beside(plain.with_fit(callbacks=stopped), dropped.with_fit(callbacks=stopped), linear)


class OutOfFold(NamedTuple):
    """What nets that have not seen a row say of it. error: (rows,) of the task. said: (rows, outputs) as predicted.
    suspects: rows whose target is probably wrong, the likeliest first."""

    error: Array
    said: Array
    suspects: Array


def out_of_fold(case: Case, run: Run, seed: int = 0, folds: int = FOLDS) -> tuple[OutOfFold, list[Trial]]:
    """Trains the run on all folds but one, for each, and judges that one."""
    order = np.random.default_rng(seed).permutation(run.data.n)
    parts = [np.sort(order[i::folds]) for i in range(folds)]
    runs = []
    for part in parts:
        rest = np.setdiff1d(order, part)
        short = run.with_fit(callbacks=[])
        runs.append(short._replace(data=run.data.take(rest), validation=run.data.take(part)))
    trials = train(runs, case.task, seed=case.seed, deadline=case.begin + 0.75 * case.seconds)
    error = np.zeros(len(order))
    said: Array | None = None
    for part, trial in zip(parts, trials, strict=True):
        error[part] = trial.row_errors
        predicted = np.asarray(trial.trainer.model.predict(trial.run.validation.x), np.float64)
        said = np.zeros((len(order), *predicted.shape[1:])) if said is None else said
        said[part] = predicted
    assert said is not None
    return OutOfFold(error, said, _suspects(case.task.kind, said, _truth(case.task, run.data.y))), trials


def _truth(task: Task, y: Any) -> Array:
    """Class numbers; numbers in the units of the net."""
    return task.truth(y) if task.kind == "classes" else np.asarray(y)


def probabilities(said: Array) -> Array:
    """(rows, classes) of what a net says: scores of each class, of the second of two alone, or probabilities."""
    if said.ndim < 2 or said.shape[1] == 1:
        one = said.reshape(-1)
        one = one if len(one) and one.min() >= 0.0 and one.max() <= 1.0 else 0.5 + 0.5 * np.tanh(0.5 * one)
        return np.stack([1.0 - one, one], 1)
    if said.min(initial=0.0) >= 0.0 and np.allclose(said.sum(1), 1.0, atol=1e-4):
        return said
    p = np.exp(said - said.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def residuals(said: Array, y: Array) -> Array:
    """(rows,): the largest |target - said| of a row, in robust deviations, 1.4826 times the median."""
    residual = np.abs(said.reshape(y.shape) - y).reshape(len(y), -1).max(1)
    return residual / max(1.4826 * float(np.median(residual)), 1e-12)


def _suspects(kind: str, said: Array, y: Array) -> Array:
    """Of classes, y (rows,) their numbers: rows for which another class is at least as likely as it is, on average, for
    rows of that class (confident learning: Northcutt, Jiang, Chuang, JAIR 70, 2021). Of numbers: residuals beyond 5
    robust deviations."""
    if kind == "classes":
        p = probabilities(said)
        rows, classes = np.arange(len(y)), p.shape[1]
        usual = np.array([p[y == c, c].mean() if (y == c).any() else 2.0 for c in range(classes)])
        other = np.where(p >= usual, p, 0.0)
        other[rows, y] = 0.0
        found = np.flatnonzero((other.max(1) > p[rows, y]) & (p.argmax(1) != y))
        return found[np.argsort((p[rows, y] - other.max(1))[found], kind="stable")]
    if kind == "labels":
        return np.zeros(0, np.int64)
    away = residuals(said, y)
    found = np.flatnonzero(away > FAR)
    return found[np.argsort(-away[found], kind="stable")]
