"""signal agrees with NumPy on a net that is worked out by hand, and shows what it is there to show."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError

mpl.use("agg")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6))
Y = RNG.normal(size=(50, 1))


def test_statistics_are_those_of_numpy() -> None:
    model = hf.Sequential(hf.Linear(5), hf.ReLU(), hf.Linear(1)).astype("float64").build((6,))
    p = {k: np.array(v) for k, v in model.parameters().items()}
    z = X @ p["0.weight"] + p["0.bias"]
    a = np.maximum(z, 0)
    out = a @ p["2.weight"] + p["2.bias"]
    d_out = 2 * (out - Y) / len(X)
    d_a = d_out @ p["2.weight"].T
    d_z = d_a * (z > 0)
    found = hf.signal(model, X, Y, loss="mse")
    assert found.loss == pytest.approx(np.mean((out - Y) ** 2), rel=1e-12)
    assert [(s.name, s.kind, s.shape) for s in found.layers] == [
        ("0", "Linear", (5,)),
        ("1", "ReLU", (5,)),
        ("2", "Linear", (1,)),
    ]
    for name, value, slope in (("0", z, d_z), ("1", a, d_a), ("2", out, d_out)):
        s = found[name]
        assert s.mean == pytest.approx(value.mean(), rel=1e-10)
        assert s.deviation == pytest.approx(value.std(), rel=1e-10)
        assert s.gradient == pytest.approx(np.linalg.norm(slope), rel=1e-10)
    assert found["1"].zeros == np.mean(a == 0)
    g = np.hypot(np.linalg.norm(X.T @ d_z), np.linalg.norm(d_z.sum(0)))
    w = np.hypot(np.linalg.norm(p["0.weight"]), np.linalg.norm(p["0.bias"]))
    assert found["0"].ratio == pytest.approx(g / w, rel=1e-10)
    assert np.isnan(found["1"].ratio)


def test_dead_and_saturated_units_are_counted() -> None:
    model = hf.Sequential(hf.Linear(4), hf.ReLU(), hf.Linear(4), hf.Sigmoid(), hf.Linear(1)).build((6,))
    model.parameters()["0.bias"][:3] = -100
    model.parameters()["2.bias"][0] = 100
    found = hf.signal(model, X, Y, loss="mse")
    assert found["1"].dead == 0.75
    assert found["3"].saturated == 0.25
    assert "0.75" in str(found).splitlines()[3]
    upper, lower = found.plot()
    assert [t.get_text() for t in lower.get_xticklabels()][1] == "1\nReLU"
    assert upper.get_ylabel() == "deviation of outputs"


def test_training_and_inference_differ_where_layers_do() -> None:
    model = hf.Sequential(hf.Linear(8), hf.Dropout(0.5), hf.Linear(1))
    assert hf.signal(model, X, Y, loss="mse")["1"].zeros == pytest.approx(0.5, abs=0.1)
    still = hf.signal(model, X, Y, loss="mse", training=False)
    assert still["1"].zeros == 0
    assert still["1"].deviation == still["0"].deviation


def test_a_model_of_ones_own_with_layers_in_layers() -> None:
    class Twice(hf.Module):
        def __init__(self) -> None:
            self.inner, self.spare = hf.Sequential(hf.Linear(6), "tanh"), hf.Linear(1)

        def forward(self, x: Any) -> Any:
            return hf.ops.sum(self.inner(x) + self.inner(x), axis=1, keepdims=True)

    model = Twice().build((6,))
    before = model.parameters()["inner.0.weight"].copy()
    assert [s.name for s in hf.signal(model, X, Y, loss="mse").layers] == ["inner.0", "inner.1"]
    assert np.array_equal(before, model.parameters()["inner.0.weight"])


def test_bad_input_is_told() -> None:
    model = hf.Sequential(hf.Linear(1))
    with pytest.raises(ArgumentError, match="rows"):
        hf.signal(model, X, Y, loss="mse", rows=0)
    with pytest.raises(ArgumentError, match="expected a model"):
        hf.signal(3, X, Y, loss="mse")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="no layer '7'; there are 0"):
        hf.signal(model, X, Y, loss="mse")["7"]
