"""TrainState: all that a training is, as plain values and arrays.

Design: the loop is a function of (plan, data, state), so that what is saved is what is trained on, and nothing can be
forgotten. Plans and locks are no part of it: they follow from the settings. Rejected: state spread over trainer,
optimiser and callbacks, each saved in its own way.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from .history import History
from .update.state import UpdateState


class FitProgress(NamedTuple):
    """A call of ``fit`` that has begun: it ends after epoch ``first_epoch + epochs``; schedules count from
    ``first_step``."""

    first_epoch: int
    epochs: int
    first_step: int


class TrainState:
    """What a training has come to. ``Trainer.state`` is the live one; ``copy`` gives one that stays.

    step, epoch: how many steps and whole epochs are done. position: steps done within the epoch under way; sums: what
    loss and metrics have summed up to in it, or None; kept: what metrics of rows keep of it. fit: the call of ``fit``
    under way, or the last one. parameters, buffers, slots: flat arrays, the first two those of the model. settings:
    what the run was made of, as text by name, and callbacks: what the callbacks with ``get_state`` keep; both in a
    state from ``Trainer.get_state`` only.

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
    >>> _ = trainer.step([[1.0]], [[2.0]])
    >>> trainer.state.step, sorted(trainer.state.slots)
    (1, ['m', 'v'])
    """

    def __init__(self, seed: int = 0):
        self.seed = seed
        self.step = self.epoch = self.position = 0
        self.sums: Array | None = None
        self.kept: list[Array] = []
        self.fit: FitProgress | None = None
        self.history = History()
        self.parameters = self.buffers = np.zeros(0, np.float32)
        self.slots: dict[str, Array] = {}
        self.update = UpdateState()
        self.rule = ""  # the optimiser's, whose slots these are
        self.settings: dict[str, str] = {}
        self.callbacks: dict[str, Any] = {}

    def copy(self) -> TrainState:
        """With arrays of its own."""
        return copy.deepcopy(self)

    def arrays(self) -> dict[str, Array]:
        """All of its arrays, by name."""
        found = {"parameters": self.parameters, "buffers": self.buffers}
        found |= {f"slots.{name}": slot for name, slot in self.slots.items()}
        found |= {f"kept.{i}": a for i, a in enumerate(self.kept)}
        return found if self.sums is None else found | {"sums": self.sums}

    def set_arrays(self, arrays: dict[str, Array]) -> None:
        """The inverse of ``arrays``. Raises KeyError where one is missing."""
        self.parameters, self.buffers, self.sums = arrays["parameters"], arrays["buffers"], arrays.get("sums")
        self.kept = [arrays[f"kept.{i}"] for i in range(sum(name.startswith("kept.") for name in arrays))]
        self.slots = {name.removeprefix("slots."): a for name, a in arrays.items() if name.startswith("slots.")}

    def take(self, other: TrainState) -> None:
        """Goes on from another state, of the same model and optimiser, in the arrays of this one."""
        given = other.arrays()
        self.sums = given.pop("sums", None)
        if self.sums is not None:
            self.sums = self.sums.copy()
        self.kept = [a.copy() for a in other.kept]
        mine = {name: a for name, a in self.arrays().items() if name != "sums" and not name.startswith("kept.")}
        for name, array in mine.items():
            if name not in given or array.shape != given[name].shape or array.dtype != given[name].dtype:
                raise ArgumentError(f"resume: the state has no {name} of shape {array.shape} and {array.dtype}")
        for name, array in mine.items():
            array[...] = given[name]
        for name in ("seed", "step", "epoch", "position", "fit"):
            setattr(self, name, getattr(other, name))
        self.update = copy.deepcopy(other.update)
        self.history.take(other.history)

    def __repr__(self) -> str:
        return f"TrainState(step={self.step}, epoch={self.epoch}, position={self.position}, {self.history!r})"
