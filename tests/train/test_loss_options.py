"""Class weights, labels and targets that are left out, losses without targets or of several outputs, sums of losses."""

import pickle
from typing import Any

import numpy as np
import pytest
from loss_cases import BITS, EIGHT, HALVES, LABELS, LOSS_CASES, MISSING, PAIRS, REAL, TOGETHER, TRIPLETS, LossCase, Z
from test_losses import identity, mean_of

import hawfinch as hf
from hawfinch.errors import ArgumentError, LabelError, NonFiniteInputError, ShapeError

W = np.random.default_rng(5).uniform(0.2, 2.0, 40)
MASKED = [name for name, case in LOSS_CASES.items() if case.counts is not None]
ONE = BITS[:, :1]


def bias_after(trainer: hf.Trainer) -> Any:
    return trainer.model.parameters()["layer.bias"].copy()


# ---- what is left out ----
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MASKED)
def test_accumulated_batches_are_one_batch(name: str, weighted: bool) -> None:
    """Divided by the count of what is there in all of them, though each has another count."""
    case, w = LOSS_CASES[name], W if weighted else None
    whole, parts = (
        hf.Trainer(identity(case.loss, features=case.prediction.shape[1]).model, case.loss, hf.SGD(1.0), accumulate=k)
        for k in (1, 6)
    )
    whole.fit(case.prediction, case.target, batch_size="full", sample_weight=w, shuffle=False)
    history = parts.fit(case.prediction, case.target, batch_size=7, sample_weight=w, shuffle=True)
    np.testing.assert_allclose(bias_after(parts), bias_after(whole), rtol=1e-11, atol=1e-14)
    assert history["loss"][0] == pytest.approx(mean_of(case, case.prediction, w), rel=1e-12)


def test_accumulated_weights() -> None:
    """Sample weights count in the sum of batches as in one batch; a batch of weight 0 has no part in it."""
    w = W.copy()
    w[7:14] = 0
    whole, parts = (hf.Trainer(identity("mse").model, "mse", hf.SGD(1.0), accumulate=k) for k in (1, 6))
    whole.fit(Z, REAL, batch_size="full", sample_weight=w)
    parts.fit(Z, REAL, batch_size=7, sample_weight=w, shuffle=False)
    np.testing.assert_allclose(bias_after(parts), bias_after(whole), rtol=1e-11)


def test_a_batch_without_any_target() -> None:
    """It has no gradient; and the loss of the epoch is that of the others."""
    y = MISSING.copy()
    y[7:14] = np.nan
    trainer = identity(hf.MSE(ignore_nan=True))
    trainer.optimizer = hf.SGD(0.0)
    assert trainer.fit(Z, y, batch_size=7, shuffle=False)["loss"][0] == pytest.approx(np.nanmean((Z - y) ** 2), 1e-12)
    assert trainer.step(Z[7:14], np.where(np.arange(7)[:, None] == 0, 1.0, y[7:14])) > 0


def test_missing_targets_are_missing_in_metrics_too() -> None:
    names = ["mse", "mae", "rmse", "r2", "mape"]
    found = identity(hf.MSE(ignore_nan=True), names).evaluate(Z, MISSING, batch_size=9)
    d = Z - MISSING
    assert found["mse"] == found["loss"] == pytest.approx(np.nanmean(d**2), rel=1e-12)
    assert found["mae"] == pytest.approx(np.nanmean(np.abs(d)), rel=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(np.nanmean(d**2, 0)).mean(), rel=1e-12)
    spread = np.nansum((MISSING - np.nanmean(MISSING, 0)) ** 2, 0)
    assert found["r2"] == pytest.approx((1 - np.nansum(d**2, 0) / spread).mean(), rel=1e-12)
    assert found["mape"] == pytest.approx(np.nanmean(np.abs(d / MISSING)), rel=1e-12)

    y = np.where(np.isnan(MISSING), np.nan, BITS)
    names = ["accuracy", "f1", "roc_auc", "average_precision", "log_loss", "brier", "calibration_error"]
    found = identity(hf.BCEWithLogits(ignore_nan=True), names).evaluate(Z, y, batch_size=9, sample_weight=W)
    seen = ~np.isnan(y)
    all_w = np.broadcast_to(W[:, None], y.shape)
    for name in ("accuracy", "log_loss", "brier", "calibration_error"):  # one column of all that is there
        single = identity("bce_with_logits", [name], 1)
        expected = single.evaluate(Z[seen][:, None], y[seen][:, None], sample_weight=all_w[seen])[name]
        assert found[name] == pytest.approx(expected, rel=1e-11), name
    for name in ("f1", "roc_auc", "average_precision"):  # the mean over columns
        single = identity("bce_with_logits", [name], 1)
        columns = [
            single.evaluate(Z[s, c][:, None], y[s, c][:, None], sample_weight=W[s])[name] for c, s in enumerate(seen.T)
        ]
        assert found[name] == pytest.approx(np.mean(columns), rel=1e-11), name


