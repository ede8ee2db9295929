"""The values of layers: activations, Linear, norms, dropout, Flatten, against NumPy in float64."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hawfinch as hf

RNG = np.random.default_rng(3)
X = RNG.normal(size=(30, 6)) * 2
ERF = np.vectorize(math.erf)


def wide(*layers: Any) -> hf.Sequential:
    return hf.Sequential(*layers).astype("float64")  # type: ignore[return-value]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


FORMULAS: dict[str, tuple[Any, Callable[[np.ndarray], np.ndarray]]] = {
    "relu": (hf.ReLU(), lambda x: np.maximum(x, 0)),
    "leaky_relu": (hf.LeakyReLU(), lambda x: np.where(x >= 0, x, 0.01 * x)),
    "leaky_relu_slope": (hf.LeakyReLU(0.3), lambda x: np.where(x >= 0, x, 0.3 * x)),
    "elu": (hf.ELU(), lambda x: np.where(x >= 0, x, np.expm1(np.minimum(x, 0)))),
    "elu_alpha": (hf.ELU(0.7), lambda x: np.where(x >= 0, x, 0.7 * np.expm1(np.minimum(x, 0)))),
    "gelu": (hf.GELU(), lambda x: x * (1 + ERF(x / math.sqrt(2))) / 2),
    "silu": (hf.SiLU(), lambda x: x / (1 + np.exp(-x))),
    "softplus": (hf.Softplus(), lambda x: np.logaddexp(0, x)),
    "tanh": (hf.Tanh(), np.tanh),
    "sigmoid": (hf.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    "softmax": (hf.Softmax(), softmax),
    "log_softmax": (hf.LogSoftmax(), lambda x: np.log(softmax(x))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activation(name: str) -> None:
    layer, formula = FORMULAS[name]
    np.testing.assert_allclose(wide(layer).predict(X), formula(X), rtol=1e-13, atol=1e-15)
    if name in hf.nn.activations.ACTIVATIONS:
        by_name = hf.Sequential(name)
        assert type(by_name[0]) is type(layer)
        np.testing.assert_allclose(by_name.predict(X), formula(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
def test_activation_far_out(name: str) -> None:
    """No overflow where the result is finite."""
    layer, _ = FORMULAS[name]
    for model in (wide(copy.deepcopy(layer)), hf.Sequential(copy.deepcopy(layer))):
        y = model.predict(np.array([[-1e30, -1000.0, -100.0, 0.0, 100.0, 1000.0]]))
        assert np.isfinite(y).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6)])
def test_linear(shape: tuple[int, ...], bias: bool) -> None:
    """Over the last axis, whatever stands before it."""
    model = wide(hf.Linear(5, bias=bias))
    x = RNG.normal(size=(7, *shape))
    y = model.predict(x)
    p = model.parameters()
    assert list(p) == ["0.weight", "0.bias"][: 1 + bias] and p["0.weight"].shape == (6, 5)
    np.testing.assert_allclose(y, x @ p["0.weight"] + p.get("0.bias", 0), rtol=1e-13, atol=1e-14)


def test_layer_norm() -> None:
    model = wide(hf.LayerNorm(eps=1e-3))
    model.build((4, 6))
    p = model.parameters()
    p["0.weight"][:], p["0.bias"][:] = RNG.normal(size=(2, 6))
    x = RNG.normal(size=(9, 4, 6)) * 3 + 1
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(model.predict(x), expected * p["0.weight"] + p["0.bias"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(6,), (4, 6)])
def test_batch_norm(shape: tuple[int, ...]) -> None:
    """In training by the batch's statistics over all axes but the last, in inference by the running ones."""
    model = wide(hf.BatchNorm(eps=1e-3, momentum=0.25))
    x = RNG.normal(size=(9, *shape)) * 3 + 1
    model.build(shape)
    p, b = model.parameters(), model.buffers()
    assert list(b) == ["0.running_mean", "0.running_var"]
    p["0.weight"][:], p["0.bias"][:] = RNG.normal(size=(2, 6))
    axes = tuple(range(x.ndim - 1))
    expected = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-3) * p["0.weight"] + p["0.bias"]
    loss = hf.Trainer(model, "mse", hf.SGD(lr=0.0)).step(x, np.zeros_like(x))
    assert loss == pytest.approx((expected**2).mean(), rel=1e-12)
    np.testing.assert_allclose(b["0.running_mean"], 0.25 * x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(b["0.running_var"], 0.75 + 0.25 * x.var(axes, ddof=1), rtol=1e-12)
    mean, var = b["0.running_mean"], b["0.running_var"]
    running = (x - mean) / np.sqrt(var + 1e-3) * p["0.weight"] + p["0.bias"]
    np.testing.assert_allclose(model.predict(x), running, rtol=1e-12, atol=1e-13)


def test_batch_norm_of_one_row() -> None:
    model = wide(hf.BatchNorm())
    loss = hf.Trainer(model, "mse", hf.SGD(lr=0.0)).step(X[:1], np.ones((1, 6)))
    assert loss == pytest.approx(1.0)  # the batch less its own mean is 0
    np.testing.assert_allclose(model.buffers()["0.running_var"], 0.9)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout(p: float) -> None:
    """Training: 0 with probability p, else divided by 1 - p; another mask at every step. Inference: nothing."""
    model = hf.Sequential(hf.Dropout(p))
    ones = np.ones((400, 100), np.float32)
    assert (model.predict(ones) == 1).all()
    trainer = hf.Trainer(model, "mae")
    kept = [trainer.step(ones, np.zeros_like(ones)) * (1 - p) for _ in range(3)]
    for share in kept:
        assert share == pytest.approx(1 - p, abs=5 * math.sqrt(p * (1 - p) / ones.size) + 1e-6)
    assert p == 0 or len(set(kept)) == 3
    square = hf.Trainer(hf.Sequential(hf.Dropout(p)), "mse").step(ones, np.zeros_like(ones))
    assert square * (1 - p) ** 2 == pytest.approx(kept[0], rel=1e-5)  # the same seed and step: the same mask, 0 or 1


def test_two_dropouts_have_two_masks() -> None:
    class Twice(hf.Module):
        def __init__(self) -> None:
            self.drop = hf.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            return self.drop(x) - self.drop(x)

    ones = np.ones((100, 10), np.float32)
    assert hf.Trainer(Twice(), "mae").step(ones, np.zeros_like(ones)) == pytest.approx(1.0, abs=0.2)


def test_flatten() -> None:
    x = RNG.normal(size=(5, 2, 3, 4)).astype(np.float32)
    assert np.array_equal(hf.Sequential(hf.Flatten()).predict(x), x.reshape(5, 24))
