"""Steps divided by a running root mean square of the gradient, without bias correction."""

from __future__ import annotations

from ..schedules import Number
from .base import Optimizer


class Adagrad(Optimizer):
    """s += g**2, p -= lr g / (sqrt(s) + eps). Defaults: lr 0.01, eps 1e-10. Duchi, Hazan, Singer, JMLR 12, 2011.

    >>> import hawfinch as hf
    >>> hf.Adagrad(0.1)
    Adagrad(lr=0.1, eps=1e-10, weight_decay=0.0)
    """

    rule = "adagrad"

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        eps: Number = 1e-10,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, eps=eps, weight_decay=weight_decay)


class Adadelta(Optimizer):
    """s = rho s + (1 - rho) g**2, d = sqrt(a + eps) / sqrt(s + eps) g, a = rho a + (1 - rho) d**2, p -= lr d.

    Defaults: lr 1, rho 0.9, eps 1e-6, weight_decay 0. Zeiler, arXiv:1212.5701, 2012.

    >>> import hawfinch as hf
    >>> hf.Adadelta().slots
    ('square_avg', 'acc_delta')
    """

    rule = "adadelta"

    def __init__(
        self,
        lr: Number = 1.0,
        *,
        rho: Number = 0.9,
        eps: Number = 1e-6,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, rho=rho, eps=eps, weight_decay=weight_decay)


class RMSprop(Optimizer):
    """s = alpha s + (1 - alpha) g**2, p -= lr g / (sqrt(s) + eps), with momentum if asked. Tieleman, Hinton, 2012.

    Defaults: lr 0.01, alpha 0.99, eps 1e-8, momentum 0, weight_decay 0.

    >>> import hawfinch as hf
    >>> hf.RMSprop(momentum=0.5).slots
    ('square_avg', 'velocity')
    """

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        alpha: Number = 0.99,
        eps: Number = 1e-8,
        momentum: Number = 0.0,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, alpha=alpha, eps=eps, momentum=momentum, weight_decay=weight_decay)

    @property
    def rule(self) -> str:  # type: ignore[override]
        plain = isinstance(self.options["momentum"], int | float) and self.options["momentum"] == 0
        return "rmsprop" if plain else "rmsprop_momentum"