def test_a_missing_target_is_no_culprit() -> None:
    """Where training diverges, the first tensor that is not finite is named, not the targets."""
    trainer = identity(hf.MSE(ignore_nan=True)).model.astype("float32")
    with pytest.raises(hf.NonFiniteError, match=r"first non-finite: .*'layer'"):
        hf.Trainer(trainer, hf.MSE(ignore_nan=True), hf.SGD(1e30)).fit(Z, MISSING, epochs=9)


def test_what_is_missing_must_be_said() -> None:
    with pytest.raises(NonFiniteInputError, match="y holds nan in row"):
        identity("mse").fit(Z, MISSING)
    for y in (np.full_like(REAL, np.nan), np.where(np.isnan(MISSING), np.inf, REAL)):
        with pytest.raises(NonFiniteInputError, match=r"all are NaN|y holds inf"):
            identity(hf.MSE(ignore_nan=True)).fit(Z, y)
    with pytest.raises(ArgumentError, match="ignore_nan must be True or False"):
        hf.MSE(ignore_nan="mask")  # type: ignore[arg-type]


@pytest.mark.parametrize("ignored", [-100, 3, 255])
def test_ignore_index(ignored: int) -> None:
    """The same as without these rows, in loss, gradient and metrics."""
    left_out = LABELS == 3 if ignored == 3 else np.arange(40) % 3 == 1
    labels = np.where(left_out, ignored, LABELS)
    loss, names = hf.SoftmaxCrossEntropy(ignore_index=ignored, label_smoothing=0.1), ["accuracy", "f1", "roc_auc"]
    trainer, plain = identity(loss, names), identity(hf.SoftmaxCrossEntropy(label_smoothing=0.1), names)
    got, expected = (
        trainer.evaluate(Z, labels, batch_size=7, sample_weight=W),
        plain.evaluate(Z[~left_out], LABELS[~left_out], sample_weight=W[~left_out]),
    )
    assert got == pytest.approx(expected, rel=1e-12)
    assert trainer.step(Z, labels) == pytest.approx(plain.step(Z[~left_out], LABELS[~left_out]), rel=1e-12)
    np.testing.assert_allclose(bias_after(trainer), bias_after(plain), rtol=1e-12)
    again = identity(loss)
    again.step(Z, LABELS)  # the first step has nothing to leave out, the second has
    assert np.isfinite(again.step(Z, labels))
    with pytest.raises(LabelError, match="all labels are"):
        trainer.step(Z, np.full(40, ignored))
    with pytest.raises(LabelError, match="label 77 in row 4 is outside"):
        trainer.step(Z, np.where(np.arange(40) == 4, 77, labels))


