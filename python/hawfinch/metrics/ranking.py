"""Metrics of the order of scores: exact, from all rows of an epoch.

They keep, in the model's dtype, the scores and the class of every row: (classes + 1) numbers a row with integer labels,
else 2 for each output; 8 bytes a row for one output in float32. With a million rows of ten classes that is 44 MB.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..errors import unknown_name
from ..ir import Array, Tensor
from ..losses.classes import columns
from ..values import is_word
from .base import BoundMetric, Metric, RowMetric

FIRST_LABEL = 2  # a kept label is its number + 2, so that it is told from 0, 1 and -1 of outputs that are classes


class _Ranking(BoundMetric, RowMetric):
    """Base of metrics of each class, from scores against all others, averaged over the classes."""

    larger_is_better = True

    def __init__(self, average: str = "macro"):
        if not is_word(average, "macro", "weighted"):
            raise unknown_name(f"{type(self).__name__}: average", str(average), ["macro", "weighted"])
        self.average = average
        if average != "macro":
            self.name = f"{type(self).name}_{average}"

    @classmethod
    def from_name(cls, name: str) -> Metric | None:
        """The metric that goes by this name, with the option in it; None: none of this class."""
        kind, _, average = name.rpartition("_")
        return cls(average) if kind == cls.name and average in ("macro", "weighted") else None

    def keep(self, prediction: Tensor, target: Tensor) -> Tensor:
        loss = self.classes
        scores = loss.scores(prediction, target)
        if loss.is_one_of_many(prediction, target):
            label = ops.reshape(ops.to_real(target), (target.shape[0], 1))
            if scores.shape[1] == 2:
                return ops.concat([scores[:, 1:], label], 1)
            return ops.concat([scores, label + float(FIRST_LABEL)], 1)
        loss.check_labels(prediction, target)
        actual, seen = columns(ops.where(loss.positive(target), 1.0, 0.0)), self.seen(target)
        return ops.concat([scores, actual if seen is None else ops.where(seen, actual, -1.0)], 1)

    def finalise_rows(self, rows: Array, weight: Array | None) -> float:
        found, shares = [], []
        for score, actual in _one_against_all(rows.astype(np.float64)):
            w = np.ones(len(score)) if weight is None else weight.astype(np.float64)
            seen = actual >= 0
            curve = _Curve(score[seen], actual[seen] > 0, w[seen])
            if curve.yes[-1] > 0 and curve.no[-1] > 0:
                found.append(self._of_curve(curve))
                shares.append(curve.yes[-1])
        if not found:
            return float("nan")
        return float(np.average(found, weights=shares if self.average == "weighted" else None))

    def _of_curve(self, curve: _Curve) -> float:
        raise NotImplementedError


def _one_against_all(rows: Array) -> list[tuple[Array, Array]]:
    """(scores, 1 or 0 or -1 for missing) of each class."""
    last = rows[:, -1]
    if len(last) and last.min() >= FIRST_LABEL:
        return [(rows[:, c], (last == c + FIRST_LABEL).astype(np.float64)) for c in range(rows.shape[1] - 1)]
    n = rows.shape[1] // 2
    return [(rows[:, c], rows[:, n + c]) for c in range(n)]


class _Curve:
    """yes, no: the weights of rows that are and are not of the class, with a score of at least each threshold, in
    falling order from 0 on; rows of equal scores come together."""

    def __init__(self, score: Array, actual: Array, weight: Array):
        order = np.argsort(-score, kind="stable")
        score, actual, weight = score[order], actual[order], weight[order]
        last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)[: len(score)]
        self.yes = np.append(0.0, np.cumsum(weight * actual)[last])
        self.no = np.append(0.0, np.cumsum(weight * ~actual)[last])


class ROCAUC(_Ranking, name="roc_auc"):
    """The area under the ROC curve, exact: the chance that a row of the class has a larger score than one that is not
    of it, ties counting a half, with any weights.

    Of two classes by labels, and of one output, a number; of more classes each against the rest, by the probabilities
    of softmax (``Hinge``: by the outputs), and the mean over the classes that some rows are of and some are not;
    average: "macro" (default), or "weighted" by how often they are true. Keeps rows in memory (see this module).

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.Tanh()), "bce_with_logits", metrics=["roc_auc"])
    >>> trainer.evaluate([[0.1], [0.4], [0.35], [0.8]], [[0.0], [0.0], [1.0], [1.0]])["roc_auc"]
    0.75
    """

    def _of_curve(self, curve: _Curve) -> float:
        yes, no = curve.yes, curve.no
        return float((np.diff(no) * (yes[1:] + yes[:-1])).sum() / (2 * yes[-1] * no[-1]))


class AveragePrecision(_Ranking, name="average_precision"):
    """sum_k (recall_k - recall_k-1) precision_k over all thresholds: the area under the curve of precision over
    recall, by steps, as scikit-learn's average_precision_score. Classes, average and memory as in ``ROCAUC``.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.Tanh()), "bce_with_logits", metrics=["average_precision"])
    >>> found = trainer.evaluate([[0.1], [0.4], [0.35], [0.8]], [[0.0], [0.0], [1.0], [1.0]])
    >>> round(found["average_precision"], 4)
    0.8333
    """

    def _of_curve(self, curve: _Curve) -> float:
        yes, no = curve.yes[1:], curve.no[1:]
        return float((np.diff(curve.yes) * yes / np.maximum(yes + no, np.finfo(np.float64).tiny)).sum() / yes[-1])
