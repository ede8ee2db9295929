"""Mixup against NumPy: inputs, losses of every kind of target, shares, what it refuses."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.augment import Mixup
from hawfinch.errors import ArgumentError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(30, 4))
Y = RNG.normal(size=(30, 3))
LABELS = RNG.integers(0, 3, 30)
SOFT = np.abs(Y) / np.abs(Y).sum(1, keepdims=True)


def linear() -> hf.Sequential:
    return hf.Sequential(hf.Linear(3)).astype("float64").build((4,), seed=1)


def mse(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((p - y) ** 2).mean(1)


def entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    logs = p - np.log(np.exp(p).sum(1, keepdims=True))
    return -logs[np.arange(len(y)), y] if y.ndim == 1 else -(logs * y).sum(1)


@pytest.mark.parametrize(
    ("loss", "formula", "y"),
    [("mse", mse, Y), ("softmax_cross_entropy", entropy, LABELS), ("softmax_cross_entropy", entropy, SOFT)],
    ids=["mse", "labels", "soft"],
)
@pytest.mark.parametrize("batch", [30, 7])
def test_formula(loss: str, formula: Any, y: np.ndarray, batch: int) -> None:
    """Each row with the next one of its batch, in a circle, also in a short last batch."""
    model = linear()
    w, b = (v.copy() for v in model.parameters().values())
    trainer = hf.Trainer(model, loss, hf.SGD(0.0), seed=3)
    history = trainer.fit(X, y, epochs=2, batch_size=batch, shuffle=False, augment=Mixup(0.4))
    for epoch in range(2):
        total = 0.0
        shares = Mixup(0.4).shares(30, 3, epoch)
        for at in range(0, 30, batch):
            x, t, s = X[at : at + batch], y[at : at + batch], shares[at : at + batch]
            p = (s[:, None] * x + (1 - s[:, None]) * np.roll(x, -1, 0)) @ w + b
            total += (s * formula(p, t) + (1 - s) * formula(p, np.roll(t, -1, 0))).sum()
        assert history["loss"][epoch] == pytest.approx(total / 30, rel=1e-9)
    assert trainer.evaluate(X, y)["loss"] == pytest.approx(formula(X @ w + b, y).mean(), rel=1e-9)


def test_shares_are_those_of_a_beta_distribution() -> None:
    for alpha in (0.1, 0.5, 1.0, 2.0):
        s = Mixup(alpha).shares(20000, 1, 2)
        assert s.min() >= 0.5 and s.max() <= 1.0
        assert np.mean((s - 0.5) ** 2) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)
        assert not np.array_equal(s, Mixup(alpha).shares(20000, 1, 3))


def test_same_bits_for_threads_and_after_a_resume(tmp_path: Any) -> None:
    def make(threads: int) -> hf.Trainer:
        model = hf.Sequential(hf.Linear(40), hf.Tanh(), hf.Dropout(0.2), hf.Linear(3)).build((4,), seed=1)
        return hf.Trainer(model, "softmax_cross_entropy", hf.Adam(0.01), threads=threads)

    class Stop:
        def on_epoch_end(self, trainer: hf.Trainer, epoch: int, logs: Any) -> None:
            if epoch == 1:
                trainer.save_state(tmp_path / "state")

    results = set()
    for threads in (1, 3):
        trainer = make(threads)
        trainer.fit(X, LABELS, epochs=4, batch_size=8, augment=Mixup(), callbacks=[Stop()])
        results.add(trainer.model.store().params.tobytes())
    trainer = make(2)
    trainer.fit(X, LABELS, epochs=4, batch_size=8, augment=Mixup(), resume=tmp_path / "state")
    results.add(trainer.model.store().params.tobytes())
    assert len(results) == 1
    with pytest.raises(ArgumentError, match="augment"):
        make(1).fit(X, LABELS, epochs=4, batch_size=8, resume=tmp_path / "state")


def test_what_can_not_be_mixed() -> None:
    trainer = hf.Trainer(linear(), "mse")
    for make, words in (
        (lambda: Mixup(0.0), r"\(0, 2\]"),
        (lambda: Mixup(3.0), r"\(0, 2\]"),
        (lambda: trainer.fit(X, Y, augment="mixup"), "augmentation such as"),  # type: ignore[arg-type]
        (lambda: trainer.fit([(X, Y)].__iter__, augment=Mixup()), "chunks"),
        (lambda: trainer.fit(X, Y, sample_weight=np.ones(30), augment=Mixup()), "sample_weight"),
    ):
        with pytest.raises(ArgumentError, match=words):
            make()


def test_a_loss_without_targets_is_an_error() -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(2)), hf.Triplet())
    with pytest.raises(ArgumentError, match="Mixup mixes targets, and Triplet has none"):
        trainer.fit(np.ones((4, 3, 2)), None, augment=hf.augment.Mixup())