# ---- class weights ----
CLASS_LOSSES = [
    ("softmax_cross_entropy", LABELS, {0: 2.0, 3: 0.5}),
    ("focal", LABELS, {0: 2.0, 3: 0.5}),
    ("hinge", LABELS, {0: 2.0, 3: 0.5}),
    ("perceptron", LABELS, {0: 2.0, 3: 0.5}),
    ("bce_with_logits", ONE, {0: 2.0}),
    ("focal", ONE, {0: 2.0, 1: 0.1}),
    ("hinge", 2 * ONE - 1, {-1: 2.0, 1: 0.1}),
    ("hinge", ONE, {0: 2.0, 1: 0.1}),
    (hf.Hinge(labels=(7, 3)), 7 - 4 * ONE, {7: 2.0, 3: 0.1}),
    ("perceptron", 2 * ONE - 1, {-1: 2.0}),
    (hf.SoftmaxCrossEntropy() + 0.5 * hf.Hinge(), LABELS, {0: 2.0, 3: 0.5}),
]


@pytest.mark.parametrize(("loss", "y", "weights"), CLASS_LOSSES)
def test_class_weights(loss: Any, y: np.ndarray, weights: dict[float, float]) -> None:
    """They are sample weights that follow from the labels; "balanced" gives each class the same."""
    n = 5 if y.ndim == 1 else 1
    z = Z[:, :n]
    of_row = np.array([weights.get(v, 1.0) for v in y.reshape(-1).tolist()])
    given, by_hand = identity(loss, features=n), identity(loss, features=n)
    one = given.fit(z, y, batch_size=7, class_weight=weights)["loss"]
    assert one == pytest.approx(by_hand.fit(z, y, batch_size=7, sample_weight=of_row)["loss"], rel=1e-12)
    np.testing.assert_allclose(bias_after(given), bias_after(by_hand), rtol=1e-12)
    values, counts = np.unique(y, return_counts=True)
    even = np.array([1.0 / counts[values == v][0] for v in y.reshape(-1)])
    given, by_hand = identity(loss, features=n), identity(loss, features=n)
    one = given.fit(z, y, batch_size="full", class_weight="balanced")["loss"]
    assert one == pytest.approx(by_hand.fit(z, y, batch_size="full", sample_weight=even)["loss"], rel=1e-11)


def test_class_weights_with_rows_without_a_class() -> None:
    y = np.where(np.arange(40)[:, None] % 4 == 1, np.nan, ONE)
    loss = hf.BCEWithLogits(class_weight="balanced", ignore_nan=True)
    seen = ~np.isnan(y[:, 0])
    expected = identity(hf.BCEWithLogits(class_weight="balanced"), features=1).evaluate(Z[seen, :1], ONE[seen])["loss"]
    assert identity(loss, features=1).evaluate(Z[:, :1], y, batch_size=7)["loss"] == pytest.approx(expected, rel=1e-12)
    labels = np.where(np.arange(40) % 4 == 1, -100, LABELS)
    weighted = hf.SoftmaxCrossEntropy(class_weight="balanced")
    expected = identity(weighted).evaluate(Z[labels >= 0], LABELS[labels >= 0])["loss"]
    loss = hf.SoftmaxCrossEntropy(class_weight="balanced", ignore_index=-100)  # type: ignore[assignment]
    assert identity(loss).evaluate(Z, labels)["loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "y", "kind", "message"),
    [
        ("mse", REAL, ArgumentError, "class_weight.*MSE has no classes"),
        ("poisson", np.abs(REAL), ArgumentError, "class_weight.*Poisson has no classes"),
        (lambda p, t: p - t, REAL, ArgumentError, "class_weight.*FunctionLoss has no classes"),
        (hf.MSE() + hf.MAE(), REAL, ArgumentError, "class_weight.*LossSum has no classes"),
        ("bce_with_logits", BITS, ArgumentError, "class_weight needs one class per row.*5 outputs"),
        ("bce_with_logits", BITS[:, :1] / 2, ArgumentError, "shares between 0 and 1"),
        ("softmax_cross_entropy", np.full((40, 5), 0.2), ArgumentError, "integer labels"),
        (hf.SoftmaxCrossEntropy(class_weight={0: 2}), LABELS, ArgumentError, "given twice: to fit and to Softmax"),
        ("hinge", 2 * ONE - 1, LabelError, r"class 0, but the model has classes -1.0 and 1.0"),
    ],
)
def test_class_weights_that_do_not_fit(loss: Any, y: np.ndarray, kind: type[Exception], message: str) -> None:
    n = y.shape[1] if y.ndim == 2 else 5
    with pytest.raises(kind, match=message):
        identity(loss, features=n).fit(Z[:, :n], y, class_weight={0: 1.0})


