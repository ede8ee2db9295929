"""Cross-entropies: softmax, binary, focal; and the Kullback-Leibler divergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, LabelError, ShapeError
from ..ir import Array, Shape, Tensor
from ..ops.elementwise import SIGMOID
from ..ops.softmax import SOFTMAX
from ..values import check_flag, check_real, check_whole, is_several
from .base import ClassWeight, ElementLoss, rows_text
from .classes import ClassLoss, check_class_numbers, check_many, is_labels, is_labels_like


class SoftmaxCrossEntropy(ClassLoss, name="softmax_cross_entropy"):
    """-sum_j t_j log softmax(logits)_j, of logits (rows, classes), or (rows, ..., classes) for the positions of
    sequences and images: the classes are the last axis. Targets: integer labels (rows, ...) in [0, classes), or
    probabilities of the output's shape. PyTorch's CrossEntropyLoss, which has the classes on axis 1.

    label_smoothing s (default 0): t becomes (1 - s) t + s / classes. class_weight: per class, a mapping, a sequence or
    "balanced" (rows / classes / count); integer labels only; the mean is divided by the sum of the weights. With both a
    row has the weight of its label; PyTorch weighs the smoothed part of the loss by the classes that it is of.
    ignore_index: rows (positions) with this label are left out, and are not counted. Its default is None, not PyTorch's
    -100: a label out of range is an error unless it was asked for. ignore_nan (default False): probabilities that are
    NaN leave out their row (position). Of positions the mean is over all that count in the batch; ``sample_weight``
    (rows,) weighs rows, (rows, ...) each position. Raises LabelError for labels out of range, DTypeError for float
    labels, ShapeError.

    >>> hf.SoftmaxCrossEntropy()(np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([0, 0])).round(4)  # log 2, then nearly 0
    array([6.931e-01, 1.000e-04])
    >>> model = hf.Sequential(hf.Linear(2))
    >>> trainer = hf.Trainer(model, hf.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight="balanced"))
    """

    checks_values = True
    applies = (SOFTMAX,)

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        class_weight: ClassWeight = None,
        ignore_index: int | None = None,
        ignore_nan: bool = False,
    ):
        name = "SoftmaxCrossEntropy: label_smoothing"
        self.label_smoothing = check_real(label_smoothing, name, "in [0, 1)", lambda v: 0 <= v < 1)
        self.class_weight = class_weight
        self.ignore_index = ignore_index
        if ignore_index is not None:
            self.ignore_index = check_whole(ignore_index, "SoftmaxCrossEntropy: ignore_index", -(2**63))
        self.ignore_nan = check_flag(ignore_nan, "SoftmaxCrossEntropy: ignore_nan")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        if not self.ignore_nan or is_labels_like(prediction, target):
            return ops.softmax_cross_entropy(prediction, target, self.label_smoothing)
        seen = _whole(target)
        target = ops.where(ops.reshape(seen, (*seen.shape, 1)), target, 1.0)
        return ops.where(seen, ops.softmax_cross_entropy(prediction, target, self.label_smoothing), 0.0)

    def observed(self, target: Any) -> Tensor | None:
        return _whole(target) if self.ignore_nan else None

    def check(self, y: Array, output: Shape) -> Array:
        classes = check_many(output, "SoftmaxCrossEntropy")
        if y.shape[1:] == output[1:] and y.dtype.kind == "f":
            return check_shares(y, "SoftmaxCrossEntropy", self.ignore_nan)
        if y.shape[1:] != output[1:-1]:
            column = y.shape[1:] == (*output[1:-1], 1)
            hint = ("; pass y[:, 0]" if y.ndim == 2 else "; pass y[..., 0]") if column else ""
            raise ShapeError(
                f"SoftmaxCrossEntropy: expected integer labels {rows_text(output[1:-1])} or float probabilities "
                f"{rows_text(output[1:])}, got {y.dtype} of shape {y.shape}{hint}"
            )
        if self.ignore_nan and y.dtype.kind != "f":
            raise ArgumentError("SoftmaxCrossEntropy: ignore_nan is for probabilities; labels have ignore_index")
        if self.ignore_index is not None and y.size and (y == self.ignore_index).all():
            raise LabelError(
                f"all labels are {self.ignore_index}, ignore_index, so that there is nothing to learn or to measure"
            )
        return check_class_numbers(y, classes, self.ignore_index)

    def labels(self, y: Array, output: Shape) -> tuple[Array, Sequence[Any]]:
        if y.shape[1:] == output[1:]:
            raise ArgumentError("class_weight needs integer labels, not probabilities")
        numbers, names = super().labels(y, output)
        if self.ignore_index is not None:
            numbers = np.where(numbers == self.ignore_index, -1, numbers)
        return numbers, names

    def row_weights(self, y: Array, output: Shape, class_weight: ClassWeight = None) -> Array | None:
        if self.class_weight is None and class_weight is None:
            left_out = self.ignore_index is not None and is_labels(y, output)
            return (y != self.ignore_index).astype(np.float64) if left_out else None
        return super().row_weights(y, output, class_weight)

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.probabilities(prediction, target)

    def check_labels(self, prediction: Tensor, target: Tensor) -> None:
        raise ArgumentError("it needs integer labels, not probabilities")


def check_shares(y: Array, name: str, ignore_nan: bool = False) -> Array:
    """y, probabilities along the last axis, or LabelError. ignore_nan: what has a NaN in it is left out."""
    shares = y.reshape(-1, y.shape[-1])
    if ignore_nan:
        shares = shares[~np.isnan(shares).any(1)]
    if shares.size and (shares.min() < 0 or (np.abs(shares.sum(-1) - 1) > 1e-3).any()):
        raise LabelError(f"{name}: rows of target probabilities must not be negative and must sum to 1")
    return y


class BCEWithLogits(ElementLoss, ClassLoss, name="bce_with_logits"):
    """softplus(x) - x t: binary cross-entropy of sigmoid(x) against targets in [0, 1], of the output's shape.

    label_smoothing s (default 0): t becomes (1 - s) t + s / 2. pos_weight: a number, or one for each output: the weight
    of t = 1, p t softplus(-x) + (1 - t) softplus(x), with which the mean is not divided. class_weight: of the classes 0
    and 1 where the output is one number, a mapping, a sequence or "balanced"; the mean is divided by the sum of the
    weights. ignore_nan: see ``MSE``. Raises LabelError for targets outside [0, 1].

    >>> hf.BCEWithLogits()(np.array([[0.0], [9.0]]), np.array([[1.0], [1.0]])).round(4)
    array([[6.931e-01],
           [1.000e-04]])
    """

    checks_values = True
    applies = (SIGMOID,)

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        pos_weight: float | Sequence[float] | None = None,
        class_weight: ClassWeight = None,
        ignore_nan: bool = False,
    ):
        super().__init__(ignore_nan=ignore_nan)
        name = "BCEWithLogits: label_smoothing"
        self.label_smoothing = check_real(label_smoothing, name, "in [0, 1)", lambda v: 0 <= v < 1)
        self.class_weight = class_weight
        given: Any = pos_weight
        if is_several(given):
            given = np.array([_positive(v) for v in given])
        self.pos_weight: Any = given if given is None or isinstance(given, np.ndarray) else _positive(given)

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.label_smoothing:
            target = target * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.pos_weight is None:
            return ops.softplus(prediction) - prediction * target
        yes = ops.softplus(-prediction) * (target * self.pos_weight)
        return yes + ops.softplus(prediction) * (1.0 - target)

    def check(self, y: Array, output: Shape) -> Array:
        y = super().check(y, output)
        if isinstance(self.pos_weight, np.ndarray) and self.pos_weight.shape != output[-1:]:
            raise ShapeError(f"BCEWithLogits: {len(self.pos_weight)} numbers in pos_weight for outputs {output}")
        return check_unit(y, "BCEWithLogits")


def check_unit(y: Array, name: str) -> Array:
    """y in [0, 1], but for NaN; or LabelError."""
    if y.size and ((y < 0) | (y > 1)).any():
        raise LabelError(f"{name}: targets must be in [0, 1], got values from {np.nanmin(y)} to {np.nanmax(y)}")
    return y


def _positive(value: Any) -> float:
    return check_real(value, "BCEWithLogits: pos_weight", "above 0", lambda v: 0 < v < float("inf"))


class Focal(ElementLoss, ClassLoss, name="focal"):
    """-(1 - p)**gamma log p, p the probability of the right answer: sure rows count less. gamma: default 2; 0 is
    cross-entropy.

    Integer labels (rows, ...) for outputs (rows, ..., classes): p from softmax. Targets 0 or 1 of the output's shape:
    p from sigmoid, as torchvision's sigmoid_focal_loss; alpha in [0, 1] then weighs the ones, and 1 - alpha the zeros.
    Its default is None, not torchvision's 0.25: weights of classes are asked for, here or by class_weight (see
    ``BCEWithLogits``), whose sum the mean is divided by; alpha's is not. ignore_nan: see ``MSE``; targets 0 or 1 only.
    Raises LabelError for other targets, ArgumentError for alpha with labels. Lin and others, ICCV 2017.

    >>> hf.Focal()(np.array([0.0, 4.0]), np.array([1.0, 1.0])).round(6)
    array([1.73287e-01, 6.00000e-06])
    """

    checks_values = True
    applies = (SIGMOID, SOFTMAX)

    same_shape = False  # of integer labels

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = None,
        *,
        class_weight: ClassWeight = None,
        ignore_nan: bool = False,
    ):
        super().__init__(ignore_nan=ignore_nan)
        self.gamma = check_real(gamma, "Focal: gamma", ">= 0", lambda v: 0 <= v < float("inf"))
        self.alpha = None if alpha is None else check_real(alpha, "Focal: alpha", "in [0, 1]", lambda v: 0 <= v <= 1)
        self.class_weight = class_weight

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        if not is_labels_like(prediction, target):
            return super().__call__(prediction, target)
        # below 1e-30 the power's slope, for gamma < 1, would be infinite where the loss is 0
        entropy = ops.softmax_cross_entropy(prediction, target)
        return entropy * ops.pow(ops.maximum(-ops.expm1(-entropy), 1e-30), self.gamma)

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        z = prediction * (target * 2.0 - 1.0)  # (1 - sigmoid(z))**gamma = e**(-gamma softplus(z)): finite everywhere
        loss = ops.softplus(-z) * ops.exp(ops.softplus(z) * -self.gamma)
        return loss if self.alpha is None else loss * (target * (2.0 * self.alpha - 1.0) + (1.0 - self.alpha))

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        many = self.is_one_of_many(prediction, target)
        return self.probabilities(prediction, target) if many else super().scores(prediction, target)

    def check(self, y: Array, output: Shape) -> Array:
        if is_labels(y, output):
            if self.alpha is not None or self.ignore_nan:
                raise ArgumentError(
                    "Focal: alpha and ignore_nan are for targets 0 and 1; with integer labels use class_weight"
                )
            return check_class_numbers(y, check_many(output, "Focal"))
        y = super().check(y, output)
        if y.size and not ((y == 0) | (y == 1) | np.isnan(y)).all():
            raise LabelError(f"Focal: targets must be 0 or 1, got values from {np.nanmin(y)} to {np.nanmax(y)}")
        return y


class KLDivergence(ElementLoss, name="kl_divergence"):
    """sum_j t_j (log t_j - x_j) over the last axis, x log-probabilities (a model that ends in LogSoftmax); PyTorch's
    KLDivLoss.

    Its mean is over rows (and further axes), PyTorch's "batchmean", not over the elements of a row as well. Targets:
    probabilities of the output's shape, log-probabilities with log_target=True (default False). from_logits (default
    False): x are logits, and log_softmax is applied here. t = 0 gives 0. ignore_nan: see ``MSE``; a distribution
    with a NaN in it is left out whole. Raises LabelError for targets that are no distribution. Kullback, Leibler, 1951.

    >>> hf.KLDivergence(from_logits=True)(np.array([[0.0, 0.0]]), np.array([[0.75, 0.25]])).round(4)
    array([0.1308])
    """

    checks_values = True

    def __init__(self, *, log_target: bool = False, from_logits: bool = False, ignore_nan: bool = False):
        super().__init__(ignore_nan=ignore_nan)
        self.log_target = check_flag(log_target, "KLDivergence: log_target")
        self.from_logits = check_flag(from_logits, "KLDivergence: from_logits")

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        seen = None
        if self.ignore_nan:
            seen = _whole(target)
            mask = ops.reshape(seen, (*seen.shape, 1))
            prediction, target = ops.where(mask, prediction, 1.0), ops.where(mask, target, 1.0)
        log_q = ops.log_softmax(prediction) if self.from_logits else prediction
        if self.log_target:
            terms = ops.exp(target) * (target - log_q)
        else:
            some = ops.where(ops.greater(target, 0.0), target, 1.0)
            terms = ops.where(ops.greater(target, 0.0), target * (ops.log(some) - log_q), 0.0)
        each = ops.sum(terms, -1)
        return each if seen is None else ops.where(seen, each, 0.0)

    def observed(self, target: Any) -> Tensor | None:
        return _whole(target) if self.ignore_nan else None

    def check(self, y: Array, output: Shape) -> Array:
        y = super().check(y, output)
        if len(output) < 2:
            raise ShapeError(f"KLDivergence: the model's output must be (rows, ..., classes), got {output}")
        check_shares(np.exp(y) if self.log_target else y, "KLDivergence", self.ignore_nan)
        return y


def _whole(target: Tensor) -> Tensor:
    """Where no element of the last axis is NaN: a mask."""
    return ops.equal(ops.sum(ops.where(ops.equal(target, target), 0.0, 1.0), -1), 0.0)
