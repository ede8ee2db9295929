"""The update of touched rows: of a table that only gather reads, against the dense way and against NumPy."""

from typing import Any

import numpy as np
import pytest
from numpy_backend import NumPy
from optim_cases import CASES

import hawfinch as hf
from hawfinch.errors import ArgumentError, LabelError, NonFiniteError
from hawfinch.ir import size_at
from hawfinch.runtime.backend import using

RNG = np.random.default_rng(8)
IDS = RNG.integers(0, 30, (40, 3))
IDS[IDS == 7] = 8  # 7 is never touched
Y = RNG.normal(size=(40, 2))
SPARSE = {"table": dict(sparse=True)}


class Bag(hf.Module):
    """The sum of three rows of a table for each row of the batch, scaled."""

    def __init__(self, rows: int = 30, again: bool = False) -> None:
        self.rows, self.again = rows, again

    def forward(self, ids: Any) -> Any:
        table = self.param("table", (self.rows, 2), "xavier_uniform", (self.rows, 2))
        y = hf.ops.sum(hf.ops.gather(table, ids), 1)
        if self.again:
            y = y + hf.ops.sum(table)
        return y * self.param("gain", (2,), "ones")


def trainer_of(optimizer: Any, groups: Any = SPARSE, dtype: str = "float64", model: Any = None, **options: Any) -> Any:
    model = (Bag() if model is None else model).astype(dtype)
    return hf.Trainer(model, options.pop("loss", "mse"), optimizer, groups=groups, seed=4, **options)


def fitted(*args: Any, threads: int = 1, **options: Any) -> Any:
    """Batches of 16, 16 and 8 rows."""
    trainer = trainer_of(*args, **options)
    trainer.fit(IDS, Y, epochs=3, batch_size=16, shuffle=False, threads=threads)
    return trainer


def ops_of(trainer: Any) -> list[str]:
    return [step.op for step in trainer.plan(IDS, Y, batch_size=16).steps]


def bits(trainer: Any) -> bytes:
    return b"".join([trainer.model.store().params.tobytes(), *(s.tobytes() for s in trainer.slots.values())])


