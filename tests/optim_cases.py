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
    takes_decay: bool = False  # it is part of the formula

    def optimizer(self, **more: Any) -> hf.Optimizer:
        return self.make(**{**self.options, **more})


def sgd(
    p: Array,
    g: Array,
    s: Slots,
    t: int,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    dampening: float = 0.0,
) -> Array:
    if not momentum:
        return p - lr * g
    s["velocity"] = momentum * s.get("velocity", 0) + (g if t == 1 else (1 - dampening) * g)
    return p - lr * (g + momentum * s["velocity"] if nesterov else s["velocity"])


def adagrad(p: Array, g: Array, s: Slots, t: int, lr: float, eps: float, lr_decay: float = 0.0) -> Array:
    s["accumulator"] = s.get("accumulator", 0) + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["accumulator"]) + eps)


def rmsprop(
    p: Array,
    g: Array,
    s: Slots,
    t: int,
    lr: float,
    alpha: float,
    eps: float,
    momentum: float = 0.0,
    centered: bool | None = None,
) -> Array:
    v = s["square_avg"] = alpha * s.get("square_avg", 0) + (1 - alpha) * g * g
    if centered is not None:
        s["grad_avg"] = alpha * s.get("grad_avg", 0) + (1 - alpha) * g
        v = np.maximum(v - centered * s["grad_avg"] ** 2, 0)
    u = g / (np.sqrt(v) + eps)
    if momentum or centered is not None:
        u = s["velocity"] = momentum * s.get("velocity", 0) + u
    return p - lr * u


Betas = tuple[float, float]


def moments(g: Array, s: Slots, betas: Betas) -> tuple[Array, Array]:
    b1, b2 = betas
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    return s["m"], s["v"]


def adam(
    p: Array, g: Array, s: Slots, t: int, lr: float, betas: Betas, eps: float, amsgrad: bool | None = None
) -> Array:
    m, v = moments(g, s, betas)
    if amsgrad is not None:
        v = s["v_max"] = np.maximum(amsgrad * s.get("v_max", 0), v)
    return p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def nadam(p: Array, g: Array, s: Slots, t: int, lr: float, betas: Betas, eps: float, momentum_decay: float) -> Array:
    m, v = moments(g, s, betas)
    mu = betas[0] * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * momentum_decay))
    ahead = mu[-1] * m / (1 - np.prod(mu)) + (1 - mu[-2]) * g / (1 - np.prod(mu[:-1]))
    return p - lr * ahead / (np.sqrt(v / (1 - betas[1] ** t)) + eps)


def radam(p: Array, g: Array, s: Slots, t: int, lr: float, betas: Betas, eps: float) -> Array:
    (m, v), (b1, b2) = moments(g, s, betas), betas
    most = 2 / (1 - b2) - 1
    rho = most - 2 * t * b2**t / (1 - b2**t)
    step = lr * m / (1 - b1**t)
    if rho <= 5:
        return p - step
    r = np.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
    return p - step * r * np.sqrt(1 - b2**t) / (np.sqrt(v) + eps)


def adamax(p: Array, g: Array, s: Slots, t: int, lr: float, betas: Betas, eps: float) -> Array:
    b1, b2 = betas
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["u"] = np.maximum(b2 * s.get("u", 0), np.abs(g) + eps)
    return p - lr / (1 - b1**t) * s["m"] / s["u"]


def rprop(
    p: Array,
    g: Array,
    s: Slots,
    t: int,
    lr: float,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0),
) -> Array:
    agree = np.sign(g * s.get("previous", 0))
    size = np.asarray(s.get("step_size", 0.0))
    size = np.where(size > 0, size, lr)
    s["step_size"] = np.clip(size * np.select([agree > 0, agree < 0], etas[::-1], 1.0), *step_sizes)
    s["previous"] = np.where(agree < 0, 0, g)
    return p - s["step_size"] * np.sign(s["previous"]) * (lr != 0)


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


def by_trust(p: Array, v: Array, factor: Callable[[float, float], float]) -> float:
    p_norm, v_norm = (float(np.sqrt((a * a).sum())) for a in (p, v))
    return factor(p_norm, v_norm) if p_norm > 0 and v_norm > 0 else 1.0


def lars_trust(
    p_norm: float, v_norm: float, weight_decay: float, trust_coefficient: float, eps: float, trust_ratio: bool, **_: Any
) -> float:
    return trust_coefficient * p_norm / (v_norm + weight_decay * p_norm + eps) if trust_ratio else 1.0


