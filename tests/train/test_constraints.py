"""Constraints against what they say, in NumPy float64: after each update, of every shape, for any number of threads."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hawfinch as hf

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 3))


def unit_norm(p: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.sum(p * p, 0, keepdims=True) if p.shape else p * p)
    return np.where(norm > 0, p / np.where(norm > 0, norm, 1), p)


ROWS: dict[str, tuple[hf.Constraint, Callable[[np.ndarray], np.ndarray]]] = {
    "non-negative": (hf.NonNegative(), lambda p: np.maximum(p, 0)),
    "unit-norm": (hf.UnitNorm(), unit_norm),
}


class Linear(hf.Module):
    """With a scalar parameter, which a weight of zeros multiplies."""

    def forward(self, x: Any) -> Any:
        weight = self.param("weight", (4, 3), lambda *_: W0)
        return x @ weight * self.param("scale", (), lambda *_: np.array(-0.5)) + self.param("bias", (3,), lambda *_: B0)


W0, B0 = RNG.normal(size=(4, 3)), RNG.normal(size=3)
W0[:, 1] = 0


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("how", [{"dtype": "float64"}, {"dtype": "float32", "threads": 3}])
def test_a_constraint_holds_after_each_update(name: str, how: dict[str, Any]) -> None:
    constraint, apply = ROWS[name]
    model = Linear()
    model.dtype = how["dtype"]
    trainer = hf.Trainer(model, "mse", hf.SGD(0.1), constraints={"*": constraint})
    trainer.fit(X, Y, epochs=5, batch_size="full", shuffle=False, threads=how.get("threads"))
    w, s, b = W0, np.array(-0.5), B0
    for _ in range(5):
        dy = 2 * (X @ w * s + b - Y) / Y.size
        gw, gs, gb = X.T @ dy * s, (X @ w * dy).sum(), dy.sum(0)
        w, s, b = apply(w - 0.1 * gw), apply(s - 0.1 * gs), apply(b - 0.1 * gb)
    tolerance = 1e-12 if how["dtype"] == "float64" else 1e-5
    for got, want in zip(model.parameters().values(), (w, s, b), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("constraint", [hf.UnitNorm(), hf.NonNegative()])
def test_zeros_stay_zeros_and_a_later_pattern_wins(constraint: hf.Constraint) -> None:
    model = hf.Sequential(hf.Linear(3))
    model.build((4,))
    for p in model.parameters().values():
        p[...] = 0
    hf.Trainer(model, "mse", hf.SGD(0.0), constraints={"*": constraint}).step(X, Y)
    assert not any(p.any() for p in model.parameters().values())
    trainer = hf.Trainer(model, "mse", hf.SGD(1.0), constraints={"*": constraint, "0.bias": hf.MaxNorm(0.0)})
    trainer.step(X, Y)
    assert not model.parameters()["0.bias"].any() and model.parameters()["0.weight"].any()
