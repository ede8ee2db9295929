"""Penalties: L1 and L2 as columns of the sweep, or L1 as a step behind it; and their value for the History."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import ops
from ...constraints import Constraint
from ...ir import Tensor
from ...nn.store import Store
from ...regularizers import Regularizer
from ...schedules import Scaled, Schedule
from .columns import Clock, Times, values_of


def penalty_columns(regularizer: Regularizer | None) -> dict[str, Any]:
    """g += l1 sign(p) + 2 l2 p; without the first where that is a step of its own."""
    if regularizer is None:
        return {"l1": 0.0}
    l2 = regularizer.l2
    if callable(l2):
        twice: Any = lambda step: 2 * l2(step)  # noqa: E731
    else:
        twice = Scaled(2.0, l2) if isinstance(l2, Schedule) else 2 * l2
    return {"l1": 0.0 if regularizer.proximal else regularizer.l1, "decay": twice}


class SoftThreshold(Constraint):
    """The proximal step of an l1 penalty: p = sign(p) max(|p| - lr l1, 0)."""

    def __init__(self, lr: Any, l1: Any):
        self.lr, self.l1 = lr, l1

    @property
    def numbers(self) -> dict[str, Any]:
        return {"threshold": Times(self.lr, self.l1)}

    @property
    def signature(self) -> tuple[Any, ...]:
        return (SoftThreshold,)

    def apply(self, p: Tensor, *numbers: Tensor) -> Tensor:
        (t,) = numbers
        return ops.relu(p - t) - ops.relu(-p - t)


def penalty(of: Mapping[str, Regularizer], store: Store, clock: Clock) -> float:
    """The sum over parameters, in float64; strengths are those of the clock's last step."""
    total = 0.0
    for name, regularizer in of.items():
        p = np.asarray(store.parameters[name].data)
        l1, l2 = (np.ravel(values_of("strength", s, clock))[-1] for s in (regularizer.l1, regularizer.l2))
        if l1:
            total += float(l1) * float(np.abs(p).sum(dtype=np.float64))
        if l2:
            total += float(l2) * float(np.square(p, dtype=np.float64).sum())
    return total
