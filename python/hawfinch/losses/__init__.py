"""Losses: each gives one number per row; the trainer takes their (weighted) mean.

A loss is also any function ``f(prediction, target)`` of traced values that gives (rows,) or (rows, ...), and a weighted
sum of losses, ``0.5 * hf.MSE() + hf.MAE()``.

Design: a loss is an immutable value (``values.Value``): two with the same settings share a plan, and a changed one
can't train on an old one. Its name is given where its class is, so that no list of names can fall behind. It gives a
row's mean over what is observed in it and, where targets may be missing, the row's count, so that the trainer divides
by the count of the whole batch. Rejected: a table of names, losses that may be changed in place, and a ``reduction=``
option: a loss that has added up its rows can be neither weighted nor masked nor summed over an epoch.
"""

from ..values import names_of
from .base import (
    LOSSES as LOSSES,
    ClassWeight as ClassWeight,
    ElementLoss as ElementLoss,
    FunctionLoss as FunctionLoss,
    Loss as Loss,
    LossSum as LossSum,
    get_loss as get_loss,
    per_row as per_row,
)
from .classes import ClassLoss as ClassLoss
from .cross_entropy import (
    BCEWithLogits as BCEWithLogits,
    Focal as Focal,
    KLDivergence as KLDivergence,
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
)
from .embedding import Contrastive as Contrastive, Triplet as Triplet
from .margin import Hinge as Hinge, PerceptronLoss as PerceptronLoss
from .regression import (
    MAE as MAE,
    MSE as MSE,
    GaussianNLL as GaussianNLL,
    Huber as Huber,
    LogCosh as LogCosh,
    Poisson as Poisson,
    Quantile as Quantile,
)

__all__ = [
    "MAE",
    "MSE",
    "BCEWithLogits",
    "Contrastive",
    "Focal",
    "GaussianNLL",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "PerceptronLoss",
    "Poisson",
    "Quantile",
    "SoftmaxCrossEntropy",
    "Triplet",
]


def __dir__() -> list[str]:
    return names_of(globals())
