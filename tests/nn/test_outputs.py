"""model.outputs: what one layer gives."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)


class Twice(hf.Module):
    """A layer that is called twice, one that is not, and one that gives a dict."""

    def __init__(self) -> None:
        self.a, self.pair, self.aside = hf.Linear(4), Pair(), hf.Linear(2)

    def forward(self, x: Any) -> Any:
        if self.training:
            self.aside(x)
        pair = self.pair(self.a(self.a(x)))
        return pair["up"] + pair["down"]


class Pair(hf.Module):
    def forward(self, x: Any) -> Any:
        return {"up": x + 1.0, "down": x * 2.0}


def net() -> hf.Sequential:
    return hf.Sequential(hf.Linear(8), hf.BatchNorm(), "tanh", hf.Sequential(hf.Linear(5), hf.Dropout()), hf.Linear(2))


def test_each_layer_gives_what_the_part_of_the_model_gives() -> None:
    model = net()
    hf.Trainer(model, "mse").fit(X, X[:, :2], epochs=2)
    h = X
    for i, layer in enumerate(model.layers):
        h = layer.predict(h)
        np.testing.assert_allclose(model.outputs(X, str(i)), h, rtol=1e-6, atol=1e-6)
    inner = model.outputs(X, "3.0")
    assert inner.tobytes() == model.outputs(X, "3").tobytes()  # dropout is nothing in inference
    assert model.outputs(X, "").tobytes() == model.predict(X).tobytes() == model.outputs(X, "4").tobytes()
    assert model.outputs(X[:0], "0").shape == (0, 8)


def test_nothing_behind_the_layer_is_computed() -> None:
    """A weight behind it that is no number does not matter; the next prediction is the model's again."""
    model = net().build((4,))
    y = model.predict(X[:3])
    model.parameters()["4.weight"][...] = np.nan
    assert np.isfinite(model.outputs(X, "2")).all()
    assert np.isnan(model.predict(X[:3])).all() and np.isfinite(y).all()


def test_a_model_that_is_not_built_and_one_that_has_changed() -> None:
    model = net()
    assert model.outputs(X, "2").shape == (300, 8)
    model.parameters()["0.weight"][...] = 0
    model.parameters()["0.bias"][...] = 2
    assert (model.outputs(X, "0") == 2).all()
    model.layers = (*model.layers[:2], hf.ReLU(), *model.layers[3:])
    assert (model.outputs(X, "2") > 1.9).all()


def test_several_calls_and_several_outputs() -> None:
    model = Twice()
    first, second = model.outputs(X, "a")
    assert second.tobytes() == model.a.predict(first).tobytes()
    up, down = model.outputs(X, "pair")
    np.testing.assert_allclose(up + down, model.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("5", "unknown layer '5'.* Known: 0, 1, 2, 3, 3.0, 3.1, 4"),
        ("3.00", "Did you mean '3.0'"),
        (2, "unknown layer 2"),
        ("0.weight", "unknown layer '0.weight'"),
    ],
)
def test_a_name_that_is_none(name: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        net().build((4,)).outputs(X, name)


def test_a_layer_that_is_not_called() -> None:
    with pytest.raises(ArgumentError, match="'aside' gives no output"):
        Twice().outputs(X, "aside")
    with pytest.raises(ShapeError, match="expected"):
        net().build((4,)).outputs(X[:, :3], "0")
