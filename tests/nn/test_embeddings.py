"""Embedding and embeddings of numeric features: ids, padding, sparse updates, bins."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, LabelError, ShapeError
from hawfinch.ir import size_at

RNG = np.random.default_rng(2)
IDS = RNG.integers(0, 20, (64, 3))
Y = RNG.normal(size=(64, 2))


def net(num: int = 20, **options: Any) -> hf.Sequential:
    return hf.Sequential(hf.Embedding(num, 4, **options), hf.Flatten(), hf.Linear(2))


def ops_of(trainer: hf.Trainer, ids: Any = IDS) -> list[str]:
    return [step.op for step in trainer.plan(ids, Y, batch_size=16).steps]


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "bool"])
def test_ids_of_any_dtype_are_integers_by_their_use(dtype: str) -> None:
    ids = (IDS % 2).astype(dtype)
    model = net()
    hf.Trainer(model, "mse").fit(ids, Y)
    assert model.inputs is not None and model.inputs[0].dtype == "int"
    table = model.parameters()["0.weight"]
    assert model.outputs(ids, "0").tobytes() == table[ids.astype(int)].tobytes()


def test_one_id_a_row_and_ids_that_are_none() -> None:
    layer = hf.Embedding(20, 4)
    assert layer.predict(IDS[:, 0]).shape == (64, 4)
    model = net().build((3,))
    before = model.store().params.tobytes()
    for wrong in (20, -1):
        bad = np.where(np.arange(64)[:, None] == 40, wrong, IDS)
        for call in (lambda bad=bad: model.predict(bad), lambda bad=bad: hf.Trainer(model, "mse").step(bad, Y)):
            with pytest.raises(LabelError):
                call()
    assert model.store().params.tobytes() == before
    with pytest.raises(LabelError, match="whole numbers"):
        model.predict(IDS + 0.5)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("padding", [3, -17])
def test_padding_is_zero_and_stays_so(sparse: bool, padding: int) -> None:
    model = net(padding_idx=padding, sparse=sparse)
    trainer = hf.Trainer(model, "mse", hf.AdamW(0.1, weight_decay=0.1), regularizers={"0.weight": hf.L2(0.1)})
    trainer.fit(IDS, Y, epochs=3)
    table = model.parameters()["0.weight"]
    assert (table[3] == 0).all() and (table[IDS.max()] != 0).all()
    table[3] = 7  # the output is 0 whatever the row is
    assert (model.outputs(IDS, "0")[IDS == 3] == 0).all()


def test_max_norm_shortens_what_is_used_and_not_the_table() -> None:
    layer = hf.Embedding(20, 4, max_norm=1.0).build((3,))
    table = layer.parameters()["weight"].copy()
    lengths = np.linalg.norm(layer.predict(IDS), axis=-1)
    wanted = np.minimum(np.linalg.norm(table, axis=-1), 1)[IDS]
    np.testing.assert_allclose(lengths, wanted, rtol=1e-6)
    assert np.array_equal(layer.parameters()["weight"], table)


# ---- touched rows ----
def test_sparse_is_what_the_groups_of_a_trainer_say() -> None:
    """The same bits; the trainer's word goes before the layer's; what else needs every row is dense."""
    ways = [(net(sparse=True), None), (net(), {"0.weight": dict(sparse=True)})]
    trainers = [hf.Trainer(m, "mse", hf.Adam(0.05), groups=g, seed=1) for m, g in ways]
    for trainer in trainers:
        trainer.fit(IDS, Y, epochs=2)
        assert "sweep_rows" in ops_of(trainer) and "scatter_add" not in ops_of(trainer)
    assert len({t.model.store().params.tobytes() for t in trainers}) == 1
    for options in ({"groups": {"0.*": dict(sparse=False)}}, {"average": hf.EMA(0.9)}):
        assert "scatter_add" in ops_of(hf.Trainer(net(sparse=True), "mse", **options))
    assert "scatter_add" in ops_of(hf.Trainer(net(), "mse"))


def test_sparse_may_be_said_later_and_survives_a_file(tmp_path: Any) -> None:
    model = net()
    trainer = hf.Trainer(model, "mse", hf.Adam(0.05))
    trainer.fit(IDS, Y)
    assert "scatter_add" in ops_of(trainer)
    model[0].sparse = True
    trainer.fit(IDS, Y)
    assert "sweep_rows" in ops_of(trainer)
    model.save(tmp_path / "m")
    assert "sweep_rows" in ops_of(hf.Trainer(hf.load(tmp_path / "m"), "mse"))


def test_many_nets_with_sparse_tables_at_once() -> None:
    models = [net(sparse=True) for _ in range(3)]
    hf.fit_many([(m, {"loss": "mse", "seed": i}) for i, m in enumerate(models)], IDS, Y, epochs=2)
    for i, model in enumerate(models):
        alone = net(sparse=True)
        hf.Trainer(alone, "mse", seed=i).fit(IDS, Y, epochs=2)
        assert alone.store().params.tobytes() == model.store().params.tobytes()


def test_a_step_costs_what_the_batch_touches() -> None:
    """The same records with the same work, and the same memory of the plan, for a table a thousand times as large."""
    accounts = []
    for num in (32, 32_000):
        model = net(num, sparse=True, padding_idx=0, max_norm=2.0)
        plan = hf.Trainer(model, "mse", hf.Adam(0.05, clip_norm=1.0), regularizers={"0.weight": hf.L2(0.1)}).plan(
            IDS, Y, batch_size=16
        )
        accounts.append(([(s.op, size_at(s.units, 16), size_at(s.flops, 16)) for s in plan.steps], plan.arena.nbytes))
    assert accounts[0] == accounts[1]


# ---- numeric features ----
def test_plr_is_a_relu_of_a_linear_layer_of_waves() -> None:
    x = RNG.normal(size=(50, 3))
    layer = hf.PeriodicEmbedding(6, 5, sigma=0.7).astype("float64").build((3,))
    p = layer.parameters()
    assert p["frequency"].std() == pytest.approx(0.7, rel=0.5)
    turns = 2 * np.pi * x[..., None] * p["frequency"]
    waves = np.concatenate([np.cos(turns), np.sin(turns)], -1)
    y = np.einsum("bci,cio->bco", waves, p["linear.weight"]) + p["linear.bias"]
    np.testing.assert_allclose(layer.predict(x), np.maximum(y, 0), rtol=1e-12, atol=1e-13)


def test_a_periodic_net_fits_what_a_plain_one_of_its_size_does_not() -> None:
    x = RNG.uniform(-2, 2, size=(400, 2))
    y = np.sin(9 * x[:, :1]) * np.sign(x[:, 1:])
    losses = []
    for first in ([hf.PeriodicEmbedding(8, 16, 0.5), hf.Flatten()], []):
        model = hf.Sequential(*first, hf.Linear(32), "relu", hf.Linear(1))
        losses.append(hf.Trainer(model, "mse", hf.Adam(0.01)).fit(x, y, epochs=40)["loss"][-1])
    assert losses[0] < 0.1 < 0.25 < losses[1]


def test_bins_are_quantiles() -> None:
    x = np.stack([np.arange(101.0), RNG.lognormal(size=101), np.repeat([1.0, 2.0, 5.0], [50, 50, 1])], 1)
    bins = hf.PiecewiseLinearEmbedding.bins_of(x, 10)
    assert bins[0] == tuple(np.arange(0, 101, 10.0)) and bins[2] == (1.0, 2.0, 5.0)
    inside = np.searchsorted(bins[1], x[:, 1], side="right") - 1
    assert np.bincount(np.minimum(inside, 9)).tolist() == [10] * 9 + [11]


def test_a_piecewise_linear_embedding_does_not_see_the_scale_of_a_feature() -> None:
    x = RNG.lognormal(size=(200, 3))
    y = []
    for by in (1.0, 1000.0):
        bins = hf.PiecewiseLinearEmbedding.bins_of(x * by, 8)
        y.append(hf.PiecewiseLinearEmbedding(bins, 5).astype("float64").predict(x * by))
    np.testing.assert_allclose(y[0], y[1], rtol=1e-9, atol=1e-12)


def test_a_piecewise_linear_net_fits_what_a_linear_one_can_not() -> None:
    x = RNG.uniform(-3, 3, size=(400, 2))
    y = np.sin(3 * x[:, :1]) + np.abs(x[:, 1:])
    layer = hf.PiecewiseLinearEmbedding(hf.PiecewiseLinearEmbedding.bins_of(x, 24), 8)
    losses = []
    for first in (layer, hf.FeatureLinear(8)):
        model = hf.Sequential(first, hf.Flatten(), hf.Linear(1))
        inputs = x if first is layer else x[..., None]
        losses.append(hf.Trainer(model, "mse", hf.Adam(0.02)).fit(inputs, y, epochs=60)["loss"][-1])
    assert losses[0] < 0.02 < 0.4 < losses[1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: hf.Embedding(0, 4), ArgumentError, "num must be a whole number from 1, not 0"),
        (lambda: hf.Embedding(4, 4, padding_idx=4), ArgumentError, "padding_idx must be an id below num = 4, not 4"),
        (lambda: hf.Embedding(4, 4, padding_idx=True), ArgumentError, "padding_idx must be an id"),
        (lambda: hf.Embedding(4, 4, max_norm=0), ArgumentError, "max_norm must be a number above 0"),
        (lambda: hf.Embedding(4, 4, sparse=1), ArgumentError, "sparse must be True or False"),
        (lambda: hf.Embedding(4, 4, pading_idx=1), ArgumentError, "Did you mean 'padding_idx'"),
        (lambda: hf.Embedding(4, 4, init="norml"), ArgumentError, "Did you mean 'normal'"),
        (lambda: hf.PiecewiseLinearEmbedding([1.0, 2.0]), ArgumentError, "must be a list of each feature's edges"),
        (lambda: hf.PiecewiseLinearEmbedding([]), ArgumentError, "there is no feature"),
        (lambda: hf.PiecewiseLinearEmbedding([(0, 1), (2, 2)]), ArgumentError, r"those of feature 1 are \(2.0, 2.0\)"),
        (lambda: hf.PiecewiseLinearEmbedding([(0, 1)]).predict(IDS), ShapeError, r"expected \(rows, 1\)"),
        (lambda: hf.PiecewiseLinearEmbedding.bins_of(IDS[:3], 8), ShapeError, "more than n = 8 rows"),
        (lambda: hf.PiecewiseLinearEmbedding.bins_of(np.ones((9, 2)), 4), ArgumentError, "at least two"),
        (lambda: hf.PeriodicEmbedding(kind="plrr"), ArgumentError, "unknown kind .* 'plrr'. Did you mean 'plr'"),
        (lambda: hf.PeriodicEmbedding(1, kind="pbld"), ArgumentError, "dim must be a whole number from 2"),
        (lambda: hf.PeriodicEmbedding(sigma=0), ArgumentError, "sigma must be a number above 0"),
        (lambda: hf.PeriodicEmbedding().predict(IDS[..., None]), ShapeError, r"expected \(rows, features\)"),
        (lambda: hf.FeatureLinear(2).predict(IDS), ShapeError, r"expected \(rows, features, in\)"),
    ],
)
def test_wrong_options(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
