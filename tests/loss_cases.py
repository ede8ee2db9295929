"""One row per public loss and metric: the object, targets, and its formula in NumPy float64. A new one needs a row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import hawfinch as hf

RNG = np.random.default_rng(11)
Z = RNG.normal(size=(40, 5)) * 3  # predictions
LABELS = RNG.integers(0, 5, 40)
REAL = RNG.normal(size=(40, 5))
BITS = RNG.integers(0, 2, (40, 5)).astype(np.float64)
SHARES = RNG.dirichlet(np.ones(5), 40)

Rows = Callable[[np.ndarray, np.ndarray], np.ndarray]


class LossCase(NamedTuple):
    loss: Any
    target: np.ndarray
    formula: Rows  # (prediction, target) -> one value per row


class MetricCase(NamedTuple):
    metric: Any
    loss: Any  # beside it
    target: np.ndarray
    formula: Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # (prediction, target, weights of the rows)


def log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def cross_entropy(z: np.ndarray, t: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    share = np.eye(z.shape[1])[t] if t.ndim == 1 else t
    share = (1 - smoothing) * share + smoothing / z.shape[1]
    return -(share * log_softmax(z)).sum(1)


def huber(d: np.ndarray, delta: float) -> np.ndarray:
    return np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2)).mean(1)


def bce(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (np.logaddexp(0, z) - z * t).mean(1)


LOSS_CASES: dict[str, LossCase] = {
    "labels": LossCase(hf.SoftmaxCrossEntropy(), LABELS, cross_entropy),
    "smooth labels": LossCase(
        hf.SoftmaxCrossEntropy(label_smoothing=0.1), LABELS, lambda z, t: cross_entropy(z, t, 0.1)
    ),
    "shares": LossCase(hf.SoftmaxCrossEntropy(), SHARES, cross_entropy),
    "smooth shares": LossCase(
        hf.SoftmaxCrossEntropy(label_smoothing=0.3), SHARES, lambda z, t: cross_entropy(z, t, 0.3)
    ),
    "bce": LossCase(hf.BCEWithLogits(), BITS, bce),
    "bce shares": LossCase(hf.BCEWithLogits(), SHARES, bce),
    "mse": LossCase(hf.MSE(), REAL, lambda z, t: ((z - t) ** 2).mean(1)),
    "mae": LossCase(hf.MAE(), REAL, lambda z, t: np.abs(z - t).mean(1)),
    "huber": LossCase(hf.Huber(), REAL, lambda z, t: huber(z - t, 1.0)),
    "huber 0.3": LossCase(hf.Huber(0.3), REAL, lambda z, t: huber(z - t, 0.3)),
    "own": LossCase(lambda p, t: hf.ops.abs(p - t) ** 3, REAL, lambda z, t: (np.abs(z - t) ** 3).mean(1)),
}


def mean(rows: Rows) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    return lambda z, t, w: float((w * rows(z, t)).sum() / w.sum())


def f1(predicted: np.ndarray, actual: np.ndarray, w: np.ndarray) -> float:
    """(rows, classes) of 0 and 1."""
    scores = []
    for p, a in zip(predicted.T, actual.T, strict=True):
        hits, wrong, missed = (w * p * a).sum(), (w * p * (1 - a)).sum(), (w * (1 - p) * a).sum()
        if hits + wrong + missed:
            scores.append(2 * hits / (2 * hits + wrong + missed))
    return float(np.mean(scores))


def r2(z: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    centre = np.average(t, 0, w)
    return float(np.mean(1 - (w[:, None] * (z - t) ** 2).sum(0) / (w[:, None] * (t - centre) ** 2).sum(0)))


CE, BCE = "softmax_cross_entropy", "bce_with_logits"
METRIC_CASES: dict[str, MetricCase] = {
    "accuracy of labels": MetricCase("accuracy", CE, LABELS, mean(lambda z, t: z.argmax(1) == t)),
    "accuracy of bits": MetricCase("accuracy", BCE, BITS, mean(lambda z, t: ((z > 0) == (t > 0.5)).mean(1))),
    "f1 of labels": MetricCase("f1", CE, LABELS, lambda z, t, w: f1(np.eye(5)[z.argmax(1)], np.eye(5)[t], w)),
    "f1 of few labels": MetricCase("f1", CE, LABELS % 3, lambda z, t, w: f1(np.eye(5)[z.argmax(1)], np.eye(5)[t], w)),
    "f1 of bits": MetricCase("f1", BCE, BITS, lambda z, t, w: f1(z > 0, t, w)),
    "r2": MetricCase("r2", "mse", REAL + 3, r2),
    "mse": MetricCase("mse", "mae", REAL, mean(lambda z, t: ((z - t) ** 2).mean(1))),
    "mae": MetricCase("mae", "mse", REAL, mean(lambda z, t: np.abs(z - t).mean(1))),
    "own": MetricCase(lambda p, t: p - t, "mse", REAL, mean(lambda z, t: (z - t).mean(1))),
}
