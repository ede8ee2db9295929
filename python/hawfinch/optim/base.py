"""What all optimisers are: a rule, hyperparameters, and how these become columns of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import _core
from ..errors import ArgumentError, unknown_name
from ..ir import Array, Shape
from ..schedules import Number, as_number, check_number
from ..values import ALIASES, Value

CLIPS = ("clip_norm", "clip_value", "clip_adaptive")


class OfUpdates(NamedTuple):
    """A number that follows from how many updates a parameter has had, this one included: ``at`` gives float64 (n,) for
    float64 (n,) counts."""

    at: Callable[[Array], Array]


class Optimizer(Value):
    """Base. ``rule``: its name in optim.def. ``decoupled``: weight decay is apart from the gradient. ``pairs``:
    arguments that are two hyperparameters. ``settings``: arguments that are no numbers. ``averages``: what
    the model is after a fit is an average of its own, p + ``reach`` times its slot "average_gap". ``searches``:
    a step evaluates loss and gradient of all rows several times.

    >>> import hawfinch as hf
    >>> hf.SGD(0.1, momentum=0.9).replace(lr=0.01)
    SGD(lr=0.01, momentum=0.9, dampening=0.0, weight_decay=0.0)
    """

    rule: ClassVar[str] = ""
    decoupled: ClassVar[bool] = False
    measured: ClassVar[str] = ""  # the rule that is run first, to measure norms; see HF_TRUST in optim.def
    gradient_twice: ClassVar[bool] = False  # whether the second reads the gradient too
    pairs: ClassVar[Mapping[str, tuple[str, str]]] = {"betas": ("beta1", "beta2")}
    settings: ClassVar[tuple[str, ...]] = ()
    averages: ClassVar[bool] = False
    searches: ClassVar[bool] = False
    lr: Number
    clip_norm: float | None
    clip_value: float | None
    clip_adaptive: float | None

    def __init__(
        self,
        lr: Number,
        clip_norm: float | None,
        clip_value: float | None,
        clip_adaptive: float | None = None,
        flags: Mapping[str, bool] | None = None,
        **options: Any,
    ):
        self._names, self._flags = tuple(options), tuple(flags or ())
        clips = dict(zip(CLIPS, (clip_norm, clip_value, clip_adaptive), strict=True))
        for name, value in {"lr": lr, **clips, **options, **(flags or {})}.items():
            setattr(self, name, self._checked(name, value))
        self._check_all()

    def _check_all(self) -> None:
        if self.clip_norm is not None and self.clip_adaptive is not None:
            what = type(self).__name__
            raise ArgumentError(f"{what}: clip_norm and clip_adaptive exclude each other: choose one")
        self._check()

    def _check(self) -> None:
        """Raises ArgumentError where settings contradict each other."""

    def _checked(self, name: str, value: Any) -> Any:
        what = type(self).__name__
        if name in self.settings:
            return self._checked_setting(name, value)
        if name in self._flags:
            if not isinstance(value, bool | np.bool_):
                raise ArgumentError(f"{what}: {name} must be True or False, got {value!r:.80}")
            return bool(value)
        if name in CLIPS:
            if value is not None and not as_number(what, name, value) > 0:
                raise ArgumentError(f"{what}: {name} must be > 0, got {value}")
            return value
        return check_number(what, name, value)

    @property
    def reach(self) -> float:
        """See ``averages``."""
        return 0.0

    def search_slots(self, n: int) -> dict[str, int]:
        """Where it ``searches``: sizes of its buffers, by name, for n parameters."""
        return {}

    def _checked_setting(self, name: str, value: Any) -> Any:
        """A value for one of ``settings``."""
        raise NotImplementedError

    def part(self, name: str, shape: Shape) -> Optimizer:
        """The optimiser of one parameter: this one, or one that it has for some of them."""
        return self

    @property
    def parts(self) -> tuple[Optimizer, ...]:
        """All that ``part`` may give."""
        return (self,)

    def __setattr__(self, name: str, value: object) -> None:
        if self._frozen:
            what = type(self).__name__
            raise ArgumentError(
                f"{what} is immutable: call trainer.set({name}=...), or make a new one, instead of setting {name!r}"
            )
        super().__setattr__(name, value)

    @property
    def options(self) -> Mapping[str, Any]:
        """The hyperparameters but ``lr`` and those that are True or False, by name; read-only."""
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
        """Those of a rule of optim.def; "": none."""
        return _core.RULES[rule][2] if rule else ()

    def columns(self, rule: str, common: Mapping[str, Any]) -> dict[str, Any]:
        """What the columns of a rule hold, in their order: numbers, schedules and functions. rule: this optimiser's, or
        one with more slots. common: the columns that are not the optimiser's."""
        given = {**self.hyperparameters, "clip_value": self.clip_value or 0.0, "decay": 0.0, "decoupled": 0.0, **common}
        decay = given.get("weight_decay", 0.0)
        if self.decoupled:
            given["decoupled"] = decay
        elif not self.measured:  # there it is part of the rule
            given["decay"] = (decay, given["decay"]) if given["decay"] else decay
        return {
            name: given[name] if name in given else float(getattr(self, name))
            for name in (*_core.COMMON_COLUMNS, *_core.RULES[rule][1])
        }

    def replace(self, **changes: Any) -> Optimizer:
        """An optimiser that differs in these arguments; those of the constructor."""
        for name, both in self.pairs.items():
            if name in changes and both[0] in self._names:
                changes.update(pair_of(type(self).__name__, name, changes.pop(name), both))
        known = ("lr", *CLIPS, *self._names, *self._flags, *self.settings)
        for name in changes:
            if name not in known:
                raise unknown_name(f"argument of {type(self).__name__}", name, known, ALIASES)
        new = object.__new__(type(self))
        new.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("_key", "_frozen")})
        for name, value in changes.items():
            setattr(new, name, self._checked(name, value))
        new._check_all()
        new.__dict__["_frozen"] = True
        return new

    def __repr__(self) -> str:
        said: dict[str, Any] = self.hyperparameters
        for name, (first, second) in self.pairs.items():
            if first in said:  # in its place
                pair = said[first], said.pop(second)
                said = {name if k == first else k: pair if k == first else v for k, v in said.items()}
        said |= {name: True for name in self._flags if getattr(self, name)}
        said |= {name: getattr(self, name) for name in CLIPS if getattr(self, name) is not None}
        inner = ", ".join(f"{k}={v}" for k, v in said.items())
        return f"{type(self).__name__}({inner})"


def pair_of(what: str, name: str, pair: Any, names: tuple[str, str]) -> dict[str, Any]:
    """An argument that is two hyperparameters, as these."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ArgumentError(f"{what}: {name} must be two numbers, got {pair!r:.80}")
    return dict(zip(names, pair, strict=True))


def betas_of(what: str, betas: Any) -> dict[str, Any]:
    return pair_of(what, "betas", betas, ("beta1", "beta2"))


def is_zero(value: Number) -> bool:
    """Whether a hyperparameter is the number 0, and no schedule."""
    return isinstance(value, int | float) and value == 0


def richest(rules: Iterable[str]) -> str:
    """Of some variants of a rule the one that contains the others; "" where there is none."""
    named = [rule for rule in rules if rule]
    return max(named, key=lambda rule: (len(_core.RULES[rule][2]), len(_core.RULES[rule][1])), default="")
