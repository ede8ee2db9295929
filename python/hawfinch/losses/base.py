"""What a loss is: the base class, sums of losses, functions as losses, losses by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import ops
from ..errors import ArgumentError, LabelError, ShapeError, unknown_name
from ..ir import Array, Shape, Tensor
from ..values import Value, check_flag, check_real

if TYPE_CHECKING:
    from .classes import ClassLoss

ClassWeight = Mapping[int, float] | Sequence[float] | str | None

LOSSES: dict[str, type[Loss]] = {}  # name -> class, filled by the classes
ELSEWHERE = {  # names that other libraries use
    "l1": "mae",
    "l2": "mse",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
    "squared_error": "mse",
    "smooth_l1": "huber",
    "pinball": "quantile",
    "bce": "bce_with_logits",
    "binary_crossentropy": "bce_with_logits",
    "nll": "softmax_cross_entropy",
    "log_loss": "softmax_cross_entropy",
    "crossentropy": "softmax_cross_entropy",
    "kl": "kl_divergence",
    "kld": "kl_divergence",
    "squared_hinge": "hinge",
    "multi_margin": "hinge",
}


def per_row(values: Tensor) -> Tensor:
    """The mean over all axes but the first."""
    if not isinstance(values, Tensor) or values.ndim <= 1:  # no tensor: the engine says what is wrong
        return values
    return ops.mean(values, tuple(range(1, values.ndim)))


class Loss(Value):
    """Base of losses: immutable, compared by content.

    A subclass defines ``__call__(prediction, target)`` of traced values, which gives (rows,), or (rows, ...) of what
    can have a weight of its own, such as outputs: a row's loss is its mean. ``check`` gives the target array as it goes
    into the plan, or raises. ``class Mine(Loss, name="mine")`` makes ``loss="mine"`` work. Losses can be added and
    multiplied by numbers >= 0: ``0.5 * hf.MSE() + hf.MAE()``.

    >>> import hawfinch as hf
    >>> class Cubic(hf.Loss):
    ...     def __call__(self, prediction, target):
    ...         return hf.ops.abs(prediction - target) ** 3
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), Cubic())
    >>> trainer.evaluate([[0.0]], [[2.0]])["loss"]
    8.0
    """

    checks_values: bool = False  # whether ``check`` looks at values of real targets, not only at their shape
    takes: ClassVar[tuple[int, ...] | None] = (1,)  # how many outputs of a model one loss may be of; None: any number
    takes_target: ClassVar[bool] = True
    ignore_nan: bool = False  # whether a target that is NaN is left out

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
                f"{type(self).__name__}: targets {rows_text(y.shape[1:])} do not match "
                f"the model's output {rows_text(expected)}{hint}"
            )
        return y

    def check_all(self, y: Array, outputs: Sequence[Shape]) -> Array:
        """As ``check``, of a loss that takes several outputs at once."""
        return self.check(y, outputs[0])

    def observed(self, target: Any) -> Tensor | None:
        """Of traced targets: where they are not missing, a mask (rows, ...); None: everywhere."""
        return None

    @property
    def of_classes(self) -> ClassLoss | None:
        """The loss that says what a class is, for class weights and metrics; None: there are no classes."""
        return None

    def point(self, prediction: Any) -> Any:
        """Of a traced prediction: what metrics of numbers compare with the target."""
        return prediction

    def advice(self, prediction: Tensor) -> str | None:
        """What is probably wrong with this prediction, to be told once; None: nothing."""
        return None

    def row_weights(self, y: Array, output: Shape, class_weight: ClassWeight = None) -> Array | None:
        """Weights that follow from the targets as the user gave them (classes, labels that are left out), float
        (rows,) or of the loss's own shape, or None. class_weight: that of ``fit``."""
        if class_weight is not None:
            raise ArgumentError(
                f"class_weight needs a loss of classes, such as SoftmaxCrossEntropy, BCEWithLogits or Hinge with "
                f"integer labels; {type(self).__name__} has no classes"
            )
        return None

    def __add__(self, other: Any) -> LossSum:
        return LossSum((*_terms(self), *_terms(get_loss(other))))

    def __radd__(self, other: Any) -> LossSum:
        return get_loss(other) + self

    def __mul__(self, factor: float) -> LossSum:
        factor = check_real(factor, "the weight of a loss", "that is finite and >= 0", lambda v: 0 <= v < np.inf)
        return LossSum(tuple([(factor * weight, term) for weight, term in _terms(self)]))

    __rmul__ = __mul__


