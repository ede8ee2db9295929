"""Steps by the sign of an average."""

from __future__ import annotations

from ..schedules import Number
from .base import Optimizer, betas_of


class Lion(Optimizer):
    """p -= lr sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g; weight_decay as in AdamW.

    Every parameter moves by lr, so lr is 3 to 10 times smaller than Adam's, and weight_decay as many times larger.
    Defaults: lr 1e-4, betas (0.9, 0.99), weight_decay 0. Chen et al., NeurIPS 2023, algorithm 2.

    >>> import hawfinch as hf
    >>> hf.Lion(3e-4).slots
    ('m',)
    """

    rule = "lion"
    decoupled = True

    def __init__(
        self,
        lr: Number = 1e-4,
        *,
        betas: tuple[Number, Number] = (0.9, 0.99),
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        super().__init__(lr, clip_norm, clip_value, **betas_of("Lion", betas), weight_decay=weight_decay)
