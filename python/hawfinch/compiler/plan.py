"""Plan and lower: where every tensor lives, where threads must meet, and the records that C executes.

Design
(a) Memory: first fit over one arena by liveness, sizes at the plan's capacity; an output takes over the memory of an
    input that dies in the same step where the op allows it. Rejected: one buffer per tensor (activations of a
    100-layer net would never leave memory) and exact colouring (no gain measured on nets of this size).
(b) Barriers: two accesses of the same bytes need one between them unless both belong to the same thread by the split.
    The split is by rows almost everywhere, so a multilayer perceptron's step needs barriers only around weight
    gradients.
(c) Threads: an estimate decides whether a team is worth a try, then C times both ways (hf_plan_run_auto): what a
    barrier costs depends on what else runs on the machine. The estimate is a table of rates (FLOPS, BYTES, BARRIER
    below). Rejected: rates fitted at first use, milliseconds in every process for a number that one trial corrects
    anyway.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..errors import ArgumentError
from ..ir import Array, Dim, Size, Step, Tensor, numel, size_at
from ..ops.shape import RESHAPE

ALIGN = _core.CONSTANTS["HF_ALIGN"]
FLOPS = {"baseline": 1.5e10, "ref": 1e9, "neon": 6e10, "avx2": 1e11, "avx512": 2e11}  # per second and core
BYTES, L2_BYTES = 2.5e10, 1e11  # per second and core: L3 or memory; L2, where a record touches no more than L2_SIZE
L2_SIZE = 1 << 19
RECORD = 20e-9  # seconds of fixed cost per record
BARRIER = 1.5e-6  # seconds; 0.3e-6 when every core is free
REGION = 3e-6  # seconds to start a team for a single step while its threads are awake; 50e-6 from sleep
SLOW_ELEMENT = 3e-8  # seconds, of a float64 function that takes an element at a time
BRIEF = 2e-5  # seconds: other Python threads wait for a shorter plan
PIECE = 0.02  # seconds: longer records are cut, so that Ctrl-C is seen in time


class Dynamic(NamedTuple):
    """An address given at each run: the array ``number``, plus ``offset`` bytes."""

    number: int
    offset: int = 0


class Source(NamedTuple):
    """The user array ``number`` that load_batch reads."""

    number: int


Place = tuple[Array, int] | Dynamic  # buffer and byte offset, or an address of the run
Bases = tuple[list[Tensor], list[Tensor]]  # whose memory a step reads, and writes
Access = tuple[int, int, object]  # first byte, end, the split by which threads own it


def base_of(t: Tensor) -> Tensor:
    """The tensor whose memory t is a view of."""
    while t.node.op is RESHAPE:
        t = t.node.inputs[0]
    return t


class Memory(NamedTuple):
    """Bytes of each kind. ``activations``: the arena; ``workspace``: scratch of one thread."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.activations + self.workspace


def aligned_zeros(nbytes: int) -> Array:
    """A zeroed byte buffer that starts on a cache line."""
    raw = np.zeros(nbytes + ALIGN, np.uint8)
    start = -_core.address(raw) % ALIGN
    return raw[start : start + nbytes]


def check_threads(threads: int | None) -> int | None:
    """threads itself; raises ArgumentError unless it is None or a whole number from 1 on."""
    if threads is None or (isinstance(threads, int | np.integer) and not isinstance(threads, bool) and threads >= 1):
        return threads
    raise ArgumentError(f"threads must be a whole number >= 1, got {threads!r}")


