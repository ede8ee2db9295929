"""Adaptive clipping, per unit of each weight, against NumPy."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(12, 4)), 5 * RNG.normal(size=(12, 3))
Arrays = dict[str, np.ndarray]


def linear() -> hf.Sequential:
    return hf.Sequential(hf.Linear(3)).astype("float64").build((4,), seed=2)


def gradients(p: Arrays, x: np.ndarray, y: np.ndarray) -> Arrays:
    d = 2 * (x @ p["0.weight"] + p["0.bias"] - y) / y.size
    return {"0.weight": x.T @ d, "0.bias": d.sum(0)}


def clipped(g: np.ndarray, p: np.ndarray, limit: float | None) -> np.ndarray:
    """By the formula of Brock et al., 2021: units are columns of a weight, a bias is one."""
    if limit is None:
        return g
    norm, of_p = (np.sqrt((a * a).sum(0, keepdims=True)) for a in (g, p))
    most = limit * np.maximum(of_p, 1e-3)
    return np.where(norm > most, g * most / np.maximum(norm, 1e-6), g)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("of_bias", [0.05, None, 3.0])
def test_formula(of_bias: float | None, accumulate: int) -> None:
    groups: dict[str, Any] = {} if of_bias == 0.05 else {"*.bias": dict(clip_adaptive=of_bias)}
    optimizer = hf.SGD(0.5, weight_decay=0.1, clip_adaptive=0.05)
    trainer = hf.Trainer(linear(), "mse", optimizer, groups=groups, accumulate=accumulate)
    p = {k: v.copy() for k, v in trainer.model.parameters().items()}
    trainer.fit(X, Y, batch_size=6 // accumulate, epochs=3, shuffle=False)
    for _ in range(3):
        for rows in (slice(0, 6), slice(6, 12)):
            for k, g in gradients(p, X[rows], Y[rows]).items():
                limit = of_bias if k == "0.bias" else 0.05
                p[k] = p[k] - 0.5 * (clipped(g, p[k], limit) + 0.1 * p[k])
    for k, v in trainer.model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-12)


def test_large_weights_and_threads() -> None:
    """Where the sweep would else take the gradient from its product."""
    x, y = RNG.normal(size=(9, 300)), RNG.normal(size=(9, 250))
    outcomes = []
    for threads in (1, 2):
        model = hf.Sequential(hf.Linear(250)).astype("float64").build((300,))
        p = {k: v.copy() for k, v in model.parameters().items()}
        trainer = hf.Trainer(model, "mse", hf.SGD(1.0, clip_adaptive=1e-3))
        trainer.step(x, y, threads=threads)
        outcomes.append(model.store().params.tobytes())
    g = gradients(p, x, y)
    for k, v in model.parameters().items():
        want = clipped(g[k], p[k], 1e-3)
        assert not np.array_equal(want, g[k])
        np.testing.assert_allclose(v, p[k] - want, rtol=1e-12)
    assert outcomes[0] == outcomes[1]


def test_a_limit_is_changed_without_a_new_plan() -> None:
    trainer = hf.Trainer(linear(), "mse", hf.Adam(clip_adaptive=0.05))
    trainer.step(X, Y)
    plan = trainer.plan(X, Y, batch_size=12)
    trainer.set(clip_adaptive=0.5)
    assert trainer.plan(X, Y, batch_size=12) is plan
    trainer.set(clip_adaptive=None)
    assert trainer.plan(X, Y, batch_size=12) is not plan


def test_errors() -> None:
    for limit in (0, -1.0, float("nan"), "a"):
        with pytest.raises(ArgumentError, match="clip_adaptive"):
            hf.SGD(clip_adaptive=limit)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="clip_adaptive"):
            hf.Trainer(linear(), "mse", groups={"*": dict(clip_adaptive=limit)})
    with pytest.raises(ArgumentError, match="clip_norm and clip_adaptive exclude each other"):
        hf.Adam(clip_norm=1.0, clip_adaptive=0.1)
    with pytest.raises(ArgumentError, match="clip_norm and clip_adaptive exclude each other"):
        hf.Adam(clip_norm=1.0).replace(clip_adaptive=0.1)
