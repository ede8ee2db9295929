"""What a user gives to ``fit``, ``step`` and ``evaluate``, checked before anything is changed.

Design: data reach a plan as ``Data``, arrays that C reads in place, one C call each. What is checked of targets and
weights is checked of all rows before the first step, whatever gives x. Rejected: checks batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.arrays import as_data, as_inputs, check_finite, check_observed, check_whole, input_specs, wrong_shape
from ..data.decoded import Decoded
from ..errors import ArgumentError, HawfinchError, ShapeError
from ..ir import BATCH, Array, Graph, Shape, Spec
from ..losses import ClassWeight, FunctionLoss
from ..losses.base import product_of_weights
from ..nn.module import Module
from ..values import short
from .objective import Head, Objective

MOST_ARRAYS = 8  # inputs, targets and weights of a plan
MOST_SHAPES = 256  # of inputs, whose outputs' shapes are remembered


class Data(NamedTuple):
    """Checked arrays, as a plan reads them: inputs, targets, and for each loss its weights or None. specs: of the
    inputs and of the targets. An input may be a Decoded, whose rows a source takes and checks.
    """

    x: tuple[Any, ...]
    y: tuple[Array, ...]
    weight: tuple[Array | None, ...]
    specs: tuple[tuple[Spec, ...], tuple[Spec, ...]]
    share: Array | None = None  # of each row, where rows are mixed

    @property
    def rows(self) -> int:
        return len(self.x[0])

    @property
    def arrays(self) -> list[Array]:
        """In the order of a plan's sources."""
        mixed = [] if self.share is None else [self.share]
        return [*self.x, *self.y, *[w for w in self.weight if w is not None], *mixed]


def check_data(
    model: Module,
    objective: Objective,
    seed: int,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    *,
    name: str = "",
    checked: dict[Any, Any] | None = None,
    shapes: dict[Any, tuple[Shape, ...]],
    decoded: bool = False,
) -> Data:
    """Everything that is checked of a user's arrays before anything is changed. The model is built if it isn't.

    name: what the arrays are part of, for messages. checked: what calls before this one have checked. shapes: see
    ``outputs_of``. decoded: whether the caller takes the rows of a Decoded by itself.
    """
    try:
        return _check_data(model, objective, seed, x, y, sample_weight, class_weight, checked, shapes, decoded)
    except HawfinchError as error:
        if name:
            error.args = (f"{name}: {error}", *error.args[1:])
        raise


def _check_data(
    model: Module,
    objective: Objective,
    seed: int,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: ClassWeight,
    checked: dict[Any, Any] | None,
    shapes: dict[Any, tuple[Shape, ...]],
    decoded: bool,
) -> Data:
    if x is None:
        raise ArgumentError("x is missing")
    arrays, inputs = inputs_of(model, x, seed, decoded)
    outputs = outputs_of(model, inputs, arrays, shapes)
    if objective.is_single and type(y) is tuple and len(y) == 1 and len(arrays[0]) != 1 and _is_array(y[0]):
        y = y[0]  # as x may be a tuple of one
    given = (*arrays, y, sample_weight, class_weight)
    key = (*map(id, given), objective, outputs)
    if checked is not None and key in checked:
        data: Data = checked[key][0]
        return data
    if len(arrays[0]) == 0:
        raise ShapeError("x has no rows: there is nothing to fit or evaluate")
    targets = targets_of(objective, y, outputs, model.output_names)
    for i, target in enumerate(targets):
        if len(target) != len(arrays[0]):
            several = isinstance(y, tuple | list) and len(targets) == 1 and len(y) and hasattr(y[0], "shape")
            hint = f" (a {type(y).__name__} of {len(y)} arrays, taken as one)" if several else ""
            raise ShapeError(f"x has {len(arrays[0])} rows, {_part('y', i, targets)} has {len(target)}{hint}")
    if not objective.is_single:
        outputs = tuple([outputs[i] for i in places(objective, model.output_names, len(outputs))])
    for i, target in enumerate(targets):
        loss = objective.heads[min(i, len(objective.heads) - 1)].loss
        check_target = check_observed if loss.ignore_nan else check_finite
        check_target(target, "y" if len(targets) == 1 else f"y[{i}]")
    given_targets, targets = targets, _checked_targets(objective, targets, outputs)
    for target in targets:
        if not isinstance(target, np.ndarray) or not 1 <= target.ndim <= 7 or len(target) != len(arrays[0]):
            raise ArgumentError(f"loss: check must give an array of {len(arrays[0])} rows, got {short(target)}")
    weight = weights_of(objective, given_targets, outputs, len(arrays[0]), sample_weight, class_weight)
    for i, a in enumerate(arrays):
        if not isinstance(a, Decoded):
            check_finite(a, "x" if len(arrays) == 1 else f"x[{i}]")
    data = Data(arrays, targets, weight, (inputs, target_specs(targets, outputs)))
    if len(arrays) + len(targets) + len(weight) > MOST_ARRAYS and len(data.arrays) > MOST_ARRAYS:
        raise ArgumentError(f"{len(data.arrays)} inputs, targets and weights; a plan reads at most {MOST_ARRAYS}")
    if checked is not None:
        checked[key] = data, given  # held, so that their ids stay theirs
    return data


