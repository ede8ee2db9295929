"""Constraints: where parameters may be, by pattern of their names: ``Trainer(constraints={"*.weight":
hf.MaxNorm(3.0)})``.

Design: a constraint is a traced function of a parameter and of numbers, applied after each update; the numbers are
columns, so that changing one makes no new plan. Rejected: a kernel for each constraint.
"""

from __future__ import annotations

from typing import Any

from . import ops
from .errors import ArgumentError
from .ir import Tensor
from .schedules import Number, check_number
from .values import Value, content, names_of

__all__ = ["Constraint", "MaxNorm", "NonNegative", "UnitNorm"]


class Constraint(Value):
    """Base. ``numbers``: by name, each a number or a schedule; ``apply(p, *numbers)`` gives the parameter as it may be,
    in traced ops.

    >>> import hawfinch as hf
    >>> class AtMostOne(hf.Constraint):
    ...     def apply(self, p):
    ...         return hf.ops.clip(p, -1.0, 1.0)
    >>> model = hf.Sequential(hf.Linear(2)).build((3,))
    >>> trainer = hf.Trainer(model, "mse", hf.SGD(1.0), constraints={"*": AtMostOne()})
    >>> loss = trainer.step([[1.0, 2.0, 3.0]], [[9.0, 9.0]])
    >>> float(model.parameters()["0.weight"].max())
    1.0
    """

    @property
    def numbers(self) -> dict[str, Any]:
        """What ``apply`` takes besides the parameter, by name."""
        return {}

    @property
    def signature(self) -> tuple[Any, ...]:
        """What a plan with it depends on: all but the numbers."""
        options = [(k, content(v)) for k, v in vars(self).items() if k not in self.numbers and not k.startswith("_")]
        return (type(self), *options)

    def apply(self, p: Tensor, *numbers: Tensor) -> Tensor:
        """The parameter as it may be, of the same shape."""
        raise ArgumentError(f"{type(self).__name__} defines no apply(p, *numbers)")


def _squares(p: Tensor) -> Tensor:
    """The sum of squares of each output unit's weights."""
    return ops.sum(p * p, 0, keepdims=True) if p.shape else p * p


class MaxNorm(Constraint):
    """The weights of each output unit have a Euclidean norm of at most ``limit``; longer ones are scaled down to it.

    The norm is over axis 0 of (in, out), as Keras' ``max_norm`` has it; a vector is taken as a whole. limit: a number
    >= 0 or a schedule. Srebro, Shraibman, COLT 2005; Srivastava et al., JMLR 15, 2014.

    >>> import hawfinch as hf, numpy as np
    >>> model = hf.Sequential(hf.Linear(5)).build((3,))
    >>> trainer = hf.Trainer(model, "mse", hf.SGD(1.0), constraints={"*.weight": hf.MaxNorm(0.5)})
    >>> loss = trainer.step(np.ones((2, 3)), 10 * np.ones((2, 5)))
    >>> np.linalg.norm(model.parameters()["0.weight"], axis=0).round(4).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5]
    """

    def __init__(self, limit: Number):
        self.limit = check_number("MaxNorm", "limit", limit)

    @property
    def numbers(self) -> dict[str, Any]:
        return {"limit": self.limit}

    def apply(self, p: Tensor, *numbers: Tensor) -> Tensor:
        norm = ops.sqrt(_squares(p))
        return p * ops.where(ops.greater(norm, numbers[0]), numbers[0] / norm, 1.0)


class NonNegative(Constraint):
    """Every number is at least 0: what is below becomes 0 after each update, as Keras' ``NonNeg`` has it. For weights
    that are amounts or rates, and for models that may not fall where an input rises.

    >>> import hawfinch as hf
    >>> model = hf.Sequential(hf.Linear(2)).build((3,))
    >>> trainer = hf.Trainer(model, "mse", constraints={"*.weight": hf.NonNegative()})
    >>> loss = trainer.step([[1.0, 2.0, 3.0]], [[0.0, 0.0]])
    >>> bool(model.parameters()["0.weight"].min() >= 0)
    True
    """

    def apply(self, p: Tensor, *numbers: Tensor) -> Tensor:
        return ops.relu(p)


class UnitNorm(Constraint):
    """The weights of each output unit have the Euclidean norm 1, as Keras' ``UnitNorm`` has it: only their direction is
    learnt. The norm is over axis 0 of (in, out), as ``MaxNorm``'s; a vector is taken as a whole. Zeros stay zeros.

    >>> import hawfinch as hf, numpy as np
    >>> model = hf.Sequential(hf.Linear(5)).build((3,))
    >>> trainer = hf.Trainer(model, "mse", constraints={"*.weight": hf.UnitNorm()})
    >>> loss = trainer.step(np.ones((2, 3)), np.ones((2, 5)))
    >>> np.linalg.norm(model.parameters()["0.weight"], axis=0).round(4).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def apply(self, p: Tensor, *numbers: Tensor) -> Tensor:
        norm = ops.sqrt(_squares(p))
        return p / ops.where(ops.greater(norm, 0.0), norm, 1.0)


def __dir__() -> list[str]:
    return names_of(globals())
