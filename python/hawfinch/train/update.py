"""The last part of a training step: is the gradient finite, clip, optimiser, state.

Design: records marked ``update`` run only when loss and gradient are finite, so a failed step leaves the model as it
was. The optimiser sweeps over the flat parameter buffer, but takes the gradient of a large weight from its product,
some rows at a time while they lie in cache (``take_products``): such a gradient is never stored. As these weights
change before their gradient is known, its check comes first and looks at the product's operands: rows * max|x| *
max|dy| bounds every element. Rejected: an optimiser that can go back, 8 more bytes to move per parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._core import CONSTANTS, REDUCE_KINDS
from ..compiler.memory import Dynamic, Place, base_of
from ..ir import Array, Graph, Size, Step, Tensor, input_tensor, numel, single, size_at, times
from ..nn.store import LINE, Store
from ..optim import Optimizer

PARAMS, STATE, GRADIENT, SLOTS = range(4)  # numbers of what a batch's plan is bound to; slots from the last on
NORM_CHUNK = CONSTANTS["HF_NORM_CHUNK"]
LEAST_PRODUCT = 1 << 16  # weights from which it pays: with gradient and state, 1 MiB; measured
MOST_PRODUCT = 1e10  # floating-point operations of an update, which can't be interrupted: 0.05 s on one core
PRODUCT_BYTES = CONSTANTS["HF_PRODUCT_BYTES"]


class Aux:
    """Tensors that stand for buffers outside of the graph, so that barriers see them."""

    def __init__(self, graph: Graph, places: dict[int, Place]):
        self.graph, self.places, self.n = graph, places, 0

    def tensor(self, array: Array) -> Tensor:
        return self._tensor(array.size, (array, 0))

    def bound(self, number: int, n: int, offset: int) -> Tensor:
        """n elements, from this byte on, of one of the arrays that are given at each run."""
        return self._tensor(n, Dynamic(number, offset))

    def fresh(self, n: Size) -> Tensor:
        """In the arena."""
        self.n += 1
        return input_tensor(self.graph, f"buffer{self.n}", (n,))

    def _tensor(self, size: int, place: Place) -> Tensor:
        t = self.fresh(size)
        self.places[id(t)] = place
        return t


class Product(NamedTuple):
    """The gradient of parameter ``name``, elements [offset, offset + size) of the flat buffer: ``step``'s result."""

    name: str
    offset: int
    size: int
    step: Step
    maxima: tuple[Tensor, Tensor]  # per row of its operands, the largest absolute value


def take_products(
    steps: Sequence[Step], aux: Aux, store: Store, gradients: Mapping[str, Tensor], capacity: int
) -> tuple[list[Step], list[Product]]:
    """Takes out the products that give the gradient of a large weight to nobody but the optimiser.

    Gives the other steps, with the largest absolute values of the products' operands behind the last steps that write
    these, and the products.
    """
    makers = {id(base_of(step.writes[0])): step for step in steps if step.op == "matmul"}
    readers = {id(base_of(t)) for step in steps for t in step.reads}
    written = {id(base_of(t)): step for step in steps for t in step.writes}  # by the last one: concat writes in parts
    products: list[Product] = []
    behind: dict[int, dict[Size, Step]] = {}  # operand -> rows -> its largest absolute values
    for name, t in gradients.items():
        key, n = id(base_of(t)), size_at(numel(store.trainable[name].shape), 1)
        step = makers.get(key)
        if step is None or key in readers or n < LEAST_PRODUCT or not _is_plain(step, written):
            continue
        rows, row_bytes = step.fields["k"], step.fields["n"] * store.params.itemsize
        if 2 * size_at(rows, capacity) * n > MOST_PRODUCT or row_bytes > PRODUCT_BYTES:
            continue
        maxima = []
        for operand, cols in ((step.fields["x"], step.fields["m"]), (step.fields["w"], step.fields["n"])):
            found = behind.setdefault(id(base_of(operand)), {})
            if rows not in found:
                found[rows] = _max_abs(aux.fresh(rows), operand, rows, cols, step.scope)
            maxima.append(found[rows].writes[0])
        products.append(Product(name, store.trainable[name].offset, n, step, (maxima[0], maxima[1])))
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