# ---- several outputs, no targets ----
class Split(hf.Module):
    """The output of a layer in n parts, each an output of its own."""

    def __init__(self, features: int, n: int, names: tuple[str, ...] = ()):
        self.layer, self.n, self.names = hf.Linear(features), n, names

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        size = y.shape[1] // self.n
        parts = tuple(y[:, i * size : (i + 1) * size] for i in range(self.n))
        return dict(zip(self.names, parts, strict=True)) if self.names else parts


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize(
    ("case", "n"), [(LOSS_CASES["gaussian, softplus"], 2), (LOSS_CASES["contrastive"], 2), (LOSS_CASES["triplet"], 3)]
)
def test_outputs_apart_or_together(case: LossCase, n: int, names: bool) -> None:
    features = case.prediction.shape[1]
    model = Split(features, n, ("a", "b", "c")[:n] if names else ()).astype("float64").build((features,))
    model.parameters()["layer.weight"][...], model.parameters()["layer.bias"][...] = np.eye(features), 0
    apart, together = (
        hf.Trainer(model, case.loss, hf.SGD(1.0)),
        identity(case.loss, features=features, shape=case.shape),
    )
    assert apart.step(case.prediction, case.target) == pytest.approx(mean_of(case, case.prediction), rel=1e-12)
    together.step(case.prediction, case.target)
    np.testing.assert_allclose(bias_after(apart), bias_after(together), rtol=1e-12, atol=1e-15)


def test_a_loss_without_targets() -> None:
    """In fit, chunks, step, evaluate, fit_many, with validation data and weights."""
    case, shape = LOSS_CASES["triplet"], (3, 3)
    x = TRIPLETS

    def trainer() -> hf.Trainer:
        return identity("triplet", features=9, shape=shape)

    one = trainer()
    history = one.fit(x, None, epochs=2, batch_size=7, validation_data=(x, None), sample_weight=W)
    assert history["val_loss"][-1] == pytest.approx(one.evaluate(x, None)["loss"], rel=1e-12)
    assert trainer().evaluate(x, None, sample_weight=W)["loss"] == pytest.approx(mean_of(case, x, W), rel=1e-12)
    chunked = trainer().fit(lambda: [(x[:20], None), (x[20:], None)], batch_size=20)
    assert len(chunked["loss"]) == 1
    models = [trainer().model for _ in range(2)]
    many = hf.fit_many([(m, {"loss": "triplet", "optimizer": hf.SGD(1.0)}) for m in models], x, None, batch_size=7)
    alone = trainer().fit(x, None, batch_size=7)
    assert many[0]["loss"] == many[1]["loss"] == alone["loss"]
    with pytest.raises(ArgumentError, match="Triplet has no targets: y must be None"):
        trainer().fit(x, LABELS)
    for y in (LABELS, None):
        with pytest.raises(ArgumentError, match=r"y is missing|has no classes"):
            identity("mse").fit(Z, None) if y is None else trainer().fit(x, None, class_weight={0: 1.0})