def lars_step(p: Array, g: Array, s: Slots, t: int, lr: float, momentum: float, weight_decay: float, **_: Any) -> Array:
    s["velocity"] = momentum * s.get("velocity", 0) + lr * (g + weight_decay * p)
    return p - s["velocity"]


def lars(p: Array, g: Array, s: Slots, t: int, lr: float, trust_ratio: bool = True, **options: Any) -> Array:
    trust = by_trust(p, g, lambda a, b: lars_trust(a, b, trust_ratio=trust_ratio, **options))
    return lars_step(p, g, s, t, lr * trust, **options)


def lamb_trust(p_norm: float, v_norm: float, trust_ratio: bool, **_: Any) -> float:
    return p_norm / v_norm if trust_ratio else 1.0


def lamb_direction(p: Array, s: Slots, t: int, betas: Betas, eps: float, weight_decay: float) -> Array:
    return s["m"] / (1 - betas[0] ** t) / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps) + weight_decay * p


def lamb(
    p: Array,
    g: Array,
    s: Slots,
    t: int,
    lr: float,
    betas: Betas,
    eps: float,
    weight_decay: float = 0.01,
    trust_ratio: bool = True,
) -> Array:
    moments(g, s, betas)
    u = lamb_direction(p, s, t, betas, eps, weight_decay)
    return p - lr * by_trust(p, u, lambda a, b: lamb_trust(a, b, trust_ratio)) * u


def lamb_step(p: Array, g: Array, s: Slots, t: int, lr: float, betas: Betas, trust_ratio: bool, **more: Any) -> Array:
    moments(g, s, betas)
    return lamb_direction(p, s, t, betas, **more)


def lamb_move(p: Array, g: Array, s: Slots, t: int, lr: float, betas: Betas, trust_ratio: bool, **more: Any) -> Array:
    return p - lr * lamb_direction(p, s, t, betas, **more)


# of rules that are two: the formula of each record, and the trust
PARTS: dict[str, Callable[..., Array]] = {
    "lars_gradient": lambda p, g, s, t, **_: g,
    "lars": lars_step,
    "lamb_step": lamb_step,
    "lamb": lamb_move,
    "moved": lambda p, g, s, t, **_: s["change"],
}
TRUST: dict[str, Callable[..., float]] = {"lars": lars_trust, "lamb": lamb_trust}

CASES = {
    "sgd": Case(hf.SGD, sgd, {"lr": 0.1}),
    "momentum": Case(hf.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    "nesterov": Case(hf.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    "dampening": Case(hf.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}),
    "adagrad": Case(hf.Adagrad, adagrad, {"lr": 0.1, "eps": 1e-3}),
    "adagrad decay": Case(hf.Adagrad, adagrad, {"lr": 0.1, "lr_decay": 0.2, "eps": 1e-3}),
    "adadelta": Case(hf.Adadelta, adadelta, {"lr": 0.7, "rho": 0.8, "eps": 1e-3}),
    "rmsprop": Case(hf.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-4}),
    "rmsprop momentum": Case(hf.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-4, "momentum": 0.5}),
    "rmsprop centered": Case(
        hf.RMSprop, rmsprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-4, "momentum": 0.5, "centered": True}
    ),
    "adam": Case(hf.Adam, adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    "adamw": Case(hf.AdamW, adam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    "amsgrad": Case(hf.Adam, adam, {"lr": 0.05, "betas": (0.8, 0.7), "eps": 1e-3, "amsgrad": True}),
    "amsgrad decoupled": Case(hf.AdamW, adam, {"lr": 0.05, "betas": (0.8, 0.7), "eps": 1e-3, "amsgrad": True}),
    "nadam": Case(hf.NAdam, nadam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.5}),
    "nadamw": Case(hf.NAdamW, nadam, {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 4e-3}),
    "radam": Case(hf.RAdam, radam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}),
    "adamax": Case(hf.Adamax, adamax, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3}),
    "lion": Case(hf.Lion, lion, {"lr": 0.02, "betas": (0.8, 0.95)}),
    "lars": Case(
        hf.LARS, lars, {"lr": 2.0, "momentum": 0.8, "weight_decay": 0.01, "trust_coefficient": 0.02, "eps": 1e-3}, True
    ),
    "lamb": Case(
        hf.LAMB, lamb, {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.02, "trust_ratio": True}, True
    ),
    "rprop": Case(hf.Rprop, rprop, {"lr": 0.02, "etas": (0.4, 1.3), "step_sizes": (1e-3, 0.05)}),
}


