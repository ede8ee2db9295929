"""Trainer(watch=): norms of gradients, parameters and their changes, against NumPy, per step and per epoch."""

from typing import Any

import numpy as np
import pytest
from optim_cases import CASES, WHOLE

import hawfinch as hf
from hawfinch.errors import ArgumentError
from hawfinch.optim import Optimizer

RNG = np.random.default_rng(6)
X, Y = RNG.normal(size=(10, 4)), RNG.normal(size=(10, 3))
Arrays = dict[str, np.ndarray]


def linear(n: int = 3, n_in: int = 4, dtype: str = "float64") -> hf.Sequential:
    return hf.Sequential(hf.Linear(n)).astype(dtype).build((n_in,), seed=2)


def gradients(p: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    d = 2 * (x @ p["0.weight"] + p["0.bias"] - y) / y.size
    return {"0.weight": x.T @ d, "0.bias": d.sum(0)}


def copied(model: hf.Module) -> Arrays:
    return {k: v.copy() for k, v in model.parameters().items()}


def norms_of(g: Arrays, p: Arrays, old: Arrays) -> dict[str, float]:
    found = {}
    for what, of in (("grad", g), ("param", p), ("update", {k: p[k] - old[k] for k in p})):
        found |= {f"{what}_norm/{k}": float(np.sqrt((v**2).sum())) for k, v in of.items()}
    return found


def assert_near(got: dict[str, Any], want: dict[str, Any]) -> None:
    assert got.keys() == want.keys()
    for k, v in want.items():
        np.testing.assert_allclose(got[k], v, rtol=1e-12, err_msg=k)


ALL = {**CASES, **WHOLE}


@pytest.mark.parametrize("name", ALL)
def test_every_optimiser_with_groups_and_clipping(name: str) -> None:
    """The gradient is as it comes from the batch; the change is what the sweep has done."""
    groups = {"*.bias": dict(lr=hf.schedules.Scaled(0.5))}
    optimizer = ALL[name].optimizer(clip_norm=0.1, clip_value=0.03)
    trainer = hf.Trainer(linear(), "mse", optimizer, groups=groups, watch="*")
    for _ in range(4):
        old = copied(trainer.model)
        trainer.step(X, Y)
        new = copied(trainer.model)
        got, want = trainer.norms(), norms_of(gradients(old, X, Y), new, old)
        assert got.keys() == want.keys()
        for k, v in want.items():  # a change is a difference of parameters, which has their rounding
            np.testing.assert_allclose(got[k], v, rtol=1e-12, atol=1e-15, err_msg=k)


def test_an_epoch_is_the_root_mean_square_of_its_updates() -> None:
    """With accumulation too: of the whole gradient, and updates alone count."""
    for accumulate in (1, 2):
        trainer = hf.Trainer(linear(), "mse", hf.Adam(0.1), accumulate=accumulate, watch=["*.weight", "0.b*"])
        rows, each = 3 * accumulate, []
        p = copied(trainer.model)
        slots: dict[str, dict[str, Any]] = {k: {} for k in p}
        for t, at in enumerate(range(0, 10, rows), 1):
            g = gradients(p, X[at : at + rows], Y[at : at + rows])
            new = {k: CASES["adam"].update(p[k], g[k], slots[k], t, 0.1, (0.9, 0.999), 1e-8) for k in p}
            each.append(norms_of(g, new, p))
            p = new
        history = trainer.fit(X, Y, batch_size=3, shuffle=False)
        want = {k: [np.sqrt(np.mean([n[k] ** 2 for n in each]))] for k in each[0]}
        got = {k: v for k, v in history.to_dict().items() if "/" in k}
        assert_near(got, want)
        assert_near(trainer.norms(), each[-1])


@pytest.mark.parametrize("optimizer", [hf.SGD(0.1), hf.LAMB(0.1), hf.LARS(1.0)], ids=repr)
def test_gradients_that_are_never_stored(optimizer: Optimizer) -> None:
    """Those of weights so large that the sweep takes them from their product: also in front of LAMB's two sweeps."""
    x, y = RNG.normal(size=(20, 300)), RNG.normal(size=(20, 250))
    trainers = [hf.Trainer(linear(250, 300), "mse", optimizer, watch=watch) for watch in ("*", None)]
    old = copied(trainers[0].model)
    for trainer in trainers:
        trainer.step(x, y)
    fused = [step for step in trainers[0].plan(x, y, batch_size=20).steps if step.fields.get("product")]
    assert len(fused) == (not isinstance(optimizer, hf.LARS))
    new = copied(trainers[0].model)
    assert_near(trainers[0].norms(), norms_of(gradients(old, x, y), new, old))
    for k, v in trainers[1].model.parameters().items():
        assert v.tobytes() == new[k].tobytes()


class Bag(hf.Module):
    def forward(self, ids: Any) -> Any:
        return hf.ops.sum(hf.ops.gather(self.param("table", (40, 5), "ones"), ids), 1)


def test_rows_of_a_table() -> None:
    """Of a sparse one: those of the rows that the batch has touched."""
    ids, y = RNG.integers(0, 30, (12, 3)), RNG.normal(size=(12, 5))
    groups = {"table": dict(sparse=True)}
    trainer = hf.Trainer(Bag().astype("float64"), "mse", hf.Adam(0.1), groups=groups, watch="table")
    for batch in (ids, ids[:5]):
        trainer.step(batch, y[: len(batch)])
        old = copied(trainer.model)["table"]
        loss = trainer.step(batch, y[: len(batch)])
        assert loss > 0
        d = 2 * (old[batch].sum(1) - y[: len(batch)]) / y[: len(batch)].size
        g = np.zeros_like(old)
        np.add.at(g, batch.ravel(), np.repeat(d, 3, axis=0))
        new, rows = copied(trainer.model)["table"], np.unique(batch)
        assert_near(trainer.norms(), norms_of({"table": g}, {"table": new[rows]}, {"table": old[rows]}))


@pytest.mark.parametrize("optimizer", [hf.Adam(0.01), hf.LAMB(0.01), hf.LARS(1.0), hf.Muon(0.01)], ids=lambda o: o.rule)
def test_same_bits_for_any_number_of_threads(optimizer: Optimizer) -> None:
    x = RNG.normal(size=(64, 20)).astype(np.float32)
    y = RNG.normal(size=(64, 7)).astype(np.float32)
    outcomes = []
    for threads in (1, 2, 3):
        model = hf.Sequential(hf.Linear(300), hf.Tanh(), hf.Linear(300), hf.Tanh(), hf.Linear(7))
        trainer = hf.Trainer(model, "mse", optimizer, watch="*", threads=threads)
        trainer.fit(x, y, epochs=2, batch_size=20)
        outcomes.append((trainer.history.to_dict(), trainer.norms(), model.store().params.tobytes()))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0][1]) == 18


