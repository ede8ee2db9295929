"""Losses of sequences and images: the positions of a row against the same positions as rows of their own."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, LabelError, ShapeError

RNG = np.random.default_rng(21)
SHAPES = [(6,), (3, 4)]  # of the positions
CLASSES = 5


class Positions(hf.Module):
    """The inputs as outputs, but for a factor that can be learnt."""

    def forward(self, x: Any) -> Any:
        return x * self.param("factor", (CLASSES,), hf.initializers.Constant(1.0))


def rows_of(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return a.reshape(-1, *a.shape[1 + len(shape) :])


def make(loss: Any, metrics: Any = ()) -> hf.Trainer:
    return hf.Trainer(Positions().astype("float64"), loss, hf.SGD(1.0), metrics=metrics, seed=0)


def same_as_rows(
    loss: Any, shape: tuple[int, ...], y: np.ndarray, *, metrics: Any = (), weight: Any = None, class_weight: Any = None
) -> None:
    """Loss, gradient and metrics of positions are those of as many rows; also in short last batches."""
    z = np.random.default_rng(3).normal(size=(7, *shape, CLASSES)) * 2
    n = int(np.prod(shape))
    if weight is not None and weight.ndim == 1:
        flat_weight = np.repeat(weight, n)
    else:
        flat_weight = None if weight is None else weight.reshape(-1)
    whole, flat = make(loss, metrics), make(loss, metrics)
    got = whole.evaluate(z, y, batch_size=3, sample_weight=weight)
    expected = flat.evaluate(rows_of(z, shape), rows_of(y, shape), sample_weight=flat_weight)
    assert list(got) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-12, err_msg=name)
    more: Any = {} if class_weight is None else {"class_weight": class_weight}
    for trainer, x, t, w, size in (
        (whole, z, y, weight, 7),
        (flat, rows_of(z, shape), rows_of(y, shape), flat_weight, 7 * n),
    ):
        trainer.fit(x, t, sample_weight=w, batch_size=size, shuffle=False, **more)
    np.testing.assert_allclose(
        whole.model.parameters()["factor"], flat.model.parameters()["factor"], rtol=1e-10, atol=1e-12
    )


LABEL_LOSSES = {
    "plain": hf.SoftmaxCrossEntropy(),
    "smooth": hf.SoftmaxCrossEntropy(label_smoothing=0.2),
    "balanced": hf.SoftmaxCrossEntropy(class_weight="balanced"),
    "weighted": hf.SoftmaxCrossEntropy(class_weight={0: 3.0, 4: 0.5}),
    "ignored": hf.SoftmaxCrossEntropy(ignore_index=-100),
    "focal": hf.Focal(1.5),
    "hinge": hf.Hinge(),
    "multi-margin": hf.Hinge(multi_class="sum", squared=True),
    "perceptron": hf.PerceptronLoss(),
    "sum": hf.SoftmaxCrossEntropy(ignore_index=-100) + 0.5 * hf.SoftmaxCrossEntropy(label_smoothing=0.3),
}


@pytest.mark.parametrize(("shape", "weights"), [((6,), None), ((6,), "rows"), ((3, 4), "positions")])
@pytest.mark.parametrize("name", LABEL_LOSSES)
def test_labels(name: str, shape: tuple[int, ...], weights: str | None) -> None:
    y = RNG.integers(0, CLASSES, (7, *shape))
    if name == "ignored":
        y[RNG.random(y.shape) < 0.3] = -100
    w = None if weights is None else RNG.uniform(0.2, 3, (7, *shape) if weights == "positions" else 7)
    same_as_rows(LABEL_LOSSES[name], shape, y, weight=w)


@pytest.mark.parametrize("weights", [None, "rows", "positions"])
def test_metrics_see_each_position(weights: str | None) -> None:
    y = RNG.integers(0, CLASSES, (7, 6))
    w = None if weights is None else RNG.uniform(0.2, 3, (7, 6) if weights == "positions" else 7)
    names = ["accuracy", "top_2_accuracy", "precision", "recall", "f1", "f1_micro", "f1_each", "balanced_accuracy"]
    names += ["confusion_matrix", "log_loss", "brier", "calibration_error"]
    same_as_rows(hf.SoftmaxCrossEntropy(), (6,), y, metrics=names, weight=w)
    same_as_rows(hf.SoftmaxCrossEntropy(ignore_index=2), (6,), y, metrics=names, weight=w)


@pytest.mark.parametrize("weights", [None, "rows", "positions"])
@pytest.mark.parametrize("shape", SHAPES)
def test_probabilities(shape: tuple[int, ...], weights: str | None) -> None:
    y = RNG.dirichlet(np.ones(CLASSES), (7, *shape))
    w = None if weights is None else RNG.uniform(0.2, 3, (7, *shape) if weights == "positions" else 7)
    for smoothing in (0.0, 0.2):
        same_as_rows(hf.SoftmaxCrossEntropy(label_smoothing=smoothing), shape, y, weight=w)
    same_as_rows(hf.KLDivergence(from_logits=True), shape, y, weight=w)
    y[RNG.random((7, *shape)) < 0.3] = np.nan
    y[0, ..., 1] = np.nan  # and a position with a single gap
    same_as_rows(hf.SoftmaxCrossEntropy(ignore_nan=True), shape, y, weight=w)
    same_as_rows(hf.KLDivergence(from_logits=True, ignore_nan=True), shape, y, weight=w)


def test_missing_probabilities_are_left_out() -> None:
    """Of rows, too: the loss and the gradient are those of the other rows."""
    z, y = RNG.normal(size=(8, CLASSES)), RNG.dirichlet(np.ones(CLASSES), 8)
    gaps = y.copy()
    gaps[[1, 4]] = np.nan
    gaps[6, 2] = np.nan
    seen = ~np.isnan(gaps).any(1)
    one, other = make(hf.SoftmaxCrossEntropy(ignore_nan=True)), make("softmax_cross_entropy")
    assert one.step(z, gaps) == pytest.approx(other.step(z[seen], y[seen]), rel=1e-12)
    np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-12)


@pytest.mark.parametrize("loss", [hf.BCEWithLogits(), hf.MSE(), hf.Huber(), hf.Focal(), hf.Hinge()], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_elements_may_have_weights(loss: hf.Loss, shape: tuple[int, ...]) -> None:
    """Of outputs of any rank: the sum of what each weighs, over the sum of the weights."""
    z, t = RNG.normal(size=(7, *shape, CLASSES)), RNG.integers(0, 2, (7, *shape, CLASSES)) * 1.0
    w = RNG.uniform(0.2, 3, z.shape)
    each = np.asarray(loss(z, t))
    assert each.shape == z.shape
    trainer = make(loss)
    assert trainer.evaluate(z, t, batch_size=3)["loss"] == pytest.approx(each.mean(), rel=1e-12)
    assert trainer.evaluate(z, t, sample_weight=w, batch_size=3)["loss"] == pytest.approx(
        (w * each).sum() / w.sum(), rel=1e-12
    )
    if isinstance(loss, hf.MSE | hf.Huber):
        gaps = np.where(RNG.random(t.shape) < 0.3, np.nan, t)
        seen = ~np.isnan(gaps)
        got = make(type(loss)(ignore_nan=True)).evaluate(z, gaps, sample_weight=w, batch_size=3)["loss"]
        assert got == pytest.approx((w * each)[seen].sum() / w[seen].sum(), rel=1e-12)


def test_metrics_weigh_outputs() -> None:
    """Weights (rows, outputs): each output's own, in metrics too."""
    z, t = RNG.normal(size=(9, CLASSES)), RNG.integers(0, 2, (9, CLASSES)) * 1.0
    w = RNG.uniform(0.2, 3, z.shape)
    got = make("bce_with_logits", ["accuracy", "f1", "calibration_error", "brier"]).evaluate(
        z, t, sample_weight=w, batch_size=4
    )
    right = (z > 0) == (t > 0)
    p = 1 / (1 + np.exp(-z))
    assert got["accuracy"] == pytest.approx((w * right).sum() / w.sum())
    assert got["brier"] == pytest.approx((w * (p - t) ** 2).sum() / w.sum())
    hits, both = (w * (z > 0) * t).sum(0), (w * (z > 0)).sum(0) + (w * t).sum(0)
    assert got["f1"] == pytest.approx((2 * hits / both).mean())
    mse = make("mse", ["mae", "r2"]).evaluate(z, t, sample_weight=w, batch_size=4)
    assert mse["mae"] == pytest.approx((w * np.abs(z - t)).sum() / w.sum())
    centre = (w * t).sum(0) / w.sum(0)
    assert mse["r2"] == pytest.approx(np.mean(1 - (w * (z - t) ** 2).sum(0) / (w * (t - centre) ** 2).sum(0)))
    whole = make("bce_with_logits", ["calibration_error"]).evaluate(z, t, sample_weight=np.ones_like(z))
    assert whole["calibration_error"] == pytest.approx(
        make("bce_with_logits", ["calibration_error"]).evaluate(z, t)["calibration_error"]
    )