# ---- those that look at a parameter as a whole: ``update`` gets the decoupled weight decay too ----
def newton_schulz(x: Array, steps: int, coefficients: tuple[float, float, float], eps: float) -> Array:
    a, b, c = coefficients
    turned = x.shape[0] > x.shape[1]
    x = (x.T if turned else x) / max(np.linalg.norm(x), eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if turned else x


def muon(
    p: Array,
    g: Array,
    s: Slots,
    t: int,
    lr: float,
    vectors: Any,
    weight_decay: float = 0.1,
    momentum: float = 0.95,
    nesterov: bool = True,
    adjust_lr_fn: str = "original",
    ns_steps: int = 5,
    eps: float = 1e-7,
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
) -> Array:
    if p.ndim != 2:
        o = vectors.options
        p = p * (1 - vectors.lr * o["weight_decay"])
        return adam(p, g, s, t, vectors.lr, (o["beta1"], o["beta2"]), o["eps"])
    s["m"] = momentum * s.get("m", 0) + (1 - momentum) * g
    u = (1 - momentum) * g + momentum * s["m"] if nesterov else s["m"]
    rows, cols = p.shape[1], p.shape[0]  # torch's
    factor = max(1, rows / cols) ** 0.5 if adjust_lr_fn == "original" else 0.2 * max(rows, cols) ** 0.5
    return p * (1 - lr * weight_decay) - lr * factor * newton_schulz(u, ns_steps, ns_coefficients, eps)


def adafactor(
    p: Array,
    g: Array,
    s: Slots,
    t: int,
    lr: float,
    weight_decay: float = 0.0,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
) -> Array:
    eps1 = np.finfo(p.dtype).eps if eps[0] is None else eps[0]
    gain = t**beta2_decay
    rate = max(eps[1], np.sqrt((p**2).mean())) * min(lr, t**-0.5)
    if p.ndim > 1:
        for name, axis in (("row_var", -1), ("col_var", -2)):
            s[name] = (1 - gain) * s.get(name, 0) + gain * (g**2).mean(axis, keepdims=True)
        v = s["row_var"] * s["col_var"] / max(s["row_var"].mean(), eps1)
    else:
        v = s["variance"] = (1 - gain) * s.get("variance", 0) + gain * g**2
    u = g / np.sqrt(np.maximum(v, eps1**2))
    return p * (1 - lr * weight_decay) - rate * u / max(1, np.sqrt((u**2).mean()) / d)


WHOLE = {
    "muon": Case(hf.Muon, muon, {"lr": 0.05, "vectors": hf.AdamW(0.03, weight_decay=0.2)}),
    "muon plain": Case(
        hf.Muon,
        muon,
        {"lr": 0.05, "momentum": 0.8, "nesterov": False, "ns_steps": 3, "eps": 0.1, "vectors": hf.AdamW(0.01)},
    ),
    "muon like adamw": Case(
        hf.Muon,
        muon,
        {
            "lr": 0.05,
            "adjust_lr_fn": "match_rms_adamw",
            "ns_coefficients": (2.0, -1.5, 0.5),
            "vectors": hf.AdamW(0.02, betas=(0.8, 0.9)),
        },
    ),
    "adafactor": Case(hf.Adafactor, adafactor, {"lr": 0.3}),
    "adafactor eps": Case(hf.Adafactor, adafactor, {"lr": 0.3, "beta2_decay": -0.5, "eps": (1e-2, 0.5), "d": 1.5}),
}


def schedule_free(
    p: Array,
    g: Array,
    s: Slots,
    t: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> Array:
    """As the paper has it: x, y and z; p is y, s["x"] the average."""
    z, x = s.get("z", p), s.get("x", p)
    warm = min(1.0, t / warmup_steps) if warmup_steps else 1.0
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    n = g / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps) + weight_decay * p
    weight = t**r * (lr * warm) ** weight_lr_power
    s["sum"] = s.get("sum", 0) + weight
    s["z"] = z - lr * warm * n
    s["x"] = x + weight / s["sum"] * (s["z"] - x)
    return (1 - betas[0]) * s["z"] + betas[0] * s["x"]


SEARCHES = (hf.LBFGS,)  # tests/train/test_lbfgs.py
AVERAGED = {
    "schedule free": Case(hf.ScheduleFreeAdamW, schedule_free, {"lr": 0.05}),
    "schedule free warm": Case(
        hf.ScheduleFreeAdamW,
        schedule_free,
        {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3, "warmup_steps": 5, "weight_lr_power": 1.5},
    ),
    "schedule free r": Case(
        hf.ScheduleFreeAdamW, schedule_free, {"lr": 0.1, "warmup_steps": 3, "r": 0.5, "weight_lr_power": 2.0}
    ),
}
