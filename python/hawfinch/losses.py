"""Losses: each gives one number per row; the trainer takes their (weighted) mean.

A loss is also any function ``f(prediction, target)`` of traced values that gives (rows,) or (rows, ...).

Design: a loss is an immutable value (``values.Value``): two with the same settings share a plan, and a changed one
can't train on an old one. Its name is given where its class is, so that no list of names can fall behind. Rejected: a
table of names, and losses that may be changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from . import ops
from .errors import ArgumentError, DTypeError, LabelError, ShapeError, unknown_name
from .ir import Array, Shape, Tensor, numel
from .ops.elementwise import SIGMOID
from .ops.softmax import SOFTMAX
from .values import Value, check_real

__all__ = ["MAE", "MSE", "BCEWithLogits", "Huber", "Loss", "SoftmaxCrossEntropy"]

ClassWeight = Mapping[int, float] | Sequence[float] | str | None


def per_row(values: Tensor) -> Tensor:
    """The mean over all axes but the first."""
    if not isinstance(values, Tensor) or values.ndim <= 1:  # no tensor: the engine says what is wrong
        return values
    return ops.mean(values, tuple(range(1, values.ndim)))


LOSSES: dict[str, type[Loss]] = {}  # name -> class, filled by the classes


class Loss(Value):
    """Base of losses: immutable, compared by content.

    A subclass defines ``__call__(prediction, target)`` of traced values, which gives (rows,) or (rows, ...). ``check``
    gives the target array as it goes into the plan, or raises. ``class Mine(Loss, name="mine")`` makes ``loss="mine"``
    work.

    >>> import hawfinch as hf
    >>> class Cubic(hf.Loss):
    ...     def __call__(self, prediction, target):
    ...         return hf.ops.abs(prediction - target) ** 3
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), Cubic())
    >>> trainer.evaluate([[0.0]], [[2.0]])["loss"]
    8.0
    """

    checks_values: ClassVar[bool] = False  # whether ``check`` looks at values of real targets, not only at their shape

    def __init_subclass__(cls, name: str | None = None, **more: Any) -> None:
        super().__init_subclass__(**more)
        if name is not None:
            LOSSES[name] = cls

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise ArgumentError(f"{type(self).__name__} defines no __call__(prediction, target)")

    def check(self, y: Array, output: Shape) -> Array:
        """Targets of real numbers in exactly the shape of the output: nothing is broadcast silently."""
        expected = output[1:]
        if y.shape[1:] != expected:
            hint = ""
            if expected == (1,) and y.ndim == 1:
                hint = "; pass y[:, None], or let the model end in a reshape to (rows,)"
            elif expected == () and y.shape[1:] == (1,):
                hint = "; pass y[:, 0]"
            raise ShapeError(
                f"{type(self).__name__}: targets {_rows(y.shape[1:])} do not match "
                f"the model's output {_rows(expected)}{hint}"
            )
        return y

    def accuracy(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Per row, the share of what is right."""
        raise ArgumentError(f"the metric 'accuracy' needs a classification loss, not {type(self).__name__}")

    def decisions(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What is predicted and what is true, each (rows, classes) of 0 and 1."""
        raise ArgumentError(f"metrics of classes need a classification loss, not {type(self).__name__}")

    def advice(self, prediction: Tensor) -> str | None:
        """What is probably wrong with this prediction, to be told once; None: nothing."""
        return None

    def row_weights(self, y: Array, output: Shape) -> Array | None:
        """Weights that follow from the targets (class weights), float (rows,), or None."""
        return None


def _rows(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(["rows", *map(str, shape)]) + ("," if not shape else "") + ")"


def _weight(value: Any) -> float:
    if not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"class weights must be numbers, got {value!r}")
    return float(value)


def weights_of_labels(class_weight: ClassWeight, labels: Array, classes: int) -> Array:
    """Weight of each row from its class: a mapping (missing classes: 1), a sequence, or "balanced" (rows / classes /
    count)."""
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise unknown_name("class_weight", class_weight, ["balanced"])
        counts = np.bincount(labels, minlength=classes)
        table = len(labels) / (classes * np.maximum(counts, 1))
    elif isinstance(class_weight, Mapping):
        table = np.ones(classes)
        for k, v in class_weight.items():
            if not isinstance(k, int | np.integer) or not 0 <= k < classes:
                raise LabelError(f"class_weight names class {k!r}, but the model has classes 0 to {classes - 1}")
            table[k] = _weight(v)
    else:
        table = np.array(
            [_weight(v) for v in class_weight] if isinstance(class_weight, Iterable) else _weight(class_weight)
        )
        if table.shape != (classes,):
            raise ShapeError(f"class_weight: expected {classes} numbers, got shape {table.shape}")
    if not np.isfinite(table).all() or (table < 0).any():
        raise ArgumentError("class weights must be finite and not negative")
    return np.asarray(table[labels])


class SoftmaxCrossEntropy(Loss, name="softmax_cross_entropy"):
    """-sum_j t_j log softmax(logits)_j. Targets: integer labels (rows,) in [0, classes), or probabilities (rows,
    classes).

    label_smoothing s (default 0): t becomes (1 - s) t + s / classes. class_weight: per class, a mapping, a sequence or
    "balanced"; integer labels only. Raises LabelError for labels out of range, DTypeError for float labels.

    >>> hf.SoftmaxCrossEntropy()(np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([0, 0])).round(4)  # log 2, then nearly 0
    array([6.931e-01, 1.000e-04])
    >>> model = hf.Sequential(hf.Linear(2))
    >>> trainer = hf.Trainer(model, hf.SoftmaxCrossEntropy(label_smoothing=0.1, class_weight="balanced"))
    """

    checks_values = True

    def __init__(self, *, label_smoothing: float = 0.0, class_weight: ClassWeight = None):
        name = "SoftmaxCrossEntropy: label_smoothing"
        self.label_smoothing = check_real(label_smoothing, name, "in [0, 1)", lambda v: 0 <= v < 1)
        self.class_weight = class_weight

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.softmax_cross_entropy(prediction, target, self.label_smoothing)

    def check(self, y: Array, output: Shape) -> Array:
        if len(output) != 2:
            raise ShapeError(f"SoftmaxCrossEntropy: the model's output must be (rows, classes), got {output}")
        classes = output[1]
        assert isinstance(classes, int)
        if y.ndim == 2 and y.shape[1] == classes and y.dtype.kind == "f":
            if y.size and (y.min() < 0 or (np.abs(y.sum(1) - 1) > 1e-3).any()):
                raise LabelError(
                    "SoftmaxCrossEntropy: rows of target probabilities must not be negative and must sum to 1"
                )
            return y
        if y.ndim != 1:
            hint = "; pass y[:, 0]" if y.shape[1:] == (1,) else ""
            raise ShapeError(
                f"SoftmaxCrossEntropy: expected integer labels (rows,) or float probabilities (rows, {classes}), "
                f"got {y.dtype} of shape {y.shape}{hint}"
            )
        if y.dtype.kind not in "iub":
            raise DTypeError(
                f"SoftmaxCrossEntropy: labels must be integers, got {y.dtype}; "
                "pass y.astype(int), or use another loss for numbers"
            )
        if y.size and (y.min() < 0 or y.max() >= classes):
            row = int(np.flatnonzero((y < 0) | (y >= classes))[0])
            raise LabelError(
                f"label {int(y[row])} in row {row} is outside [0, {classes}): the model has {classes} outputs"
            )
        return y.astype(np.int64, copy=False)

    def accuracy(self, prediction: Tensor, target: Tensor) -> Tensor:
        if target.dtype != "int":
            raise ArgumentError("the metric 'accuracy' needs integer labels, not probabilities")
        return ops.correct(prediction, target)

    def advice(self, prediction: Tensor) -> str | None:
        if prediction.node.op is SOFTMAX and not prediction.node.attrs["log"]:
            return (
                "SoftmaxCrossEntropy takes logits and applies softmax itself: leave out the Softmax at the model's end"
            )
        return None

    def decisions(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if target.dtype != "int":
            raise ArgumentError("metrics of classes need integer labels, not probabilities")
        return _one_hot(ops.argmax(prediction, -1), prediction), _one_hot(target, prediction)

    def row_weights(self, y: Array, output: Shape) -> Array | None:
        if self.class_weight is None:
            return None
        if y.ndim != 1:
            raise ArgumentError("class_weight needs integer labels, not probabilities")
        classes = output[1]
        assert isinstance(classes, int)
        return weights_of_labels(self.class_weight, y, classes)


def _one_hot(labels: Tensor, scores: Tensor) -> Tensor:
    """(rows, classes): 1 in the column of the row's label, else 0."""
    column = ops.reshape(ops.to_real(labels), (labels.shape[0], 1))
    classes = np.arange(numel(scores.shape[1:]), dtype=np.float64)  # type: ignore[arg-type]
    hit = ops.equal(column, classes[None, :])
    return ops.where(hit, 1.0, 0.0)


class BCEWithLogits(Loss, name="bce_with_logits"):
    """softplus(x) - x t: binary cross-entropy of sigmoid(x) against targets in [0, 1], of the output's shape.

    Raises LabelError for targets outside [0, 1].

    >>> hf.BCEWithLogits()(np.array([[0.0], [9.0]]), np.array([[1.0], [1.0]])).round(4)
    array([[6.931e-01],
           [1.000e-04]])
    """

    checks_values = True

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_row(ops.softplus(prediction) - prediction * target)

    def check(self, y: Array, output: Shape) -> Array:
        y = super().check(y, output)
        if y.size and (y.min() < 0 or y.max() > 1):
            raise LabelError(f"BCEWithLogits: targets must be in [0, 1], got values from {y.min()} to {y.max()}")
        return y

    def accuracy(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_row(ops.where(ops.equal(ops.greater(prediction, 0.0), ops.greater(target, 0.5)), 1.0, 0.0))

    def advice(self, prediction: Tensor) -> str | None:
        if prediction.node.op is SIGMOID:
            return "BCEWithLogits takes logits and applies sigmoid itself: leave out the Sigmoid at the model's end"
        return None

    def decisions(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        def columns(hit: Tensor) -> Tensor:
            flat: Tensor = ops.where(hit, 1.0, 0.0)
            return flat if flat.ndim == 2 else ops.reshape(flat, (flat.shape[0], numel(flat.shape[1:])))

        return columns(ops.greater(prediction, 0.0)), columns(ops.greater(target, 0.5))


class MSE(Loss, name="mse"):
    """(prediction - target)**2, targets of exactly the output's shape.

    >>> hf.MSE()(np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]))
    array([[4.],
           [0.]])
    """

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_row(ops.square(prediction - target))


class MAE(Loss, name="mae"):
    """abs(prediction - target), targets of exactly the output's shape.

    >>> hf.MAE()(np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]]))
    array([[2.],
           [0.]])
    """

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_row(ops.abs(prediction - target))


class Huber(Loss, name="huber"):
    """0.5 d**2 where abs(d) <= delta, else delta * (abs(d) - delta / 2); d = prediction - target. delta: default 1.

    Targets have exactly the output's shape. Raises ArgumentError unless delta is finite and > 0. Huber, Annals of
    Mathematical Statistics 35, 1964.

    >>> hf.Huber(delta=1.0)(np.array([[3.0], [0.5]]), np.array([[0.0], [0.0]]))
    array([[2.5  ],
           [0.125]])
    """

    def __init__(self, delta: float = 1.0):
        self.delta = check_real(delta, "Huber: delta", "above 0", lambda v: 0 < v < float("inf"))

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        d = prediction - target
        a = ops.abs(d)
        return per_row(
            ops.where(ops.less_equal(a, self.delta), ops.square(d) * 0.5, (a - 0.5 * self.delta) * self.delta)
        )


class FunctionLoss(Loss):
    """A function of traced (prediction, target) as a loss. Two are equal if they hold the same function.

    >>> import hawfinch as hf
    >>> loss = hf.losses.FunctionLoss(lambda prediction, target: hf.ops.abs(prediction - target) ** 3)
    >>> hf.Trainer(hf.Sequential(hf.ReLU()), loss).evaluate([[1.0]], [[3.0]])["loss"]
    8.0
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        self.function = function

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_row(self.function(prediction, target))


def get_loss(loss: str | Loss | Callable[..., Any]) -> Loss:
    """A loss by name, an instance or class of one, or a function of traced values."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise unknown_name("loss", loss, LOSSES)
        return LOSSES[loss]()
    if callable(loss):
        function: Callable[..., Any] = loss
        return FunctionLoss(function)
    raise ArgumentError(f"loss: expected a name, a Loss or a function, got {type(loss).__name__}")
