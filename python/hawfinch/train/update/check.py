"""Check and clip: the step is taken only where loss and gradient are finite; the norm of all of the gradient is
limited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._core import CONSTANTS
from ...ir import Step, Tensor, single, size_at
from .buffers import Buffers
from .products import Product
from .sweep import Run

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
    buffers: Buffers,
    tables: Sequence[Sequence[Run]],
    loss: Tensor,
    dtype: str,
    column: int,
    source: int,
    touched: Sequence[Tensor],
) -> tuple[list[Step], Tensor]:
    """The steps, and the factor that clips. tables: the runs whose gradient is stored, none with a hole. column: of the
    largest norm. source: number of the buffer with the gradient. touched: gradients
    that are elsewhere."""
    spans = [(table[0].offset, sum(run.n for run in table)) for table in tables]
    item = np.dtype(dtype).itemsize
    parts = [(buffers.bound(source, n, at * item), n) for at, n in spans]
    parts += [(t, size_at(t.shape[0], 1)) for t in touched]
    chunks = [-(-n // NORM_CHUNK) for _, n in parts]
    partial, scale = buffers.of(np.zeros(max(sum(chunks), 1))), buffers.of(np.ones(16, dtype))
    steps = []
    for i, (g, n) in enumerate(parts):
        part: dict[str, Any] = {"partial": (partial, sum(chunks[:i]) * 8 // item), "g": g, "n": n}
        steps.append(Step("grad_norm", part, (partial,), (g,), units=chunks[i], scope="gradient", flops=2 * n))
    check = {"scale": scale, "partial": partial, "loss": loss, "chunks": sum(chunks), "column": column}
    return [*steps, single("grad_check", check, (scale,), (partial, loss), scope="gradient")], scale
