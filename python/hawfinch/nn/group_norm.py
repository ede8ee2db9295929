"""GroupNorm and InstanceNorm: each sample's channels normalised, in groups or one by one."""

from __future__ import annotations

from .. import ops
from ..errors import ShapeError
from ..ir import Tensor
from ..values import check_flag, check_real, check_whole
from .batch_norm import check_features
from .module import Module


class GroupNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and biased variance over each sample's groups of channels.

    x (rows, ..., C), channels last; a group is C / groups channels that follow each other, at all positions. groups: a
    divisor of C. eps: default 1e-5. The same in training and inference, whatever the batch size. One group is layer
    norm over all of a sample's numbers. Raises ShapeError, ArgumentError. Wu, He, ECCV 2018.

    >>> import hawfinch as hf
    >>> hf.GroupNorm(2, eps=1e-12).predict([[1.0, 3.0, 10.0, 30.0]])
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(self, groups: int, *, eps: float = 1e-5):
        self.groups = check_whole(groups, "GroupNorm: groups", 1)
        self.eps = check_real(eps, "GroupNorm: eps", "above 0", lambda v: 0 < v < float("inf"))

    def forward(self, x: Tensor) -> Tensor:
        c = check_features(x)
        weight, bias = self.param("weight", (c,), "ones"), self.param("bias", (c,), "zeros")
        return ops.group_norm(x, self.groups, weight, bias, self.eps)


class InstanceNorm(Module):
    """y = (x - mean) / sqrt(var + eps), mean and biased variance of each sample's channel over its positions.

    x (rows, ..., C), channels last, with at least one axis of positions. eps: default 1e-5. affine: whether
    y * weight + bias follows; default False, as in PyTorch. The same in training and inference (no running averages).
    Raises ShapeError, ArgumentError. Ulyanov, Vedaldi, Lempitsky, 2016.

    >>> import hawfinch as hf
    >>> hf.InstanceNorm(eps=1e-12).predict([[[1.0, 10.0], [3.0, 30.0]]])
    array([[[-1., -1.],
            [ 1.,  1.]]], dtype=float32)
    """

    def __init__(self, *, eps: float = 1e-5, affine: bool = False):
        self.eps = check_real(eps, "InstanceNorm: eps", "above 0", lambda v: 0 < v < float("inf"))
        self.affine = check_flag(affine, "InstanceNorm: affine")

    def forward(self, x: Tensor) -> Tensor:
        c = check_features(x)
        if x.ndim < 3:
            raise ShapeError(f"expected (rows, ..., positions, channels), got {x.shape}: one position has no variance")
        if not self.affine:
            return ops.group_norm(x, c, 1.0, 0.0, self.eps)
        return ops.group_norm(x, c, self.param("weight", (c,), "ones"), self.param("bias", (c,), "zeros"), self.eps)