@pytest.mark.parametrize(
    ("loss", "features", "shape", "y", "message"),
    [
        ("triplet", 5, None, None, r"expected 3 outputs.*\(rows, 3, size\); got \(rows, 5\)"),
        ("triplet", 8, (2, 4), None, r"\(rows, 3, size\)"),
        ("contrastive", 9, (3, 3), TOGETHER, r"\(rows, 2, size\)"),
        ("contrastive", 6, (2, 3), TOGETHER + 1, "must be 0 or 1"),
        ("contrastive", 6, (2, 3), BITS, r"\(rows, 5\) do not match"),
        ("gaussian_nll", 5, None, REAL, r"one output must be \(rows, 2 k\)"),
        ("gaussian_nll", 6, None, EIGHT, r"\(rows, 6\) do not match the model's output \(rows, 3\)"),
        (hf.Quantile([0.1, 0.9]), 5, None, REAL[:, 0], r"2 quantiles need an output \(rows, ..., 2\)"),
        (hf.Quantile([0.1, 0.9]), 2, None, REAL, r"do not match 2 quantiles"),
        ("poisson", 5, None, REAL, "counts, >= 0"),
        ("hinge", 5, None, REAL, r"must be -1 and 1 or 0 and 1.*labels=\(a, b\)"),
        (hf.Hinge(labels=(3, 7)), 5, None, BITS, "must be 3 and 7, got"),
        ("hinge", 5, None, LABELS + 1, "label 5 in row"),
        ("hinge", 5, None, LABELS.astype(float), r"\(rows,\) do not match"),
        ("focal", 5, None, BITS / 2, "must be 0 or 1"),
        (hf.Focal(alpha=0.25), 5, None, LABELS, "alpha.*class_weight"),
        ("kl_divergence", 5, None, BITS, "sum to 1"),
        (hf.BCEWithLogits(pos_weight=[1.0, 2.0]), 5, None, BITS, "2 numbers in pos_weight"),
        (hf.MSE() + hf.SoftmaxCrossEntropy(), 5, None, LABELS, r"MSE.*do not match"),
    ],
)
def test_targets_and_outputs_that_do_not_fit(loss: Any, features: int, shape: Any, y: Any, message: str) -> None:
    x = np.random.default_rng(1).normal(size=(40, features))
    with pytest.raises((ShapeError, LabelError, ArgumentError), match=message):
        identity(loss, features=features, shape=shape).fit(x, y)


def test_a_loss_of_one_output_beside_several() -> None:
    model = Split(6, 2).build((6,))
    with pytest.raises(ArgumentError, match="2 outputs: give a loss for each"):
        hf.Trainer(model, "mse").fit(PAIRS, HALVES)
    with pytest.raises(ArgumentError, match=r"2 outputs.*Triplet is of 1 or 3"):
        hf.Trainer(model, "triplet").fit(PAIRS, None)


