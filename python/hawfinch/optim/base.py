"""What all optimisers are: a rule, hyperparameters, and how these become columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from .. import _core
from ..errors import ArgumentError, unknown_name
from ..schedules import Number, as_number, check_number
from ..values import Value


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
            changes.update(betas_of(type(self).__name__, changes.pop("betas")))
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


def betas_of(what: str, betas: Any) -> dict[str, Any]:
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ArgumentError(f"{what}: betas must be two numbers, got {betas!r}")
    return {"beta1": betas[0], "beta2": betas[1]}