def _part(name: str, i: int, of: Sequence[Any]) -> str:
    return name if len(of) == 1 else f"{name}[{i}]"


def inputs_of(model: Module, x: Any, seed: int, decoded: bool = False) -> tuple[tuple[Array, ...], tuple[Spec, ...]]:
    """The inputs as arrays, and what they are in a trace. The model is built for them if it isn't."""
    arrays = as_inputs(x, model.forward, decoded)
    if model.inputs is None:
        model.build(*[a.shape[1:] for a in arrays], seed=seed)
    else:
        model.store()
    built = model.inputs
    assert built is not None
    specs = input_specs(arrays, built)
    for i, spec in enumerate(specs):
        if spec.dtype == "int" and not isinstance(arrays[i], Decoded):
            check_whole(arrays[i], _part("x", i, arrays))
    return arrays, specs


def outputs_of(
    model: Module, inputs: tuple[Spec, ...], arrays: Sequence[Array], shapes: dict[Any, tuple[Shape, ...]]
) -> tuple[Shape, ...]:
    """Shapes of the outputs for such inputs. Raises ShapeError where the model does not take them.

    shapes: what has been found before, for inputs of other shapes than the model was built for.
    """
    if inputs == model.inputs:
        return tuple([spec.shape for spec in model.output_specs])
    found = shapes.get((model.version, inputs))
    if found is None:
        try:
            found = tuple([y.shape for y in model.trace(Graph(), inputs)[1]])
        except ShapeError as error:
            assert model.inputs is not None
            raise wrong_shape(arrays, model.inputs, f" ({error})") from None
        if len(shapes) >= MOST_SHAPES:
            shapes.clear()
        shapes[model.version, inputs] = found
    return found


def places(objective: Objective, names: Sequence[str], n_outputs: int) -> list[int]:
    """For each loss the number of its output: by name where both have names, else in order."""
    mine = [head.name for head in objective.heads]
    if n_outputs != len(mine):
        raise ArgumentError(f"{len(mine)} losses for {n_outputs} output(s): each output needs one")
    if not names or mine == [f"output{i}" for i in range(n_outputs)]:
        return list(range(n_outputs))
    if set(mine) != set(names):
        raise ArgumentError(f"loss: the model's outputs are {', '.join(names)}, the losses are for {', '.join(mine)}")
    return [list(names).index(name) for name in mine]


def targets_of(
    objective: Objective, y: Any, outputs: Sequence[Shape], output_names: Sequence[str]
) -> tuple[Array, ...]:
    """The targets as arrays, in the order of the losses. A tuple of them is in the order of the losses too."""
    if objective.is_single:
        loss = objective.heads[0].loss
        name = type(loss).__name__
        if loss.takes is not None and len(outputs) not in loss.takes:
            several = f"; {name} is of {' or '.join(map(str, loss.takes))}" if loss.takes != (1,) else ""
            plural = "s" if len(outputs) > 1 else ""
            raise ArgumentError(
                f"the model has {len(outputs)} output{plural}: give a loss for each, loss=(..., ...), or a function "
                f"of all{several}"
            )
        if not loss.takes_target:
            if y is not None:
                raise ArgumentError(f"{name} has no targets: y must be None, got {type(y).__name__}")
            return ()
        if y is None:
            raise ArgumentError("y is missing")
        if isinstance(loss, FunctionLoss):
            if isinstance(y, Mapping):
                if set(y) != set(output_names):
                    raise ArgumentError(
                        f"y: a dict by the names of the model's outputs, {list(output_names)}; got {list(y)}"
                    )
                return tuple([as_data(y[k], f"y[{k!r}]") for k in output_names])
            if isinstance(y, tuple) and len(y) > 1 and all(map(_is_array, y)):
                return tuple([as_data(v, f"y[{i}]") for i, v in enumerate(y)])
        if isinstance(y, tuple | list) and len(y) > 1 and all(getattr(v, "ndim", 0) == 2 for v in y):
            raise ArgumentError(f"y: {len(y)} arrays, but there is one loss: give one for each output, loss=(..., ...)")
        return (_whole_numbers(as_data(y, "y"), "y"),)
    if y is None:
        raise ArgumentError("y is missing")
    names = [head.name for head in objective.heads]
    places(objective, output_names, len(outputs))
    if isinstance(y, Mapping):
        if set(y) != set(names):
            raise ArgumentError(f"y: expected targets for {names}, got {list(y)}")
        y = [y[name] for name in names]
    if not isinstance(y, tuple | list) or len(y) != len(names):
        raise ArgumentError(f"y: expected {len(names)} arrays, one for each loss, as a tuple or a dict")
    return tuple([_whole_numbers(as_data(v, f"y[{i}]"), f"y[{i}]") for i, v in enumerate(y)])


def _is_array(value: Any) -> bool:
    """Whether it has axes: no number, no list."""
    return bool(getattr(value, "ndim", 0))


