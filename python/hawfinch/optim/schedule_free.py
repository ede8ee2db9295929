"""Schedule-free learning: an average in the place of a schedule."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _core, ops
from ..errors import ArgumentError
from ..ir import Array
from ..schedules import Number, Schedule
from .base import OfUpdates, Optimizer, betas_of

FIXED = ("lr", "beta1", "warmup_steps", "r", "weight_lr_power")


class ScheduleFreeAdamW(Optimizer):
    """AdamW whose steps z are averaged to x, with gradients taken at y between the two; no schedule, no end.

    y = (1 - beta1) z + beta1 x; v = beta2 v + (1 - beta2) g**2; n = g / (sqrt(v / (1 - beta2**t)) + eps) +
    weight_decay y; z -= lr n; x = (1 - c) x + c z with c = w_t / (w_1 + ... + w_t), w_t = t**r s_t**weight_lr_power;
    s_t = min(1, t / warmup_steps) is a factor of lr, too.

    The model holds y while it is trained (also after ``step``); validation, the best epoch and the model after ``fit``
    are at x; the next ``fit`` goes on from y. A BatchNorm's running statistics are those at y. lr: default 0.0025;
    betas (0.9, 0.999); eps 1e-8; weight_decay 0; warmup_steps 0; r 0; weight_lr_power 2. lr and beta1 > 0 are numbers:
    where the reference weighs by the largest lr so far, here w_t does not know of a change by ``trainer.set``. State:
    z - y and v; one buffer more for x. Raises ArgumentError for a schedule, for numbers out of range, and with
    ``Trainer(average=)``. Defazio et al., NeurIPS 2024; defaults of their implementation.

    >>> import hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(64, 8))
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.ScheduleFreeAdamW(0.1, warmup_steps=10))
    >>> history = trainer.fit(x, x[:, :1], epochs=100)
    >>> trainer.evaluate(x, x[:, :1])["loss"] < 1e-3
    True
    """

    rule = "schedule_free"
    averages = True

    def __init__(
        self,
        lr: float = 0.0025,
        *,
        betas: tuple[float, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        numbers = dict(warmup_steps=warmup_steps, r=r, weight_lr_power=weight_lr_power)
        options = {**betas_of("ScheduleFreeAdamW", betas), "eps": eps, "weight_decay": weight_decay, **numbers}
        super().__init__(lr, clip_norm, clip_value, **options)

    def _check(self) -> None:
        for name in FIXED:
            value = self.hyperparameters[name]
            if isinstance(value, Schedule) or callable(value):
                raise ArgumentError(f"ScheduleFreeAdamW: {name} must be a number, not a schedule, got {value!r:.80}")
        if not self.hyperparameters["beta1"]:
            raise ArgumentError("ScheduleFreeAdamW: beta1 must be > 0: gradients are taken at (1 - beta1) z + beta1 x")
        if self.options["warmup_steps"] != int(self.options["warmup_steps"]):
            raise ArgumentError(f"ScheduleFreeAdamW: warmup_steps must be whole, got {self.options['warmup_steps']}")

    @property
    def kind(self) -> str:
        return self.rule

    @property
    def reach(self) -> float:
        """x = y + reach (z - y)."""
        return 1.0 - 1.0 / float(self.options["beta1"])

    def columns(self, rule: str, common: Mapping[str, Any]) -> dict[str, Any]:
        o = self.options
        lr, warmup = float(self.lr), int(o["warmup_steps"])  # type: ignore[arg-type]
        power, r = float(o["weight_lr_power"]), float(o["r"])
        given: dict[str, Any] = {**self.hyperparameters, "clip_value": self.clip_value or 0.0}
        given |= {"decay": 0.0, "decoupled": 0.0, **common}
        given["mix"] = OfUpdates(lambda t: _mix(t, warmup, r, power))
        if warmup:
            given["lr"] = OfUpdates(lambda t: lr * np.minimum(1.0, t / warmup))
        return {name: given[name] for name in (*_core.COMMON_COLUMNS, *_core.RULES[rule][1])}


def _mix(t: Array, warmup: int, r: float, power: float) -> Array:
    """The part of z in the average after updates t, of which each weighs t**r min(1, t / warmup)**power."""
    known = warmup if r == 0 else 1 << int(np.max(t, initial=1)).bit_length()
    sums = _sums(known, warmup, r, power)
    at = np.minimum(t, known).astype(np.int64)
    weight = np.diff(sums)[at - 1] if known else np.ones_like(t)
    beyond = np.maximum(t - known, 0.0)  # each weighs 1 there
    result: Array = np.where(beyond > 0, 1.0, weight) / (sums[at] + beyond)
    return result


@functools.lru_cache(maxsize=8)
def _sums(n: int, warmup: int, r: float, power: float) -> Array:
    """Sums of the first 0, 1, .. n weights, one after the other, so that they do not depend on n."""
    t = np.arange(1.0, n + 1)
    weight = np.ones(n)
    for factor, exponent in ((t, r), (np.minimum(1.0, t / max(warmup, 1)), power)):
        weight = weight * np.asarray(ops.pow(factor, exponent)) if n and exponent else weight
    return np.concatenate([[0.0], np.cumsum(weight)])
