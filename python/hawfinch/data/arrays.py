"""Checks of user arrays: everything that can be wrong with them is said before C runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, DTypeError, LabelError, NonFiniteInputError, ShapeError
from ..ir import BATCH, Array, Spec, row_shapes
from ..values import short

if TYPE_CHECKING:
    from pathlib import Path
from .decoded import Decoded


def as_array(value: Any, name: str) -> Array:
    """value as an array of whatever dtype it has. Raises ShapeError for ragged rows, DTypeError for a masked array."""
    subclass = isinstance(value, np.ndarray) and type(value) is not np.ndarray
    if subclass and isinstance(value, np.ma.MaskedArray):  # numpy.ma takes 10 ms to import
        raise DTypeError(f"{name}: masked arrays are not supported; fill the gaps first, with x.filled(value)")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name}: rows of different lengths ({error})") from None
    except Exception as error:
        raise DTypeError(f"{name}: {type(value).__name__} can't be made an array ({error})") from error
    return array


def as_data(value: Any, name: str) -> Array:
    """value as an array of a dtype that the engine reads in place: float32/64, (u)int8..64, bool; any strides.

    float16 and extended floats are converted (a copy), so are byte-swapped arrays and frames whose columns have
    several dtypes. Raises DTypeError, ShapeError.
    """
    array = as_array(value, name)
    if array.dtype.kind == "O" and callable(getattr(value, "items", None)) and hasattr(value, "dtypes"):
        array = _from_frame(value, name)
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiub":
        what = f"{'text of ' if kind in 'US' else ''}dtype {array.dtype}"
        raise DTypeError(f"{name}: {what} is not supported; expected float, int or bool numbers")
    if kind == "f" and size not in (4, 8):
        with np.errstate(over="ignore"):  # an infinity is reported with its place
            array = array.astype(np.float32 if size == 2 else np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 0 or array.ndim > 7:
        raise ShapeError(f"{name}: expected an array with a row axis and at most 6 more, got shape {array.shape}")
    return array


def _from_frame(frame: Any, name: str) -> Array:
    """A frame (pandas) with columns of several dtypes, such as floats and booleans, column by column; missing: NaN."""
    columns = []
    for label, column in frame.items():
        if getattr(column.dtype, "kind", "O") not in "fiub":
            raise DTypeError(
                f"{name}: column {label!r} has dtype {column.dtype}; expected numbers: leave it out, or encode it "
                "(hf.data.TableEncoder, pandas.get_dummies)"
            )
        missing = {} if isinstance(column.dtype, np.dtype) else {"dtype": np.float64, "na_value": np.nan}
        columns.append(column.to_numpy(**missing))
    return np.column_stack(columns)


def _from_objects(array: Array, name: str) -> Array:
    """Python objects that are numbers, as int64 or float64: a frame of floats and booleans comes as these."""
    if array.ndim == 0:
        raise DTypeError(f"{name}: expected an array of numbers, got {type(array[()]).__name__}")
    integers = True
    for at in np.ndindex(array.shape):
        value = array[at]
        if not isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating):
            where = ", ".join(map(str, at))
            if isinstance(value, list | tuple | np.ndarray):
                raise ShapeError(f"{name}: rows of different lengths (a ragged list), the first at [{where}]")
            raise DTypeError(f"{name}: {type(value).__name__} {value!r:.40} at [{where}]; expected numbers")
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if whole and not -(1 << 63) <= value < 1 << 63:
            raise DTypeError(f"{name}: {value!r:.40} is too large for 64 bits; pass it as a float")
        integers = integers and whole
    return array.astype(np.int64 if integers else np.float64)


def as_inputs(x: Any, forward: Any = None, decoded: bool = False) -> tuple[Array, ...]:
    """The model's inputs: one array, or a tuple of arrays with the same number of rows, or a dict of them by the names
    of the arguments of ``forward``. decoded: whether a Decoded stays one, instead of becoming an array."""
    if isinstance(x, Mapping):
        x = _by_argument(x, forward)
    many = isinstance(x, tuple)
    arrays: tuple[Any, ...] = tuple(
        v if decoded and isinstance(v, Decoded) else as_data(v, f"x[{i}]" if many else "x")
        for i, v in enumerate(x if many else (x,))
    )
    for i, a in enumerate(arrays):
        if len(a) != len(arrays[0]):
            raise ShapeError(f"inputs of different lengths: x[0] has {len(arrays[0])} rows, x[{i}] has {len(a)}")
    return arrays


def _by_argument(x: Mapping[Any, Any], forward: Any) -> tuple[Any, ...]:
    code = getattr(getattr(forward, "__func__", forward), "__code__", None)
    names = () if code is None else code.co_varnames[1 : code.co_argcount]
    if set(x) != set(names):
        expected = f"forward takes {', '.join(names)}" if names else "the inputs here have no names"
        raise ArgumentError(f"x: got a dict of {', '.join(map(str, x))}; {expected}")
    return tuple([x[name] for name in names])


def input_specs(arrays: Sequence[Array], built: Sequence[Spec]) -> tuple[Spec, ...]:
    """What these arrays are as inputs of a model built for the others; their shapes may differ, not their axes."""
    if [a.ndim for a in arrays] != [len(spec.shape) for spec in built]:
        raise wrong_shape(arrays, built)
    return tuple([Spec((BATCH, *a.shape[1:]), spec.dtype) for a, spec in zip(arrays, built, strict=True)])


def check_finite(array: Array, name: str) -> None:
    """Raises NonFiniteInputError naming the place of the first NaN or infinity."""
    at = _core.first_nonfinite(array)
    if at is not None:
        where = f"row {at[0]}" + (
            f", column {at[1]}" if len(at) == 2 else f", position {at[1:]}" if len(at) > 2 else ""
        )
        raise NonFiniteInputError(f"{name} holds {array[at]} in {where}; remove or fill such values first", tensor=name)


def check_observed(array: Array, name: str) -> None:
    """As ``check_finite``, but NaN is a value that is missing; raises NonFiniteInputError where all of them are."""
    if _core.first_nonfinite(array) is not None:
        check_finite(np.where(np.isnan(array), 0.0, array), name)
        if np.isnan(array).all():
            raise NonFiniteInputError(f"{name}: all are NaN, so that there is nothing to learn or to measure")


def wrong_index(arrays: Sequence[Any], specs: Sequence[Spec], where: str = "") -> LabelError:
    """The error for an index that C has found outside of its table: says what the inputs hold that are indices."""
    names = ["x" if len(arrays) == 1 else f"x[{i}]" for i in range(len(arrays))]
    held = [
        f"{name} holds {a.min():g} to {a.max():g}"
        for name, a, spec in zip(names, arrays, specs, strict=True)
        if spec.dtype == "int" and isinstance(a, np.ndarray) and a.size
    ]
    said = f"; {', '.join(held)}" if held else ""
    return LabelError(f"{where}an index is outside of the table that it reads{said}")


def check_whole(array: Array, name: str) -> None:
    """Raises LabelError naming the place of the first number that is not whole: what forward uses as an index."""
    if array.dtype.kind == "f":
        at = np.argwhere(array != np.floor(array))
        if len(at):
            place = tuple(at[0].tolist())
            raise LabelError(f"{name} holds {array[place]} at {place}; this input is used as indices: whole numbers")


def reads_as_is(spec: Spec, array: Array) -> bool:
    """Whether every finite value of such an array is one of the input's: no index has to be looked at (check_whole)."""
    return spec.dtype != "int" or array.dtype.kind in "iu"


