"""Schedule: what each record costs, where threads must meet, how many of them are worth a try.

Design
(a) Barriers: two accesses of the same bytes need one between them unless both belong to the same thread by the split.
    The split is by rows almost everywhere, so a multilayer perceptron's step needs barriers only around weight
    gradients. Rejected: barriers declared by each op: wrong as soon as memory is used again.
(b) Threads: an estimate decides whether a team is worth a try, then C times both ways (hf_plan_run_auto): what a
    barrier costs depends on what else runs on the machine. The estimate is a table of rates (FLOPS, BYTES, BARRIER
    below). Rejected: rates fitted at first use, milliseconds in every process for a number that one trial corrects
    anyway.
(c) Shares: consecutive products of equal size that do not need each other are shared as one piece of work (``share``),
    so that two threads have three matrices one and a half each, and the next products of a matrix find it with the
    thread that made it. Rejected: one record for several matrices, a second kind of every product.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from .. import _core
from ..ir import Step, Tensor
from .memory import ALIGN, Dynamic, Layout, base_of

FLOPS = {"baseline": 1.5e10, "ref": 1e9, "neon": 6e10, "avx2": 1e11, "avx512": 2e11}  # per second and core
BYTES, L2_BYTES = 2.5e10, 1e11  # per second and core: L3 or memory; L2, where a record touches no more than L2_SIZE
L2_SIZE = 1 << 19
RECORD = 20e-9  # seconds of fixed cost per record
BARRIER = 1.5e-6  # seconds; 0.3e-6 when every core is free
REGION = 3e-6  # seconds to start a team for a single step while its threads are awake; 50e-6 from sleep
BRIEF = 2e-5  # seconds: other Python threads wait for a shorter plan
PIECE = 0.02  # seconds: longer records are cut, so that Ctrl-C is seen in time

Access = tuple[int, int, object]  # first byte, end, the split by which threads own it


class Schedule:
    """When each step of a plan runs, and on how many threads.

    ``seconds``: the estimate for each step at capacity; ``time_shares``: the part of all up to and with it;
    ``pieces``: in how many it is cut; ``barriers``: whether threads meet before it.
    ``slow``: look at the clock at every barrier;
    ``keeps_lock``: over before other Python threads mind. ``scratch_bytes``: workspace of a thread.
    """

    def __init__(self, steps: Sequence[Step], layout: Layout):
        self.steps, self.layout = steps, layout
        self.seconds = self.estimates(layout.capacity)
        self.pieces = [
            1 if s.single or s.update else 1 + int(t / PIECE) for s, t in zip(steps, self.seconds, strict=True)
        ]
        self.barriers = find_barriers(steps, self.pieces, layout)
        total = sum(self.seconds)
        self.time_shares = [t / (total or 1.0) for t in itertools.accumulate(self.seconds)]
        self.slow = total > PIECE / 4
        self.keeps_lock = total < BRIEF
        self.scratch_bytes = max([ALIGN, *[s.scratch for s in steps]])

    def moved(self, step: Step, batch: int) -> int:
        """Bytes that a step reads and writes."""
        as_much_as = {id(t): like for t, like in step.by_rows}
        total = 0
        for t in (*step.reads, *step.writes):
            n = self.layout.bytes_of(t, batch)
            like = as_much_as.get(id(t))
            total += n if like is None else min(n, self.layout.bytes_of(like, batch))
        return total

    def estimates(self, batch: int) -> list[float]:
        """Seconds of one thread for each step."""
        rate = FLOPS.get(_core.kernel_isa(), 1e10) / (1 if self.layout.itemsize == 4 else 2)
        nbytes, seconds = self.layout.nbytes, []
        for step, (reads, writes) in zip(self.steps, self.layout.bases, strict=True):
            moved = self.moved(step, batch) if step.by_rows else 0
            for t in () if step.by_rows else reads + writes:
                moved += nbytes[t] if batch == self.layout.capacity else self.layout.bytes_of(t, batch)
            flops = step.flops
            if not isinstance(flops, int):
                flops = flops.per_row * batch + flops.fixed
            seconds.append(RECORD + max(flops / rate, moved / (BYTES if moved > L2_SIZE else L2_BYTES)))
        return seconds

    def threads_for(self, batch: int, n_steps: int, most: int) -> int:
        """The team size, up to ``most``, of the least estimated time for n_steps of ``batch`` rows in one call."""
        seconds = self.seconds
        if batch != self.layout.capacity:
            seconds = self.estimates(batch)
        alone = sum(seconds)
        if alone * min(n_steps, 100) < 2 * REGION or alone < 5e-6:
            return 1
        best, best_time = 1, alone
        barriers = 1 + sum(self.barriers)
        for n in range(2, min(most, _core.max_threads()) + 1):
            split = sum([s if step.single else s / n for s, step in zip(seconds, self.steps, strict=True)])
            time = (split + barriers * BARRIER) * 1.1 + REGION / n_steps
            if time < best_time:
                best, best_time = n, time
        return best


def share(steps: Sequence[Step]) -> None:
    """Marks runs of steps that threads share as one: of one kernel and one cost, none reading what another writes. For
    steps whose units own no rows of a tensor, so that no neighbour counts on their split."""
    run: list[Step] = []
    touched: set[Tensor] = set()
    for step in [*steps, None]:
        mine = set() if step is None else {base_of(t) for t in step.writes}
        if step is not None and run and _alike(run[0], step) and not touched & {base_of(t) for t in step.reads}:
            run.append(step)
        else:
            for i, member in enumerate(run):
                if len(run) > 1 and isinstance(member.units, int):
                    member.shared = i * member.units, len(run) * member.units
            run, touched = [] if step is None else [step], set()
        touched |= mine


def _alike(a: Step, b: Step) -> bool:
    fixed = isinstance(a.units, int) and a.units > 1 and not (a.local or b.local or a.single)
    return fixed and (a.op, a.units, a.flops, a.grain) == (b.op, b.units, b.flops, 1)


def find_barriers(steps: Sequence[Step], pieces: Sequence[int], layout: Layout) -> list[bool]:
    """Before which steps threads must meet."""
    flags = []
    nbytes = layout.nbytes
    places: dict[object, tuple[object, int]] = {}
    for t in nbytes:
        given = layout.places.get(id(t))
        if given is None:
            places[t] = None, layout.offsets[id(t)]
        else:
            buffer, start = given
            places[t] = ("dynamic", buffer) if isinstance(given, Dynamic) else id(buffer), start
    read: dict[object, list[Access]] = {}  # buffer -> what has been touched since the last barrier
    written: dict[object, list[Access]] = {}
    for step, n_pieces, (reads, writes) in zip(steps, pieces, layout.bases, strict=True):
        by_row = set(step.local)
        whole = set()  # another view of it may be local
        for base, t in zip(reads + writes, (*step.reads, *step.writes), strict=True):
            if t not in by_row:
                whole.add(base)
        mine = []
        clash = False  # whether another thread may have touched these bytes, one of the two writing
        own = set(writes)
        for t in own.union(reads):
            (place, start), write = places[t], t in own
            end = start + nbytes[t]
            part: object = None
            if step.single:
                part = "thread 0"
            elif t not in whole:
                part = (step.units, step.grain, n_pieces, step.shared, start, end)
            mine.append((place, write, (start, end, part)))
            others = written.get(place, []) + (read.get(place, []) if write else [])
            for a, b, p in others:
                if a < end and start < b and (part is None or part != p):
                    clash = True
        flags.append(clash)
        if clash:
            read, written = {}, {}
        for place, write, access in mine:
            (written if write else read).setdefault(place, []).append(access)
    return flags
