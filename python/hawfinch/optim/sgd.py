"""Gradient descent: plain, with momentum, Nesterov's."""

from __future__ import annotations

from ..errors import ArgumentError
from ..schedules import Number
from .base import Optimizer, is_zero


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g, p -= lr v; Nesterov: p -= lr (g + momentum v). weight_decay: L2, added to g.

    Batch, mini-batch and stochastic gradient descent differ in ``fit``'s ``batch_size`` alone: "full", some rows, 1.
    The first v is g, whatever the dampening. The form often taught folds the rate into v (v = momentum v - lr g,
    p += v): it is the same while lr stays the same; where lr changes, here it acts on all of v at once, there on new
    gradients only. Defaults: lr 0.01 (PyTorch's is 0.001), momentum 0, nesterov False, dampening 0, weight_decay 0.
    Raises ArgumentError for nesterov without momentum or with dampening. Polyak 1964; Nesterov 1983; Sutskever et al.,
    ICML 2013.

    >>> import hawfinch as hf
    >>> hf.SGD(0.1, momentum=0.9, nesterov=True).slots
    ('velocity',)
    """

    nesterov: bool

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        momentum: Number = 0.0,
        nesterov: bool = False,
        dampening: Number = 0.0,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(lr, clip_norm, clip_value, {"nesterov": nesterov}, **options)

    def _check(self) -> None:
        if self.nesterov and is_zero(self.options["momentum"]):
            raise ArgumentError("SGD: nesterov needs momentum > 0")
        if self.nesterov and not is_zero(self.options["dampening"]):
            raise ArgumentError("SGD: nesterov and dampening exclude each other; dampening must be 0")

    @property
    def rule(self) -> str:  # type: ignore[override]
        if is_zero(self.options["momentum"]):
            return "sgd"
        return "momentum" if is_zero(self.options["dampening"]) else "momentum_dampened"
