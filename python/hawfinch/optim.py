"""Optimisers: values that say how parameters follow their gradient. Formulas and defaults: PyTorch's.

Design: what an update rule does with an element is declared in csrc/defs/optim.def; a class here names the rule, its
hyperparameters and their defaults. Every hyperparameter is a column of numbers that C reads step by step, so each may
be a number or a schedule, and changing one makes no new plan. Rejected: rules written twice, here and in C, and options
that are compiled into a plan.

All take ``lr``, ``weight_decay`` and other hyperparameters, each a number, a schedule (``hawfinch.schedules``) or a
function of the step number that gives a number; ``clip_norm`` (scale the whole gradient down to this Euclidean norm)
and ``clip_value`` (limit each element to +-value), default None; clipping comes before weight decay. Raise
ArgumentError for numbers out of range. Optimisers are immutable: ``trainer.set(lr=...)`` changes what a trainer goes on
with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from . import _core
from .errors import ArgumentError, unknown_name
from .schedules import Number, as_number, check_number
from .values import Value

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Lion", "Optimizer", "RMSprop"]


class Optimizer(Value):
    """Base. ``rule``: its name in optim.def. ``decoupled``: weight decay is apart from the gradient.

    >>> import hawfinch as hf
    >>> hf.SGD(0.1, momentum=0.9).replace(lr=0.01)
    SGD(lr=0.01, momentum=0.9, weight_decay=0.0)
    """

    rule: ClassVar[str] = ""
    decoupled: ClassVar[bool] = False
    lr: Number
    clip_norm: float | None
    clip_value: float | None

    def __init__(self, lr: Number, clip_norm: float | None, clip_value: float | None, **options: Any):
        self._names = tuple(options)
        for name, value in {"lr": lr, "clip_norm": clip_norm, "clip_value": clip_value, **options}.items():
            setattr(self, name, self._checked(name, value))

    def _checked(self, name: str, value: Any) -> Any:
        what = type(self).__name__
        if name in ("clip_norm", "clip_value"):
            if value is not None and not as_number(what, name, value) > 0:
                raise ArgumentError(f"{what}: {name} must be > 0, got {value}")
            return value
        return check_number(what, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        if self._frozen:
            what = type(self).__name__
            raise ArgumentError(
                f"{what} is immutable: call trainer.set({name}=...), or make a new one, instead of setting {name!r}"
            )
        super().__setattr__(name, value)

    @property
    def options(self) -> Mapping[str, Any]:
        """The hyperparameters but ``lr``, by name; read-only."""
        return MappingProxyType({name: getattr(self, name) for name in self._names})

    @property
    def hyperparameters(self) -> dict[str, Number]:
        """By name, ``lr`` first."""
        return {"lr": self.lr, **self.options}

    @property
    def kind(self) -> str:
        """Optimisers of one kind take over each other's slots."""
        return self.rule.split("_")[0]

    @property
    def slots(self) -> tuple[str, ...]:
        """State buffers of the parameters' size."""
        return self.slots_of(self.rule)

    @staticmethod
    def slots_of(rule: str) -> tuple[str, ...]:
        """Those of a rule of optim.def."""
        return _core.RULES[rule][2]

    def columns(self, rule: str, common: Mapping[str, Any]) -> dict[str, Any]:
        """What the columns of a rule hold, in their order: numbers, schedules and functions. rule: this optimiser's, or
        one with more slots. common: the columns that are not the optimiser's."""
        given = {**self.hyperparameters, "clip_value": self.clip_value or 0.0, "decay": 0.0, "decoupled": 0.0, **common}
        decay = given.get("weight_decay", 0.0)
        if self.decoupled:
            given["decoupled"] = decay
        else:
            given["decay"] = (decay, given["decay"]) if given["decay"] else decay
        return {
            name: given[name] if name in given else float(getattr(self, name))
            for name in (*_core.COMMON_COLUMNS, *_core.RULES[rule][1])
        }

    def replace(self, **changes: Any) -> Optimizer:
        """An optimiser that differs in these arguments; those of the constructor."""
        if "betas" in changes and "beta1" in self._names:
            changes.update(_betas(type(self).__name__, changes.pop("betas")))
        known = ("lr", "clip_norm", "clip_value", *self._names)
        for name in changes:
            if name not in known:
                raise unknown_name(f"argument of {type(self).__name__}", name, known)
        new = object.__new__(type(self))
        new.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("_key", "_frozen")})
        for name, value in changes.items():
            setattr(new, name, self._checked(name, value))
        new.__dict__["_frozen"] = True
        return new

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v}" for k, v in self.hyperparameters.items())
        return f"{type(self).__name__}({inner})"


