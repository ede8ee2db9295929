"""Steps by signs: of an average, or of one gradient and the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from ..errors import ArgumentError
from ..schedules import Number
from .base import Optimizer, betas_of, pair_of


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


class Rprop(Optimizer):
    """Each parameter has a step size: longer while its gradient keeps its sign, shorter after a change of sign.

    s = eta_plus s where g and the last g agree, eta_minus s where they differ, within step_sizes; p -= s sign(g). After
    a change of sign the parameter waits one step, and the change counts once. For batch_size="full": with mini-batches
    signs change by chance. lr is where s begins, of no effect later, but that nothing moves while it is 0. Defaults: lr
    0.01, etas (0.5, 1.2), step_sizes (1e-6, 50), weight_decay 0 (L2, added to g; PyTorch's has none). Riedmiller,
    Braun, ICNN 1993.

    >>> import hawfinch as hf
    >>> hf.Rprop().slots
    ('previous', 'step_size')
    """

    rule = "rprop"
    pairs: ClassVar[Mapping[str, tuple[str, str]]] = {
        "etas": ("eta_minus", "eta_plus"),
        "step_sizes": ("step_min", "step_max"),
    }

    def __init__(
        self,
        lr: Number = 0.01,
        *,
        etas: tuple[Number, Number] = (0.5, 1.2),
        step_sizes: tuple[Number, Number] = (1e-6, 50.0),
        weight_decay: Number = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ):
        options = pair_of("Rprop", "etas", etas, self.pairs["etas"])
        options |= pair_of("Rprop", "step_sizes", step_sizes, self.pairs["step_sizes"])
        super().__init__(lr, clip_norm, clip_value, **options, weight_decay=weight_decay)

    def _check(self) -> None:
        least, most, longer = (self.options[k] for k in ("step_min", "step_max", "eta_plus"))
        if all(isinstance(v, int | float) for v in (least, most)) and least > most:
            raise ArgumentError(f"Rprop: step_sizes must be (smallest, largest), got ({least}, {most})")
        if isinstance(longer, int | float) and longer < 1:
            raise ArgumentError(f"Rprop: etas must be (below 1, at least 1), got eta_plus {longer}")