@pytest.mark.parametrize("masked", [False, True])
def test_accumulated_positions_are_one_batch(masked: bool) -> None:
    """What a batch counts are its positions' weights."""
    z = RNG.normal(size=(8, 6, CLASSES))
    y = RNG.integers(0, CLASSES, (8, 6))
    if masked:
        y[RNG.random(y.shape) < 0.4] = -1
    w = RNG.uniform(0.2, 3, (8, 6))
    found = []
    for batch, accumulate in ((8, 1), (2, 4)):
        trainer = hf.Trainer(
            Positions().astype("float64"), hf.SoftmaxCrossEntropy(ignore_index=-1), hf.SGD(1.0), accumulate=accumulate
        )
        trainer.fit(z, y, sample_weight=w, batch_size=batch, shuffle=False)
        found.append(trainer.model.parameters()["factor"].copy())
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_what_is_wrong_with_positions() -> None:
    z, y = RNG.normal(size=(7, 6, CLASSES)), RNG.integers(0, CLASSES, (7, 6))
    bad = y.copy()
    bad[3, 4] = CLASSES
    soft = RNG.dirichlet(np.ones(CLASSES), (7, 6))
    cases: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        ("softmax_cross_entropy", bad, {}, LabelError, r"label 5 in row 3, position 4 is outside \[0, 5\)"),
        ("softmax_cross_entropy", y[:, 0], {}, ShapeError, r"labels \(rows, 6\) or float probabilities \(rows, 6, 5\)"),
        ("softmax_cross_entropy", y[..., None], {}, ShapeError, r"pass y\[..., 0\]"),
        ("softmax_cross_entropy", soft * 2, {}, LabelError, "sum to 1"),
        (hf.SoftmaxCrossEntropy(ignore_nan=True), y, {}, ArgumentError, "ignore_index"),
        ("softmax_cross_entropy", soft, {"class_weight": "balanced"}, ArgumentError, "integer labels"),
        ("softmax_cross_entropy", y, {"sample_weight": np.ones((7, 5))}, ShapeError, r"\(rows, 6\) for its parts"),
        ("softmax_cross_entropy", y, {"sample_weight": np.ones((6, 7))}, ShapeError, r"\(7,\), got shape \(6, 7\)"),
        ("mse", z, {"sample_weight": np.ones((7, 6))}, ShapeError, r"\(rows, 6, 5\) for its parts"),
    ]
    for loss, target, more, kind, message in cases:
        trainer = make(loss)
        with pytest.raises(kind, match=message):
            trainer.fit(z, target, **more)
        assert trainer.steps == 0
    with pytest.raises(ArgumentError, match=r"roc_auc.*numbers of rows"):
        make("softmax_cross_entropy", ["roc_auc"]).evaluate(z, y)


def test_tokens_learn() -> None:
    """An embedding, and a layer that works on each position."""
    x = RNG.integers(0, 12, (200, 8))
    model = hf.Sequential(hf.Embedding(12, 8), hf.Linear(3))
    trainer = hf.Trainer(model, "softmax_cross_entropy", hf.Adam(0.05), metrics=["accuracy"], seed=0)
    history = trainer.fit(x, x % 3, epochs=8)
    assert history["accuracy"][-1] == 1.0
    assert model.predict(x).shape == (200, 8, 3)
