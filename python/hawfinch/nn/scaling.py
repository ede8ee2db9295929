"""Scaling as layers: of inputs (Standardize, MinMaxScale, RobustScale, Rescale) and of targets (TargetScale).

Design: the numbers are state arrays of the layer, so that they are in the model's file, a plan reads them like any
other, and ``predict`` takes and gives what the user has. ``Trainer.fit`` learns them, once, from its training rows
(``learn`` here has the formulas, train/learn_scales.py finds the rows). A graph lists the layers that learn
(``Graph.scalings``). Rejected: options of Trainer, which ``predict`` and a file would not know of; arrays scaled before
training, a second way from data to a net; weights that absorb the scale (training on unscaled inputs is what scaling is
there to avoid).
"""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from .. import ops
from ..errors import ArgumentError, NonFiniteInputError, ShapeError, unknown_name
from ..ir import Array, Tensor, as_array, current_graph, numel
from ..values import check_real, check_whole, is_word, short
from .module import Module

LEAST_SHARE = 1e-7  # whose normal quantile is -5.2
QUANTILES = 1000  # of a TargetScale("quantile")
SHARED = ("feature", "channel", "all")


def standard(a: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of float64 or other real a over its rows; exactly that value and 1 for a constant."""
    low, high = np.nanmin(a, axis=0).astype(np.float64), np.nanmax(a, axis=0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.nanmean(a, axis=0, dtype=np.float64)
        spread = np.nanstd(a, axis=0, dtype=np.float64, mean=np.asarray(mean)[np.newaxis])
    return np.where(high == low, low, mean), np.where((high == low) | (spread == 0.0), 1.0, spread)


def min_max(a: Array) -> tuple[Array, Array]:
    """Least value and range."""
    low, high = np.nanmin(a, axis=0).astype(np.float64), np.nanmax(a, axis=0).astype(np.float64)
    with np.errstate(over="ignore"):
        return low, np.where(high == low, 1.0, high - low)


def robust(a: Array) -> tuple[Array, Array]:
    """Median and interquartile range; where that is 0 half the range, where that is 0 too 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        quarter, median, three = np.nanpercentile(a, (25, 50, 75), axis=0)
        low, span = min_max(a)
        spread = three - quarter
    constant = np.nanmax(a, axis=0) == low
    return np.asarray(median), np.where(spread > 0, spread, np.where(constant, 1.0, span / 2))


STATISTICS = {"standard": standard, "minmax": min_max, "robust": robust}


class _Scaling(Module):
    """A layer that learns. ``rows``: from how many rows it has learnt; 0 before."""

    per = "feature"
    _may_miss = False  # whether a NaN stands for a number that is not known

    def learn(self, x: Any) -> Self:
        """Sets the layer's numbers from the rows of x (rows, ...), in float64; returns the layer. ``Trainer.fit`` does
        it where nobody has.

        Raises ShapeError, NonFiniteInputError.
        """
        a = as_array(x, "x")
        a = a.astype(np.uint8) if a.dtype.kind == "b" else a
        if a.ndim == 0 or not a.size or a.dtype.kind not in "fiub":
            raise ShapeError(f"{type(self).__name__}: expected rows of numbers, got {a.dtype} of shape {a.shape}")
        if not np.isfinite(a).all() and not self._may_miss:
            raise NonFiniteInputError(f"{type(self).__name__}: x holds a NaN or an infinity; fill or remove it first")
        if not self._hf.own:
            self.build(a.shape[1:])
        found, arrays = self._learn(a, {k: v.shape for k, v in self.buffers().items()}), self.buffers()
        with np.errstate(over="ignore", under="ignore"):
            cast = {k: v.astype(arrays[k].dtype) for k, v in found.items()}
        for array in cast.values():
            if not np.isfinite(array).all():
                raise NonFiniteInputError(f"{type(self).__name__}: the values or their spread overflow {array.dtype}")
        for k, array in cast.items():
            arrays[k][...] = array
        arrays["rows"][...] = len(a)
        return self

    def _learn(self, a: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        """The arrays of these shapes, by name, for rows a."""
        raise NotImplementedError

    def _line(self, x: Tensor, n: int, output: str) -> tuple[Tensor, Tensor, Array]:
        """x as (rows, features), its n quantiles (features, n), and what stands for them, (n,)."""
        if not all(isinstance(n, int) for n in x.shape[1:]):
            raise ShapeError(f"{type(self).__name__}: expected rows of a fixed shape, got {x.shape[1:]}")
        values, features = np.linspace(0.0, 1.0, n), numel(x.shape[1:])
        if output == "normal":
            from statistics import NormalDist  # slow to import

            normal = NormalDist()
            values = np.array([normal.inv_cdf(v) for v in np.clip(values, LEAST_SHARE, 1 - LEAST_SHARE)])
        self.state("rows", (1,), "zeros")
        start = lambda sizes, *_: np.broadcast_to(values, sizes)  # noqa: E731
        quantiles = self.state("quantiles", (features, n), start)  # type: ignore[arg-type]
        return ops.reshape(x, (x.shape[0], features)), quantiles, values

    def _learn_quantiles(self, a: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        features, n = shapes["quantiles"]
        flat = a.reshape(len(a), -1).astype(np.float64)
        if flat.shape[1] != features:
            raise self._wrong_rows(a, (features,))
        found = np.nanpercentile(flat, np.linspace(0.0, 100.0, n), axis=0).T
        return {"quantiles": np.maximum.accumulate(found, 1)}  # rounding may put them out of order

    def _wrong_rows(self, a: Array, expected: tuple[int, ...]) -> ShapeError:
        name = type(self).__name__
        return ShapeError(f"{name} has numbers for rows of shape {expected}, got x of shape {a.shape}")

    def _noted(self, x: Tensor, y: Tensor) -> Tensor:
        """y, entered into the graph's list of what learns."""
        graph = current_graph()
        assert graph is not None
        graph.scalings.append((self, x, y))
        return y


class _Affine(_Scaling):
    """With the arrays ``center`` and ``scale``, 0 and 1 before ``learn``."""

    statistics = "standard"

    def _numbers(self, shape: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        """center and scale, for values (rows, *shape)."""
        self.state("rows", (1,), "zeros")
        kept = {"feature": shape, "channel": shape[-1:], "all": ()}[self.per]
        if not all(isinstance(n, int) for n in kept):
            raise ShapeError(f"{type(self).__name__}: expected rows of a fixed shape, got {shape}")
        return self.state("center", kept, "zeros"), self.state("scale", kept, "ones")

    def _learn(self, a: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        kept = shapes["center"]
        if kept != a.shape[a.ndim - len(kept) :] or (self.per == "feature" and kept != a.shape[1:]):
            raise self._wrong_rows(a, kept)
        flat = a.reshape(-1, *kept) if self.per != "feature" else a
        center, scale = STATISTICS[self.statistics](self._prepared(flat))
        return {"center": center, "scale": np.where(scale > 0, scale, 1.0)}

    def _prepared(self, a: Array) -> Array:
        return a


class _InputScaling(_Affine):
    def __init__(self, per: str = "feature"):
        if not is_word(per, *SHARED):
            raise unknown_name(f"{type(self).__name__}: per", per, SHARED)
        self.per = per

    def forward(self, x: Tensor) -> Tensor:
        center, scale = self._numbers(x.shape[1:])
        return self._noted(x, (x - center) / scale)


class Standardize(_InputScaling):
    """(x - mean) / deviation, of the rows that ``fit`` trains on; x (rows, ...).

    ``Trainer.fit`` learns the numbers from its training rows alone, once, before the first step: validation, predict
    and a loaded model use those. Put it first. per: "feature" (default), numbers for each element of a row; "channel",
    for each element of the last axis, as images want it; "all", one of each. A constant feature becomes 0. Arrays:
    ``center``, ``scale``, ``rows``; see ``learn``, for ``step`` and for rows of one's own. The layer reads numbers of
    the model's dtype: in float32 a column such as seconds since 1970 has lost its digits, subtract a number first.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.array([[1000.0, 7.0], [3000.0, 7.0]])
    >>> model = hf.Sequential(hf.Standardize(), hf.Linear(1))
    >>> history = hf.Trainer(model, "mse").fit(x, x[:, :1], epochs=1)
    >>> {name: array.tolist() for name, array in model.buffers().items()}
    {'0.rows': [2.0], '0.center': [2000.0, 7.0], '0.scale': [1000.0, 1.0]}
    """


class MinMaxScale(_InputScaling):
    """low + (high - low) (x - min) / (max - min), of the rows that ``fit`` trains on. low, high: default 0 and 1.

    Rows outside of the training range go beyond low and high. per and the rest: as in Standardize.

    >>> import numpy as np, hawfinch as hf
    >>> layer = hf.MinMaxScale().learn(np.array([[1.0], [3.0]]))
    >>> layer.predict([[2.0], [5.0]])
    array([[0.5],
           [2. ]], dtype=float32)
    """

    statistics = "minmax"

    def __init__(self, low: float = 0.0, high: float = 1.0, *, per: str = "feature"):
        super().__init__(per)
        self.low = check_real(low, "MinMaxScale: low", "that is finite", math.isfinite)
        self.high = check_real(high, "MinMaxScale: high", "that is finite", math.isfinite)
        if not low < high:
            raise ArgumentError(f"MinMaxScale: low must be below high, got {short(low)} and {short(high)}")

    def forward(self, x: Tensor) -> Tensor:
        center, scale = self._numbers(x.shape[1:])
        y = (x - center) / scale
        return self._noted(x, y if (self.low, self.high) == (0.0, 1.0) else y * (self.high - self.low) + self.low)


class RobustScale(_InputScaling):
    """(x - median) / (interquartile range), of the rows that ``fit`` trains on, and then, unless clip is None,
    y / sqrt(1 + (y / clip)^2): nearly y for small y, never beyond +-clip.

    clip: default 3. Outliers then move neither the numbers nor the net. Where the quartiles are equal, half of the
    range takes their place (scikit-learn: 1). per and the rest: as in Standardize. Holzmueller, Grinsztajn, Steinwart,
    NeurIPS 2024 (RealMLP).

    >>> import numpy as np, hawfinch as hf
    >>> layer = hf.RobustScale().learn(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]))
    >>> layer.predict([[2.0], [3.0], [1e6]]).round(2).ravel()
    array([0.  , 0.49, 3.  ], dtype=float32)
    """

    statistics = "robust"

    def __init__(self, clip: float | None = 3.0, *, per: str = "feature"):
        super().__init__(per)
        self.clip = None if clip is None else check_real(clip, "RobustScale: clip", "above 0", lambda v: 0 < v < 1e18)

    def forward(self, x: Tensor) -> Tensor:
        center, scale = self._numbers(x.shape[1:])
        y = (x - center) / scale
        return self._noted(x, y if self.clip is None else smooth_clip(y, self.clip))


class QuantileScale(_Scaling):
    """The share of training values below x, from 0 to 1, or where the normal distribution has it; x (rows, ...).

    Monotone, blind to units and outliers: each feature becomes evenly or normally spread. A line between n_quantiles
    (default 1000) quantiles of the rows that ``fit`` trains on; a value that rows share gets the middle of their ranks;
    what lies outside of the training range gets the end. output: "normal" (default, for a net has weights for such
    numbers; within +-5.2) or "uniform" (scikit-learn's default). The line is one in the output's units, in scikit-learn
    it is one of ranks: "normal" agrees at the quantiles, but where rows share one. Arrays: ``quantiles`` (features,
    n_quantiles), ``rows``. The rest: as in Standardize.

    >>> import numpy as np, hawfinch as hf
    >>> layer = hf.QuantileScale(5, output="uniform").learn(np.array([[1.0], [2.0], [4.0], [50.0], [900.0]]))
    >>> layer.predict([[0.0], [2.0], [3.0], [900.0]]).ravel()
    array([0.   , 0.25 , 0.375, 1.   ], dtype=float32)
    """

    def __init__(self, n_quantiles: int = 1000, *, output: str = "normal"):
        self.n_quantiles = check_whole(n_quantiles, "QuantileScale: n_quantiles", 2)
        if not is_word(output, "normal", "uniform"):
            raise unknown_name("QuantileScale: output", output, ["normal", "uniform"])
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        flat, quantiles, values = self._line(x, self.n_quantiles, self.output)
        return self._noted(x, ops.reshape(ops.interp(flat, quantiles, values), x.shape))

    def _learn(self, a: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        return self._learn_quantiles(a, shapes)


def smooth_clip(y: Any, clip: float) -> Any:
    """y / sqrt(1 + (y / clip)^2), without a square that overflows: both sides of a fraction are divided by |y| where
    that is above clip."""
    large = ops.maximum(ops.abs(y) * (1.0 / clip), 1.0)
    share = y * (1.0 / clip) / large  # of the larger of |y| and clip
    return y / large / ops.sqrt(1.0 / (large * large) + share * share)


class Rescale(Module):
    """x * scale + offset, with numbers that are given. scale: default 1/255, for images of bytes. offset: default 0.

    >>> import numpy as np, hawfinch as hf
    >>> hf.Rescale().predict(np.array([[0, 51, 255]], np.uint8)).round(3)
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    def __init__(self, scale: float = 1 / 255, offset: float = 0.0):
        self.scale = check_real(scale, "Rescale: scale", "that is finite", math.isfinite)
        self.offset = check_real(offset, "Rescale: offset", "that is finite", math.isfinite)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.offset


class TargetScale(_Affine):
    """The last layer of a net of numbers: z * scale + center, back to the units of the targets, learnt scaled.

    kind: "standard" (default; mean and deviation of the targets that ``fit`` trains on, each column by itself),
    "minmax", "robust" (median and interquartile range), "log": e**(z * scale + center) - 1, mean and deviation of
    log(1 + y), for targets above -1 whose errors are relative ones; or "quantile": what ``QuantileScale`` makes normal,
    by lines between 1000 quantiles, whatever the targets' distribution; no prediction is beyond the targets of ``fit``.
    ``fit`` learns the numbers from the training targets alone, once. The loss, in History and ``evaluate`` too, is that
    of the scaled targets, which the optimiser sees; metrics, ``predict`` and files are in the targets' units. Losses
    whose targets have a meaning of their own (labels, probabilities, counts) can't be scaled: ArgumentError, as for a
    TargetScale in ``fit`` that gives no output of the model.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> y = 5e6 + 1e6 * x
    >>> model = hf.Sequential(hf.Linear(1), hf.TargetScale())
    >>> trainer = hf.Trainer(model, "mse", hf.Adam(lr=0.1), metrics=["mae"])
    >>> history = trainer.fit(x, y, epochs=100)
    >>> history["loss"][0] < 10, bool(abs(model.predict([[0.5]]) - 5.5e6) < 1e4)
    (True, True)
    """

    _may_miss = True

    def __init__(self, kind: str = "standard"):
        if not is_word(kind, *STATISTICS, "log", "quantile"):
            raise unknown_name("TargetScale: kind", kind, [*STATISTICS, "log", "quantile"])
        self.kind = kind

    @property
    def statistics(self) -> str:  # type: ignore[override]
        return "standard" if self.kind == "log" else self.kind

    def forward(self, z: Tensor) -> Tensor:
        if self.kind == "quantile":
            flat, quantiles, values = self._line(z, QUANTILES, "normal")
            features = range(flat.shape[1])  # type: ignore[arg-type]
            columns = [ops.interp(flat[:, i : i + 1], values[None, :], quantiles[i]) for i in features]
            return self._noted(z, ops.reshape(ops.concat(columns, 1), z.shape))
        center, scale = self._numbers(z.shape[1:])
        y = z * scale + center
        return self._noted(z, ops.expm1(y) if self.kind == "log" else y)

    def scaled(self, y: Tensor) -> Tensor:
        """Targets as the loss sees them; within a trace of the layer. NaN stays what it is."""
        if self.kind == "quantile":
            flat, quantiles, values = self._line(y, QUANTILES, "normal")
            z = ops.reshape(ops.interp(ops.where(ops.equal(flat, flat), flat, 0.0), quantiles, values), y.shape)
            return ops.where(ops.equal(y, y), z, y)
        center, scale = self._numbers(y.shape[1:])
        return ((ops.log1p(y) if self.kind == "log" else y) - center) / scale

    def _learn(self, a: Array, shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
        return self._learn_quantiles(a, shapes) if self.kind == "quantile" else super()._learn(a, shapes)

    def _prepared(self, a: Array) -> Array:
        if self.kind != "log":
            return a
        if np.nanmin(a) <= -1:
            raise ArgumentError(f'TargetScale("log") is for targets above -1, got {np.nanmin(a)}')
        return np.log1p(a.astype(np.float64))
