"""What a net is to learn, and how wrong it is: an error that is the same whatever loss trains it.

Design: cures change losses and outputs, so that their losses can't be compared. An error can: the share of rows whose
class is wrong, or the squared error over the variance of the targets. Both are kept row by row: two nets on the same
rows are compared pair by pair, which a small validation set allows. Rejected: the loss (differs from cure to cure) and
the user's metrics (may be absent, and say no row's error).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..ir import Array
from ..losses import LOSSES, Loss
from ..losses.classes import ClassLoss, is_labels
from ..train.objective import get_losses

MOST_CLASSES = 50  # of integer targets under a loss of numbers, to be taken for classes
WORST = 10.0  # error of a row of numbers, in variances: what is beyond counts no more


class Task(NamedTuple):
    """kind: "classes" (one of many), "labels" (each output yes or no), "numbers", or "loss" (none of these).

    classes: how many; 0 for others. centre, scale: of targets that are numbers. threshold: from which an output that is
    yes or no says yes. ordinal: outputs are class numbers, to be rounded. of_ids: inputs are
    indices of a table, not sizes.
    """

    kind: str
    classes: int = 0
    centre: Any = 0.0
    scale: Any = 1.0
    threshold: float = 0.0
    ordinal: bool = False
    of_ids: bool = False

    @property
    def chance(self) -> float:
        """The error of a net that has learnt nothing, where no class is more frequent than others."""
        return 1.0 if self.kind in ("numbers", "loss") else 0.5 if self.kind == "labels" else 1.0 - 1.0 / self.classes

    @property
    def unit(self) -> str:
        """What the error is, for an axis."""
        return {"numbers": "squared error / variance (1 - R²)", "loss": "loss"}.get(self.kind, "share that is wrong")

    def truth(self, y: Array) -> Array:
        """The targets as class numbers, yes and no, or numbers of variance 1."""
        y = np.asarray(y)
        if self.kind == "numbers":
            return (y.astype(np.float64) - self.centre) / self.scale
        if self.kind == "classes":
            flat = y.argmax(-1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(len(y))
            return (flat > 0 if y.min() < 0 else flat).astype(np.int64)
        return (y > (0 if y.min() < 0 else 0.5)).astype(np.int64)

    def decisions(self, prediction: Array) -> Array:
        """What a prediction says, to be compared with ``truth``."""
        p = np.asarray(prediction, np.float64)
        if self.kind == "numbers":
            return (p - self.centre) / self.scale
        if self.kind == "labels":
            return (p > self.threshold).astype(np.int64)
        if p.ndim == 2 and p.shape[1] > 1:
            return p.argmax(-1)
        flat = p.reshape(len(p))
        if self.ordinal:
            return np.clip(np.nan_to_num(np.rint(flat)), 0, self.classes - 1).astype(np.int64)
        return (flat > self.threshold).astype(np.int64)

    def errors(self, prediction: Array, y: Array) -> Array:
        """(rows,): 0 or 1, or a share, of what is wrong; squared errors over the variance, at most ``WORST``."""
        said, truth = self.decisions(prediction), self.truth(y)
        if self.kind == "numbers":
            with np.errstate(invalid="ignore", over="ignore"):
                wrong = np.square(said - truth).reshape(len(truth), -1).mean(1)
            return np.minimum(np.nan_to_num(wrong, nan=WORST), WORST)
        return (said != truth).reshape(len(truth), -1).mean(1)

    def text(self, error: float) -> str:
        """An error as people say it."""
        if self.kind == "numbers":
            return f"R² {1 - error:.3f}"
        return f"{100 * error:.1f} % wrong" if self.kind != "loss" else f"loss {error:.4g}"


def task_of(loss: Any, y: Any, output: tuple[Any, ...] | None) -> Task:
    """loss: as Trainer takes it. y: the training targets. output: the shape of the model's one output, None of others.

    Integer targets with few values, from 0 up, are classes whatever the loss: that of numbers may be the fault.
    """
    losses = get_losses(loss)
    if list(losses) != [""] or y is None or isinstance(y, tuple | dict | list) or output is None:
        return Task("loss")
    only, y = losses[""], np.asarray(y)
    if only.ignore_nan and np.isnan(y).any():
        return Task("loss")
    of_classes = only.of_classes
    if of_classes is not None and is_labels(y, output):
        return Task("classes", max(int(output[1]), int(y.max(initial=0)) + 1))
    if y.ndim == 2 and y.shape[1] > 1 and _is_one_hot(y):
        return Task("classes", y.shape[1])
    if isinstance(of_classes, ClassLoss):
        flat = y.reshape(len(y), -1)
        if not np.isin(y, (-1, 0, 1)).all():
            return Task("loss")
        return Task("labels" if flat.shape[1] > 1 else "classes", 0 if flat.shape[1] > 1 else 2)
    if y.shape != tuple(s if isinstance(s, int) else len(y) for s in output):
        return Task("loss")
    if _may_be_classes(only, y):
        return Task("classes", int(y.max()) + 1, threshold=0.5, ordinal=int(y.max()) > 1)
    with np.errstate(over="ignore"):
        scale = y.astype(np.float64).std(0)
    return Task("numbers", centre=y.astype(np.float64).mean(0), scale=np.where(scale > 0, scale, 1.0))


def _is_one_hot(y: Array) -> bool:
    return bool(np.isin(y, (0, 1)).all() and (y.sum(1) == 1).all())


def _may_be_classes(loss: Loss, y: Array) -> bool:
    """Whether numbers (rows,) or (rows, 1) are probably the numbers of classes."""
    if y.size != len(y) or type(loss) is LOSSES.get("poisson"):
        return False
    values = np.unique(y)
    few = MOST_CLASSES if y.dtype.kind in "iub" else 20
    return bool(
        2 <= len(values) <= few and np.array_equal(values, np.arange(len(values))) and len(y) >= 5 * len(values)
    )
