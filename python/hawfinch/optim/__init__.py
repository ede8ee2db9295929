"""Optimisers: values that say how parameters follow their gradient. Formulas and defaults: PyTorch's.

Design: what an update rule does with an element is declared in csrc/defs/optim.def; a class here names the rule, its
hyperparameters and their defaults. Every hyperparameter is a column of numbers that C reads step by step, so each may
be a number or a schedule, and changing one makes no new plan. Rejected: rules written twice, here and in C, and options
that are compiled into a plan.

All take ``lr``, ``weight_decay`` and other hyperparameters, each a number, a schedule (``hawfinch.schedules``) or a
function of the step number that gives a number; ``clip_norm`` (scale the whole gradient down to this Euclidean norm),
``clip_value`` (limit each element to +-value) and ``clip_adaptive`` (limit the norm of the gradient of each output
unit, a column of a weight or a whole vector, to this part of the norm of its weights, or of 1e-3 if that is larger:
g *= min(1, clip_adaptive max(|p|, 1e-3) / |g|), over all axes but the last; Brock et al., ICML 2021; groups may set
it; not with clip_norm), default None; clipping comes before weight decay and penalties. What is True or
False (nesterov, amsgrad, ...) is a number to the update too: ``groups`` may set it for some parameters. Raise
ArgumentError for numbers out of range. Optimisers are immutable: ``trainer.set(lr=...)`` changes what a trainer goes on
with.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import _core
from ..errors import ArgumentError, unknown_name
from ..values import names_of
from . import traced
from .adafactor import Adafactor
from .adam import Adam, Adamax, AdamW, NAdam, NAdamW, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .base import Optimizer
from .lbfgs import LBFGS
from .muon import Muon
from .schedule_free import ScheduleFreeAdamW
from .sgd import SGD
from .sign import Lion, Rprop
from .trust import LAMB, LARS

__all__ = [
    "LAMB",
    "LARS",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "NAdamW",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
}


def get_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """An optimiser by name with its defaults, or the instance itself."""
    if isinstance(optimizer, Optimizer):
        if optimizer.rule not in _core.RULES and not isinstance(optimizer, traced.TracedOptimizer):
            raise ArgumentError(f"{type(optimizer).__name__} names no rule of optim.def; take SGD, Adam or another")
        return optimizer
    if not isinstance(optimizer, str):
        given = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else type(optimizer).__name__
        raise ArgumentError(f"optimizer: expected a name or an Optimizer such as Adam(lr=1e-3), got {given}")
    if optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", optimizer, OPTIMIZERS)
    return OPTIMIZERS[optimizer]()


def __dir__() -> list[str]:
    return names_of(globals())
