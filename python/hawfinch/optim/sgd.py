"""Gradient descent: plain, with momentum, Nesterov's."""

from __future__ import annotations

from ..errors import ArgumentError
from ..schedules import Number
from .base import Optimizer


class SGD(Optimizer):
    """v = momentum v + g, p -= lr v (Nesterov: p -= lr (g + momentum v)); weight_decay adds weight_decay * p to g (L2).

    Defaults: lr 0.01, momentum 0, nesterov False, weight_decay 0.

    >>> import hawfinch as hf
    >>> hf.SGD(0.1, momentum=0.9, nesterov=True).slots
    ('velocity',)
    """

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        momentum: Number = 0.0,
        nesterov: bool = False,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, momentum=momentum, weight_decay=weight_decay)
        if nesterov and momentum == 0:
            raise ArgumentError("SGD: nesterov needs momentum > 0")
        self.nesterov = bool(nesterov)

    @property
    def rule(self) -> str:  # type: ignore[override]
        return (
            "sgd" if isinstance(self.options["momentum"], int | float) and self.options["momentum"] == 0 else "momentum"
        )
