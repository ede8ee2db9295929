"""Schedules: values that change from step to step. Any hyperparameter of an optimiser takes one in place of its number.

Design: a schedule is a value, and ``at(steps, total)`` a function of the steps alone, asked once per epoch for all of
its steps; C reads the results from an array. What a schedule has to remember (Plateau) is kept by the trainer and
handed in, so that a run can be resumed and two trainers can share one. Only additions, products, quotients and changes
of the exponent are used (exact.py), which give the same bits on every machine; NumPy's exp, cos and power do not.
Rejected: schedule objects with a ``step()`` that count by themselves.

``steps`` count from the beginning of the ``fit``, which a schedule spans; ``total`` is its number of steps. Numbers of
steps may be given as a part of what the schedule spans where that is said: 0.1 is its tenth.
"""

from ..values import names_of
from .base import Chain, Constant, Product, Scaled, Schedule
from .checks import Number as Number, as_number as as_number, check_number as check_number, check_values as check_values
from .curves import Exponential, InverseTime, MultiStep, Polynomial, Step
from .plateau import Plateau
from .waves import Cosine, CosineRestarts, CosLog4, FlatCosine, OneCycle

__all__ = [
    "Chain",
    "Constant",
    "CosLog4",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "FlatCosine",
    "InverseTime",
    "MultiStep",
    "OneCycle",
    "Plateau",
    "Polynomial",
    "Product",
    "Scaled",
    "Schedule",
    "Step",
]


def __dir__() -> list[str]:
    return names_of(globals())
