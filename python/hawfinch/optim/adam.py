"""Adam and its kin: averages of the gradient and its square, bias-corrected."""

from __future__ import annotations

from ..schedules import Number
from .base import Optimizer, betas_of


class Adam(Optimizer):
    """m, v = averages of g and g**2; p -= lr m^ / (sqrt(v^) + eps), bias-corrected. weight_decay is L2, added to g.

    m^ = m / (1 - beta1**t), v^ = v / (1 - beta2**t), t from 1: a constant gradient gives steps of lr sign(g). amsgrad:
    the largest v so far in the place of v, corrected by the same factor. Defaults: lr 1e-3, betas (0.9, 0.999), eps
    1e-8, weight_decay 0, amsgrad False. Kingma, Ba, ICLR 2015; amsgrad: Reddi, Kale, Kumar, ICLR 2018.

    >>> import hawfinch as hf
    >>> hf.Adam().options["beta2"], hf.Adam(amsgrad=True).slots
    (0.999, ('m', 'v', 'v_max'))
    """

    amsgrad: bool

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        amsgrad: bool = False,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = {**betas_of(type(self).__name__, betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(lr, clip_norm, clip_value, {"amsgrad": amsgrad}, **options)

    @property
    def rule(self) -> str:  # type: ignore[override]
        return "adam_amsgrad" if self.amsgrad else "adam"


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
        amsgrad: bool = False,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(
            lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            clip_norm=clip_norm,
            clip_value=clip_value,
        )


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: the step looks ahead by the gradient that m has just taken in.

    p -= lr (mu_(t+1) m / (1 - P_(t+1)) + (1 - mu_t) g / (1 - P_t)) / (sqrt(v^) + eps), m, v and v^ as in Adam,
    mu_t = beta1 (1 - 0.96**(t momentum_decay) / 2), P_t = mu_1 ... mu_t; with a scheduled beta1 or momentum_decay the
    product is that of today's (PyTorch's is that of the values it had). weight_decay is L2, added to g, or with
    decoupled_weight_decay apart from it, as AdamW's. Defaults: lr 2e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0,
    momentum_decay 4e-3, decoupled_weight_decay False. Dozat, ICLR workshop 2016.

    >>> import hawfinch as hf
    >>> hf.NAdam().slots
    ('m', 'v')
    """

    rule = "nadam"
    decoupled_weight_decay: bool

    def __init__(
        self,
        lr: Number = 2e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        momentum_decay: Number = 4e-3,
        decoupled_weight_decay: bool = False,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = {**betas_of(type(self).__name__, betas), "eps": eps, "weight_decay": weight_decay}
        flags = {"decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(lr, clip_norm, clip_value, flags, **options, momentum_decay=momentum_decay)

    @property
    def decoupled(self) -> bool:  # type: ignore[override]
        return self.decoupled_weight_decay


class NAdamW(NAdam):
    """NAdam whose weight decay is AdamW's (default 0.01); in PyTorch ``NAdam(decoupled_weight_decay=True)``.

    >>> import hawfinch as hf
    >>> hf.NAdamW().decoupled, hf.NAdamW().options["weight_decay"]
    (True, 0.01)
    """

    def __init__(
        self,
        lr: Number = 2e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.01,
        momentum_decay: Number = 4e-3,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(
            lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=True,
            clip_norm=clip_norm,
            clip_value=clip_value,
        )


class RAdam(Optimizer):
    """Adam that warms up by itself: the root of v divides the step only when its average is long enough to be trusted.

    p -= lr r m^ sqrt(1 - beta2**t) / (sqrt(v) + eps) where it is, else p -= lr m^; m, v and m^ as in Adam.
    l = 2 / (1 - beta2) - 1, l_t = l - 2 t beta2**t / (1 - beta2**t); where l_t > 5, v is trusted and
    r = sqrt((l_t - 4) (l_t - 2) l / ((l - 4) (l - 2) l_t)): from the sixth step on with the default beta2. Before it,
    steps grow with the gradient, as SGD's do. weight_decay is L2, added to g, or with decoupled_weight_decay apart from
    it, as AdamW's. Defaults: lr 1e-3, betas (0.9, 0.999), eps 1e-8 (added to the root that is not corrected, as in
    PyTorch), weight_decay 0, decoupled_weight_decay False. Liu et al., ICLR 2020.

    >>> import hawfinch as hf
    >>> hf.RAdam(decoupled_weight_decay=True, weight_decay=0.1).decoupled
    True
    """

    rule = "radam"
    decoupled_weight_decay: bool

    def __init__(
        self,
        lr: Number = 1e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        decoupled_weight_decay: bool = False,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = {**betas_of(type(self).__name__, betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(lr, clip_norm, clip_value, {"decoupled_weight_decay": decoupled_weight_decay}, **options)

    @property
    def decoupled(self) -> bool:  # type: ignore[override]
        return self.decoupled_weight_decay


class Adamax(Optimizer):
    """Adam by the largest gradient: u = max(beta2 u, |g| + eps), p -= lr / (1 - beta1**t) m / u. weight_decay: L2.

    Defaults: lr 2e-3, betas (0.9, 0.999), eps 1e-8, weight_decay 0. Kingma, Ba, ICLR 2015, section 7.1.

    >>> import hawfinch as hf
    >>> hf.Adamax().slots
    ('m', 'u')
    """

    rule = "adamax"

    def __init__(
        self,
        lr: Number = 2e-3,
        *,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = {**betas_of(type(self).__name__, betas), "eps": eps, "weight_decay": weight_decay}
        super().__init__(lr, clip_norm, clip_value, **options)
