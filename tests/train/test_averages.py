"""Each kind of average: its recurrence against the weights that its formula gives to each step's parameters."""

import copy
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import hawfinch as hf
from hawfinch import averaging

STEPS = 40


def ema(t: int) -> np.ndarray:
    """Of steps 0 to t: decay^(t - s) (1 - decay), and all of the rest to the first."""
    w = 0.1 * 0.9 ** np.arange(t, -1, -1.0)
    w[0] = 0.9**t
    return w


def swa(start: int, every: int) -> Callable[[int], np.ndarray]:
    def weights(t: int) -> np.ndarray:
        taken = np.arange(start, t + 1, every)
        w = np.zeros(t + 1)
        w[taken if len(taken) else t] = 1
        return w / w.sum()

    return weights


def polynomial(t: int) -> np.ndarray:
    """Of eta = 1: 2 s / (t (t + 1)) for the s-th of t."""
    return np.arange(1.0, t + 2) / np.arange(1.0, t + 2).sum()


CASES: dict[str, tuple[hf.Average, Callable[[int], np.ndarray]]] = {
    "ema": (hf.EMA(0.9), ema),
    "swa": (hf.SWA(0.5), swa(20, 1)),
    "swa of some": (hf.SWA(7, every=4), swa(7, 4)),
    "polynomial": (hf.PolynomialAverage(eta=1.0), polynomial),
    "plain mean": (hf.PolynomialAverage(eta=0.0), lambda t: np.full(t + 1, 1 / (t + 1))),
}


@pytest.mark.parametrize("name", CASES)
def test_weights(name: str) -> None:
    average, weights = CASES[name]
    keep, gain = average.factors_in_fit(np.arange(STEPS), 0, STEPS)
    p = np.random.default_rng(0).normal(size=STEPS)
    value = 0.0
    for t in range(STEPS):
        value = keep[t] * value + gain[t] * p[t]
        assert value == pytest.approx(weights(t) @ p[: t + 1], rel=1e-12, abs=1e-14), t
    later = average.factors_in_fit(np.arange(5, 9), 0, STEPS)
    np.testing.assert_array_equal(later, [keep[5:9], gain[5:9]])
    assert pickle.loads(pickle.dumps(average)) == average == copy.deepcopy(average)


def test_every_average_has_a_row() -> None:
    kinds = {getattr(averaging, name) for name in averaging.__all__} - {hf.Average}
    assert {type(average) for average, _ in CASES.values()} == kinds