def rows_text(shape: Sequence[Any]) -> str:
    """(rows, ...) of the other sizes."""
    return "(" + ", ".join(["rows", *map(str, shape)]) + ("," if not shape else "") + ")"


class ElementLoss(Loss):
    """Base of losses of real targets that are the mean over elements: a subclass defines ``element``.

    ignore_nan: a target that is NaN is left out, and the mean over the batch is divided by the count of the others.
    A call with arrays or tensors of two shapes raises ShapeError, unless ``same_shape`` is False.
    """

    same_shape: ClassVar[bool] = True

    def __init__(self, *, ignore_nan: bool = False):
        self.ignore_nan = check_flag(ignore_nan, f"{type(self).__name__}: ignore_nan")

    def element(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each element."""
        raise ArgumentError(f"{type(self).__name__} defines no element(prediction, target)")

    def __call__(self, prediction: Any, target: Any) -> Tensor:
        shapes = [getattr(v, "shape", ()) for v in (prediction, target)]
        if self.same_shape and shapes[0] != shapes[1] and () not in shapes:
            raise ShapeError(f"{type(self).__name__}: targets {shapes[1]} do not match predictions {shapes[0]}")
        if not self.ignore_nan:
            return self.element(prediction, target)
        seen = ops.equal(target, target)  # what is left out must be harmless on both sides, for the gradient's sake
        values = self.element(ops.where(seen, prediction, 1.0), ops.where(seen, target, 1.0))
        return ops.where(seen, values, 0.0)

    def observed(self, target: Any) -> Tensor | None:
        return ops.equal(target, target) if self.ignore_nan else None


class LossSum(Loss):
    """sum_i weight_i loss_i of the same prediction and target: what ``0.5 * hf.MSE() + hf.MAE()`` is.

    Class weights are those of ``fit``. Raises ArgumentError for terms that differ in ``ignore_nan``, that are not of
    one and the same output, or that have class weights of their own.

    >>> loss = 0.5 * hf.MSE() + hf.MAE()
    >>> hf.Trainer(hf.Sequential(hf.ReLU()), loss).evaluate([[0.0]], [[4.0]])["loss"]
    12.0
    """

    def __init__(self, terms: tuple[tuple[float, Loss], ...]):
        for _, term in terms:
            if getattr(term, "class_weight", None) is not None:
                raise ArgumentError(
                    f"a sum of losses is weighted as a whole: leave class_weight out of {type(term).__name__}, and "
                    "give it to fit"
                )
            if not term.takes_target or (term.takes is not None and 1 not in term.takes):
                raise ArgumentError(f"{type(term).__name__} can't be part of a sum: its terms are of one output")
        if len({term.ignore_nan for _, term in terms}) > 1:
            raise ArgumentError("the terms of a sum of losses must all have the same ignore_nan")
        self.terms = terms
        self.ignore_nan = terms[0][1].ignore_nan
        self.checks_values = any([term.checks_values for _, term in terms])

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        parts = [term(prediction, target) * weight for weight, term in self.terms]
        if len({part.shape for part in parts}) > 1:
            parts = [per_row(part) for part in parts]
        return functools.reduce(lambda a, b: a + b, parts)

    def check(self, y: Array, output: Shape) -> Array:
        checked = [term.check(y, output) for _, term in self.terms]
        return min(checked, key=lambda a: a.dtype.kind != "i")  # labels, where one of them has labels

    def observed(self, target: Any) -> Tensor | None:
        return self.terms[0][1].observed(target)

    def point(self, prediction: Any) -> Any:
        return self.terms[0][1].point(prediction)

    @property
    def of_classes(self) -> ClassLoss | None:
        return next(filter(None, [term.of_classes for _, term in self.terms]), None)

    def advice(self, prediction: Tensor) -> str | None:
        return next(filter(None, [term.advice(prediction) for _, term in self.terms]), None)

    def row_weights(self, y: Array, output: Shape, class_weight: ClassWeight = None) -> Array | None:
        leader = self.of_classes
        if class_weight is not None and leader is None:
            return super().row_weights(y, output, class_weight)
        found = [term.row_weights(y, output, class_weight if term is leader else None) for _, term in self.terms]
        weights = [w for w in found if w is not None]
        return functools.reduce(product_of_weights, weights) if weights else None

    def __repr__(self) -> str:
        return " + ".join([repr(term) if w == 1.0 else f"{w:g} * {term!r}" for w, term in self.terms])


def product_of_weights(a: Array, b: Array) -> Array:
    """Of weights of rows, or of positions: the product, of the shape of the longer one."""
    a, b = (w.reshape(w.shape + (1,) * (max(a.ndim, b.ndim) - w.ndim)) for w in (a, b))
    product: Array = a * b
    return product


def _terms(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    return loss.terms if isinstance(loss, LossSum) else ((1.0, loss),)


class FunctionLoss(Loss):
    """A function of traced (prediction, target) as a loss. Two are equal if they hold the same function.

    >>> import hawfinch as hf
    >>> loss = hf.losses.FunctionLoss(lambda prediction, target: hf.ops.abs(prediction - target) ** 3)
    >>> hf.Trainer(hf.Sequential(hf.ReLU()), loss).evaluate([[1.0]], [[3.0]])["loss"]
    8.0
    """

    takes = None

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]):
        self.function = function

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target)

    def row_weights(self, y: Array, output: Shape, class_weight: ClassWeight = None) -> Array | None:
        """Class weights need integer labels (rows, ...) of outputs (rows, ..., classes)."""
        if class_weight is None:
            return None
        if y.ndim != len(output) - 1 or y.dtype.kind not in "iu" or not isinstance(output[-1], int):
            return super().row_weights(y, output, class_weight)
        classes = output[-1]
        if y.size and (y.min() < 0 or y.max() >= classes):
            raise LabelError(f"class_weight: labels from {y.min()} to {y.max()}, but the model has {classes} outputs")
        return weights_of_labels(class_weight, y, range(classes))


def _weight(value: Any) -> float:
    if not isinstance(value, int | float | np.integer | np.floating):
        raise ArgumentError(f"class weights must be numbers, got {value!r}")
    return float(value)


def weights_of_labels(class_weight: ClassWeight, numbers: Array, names: Sequence[Any]) -> Array:
    """Weight of each row from its class: a mapping by the names of the classes (missing ones: 1), a sequence, or
    "balanced" (rows / classes / count, over the rows that have a class).

    numbers: (rows, ...), the class of each as a position in ``names``; -1: none, of weight 0.
    """
    classes = len(names)
    has_class = numbers >= 0
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise unknown_name("class_weight", class_weight, ["balanced"])
        counts = np.bincount(numbers[has_class], minlength=classes)
        table = counts.sum() / (classes * np.maximum(counts, 1))
    elif isinstance(class_weight, Mapping):
        table = np.ones(classes)
        for k, v in class_weight.items():
            if isinstance(k, bool) or not isinstance(k, int | float | np.integer | np.floating) or k not in names:
                known = f"{names[0]} to {names[-1]}" if isinstance(names, range) else " and ".join(map(str, names))
                raise LabelError(f"class_weight names class {k!r}, but the model has classes {known}")
            table[names.index(k)] = _weight(v)
    else:
        table = np.array(
            [_weight(v) for v in class_weight] if isinstance(class_weight, Iterable) else _weight(class_weight)
        )
        if table.shape != (classes,):
            raise ShapeError(f"class_weight: expected {classes} numbers, got shape {table.shape}")
    if not np.isfinite(table).all() or (table < 0).any():
        raise ArgumentError("class weights must be finite and not negative")
    return np.where(has_class, table[numbers], 0.0)


def get_loss(loss: str | Loss | Callable[..., Any]) -> Loss:
    """A loss by name, an instance or class of one, or a function of traced values."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type) and issubclass(loss, Loss):
        return loss()
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise unknown_name("loss", loss, LOSSES, ELSEWHERE)
        return LOSSES[loss]()
    if callable(loss):
        function: Callable[..., Any] = loss
        return FunctionLoss(function)
    raise ArgumentError(f"loss: expected a name, a Loss or a function, got {type(loss).__name__}")
