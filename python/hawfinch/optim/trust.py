"""Steps whose length follows the norm of the parameter: LARS, LAMB, for large batches."""

from __future__ import annotations

from ..schedules import Number
from .base import Optimizer, betas_of


class LARS(Optimizer):
    """v = momentum v + lr r (g + weight_decay p), p -= v, with r = trust_coefficient |p| / (|g| + weight_decay |p|).

    eps is added to the denominator. Norms are Euclidean, over the whole parameter; g is the gradient after clipping and
    penalties. r is 1 where |p| or |g| is 0, and with trust_ratio False, as is usual for biases and norms:
    ``groups={"*.bias": dict(trust_ratio=False, weight_decay=0.0)}``. The rate is folded into v, as in the paper.
    Defaults: lr 0.1, momentum 0.9, weight_decay 0, trust_coefficient 1e-3, eps 1e-8, trust_ratio True. Not for sparse
    rows. You, Gitman, Ginsburg, arXiv:1708.03888, 2017.

    >>> import hawfinch as hf
    >>> hf.LARS(lr=1.0).slots
    ('velocity',)
    """

    rule = "lars"
    measured = "lars_gradient"
    gradient_twice = True

    def __init__(
        self,
        lr: Number = 0.1,
        *,
        momentum: Number = 0.9,
        weight_decay: Number = 0.0,
        trust_coefficient: Number = 1e-3,
        eps: Number = 1e-8,
        trust_ratio: bool = True,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_adaptive: float | None = None,
    ):
        options = {"momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient}
        super().__init__(lr, clip_norm, clip_value, clip_adaptive, {"trust_ratio": trust_ratio}, **options, eps=eps)


class LAMB(Optimizer):
    """p -= lr |p| / |u| u with AdamW's direction u = m^ / (sqrt(v^) + eps) + weight_decay p.

    Norms are Euclidean, over the whole parameter; the paper's phi is the identity. The factor |p| / |u| is 1 where one
    of the two is 0, and with trust_ratio False, as is usual for biases and norms: ``groups={"*.bias":
    dict(trust_ratio=False, weight_decay=0.0)}``; without it LAMB is AdamW. Defaults: lr 1e-3, betas (0.9, 0.999), eps
    1e-6, weight_decay 0.01, trust_ratio True. Not for sparse rows. You et al., ICLR 2020.

    >>> import hawfinch as hf
    >>> hf.LAMB().slots
    ('m', 'v')
    """

    rule = "lamb"
    measured = "lamb_step"

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-6,
        weight_decay: Number = 0.01,
        trust_ratio: bool = True,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        clip_adaptive: float | None = None,
    ):
        options = {**betas_of("LAMB", betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(lr, clip_norm, clip_value, clip_adaptive, {"trust_ratio": trust_ratio}, **options)