def update_steps(aux: Aux, store: Store, optimizer: Optimizer, loss: Tensor, products: Sequence[Product]) -> list[Step]:
    """Check, then the optimiser: over the products, and over the runs of the parameter buffer between them.

    The first steps are the checks of the products, in their order.
    """
    runs, at = [], 0
    apart = [(product.offset, product.size) for product in products]
    apart += [(p.offset, -(-math.prod(p.shape) // LINE) * LINE) for p in store.parameters.values() if p.frozen]
    for start, n in sorted(apart):
        runs.append((at, start - at))
        at = start + n
    runs.append((at, store.params.size - at))
    runs = [(at, n) for at, n in runs if n]
    chunks = [-(-n // NORM_CHUNK) for _, n in runs]
    partial, scale = aux.tensor(np.zeros(max(sum(chunks), 1))), aux.tensor(np.ones(16, store.dtype))
    item = store.params.itemsize
    checks = []
    for p in products:
        fields = {"x_max": p.maxima[0], "w_max": p.maxima[1], "rows": p.step.fields["k"]}
        checks.append(single("grad_bound", fields, (), p.maxima, scope=p.step.scope))
    sweeps = [_sweep(aux, optimizer, scale, p.offset, p.size, item, p.step) for p in products]
    for i, (at, n) in enumerate(runs):
        sweep = _sweep(aux, optimizer, scale, at, n, item, None)
        sweeps.append(sweep)
        part: dict[str, Any] = {"partial": (partial, sum(chunks[:i]) * 8 // item), "g": sweep.fields["g"], "n": n}
        checks.append(
            Step("grad_norm", part, (partial,), (sweep.fields["g"],), units=chunks[i], scope="gradient", flops=2 * n)
        )
    check = {
        "scale": scale,
        "partial": partial,
        "loss": loss,
        "chunks": sum(chunks),
        "max_norm": optimizer.clip_norm or 0.0,
    }
    return [*checks, single("grad_check", check, (scale,), (partial, loss), scope="gradient"), *sweeps]


def _sweep(aux: Aux, optimizer: Optimizer, scale: Tensor, at: int, n: int, itemsize: int, product: Step | None) -> Step:
    """The optimiser over n parameters from number ``at`` on, whose gradient is stored, or is a product's result."""
    buffers = (PARAMS, GRADIENT, *range(SLOTS, SLOTS + len(optimizer.slots)))
    p, g, *slots = (aux.bound(number, n, at * itemsize) for number in buffers)
    state = dict(zip(optimizer.slots, slots, strict=True))
    names = {"sgd": ["velocity"], "rmsprop": ["velocity"]}.get(optimizer.op, [])
    fields: dict[str, Any] = {
        "p": p,
        "g": g,
        "scale": scale,
        "n": n,
        **{k: None for k in names},
        **state,
        **optimizer.options,
        **optimizer.flags,
        "clip_value": optimizer.clip_value or 0.0,
        "product": None,
    }
    how: dict[str, Any] = {"update": True, "scope": "optimizer"}
    if product is None:
        sweep = (p, g, *slots)
        return Step(
            optimizer.op, fields, (p, *slots), (*sweep, scale), units=n, grain=1024, local=sweep, flops=12 * n, **how
        )
    reads = (p, *slots, scale, *product.reads)
    return Step(
        optimizer.op,
        {**fields, "g": None, "product": {**product.fields, "y": None}},
        (p, *slots),
        reads,
        units=product.fields["m"],
        local=(p, *slots),
        flops=product.flops + 12 * n,
        scratch=product.scratch + PRODUCT_BYTES,
        **how,
    )


def state_step(target: Tensor, value: Tensor) -> Step:
    """A state buffer takes a new value."""
    n = numel(value.shape)
    fields = {
        "y": target,
        "x": value,
        "dim": [n, 1, 1, 1, 1, 1],
        "y_stride": [1, 0, 0, 0, 0, 0],
        "x_stride": [1, 0, 0, 0, 0, 0],
        "itemsize": "itemsize",
    }
    return single("copy", fields, (target,), (value,), units=n, update=True, scope="state")
