"""Memory: where every tensor of a plan lives.

Design: first fit over one arena by liveness, sizes at the plan's capacity; an output takes over the memory of an input
that dies in the same step where the op allows it. Rejected: one buffer per tensor (activations of a 100-layer net would
never leave memory) and exact colouring (no gain measured on nets of this size).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .._core import CONSTANTS
from ..ir import Array, Step, Tensor

ALIGN = CONSTANTS["HF_ALIGN"]


class Dynamic(NamedTuple):
    """An address given at each run: the array ``number``, plus ``offset`` bytes."""

    number: int
    offset: int = 0


class Source(NamedTuple):
    """The user array ``number`` that load_batch reads."""

    number: int


Place = tuple[Array, int] | Dynamic  # buffer and byte offset, or an address of the run
Bases = tuple[list[Tensor], list[Tensor]]  # whose memory a step reads, and writes


def base_of(t: Tensor) -> Tensor:
    """The tensor whose memory t is a view of."""
    return t if t.view_of is None else t.view_of


class Layout:
    """The place of every tensor that steps read or write: one that was given, or an offset in the arena.

    ``places``: id of a tensor -> its place; ``keep``: tensors that live on after the last step. ``bases``: per step,
    whose memory it reads and writes; ``nbytes``: of each of them.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        keep: Sequence[Tensor],
        places: Mapping[int, Place],
        *,
        capacity: int,
        itemsize: int,
    ):
        self.places, self.capacity, self.itemsize = dict(places), capacity, itemsize
        self.bases: list[Bases] = []
        self.nbytes: dict[Tensor, int] = {}
        for step in steps:  # loops, here and below: a call for every tensor is what compiling small nets would take
            pair: Bases = ([], [])
            self.bases.append(pair)
            for tensors, found in ((step.reads, pair[0]), (step.writes, pair[1])):
                for t in tensors:
                    base = t if t.view_of is None else t.view_of
                    found.append(base)
                    if base not in self.nbytes:
                        n = 8 if base.dtype == "int" else itemsize
                        for size in base.shape:
                            n *= size if isinstance(size, int) else size.per_row * capacity + size.fixed
                        self.nbytes[base] = n
        self.offsets: dict[int, int] = {}  # id of a tensor -> its first byte in the arena
        self.arena_bytes = self._allocate(steps, keep)

    def bytes_of(self, t: Tensor, batch: int) -> int:
        n = 8 if t.dtype == "int" else self.itemsize
        for size in t.shape:
            n *= size if isinstance(size, int) else size.per_row * batch + size.fixed
        return n

    def place(self, t: Tensor) -> tuple[Array | Dynamic | None, int]:
        """Buffer and byte offset of a tensor: a given buffer, a Dynamic, or None for the arena."""
        key = id(base_of(t))
        place = self.places.get(key)
        if place is None:
            return None, self.offsets[key]
        return (place, place.offset) if isinstance(place, Dynamic) else place

    def _allocate(self, steps: Sequence[Step], keep: Sequence[Tensor]) -> int:
        """Arena offsets of every tensor that has no place yet; returns the arena's size in bytes."""
        places, offsets, nbytes = self.places, self.offsets, self.nbytes
        # steps that threads share as one count as one: none may write where another reads
        ends = list(range(len(steps)))
        for i in range(len(steps) - 2, -1, -1):
            if steps[i + 1].shared[0]:
                ends[i] = ends[i + 1]
        last = {t: ends[i] for i, (reads, writes) in enumerate(self.bases) for t in reads + writes}
        for t in keep:
            last[t if t.view_of is None else t.view_of] = len(steps)
        free: list[tuple[int, int]] = []  # (offset, bytes), by offset
        top = 0
        block: dict[Tensor, tuple[int, int]] = {}  # tensor -> (offset, bytes) it holds
        touched: set[Tensor] = set()
        for i, (step, (reads, writes)) in enumerate(zip(steps, self.bases, strict=True)):
            heirs: dict[Tensor, Tensor] = {}
            inherited: set[Tensor] = set()
            for out, source in step.in_place:
                a, b = out if out.view_of is None else out.view_of, source if source.view_of is None else source.view_of
                fresh = id(a) not in places and a not in block and a not in heirs
                dying = b in block and last[b] == i and b not in inherited
                views = len([t for t in reads if t is b])  # another view would be overwritten
                if fresh and dying and views == 1 and nbytes[a] == nbytes[b]:
                    heirs[a] = b
                    inherited.add(b)
            for t in writes:
                if id(t) in places or t in block:
                    continue
                if t in heirs:
                    block[t] = block.pop(heirs[t])
                    offsets[id(t)] = block[t][0]
                    continue
                need = max(-(-nbytes[t] // ALIGN) * ALIGN, ALIGN)
                fit = None
                for j, (_, n) in enumerate(free):
                    if n >= need:
                        fit = j
                        break
                if fit is None:
                    if free and free[-1][0] + free[-1][1] == top:  # grow the last hole
                        offset, _ = free.pop()
                    else:
                        offset = top
                    top = offset + need
                else:
                    offset, n = free[fit]
                    if n == need:
                        free.pop(fit)
                    else:
                        free[fit] = (offset + need, n - need)
                block[t] = (offset, need)
                offsets[id(t)] = offset
            touched = {*touched, *reads, *writes} if step.shared[0] else {*reads, *writes}
            for t in touched:
                if last[t] == i and t in block:
                    free = _release(free, block.pop(t))
        return top


def _release(free: list[tuple[int, int]], hole: tuple[int, int]) -> list[tuple[int, int]]:
    """The free list with one more hole, neighbours joined."""
    out: list[tuple[int, int]] = []
    for offset, n in sorted([*free, hole]):
        if out and out[-1][0] + out[-1][1] == offset:
            out[-1] = (out[-1][0], out[-1][1] + n)
        else:
            out.append((offset, n))
    return out