# ---- sums ----
def test_sums_of_losses() -> None:
    loss = 0.5 * hf.MSE() + hf.MAE() * 2.0
    same = hf.MSE() * 0.5 + 2 * hf.MAE()
    assert loss == same and hash(loss) == hash(same) and pickle.loads(pickle.dumps(loss)) == loss
    assert loss != hf.MSE() + hf.MAE()
    assert repr(loss) == "0.5 * MSE(ignore_nan=False) + 2 * MAE(ignore_nan=False)"
    got = identity(loss).evaluate(Z, REAL)["loss"]
    assert got == pytest.approx(0.5 * ((Z - REAL) ** 2).mean() + 2 * np.abs(Z - REAL).mean(), rel=1e-12)
    assert identity(hf.MSE() * 0.0 + "mae").evaluate(Z, REAL)["loss"] == pytest.approx(np.abs(Z - REAL).mean())
    found = identity(0.1 * hf.MSE() + hf.MAE(), ["mse", "r2"]).evaluate(Z, REAL)
    assert found["mse"] == pytest.approx(((Z - REAL) ** 2).mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: -1 * hf.MSE(), ">= 0"),
        (lambda: hf.MSE() * float("nan"), "finite"),
        (lambda: hf.MSE() * "a", "'a'"),
        (lambda: hf.MSE() + 3, "expected a name"),
        (lambda: hf.MSE() + "maee", "mae"),
        (lambda: hf.MSE(ignore_nan=True) + hf.MAE(), "same ignore_nan"),
        (lambda: hf.SoftmaxCrossEntropy(class_weight={0: 2}) + hf.Hinge(), "weighted as a whole"),
        (lambda: hf.Triplet() + hf.Contrastive(), "Triplet can't be part of a sum"),
    ],
)
def test_sums_that_are_none(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hf.Quantile(1.0), r"q must be a number in \(0, 1\)"),
        (lambda: hf.Quantile([0.5, 2.0]), r"\(0, 1\)"),
        (lambda: hf.Quantile([]), "got none"),
        (lambda: hf.Poisson(eps=0), "eps"),
        (lambda: hf.Poisson(log_input=1), "log_input must be True or False"),
        (lambda: hf.GaussianNLL(variance="logs"), "'log'"),
        (lambda: hf.Focal(-1.0), "gamma"),
        (lambda: hf.Focal(alpha=2.0), "alpha"),
        (lambda: hf.Hinge(0.0), "margin"),
        (lambda: hf.Hinge(multi_class="crammer"), "'crammer_singer'"),
        (lambda: hf.Hinge(labels=(1, 1)), "differ"),
        (lambda: hf.Hinge(labels=(1, 2, 3)), "two numbers"),
        (lambda: hf.PerceptronLoss(labels="ab"), "two numbers"),
        (lambda: hf.Contrastive(-1), "margin"),
        (lambda: hf.Triplet(p=0.5), "p must be"),
        (lambda: hf.BCEWithLogits(pos_weight=-1.0), "pos_weight"),
        (lambda: hf.BCEWithLogits(label_smoothing=1.0), "label_smoothing"),
        (lambda: hf.SoftmaxCrossEntropy(ignore_index=1.5), "ignore_index"),
        (lambda: hf.KLDivergence(log_targets=True), "'log_target'"),
        (lambda: identity("poison"), "'poisson'"),
        (lambda: identity("huberr"), "'huber'"),
        (lambda: identity("SmoothL1"), "'huber'|Known"),
        (lambda: identity("smooth_l1"), "Did you mean 'huber'"),
        (lambda: identity("MSE"), "Did you mean 'mse'"),
        (lambda: identity("bce"), "Did you mean 'bce_with_logits'"),
    ],
)
def test_options_that_are_none(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


def test_the_perceptron_learns_from_zero() -> None:
    """At a score of 0 its gradient is that of a mistake."""
    model = hf.Sequential(hf.Linear(1)).astype("float64").build((5,))
    for p in model.parameters().values():
        p[...] = 0
    y = np.where(Z[:, :1] + Z[:, 1:2] > 0, 1.0, -1.0)
    trainer = hf.Trainer(model, "perceptron", hf.SGD(1.0), metrics=["accuracy"])
    assert trainer.fit(Z, y, epochs=50, batch_size=1)["accuracy"][-1] > 0.95


def test_known_relations() -> None:
    """Two classes of softmax are one sigmoid; focus 0 is cross-entropy; SmoothL1 is Huber over beta; the median."""
    two = np.c_[np.zeros(40), Z[:, 0]]
    labels = BITS[:, 0].astype(int)
    softmax = identity("softmax_cross_entropy", ["brier", "roc_auc", "log_loss", "calibration_error"], 2)
    sigmoid = identity("bce_with_logits", ["brier", "roc_auc", "log_loss", "calibration_error"], 1)
    assert softmax.evaluate(two, labels) == pytest.approx(sigmoid.evaluate(Z[:, :1], BITS[:, :1]), rel=1e-11)
    assert identity(hf.Focal(0.0)).evaluate(Z, LABELS) == pytest.approx(
        identity("softmax_cross_entropy").evaluate(Z, LABELS), rel=1e-12
    )
    assert identity(hf.Quantile()).evaluate(Z, REAL)["loss"] == pytest.approx(np.abs(Z - REAL).mean() / 2, rel=1e-12)
    d = np.abs(Z - REAL)
    smooth = np.where(d < 0.3, d * d / 0.6, d - 0.15).mean()
    assert identity((1 / 0.3) * hf.Huber(0.3)).evaluate(Z, REAL)["loss"] == pytest.approx(smooth, rel=1e-12)
