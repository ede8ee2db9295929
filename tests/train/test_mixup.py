"""Mixup against NumPy: inputs, losses of every kind of target, shares, what it refuses."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch import _core
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
    for alpha in (0.1, 0.5, 1.0, 2.0, 2.5, 40.0):
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


def mixed_loss(
    y: Any, w: np.ndarray | None, formula: Any, batch: int, shares: np.ndarray, weight: Any, seen: Any = None
) -> float:
    """sum (s w l(y) + (1 - s) w2 l(y2)) / sum (s w + (1 - s) w2) over all batches, of the linear model (w, b)."""
    matrix, b = weight
    total = count = 0.0
    for at in range(0, 30, batch):
        rows = slice(at, at + batch)
        s, following = shares[rows], lambda a: np.roll(a, -1, 0)
        p = (s[:, None] * X[rows] + (1 - s[:, None]) * following(X[rows])) @ matrix + b
        c = np.ones(len(s)) if w is None else w[rows]
        k = c if seen is None else c * seen[rows].mean(1)
        total += (s * c * formula(p, y[rows]) + (1 - s) * following(c) * formula(p, following(y[rows]))).sum()
        count += (s * k + (1 - s) * following(k)).sum()
    return float(total / count)


WEIGHTS = RNG.uniform(0.2, 3, 30)
GAPS = np.where(RNG.random((30, 3)) < 0.4, np.nan, Y)


def masked_mse(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(y), 0.0, (p - y) ** 2).mean(1)


@pytest.mark.parametrize("batch", [30, 7])
def test_weights_and_missing_targets_are_mixed(batch: int) -> None:
    """A row counts s w + (1 - s) w2."""
    table = np.array([1.0, 4.0, 0.5])
    cases: list[tuple[Any, Any, Any, Any, dict[str, Any], Any]] = [
        ("mse", Y, WEIGHTS, mse, {"sample_weight": WEIGHTS}, None),
        ("softmax_cross_entropy", LABELS, table[LABELS], entropy, {"class_weight": dict(enumerate(table))}, None),
        (hf.MSE(ignore_nan=True), GAPS, None, masked_mse, {}, ~np.isnan(GAPS)),
        (hf.MSE(ignore_nan=True), GAPS, WEIGHTS, masked_mse, {"sample_weight": WEIGHTS}, ~np.isnan(GAPS)),
    ]
    for loss, y, w, formula, more, seen in cases:
        model = linear()
        matrix = tuple(v.copy() for v in model.parameters().values())
        trainer = hf.Trainer(model, loss, hf.SGD(0.0), seed=3)
        history = trainer.fit(X, y, batch_size=batch, shuffle=False, augment=Mixup(0.4), **more)
        expected = mixed_loss(y, w, formula, batch, Mixup(0.4).shares(30, 3, 0), matrix, seen)
        assert history["loss"][0] == pytest.approx(expected, rel=1e-9)


def test_weights_of_each_output_are_mixed() -> None:
    w = RNG.uniform(0.2, 3, (30, 3))
    found = []
    for weight in (w, np.repeat(WEIGHTS[:, None], 3, 1), WEIGHTS):
        trainer = hf.Trainer(linear(), "mse", hf.SGD(0.1), seed=3)
        found.append(trainer.fit(X, Y, batch_size=7, sample_weight=weight, augment=Mixup())["loss"][0])
    assert found[1] == pytest.approx(found[2], rel=1e-12) and found[0] != pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize("shuffle", [False, True])
def test_accumulated_mixed_batches(shuffle: bool) -> None:
    """The gradient of an update is that of the sums over its batches, each mixed within itself."""
    model = linear()
    matrix, b = (v.copy() for v in model.parameters().values())
    trainer = hf.Trainer(model, hf.MSE(ignore_nan=True), hf.SGD(1.0), seed=3, accumulate=3)
    trainer.fit(X, GAPS, batch_size=10, shuffle=shuffle, sample_weight=WEIGHTS, augment=Mixup(0.4))
    order = _core.permutation(30, 3, 0) if shuffle else np.arange(30)
    x, y, w, s = (a[order] for a in (X, GAPS, WEIGHTS, Mixup(0.4).shares(30, 3, 0)))
    slope, count = np.zeros(3), 0.0
    for at in range(0, 30, 10):
        part = slice(at, at + 10)
        p = (s[part, None] * x[part] + (1 - s[part, None]) * np.roll(x[part], -1, 0)) @ matrix + b
        for t, c in ((y[part], s[part] * w[part]), (np.roll(y[part], -1, 0), (1 - s[part]) * np.roll(w[part], -1))):
            slope += (c[:, None] * np.where(np.isnan(t), 0, 2 * (p - t)) / 3).sum(0)
            count += (c * (~np.isnan(t)).mean(1)).sum()
    np.testing.assert_allclose(b - model.parameters()["0.bias"], slope / count, rtol=1e-9)


def test_chunks_are_mixed(tmp_path: Any) -> None:
    """Within each chunk, with shares of its own; a chunk of all rows is the arrays. Gone on with in the middle."""
    whole, one = (hf.Trainer(linear(), "mse", hf.Adam(0.1), seed=3) for _ in range(2))
    expected = whole.fit(X, Y, epochs=2, batch_size=8, augment=Mixup())["loss"]
    assert one.fit(lambda: iter([(X, Y)]), epochs=2, batch_size=8, augment=Mixup())["loss"] == expected
    first, other = Mixup().shares(15, 3, 0), Mixup().shares(15, 3, 0, 15)
    assert not np.array_equal(first, other)

    def chunks() -> Any:
        return iter([(X[:15], Y[:15], WEIGHTS[:15]), (X[15:], Y[15:], WEIGHTS[15:])])

    class Stop:
        def on_step_end(self, trainer: hf.Trainer, step: int, loss: float) -> None:
            if step == 5:
                trainer.save_state(tmp_path / "state")

    straight, again = (hf.Trainer(linear(), "mse", hf.Adam(0.1), seed=3) for _ in range(2))
    straight.fit(chunks, epochs=3, batch_size=6, augment=Mixup(), callbacks=[Stop()])
    again.fit(chunks, epochs=3, batch_size=6, augment=Mixup(), resume=tmp_path / "state")
    assert straight.model.store().params.tobytes() == again.model.store().params.tobytes()


def test_several_outputs_are_mixed() -> None:
    """One function of two outputs, and a loss for each: the same."""

    class Two(hf.Module):
        def __init__(self) -> None:
            self.a, self.b = hf.Linear(3), hf.Linear(3)

        def forward(self, x: Any) -> Any:
            return self.a(x), self.b(x)

    def both(p: Any, t: Any) -> Any:
        return hf.ops.mean(hf.ops.square(p[0] - t[0]) + hf.ops.square(p[1] - t[1]), 1)

    losses = []
    for loss in (both, ("mse", "mse")):
        trainer = hf.Trainer(Two().astype("float64"), loss, hf.SGD(0.1), seed=3)
        losses.append(trainer.fit(X, (Y, -Y), epochs=2, batch_size=8, augment=Mixup())["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_what_can_not_be_mixed() -> None:
    trainer = hf.Trainer(linear(), "mse")
    embedded = hf.Trainer(hf.Sequential(hf.Embedding(3, 3)), "mse")
    for make, words in (
        (lambda: Mixup(0.0), "above 0"),
        (lambda: Mixup(float("inf")), "above 0"),
        (lambda: trainer.fit(X, Y, augment="mixup"), "augmentation such as"),  # type: ignore[arg-type]
        (lambda: embedded.fit(LABELS, Y, augment=Mixup()), "integer ones"),
        (lambda: embedded.fit(lambda: iter([(LABELS, Y)]), augment=Mixup()), "integer ones"),
    ):
        with pytest.raises(ArgumentError, match=words):
            make()


def test_a_loss_without_targets_is_an_error() -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(2)), hf.Triplet())
    with pytest.raises(ArgumentError, match="Mixup mixes targets, and there are none"):
        trainer.fit(np.ones((4, 3, 2)), None, augment=hf.augment.Mixup())