def _whole_numbers(y: Array, name: str) -> Array:
    """y; as numbers, integers are rounded to floats."""
    if y.dtype.kind in "iu" and y.dtype.itemsize == 8 and y.ndim > 1 and y.size:
        top = max(int(y.max()), -int(y.min()))
        if top > 1 << 53:
            raise ArgumentError(f"{name}: {top} is beyond 2**53, where floats skip whole numbers; scale the targets")
    return y


def _checked_targets(objective: Objective, targets: tuple[Array, ...], outputs: Sequence[Shape]) -> tuple[Array, ...]:
    if objective.is_single:
        loss = objective.heads[0].loss
        if len(targets) > 1:
            return targets  # the function's own business
        if not targets:
            loss.check_all(None, outputs)  # type: ignore[arg-type]
            return ()
        one = loss.takes == (1,)
        return (loss.check(targets[0], outputs[0]) if one else loss.check_all(targets[0], outputs),)
    return tuple([_named(h, h.loss.check, y, o) for h, y, o in zip(objective.heads, targets, outputs, strict=True)])


def _named(head: Head, check: Callable[..., Any], y: Array, output: Shape) -> Any:
    try:
        return check(y, output)
    except HawfinchError as error:
        error.args = (f"output {head.name!r}: {error}", *error.args[1:])
        raise


def weights_of(
    objective: Objective,
    targets: tuple[Array, ...],
    outputs: Sequence[Shape],
    rows: int,
    sample_weight: Any,
    class_weight: Any,
) -> tuple[Array | None, ...]:
    """For each loss the weights of its rows or their parts, float64, or None. targets: as the user gave them."""
    if class_weight is not None and not objective.is_single:
        raise ArgumentError("class_weight is for models with one loss; give it to the losses themselves")
    given = None if sample_weight is None else _sample_weight(sample_weight, rows)
    found: list[Array | None] = []
    for i, head in enumerate(objective.heads):
        y = targets[i] if targets else np.zeros((rows, 0))
        weights = head.loss.row_weights(y, outputs[i], class_weight)
        if weights is not None and not _are_numbers(weights, rows):
            raise ArgumentError(f"{head.loss!r}: row_weights must give None or {rows} numbers, got {short(weights)}")
        if given is not None:
            weights = given if weights is None else product_of_weights(_scaled(weights), given)
        found.append(None if weights is None else np.ascontiguousarray(_scaled(weights), dtype=np.float64))
    return tuple(found)


def _are_numbers(value: Any, rows: int) -> bool:
    return type(value) is np.ndarray and value.shape[:1] == (rows,) and value.dtype.kind in "fiub"


def weights_of_batches(objective: Objective, data: Data, order: Array | None, batch: int) -> Array | None:
    """What the loss of each batch is divided by, over the rows in this order; None: the number of its rows. Of several
    losses that of the first."""
    weights, loss = data.weight[0], objective.heads[0].loss
    if loss.ignore_nan:
        seen = np.asarray(loss.observed(data.y[0]), np.float64)
        weights = seen if weights is None else product_of_weights(weights, seen)
    if weights is None:
        return None
    weights = weights.reshape(data.rows, -1).mean(1)
    weights, first = weights if order is None else weights[order], np.arange(0, data.rows, batch)
    if data.share is not None:  # each row is mixed with the next one of its batch
        share, following = data.share if order is None else data.share[order], np.roll(weights, -1)
        following[np.append(first[1:], data.rows) - 1] = weights[first]
        weights = share * weights + (1.0 - share) * following
    found: Array = np.add.reduceat(weights, first)
    return found


def _sample_weight(value: Any, rows: int) -> Array:
    given = as_data(value, "sample_weight")
    if len(given) != rows:
        raise ShapeError(f"sample_weight: expected one number per row ({rows},), got shape {given.shape}")
    given = given.astype(np.float64)
    check_finite(given, "sample_weight")
    if (given < 0).any():
        raise ArgumentError("sample_weight must not be negative")
    if not given.any():
        raise ArgumentError("sample_weight: all are 0, so that there is nothing to learn or to measure")
    return _scaled(given)


def _scaled(weights: Array) -> Array:
    """Only the ratios of weights matter: those that float32 sums would lose are scaled by a power of two, exactly."""
    top = weights.max(initial=0.0)
    if top == 0 or 2.0**-40 < top < 2.0**40:
        return weights
    scaled: Array = np.ldexp(weights, -int(np.frexp(top)[1]))
    return scaled


def target_specs(targets: Sequence[Array], outputs: Sequence[Shape]) -> tuple[Spec, ...]:
    """Shape and dtype of the targets in a trace: labels are integers, other whole numbers are numbers.

    Labels are one per row, or one per position of an output (rows, ..., classes).
    """
    return tuple(
        [
            Spec((BATCH, *y.shape[1:]), "int" if _are_labels(y, outputs[min(i, len(outputs) - 1)]) else "real")
            for i, y in enumerate(targets)
        ]
    )


def _are_labels(y: Array, output: Shape) -> bool:
    return y.dtype == np.int64 and output[1:] != () and (y.ndim == 1 or y.shape[1:] == output[1:-1])
