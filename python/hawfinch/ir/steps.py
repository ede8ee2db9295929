"""What a node is lowered to: one record of the plan, before its tensors have addresses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .nodes import Tensor
from .sizes import Size


class Step:
    """One op record of csrc/defs/ops.def.

    ``fields`` are the named fields of its argument struct; a Tensor stands for its address, a Dim for a size that is
    affine in the batch. ``units`` is the amount of work that threads share (see ops.def); ``local`` are the tensors
    of which unit i touches slice i alone, so that the next step with the same units needs no barrier; ``in_place`` are
    pairs (output, input) that may share memory; ``code`` are the instruction names of an elementwise program;
    ``shared`` is (units before this step's, units of all) where threads share several steps as one, see
    compiler/schedule.py; ``scratch`` is the workspace in bytes that the kernel asks of a thread; ``by_rows`` are pairs
    (table, tensor): of the table as many bytes are touched as the tensor has; ``yields``: see ``yield_step``.
    """

    __slots__ = (
        "by_rows",
        "code",
        "fields",
        "flops",
        "grain",
        "in_place",
        "local",
        "op",
        "reads",
        "scope",
        "scratch",
        "shared",
        "single",
        "units",
        "update",
        "writes",
        "yields",
    )

    def __init__(
        self,
        op: str,
        fields: dict[str, Any],
        writes: tuple[Tensor, ...],
        reads: tuple[Tensor, ...],
        *,
        units: Size = 1,
        local: tuple[Tensor, ...] = (),
        grain: int = 1,
        single: bool = False,
        update: bool = False,
        scope: str = "",
        flops: Size = 0,
        in_place: tuple[tuple[Tensor, Tensor], ...] = (),
        code: tuple[str, ...] = (),
        scratch: int = 0,
        by_rows: tuple[tuple[Tensor, Tensor], ...] = (),
        yields: bool = False,
    ):
        self.op, self.fields, self.writes, self.reads, self.units, self.local = op, fields, writes, reads, units, local
        self.grain, self.single, self.update, self.scope, self.flops = grain, single, update, scope, flops
        self.in_place, self.code, self.scratch, self.by_rows, self.yields = in_place, code, scratch, by_rows, yields
        self.shared = (0, 0)


def single(op: str, fields: dict[str, Any], writes: Iterable[Tensor], reads: Iterable[Tensor], **more: Any) -> Step:
    return Step(op, fields, tuple(writes), tuple(reads), single=True, **more)


def yield_step(tag: int, tensors: Iterable[Tensor], *, update: bool = False, scope: str = "") -> Step:
    """A step at which ``_core.Plan.run`` returns YIELDED and ``Plan.yielded`` is ``tag``; the caller may read and write
    ``tensors`` before it resumes. ``update``: as of the steps around it."""
    held = tuple(tensors)
    return single("yield", {"tag": tag}, held, held, update=update, scope=scope, yields=True)