def lazy(optimizer: Any, update: Any, clip: float, decay: float, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """The same training in NumPy: rows that a batch does not touch keep their values and their state."""
    start = trainer_of(hf.SGD(0.0))
    start.fit(IDS, Y)
    p = {k: v.copy() for k, v in start.model.parameters().items()}
    state: dict[Any, dict[str, Any]] = {}
    batches = [slice(at, at + 16) for at in (0, 16, 32)] * 3
    for t, batch in enumerate(batches, 1):
        ids, y = IDS[batch], Y[batch]
        h = p["table"][ids].sum(1)
        d = 2 * (h * p["gain"] - y) / y.size
        g = {"gain": (d * h).sum(0)[None], "table": np.zeros_like(p["table"])}
        np.add.at(g["table"], ids.ravel(), np.repeat(d * p["gain"], 3, axis=0))
        scale = min(1.0, clip / (np.sqrt(sum((v**2).sum() for v in g.values())) + 1e-6))
        for name, touched in (("gain", [0]), ("table", np.unique(ids))):
            rows = p[name].reshape(-1, 2)
            for i in touched:
                slots = state.setdefault((name, i), {})
                rows[i] = update(rows[i], g[name][i] * scale + decay * rows[i], slots, t, **options)
    return p


DECOUPLED = ("adamw", "amsgrad decoupled", "nadamw", "lion")  # their decay is not that of ``lazy``


@pytest.mark.parametrize("backend", ["cpu", "numpy"])
@pytest.mark.parametrize("clip, decay", [(None, 0.0), (0.3, 0.0), (0.3, 0.1)])
@pytest.mark.parametrize("name", [name for name in CASES if name not in DECOUPLED])
def test_the_rule_is_for_touched_rows(name: str, clip: float | None, decay: float, backend: str) -> None:
    case = CASES[name]
    optimizer = case.optimizer(clip_norm=clip, weight_decay=decay)
    want = lazy(optimizer, case.update, clip or np.inf, decay, case.options)
    if backend == "cpu":
        got = fitted(optimizer)
    else:
        with using(NumPy(fuses=True)):
            got = fitted(optimizer)
    assert "sweep_rows" in ops_of(got) and "scatter_add" not in ops_of(got)
    for k, v in got.model.parameters().items():
        np.testing.assert_allclose(v, want[k], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("regularizers", [None, {"gain": hf.L1(0.1)}])
def test_plain_sgd_has_the_bits_of_the_dense_way(dtype: str, regularizers: Any) -> None:
    ways = [fitted(hf.SGD(0.1), groups, dtype, regularizers=regularizers) for groups in (SPARSE, None)]
    assert "scatter_add" in ops_of(ways[1])
    assert bits(ways[0]) == bits(ways[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_bits_for_any_number_of_threads(dtype: str) -> None:
    options: dict[str, Any] = {"regularizers": {"table": hf.L1(0.01)}}
    found = [bits(fitted(hf.Adam(0.05, clip_norm=0.3), SPARSE, dtype, threads=n, **options)) for n in (1, 2, 5)]
    assert len(set(found)) == 1


def test_what_is_not_touched_stays_with_its_moments() -> None:
    got = fitted(hf.AdamW(0.05, weight_decay=0.5), regularizers={"table": hf.L1(0.1)})
    fresh = trainer_of(hf.SGD(0.0))
    fresh.fit(IDS, Y)
    table = got.model.parameters()["table"]
    stayed = (table == fresh.model.parameters()["table"]).all(1)
    assert list(np.flatnonzero(stayed)) == [i for i in range(30) if i not in IDS]
    assert stayed[7]


def test_the_step_does_not_depend_on_the_table() -> None:
    """The same records with the same work, and the same memory of the plan, for a table a thousand times as large."""
    accounts, arenas = [], []
    for rows in (32, 32_000):
        plan = trainer_of(hf.Adam(0.05, clip_norm=1.0), model=Bag(rows)).plan(IDS, Y, batch_size=16)
        accounts.append([(s.op, size_at(s.units, 16), size_at(s.flops, 16)) for s in plan.steps])
        arenas.append(plan.arena.nbytes)
    assert accounts[0] == accounts[1]
    assert arenas[0] == arenas[1]


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate": 2},
        {"reduce": lambda g: None},
        {"average": hf.EMA(0.9)},
        {"constraints": {"table": hf.MaxNorm(3.0)}},
        {"model": Bag(again=True)},
        {"groups": {"*": dict(sparse=True), "table": dict(sparse=False)}},
    ],
)
def test_where_others_need_all_of_the_gradient_it_is_dense(options: dict[str, Any]) -> None:
    groups = options.pop("groups", SPARSE)
    found = fitted(hf.Adam(0.05), groups, **options)
    assert "sweep_rows" not in ops_of(found)
    dense = fitted(hf.Adam(0.05), None, **{**options, **({"model": Bag(again=True)} if "model" in options else {})})
    assert bits(found) == bits(dense)


def test_a_gradient_that_is_not_finite_or_an_index_out_of_range_changes_nothing() -> None:
    def root(p: Any, t: Any) -> Any:
        return hf.ops.mean(hf.ops.sqrt(hf.ops.square(p)), -1) + 0.0 * hf.ops.mean(t, -1)

    trainer = trainer_of(hf.Adam(0.05), loss=root)
    trainer.fit(IDS, Y, batch_size=16)
    trainer.model.freeze("gain")
    trainer.fit(IDS, Y, batch_size=16)
    before = bits(trainer)
    for wrong in (30, -1):
        with pytest.raises(LabelError):
            trainer.fit(np.where(np.arange(40)[:, None] == 3, wrong, IDS), Y, batch_size=40)
    assert bits(trainer) == before
    trainer.model.parameters()["table"][...] = 0  # the loss is 0, its gradient is not a number
    before = bits(trainer)
    with pytest.raises(NonFiniteError):
        trainer.fit(IDS, Y, batch_size=16)
    assert bits(trainer) == before


def test_sparse_is_true_or_false() -> None:
    with pytest.raises(ArgumentError, match="sparse must be True or False"):
        trainer_of(hf.Adam(), {"table": dict(sparse=1)})


def test_the_estimate_is_of_the_rows_that_are_touched() -> None:
    """A table a thousand times as long makes neither the gather nor the sweep of its rows dearer."""

    def seconds(rows: int) -> dict[str, float]:
        class Look(hf.Module):
            def forward(self, i: Any) -> Any:
                return hf.ops.gather(self.param("table", (rows, 8), lambda *_: np.zeros((rows, 8))), i)

        trainer = hf.Trainer(Look(), "mse", groups={"table": dict(sparse=True)})
        plan = trainer.plan(np.zeros(16, int), np.zeros((16, 8)), batch_size=16)
        return {s.op: t for s, t in zip(plan.steps, plan.schedule.seconds, strict=True)}

    short, long = seconds(100), seconds(100_000)
    assert {"gather", "sweep_rows"} <= set(short) and short == long
