"""Losses of classes: what class weights and metrics ask of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..errors import ArgumentError, DTypeError, LabelError, ShapeError
from ..ir import Array, Op, Shape, Tensor, numel
from .base import ClassWeight, Loss, weights_of_labels


class ClassLoss(Loss):
    """Base of losses of classes, of one of two kinds by their targets: integer labels (rows, ...) for outputs (rows,
    ..., classes), one class a row or position; else each output is a class of its own, which a row has where the target
    says so."""

    class_weight: ClassWeight = None
    applies: ClassVar[tuple[Op, ...]] = ()  # what this loss does to the output, so that the model must not

    @property
    def of_classes(self) -> ClassLoss | None:
        return self

    # ---- traced: what metrics need ----
    def is_one_of_many(self, prediction: Tensor, target: Tensor) -> bool:
        """Whether the targets are labels, one class a row or position."""
        return target.dtype == "int" and prediction.ndim == target.ndim + 1

    def positive(self, target: Tensor) -> Tensor:
        """Where a target of a class of its own says yes: a mask."""
        return ops.greater(target, 0.5)

    def decisions(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What is predicted and what is true, each (rows, classes) of 0 and 1."""
        if self.is_one_of_many(prediction, target):
            return one_hot(ops.argmax(prediction, -1), prediction), one_hot(target, prediction)
        self.check_labels(prediction, target)
        yes, actual = ops.greater(prediction, 0.0), self.positive(target)
        return columns(ops.where(yes, 1.0, 0.0)), columns(ops.where(actual, 1.0, 0.0))

    def check_labels(self, prediction: Tensor, target: Tensor) -> None:
        """Raises ArgumentError for targets that are probabilities of exclusive classes."""

    def scores(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(rows, classes), the larger the surer."""
        return columns(prediction)

    def probabilities(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(rows, classes)."""
        if self.is_one_of_many(prediction, target):
            return ops.softmax(prediction)
        self.check_labels(prediction, target)
        return columns(ops.sigmoid(prediction))

    # ---- arrays ----
    def labels(self, y: Array, output: Shape) -> tuple[Array, Sequence[Any]]:
        """The number of each row's or position's class, -1 for none, and what ``class_weight`` calls the classes.
        Raises ArgumentError where a row has no single class."""
        if is_labels(y, output):
            assert isinstance(output[-1], int)
            return y.astype(np.int64, copy=False), range(output[-1])
        if y.size != len(y):
            raise ArgumentError(
                f"class_weight needs one class per row, but here each of the {numel(output[1:])} outputs is a class of "
                "its own"
            )
        numbers, names = self.two_classes(y.reshape(-1))
        if (numbers < -1).any():
            raise ArgumentError("class_weight needs targets that are classes, not shares between 0 and 1")
        return numbers, names

    def two_classes(self, y: Array) -> tuple[Array, Sequence[Any]]:
        """(rows,) targets of one output as 0 and 1, -1 where there is none, -2 where it is neither; and the names."""
        return np.select([y == 0, y == 1, np.isnan(y)], [0, 1, -1], -2), (0, 1)

    def row_weights(self, y: Array, output: Shape, class_weight: ClassWeight = None) -> Array | None:
        mine = self.class_weight
        if class_weight is not None and mine is not None:
            raise ArgumentError(f"class_weight is given twice: to fit and to {type(self).__name__}")
        chosen = mine if class_weight is None else class_weight
        return None if chosen is None else weights_of_labels(chosen, *self.labels(y, output))

    # ---- advice ----
    def advice(self, prediction: Tensor) -> str | None:
        node = prediction.node
        if node.op not in self.applies or node.attrs.get("log"):
            return None
        end = node.op.name
        return (
            f"{type(self).__name__} takes logits and applies {end} itself: leave out the {end.capitalize()} at the "
            "model's end"
        )


def is_labels(y: Array, output: Shape) -> bool:
    """Whether these are integer labels, (rows, ...) of outputs (rows, ..., classes)."""
    return y.dtype.kind in "iub" and len(output) > 1 and y.shape[1:] == output[1:-1]


def is_labels_like(prediction: Any, target: Any) -> bool:
    """Whether traced targets, or arrays, are integer labels (rows, ...) of outputs (rows, ..., classes)."""
    if isinstance(target, Tensor):
        return target.dtype == "int" and prediction.ndim == target.ndim + 1
    return is_labels(np.asarray(target), np.shape(prediction))


def check_class_numbers(y: Array, classes: int, ignored: int | None = None) -> Array:
    """Integer labels (rows, ...) as int64, those to be ignored 0. Raises DTypeError, LabelError."""
    if y.dtype.kind not in "iub":
        raise DTypeError(f"labels must be integers, got {y.dtype}; pass y.astype(int), or use another loss for numbers")
    out = (y < 0) | (y >= classes)
    if ignored is not None:
        out &= y != ignored
    if out.any():
        row, *position = np.argwhere(out)[0].tolist()
        where = f"row {row}" + (f", position {', '.join(map(str, position))}" if position else "")
        wrong = int(y[(row, *position)])
        one = "; yes or no from one output is hf.BCEWithLogits, with targets y[:, None]" if classes == 1 else ""
        raise LabelError(f"label {wrong} in {where} is outside [0, {classes}): the model has {classes} outputs{one}")
    y = y.astype(np.int64, copy=False)
    return y if ignored is None else np.where(y == ignored, 0, y)


def check_many(output: Shape, name: str) -> int:
    """The number of classes of outputs (rows, ..., classes). Raises ShapeError for others."""
    if len(output) < 2 or not isinstance(output[-1], int):
        raise ShapeError(f"{name}: the model's output must be (rows, ..., classes) for integer labels, got {output}")
    return output[-1]


def columns(values: Tensor) -> Tensor:
    """(rows, outputs)."""
    return values if values.ndim == 2 else ops.reshape(values, (values.shape[0], numel(values.shape[1:])))


def one_hot(labels: Tensor, scores: Tensor) -> Tensor:
    """(rows, ..., classes): 1 at the label, else 0."""
    classes = scores.shape[-1]
    assert isinstance(classes, int)
    column = ops.reshape(ops.to_real(labels), (*labels.shape, 1))
    return ops.where(ops.equal(column, _numbers(classes)), 1.0, 0.0)


def rows_of_positions(
    loss: Loss, prediction: Any, target: Any, weight: Tensor | None
) -> tuple[Any, Any, Tensor | None]:
    """Prediction, target and weight as metrics see them: where each position of a row has a label, each is a row."""
    of_classes = loss.of_classes
    if of_classes is None or not isinstance(prediction, Tensor) or prediction.ndim == 2:
        return prediction, target, weight
    if not of_classes.is_one_of_many(prediction, target):
        return prediction, target, weight
    if weight is not None:
        weight = ops.reshape(weight, (*weight.shape, *(1,) * (target.ndim - weight.ndim)))
        weight = ops.reshape(ops.broadcast_to(weight, target.shape), (numel(target.shape),))
    rows = numel(target.shape)
    return ops.reshape(prediction, (rows, prediction.shape[-1])), ops.reshape(target, (rows,)), weight


def checked_labels(labels: Tensor, classes: int) -> Tensor:
    """(rows, ...) of 0; a label outside of [0, classes) stops the run."""
    return ops.gather(_zeros(classes), labels)


@functools.lru_cache(maxsize=16)
def _numbers(classes: int) -> Array:
    return np.arange(classes, dtype=np.float64)


@functools.lru_cache(maxsize=16)
def _zeros(classes: int) -> Array:
    return np.zeros(classes)
