"""Adafactor: Adam's second moments, by rows and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..ir import Array, Shape, Tensor
from ..schedules import Number
from .base import OfUpdates, Optimizer, pair_of
from .traced import Moving, TracedOptimizer


class Adafactor(TracedOptimizer):
    """Adam without the first moment, whose second moments are a number per row and one per column: for large nets.

    With w = t**beta2_decay at update t (the first is 1): r = r + w (mean of g**2 over a row - r), c likewise over
    columns, v = r c / max(mean(r), eps1); a vector has v = v + w (g**2 - v). u = g / sqrt(max(v, eps1**2));
    p -= lr weight_decay p; p -= a u / max(1, rms(u) / d), a = max(eps2, rms(p before)) min(lr, 1 / sqrt(t)).
    So lr is relative to the size of p.

    lr: default 1e-2; beta2_decay: -0.8, a number; eps: (eps1, eps2), (None, 1e-3), where None is the resolution of the
    parameters' type; d: 1; weight_decay: 0, decoupled. State: for (..., m, n) m + n numbers instead of 2 m n. Each step
    has a few passes more over the gradient than Adam. Raises ArgumentError for settings out of range. Shazeer, Stern,
    ICML 2018; PyTorch's form of it.

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1000)), "mse", hf.Adafactor())
    >>> memory = trainer.memory(np.ones((4, 1000)), np.ones((4, 1000)))
    >>> memory.optimizer < memory.parameters / 300
    True
    """

    decoupled = True
    settings = ("eps1", "beta2_decay")

    def __init__(
        self,
        lr: Number = 1e-2,
        *,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, Number] = (None, 1e-3),
        d: Number = 1.0,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        both = pair_of("Adafactor", "eps", eps, ("eps1", "eps2"))
        for name, value in (("eps1", both["eps1"]), ("beta2_decay", beta2_decay)):
            setattr(self, name, self._checked_setting(name, value))
        super().__init__(lr, clip_norm, clip_value, eps2=both["eps2"], d=d, weight_decay=weight_decay)

    def _check(self) -> None:
        if isinstance(self.options["d"], int | float) and self.options["d"] < 1:
            raise ArgumentError(f"Adafactor: d must be at least 1, got {self.options['d']}")

    def _checked_setting(self, name: str, value: Any) -> Any:
        if name == "eps1" and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or not math.isfinite(value):
            raise ArgumentError(f"Adafactor: {name} must be a number, got {value!r:.80}")
        if (name == "eps1" and value < 0) or (name == "beta2_decay" and value > 0):
            raise ArgumentError(f"Adafactor: {name} must be {'>' if name == 'eps1' else '<'}= 0, got {value}")
        return float(value)

    def replace(self, **changes: Any) -> Optimizer:
        if "eps" in changes:
            changes.update(pair_of("Adafactor", "eps", changes.pop("eps"), ("eps1", "eps2")))
        return super().replace(**changes)

    @property
    def kind(self) -> str:
        return "adafactor"

    @property
    def slots(self) -> tuple[str, ...]:
        """Its state; see ``own_slots``."""
        return ("row_var", "col_var", "variance")

    def own_slots(self, shape: Shape) -> dict[str, Shape]:
        if len(shape) < 2:
            return {"variance": shape}
        return {"row_var": (*shape[:-1], 1), "col_var": (*shape[:-2], 1, shape[-1])}

    def numbers(self) -> dict[str, Any]:
        decay: float = self.beta2_decay  # type: ignore[attr-defined]

        def gain(t: Array) -> Array:
            return np.asarray(ops.pow(t, decay))  # hawfinch's own: NumPy's has other bits on other processors

        return {**self.hyperparameters, "gain": OfUpdates(gain), "most": OfUpdates(lambda t: 1.0 / np.sqrt(t))}

    def move(self, given: Sequence[Moving]) -> list[tuple[Tensor, dict[str, Tensor]]]:
        return [self._move(k) for k in given]

    @staticmethod
    def _move(k: Moving) -> tuple[Tensor, dict[str, Tensor]]:
        p, g, n = k.p, k.g, k.numbers
        eps1 = k.optimizer.eps1 if k.optimizer.eps1 is not None else float(np.finfo(k.dtype).eps)
        square = g * g
        state = {}
        for name, old in k.slots.items():
            new = square if name == "variance" else ops.mean(square, -1 if name == "row_var" else -2, keepdims=True)
            state[name] = old + n["gain"] * (new - old)
        if "variance" in state:
            v = state["variance"]
        else:
            rows = state["row_var"]
            v = (rows / _at_least(ops.mean(rows, -2, keepdims=True), eps1)) * state["col_var"]
        u = g / ops.sqrt(_at_least(v, eps1 * eps1))
        rate = _at_least(_rms(p), n["eps2"]) * ops.where(ops.less(n["lr"], n["most"]), n["lr"], n["most"])
        rate = rate / _at_least(_rms(u) / n["d"], 1.0)
        return p * (1.0 - n["lr"] * n["weight_decay"]) - rate * u, state


def _at_least(x: Tensor, low: Any) -> Tensor:
    return ops.where(ops.less(x, low), low, x)


def _rms(x: Tensor) -> Tensor:
    """By rows first, which threads share."""
    square = x * x
    return ops.sqrt(ops.mean(ops.mean(square, -1) if x.ndim > 1 else square))
