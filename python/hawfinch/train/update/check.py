"""Check and clip: the step is taken only where loss and gradient are finite; the norm of all of the gradient is
limited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._core import CONSTANTS
from ...ir import Step, Tensor, single
from .buffers import GRADIENT, Buffers
from .products import Product

NORM_CHUNK = CONSTANTS["HF_NORM_CHUNK"]


def product_checks(products: Sequence[Product]) -> list[Step]:
    """One for each product, in their order."""
    return [
        single(
            "grad_bound",
            {"x_max": p.maxima[0], "w_max": p.maxima[1], "rows": p.step.fields["k"]},
            (),
            p.maxima,
            scope=p.step.scope,
        )
        for p in products
    ]


def check_steps(
    buffers: Buffers, spans: Sequence[tuple[int, int]], loss: Tensor, dtype: str, column: int
) -> tuple[list[Step], Tensor]:
    """The steps, and the factor that clips. spans: (offset, n) of what is stored of the gradient. column: of the
    largest norm."""
    item = np.dtype(dtype).itemsize
    chunks = [-(-n // NORM_CHUNK) for _, n in spans]
    partial, scale = buffers.of(np.zeros(max(sum(chunks), 1))), buffers.of(np.ones(16, dtype))
    steps = []
    for i, (at, n) in enumerate(spans):
        g = buffers.bound(GRADIENT, n, at * item)
        part: dict[str, Any] = {"partial": (partial, sum(chunks[:i]) * 8 // item), "g": g, "n": n}
        steps.append(Step("grad_norm", part, (partial,), (g,), units=chunks[i], scope="gradient", flops=2 * n))
    check = {"scale": scale, "partial": partial, "loss": loss, "chunks": sum(chunks), "column": column}
    return [*steps, single("grad_check", check, (scale,), (partial, loss), scope="gradient")], scale
