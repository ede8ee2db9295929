"""Adam and its kin: averages of the gradient and its square, bias-corrected."""

from __future__ import annotations

from ..schedules import Number
from .base import Optimizer, betas_of


class Adam(Optimizer):
    """m, v = averages of g and g**2; p -= lr m^ / (sqrt(v^) + eps), bias-corrected. weight_decay is L2, added to g.

    Defaults: lr 1e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0. Kingma, Ba, ICLR 2015.

    >>> import hawfinch as hf
    >>> hf.Adam().options["beta2"]
    0.999
    """

    rule = "adam"

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = betas_of(type(self).__name__, betas)
        super().__init__(lr, clip_norm, clip_value, **options, eps=eps, weight_decay=weight_decay)


class AdamW(Adam):
    """Adam whose weight decay is p -= lr * weight_decay * p, apart from the gradient (default 0.01).

    Loshchilov, Hutter, ICLR 2019.

    >>> import hawfinch as hf
    >>> hf.AdamW().options["weight_decay"]
    0.01
    """

    decoupled = True

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.01,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(
            lr, betas=betas, eps=eps, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value
        )