def _betas(what: str, betas: Any) -> dict[str, Any]:
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ArgumentError(f"{what}: betas must be two numbers, got {betas!r}")
    return {"beta1": betas[0], "beta2": betas[1]}


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


class Adagrad(Optimizer):
    """s += g**2, p -= lr g / (sqrt(s) + eps). Defaults: lr 0.01, eps 1e-10. Duchi, Hazan, Singer, JMLR 12, 2011.

    >>> import hawfinch as hf
    >>> hf.Adagrad(0.1)
    Adagrad(lr=0.1, eps=1e-10, weight_decay=0.0)
    """

    rule = "adagrad"

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        eps: Number = 1e-10,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, eps=eps, weight_decay=weight_decay)


class Adadelta(Optimizer):
    """s = rho s + (1 - rho) g**2, d = sqrt(a + eps) / sqrt(s + eps) g, a = rho a + (1 - rho) d**2, p -= lr d.

    Defaults: lr 1, rho 0.9, eps 1e-6, weight_decay 0. Zeiler, arXiv:1212.5701, 2012.

    >>> import hawfinch as hf
    >>> hf.Adadelta().slots
    ('square_avg', 'acc_delta')
    """

    rule = "adadelta"

    def __init__(
        self,
        lr: Number = 1.0,
        *,
        rho: Number = 0.9,
        eps: Number = 1e-6,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, rho=rho, eps=eps, weight_decay=weight_decay)


class RMSprop(Optimizer):
    """s = alpha s + (1 - alpha) g**2, p -= lr g / (sqrt(s) + eps), with momentum if asked. Tieleman, Hinton, 2012.

    Defaults: lr 0.01, alpha 0.99, eps 1e-8, momentum 0, weight_decay 0.

    >>> import hawfinch as hf
    >>> hf.RMSprop(momentum=0.5).slots
    ('square_avg', 'velocity')
    """

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        alpha: Number = 0.99,
        eps: Number = 1e-8,
        momentum: Number = 0.0,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay)

    @property
    def rule(self) -> str:  # type: ignore[override]
        plain = isinstance(self.options["momentum"], int | float) and self.options["momentum"] == 0
        return "rmsprop" if plain else "rmsprop_momentum"


class Adam(Optimizer):
    """m, v = averages of g and g**2; p -= lr m^ / (sqrt(v^) + eps), bias-corrected. weight_decay is L2, added to g.

    Defaults: lr 1e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0. Kingma, Ba, ICLR 2015.

    >>> import hawfinch as hf
    >>> hf.Adam().options["beta2"]
    0.999
    """

    rule = "adam"

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = _betas(type(self).__name__, betas)
        super().__init__(lr, clip_norm, clip_value, **options, eps=eps, weight_decay=weight_decay)


class AdamW(Adam):
    """Adam whose weight decay is p -= lr * weight_decay * p, apart from the gradient (default 0.01).

    Loshchilov, Hutter, ICLR 2019.

    >>> import hawfinch as hf
    >>> hf.AdamW().options["weight_decay"]
    0.01
    """

    decoupled = True

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.01,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(
            lr, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value
        )


class Lion(Optimizer):
    """p -= lr sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g; weight_decay as in AdamW.

    Every parameter moves by lr, so lr is 3 to 10 times smaller than Adam's, and weight_decay as many times larger.
    Defaults: lr 1e-4, betas (0.9, 0.99), weight_decay 0. Chen et al., NeurIPS 2023, algorithm 2.

    >>> import hawfinch as hf
    >>> hf.Lion(3e-4).slots
    ('m',)
    """

    rule = "lion"
    decoupled = True

    def __init__(
        self,
        lr: Number = 1e-4,
        *,
        betas: tuple[Number, Number] = (0.9, 0.99),
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, **_betas("Lion", betas), weight_decay=weight_decay)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
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
