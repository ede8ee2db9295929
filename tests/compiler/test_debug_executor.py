"""Virtual threads, one at a time, in drawn orders: the bits of a run, and other bits where a barrier is missing."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import hawfinch as hf
from hawfinch import _core
from hawfinch.compiler.memory import Dynamic, base_of
from hawfinch.ir import Graph, Step, input_tensor, size_at
from hawfinch.runtime.backend import CPU
from hawfinch.runtime.plan import Plan

ROWS, BATCH = 56, 20
RNG = np.random.default_rng(8)
X, LABELS = RNG.normal(size=(ROWS, 24)), RNG.integers(0, 5, ROWS)


def mlp(**options: Any) -> hf.Trainer:
    model = hf.Sequential(
        hf.Linear(32),
        hf.BatchNorm(),
        hf.ReLU(),
        hf.Dropout(0.3),
        hf.Linear(20),
        hf.LayerNorm(),
        hf.Tanh(),
        hf.Linear(5),
    )
    model.build((24,))
    return hf.Trainer(model, "softmax_cross_entropy", seed=1, **options)


def shared() -> hf.Trainer:
    """Products of three equal matrices, which threads share as one."""
    model = hf.Sequential(*[hf.Linear(72) for _ in range(4)], hf.Linear(5)).build((24,))
    return hf.Trainer(model, "softmax_cross_entropy", hf.Muon(1e-2, ns_steps=2), seed=1)


TRAINERS = {
    "adam": lambda: mlp(optimizer=hf.Adam(1e-2, clip_norm=0.5), metrics=["accuracy"]),
    "sgd": lambda: mlp(optimizer=hf.SGD(1e-1, momentum=0.9, clip_norm=0.5, weight_decay=1e-3)),
    "muon": shared,
}


class Runs:
    """Runs of one plan from one start: every buffer as it was when this was made, or random where the run brings it."""

    def __init__(self, plan: Plan, scalars: npt.NDArray[np.float64]):
        self.plan, self.scalars = plan, scalars
        layout, rng = plan.layout, np.random.default_rng(2)
        self.given = {id(p[0]): p[0] for p in layout.places.values() if not isinstance(p, Dynamic)}
        self.start = [a.copy() for a in self.given.values()]
        need: dict[int, int] = {}
        for t, nbytes in layout.nbytes.items():
            place = layout.places.get(id(base_of(t)))
            if isinstance(place, Dynamic):
                need[place.number] = max(need.get(place.number, 0), place.offset + nbytes)
        for step in plan.steps:  # what a step reads beyond its tensor: the sweep over all parameters
            for t in (*step.reads, *step.writes):
                place = layout.places.get(id(base_of(t)))
                if isinstance(place, Dynamic):
                    end = place.offset + size_at(t.shape[0] if t.shape else 1, BATCH) * layout.itemsize
                    need[place.number] = max(need[place.number], end)
        self.brought = [
            rng.uniform(0.1, 1.0, -(-need.get(n, 0) // layout.itemsize)).astype(plan.dtype)
            for n in range(max(need) + 1)
        ]

    def core(self, barriers: list[bool]) -> Any:
        self.plan.schedule.barriers = barriers
        core = CPU().bind(self.plan, 4)
        core.set_source(0, X)
        core.set_source(1, LABELS)
        return core

    def bits(self, core: Any, method: str, *args: Any, **how: Any) -> list[Any]:
        """Status and last step, and all that is in memory after it."""
        for a, start in zip(self.given.values(), self.start, strict=True):
            a[...] = start
        arrays = tuple(a.copy() for a in self.brought)
        self.plan.arena[...] = 0xFF  # NaN
        n_steps = -(-ROWS // BATCH)
        status = getattr(core, method)(
            *args, dynamic=arrays, n_steps=n_steps, batch=BATCH, rows=ROWS, scalars=self.scalars, seed=9, **how
        )
        return [status, *(a.tobytes() for a in (*arrays, *self.given.values()))]


def runs_of(name: str) -> tuple[Runs, list[bool]]:
    trainer = TRAINERS[name]()
    plan = trainer.plan(X, LABELS, batch_size=BATCH)
    return Runs(plan, trainer.scalars(-(-ROWS // BATCH))), list(plan.barriers)


@pytest.mark.parametrize("name", TRAINERS)
def test_virtual_threads_give_the_bits_of_a_run(name: str) -> None:
    runs, barriers = runs_of(name)
    core = runs.core(barriers)
    want = runs.bits(core, "run")
    assert want[0] == (_core.OK, 3) and want == runs.bits(core, "run", threads=2)
    for n_threads in (1, 2, 3, 7, 64):
        for order in range(12):
            assert runs.bits(core, "run_debug", n_threads, order) == want, (n_threads, order)


def hazards(plan: Plan, barriers: list[bool], at: int) -> set[str]:
    """What the step behind a barrier does to bytes that the steps before it, up to the last barrier, have touched."""

    def touched(i: int, write: bool) -> list[tuple[object, int, int]]:
        places = [(plan.layout.place(t), plan.layout.nbytes[t]) for t in plan.layout.bases[i][write]]
        return [(getattr(p, "number", id(p)), start, start + n) for (p, start), n in places]

    first = max(i for i in range(at) if barriers[i] or i == 0)
    kinds = {"read after write": (True, False), "write after read": (False, True), "write after write": (True, True)}
    return {
        kind
        for kind, (before, now) in kinds.items()
        for i in range(first, at)
        for p, a, b in touched(i, before)
        for q, c, d in touched(at, now)
        if p == q and a < d and c < b
    }


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_barrier_that_is_taken_out_is_seen(name: str) -> None:
    runs, barriers = runs_of(name)
    want = runs.bits(runs.core(barriers), "run")
    unseen, seen = [], set()
    for i, barrier in enumerate(barriers):
        if not barrier or i == 0:  # threads meet before the first in any case
            continue
        core = runs.core([b and j != i for j, b in enumerate(barriers)])
        if all(runs.bits(core, "run_debug", n, order) == want for n in (2, 3, 5, 20) for order in range(12)):
            unseen.append((i, runs.plan.steps[i].op))
        else:
            seen |= hazards(runs.plan, barriers, i)
    assert not unseen
    assert seen == {"read after write", "write after read"}


def test_equal_products_are_shared_as_one() -> None:
    plan = shared().plan(X, LABELS, batch_size=BATCH)
    products = [(step.units, step.shared) for step in plan.steps if step.op == "matmul_symmetric" and step.shared[1]]
    assert products == [(2, (0, 6)), (2, (2, 6)), (2, (4, 6))] * 4  # A and b A + c A A, twice
    assert not any(barrier for step, barrier in zip(plan.steps, plan.barriers, strict=True) if step.shared[0])


def test_two_writes_in_the_wrong_order_are_seen() -> None:
    graph = Graph()
    x, z, y = (input_tensor(graph, name, (16,)) for name in "xzy")
    memory = {t: np.full(16, i, np.float32) for i, t in enumerate((x, z, y))}
    steps = []
    for source, rows in ((x, 16), (z, 4)):
        dim, stride = [rows, 16 // rows, 1, 1, 1, 1], [16 // rows, 1, 0, 0, 0, 0]
        fields = {"y": y, "x": source, "dim": dim, "y_stride": stride, "x_stride": stride, "itemsize": "itemsize"}
        steps.append(Step("copy", fields, (y,), (source,), units=rows, local=(y, source)))
    places = {id(t): (a, 0) for t, a in memory.items()}
    plan = Plan(steps, [y], places, dtype="float32", capacity=1, max_threads=4)
    assert plan.barriers[1] and hazards(plan, plan.barriers, 1) == {"write after write"}

    def seen(core: Any, order: int) -> bool:
        core.run_debug(3, order)
        return bool((memory[y] != 1).any())

    assert not any(seen(plan.core, order) for order in range(20))
    plan.schedule.barriers = [plan.barriers[0], False]
    core = CPU().bind(plan, 4)
    assert any(seen(core, order) for order in range(20))


def test_the_number_of_virtual_threads_is_checked() -> None:
    core = Plan([], [], {}, dtype="float32", capacity=1).core
    for n_threads in (0, 65, -1):
        with pytest.raises(ValueError, match=r"n_threads must be in \[1, 64\]"):
            core.run_debug(n_threads, 0)
    assert core.run_debug(64, 0) == (_core.OK, 1)
