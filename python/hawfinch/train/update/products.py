"""Gradients that are never stored: the sweep takes that of a large weight from its product.

Design: the sweep multiplies some rows at a time and updates the weights while the rows lie in cache. As these weights
change before their gradient is known, its check comes first and looks at the product's operands: rows * max|x| *
max|dy| bounds every element. Rejected: an optimiser that can go back, 8 more bytes to move per parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..._core import CONSTANTS, REDUCE_KINDS
from ...compiler.memory import base_of
from ...ir import Size, Step, Tensor, numel, size_at, times
from ...nn.store import Store
from ...ops.matmul import MATMUL
from .buffers import Buffers

LEAST_PRODUCT = 1 << 16  # weights from which it pays: with gradient and state, 1 MiB; measured
MOST_PRODUCT = 1e10  # floating-point operations of an update, which can't be interrupted: 0.05 s on one core
PRODUCT_BYTES = CONSTANTS["HF_PRODUCT_BYTES"]


class Product(NamedTuple):
    """The gradient of parameter ``name``, elements [offset, offset + size) of the flat buffer: ``step``'s result."""

    name: str
    offset: int
    size: int
    step: Step
    maxima: tuple[Tensor, Tensor]  # per row of its operands, the largest absolute value


def products_of_optimizer(
    steps: Sequence[Step], buffers: Buffers, store: Store, gradients: Mapping[str, Tensor], capacity: int
) -> tuple[list[Step], list[Product]]:
    """Takes out the products that give the gradient of a large weight to nobody but the optimiser.

    Gives the other steps, with the largest absolute values of the products' operands behind the last steps that write
    these, and the products.
    """
    if all([numel(p.shape) < LEAST_PRODUCT for p in store.trainable.values()]):  # type: ignore[operator]
        return list(steps), []
    makers = {id(base_of(step.writes[0])): step for step in steps if step.op == MATMUL.name}
    readers: set[int] = set()
    written: dict[int, Step] = {}  # by the last one: concat writes in parts
    for step in steps:
        readers.update([id(t if t.view_of is None else t.view_of) for t in step.reads])
        written.update([(id(t if t.view_of is None else t.view_of), step) for t in step.writes])
    products: list[Product] = []
    behind: dict[int, dict[Size, Step]] = {}  # operand -> rows -> its largest absolute values
    for name, t in gradients.items():
        key, n = id(base_of(t)), size_at(numel(store.trainable[name].shape), 1)
        if key not in makers or key in readers or n < LEAST_PRODUCT or not _is_plain(makers[key], written):
            continue
        step = makers[key]
        rows, row_bytes = step.fields["k"], step.fields["n"] * store.params.itemsize
        if 2 * size_at(rows, capacity) * n > MOST_PRODUCT or row_bytes > PRODUCT_BYTES:
            continue
        maxima = []
        for operand, cols in ((step.fields["x"], step.fields["m"]), (step.fields["w"], step.fields["n"])):
            found = behind.setdefault(id(base_of(operand)), {})
            if rows not in found:
                found[rows] = _max_abs(buffers.fresh(rows), operand, rows, cols, step.scope)
            maxima.append(found[rows].writes[0])
        products.append(Product(name, store.trainable[name].offset, n, step, (maxima[0], maxima[1])))
    if not products:
        return list(steps), []
    taken = {id(product.step) for product in products}
    left: list[Step] = []
    for step in steps:
        if id(step) not in taken:
            left.append(step)
            for key in {id(base_of(t)) for t in step.writes}:
                left += behind.get(key, {}).values() if written[key] is step else ()
    return left, products


def _is_plain(step: Step, written: Mapping[int, Step]) -> bool:
    """x' w of two whole matrices that this plan computes, and nothing else."""
    f = step.fields
    whole = f["x_row"] == 1 and f["x_col"] == f["m"] and f["w_row"] == f["n"] and f["w_col"] == 1
    return (
        whole and f["bias"] is None and f["epilogue"] is None and {id(base_of(t)) for t in step.reads} <= written.keys()
    )


def _max_abs(y: Tensor, x: Tensor, rows: Size, cols: Size, scope: str) -> Step:
    fields = {"y": y, "x": x, "outer": rows, "red": cols, "inner": 1, "kind": REDUCE_KINDS["max_abs"], "by_inner": 0}
    return Step("reduce", fields, (y,), (x,), units=rows, local=(x, y), scope=scope, flops=times(rows, cols))
