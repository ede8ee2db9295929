"""Metrics: computed inside the training step, from sums over rows that C adds up over an epoch.

A metric is (sums of a batch, a function of the total sums), so that F1 and R2 of an epoch are exact, not means over
batches. A plain function ``f(prediction, target)`` of traced values that gives one value per row is taken as its mean.
What no sums can give, such as the area under a ROC curve, keeps some numbers of each row (``RowMetric``): C stores them
beside each other, and the metric is worked out at the end of the epoch.

Design: as losses, metrics are immutable values with the name where the class is. What is a hit, a class, a probability
follows from the loss, which they are bound to, so that none has to be told. Rejected: metrics that see all predictions
at the end of an epoch: their memory grows with the rows, and they would cost another pass; histograms of scores, which
make an area under a curve inexact.
"""

from ..values import names_of
from .base import (
    METRICS as METRICS,
    FunctionMetric as FunctionMetric,
    MeanMetric as MeanMetric,
    Metric as Metric,
    RowMetric as RowMetric,
    get_metrics as get_metrics,
)
from .classes import (
    F1 as F1,
    Accuracy as Accuracy,
    BalancedAccuracy as BalancedAccuracy,
    ConfusionMatrix as ConfusionMatrix,
    Precision as Precision,
    Recall as Recall,
    TopKAccuracy as TopKAccuracy,
)
from .probability import Brier as Brier, CalibrationError as CalibrationError, LogLoss as LogLoss
from .ranking import ROCAUC as ROCAUC, AveragePrecision as AveragePrecision
from .regression import (
    MAPE as MAPE,
    R2 as R2,
    RMSE as RMSE,
    MeanAbsoluteError as MeanAbsoluteError,
    MeanSquaredError as MeanSquaredError,
)


def __dir__() -> list[str]:
    return names_of(globals())
