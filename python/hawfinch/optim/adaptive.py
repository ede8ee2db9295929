"""Steps divided by a running root mean square of the gradient, without bias correction."""

from __future__ import annotations

from ..schedules import Number
from .base import Optimizer, is_zero


class Adagrad(Optimizer):
    """s += g**2, p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps), t from 1.

    s is a sum, so steps shrink as 1 / sqrt(t) where gradients stay as large: it is the form with the root *mean* square
    of all gradients so far, sqrt(s / t), and the rate lr / sqrt(t). Defaults: lr 0.01, lr_decay 0, eps 1e-10,
    weight_decay 0 (L2, added to g). Duchi, Hazan, Singer, JMLR 12, 2011.

    >>> import hawfinch as hf
    >>> hf.Adagrad(0.1)
    Adagrad(lr=0.1, lr_decay=0.0, eps=1e-10, weight_decay=0.0)
    """

    rule = "adagrad"

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        lr_decay: Number = 0.0,
        eps: Number = 1e-10,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay)


class Adadelta(Optimizer):
    """s = rho s + (1 - rho) g**2, d = sqrt(a + eps) / sqrt(s + eps) g, a = rho a + (1 - rho) d**2, p -= lr d.

    The step has the unit of p, so lr is 1 and rarely changed. Defaults: lr 1, rho 0.9, eps 1e-6, weight_decay 0 (L2,
    added to g). Zeiler, arXiv:1212.5701, 2012.

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
    """s = alpha s + (1 - alpha) g**2, p -= lr g / (sqrt(s) + eps), with momentum v = momentum v + g / (sqrt(s) + eps),
    p -= lr v. centered: sqrt(s - a**2) in the place of sqrt(s), a = alpha a + (1 - alpha) g.

    s starts at 0 and is not corrected, so the first step is lr / sqrt(1 - alpha) for each parameter, ten times lr with
    the default. A centred one keeps three slots, momentum or not; a variance that rounding makes negative is 0.
    Defaults: lr 0.01, alpha 0.99, eps 1e-8, momentum 0, centered False, weight_decay 0 (L2, added to g). Tieleman,
    Hinton, 2012; centred: Graves, arXiv:1308.0850, 2013.

    >>> import hawfinch as hf
    >>> hf.RMSprop(momentum=0.5).slots
    ('square_avg', 'velocity')
    """

    centered: bool

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        alpha: Number = 0.99,
        eps: Number = 1e-8,
        momentum: Number = 0.0,
        centered: bool = False,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = {"alpha": alpha, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(lr, clip_norm, clip_value, {"centered": centered}, **options)

    @property
    def rule(self) -> str:  # type: ignore[override]
        if self.centered:
            return "rmsprop_centered"
        return "rmsprop" if is_zero(self.options["momentum"]) else "rmsprop_momentum"
