"""TrainState: all that a training is, as plain values and arrays.

Design: the loop is a function of (plan, data, state), so that what is saved is what is trained on, and nothing can be
forgotten. Plans and locks are no part of it: they follow from the settings. Rejected: state spread over trainer,
optimiser and callbacks, each saved in its own way.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..ir import Array
from .history import History
from .update.state import UpdateState


class Best:
    """The weights of the best epoch of a fit: its number, the step after it, its score, and copies of arrays."""

    def __init__(self, epoch: int, step: int, score: float, arrays: dict[str, Array]):
        self.epoch, self.step, self.score, self.arrays = epoch, step, score, arrays


class FitProgress(NamedTuple):
    """A call of ``fit`` that has begun: it ends after epoch ``first_epoch + epochs``; schedules count from
    ``first_step``, averages from ``first_update``."""

    first_epoch: int
    epochs: int
    first_step: int
    first_update: int = 0


class TrainState:
    """What a training has come to. ``Trainer.state`` is the live one; ``copy`` gives one that stays.

    step, epoch: how many steps and whole epochs are done. position: steps done within the epoch under way; sums: what
    loss and metrics have summed up to in it, or None; kept: what metrics of rows keep of it. fit: the call of ``fit``
    under way, or the last one. parameters, buffers, slots: flat arrays, the first two those of the model. settings:
    what the run was made of, as text by name, callbacks: what the callbacks with ``get_state`` keep, and layout: where
    each array of the model lies (parameters or buffers, offset, shape); these in a state from ``Trainer.get_state``
    only. best: the weights of the best epoch of the fit under way, if a callback keeps
    them.

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
        self.layout: dict[str, tuple[str, int, tuple[int, ...]]] = {}
        self.best: Best | None = None

    def copy(self, into: TrainState | None = None) -> TrainState:
        """With arrays of its own; those of ``into``, which is used up, where they fit."""
        memory = {} if into is None else into.arrays()
        memo: dict[int, Any] = {}
        for name, array in self.arrays().items():
            room = memory.get(name)
            if room is not None and room.shape == array.shape and room.dtype == array.dtype:
                room[...] = array
                memo[id(array)] = room
        return copy.deepcopy(self, memo)

    def arrays(self) -> dict[str, Array]:
        """All of its arrays, by name."""
        found = {"parameters": self.parameters, "buffers": self.buffers}
        found |= {f"slots.{name}": slot for name, slot in self.slots.items()}
        found |= {f"kept.{i}": a for i, a in enumerate(self.kept)}
        if self.best is not None:
            found |= {f"best.{name}": a for name, a in self.best.arrays.items()}
        return found if self.sums is None else found | {"sums": self.sums}

    def model_arrays(self) -> dict[str, Array]:
        """Those of the model by name, as predict has them: averages, once there are any."""
        averaged = not self.update.shown and self.step - self.update.skipped > self.update.averaged_from
        slots = {"parameters": "average", "buffers": "average_state"} if averaged else {}
        flat = {"parameters": self.parameters, "buffers": self.buffers}
        flat |= {name: self.slots[slot] for name, slot in slots.items() if slot in self.slots}
        found = {}
        for name, (where, offset, shape) in self.layout.items():
            found[name] = flat[where][offset : offset + math.prod(shape)].reshape(shape)
        return found

    def _weights(self) -> dict[str, Array]:
        """What is kept of the best epoch: parameters, state, and averages of them."""
        found = {"parameters": self.parameters, "buffers": self.buffers}
        return found | {name: a for name, a in self.slots.items() if name.startswith("average")}

    def keep_best(self, score: float) -> None:
        """The weights as they are now, at the end of an epoch, are the best of the fit. Allocates once."""
        weights = self._weights()
        best, self.best = self.best, None  # who is interrupted here ends with the weights as they are: the best
        self.history.best_epoch = self.epoch - 1
        arrays = {} if best is None else best.arrays
        for name, array in weights.items():
            if name not in arrays or arrays[name].shape != array.shape:
                arrays[name] = np.empty_like(array)
            arrays[name][...] = array
        self.best = Best(self.epoch - 1, self.step, score, arrays)

    def take_best(self) -> None:
        """Back to the best weights, if any were kept."""
        if self.best is not None:
            for name, array in self._weights().items():
                array[...] = self.best.arrays[name]

    def set_arrays(self, arrays: dict[str, Array]) -> None:
        """The inverse of ``arrays``. Raises KeyError where one is missing."""
        self.parameters, self.buffers, self.sums = arrays["parameters"], arrays["buffers"], arrays.get("sums")
        self.kept = [arrays[f"kept.{i}"] for i in range(sum(name.startswith("kept.") for name in arrays))]
        self.slots = {name.removeprefix("slots."): a for name, a in arrays.items() if name.startswith("slots.")}
        if self.best is not None:
            self.best.arrays = {name.removeprefix("best."): a for name, a in arrays.items() if name.startswith("best.")}

    def take(self, other: TrainState) -> None:
        """Goes on from another state, of the same model and optimiser, in the arrays of this one."""
        given = other.arrays()
        self.sums = given.pop("sums", None)
        if self.sums is not None:
            self.sums = self.sums.copy()
        self.kept = [a.copy() for a in other.kept]
        mine = {name: a for name, a in self.arrays().items() if not name.startswith(("sums", "kept.", "best."))}
        if other.best is not None:
            best = other.best.arrays
            for name, array in self._weights().items():
                if name not in best or array.shape != best[name].shape or array.dtype != best[name].dtype:
                    raise ArgumentError(
                        f"resume: the state has no best {name} of shape {array.shape} and {array.dtype}"
                    )
        for name, array in mine.items():
            if name not in given or array.shape != given[name].shape or array.dtype != given[name].dtype:
                raise ArgumentError(f"resume: the state has no {name} of shape {array.shape} and {array.dtype}")
        for name, array in mine.items():
            array[...] = given[name]
        for name in ("seed", "step", "epoch", "position", "fit"):
            setattr(self, name, getattr(other, name))
        self.update, self.best = copy.deepcopy(other.update), copy.deepcopy(other.best)
        self.history.take(other.history)

    def __repr__(self) -> str:
        return f"TrainState(step={self.step}, epoch={self.epoch}, position={self.position}, {self.history!r})"
