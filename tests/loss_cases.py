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

COUNTS = RNG.poisson(3.0, (40, 5)).astype(np.float64)
SIGNS = BITS * 2 - 1
COLUMN = RNG.normal(size=40)
HALVES = RNG.normal(size=(40, 3))
EIGHT = RNG.normal(size=(40, 6))
EIGHT[:, 3:] = np.abs(EIGHT[:, 3:]) + 0.2
PAIRS = RNG.normal(size=(40, 6))
TOGETHER = RNG.integers(0, 2, 40)
TRIPLETS = RNG.normal(size=(40, 9))
GAPS = RNG.random((40, 5)) < 0.3
MISSING = np.where(GAPS, np.nan, REAL)
MISSING_BITS = np.where(GAPS, np.nan, BITS)
MISSING_COUNTS = np.where(GAPS, np.nan, COUNTS)

Rows = Callable[[np.ndarray, Any], np.ndarray]


class LossCase(NamedTuple):
    loss: Any
    target: Any
    formula: Rows  # (prediction, target) -> one value per row
    prediction: np.ndarray = Z
    shape: tuple[int, ...] | None = None  # of a row of the output, where it is not that of the prediction
    counts: Rows | None = None  # each row's share that is not missing; the formula is then the row's sum over its size


class MetricCase(NamedTuple):
    metric: Any
    loss: Any  # beside it
    target: np.ndarray
    formula: Callable[[np.ndarray, np.ndarray, np.ndarray], Any]  # (prediction, target, weights of the rows)


def log_softmax(z: np.ndarray) -> np.ndarray:
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def cross_entropy(z: np.ndarray, t: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    share = np.eye(z.shape[1])[t] if t.ndim == 1 else t
    share = (1 - smoothing) * share + smoothing / z.shape[1]
    return -(share * log_softmax(z)).sum(1)


def huber(d: np.ndarray, delta: float) -> np.ndarray:
    return np.where(np.abs(d) <= delta, d * d / 2, delta * (np.abs(d) - delta / 2)).mean(1)


def bce(z: np.ndarray, t: np.ndarray, yes: Any = 1.0) -> np.ndarray:
    return (t * yes * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)).mean(1)


def pinball(z: np.ndarray, t: np.ndarray, q: Any) -> np.ndarray:
    e = t - z
    return np.maximum(q * e, (q - 1) * e).mean(1)


def focal(z: np.ndarray, t: np.ndarray, gamma: float, alpha: float | None = None) -> np.ndarray:
    p = sigmoid(z)
    right = np.where(t == 1, p, 1 - p)
    weight = 1.0 if alpha is None else np.where(t == 1, alpha, 1 - alpha)
    return (-weight * (1 - right) ** gamma * np.log(right)).mean(1)


def focal_labels(z: np.ndarray, t: np.ndarray, gamma: float) -> np.ndarray:
    log_p = log_softmax(z)[np.arange(len(t)), t]
    return -((1 - np.exp(log_p)) ** gamma) * log_p


def kl(log_q: np.ndarray, p: np.ndarray) -> np.ndarray:
    return (p * (np.log(p) - log_q)).sum(1)


