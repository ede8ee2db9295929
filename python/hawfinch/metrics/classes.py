"""Metrics of decisions: which class is the answer.

Beside a loss of integer labels the largest output is the answer, of equal ones the first. Where each output is a class
of its own (``BCEWithLogits``, ``Focal``, ``Hinge``), an output > 0 says yes. All are exact over an epoch, with any
weights. They raise ArgumentError beside losses without classes and for targets that are probabilities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, unknown_name
from ..ir import Array, Tensor
from ..losses.classes import columns, one_hot
from ..values import check_whole, is_word
from .base import BoundMetric, Metric, mean_of


class Accuracy(BoundMetric, name="accuracy"):
    """The share of what is right. Of equal outputs the first is the answer.

    With integer labels the largest output is the class, and the share is over rows; where each output is a class of its
    own, an output > 0 says yes, and the share is over all outputs. Raises ArgumentError beside other losses and for
    targets that are probabilities.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["accuracy"])
    >>> trainer.evaluate(np.zeros((4, 3)), [0, 0, 0, 1])["accuracy"]
    0.75
    """

    larger_is_better = True

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        return self.mean_sums(hits(self, prediction, target), target, weight)

    def finalise(self, sums: Array) -> float:
        return mean_of(sums)


def hits(metric: BoundMetric, prediction: Tensor, target: Tensor) -> Tensor:
    """1 where the answer is right, else 0: (rows, 1) or (rows, outputs)."""
    loss = metric.classes
    if loss.is_one_of_many(prediction, target):
        return ops.reshape(ops.correct(prediction, target), (prediction.shape[0], 1))
    loss.check_labels(prediction, target)
    right = ops.equal(ops.greater(prediction, 0.0), loss.positive(target))
    return columns(ops.where(right, 1.0, 0.0))


class TopKAccuracy(BoundMetric, name="top_k_accuracy"):
    """The share of rows whose label is among the k (default 5) largest outputs; of equal ones the first count as
    larger. Its name is "top_5_accuracy", or with another number, by which it can be asked for too. Raises
    ArgumentError beside losses without integer labels, and for a k that is no less than the number of classes.

    >>> import hawfinch as hf, numpy as np
    >>> metric = hf.metrics.TopKAccuracy(2)
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=[metric])
    >>> trainer.evaluate(np.array([[3.0, 2.0, 1.0]] * 3), [0, 1, 2])["top_2_accuracy"].__round__(4)
    0.6667
    """

    larger_is_better = True

    def __init__(self, k: int = 5):
        self.k = check_whole(k, "TopKAccuracy: k", 1)
        self.name = f"top_{self.k}_accuracy"

    @classmethod
    def from_name(cls, name: str) -> Metric | None:
        """The metric that goes by this name, with the option in it; None: none of this class."""
        k = name.removeprefix("top_").removesuffix("_accuracy")
        return cls(int(k)) if k.isdecimal() and name == f"top_{k}_accuracy" else None

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        if not self.classes.is_one_of_many(prediction, target):
            raise ArgumentError("it needs integer labels, one class a row")
        classes = prediction.shape[1]
        assert isinstance(classes, int)
        if self.k >= classes:
            raise ArgumentError(f"the label is always among the first {self.k} of {classes} outputs: take a smaller k")
        mine = one_hot(target, prediction)
        score = ops.sum(ops.where(mine, prediction, 0.0), 1, True)
        numbers = np.arange(classes, dtype=np.float64)[None, :]
        earlier = ops.less(numbers, ops.reshape(ops.to_real(target), (target.shape[0], 1)))
        ahead = ops.where(earlier, ops.greater_equal(prediction, score), ops.greater(prediction, score))
        within = ops.less(ops.sum(ahead, 1, True), float(self.k))
        return self.mean_sums(ops.where(within, 1.0, 0.0), target, weight)

    def finalise(self, sums: Array) -> float:
        return mean_of(sums)


def class_counts(metric: BoundMetric, prediction: Tensor, target: Tensor, weight: Tensor | None) -> list[Tensor]:
    """Predicted and true; predicted; true; all: sums of weights, each (classes,)."""
    predicted, actual = metric.classes.decisions(prediction, target)
    seen = metric.seen(target)
    if seen is not None:
        predicted = predicted * seen
    total, count = metric.mean_sums(predicted, target, weight)
    return [metric.total(predicted * actual, weight), total, metric.total(actual, weight), count]


class _Averaged(BoundMetric):
    """Base of metrics of each class, averaged."""

    larger_is_better = True

    def __init__(self, average: str | None = "macro"):
        kinds = ["macro", "micro", "weighted", "binary"]
        if average is not None and not is_word(average, *kinds):
            raise unknown_name(f"{type(self).__name__}: average", str(average), kinds)
        self.average = average
        if average != "macro":
            self.name = f"{type(self).name}_{'each' if average is None else average}"

    @classmethod
    def from_name(cls, name: str) -> Metric | None:
        """The metric that goes by this name, with the option in it; None: none of this class."""
        kind, _, average = name.rpartition("_")
        if kind != cls.name or average not in ("macro", "micro", "weighted", "binary", "each"):
            return None
        return cls(None if average == "each" else average)

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        found = class_counts(self, prediction, target, weight)[:3]
        n = found[0].shape[0]
        assert isinstance(n, int)
        if self.average == "binary" and n > 1 + self.classes.is_one_of_many(prediction, target):
            raise ArgumentError(f"average='binary' needs two classes, but there are {n}; take 'macro'")
        return found

    def finalise(self, sums: Array) -> float | Array:
        hits, predicted, actual = sums.reshape(3, -1)
        if self.average == "binary":
            hits, predicted, actual = hits[-1:], predicted[-1:], actual[-1:]
        if self.average == "micro":
            hits, predicted, actual = (v.sum(keepdims=True) for v in (hits, predicted, actual))
        occurs = predicted + actual > 0
        above, below = self._ratio(hits, predicted, actual)
        each = np.where(occurs, above / np.where(below > 0, below, 1.0), np.nan)
        if self.average is None:
            return each
        if not occurs.any():
            return float("nan")
        if self.average == "weighted":
            return float(np.average(each[occurs], weights=actual[occurs])) if actual.any() else 0.0
        return float(each[occurs].mean())

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        raise NotImplementedError


class Precision(_Averaged, name="precision"):
    """TP / (TP + FP) of each class, averaged: of what is predicted, the share that is true; 0 where nothing is.

    average: "macro" (default): the mean over the classes that occur, predicted or true; "weighted": by how often they
    are true; "micro": of the counts of all classes together; "binary": of the last of two classes, or of the one
    output; None: an array, a number for each class (NaN for one that does not occur). In the history the name is
    "precision", or with the kind behind it, "precision_micro" ("precision_each" for None), by which it can be asked for
    too. scikit-learn counts a class of labels that does not
    occur as 0 in a macro average where outputs are classes of their own; here it is left out.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["precision"])
    >>> trainer.evaluate(np.eye(3)[[0, 0, 1, 2]], [0, 1, 1, 2])["precision"].__round__(4)  # 1/2, 1, 1
    0.8333
    """

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        return hits, predicted


class Recall(_Averaged, name="recall"):
    """TP / (TP + FN) of each class, averaged as ``Precision``: of what is true, the share that is found.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["recall"])
    >>> trainer.evaluate(np.eye(3)[[0, 0, 1, 2]], [0, 1, 1, 2])["recall"].__round__(4)  # 1, 1/2, 1
    0.8333
    """

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        return hits, actual


class F1(_Averaged, name="f1"):
    """2 TP / (2 TP + FP + FN) of each class, averaged as ``Precision``: the harmonic mean of precision and recall.

    Exact over an epoch, with any weights. van Rijsbergen, Information Retrieval, 1979.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["f1"])
    >>> round(trainer.evaluate(np.eye(3)[[0, 0, 1, 2]], [0, 1, 1, 2])["f1"], 4)  # of the classes: 2/3, 2/3, 1
    0.7778
    """

    def _ratio(self, hits: Array, predicted: Array, actual: Array) -> tuple[Array, Array]:
        return 2 * hits, predicted + actual


class BalancedAccuracy(BoundMetric, name="balanced_accuracy"):
    """The mean over the classes that are true somewhere of the share of their rows that is right.

    Of an output that is a class of its own, yes and no are two classes.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["balanced_accuracy"])
    >>> trainer.evaluate(np.eye(2)[[0, 0, 0, 0]], [0, 0, 0, 1])["balanced_accuracy"]
    0.5
    """

    larger_is_better = True

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        hits, predicted, actual, rows = class_counts(self, prediction, target, weight)
        if self.classes.is_one_of_many(prediction, target):
            return [hits, actual]
        return [hits, rows - predicted - actual + hits, actual, rows - actual]

    def finalise(self, sums: Array) -> float:
        right, actual = sums.reshape(2, -1)
        occurs = actual > 0
        return float((right[occurs] / actual[occurs]).mean()) if occurs.any() else float("nan")


class ConfusionMatrix(BoundMetric, name="confusion_matrix"):
    """Counts (sums of weights) of rows by class, an array: [i, j] of class i that are predicted as j.

    Integer labels: (classes, classes). One output that is a class of its own: (2, 2), no and yes. The history has an
    array for each epoch. Raises ArgumentError for several outputs that are classes of their own.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "softmax_cross_entropy", metrics=["confusion_matrix"])
    >>> trainer.evaluate(np.eye(2)[[0, 0, 1, 1]], [0, 1, 1, 1])["confusion_matrix"]
    array([[1., 0.],
           [1., 2.]])
    """

    def sums(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Any:
        loss = self.classes
        if not loss.is_one_of_many(prediction, target):
            hits, predicted, actual, rows = class_counts(self, prediction, target, weight)
            if hits.shape != (1,):
                raise ArgumentError(
                    f"there are {hits.shape[0]} outputs, each a class of its own; ask for precision and recall with "
                    "average=None"
                )
            return [rows - predicted - actual + hits, predicted - hits, actual - hits, hits]
        predicted, actual = loss.decisions(prediction, target)
        if weight is not None:
            actual = actual * weight[:, None]
        return ops.reshape(ops.matmul(ops.transpose(actual), predicted), (-1,))

    def finalise(self, sums: Array) -> Array:
        n = round(len(sums) ** 0.5)
        return sums.reshape(n, n).copy()
