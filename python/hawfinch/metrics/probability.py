"""Metrics of probabilities: softmax of logits with integer labels, else sigmoid of each output.

They raise ArgumentError beside losses that give none, such as ``Hinge``, and those without classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..ir import Array, Tensor
from ..losses.classes import columns, one_hot
from ..values import check_whole
from .base import BoundMetric, mean_of
from .classes import hits


class LogLoss(BoundMetric, name="log_loss"):
    """The mean of -log p of what is true: the cross-entropy without smoothing, focus or class weights.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["log_loss"])
    >>> round(trainer.evaluate(np.zeros((3, 2)), [0, 1, 1])["log_loss"], 4)  # log 2
    0.6931
    """

    larger_is_better = False

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        loss = self.classes
        loss.probabilities(prediction, target)  # raises where there are none
        if loss.is_one_of_many(prediction, target):
            values = ops.reshape(ops.softmax_cross_entropy(prediction, target), (prediction.shape[0], 1))
        else:
            values = columns(ops.softplus(prediction) - prediction * target)
        return self.mean_sums(values, target, weight)

    def finalise(self, sums: Array) -> float:
        return mean_of(sums)


class Brier(BoundMetric, name="brier"):
    """The mean of (p - t)**2, p the probability of yes and t 0 or 1; of labels the sum over the classes, halved where
    there are two, so that they agree with one output. As scikit-learn's brier_score_loss. Brier, 1950.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["brier"])
    >>> trainer.evaluate(np.zeros((3, 2)), [0, 1, 1])["brier"]
    0.25
    """

    larger_is_better = False

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        p = self.classes.probabilities(prediction, target)
        if not self.classes.is_one_of_many(prediction, target):
            return self.mean_sums(ops.square(p - columns(target)), target, weight)
        each = ops.sum(ops.square(p - one_hot(target, prediction)), 1, True)
        return self.mean_sums(each * 0.5 if p.shape[1] == 2 else each, target, weight)

    def finalise(self, sums: Array) -> float:
        return mean_of(sums)


class CalibrationError(BoundMetric, name="calibration_error"):
    """sum_b n_b / n |accuracy of bin b - mean confidence of bin b| over bins of equal width, (b - 1, b] / bins: ECE.

    The confidence is the probability of the answer: the largest of softmax, or of sigmoid(x) and 1 - sigmoid(x), of all
    outputs together. bins: default 15. Naeini, Cooper, Hauskrecht, AAAI 2015; Guo and others, ICML 2017.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["calibration_error"])
    >>> trainer.evaluate(np.zeros((4, 2)), [0, 1, 1, 1])["calibration_error"]  # sure by a half, right in a quarter
    0.25
    """

    larger_is_better = False

    def __init__(self, bins: int = 15):
        self.bins = check_whole(bins, "CalibrationError: bins", 1)

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        if self.classes.is_one_of_many(prediction, target):
            sure = ops.max(self.classes.probabilities(prediction, target), 1, True)
        else:
            p = self.classes.probabilities(prediction, target)
            sure = ops.maximum(p, 1.0 - p)
        right, seen = hits(self, prediction, target), self.seen(target)
        if seen is not None:
            sure, right = sure * seen, right * seen  # a confidence of 0 is in no bin
        edges = np.arange(self.bins + 1) / self.bins
        at = ops.reshape(sure, (*sure.shape, 1))
        inside = ops.where(ops.greater(at, edges[:-1]), ops.less_equal(at, edges[1:]), 0.0)
        if weight is not None and weight.ndim == 2:
            inside, weight = inside * ops.reshape(weight, at.shape), None
        found = (inside, inside * at, inside * ops.reshape(right, at.shape))
        return [self.total(ops.sum(v, 1), weight) for v in found]

    def finalise(self, sums: Array) -> float:
        count, sure, right = sums.reshape(3, -1)
        return float(np.abs(right - sure).sum() / count.sum()) if count.sum() else float("nan")
