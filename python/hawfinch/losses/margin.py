"""Losses of margins: hinge and perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, LabelError, unknown_name
from ..ir import Array, Shape, Tensor
from ..values import check_flag, check_real, is_several, is_word
from .base import ClassWeight
from .classes import ClassLoss, check_class_numbers, check_many, checked_labels, is_labels, is_labels_like, one_hot


class _Margin(ClassLoss):
    margin: float
    squared = False
    multi_class = "crammer_singer"
    target_labels: tuple[float, float] | None = None

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        if is_labels_like(prediction, target):
            return self._many(prediction, target)
        sign = ops.where(self.positive(target), 1.0, -1.0)
        return self._slack(self.margin - sign * prediction)

    def _slack(self, z: Tensor) -> Tensor:
        """max(z, 0), or its square; the gradient at 0 is that of z > 0, as scikit-learn has it: from all scores 0,
        the perceptron learns."""
        z = ops.where(ops.less(z, 0.0), 0.0, z)
        return ops.square(z) if self.squared else z

    def _many(self, prediction: Any, target: Any) -> Tensor:
        classes = prediction.shape[-1]
        mine = one_hot(target, prediction)
        right = ops.sum(prediction * mine, -1, True)
        if self.multi_class == "sum":
            others = self._slack(prediction - right + self.margin) * (1.0 - mine)
            each = ops.sum(others, -1) * (1.0 / classes)
        else:
            best = ops.max(ops.where(mine, -1e30, prediction), -1)
            each = self._slack(best - ops.reshape(right, best.shape) + self.margin)
        return each + checked_labels(target, classes)

    def positive(self, target: Tensor) -> Tensor:
        return ops.greater(target, 0.0) if self.target_labels is None else ops.equal(target, self.target_labels[1])

    def probabilities(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise ArgumentError(f"it needs probabilities, which {type(self).__name__} does not give")

    def check(self, y: Array, output: Shape) -> Array:
        name = type(self).__name__
        if is_labels(y, output):
            return check_class_numbers(y, check_many(output, name))
        y = super().check(y, output)
        if y.size:
            low, high = y.min(), y.max()
            two = ((y == low) | (y == high)).all()
            known = [(-1.0, 1.0), (0.0, 1.0)] if self.target_labels is None else [self.target_labels]
            if not two or not any({float(low), float(high)} <= set(pair) for pair in known):
                wanted = " or ".join(f"{a:g} and {b:g}" for a, b in known)
                hint = f"; for others say so, {name}(labels=(a, b))" if self.target_labels is None else ""
                raise LabelError(f"{name}: targets must be {wanted}, got values from {low} to {high}{hint}")
        return y

    def two_classes(self, y: Array) -> tuple[Array, Sequence[Any]]:
        if self.target_labels is not None:
            low, high = self.target_labels
        else:
            low, high = (0.0, 1.0) if (y == 0).any() else (-1.0, 1.0)
        return np.where(y == high, 1, 0), (low, high)


class Hinge(_Margin, name="hinge"):
    """max(0, margin - t x): t is 1 or -1, each output a class of its own. margin: default 1.

    Targets of the output's shape are -1 and 1, or 0 and 1, or the two numbers ``labels=(no, yes)``. Integer labels
    (rows, ...) for outputs (rows, ..., classes): max(0, margin + max_{j != y} x_j - x_y) (Crammer, Singer, JMLR 2,
    2001; scikit-learn's hinge_loss), or with multi_class="sum" the sum over j != y of max(0, margin + x_j - x_y),
    divided by the number of classes (PyTorch's MultiMarginLoss). squared (default False): the square of each max
    (PyTorch's p=2). class_weight: see ``BCEWithLogits``; a mapping names the two labels. At the margin itself the
    gradient is that inside, as in scikit-learn. Raises LabelError for other targets.

    >>> hf.Hinge()(np.array([0.5, 2.0, 0.5]), np.array([1.0, 1.0, -1.0]))
    array([0.5, 0. , 1.5])
    """

    checks_values = True

    def __init__(
        self,
        margin: float = 1.0,
        *,
        squared: bool = False,
        multi_class: str = "crammer_singer",
        labels: Sequence[float] | None = None,
        class_weight: ClassWeight = None,
    ):
        self.margin = check_real(margin, "Hinge: margin", "above 0", lambda v: 0 < v < float("inf"))
        self.squared = check_flag(squared, "Hinge: squared")
        if not is_word(multi_class, "crammer_singer", "sum"):
            raise unknown_name("Hinge: multi_class", multi_class, ["crammer_singer", "sum"])
        self.multi_class = multi_class
        self.target_labels = _two_labels(labels, "Hinge")
        self.class_weight = class_weight


class PerceptronLoss(_Margin, name="perceptron"):
    """max(0, -t x): what the perceptron learns from; a hinge without a margin. Rosenblatt, 1958.

    Targets and options as in ``Hinge``; several classes: max_j x_j - x_y. At x = 0 the gradient is that of a wrong
    answer, so that a net that starts at 0 learns.

    >>> hf.PerceptronLoss()(np.array([0.5, 2.0, 0.5]), np.array([1.0, 1.0, -1.0]))
    array([0. , 0. , 0.5])
    """

    checks_values = True
    margin = 0.0

    def __init__(self, *, labels: Sequence[float] | None = None, class_weight: ClassWeight = None):
        self.target_labels = _two_labels(labels, "PerceptronLoss")
        self.class_weight = class_weight


def _two_labels(labels: Sequence[float] | None, name: str) -> tuple[float, float] | None:
    if labels is None:
        return None
    if not is_several(labels) or len(labels) != 2:
        raise ArgumentError(f"{name}: labels must be two numbers (no, yes), got {labels!r:.60}")
    no, yes = [check_real(v, f"{name}: a label", "that is finite", np.isfinite) for v in labels]
    if no == yes:
        raise ArgumentError(f"{name}: labels must be two numbers that differ, got {labels!r:.60}")
    return no, yes
