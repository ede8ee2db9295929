"""Standard scaling: each column to mean 0 and standard deviation 1.

Design: statistics are float64 whatever the data, and a constant column is divided by 1, so it becomes 0. The state is a
plain dict of numbers, so that it fits into JSON beside the weights. Rejected: folding the scale into the first layer's
weights (training on unscaled inputs is what scaling is there to avoid) and pickling (unsafe to load).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FormatError, NonFiniteInputError, NotBuiltError, ShapeError
from ..nn.scaling import standard
from ..values import CheckedCall
from .arrays import as_data

Array = NDArray[Any]


def _checked(x: ArrayLike) -> Array:
    a = as_data(x, "x")
    finite = np.isfinite(a)
    if not finite.all():
        first = np.argwhere(~finite)[0].tolist()
        where = f"row {first[0]}" + (
            f", column {first[1] if len(first) == 2 else tuple(first[1:])}" if first[1:] else ""
        )
        raise NonFiniteInputError(f"{where} (counted from 0) is {a[tuple(first)]}: scaling needs finite numbers")
    return a


class StandardScaler(metaclass=CheckedCall):
    """Scales each column to mean 0 and standard deviation 1, and back.

    Attributes: ``mean`` and ``scale``, float64, of the shape of one row. ``scale`` is 1 where a column is constant.
    Both are None before ``fit``.

    >>> scaler = StandardScaler().fit(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> scaler.transform([[5.0, 7.0]])
    array([[3., 0.]], dtype=float32)
    >>> scaler.inverse([[3.0, 0.0]]).tolist()
    [[5.0, 7.0]]
    """

    def __init__(self) -> None:
        self.mean: NDArray[np.float64] | None = None
        self.scale: NDArray[np.float64] | None = None

    def fit(self, x: ArrayLike) -> StandardScaler:
        """Learn mean and scale over the rows of ``x`` (N, ...), N at least 1, any real dtype. Returns self.

        Raises ``NonFiniteInputError`` for NaN, infinity or a spread that overflows float64, ``ShapeError``,
        ``DTypeError``.
        """
        a = _checked(x)
        if len(a) == 0:
            raise ShapeError(f"StandardScaler.fit needs at least one row, not shape {a.shape}")
        mean, scale = standard(a)
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            raise NonFiniteInputError(f"the spread of the values overflows float64 (largest {np.abs(a).max():.3g})")
        self.mean, self.scale = mean, scale
        return self

    def _fitted(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.mean is None or self.scale is None:
            raise NotBuiltError("this StandardScaler has not been fitted: call fit first")
        if shape != self.mean.shape:
            raise ShapeError(f"rows of shape {shape}, but the scaler was fitted on rows of shape {self.mean.shape}")
        return self.mean, self.scale

    def transform(self, x: ArrayLike) -> Array:
        """``(x - mean) / scale`` for ``x`` (N, ...). float64 stays float64, all else becomes float32.

        Raises ``NonFiniteInputError`` where ``x``, or the result, is not finite; ``ShapeError`` for rows of another
        shape.
        """
        a = _checked(x)
        mean, scale = self._fitted(a.shape[1:])
        dtype = np.float64 if a.dtype == np.float64 and isinstance(x, np.ndarray) else np.float32
        with np.errstate(over="ignore"):
            out = ((a - mean) / scale).astype(dtype)
        if not np.isfinite(out).all():
            row, *column = np.argwhere(~np.isfinite(out))[0].tolist()
            raise NonFiniteInputError(f"row {row}, column {tuple(column)} (counted from 0) overflows when it is scaled")
        return out

    def inverse(self, x: ArrayLike) -> NDArray[np.float64]:
        """``x * scale + mean`` for ``x`` (N, ...), in float64: back to the units of the data."""
        a = _checked(x)
        mean, scale = self._fitted(a.shape[1:])
        return np.asarray(a * scale + mean, np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The state as plain lists of floats, fit for JSON; floats survive the round trip exactly."""
        if self.mean is None or self.scale is None:
            raise NotBuiltError("this StandardScaler has not been fitted: call fit first")
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> StandardScaler:
        """The scaler that ``to_dict`` described. Raises ``FormatError`` when the state is damaged."""
        try:
            if not isinstance(state["mean"], list | float) or not isinstance(state["scale"], list | float):
                raise TypeError("mean and scale")
            mean, scale = np.asarray(state["mean"], np.float64), np.asarray(state["scale"], np.float64)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as e:
            raise FormatError(f"the state of a StandardScaler is damaged: {e!r}") from e
        if mean.shape != scale.shape or not (
            np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()
        ):
            raise FormatError("the state of a StandardScaler is damaged: mean and scale must be finite, scale positive")
        scaler = cls()
        scaler.mean, scaler.scale = mean, scale
        return scaler
