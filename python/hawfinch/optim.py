"""Optimisers: one sweep over the flat parameter buffer (csrc/kernels/cpu/optim.c). Formulas and defaults: PyTorch's.

All take ``lr`` (a number, or a function of the step number that gives one), ``clip_norm`` (scale the whole gradient
down to this Euclidean norm) and ``clip_value`` (limit each element to +-value); clipping comes before weight decay.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from . import _core
from .errors import ArgumentError, unknown_name

LearningRate = float | Callable[[int], float]


def _number(what: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"{what}: {name} must be a number, got {value!r}")
    return float(value)


class Optimizer:
    """Base: hyperparameters by name; ``slots`` are the state buffers that the op sweeps along with the parameters."""

    op: ClassVar[str]

    def __init__(self, lr: LearningRate, clip_norm: float | None, clip_value: float | None, **options: float):
        what = type(self).__name__
        if not callable(lr) and not 0 <= _number(what, "lr", lr) < float("inf"):
            raise ArgumentError(f"{what}: lr must be finite and not negative, got {lr}")
        for name, value in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if value is not None and not _number(what, name, value) > 0:
                raise ArgumentError(f"{what}: {name} must be > 0, got {value}")
        for name, value in options.items():
            below_one = name in ("momentum", "alpha", "beta1", "beta2")
            if not 0 <= _number(what, name, value) < (1 if below_one else float("inf")):
                bound = "in [0, 1)" if below_one else "finite and >= 0"
                raise ArgumentError(f"{what}: {name} must be {bound}, got {value}")
        self.lr, self.clip_norm, self.clip_value, self.options = lr, clip_norm, clip_value, MappingProxyType(options)

    def __setattr__(self, name: str, value: object) -> None:
        if name != "lr":  # the one setting that is read at every step; the others are part of the plan
            _core.new_version()
        super().__setattr__(name, value)

    @property
    def slots(self) -> list[str]:
        return []

    @property
    def flags(self) -> dict[str, int]:
        return {}

    @property
    def signature(self) -> tuple[object, ...]:
        """All that a plan is made for."""
        return (self.op, *self.options.items(), *self.flags.items(), self.clip_norm, self.clip_value)

    def lr_at(self, step: int) -> float:
        value = float(self.lr(step)) if callable(self.lr) else float(self.lr)
        if not 0 <= value < float("inf"):
            raise ArgumentError(f"the learning rate at step {step} is {value}; it must be finite and not negative")
        return value

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v}" for k, v in {"lr": self.lr, **self.options}.items())
        return f"{type(self).__name__}({inner})"


class SGD(Optimizer):
    """v = momentum v + g, p -= lr v (Nesterov: p -= lr (g + momentum v)); weight_decay adds weight_decay * p to g (L2).

    Defaults: lr 0.01, momentum 0, weight_decay 0.
    """

    op = "sgd"

    def __init__(
        self,
        lr: LearningRate = 0.01,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, momentum=momentum, weight_decay=weight_decay)
        if nesterov and momentum == 0:
            raise ArgumentError("SGD: nesterov needs momentum > 0")
        self.nesterov = nesterov

    @property
    def slots(self) -> list[str]:
        return ["velocity"] if self.options["momentum"] else []

    @property
    def flags(self) -> dict[str, int]:
        return {"nesterov": int(self.nesterov)}


class Adagrad(Optimizer):
    """s += g**2, p -= lr g / (sqrt(s) + eps). Defaults: lr 0.01, eps 1e-10. Duchi, Hazan, Singer, JMLR 12, 2011."""

    op = "adagrad"

    def __init__(
        self,
        lr: LearningRate = 0.01,
        *,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, eps=eps, weight_decay=weight_decay)

    @property
    def slots(self) -> list[str]:
        return ["accumulator"]


class RMSprop(Optimizer):
    """s = alpha s + (1 - alpha) g**2, p -= lr g / (sqrt(s) + eps), with momentum if asked. Tieleman, Hinton, 2012.

    Defaults: lr 0.01, alpha 0.99, eps 1e-8, momentum 0.
    """

    op = "rmsprop"

    def __init__(
        self,
        lr: LearningRate = 0.01,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay)

    @property
    def slots(self) -> list[str]:
        return ["square_avg", "velocity"] if self.options["momentum"] else ["square_avg"]


class Adam(Optimizer):
    """m, v = averages of g and g**2; p -= lr m^ / (sqrt(v^) + eps), bias-corrected. weight_decay is L2, added to g.

    Defaults: lr 1e-3, betas (0.9, 0.999), eps 1e-8. Kingma, Ba, ICLR 2015.
    """

    op = "adam"
    decoupled = 0

    def __init__(
        self,
        lr: LearningRate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ArgumentError(f"{type(self).__name__}: betas must be two numbers, got {betas!r}")
        super().__init__(lr, clip_norm, clip_value, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay)

    @property
    def slots(self) -> list[str]:
        return ["m", "v"]

    @property
    def flags(self) -> dict[str, int]:
        return {"decoupled": self.decoupled}


class AdamW(Adam):
    """Adam whose weight decay is p -= lr * weight_decay * p, apart from the gradient (default 0.01).

    Loshchilov, Hutter, ICLR 2019.
    """

    decoupled = 1

    def __init__(
        self,
        lr: LearningRate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(
            lr, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value
        )


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
}


def get_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """An optimiser by name with its defaults, or the instance itself."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if not isinstance(optimizer, str):
        given = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
        raise ArgumentError(f"optimizer: expected a name or an Optimizer such as Adam(lr=1e-3), got {given}")
    if optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", optimizer, OPTIMIZERS)
    return OPTIMIZERS[optimizer]()


__all__: list[Any] = ["OPTIMIZERS", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "get_optimizer"]
