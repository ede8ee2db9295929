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

STEPS = 1500  # of a reference
FOLDS = 3


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
    """What nets that have not seen a row say of it. error: (rows,) of the task. sure: (rows,) by which probability, of
    classes, another label than the given one is the likelier one, less that of the given one; else the residual in
    robust deviations.
    """

    error: Array
    sure: Array

    def suspects(self, kind: str) -> Array:
        """The rows whose target is probably wrong, the likeliest first."""
        limit = 0.7 if kind == "classes" else 6.0
        found = np.flatnonzero(self.sure > limit)
        return found[np.argsort(-self.sure[found], kind="stable")]


def out_of_fold(case: Case, run: Run, seed: int = 0, folds: int = FOLDS) -> tuple[OutOfFold, list[Trial]]:
    """Trains the run on all folds but one, for each, and judges that one."""
    order = np.random.default_rng(seed).permutation(len(run.data))
    parts = [np.sort(order[i::folds]) for i in range(folds)]
    runs = []
    for part in parts:
        rest = np.setdiff1d(order, part)
        short = run.with_fit(callbacks=[])
        runs.append(short._replace(data=run.data.take(rest), validation=run.data.take(part)))
    trials = train(runs, case.task, seed=case.seed, deadline=case.deadline)
    error, sure = np.zeros(len(order)), np.zeros(len(order))
    for part, trial in zip(parts, trials, strict=True):
        error[part] = trial.row_errors
        said = np.asarray(trial.trainer.model.predict(trial.run.validation.x), np.float64)
        sure[part] = _sureness(case.task.kind, said, np.asarray(trial.run.validation.y))
    return OutOfFold(error, sure), trials


def _sureness(kind: str, said: Array, y: Array) -> Array:
    if kind == "classes":
        p = np.exp(said - said.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        own = p[np.arange(len(y)), y]
        return p.max(1) - own
    residual = np.abs(said.reshape(y.shape) - y).reshape(len(y), -1).max(1)
    return residual / max(1.4826 * float(np.median(residual)), 1e-12)
