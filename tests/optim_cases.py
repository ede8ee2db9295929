"""One row per optimiser and way to use it: how it is made, and its formula in NumPy float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import hawfinch as hf

Array = Any
Slots = dict[str, Any]


class Case(NamedTuple):
    """``update(p, g, slots, t, **options)`` gives the new p; t counts from 1; slots are written under their names."""

    make: type[hf.Optimizer]
    update: Callable[..., Array]
    options: dict[str, Any]

    def optimizer(self, **more: Any) -> hf.Optimizer:
        return self.make(**{**self.options, **more})


def sgd(p: Array, g: Array, s: Slots, t: int, lr: float, momentum: float = 0.0, nesterov: bool = False) -> Array:
    if not momentum:
        return p - lr * g
    s["velocity"] = momentum * s.get("velocity", 0) + g
    return p - lr * (g + momentum * s["velocity"] if nesterov else s["velocity"])


def adagrad(p: Array, g: Array, s: Slots, t: int, lr: float, eps: float) -> Array:
    s["accumulator"] = s.get("accumulator", 0) + g * g
    return p - lr * g / (np.sqrt(s["accumulator"]) + eps)


def rmsprop(p: Array, g: Array, s: Slots, t: int, lr: float, alpha: float, eps: float, momentum: float = 0.0) -> Array:
    s["square_avg"] = alpha * s.get("square_avg", 0) + (1 - alpha) * g * g
    u = g / (np.sqrt(s["square_avg"]) + eps)
    if momentum:
        u = s["velocity"] = momentum * s.get("velocity", 0) + u
    return p - lr * u


def adam(p: Array, g: Array, s: Slots, t: int, lr: float, betas: tuple[float, float], eps: float) -> Array:
    b1, b2 = betas
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    return p - lr * (s["m"] / (1 - b1**t)) / (np.sqrt(s["v"] / (1 - b2**t)) + eps)


def adadelta(p: Array, g: Array, s: Slots, t: int, lr: float, rho: float, eps: float) -> Array:
    s["square_avg"] = rho * s.get("square_avg", 0) + (1 - rho) * g * g
    a = s.get("acc_delta", 0)
    delta = np.sqrt(a + eps) / np.sqrt(s["square_avg"] + eps) * g
    s["acc_delta"] = rho * a + (1 - rho) * delta * delta
    return p - lr * delta


def lion(p: Array, g: Array, s: Slots, t: int, lr: float, betas: tuple[float, float]) -> Array:
    b1, b2 = betas
    m = s.get("m", 0)
    s["m"] = b2 * m + (1 - b2) * g
    return p - lr * np.sign(b1 * m + (1 - b1) * g)


CASES = {
    "sgd": Case(hf.SGD, sgd, {"lr": 0.1}),
    "momentum": Case(hf.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    "nesterov": Case(hf.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    "adagrad": Case(hf.Adagrad, adagrad, {"lr": 0.1, "eps": 1e-3}),
    "adadelta": Case(hf.Adadelta, adadelta, {"lr": 0.7, "rho": 0.8, "eps": 1e-3}),
    "rmsprop": Case(hf.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-4}),
    "rmsprop momentum": Case(hf.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-4, "momentum": 0.5}),
    "adam": Case(hf.Adam, adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw": Case(hf.AdamW, adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    "lion": Case(hf.Lion, lion, {"lr": 0.02, "betas": (0.8, 0.95)}),
}