def poisson(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (np.exp(z) - t * z).mean(1)


def stirling(t: np.ndarray) -> np.ndarray:
    some = np.maximum(t, 1)
    return np.where(t > 1, some * np.log(some) - some + np.log(2 * np.pi * some) / 2, 0).mean(1)


def gaussian(mean: np.ndarray, v: np.ndarray, t: np.ndarray) -> np.ndarray:
    return ((np.log(v) + (mean - t) ** 2 / v) / 2).mean(1)


def others(z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The right score (rows, 1), and all others (rows, classes - 1)."""
    right = np.eye(z.shape[1], dtype=bool)[t]
    return z[right][:, None], z[~right].reshape(len(z), -1)


def hinge(z: np.ndarray, t: np.ndarray, margin: float = 1.0, power: int = 1) -> np.ndarray:
    return (np.maximum(0, margin - t * z) ** power).mean(1)


def crammer_singer(z: np.ndarray, t: np.ndarray, margin: float = 1.0, power: int = 1) -> np.ndarray:
    right, rest = others(z, t)
    return np.maximum(0, margin + rest.max(1) - right[:, 0]) ** power


def multi_margin(z: np.ndarray, t: np.ndarray, power: int) -> np.ndarray:
    right, rest = others(z, t)
    return (np.maximum(0, 1 - right + rest) ** power).sum(1) / z.shape[1]


def distance(a: np.ndarray, b: np.ndarray, p: float = 2) -> np.ndarray:
    return (np.abs(a - b + 1e-6) ** p).sum(1) ** (1 / p)


def contrastive(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    d = distance(z[:, :3], z[:, 3:])
    return np.where(t == 1, d**2, np.maximum(0, 2 - d) ** 2) / 2


def triplet(z: np.ndarray, p: float = 2, swap: bool = False) -> np.ndarray:
    a, b, c = z[:, :3], z[:, 3:6], z[:, 6:]
    far = np.minimum(distance(a, c, p), distance(b, c, p)) if swap else distance(a, c, p)
    return np.maximum(0, distance(a, b, p) - far + 1)


def seen(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (~np.isnan(t)).mean(1)


def masked(each: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Rows:
    """A row's sum of what is not missing, over the row's size."""
    return lambda z, t: np.where(np.isnan(t), 0, each(z, np.where(np.isnan(t), 1.0, t))).mean(1)


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
    "smooth bce": LossCase(hf.BCEWithLogits(label_smoothing=0.2), BITS, lambda z, t: bce(z, t * 0.8 + 0.1)),
    "bce with pos_weight": LossCase(hf.BCEWithLogits(pos_weight=3.0), BITS, lambda z, t: bce(z, t, 3.0)),
    "bce with pos_weights": LossCase(
        hf.BCEWithLogits(pos_weight=[1, 2, 3, 4, 0.5]), BITS, lambda z, t: bce(z, t, np.array([1, 2, 3, 4, 0.5]))
    ),
    "bce, some missing": LossCase(
        hf.BCEWithLogits(ignore_nan=True), MISSING_BITS, masked(lambda z, t: np.logaddexp(0, z) - z * t), counts=seen
    ),
    "focal": LossCase(hf.Focal(), BITS, lambda z, t: focal(z, t, 2.0)),
    "focal 0.5, 0.25": LossCase(hf.Focal(0.5, 0.25), BITS, lambda z, t: focal(z, t, 0.5, 0.25)),
    "focal labels": LossCase(hf.Focal(), LABELS, lambda z, t: focal_labels(z, t, 2.0)),
    "focal labels 0.5": LossCase(hf.Focal(0.5), LABELS, lambda z, t: focal_labels(z, t, 0.5)),
    "kl": LossCase(hf.KLDivergence(), SHARES, kl),
    "kl of logits": LossCase(hf.KLDivergence(from_logits=True), SHARES, lambda z, t: kl(log_softmax(z), t)),
    "kl, log target": LossCase(hf.KLDivergence(log_target=True), np.log(SHARES), lambda z, t: kl(z, np.exp(t))),
    "kl, some missing": LossCase(
        hf.KLDivergence(ignore_nan=True),
        np.where(GAPS[:, :1], np.nan, SHARES),
        lambda z, t: np.nan_to_num(kl(z, t)),
        counts=lambda z, t: ~np.isnan(t[:, 0]) * 1.0,
    ),
    "mse": LossCase(hf.MSE(), REAL, lambda z, t: ((z - t) ** 2).mean(1)),
    "mse, some missing": LossCase(hf.MSE(ignore_nan=True), MISSING, masked(lambda z, t: (z - t) ** 2), counts=seen),
    "mae": LossCase(hf.MAE(), REAL, lambda z, t: np.abs(z - t).mean(1)),
    "mae, some missing": LossCase(hf.MAE(ignore_nan=True), MISSING, masked(lambda z, t: np.abs(z - t)), counts=seen),
    "huber": LossCase(hf.Huber(), REAL, lambda z, t: huber(z - t, 1.0)),
    "huber 0.3": LossCase(hf.Huber(0.3), REAL, lambda z, t: huber(z - t, 0.3)),
    "log-cosh": LossCase(hf.LogCosh(), REAL, lambda z, t: np.log(np.cosh(z - t)).mean(1)),
    "quantile": LossCase(hf.Quantile(0.8), REAL, lambda z, t: pinball(z, t, 0.8)),
    "quantiles": LossCase(
        hf.Quantile([0.1, 0.3, 0.5, 0.7, 0.9]),
        COLUMN,
        lambda z, t: pinball(z, t[:, None], np.array([0.1, 0.3, 0.5, 0.7, 0.9])),
    ),
    "quantiles, some missing": LossCase(
        hf.Quantile([0.1, 0.3, 0.5, 0.7, 0.9], ignore_nan=True),
        MISSING[:, :1],
        lambda z, t: np.nan_to_num(pinball(z, t, np.array([0.1, 0.3, 0.5, 0.7, 0.9]))),
        counts=seen,
    ),
    "poisson": LossCase(hf.Poisson(), COUNTS, poisson),
    "full poisson": LossCase(hf.Poisson(full=True), COUNTS, lambda z, t: poisson(z, t) + stirling(t)),
    "poisson of rates": LossCase(
        hf.Poisson(log_input=False), COUNTS, lambda z, t: (z - t * np.log(z + 1e-8)).mean(1), np.abs(Z) + 0.2
    ),
    "poisson, some missing": LossCase(
        hf.Poisson(ignore_nan=True), MISSING_COUNTS, masked(lambda z, t: np.exp(z) - t * z), counts=seen
    ),
    "gaussian": LossCase(hf.GaussianNLL(), HALVES, lambda z, t: gaussian(z[:, :3], z[:, 3:], t), EIGHT),
    "full gaussian": LossCase(
        hf.GaussianNLL(full=True), HALVES, lambda z, t: gaussian(z[:, :3], z[:, 3:], t) + np.log(2 * np.pi) / 2, EIGHT
    ),
    "gaussian, logarithm": LossCase(
        hf.GaussianNLL(variance="log"), HALVES, lambda z, t: gaussian(z[:, :3], np.exp(z[:, 3:]), t), EIGHT
    ),
    "gaussian, softplus": LossCase(
        hf.GaussianNLL(variance="softplus"),
        HALVES,
        lambda z, t: gaussian(z[:, :3], np.logaddexp(0, z[:, 3:]) + 1e-6, t),
        EIGHT,
    ),
    "gaussian, some missing": LossCase(
        hf.GaussianNLL(ignore_nan=True),
        np.where(GAPS[:, :3], np.nan, HALVES),
        lambda z, t: masked(lambda m, t: (np.log(z[:, 3:]) + (m - t) ** 2 / z[:, 3:]) / 2)(z[:, :3], t),
        EIGHT,
        counts=seen,
    ),
    "hinge": LossCase(hf.Hinge(), SIGNS, hinge),
    "hinge of bits": LossCase(hf.Hinge(0.5), BITS, lambda z, t: hinge(z, 2 * t - 1, 0.5)),
    "hinge of labels 3 and 7": LossCase(hf.Hinge(labels=(7, 3)), 3 + 4 * BITS, lambda z, t: hinge(z, (5 - t) / 2)),
    "squared hinge": LossCase(hf.Hinge(squared=True), SIGNS, lambda z, t: hinge(z, t, power=2)),
    "hinge of labels": LossCase(hf.Hinge(), LABELS, crammer_singer),
    "squared hinge of labels": LossCase(hf.Hinge(squared=True), LABELS, lambda z, t: crammer_singer(z, t, power=2)),
    "multi-margin": LossCase(hf.Hinge(multi_class="sum"), LABELS, lambda z, t: multi_margin(z, t, 1)),
    "squared multi-margin": LossCase(
        hf.Hinge(multi_class="sum", squared=True), LABELS, lambda z, t: multi_margin(z, t, 2)
    ),
    "perceptron": LossCase(hf.PerceptronLoss(), SIGNS, lambda z, t: hinge(z, t, 0.0)),
    "perceptron of labels": LossCase(hf.PerceptronLoss(), LABELS, lambda z, t: crammer_singer(z, t, 0.0)),
    "contrastive": LossCase(hf.Contrastive(2.0), TOGETHER, contrastive, PAIRS, (2, 3)),
    "triplet": LossCase(hf.Triplet(), None, lambda z, t: triplet(z), TRIPLETS, (3, 3)),
    "triplet, swapped": LossCase(hf.Triplet(swap=True), None, lambda z, t: triplet(z, swap=True), TRIPLETS, (3, 3)),
    "triplet, p = 3": LossCase(hf.Triplet(p=3), None, lambda z, t: triplet(z, 3), TRIPLETS, (3, 3)),
    "sum": LossCase(
        0.5 * hf.MSE() + hf.Huber() * 2 + (lambda p, t: hf.ops.abs(p - t) ** 3),
        REAL,
        lambda z, t: (0.5 * (z - t) ** 2 + np.abs(z - t) ** 3).mean(1) + 2 * huber(z - t, 1.0),
    ),
    "sum of labels": LossCase(
        hf.SoftmaxCrossEntropy() + 0.25 * hf.Hinge(),
        LABELS,
        lambda z, t: cross_entropy(z, t) + 0.25 * crammer_singer(z, t),
    ),
    "sum, some missing": LossCase(
        hf.MSE(ignore_nan=True) + hf.MAE(ignore_nan=True),
        MISSING,
        masked(lambda z, t: (z - t) ** 2 + np.abs(z - t)),
        counts=seen,
    ),
    "own": LossCase(lambda p, t: hf.ops.abs(p - t) ** 3, REAL, lambda z, t: (np.abs(z - t) ** 3).mean(1)),
}


def mean(rows: Rows) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    return lambda z, t, w: float((w * rows(z, t)).sum() / w.sum())


def counts(predicted: np.ndarray, actual: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(TP, FP, FN) of each class; (rows, classes) of 0 and 1."""
    w, p, a = w[:, None], predicted * 1.0, actual * 1.0
    return np.array([(w * p * a).sum(0), (w * p * (1 - a)).sum(0), (w * (1 - p) * a).sum(0)])


def f1(predicted: np.ndarray, actual: np.ndarray, w: np.ndarray) -> float:
    hits, wrong, missed = counts(predicted, actual, w)
    occurs = hits + wrong + missed > 0
    return float(np.mean((2 * hits / (2 * hits + wrong + missed))[occurs]))


def of_labels(z: np.ndarray, t: np.ndarray, w: np.ndarray) -> np.ndarray:
    return counts(np.eye(z.shape[1])[z.argmax(1)], np.eye(z.shape[1])[t], w)


def recall_of_labels(z: np.ndarray, t: np.ndarray, w: np.ndarray) -> np.ndarray:
    hits, _, missed = of_labels(z, t, w)
    return hits / (hits + missed)


def precision_of_labels(z: np.ndarray, t: np.ndarray, w: np.ndarray) -> np.ndarray:
    hits, wrong, _ = of_labels(z, t, w)
    return hits / (hits + wrong)


def r2(z: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    centre = np.average(t, 0, w)
    return float(np.mean(1 - (w[:, None] * (z - t) ** 2).sum(0) / (w[:, None] * (t - centre) ** 2).sum(0)))


def top(k: int) -> Rows:
    return lambda z, t: (np.argsort(-z, 1, kind="stable")[:, :k] == t[:, None]).any(1)


def confusion(z: np.ndarray, t: np.ndarray, w: np.ndarray) -> np.ndarray:
    found = np.zeros((5, 5))
    np.add.at(found, (t, z.argmax(1)), w)
    return found


def auc(score: np.ndarray, actual: np.ndarray, w: np.ndarray) -> float:
    """By its meaning: over all pairs of a row that is and one that is not."""
    above = (score[:, None] > score) + 0.5 * (score[:, None] == score)
    pairs = np.outer(w * actual, w * ~actual)
    return float((pairs * above).sum() / pairs.sum())


def average_precision(score: np.ndarray, actual: np.ndarray, w: np.ndarray) -> float:
    total = 0.0
    for threshold in np.unique(score):
        chosen = score >= threshold
        new = (w * actual)[score == threshold].sum() / (w * actual).sum()
        total += new * (w * actual)[chosen].sum() / w[chosen].sum()
    return total


def one_against_all(one: Callable[..., float], z: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    p = np.exp(log_softmax(z))
    return float(np.mean([one(p[:, c], t == c, w) for c in range(p.shape[1])]))


def each_output(one: Callable[..., float], z: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    return float(np.mean([one(z[:, c], t[:, c] == 1, w) for c in range(z.shape[1])]))


def calibration(sure: np.ndarray, right: np.ndarray, w: np.ndarray, bins: int = 15) -> float:
    total = 0.0
    for b in range(bins):
        inside = (sure > b / bins) & (sure <= (b + 1) / bins)
        if inside.any():
            total += np.abs((w * (right * 1.0 - sure))[inside].sum())
    return float(total / w.sum())


def calibration_of_bits(z: np.ndarray, t: np.ndarray, w: np.ndarray) -> float:
    p = sigmoid(z)
    all_w = np.broadcast_to(w[:, None], z.shape)
    return calibration(np.maximum(p, 1 - p).ravel(), ((z > 0) == (t > 0.5)).ravel(), all_w.ravel())


CE, BCE = "softmax_cross_entropy", "bce_with_logits"
TIED = np.round(Z * 2) / 2  # many equal scores
METRIC_CASES: dict[str, MetricCase] = {
    "accuracy of labels": MetricCase("accuracy", CE, LABELS, mean(lambda z, t: z.argmax(1) == t)),
    "accuracy of bits": MetricCase("accuracy", BCE, BITS, mean(lambda z, t: ((z > 0) == (t > 0.5)).mean(1))),
    "accuracy of signs": MetricCase("accuracy", "hinge", SIGNS, mean(lambda z, t: ((z > 0) == (t > 0)).mean(1))),
    "accuracy of margins": MetricCase("accuracy", "hinge", LABELS, mean(lambda z, t: z.argmax(1) == t)),
    "accuracy of a sum": MetricCase(
        "accuracy", hf.Hinge() + hf.SoftmaxCrossEntropy(), LABELS, mean(lambda z, t: z.argmax(1) == t)
    ),
    "top 2": MetricCase(hf.metrics.TopKAccuracy(2), CE, LABELS, mean(top(2))),
    "top 4": MetricCase(hf.metrics.TopKAccuracy(4), "focal", LABELS, mean(top(4))),
    "balanced accuracy": MetricCase("balanced_accuracy", CE, LABELS, lambda z, t, w: recall_of_labels(z, t, w).mean()),
    "precision": MetricCase("precision", CE, LABELS, lambda z, t, w: precision_of_labels(z, t, w).mean()),
    "recall": MetricCase("recall", CE, LABELS, lambda z, t, w: recall_of_labels(z, t, w).mean()),
    "weighted recall": MetricCase(hf.metrics.Recall("weighted"), CE, LABELS, mean(lambda z, t: z.argmax(1) == t)),
    "micro precision": MetricCase(hf.metrics.Precision("micro"), CE, LABELS, mean(lambda z, t: z.argmax(1) == t)),
    "recall of each": MetricCase(hf.metrics.Recall(None), CE, LABELS, recall_of_labels),
    "f1 of labels": MetricCase("f1", CE, LABELS, lambda z, t, w: f1(np.eye(5)[z.argmax(1)], np.eye(5)[t], w)),
    "f1 of few labels": MetricCase("f1", CE, LABELS % 3, lambda z, t, w: f1(np.eye(5)[z.argmax(1)], np.eye(5)[t], w)),
    "f1 of bits": MetricCase("f1", BCE, BITS, lambda z, t, w: f1(z > 0, t, w)),
    "confusion matrix": MetricCase("confusion_matrix", CE, LABELS, confusion),
    "roc auc of labels": MetricCase("roc_auc", CE, LABELS, lambda z, t, w: one_against_all(auc, z, t, w)),
    "roc auc of bits": MetricCase("roc_auc", BCE, BITS, lambda z, t, w: each_output(auc, z, t, w)),
    "roc auc of signs": MetricCase("roc_auc", "hinge", SIGNS, lambda z, t, w: each_output(auc, z, t, w)),
    "average precision of labels": MetricCase(
        "average_precision", CE, LABELS, lambda z, t, w: one_against_all(average_precision, z, t, w)
    ),
    "average precision of bits": MetricCase(
        "average_precision", BCE, BITS, lambda z, t, w: each_output(average_precision, z, t, w)
    ),
    "log loss": MetricCase(
        "log_loss", hf.SoftmaxCrossEntropy(label_smoothing=0.1), LABELS, mean(lambda z, t: cross_entropy(z, t))
    ),
    "log loss of bits": MetricCase("log_loss", "focal", BITS, mean(bce)),
    "brier": MetricCase("brier", CE, LABELS, mean(lambda z, t: ((np.exp(log_softmax(z)) - np.eye(5)[t]) ** 2).sum(1))),
    "brier of bits": MetricCase("brier", BCE, BITS, mean(lambda z, t: ((sigmoid(z) - t) ** 2).mean(1))),
    "calibration": MetricCase(
        "calibration_error", CE, LABELS, lambda z, t, w: calibration(np.exp(log_softmax(z)).max(1), z.argmax(1) == t, w)
    ),
    "calibration of bits": MetricCase("calibration_error", BCE, BITS, calibration_of_bits),
    "r2": MetricCase("r2", "mse", REAL + 3, r2),
    "mse": MetricCase("mse", "mae", REAL, mean(lambda z, t: ((z - t) ** 2).mean(1))),
    "mae": MetricCase("mae", "mse", REAL, mean(lambda z, t: np.abs(z - t).mean(1))),
    "mae of rates": MetricCase("mae", "poisson", COUNTS, mean(lambda z, t: np.abs(np.exp(z) - t).mean(1))),
    "rmse": MetricCase(
        "rmse", "mse", REAL, lambda z, t, w: np.sqrt((w[:, None] * (z - t) ** 2).sum(0) / w.sum()).mean()
    ),
    "mape": MetricCase("mape", "mse", REAL, mean(lambda z, t: (np.abs(z - t) / np.abs(t)).mean(1))),
    "own": MetricCase(lambda p, t: p - t, "mse", REAL, mean(lambda z, t: (z - t).mean(1))),
}
