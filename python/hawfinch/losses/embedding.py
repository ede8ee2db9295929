"""Losses of embeddings: contrastive, triplet.

Design: a row is a pair or a triplet: the model embeds its members with shared weights, as outputs of their own or side
by side in one output (rows, members, size), which a Sequential of row-wise layers gives for such an input. So they are
losses like others, and batches of any size do. Rejected: pairs formed within the batch by label: their number grows
with the square of the batch, and the last short batch would weigh differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import ops
from ..errors import LabelError, ShapeError
from ..ir import Array, Shape, Tensor
from ..values import check_flag, check_real
from .base import Loss, rows_text


def _members(prediction: Any, n: int) -> list[Any]:
    if isinstance(prediction, Mapping):
        prediction = tuple(prediction.values())
    if isinstance(prediction, tuple):
        return list(prediction)
    return [prediction[:, i] for i in range(n)]


def _check_members(outputs: Sequence[Shape], n: int, name: str) -> None:
    one = len(outputs) == 1
    if (one and (len(outputs[0]) < 3 or outputs[0][1] != n)) or len(set(outputs)) > 1:
        shapes = ", ".join(rows_text(s[1:]) for s in outputs)
        raise ShapeError(f"{name}: expected {n} outputs of one shape, or one output (rows, {n}, size); got {shapes}")


def _distance(a: Any, b: Any, p: float, eps: float) -> Tensor:
    """(sum |a - b + eps|**p)**(1 / p): (rows,). eps keeps the gradient finite where a = b, as in PyTorch."""
    d = a - b + eps
    axes = tuple(range(1, len(d.shape)))
    if p == 2:
        return ops.sqrt(ops.sum(ops.square(d), axes))
    if p == 1:
        return ops.sum(ops.abs(d), axes)
    return ops.pow(ops.sum(ops.pow(ops.abs(d), p), axes), 1.0 / p)


class Contrastive(Loss, name="contrastive"):
    """(t D**2 + (1 - t) max(0, margin - D)**2) / 2, D the distance of a pair of embeddings: t = 1 for a pair that
    belongs together, 0 for one that is to be at least margin (default 1) apart.

    The model gives two outputs of one shape, or one (rows, 2, size). Targets: (rows,) of 0 and 1. eps: default 1e-6,
    added to the difference, as in PyTorch's pairwise_distance. Raises ShapeError, LabelError. Hadsell, Chopra, LeCun,
    CVPR 2006, where t is the other way round.

    >>> near, far = np.array([[[0.0], [0.5]]]), np.array([[[0.0], [3.0]]])
    >>> loss = hf.Contrastive()
    >>> loss(near, np.array([1])).round(4), loss(near, np.array([0])).round(4), loss(far, np.array([0]))
    (array([0.125]), array([0.125]), array([0.]))
    """

    checks_values = True
    takes = (1, 2)

    def __init__(self, margin: float = 1.0, *, eps: float = 1e-6):
        self.margin = check_real(margin, "Contrastive: margin", "above 0", lambda v: 0 < v < float("inf"))
        self.eps = check_real(eps, "Contrastive: eps", "above 0", lambda v: 0 < v < 1)

    def __call__(self, prediction: Any, target: Tensor) -> Tensor:
        a, b = _members(prediction, 2)
        d = _distance(a, b, 2, self.eps)
        apart = ops.square(ops.relu(self.margin - d))
        return ops.where(ops.greater(target, 0.5), ops.square(d), apart) * 0.5

    def check_all(self, y: Array, outputs: Sequence[Shape]) -> Array:
        _check_members(outputs, 2, "Contrastive")
        y = self.check(y, outputs[0][:1])
        if y.size and not ((y == 0) | (y == 1)).all():
            raise LabelError(f"Contrastive: targets must be 0 or 1 (together), got values from {y.min()} to {y.max()}")
        return y


class Triplet(Loss, name="triplet"):
    """max(0, D(anchor, positive) - D(anchor, negative) + margin): what belongs together is nearer by margin (default
    1) than what does not. PyTorch's TripletMarginLoss.

    The model gives three outputs of one shape (anchor, positive, negative), or one (rows, 3, size). There are no
    targets: ``fit(x, None)``. D is the p-norm (default 2) of the difference + eps (default 1e-6). swap (default
    False): D(positive, negative) takes the place of D(anchor, negative) where it is less. Raises ShapeError. Balntas
    and others, BMVC 2016.

    >>> hf.Triplet()(np.array([[[0.0], [1.0], [1.5]]]), None).round(4)
    array([0.5])
    >>> model = hf.Sequential(hf.Linear(2))
    >>> history = hf.Trainer(model, hf.Triplet()).fit(np.ones((8, 3, 4)), None)
    """

    takes = (1, 3)
    takes_target = False

    def __init__(self, margin: float = 1.0, p: float = 2.0, *, swap: bool = False, eps: float = 1e-6):
        self.margin = check_real(margin, "Triplet: margin", "above 0", lambda v: 0 < v < float("inf"))
        self.p = check_real(p, "Triplet: p", ">= 1", lambda v: 1 <= v < float("inf"))
        self.swap = check_flag(swap, "Triplet: swap")
        self.eps = check_real(eps, "Triplet: eps", "above 0", lambda v: 0 < v < 1)

    def __call__(self, prediction: Any, target: Any = None) -> Tensor:
        anchor, positive, negative = _members(prediction, 3)
        far = _distance(anchor, negative, self.p, self.eps)
        if self.swap:
            far = ops.minimum(far, _distance(positive, negative, self.p, self.eps))
        return ops.relu(_distance(anchor, positive, self.p, self.eps) - far + self.margin)

    def check_all(self, y: Any, outputs: Sequence[Shape]) -> Any:
        _check_members(outputs, 3, "Triplet")
        return y
