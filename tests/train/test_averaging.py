"""Averages against what they say, in NumPy float64."""

from typing import Any

import numpy as np
import pytest
from training import X, Y, full_net

import hawfinch as hf
from hawfinch.errors import ArgumentError


@pytest.mark.parametrize(("eta", "start"), [(0, 0), (0, 5), (1, 0), (3.0, 2), (0.5, 100)])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_polynomial_average_of_a_training(eta: float, start: int, accumulate: int) -> None:
    """Parameters and running statistics; the second fit goes on with both; updates are counted, not batches."""

    def net() -> hf.Module:
        return hf.Sequential(hf.Linear(6), hf.BatchNorm(), hf.Tanh(), hf.Linear(2)).astype("float64")

    how: dict[str, Any] = dict(epochs=2, batch_size=51, shuffle=False)
    plain = hf.Trainer(net(), "mse", hf.Adam(0.02), accumulate=accumulate)
    averaged = hf.Trainer(net(), "mse", hf.Adam(0.02), accumulate=accumulate, average=hf.PolynomialAverage(eta, start))
    iterates: list[dict[str, np.ndarray]] = []

    class Follow:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if accumulate == 1 or step % 2:
                arrays = {**trainer.model.parameters(), **trainer.model.buffers()}
                iterates.append({k: v.copy() for k, v in arrays.items()})

    for _ in range(2):
        plain.fit(X, Y, **how, callbacks=[Follow()])
        averaged.fit(X, Y, **how)
        tail = iterates[min(start, len(iterates) - 1) :]
        weights = np.array([1.0])
        for t in range(2, len(tail) + 1):  # by the recurrence of the paper, as weights of the iterates
            a = (eta + 1) / (t + eta)
            weights = np.append(weights * (1 - a), a)
        assert weights.sum() == pytest.approx(1) and (np.diff(weights) >= -1e-15).all()
        if eta == 1:
            np.testing.assert_allclose(weights, np.arange(1, len(tail) + 1) / (len(tail) * (len(tail) + 1) / 2))
        for k, v in {**averaged.model.parameters(), **averaged.model.buffers()}.items():
            want = np.tensordot(weights, np.stack([p[k] for p in tail]), 1)
            np.testing.assert_allclose(v, want, rtol=1e-9, atol=1e-12)


def test_it_follows_the_parameters_until_it_starts() -> None:
    plain = hf.Trainer(full_net(), "softmax_cross_entropy")
    late = hf.Trainer(full_net(), "softmax_cross_entropy", average=hf.PolynomialAverage(start=10**6))
    labels = (X[:, 0] > 0).astype(int)
    for trainer in (plain, late):
        trainer.fit(X, labels, epochs=2)
    for a, b in zip(plain.model.parameters().values(), late.model.parameters().values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrong", [dict(eta=-1), dict(eta=float("nan")), dict(start=-1), dict(start=0.5)])
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=f"PolynomialAverage: {next(iter(wrong))}"):
        hf.PolynomialAverage(**wrong)
