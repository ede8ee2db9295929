"""hawfinch.nn: integer inputs, several inputs, inputs without features, and shapes that differ from call to call."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import DTypeError, LabelError, ShapeError
from hawfinch.ir import BATCH, Spec

RNG = np.random.default_rng(8)


class Embed(hf.Module):
    """Rows of a table."""

    def __init__(self, n: int, out: int) -> None:
        self.n, self.out = n, out

    def forward(self, ids: Any) -> Any:
        return hf.ops.gather(self.param("table", (self.n, self.out), "xavier_uniform", (self.n, self.out)), ids)


class Mixed(hf.Module):
    """An identifier, (rows,), and features; the identifier is used as a number too."""

    def __init__(self) -> None:
        self.embed, self.head = Embed(5, 3), hf.Linear(1)

    def forward(self, ids: Any, x: Any) -> Any:
        seen = hf.ops.reshape(ids, (ids.shape[0], 1)) * 0.5
        return self.head(hf.ops.concat([self.embed(ids), x, seen], 1))


IDS = RNG.integers(0, 5, (40, 3))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32", "float64"])
def test_an_input_is_integer_by_its_use(dtype: str) -> None:
    """Whatever dtype the array of the first call has, and those of later ones."""
    model = hf.Sequential(Embed(5, 4), hf.Flatten(), hf.Linear(2))
    for _ in range(3):
        y = model.predict(IDS.astype(dtype))
    assert model.inputs == (Spec((BATCH, 3), "int"),)
    p = model.parameters()
    expected = p["0.table"][IDS].reshape(40, -1) @ p["2.weight"] + p["2.bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    for other in ("int64", "int16", "float64"):
        assert np.array_equal(model.predict(IDS.astype(other)), y)


@pytest.mark.parametrize("rows", [1, 40, 3000])
def test_indices_that_are_none(rows: int) -> None:
    model = hf.Sequential(Embed(5, 4))
    ids = np.resize(IDS, (rows, 3)).astype(np.float64)
    trainer = hf.Trainer(model, "mse")
    y = np.zeros((rows, 3, 4))
    for _ in range(2):  # the long way and the short one
        model.predict(ids)
        trainer.step(ids, y)
    for bad in (0.5, -0.5, 1e30):
        wrong = ids.copy()
        wrong[-1, 1] = bad
        for call in (model.predict, lambda v: trainer.step(v, y), lambda v: trainer.evaluate(v, y)):
            with pytest.raises(LabelError):
                call(wrong)
    for bad in (-1, 5, 2**62):
        whole = ids.astype(np.int64)
        whole[-1, 2] = bad
        before = model.parameters()["0.table"].copy()
        for call in (model.predict, lambda v: trainer.step(v, y), lambda v: trainer.fit(v, y)):
            with pytest.raises(LabelError):
                call(whole)
        assert np.array_equal(model.parameters()["0.table"], before) or rows > 32
    with pytest.raises(LabelError, match=r"x holds 0\.5 at \(0, 0\).*whole numbers"):
        model.predict([[0.5, 0.0, 0.0]])


def test_an_integer_and_a_real_input() -> None:
    model, ids, x = Mixed(), IDS[:, 0], RNG.normal(size=(40, 2))
    y = (0.3 * ids + x[:, 0])[:, None]
    history = hf.Trainer(model, "mse", hf.Adam(lr=0.05)).fit((ids, x), y, epochs=60, batch_size=10)
    assert model.inputs == (Spec((BATCH,), "int"), Spec((BATCH, 2), "real"))
    assert history["loss"][-1] < 0.05 * history["loss"][0]
    p = model.parameters()
    h = np.concatenate([p["embed.table"][ids], x, ids[:, None] * 0.5], 1)
    np.testing.assert_allclose(model.predict((ids, x)), h @ p["head.weight"] + p["head.bias"], rtol=1e-4, atol=1e-5)
    assert np.array_equal(model.predict((ids.astype(float), x)), model.predict((ids, x)))
    with pytest.raises(ShapeError, match=r"expected \(rows,\), \(rows, 2\)"):
        model.predict((IDS, x))
    with pytest.raises(ShapeError, match="takes 2 input"):
        model.predict(x)


def test_a_column_that_is_an_index() -> None:
    """By its use behind a slice; then the whole input is of integers."""

    class Column(hf.Module):
        def __init__(self) -> None:
            self.embed = Embed(5, 2)

        def forward(self, x: Any) -> Any:
            return self.embed(x[:, 0]) + hf.ops.reshape(x[:, 1] * 1.0, (x.shape[0], 1))

    model = Column()
    y = model.predict(IDS)
    np.testing.assert_allclose(y, model.parameters()["embed.table"][IDS[:, 0]] + IDS[:, 1:2], rtol=1e-6)


def test_computed_indices_are_refused() -> None:
    class Computed(hf.Module):
        def forward(self, x: Any) -> Any:
            return hf.ops.gather(np.ones((3, 2)), x * 2.0)

    with pytest.raises(DTypeError, match="gather needs integer"):
        Computed().predict(IDS[:, 0])


def test_build_takes_specs() -> None:
    model = hf.Sequential(Embed(5, 4)).build(Spec((BATCH, 3), "int"))
    assert model.inputs == (Spec((BATCH, 3), "int"),)
    assert hf.Sequential(Embed(5, 4)).build((3,)).inputs == model.inputs
    assert Mixed().build((), (2,)).inputs == (Spec((BATCH,), "int"), Spec((BATCH, 2)))


def test_integers_through_a_file(tmp_path: Path) -> None:
    model = hf.Sequential(Embed(5, 4), hf.Linear(2)).build((3,))
    model.save(tmp_path / "m")
    other = hf.load(tmp_path / "m", hf.Sequential(Embed(5, 4), hf.Linear(2)))
    assert other.inputs == model.inputs and np.array_equal(other.predict(IDS), model.predict(IDS))


def test_inputs_without_features() -> None:
    class Curve(hf.Module):
        def forward(self, t: Any) -> Any:
            return t * self.param("slope", (), "ones") + self.param("shift", (), "zeros")

    model, t = Curve(), np.linspace(-1, 1, 50)
    hf.Trainer(model, "mse", hf.SGD(lr=0.3)).fit(t, 2 * t + 1, epochs=60, batch_size=10)
    np.testing.assert_allclose(model.predict(t), 2 * t + 1, atol=1e-3)
    assert model.predict(t[:1]).shape == (1,)


def test_shapes_that_differ_from_call_to_call() -> None:
    """Sequences of other lengths: one plan each, the same parameters."""
    model = hf.Sequential(hf.Linear(8), hf.Tanh(), hf.Linear(2)).build((7, 4))
    weights = {k: v.copy() for k, v in model.parameters().items()}
    sets = [RNG.normal(size=(n, length, 4)).astype(np.float32) for n in (1, 5, 100) for length in (1, 3, 7, 20)]
    for _ in range(3):
        for x in sets:
            p = model.parameters()
            expected = np.tanh(x @ p["0.weight"] + p["0.bias"]) @ p["2.weight"] + p["2.bias"]
            np.testing.assert_allclose(model.predict(x), expected, rtol=1e-4, atol=1e-5)
    assert all(np.array_equal(weights[k], v) for k, v in model.parameters().items())
    assert model.inputs == (Spec((BATCH, 7, 4)),)
    for wrong in ((3, 7, 5), (3, 4), (3, 7, 4, 1), (4,)):
        with pytest.raises(ShapeError, match=r"expected \(rows, 7, 4\)"):
            model.predict(np.zeros(wrong))


def test_plans_for_many_shapes_are_bounded() -> None:
    model = hf.Sequential(hf.Linear(64), hf.ReLU(), hf.Linear(64))
    for length in range(1, 400):
        model.predict(np.zeros((65, length, 4), np.float32))
    pools = model._hf.predictor.pools
    assert sum(pool.nbytes for pool in pools._values.values()) <= 64 << 20 or len(pools) == 1
