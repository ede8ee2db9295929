"""TrainState: all that a training is, as plain values and arrays.

Design: the loop is a function of (plan, data, state), so that what is saved is what is trained on, and nothing can be
forgotten. Plans and locks are no part of it: they follow from the settings. Rejected: state spread over trainer,
optimiser and callbacks, each saved in its own way.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from ..ir import Array
from .history import History


class FitProgress(NamedTuple):
    """A call of ``fit`` that has begun: it ends after epoch ``first_epoch + epochs``; schedules count from
    ``first_step``."""

    first_epoch: int
    epochs: int
    first_step: int


class TrainState:
    """What a training has come to. ``Trainer.state`` is the live one; ``copy`` gives one that stays.

    step, epoch: how many steps and whole epochs are done. position: steps done within the epoch under way; sums: what
    loss and metrics have summed up to in it, or None. fit: the call of ``fit`` under way, or the last one. parameters,
    buffers, slots: flat arrays, the first two those of the model. settings: what the run was made of (see
    ``fingerprint.py``), known in a copy only. callbacks: what the callbacks with ``get_state`` keep, in a copy only.

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
        self.fit: FitProgress | None = None
        self.history = History()
        self.parameters = self.buffers = np.zeros(0, np.float32)
        self.slots: dict[str, Array] = {}
        self.rule = ""  # the optimiser's, whose slots these are
        self.settings: dict[str, str] = {}
        self.callbacks: dict[str, Any] = {}

    def copy(self) -> TrainState:
        """With arrays of its own."""
        return copy.deepcopy(self)

    def take(self, other: TrainState) -> None:
        """Goes on from another state, in the arrays of this one."""
        self.parameters[...], self.buffers[...] = other.parameters, other.buffers
        for name, slot in self.slots.items():
            slot[...] = other.slots[name]
        for name in ("seed", "step", "epoch", "position", "fit"):
            setattr(self, name, getattr(other, name))
        self.sums = None if other.sums is None else other.sums.copy()
        self.history = copy.deepcopy(other.history)

    def __repr__(self) -> str:
        return f"TrainState(step={self.step}, epoch={self.epoch}, position={self.position}, {self.history!r})"
