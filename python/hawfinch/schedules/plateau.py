"""Plateau: falls when a result no longer gets better."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import ArgumentError, unknown_name
from ..ir import Array
from ..values import check_real, check_whole, is_word
from .base import Curve, Schedule, number


class Plateau(Curve):
    """value, times ``factor`` when more than ``patience`` epochs in a row were no better than the best before them.

    factor: default 0.1, below 1. patience: default 10 epochs. monitor: a name in the History, default "val_loss". mode:
    "min" (default): smaller is better; "max": larger. threshold: default 1e-4; better is by more than this part of the
    best. cooldown: epochs after a fall that are not counted, default 0. least: default 0; the value does not fall below
    it. warmup: default 0; see Cosine. As PyTorch's ReduceLROnPlateau (min_lr); it wants a name that the History will
    have, else ``fit`` raises ArgumentError.

    >>> import hawfinch as hf
    >>> s = hf.schedules.Plateau(0.1, factor=0.5, patience=0, monitor="loss")
    >>> state = s.after_epoch(s.after_epoch(None, {"loss": 1.0}), {"loss": 2.0})
    >>> s.with_state(state).at(np.arange(2), None)
    array([0.05, 0.05])
    """

    def __init__(
        self,
        value: float,
        *,
        factor: float = 0.1,
        patience: int = 10,
        monitor: str = "val_loss",
        mode: str = "min",
        threshold: float = 1e-4,
        cooldown: int = 0,
        least: float = 0.0,
        warmup: float = 0,
    ):
        self.value, self.least = number("Plateau", "value", value), number("Plateau", "least", least)
        self.factor = check_real(factor, "Plateau: factor", "from 0 to below 1", lambda v: 0 <= v < 1)
        self.threshold = check_real(threshold, "Plateau: threshold", "from 0 to below 1", lambda v: 0 <= v < 1)
        self.patience = check_whole(patience, "Plateau: patience")
        self.cooldown = check_whole(cooldown, "Plateau: cooldown")
        if not isinstance(monitor, str):
            raise ArgumentError(f"Plateau: monitor must be a name in the History, got {monitor!r}")
        if not is_word(mode, "min", "max"):
            raise unknown_name("Plateau: mode", mode, ("min", "max"))
        self.monitor, self.mode = monitor, mode
        super().__init__(warmup)
        self._times = 0

    @property
    def monitors(self) -> tuple[str, ...]:
        return (self.monitor,)

    def curve(self, s: Array, n: int | None) -> Array:
        value = self.value
        for _ in range(self._times):
            value *= self.factor
        return np.full(len(s), max(value, self.least))

    def after_epoch(self, state: Any, logs: dict[str, float]) -> Any:
        """(best score, epochs since then, epochs of cooldown left, times that the value fell)."""
        sign = 1.0 if self.mode == "min" else -1.0
        best, waited, resting, times = (sign * math.inf, 0, 0, 0) if state is None else state
        score = logs[self.monitor]
        if sign * score < sign * best * (1.0 - sign * self.threshold):
            best, waited = score, 0
        else:
            waited += 1
        if resting > 0:
            resting, waited = resting - 1, 0
        if waited > self.patience:
            waited, resting, times = 0, self.cooldown, times + 1
        return (best, waited, resting, times)

    def with_state(self, state: Any) -> Schedule:
        if state is None:
            return self
        changed: Plateau = object.__new__(type(self))
        changed.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("_key", "_hash")})
        changed.__dict__["_times"] = state[3]
        return changed
