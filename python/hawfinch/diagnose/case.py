"""A case: the run that is diagnosed, what has been measured of it, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..errors import HawfinchError
from ..ir import Array
from .run import Run, Trial, train
from .task import Task

MOST = 1e100  # of a float64 whose square is summed


class Cure(NamedTuple):
    """text: what to change, a phrase. code: how, in Python. change: the run with it; None where it can't be made."""

    text: str
    code: str
    change: Callable[[Run], Run | None]


class Suspicion(NamedTuple):
    """What a rule has found. name: of a cause. strength: from 0 to 1, how far what was measured speaks for it by
    itself. evidence: sentences with numbers. numbers: the same for programs. certain: proven without an experiment.
    """

    name: str
    strength: float
    evidence: tuple[str, ...] = ()
    cures: tuple[Cure, ...] = ()
    numbers: dict[str, Any] = {}  # noqa: RUF012
    certain: bool = False


class Question(NamedTuple):
    """A fork of the way to the verdict. numbers: what decided it."""

    text: str
    answer: str
    numbers: dict[str, float]


class Case:
    """What rules look at. ``replays``: the run as given, over seeds; ``references``: nets of good habits."""

    def __init__(self, run: Run, task: Task, seconds: float, seed: int):
        self.run, self.task, self.seed = run, task, seed
        self.begin = time.perf_counter()
        self.seconds = seconds
        self.replays: list[Trial] = []
        self.references: list[Trial] = []
        self.path: list[Question] = []
        self.notes: list[str] = []

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.begin + self.seconds - time.perf_counter()

    @property
    def deadline(self) -> float:
        """As ``time.perf_counter`` has it."""
        return self.begin + self.seconds

    def ask(self, text: str, answer: str, **numbers: float) -> None:
        """Writes down a fork of the way."""
        self.path.append(Question(text, answer, numbers))

    def cost(self, run: Run) -> float:
        """Seconds that a run will take on one core, by what the replay has taken."""
        if not self.replays:
            return 0.0
        known = max(self.replays[0].seconds, 1e-3)
        old = self.run
        epochs = run.epochs / max(old.epochs, 1)
        steps = (run.data.n / run.batch) / max(old.data.n / old.batch, 1)
        rows = run.data.n / max(old.data.n, 1)
        size = max(1.0, _size(run) / max(_size(old), 1))
        return known * epochs * (0.5 * rows + 0.5 * max(rows, steps)) * size

    def try_runs(self, runs: Sequence[Run], seed: int | None = None, *, least: float = 0.0) -> list[Trial | None]:
        """Trains the runs, cheapest share first, as long as there is time; None for those that were not tried."""
        cores = _core.max_threads()
        found: list[Trial | None] = [None] * len(runs)
        waiting = list(range(len(runs)))
        while waiting:
            part, waiting = waiting[: 2 * cores], waiting[2 * cores :]
            costs = [self.cost(runs[i]) for i in part]
            needed = max(sum(costs) / cores, max(costs))
            if needed > self.left - least:
                part = [i for i, c in zip(part, costs, strict=True) if c < (self.left - least) / 2][:cores]
                if not part:
                    continue
            chosen = self.seed if seed is None else seed
            for i, trial in zip(part, self._train([runs[i] for i in part], chosen), strict=True):
                found[i] = trial
        return found

    def _train(self, runs: list[Run], seed: int) -> list[Trial | None]:
        """Trials; None of a change that does not fit the model or the data."""
        try:
            return [*train(runs, self.task, seed=seed, deadline=self.deadline)]
        except HawfinchError as error:
            if len(runs) == 1:
                self.notes.append(f"a change could not be tried: {error}"[:200])
                return [None]
            return [trial for run in runs for trial in self._train([run], seed)]

    # ---- the run as it is ----
    @property
    def error(self) -> float:
        """The error of the run as given, over seeds."""
        return float(np.mean([t.error for t in self.replays]))

    @property
    def train_error(self) -> float:
        """Its error on training rows."""
        return float(np.mean([t.train_error for t in self.replays]))

    @cached_property
    def matrix(self) -> Array | None:
        """The training inputs as (rows, features) float64; None where there are several, or they are indices."""
        return None if self.task.of_ids else as_matrix(self.run.data.x)

    @cached_property
    def validation_matrix(self) -> Array | None:
        """The validation inputs, likewise."""
        return None if self.task.of_ids else as_matrix(self.run.validation.x)

    @cached_property
    def truth(self) -> Array | None:
        """The training targets as ``Task.truth`` gives them; None of a task without."""
        return None if self.task.kind == "loss" else self.task.truth(self.run.data.y)

    @cached_property
    def validation_truth(self) -> Array | None:
        """The validation targets, likewise."""
        return None if self.task.kind == "loss" else self.task.truth(self.run.validation.y)


def as_matrix(x: Any) -> Array | None:
    """x as (rows, features) float64, cut to what can be squared; None where there are several inputs."""
    if isinstance(x, tuple):
        if len(x) != 1:
            return None
        x = x[0]
    a = np.asarray(x)
    if a.ndim < 2 or a.dtype.kind not in "fiub":
        return None
    found = a.reshape(len(a), -1).astype(np.float64)
    return np.clip(found, -MOST, MOST, out=found)


def _size(run: Run) -> int:
    """Products of a row, from the widths of the layers."""
    from .edits import widths

    x = run.data.x[0] if isinstance(run.data.x, tuple) else run.data.x
    n_in, total = int(np.prod(np.shape(x)[1:], dtype=np.int64)), 1
    for n in widths(run.model):
        total += n_in * n
        n_in = n
    return total + 300  # of a step's fixed cost


def gain(worse: Sequence[Trial], better: Sequence[Trial]) -> tuple[float, float]:
    """How much lower the error of the second is, and the standard error of that: of rows in pairs, and of seeds."""
    a = np.mean([t.row_errors for t in worse], axis=0)
    b = np.mean([t.row_errors for t in better], axis=0)
    deviation = float((a - b).std() / np.sqrt(len(a)))
    errors = [[t.error for t in trials] for trials in (worse, better)]
    if max(errors[1]) >= min(errors[0]):  # the seeds overlap
        spreads = [np.std(e, ddof=1) / np.sqrt(len(e)) for e in errors if len(e) > 1]
        deviation = float(np.linalg.norm([deviation, *spreads]))
    return float((a - b).mean()), deviation


def is_worth(task: Task, error: float, difference: float, deviation: float, strength: float = 1.0) -> bool:
    """Whether a gain is larger than chance, and than a part of the error and of all that there is to learn.

    strength: how far what was measured speaks for the cause; what nothing but the gain speaks for must gain more.
    """
    reach = max(task.chance - (error - difference), 0.0)
    k = 1.0 + 1.5 * (1.0 - strength)
    of_all = 0.01 if task.kind == "numbers" else 0.015
    return difference > max(2.5 * deviation, k * 0.22 * error, k * of_all * reach, 0.005)