def test_it_changes_nothing_and_costs_nothing_where_nobody_asks() -> None:
    fitted = []
    for watch in (None, "*", ()):
        trainer = hf.Trainer(linear(dtype="float32"), "mse", hf.Adam(0.1), watch=watch)
        trainer.fit(X, Y, epochs=3, batch_size=4)
        fitted.append((trainer.model.store().params.tobytes(), trainer.history["loss"]))
        ops = [step.op for step in trainer.plan(X, Y, batch_size=4).steps]
        assert ("run_sums" in ops) == (watch == "*")
        assert ops.count("sweep") == 1
    assert fitted[0] == fitted[1] == fitted[2]
    assert "grad_norm/0.weight" not in trainer.history


def test_frozen_parameters_have_no_norms_and_others_keep_theirs() -> None:
    model = hf.Sequential(hf.Linear(4), hf.Tanh(), hf.Linear(3)).astype("float64").build((4,))
    model.freeze("0.*")
    trainer = hf.Trainer(model, "mse", hf.SGD(0.5), watch="*")
    old = copied(model)
    trainer.step(X, Y)
    want = {k: np.sqrt(((v - old[k]) ** 2).sum()) for k, v in model.parameters().items() if k.startswith("2.")}
    got = trainer.norms()
    assert {k.partition("/")[2] for k in got} == want.keys()
    for k, v in want.items():
        assert got[f"update_norm/{k}"] == pytest.approx(v, rel=1e-12)


def test_a_callback_asks_at_each_step_and_a_resumed_fit_goes_on() -> None:
    seen: list[float] = []
    states: list[Any] = []

    class Look:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            seen.append(trainer.norms()["grad_norm/0.weight"])
            if step == 4:
                states.append(trainer.get_state())

    def fresh() -> hf.Trainer:
        return hf.Trainer(linear(), "mse", hf.Adam(0.1), watch="*.weight")

    plain, resumed = fresh(), fresh()
    plain.fit(X, Y, epochs=2, batch_size=3, callbacks=[Look()])
    assert len(set(seen)) == 8
    assert plain.history["grad_norm/0.weight"][0] == pytest.approx(np.sqrt(np.mean(np.square(seen[:4]))), rel=1e-12)
    resumed.fit(X, Y, epochs=2, batch_size=3, callbacks=[], resume=states[0])
    assert resumed.history.to_dict() == plain.history.to_dict()


def test_many_nets_have_their_own() -> None:
    nets = [(linear(), dict(loss="mse", optimizer=hf.SGD(lr), watch="0.weight")) for lr in (0.1, 0.2)]
    histories = hf.fit_many(nets, X, Y, epochs=3, batch_size=4, threads=1)
    for lr, history in zip((0.1, 0.2), histories, strict=True):
        alone = hf.Trainer(linear(), "mse", hf.SGD(lr), watch="0.weight").fit(X, Y, epochs=3, batch_size=4)
        assert history.to_dict() == alone.to_dict() and "update_norm/0.weight" in history


def test_errors() -> None:
    for watch in (3, [3], True):
        with pytest.raises(ArgumentError, match="watch"):
            hf.Trainer(linear(), "mse", watch=watch)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"'0\.weight'"):
        hf.Trainer(linear(), "mse", watch="0.wieght").step(X, Y)
    with pytest.raises(ArgumentError, match="nothing is watched"):
        hf.Trainer(linear(), "mse").norms()
    with pytest.raises(ArgumentError, match="no update yet"):
        hf.Trainer(linear(), "mse", watch="*").norms()
    trainer = hf.Trainer(Bag(), "mse", hf.LAMB(), groups={"table": dict(sparse=True)})
    with pytest.raises(ArgumentError, match="LAMB exclude each other"):
        trainer.step(np.zeros((2, 3), int), np.zeros((2, 5)))
