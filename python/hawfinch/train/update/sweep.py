"""The sweep: an update rule over runs of the parameter buffer, each with its own set of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._core import CONSTANTS, RULES
from ...ir import Step, Tensor
from .buffers import PARAMS, SLOTS, Buffers
from .products import PRODUCT_BYTES, Product

CHUNK = CONSTANTS["HF_SWEEP_CHUNK"]


class Run(NamedTuple):
    """Elements [offset, offset + n) of the parameter buffer, with the columns from ``column`` on."""

    offset: int
    n: int
    column: int


def merged(runs: Sequence[Run]) -> list[Run]:
    """The same runs, those joined that touch and have the same columns."""
    out: list[Run] = []
    for run in sorted(runs):
        if out and out[-1].offset + out[-1].n == run.offset and out[-1].column == run.column:
            out[-1] = out[-1]._replace(n=out[-1].n + run.n)
        else:
            out.append(run)
    return out


def sweep_steps(
    buffers: Buffers,
    rule: str,
    n_slots: int,
    scale: Tensor,
    itemsize: int,
    tables: Sequence[Sequence[Run]],
    products: Sequence[tuple[Product, int]],
    source: int,
) -> list[Step]:
    """One record for each product, with the column of its set, and one for each table of runs, none with a hole.

    source: number of the buffer with the gradient.
    """
    numbers = (PARAMS, source, *range(SLOTS, SLOTS + n_slots))
    taken = [
        _sweep(buffers, rule, numbers, scale, itemsize, [Run(p.offset, p.size, column)], p.step)
        for p, column in products
    ]
    return taken + [_sweep(buffers, rule, numbers, scale, itemsize, table, None) for table in tables]


def _sweep(
    buffers: Buffers,
    rule: str,
    numbers: Sequence[int],
    scale: Tensor,
    itemsize: int,
    table: Sequence[Run],
    product: Step | None,
) -> Step:
    start, size = table[0].offset, table[-1].offset + table[-1].n - table[0].offset
    p, g, *slots = (buffers.bound(number, size, start * itemsize) for number in numbers)
    chunks = np.cumsum([0, *(-(-run.n // CHUNK) for run in table)])
    rows = [(run.offset - start, run.n, run.column, unit) for run, unit in zip(table, chunks[:-1], strict=True)]
    fields: dict[str, Any] = {
        "p": p,
        "g": g,
        "slot": slots,
        "scale": scale,
        "runs": buffers.of(np.array(rows, np.int64)),
        "sums": None,
        "n_runs": len(rows),
        "rule": RULES[rule][0],
        "product": None,
    }
    n = sum(run.n for run in table)
    how: dict[str, Any] = {"update": True, "scope": f"optimizer: {rule}", "writes": (p, *slots)}
    if product is None:
        return Step(
            "sweep",
            fields,
            reads=(p, g, *slots, scale),
            units=int(chunks[-1]),
            local=(p, g, *slots),
            flops=12 * n,
            **how,
        )
    return Step(
        "sweep",
        {**fields, "g": None, "product": {**product.fields, "y": None}},
        reads=(p, *slots, scale, *product.reads),
        units=product.fields["m"],
        local=(p, *slots),
        flops=product.flops + 12 * n,
        scratch=product.scratch + PRODUCT_BYTES,
        **how,
    )
