"""Metrics of numbers: exact over an epoch, with any weights; targets that a loss leaves out are left out here too."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..ir import Array, Tensor
from ..losses.classes import columns
from .base import BoundMetric, mean_of, same_shape


class _ElementMetric(BoundMetric):
    """The mean over all elements of a value of each."""

    larger_is_better = False

    def sums(self, prediction: Any, target: Tensor, weight: Tensor | None) -> Any:
        assert self.loss is not None
        point = self.loss.point(prediction)
        same_shape(point, target)
        return self.mean_sums(columns(self._element(point, target)), target, weight)

    def _element(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def finalise(self, sums: Array) -> float:
        return mean_of(sums)


class MeanSquaredError(_ElementMetric, name="mse"):
    """The mean of (prediction - target)**2.

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mae", metrics=["mse"])
    >>> trainer.evaluate([[0.0], [0.0]], [[3.0], [1.0]])["mse"]
    5.0
    """

    def _element(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.square(prediction - target)


class RMSE(MeanSquaredError, name="rmse"):
    """The root of the mean of (prediction - target)**2 of each output, and the mean over the outputs, as scikit-learn's
    root_mean_squared_error.

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mae", metrics=["rmse"])
    >>> trainer.evaluate([[0.0], [0.0]], [[3.0], [3.0]])["rmse"]
    3.0
    """

    def finalise(self, sums: Array) -> float:
        total, weight = sums.reshape(2, -1)
        seen = weight > 0
        return float(np.sqrt(total[seen] / weight[seen]).mean()) if seen.any() else float("nan")


class MeanAbsoluteError(_ElementMetric, name="mae"):
    """The mean of abs(prediction - target).

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mse", metrics=["mae"])
    >>> trainer.evaluate([[0.0], [0.0]], [[3.0], [1.0]])["mae"]
    2.0
    """

    def _element(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.abs(prediction - target)


class MAPE(_ElementMetric, name="mape"):
    """The mean of abs(prediction - target) / max(abs(target), 2**-52), a share, not per cent, as in scikit-learn.

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mse", metrics=["mape"])
    >>> trainer.evaluate([[1.0], [3.0]], [[2.0], [4.0]])["mape"]
    0.375
    """

    def _element(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.abs(prediction - target) / ops.maximum(ops.abs(target), 2.0**-52)


class R2(BoundMetric, name="r2"):
    """1 - sum (prediction - target)**2 / sum (target - mean)**2 per output, and the mean over the outputs.

    Exact over an epoch, with any weights; a target that does not vary counts 1 where all is right, else 0. The sums
    are float32 within a batch of a float32 model: targets whose mean is far larger than their spread lose digits.

    >>> import hawfinch as hf, numpy as np
    >>> trainer = hf.Trainer(hf.Sequential(hf.ReLU()), "mse", metrics=["r2"])
    >>> round(trainer.evaluate([[1.0], [2.0], [3.0]], [[1.0], [2.0], [6.0]])["r2"], 4)
    0.3571
    """

    larger_is_better = True

    def sums(self, prediction: Any, target: Tensor, weight: Tensor | None) -> Any:
        assert self.loss is not None
        point = self.loss.point(prediction)
        same_shape(point, target)
        p, t, seen = columns(point), columns(target), self.seen(target)
        if seen is not None:
            p, t = ops.where(seen, p, 0.0), ops.where(seen, t, 0.0)
        total, count = self.mean_sums(t, target, weight)
        return [count, total, self.total(ops.square(t), weight), self.total(ops.square(p - t), weight)]

    def finalise(self, sums: Array) -> float:
        weight, total, squares, residual = sums.reshape(4, -1)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = squares - total**2 / weight
            scores = np.where(spread > 0, 1 - residual / spread, np.where(residual > 0, 0.0, 1.0))
        return float(scores.mean())
