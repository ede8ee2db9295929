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
from ...values import short
from .columns import Clock, Named, Times, values_of


def penalty_columns(regularizer: Regularizer | None, pattern: str) -> dict[str, Any]:
    """g += l1 sign(p) + 2 l2 p; without the first where that is a step of its own. pattern: under which it is given."""
    if regularizer is None:
        return {"l1": 0.0}
    l1, l2 = (_strength(s, regularizer, pattern) for s in (regularizer.l1, regularizer.l2))
    return {"l1": 0.0 if regularizer.proximal else l1, "decay": 2 * l2 if isinstance(l2, float) else Times(2.0, l2)}


def _strength(given: Any, regularizer: Regularizer, pattern: str) -> Any:
    """A number, or a source that errors call by the regularizer."""
    if isinstance(given, int | float | np.integer | np.floating):
        return float(given)
    return Named(given, f"strength of {short(regularizer)} (regularizers[{pattern!r}])")


class SoftThreshold(Constraint):
    """The proximal step of an l1 penalty: p = sign(p) max(|p| - lr l1, 0)."""

    def __init__(self, lr: Any, regularizer: Regularizer, pattern: str):
        self.lr, self.regularizer, self.pattern = lr, regularizer, pattern

    @property
    def numbers(self) -> dict[str, Any]:
        return {"threshold": Times(self.lr, _strength(self.regularizer.l1, self.regularizer, self.pattern))}

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