class Plan:
    """Steps with addresses, ready to run. ``capacity``: the largest batch."""

    def __init__(
        self,
        steps: Sequence[Step],
        keep: Sequence[Tensor],
        places: dict[int, Place],
        *,
        dtype: str,
        capacity: int,
        buffers: Mapping[str, Sequence[Array]] | None = None,
        max_threads: int | None = None,
    ):
        self.steps = list(steps)
        self.capacity, self.dtype = capacity, dtype
        self.itemsize = 4 if dtype == "float32" else 8
        self._places = dict(places)
        self._buffers = buffers or {}
        self._offsets: dict[int, int] = {}
        bases = [([base_of(t) for t in s.reads], [base_of(t) for t in s.writes]) for s in self.steps]
        nbytes = {t: self._bytes(t) for t in {t for reads, writes in bases for t in (*reads, *writes)}}
        self.arena = aligned_zeros(self._allocate(bases, nbytes, keep))
        moved = [sum([nbytes[t] for t in reads + writes]) for reads, writes in bases]
        self.seconds = [self._estimate(s, n, capacity) for s, n in zip(self.steps, moved, strict=True)]
        self.pieces = [
            1 if s.single or s.update else 1 + int(t / PIECE) for s, t in zip(self.steps, self.seconds, strict=True)
        ]
        self.barriers = self._find_barriers(bases, nbytes)
        self.max_threads = max_threads or _core.max_threads()
        self.scratch_bytes = max((_scratch(s) for s in self.steps), default=ALIGN)
        total = sum(self.seconds)
        done = [t / (total or 1.0) for t in itertools.accumulate(self.seconds)]
        brief = total < BRIEF and total + self._slowest() < BRIEF
        self.core = _core.Plan(
            self.steps,
            done,
            self.pieces,
            self.barriers,
            self._value,
            _core.kernel_isa(),
            dtype == "float64",
            self.scratch_bytes,
            self.max_threads,
            total > PIECE / 4,
            brief,
            (self.arena, [p[0] for p in self._places.values() if not isinstance(p, Dynamic)]),
        )

    # ---- memory ----
    def _bytes(self, t: Tensor, batch: int | None = None) -> int:
        item = 8 if t.dtype == "int" else self.itemsize
        return size_at(numel(t.shape), self.capacity if batch is None else batch) * item

    def _allocate(self, bases: Sequence[Bases], nbytes: dict[Tensor, int], keep: Sequence[Tensor]) -> int:
        """Arena offsets of every tensor that has no place yet; gives the arena's size in bytes."""
        last = {t: i for i, (reads, writes) in enumerate(bases) for t in reads + writes}
        last.update((base_of(t), len(bases)) for t in keep)
        free: list[tuple[int, int]] = []  # (offset, bytes), by offset
        top = 0
        block: dict[Tensor, tuple[int, int]] = {}  # tensor -> (offset, bytes) it holds
        for i, (step, (reads, writes)) in enumerate(zip(self.steps, bases, strict=True)):
            heirs: dict[Tensor, Tensor] = {}
            for out, source in step.in_place:
                a, b = base_of(out), base_of(source)
                fresh = id(a) not in self._places and a not in block and a not in heirs
                dying = b in block and last[b] == i and b not in heirs.values()
                views = reads.count(b)  # another view would be overwritten
                if fresh and dying and views == 1 and nbytes[a] == nbytes[b]:
                    heirs[a] = b
            for t in writes:
                if id(t) in self._places or t in block:
                    continue
                if t in heirs:
                    block[t] = block.pop(heirs[t])
                    self._offsets[id(t)] = block[t][0]
                    continue
                need = max(-(-nbytes[t] // ALIGN) * ALIGN, ALIGN)
                fit = next((j for j, (_, n) in enumerate(free) if n >= need), None)
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
                self._offsets[id(t)] = offset
            for t in {*reads, *writes}:
                if last[t] == i and t in block:
                    free = _release(free, block.pop(t))
        return top

    def _place(self, t: Tensor) -> tuple[object, int]:
        """(buffer identity, byte offset) of a tensor, for overlap tests."""
        key = id(base_of(t))
        place = self._places.get(key)
        if place is None:
            return None, self._offsets[key]
        return (("dynamic", place.number), place.offset) if isinstance(place, Dynamic) else (id(place[0]), place[1])

    def view(self, t: Tensor, batch: int, dynamic: Sequence[Array] = ()) -> Array | None:
        """The values of t in memory for a batch of this size: a real array, or None for integers.

        dynamic: the arrays of the run; None for what lives in one that is not given.
        """
        base = base_of(t)
        place = self._places.get(id(base))
        if t.dtype == "int" or (isinstance(place, Dynamic) and place.number >= len(dynamic)):
            return None
        if isinstance(place, Dynamic):
            place = dynamic[place.number], place.offset
        buffer, start = (self.arena, self._offsets[id(base)]) if place is None else place
        n = size_at(numel(t.shape), batch)
        raw: Array = buffer.reshape(-1).view(np.uint8)[start : start + n * self.itemsize]
        return raw.view(self.dtype) if len(raw) == n * self.itemsize else None

    # ---- barriers ----
    def _find_barriers(self, bases: Sequence[Bases], nbytes: dict[Tensor, int]) -> list[bool]:
        flags = []
        places = {t: self._place(t) for t in nbytes}
        read: dict[object, list[Access]] = {}  # buffer -> what has been touched since the last barrier
        written: dict[object, list[Access]] = {}
        for step, pieces, (reads, writes) in zip(self.steps, self.pieces, bases, strict=True):
            by_row = set(step.local)
            views = zip(reads + writes, (*step.reads, *step.writes), strict=True)
            whole = {base for base, t in views if t not in by_row}  # another view of it may be local
            mine = []
            clash = False  # whether another thread may have touched these bytes, one of the two writing
            for t in {*reads, *writes}:
                (buffer, start), write = places[t], t in writes
                end = start + nbytes[t]
                part: object = None
                if step.single:
                    part = "thread 0"
                elif t not in whole:
                    part = (step.units, step.grain, pieces, start, end)
                mine.append((buffer, write, (start, end, part)))
                others = written.get(buffer, []) + (read.get(buffer, []) if write else [])
                clash = clash or any([part is None or part != p for a, b, p in others if a < end and start < b])
            flags.append(clash)
            if clash:
                read, written = {}, {}
            for buffer, write, access in mine:
                (written if write else read).setdefault(buffer, []).append(access)
        return flags

    # ---- lowering ----
    def _value(self, value: Any, step: Step) -> Any:
        """What a field of the step that is no number holds: the address of a tensor, or of (tensor, offset), a Dynamic
        where only the run knows it; for a string the size of an item."""
        if isinstance(value, str):
            return 8 if step.writes[0].dtype == "int" else self.itemsize
        if isinstance(value, Tensor):
            t, offset = value, 0
        elif type(value) is tuple:
            t, offset = value
        else:
            return value
        item = 8 if t.dtype == "int" else self.itemsize
        key = id(base_of(t))
        place = self._places.get(key)
        if isinstance(place, Dynamic):
            return Dynamic(place.number, place.offset + offset * item)
        if place is None:
            start = _core.address(self.arena) + self._offsets[key]
        else:
            start = _core.address(place[0]) + place[1]
        return offset * item + start if isinstance(offset, Dim) else start + offset * item

    # ---- cost ----
    def _moved(self, step: Step, batch: int) -> int:
        return sum([self._bytes(t, batch) for t in (*step.reads, *step.writes)])

    def _estimate(self, step: Step, moved: int, batch: int) -> float:
        rate = FLOPS.get(_core.kernel_isa(), 1e10) / (1 if self.itemsize == 4 else 2)
        return RECORD + max(size_at(step.flops, batch) / rate, moved / (BYTES if moved > L2_SIZE else L2_BYTES))

    def _slowest(self) -> float:
        """What the elementwise functions may take beyond the estimate, in seconds."""
        elements = [
            size_at(numel(t.shape), self.capacity) * max(len(s.code), 1)
            for s in self.steps
            if s.code or not s.op.startswith("matmul")
            for t in s.writes
        ]
        return SLOW_ELEMENT * sum(elements)

    def threads_for(self, batch: int, steps: int = 1) -> int:
        """The team size of the least estimated time for ``steps`` steps of ``batch`` rows in one call."""
        seconds = self.seconds
        if batch != self.capacity:
            seconds = [self._estimate(s, self._moved(s, batch), batch) for s in self.steps]
        alone = sum(seconds)
        if alone * min(steps, 100) < 2 * REGION or alone < 5e-6:
            return 1
        best, best_time = 1, alone
        barriers = 1 + sum(self.barriers)
        for n in range(2, min(self.max_threads, _core.max_threads()) + 1):
            split = sum(s if step.single else s / n for s, step in zip(seconds, self.steps, strict=True))
            time = (split + barriers * BARRIER) * 1.1 + REGION / steps
            if time < best_time:
                best, best_time = n, time
        return best

    def team(self, threads: int | None, batch: int, steps: int = 1) -> int:
        """What to ask of ``_core.Plan.run``: ``threads`` if given, else the estimate, to be confirmed by
        measurement."""
        if check_threads(threads) is not None:
            return min(int(threads), self.max_threads)  # type: ignore[arg-type]
        n = self.threads_for(batch, steps)
        return -n if n > 1 else 1

    @property
    def memory(self) -> Memory:
        """Bytes of parameters, gradients, optimiser state, activations and per-thread workspace."""

        def total(kind: str) -> int:
            return sum(b.nbytes for b in self._buffers.get(kind, ()))

        return Memory(
            total("parameters"), total("gradients"), total("optimizer"), self.arena.nbytes, self.scratch_bytes
        )

    def describe(self, batch: int | None = None) -> str:
        """A readable listing: one line per record with shapes, bytes, split over threads, estimated time."""
        b = self.capacity if batch is None else batch
        lines = [
            f"plan: {len(self.steps)} records, {sum(self.barriers)} barriers, {self.dtype}, capacity {self.capacity}, "
            f"{self.threads_for(b, 1000)} thread(s) at batch {b}, kernels {_core.kernel_isa()}",
            f"{'op':<24}{'output':<20}{'bytes':>10} {'split':<8}{'est. us':>8}  from",
        ]
        for step, barrier in zip(self.steps, self.barriers, strict=True):
            moved = self._moved(step, b)
            out = ", ".join(_shape_text(t.shape) for t in step.writes) or "-"
            split = "one" if step.single else str(step.units)
            name = ("| " if barrier else "  ") + step.op
            code = f" [{' '.join(step.code)}]" if step.code else ""
            time = self._estimate(step, moved, b) * 1e6
            lines.append(f"{name:<24}{out:<20}{moved:>10} {split:<8}{time:>8.2f}  {step.scope}{code}".rstrip())
        memory = self.memory
        lines.append(
            f"bytes: parameters {memory.parameters}, gradients {memory.gradients}, optimizer {memory.optimizer}, "
            f"activations {memory.activations}, workspace {memory.workspace} per thread"
        )
        return "\n".join(lines)


def _scratch(step: Step) -> int:
    """Bytes of workspace that this step's kernel asks of a thread."""
    if step.fields.get("product") is not None:
        return _core.CONSTANTS["HF_PRODUCT_BYTES"] + _core.CONSTANTS["HF_MATMUL_SCRATCH"]
    return _core.CONSTANTS["HF_MATMUL_SCRATCH"] if step.op.startswith("matmul") else ALIGN


def _shape_text(shape: Sequence[Size]) -> str:
    return "x".join(map(str, shape)) if shape else "1"


def _release(free: list[tuple[int, int]], hole: tuple[int, int]) -> list[tuple[int, int]]:
    """The free list with one more hole, neighbours joined."""
    out: list[tuple[int, int]] = []
    for offset, n in sorted([*free, hole]):
        if out and out[-1][0] + out[-1][1] == offset:
            out[-1] = (out[-1][0], out[-1][1] + n)
        else:
            out.append((offset, n))
    return out
