"""A training as a value that can be changed and run again: what the doctor makes its experiments with.

Design: a ``Run`` never trains the user's model, but copies of it, all of an experiment at once by ``fit_many``, each on
one core. Rejected: experiments in the user's trainer, to be undone afterwards: what is interrupted would leave traces.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, HawfinchError, NonFiniteError
from ..ir import Array
from ..nn.module import Module
from ..train.callbacks import Progress
from ..train.checkpoint import Checkpoint
from ..train.history import History
from ..train.many import fit_many
from ..train.trainer import Trainer
from .task import Task

ALONE = (Progress, Checkpoint)  # callbacks of the user's own training, which no experiment has
MOST_JUDGED = 4000  # rows of the training data on which the error is measured


class Rows(NamedTuple):
    """x: array or tuple of them. y: as the loss wants it. weight: (rows,) or None."""

    x: Any
    y: Any
    weight: Any = None

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.x[0] if isinstance(self.x, tuple) else self.x)

    def take(self, rows: Any) -> Rows:
        """Some of the rows."""
        return Rows(*[_part(v, rows) for v in (self.x, self.y, self.weight)])


def _part(value: Any, rows: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return tuple([_part(v, rows) for v in value])
    if isinstance(value, dict):
        return {k: _part(v, rows) for k, v in value.items()}
    return value[rows]


class Run(NamedTuple):
    """model: as the training begins, never trained itself. trainer, fit: arguments of ``Trainer`` and ``fit``."""

    model: Module
    data: Rows
    validation: Rows
    trainer: dict[str, Any]
    fit: dict[str, Any]

    @property
    def epochs(self) -> int:
        return int(self.fit["epochs"])

    @property
    def batch(self) -> int:
        given = self.fit["batch_size"]
        return self.data.n if given == "full" else min(int(given), self.data.n)

    @property
    def steps(self) -> int:
        """Of the whole fit."""
        return self.epochs * max(-(-self.data.n // self.batch), 1)

    @property
    def held(self) -> tuple[Any, ...]:
        """The validation rows as ``fit`` takes them."""
        return tuple([v for v in self.validation if v is not None])

    def with_trainer(self, **changes: Any) -> Run:
        """Other arguments of ``Trainer``."""
        return self._replace(trainer={**self.trainer, **changes})

    def with_fit(self, **changes: Any) -> Run:
        """Other arguments of ``fit``."""
        return self._replace(fit={**self.fit, **changes})


class Trial:
    """A training that has been tried.

    error, train_error: the task's, on the validation rows and on training rows; ``row_errors`` (rows,) of the former.
    history: of the training. diverged: whether it ended by a loss that was not finite. seconds: that it took.
    """

    def __init__(self, run: Run, seed: int, trainer: Trainer, history: History, seconds: float, task: Task):
        self.run, self.seed, self.trainer, self.history, self.seconds = run, seed, trainer, history, seconds
        self.diverged = history.error is not None
        self.row_errors = _errors(trainer, run.validation, task)
        rows = np.linspace(0, run.data.n - 1, min(run.data.n, MOST_JUDGED)).astype(np.int64)
        self.train_error = float(_errors(trainer, run.data.take(rows), task).mean())
        if self.diverged:  # the parameters are those before the step that failed: worth no more than chance
            self.row_errors = np.maximum(self.row_errors, task.chance)
            self.train_error = max(self.train_error, task.chance)
        self.error = float(self.row_errors.mean())

    @property
    def loss(self) -> float:
        """The training loss of the last whole epoch."""
        return float(self.history["loss"][-1]) if "loss" in self.history else float("nan")

    @property
    def val_loss(self) -> float:
        """The validation loss of the last whole epoch."""
        return float(self.history["val_loss"][-1]) if "val_loss" in self.history else float("nan")


def _errors(trainer: Trainer, rows: Rows, task: Task) -> Array:
    """(rows,): of a task without an error of its own the mean loss, in each row."""
    if task.kind == "loss":
        found = trainer.evaluate(rows.x, rows.y, sample_weight=rows.weight)["loss"]
        return np.full(rows.n, found)
    return task.errors(np.asarray(trainer.model.predict(rows.x)), rows.y)


class Stopwatch:
    """A callback that ends a fit after an epoch when the time is over, and says how long the fit has taken."""

    def __init__(self, deadline: float):
        self.deadline, self.begin, self.end = deadline, 0.0, 0.0

    def on_fit_begin(self, trainer: Any) -> None:
        """The time begins."""
        self.begin = self.end = time.perf_counter()

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, Any]) -> None:
        """Ends the fit if it is time."""
        self.end = time.perf_counter()
        if self.end > self.deadline:
            trainer.stop = True


def train(runs: Sequence[Run], task: Task, *, seed: int | Sequence[int] = 0, deadline: float = np.inf) -> list[Trial]:
    """Trains a copy of each run's model on the run's own data, as many at a time as there are cores.

    seed: of all, or of each. deadline: ``time.perf_counter`` after which fits end with their epoch.
    """
    if not runs:
        return []
    seeds = [int(seed)] * len(runs) if isinstance(seed, int | np.integer) else list(seed)
    clocks, holders, nets = [Stopwatch(deadline) for _ in runs], [_Holder() for _ in runs], []
    for run, one, clock, holder in zip(runs, seeds, clocks, holders, strict=True):
        options = _options(run, one, clock)
        options["callbacks"].append(holder)
        data = dict(x=run.data.x, y=run.data.y, sample_weight=run.data.weight, validation_data=run.held)
        nets.append((copy.deepcopy(run.model), {**options, **data}))
    histories = fit_many(nets, runs[0].data.x, runs[0].data.y)
    return [
        Trial(run, one, holder.trainer, history, clock.end - clock.begin, task)
        for run, one, clock, holder, history in zip(runs, seeds, clocks, holders, histories, strict=True)
    ]


def copied(given: Any, what: str) -> Any:
    """A copy for an experiment; ArgumentError for a model or callback that can't be copied."""
    try:
        return copy.deepcopy(given)
    except HawfinchError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"{what}: {type(given).__name__} can't be copied, and experiments are made with copies ({error}); leave "
            "out what can't be, or give the class a __deepcopy__"
        ) from error


def check_finite(trials: Sequence[Trial], what: str) -> None:
    """NonFiniteError where no training came to its end, so that there is nothing to compare."""
    if all([t.diverged for t in trials]):
        raise NonFiniteError(
            f"{what}: each of the {len(trials)} trainings ended with a loss that was not finite; take a smaller "
            "learning rate, or bring inputs and targets to numbers around 1"
        )


def _options(run: Run, seed: int, clock: Stopwatch) -> dict[str, Any]:
    callbacks = [copy.deepcopy(c) for c in run.fit.get("callbacks", ()) if not isinstance(c, ALONE)]
    return {**run.trainer, **run.fit, "seed": seed, "callbacks": [*callbacks, clock]}


class _Holder:
    """A callback that keeps its trainer."""

    trainer: Any = None

    def on_fit_begin(self, trainer: Any) -> None:
        self.trainer = trainer


def trained_alone(run: Run, seed: int) -> Trainer:
    """A trainer that has been fitted as the run says, on all cores. A loss that is not finite ends it quietly."""
    options = _options(run, seed, Stopwatch(np.inf))
    of_fit = {k: options.pop(k) for k in (*run.fit, "callbacks") if k in options}
    trainer = Trainer(copy.deepcopy(run.model), **options)
    try:
        trainer.fit(run.data.x, run.data.y, sample_weight=run.data.weight, validation_data=run.held, **of_fit)
    except NonFiniteError:
        pass
    return trainer
