"""The sweep: an update rule over runs of the parameter buffer, each with its own set of columns; and its sums.

Design: sums of g^2, p^2 and (change of p)^2 come from the sweep itself, by chunks that nothing but the shape decides,
because a gradient that is taken from its product is stored nowhere. Whoever wants them (a rule that trusts a parameter
by its norms, ``Trainer(watch=)``) has runs of one parameter each, and a ``run_sums`` record behind the sweep; nobody
else pays. A rule with trust is two: the first measures, the second moves. What is moved as a whole (whole.py) leaves
its change to a sweep that moves nothing. Rejected: kernels that go over parameters and gradients once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..._core import CONSTANTS, RULES
from ...ir import Size, Step, Tensor, size_at
from .buffers import PARAMS, SLOTS, Buffers
from .products import PRODUCT_BYTES, Product

CHUNK = CONSTANTS["HF_SWEEP_CHUNK"]
SQUARES = ("grad_norm", "param_norm", "update_norm")  # of what the sums are the squares, in their order


class Run(NamedTuple):
    """Elements [offset, offset + n) of the parameter buffer, with the columns from ``column`` on."""

    offset: int
    n: int
    column: int


class Watched(NamedTuple):
    """Where the sums of all parameters go: double (parameters, 3), of the last update, and (parameters, 3, 2), added up
    over an epoch. ``epoch``: tensor and its first row. ``order``: offset of a parameter -> its place."""

    total: Tensor
    epoch: tuple[Tensor, int]
    order: dict[int, int]


class Rule(NamedTuple):
    """What a sweep is made with. measured: the rule whose sums say how far ``name`` trusts a parameter; or "".
    gradient_twice: whether both read the gradient."""

    name: str
    measured: str
    gradient_twice: bool
    scale: Tensor
    itemsize: int
    source: int  # number of the buffer with the gradient
    watched: Watched | None
    average: tuple[int, int] | None = None  # number of the buffer that follows the parameters, and its columns


def slot_numbers(rule: str) -> range:
    """Of the buffers of a rule's slots."""
    return range(SLOTS, SLOTS + len(RULES[rule][2]))


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
    buffers: Buffers, rule: Rule, tables: Sequence[Sequence[Run]], products: Sequence[tuple[Product, int]]
) -> list[Step]:
    """One record for each product, with the column of its set, and one for each table of runs, none with a hole; and
    what measures in front of it, and folds its sums behind it."""
    steps: list[Step] = []
    taken = [([Run(p.offset, p.size, column)], p.step) for p, column in products]
    for table, product in [*taken, *((table, None) for table in tables)]:
        if not rule.measured:
            steps += _with_sums(buffers, rule, rule.name, table, product, None, (0, 3))
            continue
        trust = buffers.of(np.ones(len(table)))
        steps += _with_sums(buffers, rule, rule.measured, table, product, trust, (0, 1))
        steps += _with_sums(buffers, rule, rule.name, table, None, trust, (1, 3))
    return steps


def sums_of_moved(buffers: Buffers, rule: Rule, run: Run, change: Tensor) -> list[Step]:
    """The sums of one parameter, behind the steps that have moved it by ``change``."""
    rule = rule._replace(name="moved", measured="moved")
    return _with_sums(buffers, rule, "moved", [run], None, None, (0, 3), [change])


def _with_sums(
    buffers: Buffers,
    rule: Rule,
    name: str,
    table: Sequence[Run],
    product: Step | None,
    trust: Tensor | None,
    columns: tuple[int, int],
    state: Sequence[Tensor] | None = None,
) -> list[Step]:
    """columns: those of the sums that are watched. state: the slots; default: the trainer's."""
    measure = name == rule.measured
    start, size = table[0].offset, table[-1].offset + table[-1].n - table[0].offset
    numbers = (PARAMS, rule.source, *(slot_numbers(name) if state is None else ()))
    p, g, *slots = (buffers.bound(number, size, start * rule.itemsize) for number in numbers)
    slots = slots if state is None else list(state)
    if trust is not None and not measure and not rule.gradient_twice:
        g = p  # which is not read
    chunks = np.cumsum([0, *(-(-run.n // CHUNK) for run in table)])
    rows = [(run.offset - start, run.n, run.column, unit) for run, unit in zip(table, chunks[:-1], strict=True)]
    units: Size = int(chunks[-1]) if product is None else product.fields["m"]
    runs = buffers.of(np.array(rows, np.int64))
    follows = None if measure else rule.average
    average = [] if follows is None else [buffers.bound(follows[0], size, start * rule.itemsize)]
    wanted = measure or rule.watched is not None
    sums = buffers.of(np.zeros((size_at(units, 1), 3))) if wanted else None
    fields: dict[str, Any] = {
        "p": p,
        "g": g,
        "slot": slots,
        "scale": rule.scale,
        "runs": runs,
        "sums": sums,
        "trust": None if measure else trust,
        "average": average[0] if average else None,
        "average_column": 0 if follows is None else follows[1],
        "n_runs": len(rows),
        "rule": RULES[name][0],
        "measure": int(measure),
        "product": None,
    }
    n = sum(run.n for run in table)
    moved = () if measure else (p,)
    how: dict[str, Any] = {
        "update": True,
        "scope": f"optimizer: {name}",
        "writes": (*moved, *slots, *average, *([] if sums is None else [sums])),
        "units": units,
    }
    reads = (p, *slots, *average, rule.scale, *([] if measure or trust is None else [trust]))
    if product is None:
        step = Step("sweep", fields, reads=(g, *reads), local=(p, g, *slots, *average), flops=12 * n, **how)
    else:
        step = Step(
            "sweep",
            {**fields, "g": None, "product": {**product.fields, "y": None}},
            reads=(*reads, *product.reads),
            local=(p, *slots, *average),
            flops=product.flops + 12 * n,
            scratch=product.scratch + PRODUCT_BYTES,
            **how,
        )
    if sums is None:
        return [step]
    place = None if rule.watched is None else rule.watched.order[table[0].offset]
    fold = run_sums(rule, sums, runs, len(rows), units, trust if measure else None, place, columns)
    return [step, fold]


def run_sums(
    rule: Rule,
    sums: Tensor,
    runs: Tensor,
    n_runs: int,
    units: Size,
    trust: Tensor | None,
    place: int | None,
    columns: tuple[int, int],
) -> Step:
    """place: of the table's first parameter among those that are watched; None: nobody does."""
    fields: dict[str, Any] = {
        "sums": sums,
        "runs": runs,
        "n_runs": n_runs,
        "units": units,
        "trust": trust,
        "rule": RULES[rule.name][0],
        "total": None,
        "epoch": None,
        "first": columns[0],
        "last": columns[1],
    }
    writes = [] if trust is None else [trust]
    if place is not None:
        assert rule.watched is not None
        per, (epoch, first) = 8 // rule.itemsize, rule.watched.epoch
        fields["total"] = (rule.watched.total, 3 * per * place)
        fields["epoch"] = (epoch, 2 * per * (first + 3 * place))
        writes += [rule.watched.total, epoch]
    return Step(
        "run_sums", fields, tuple(writes), (sums,), units=n_runs, update=True, scope="norms", flops=0, single=True
    )