def check_features(arrays: Sequence[Array], expected: Sequence[Spec]) -> None:
    """The inputs must have the shapes that the model was built for."""
    if [a.shape[1:] for a in arrays] != [spec.shape[1:] for spec in expected]:
        raise wrong_shape(arrays, expected)
    for i, (a, spec) in enumerate(zip(arrays, expected, strict=True)):
        if spec.dtype == "int":
            check_whole(a, "x" if len(arrays) == 1 else f"x[{i}]")


def wrong_shape(arrays: Sequence[Array], expected: Sequence[Spec], why: str = "") -> ShapeError:
    """The error for inputs that a model built for the expected ones does not take."""
    if len(arrays) != len(expected):
        return ShapeError(f"the model takes {len(expected)} input(s), got {len(arrays)}")
    got = ", ".join([str(a.shape) for a in arrays])
    if any([a.ndim == 1 < len(spec.shape) for a, spec in zip(arrays, expected, strict=True)]):
        why = "; for one row use x[None, :], for one feature x[:, None]"
    return ShapeError(f"x: expected {row_shapes(expected)}, the shape that the model was built for; got {got}{why}")


def as_path(value: Any) -> Path:
    """value as a path. Raises ArgumentError for what can't name a file."""
    import os
    from pathlib import Path  # slow to import

    try:
        path = Path(value)
        os.fsencode(path)
        if "\0" in path.name:
            raise ValueError
    except (TypeError, ValueError):
        raise ArgumentError(f"path must be a file's name, not {short(value)}") from None
    return path
