"""Metrics in histories, states, chunks and callbacks; arrays as metrics; what does not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loss_cases import BITS, LABELS, REAL, SIGNS, Z
from test_losses import identity

import hawfinch as hf
from hawfinch.errors import ArgumentError, HawfinchError

W = np.random.default_rng(6).uniform(0.2, 2.0, 40)
ROWS = ["roc_auc", "average_precision", "confusion_matrix", "accuracy"]


def still(metrics: Any = ROWS, loss: Any = "softmax_cross_entropy") -> hf.Trainer:
    """It learns nothing, so that the metrics of a fit are those of an evaluation."""
    trainer = identity(loss, metrics)
    trainer.optimizer = hf.SGD(0.0)
    return trainer


def assert_equal(got: Any, expected: dict[str, Any]) -> None:
    for name in ROWS:
        np.testing.assert_allclose(got[name][-1] if isinstance(got, hf.History) else got[name], expected[name], 1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_of_rows_over_chunks(weighted: bool) -> None:
    w = W if weighted else None
    expected = still().evaluate(Z, LABELS, sample_weight=w)
    assert_equal(still().fit(Z, LABELS, epochs=3, batch_size=7, sample_weight=w), expected)

    def chunks() -> Any:
        for rows in (slice(0, 3), slice(3, 25), slice(25, 40)):
            yield (Z[rows], LABELS[rows]) if w is None else (Z[rows], LABELS[rows], w[rows])

    assert_equal(still().fit(chunks, epochs=2, batch_size=7), expected)
    assert_equal(still().fit(chunks, batch_size="full"), expected)
    assert_equal(
        still().fit(hf.data.Decoded(list(range(40)), Z.__getitem__), LABELS, batch_size=4, sample_weight=w), expected
    )


def test_a_callback_that_evaluates_and_steps() -> None:
    """Within an epoch: what the metrics keep of its rows stays."""
    trainer = still()
    expected = trainer.evaluate(Z, LABELS)

    class Looks:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            trainer.evaluate(Z[:9], LABELS[:9])
            trainer.step(Z[:7], LABELS[:7])

    assert_equal(trainer.fit(Z, LABELS, epochs=2, batch_size=7, callbacks=[Looks()]), expected)


class StopAt(Exception):
    pass


def test_rows_are_part_of_the_state(tmp_path: Path) -> None:
    """A fit that is killed within an epoch and gone on with has the same areas under its curves."""
    settings: dict[str, Any] = dict(epochs=3, batch_size=7, validation_data=(Z, LABELS))

    def trainer() -> hf.Trainer:
        return identity("softmax_cross_entropy", ROWS)

    class Kill:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == 8:
                trainer.save_state(tmp_path / "state")
                raise StopAt

    whole = trainer().fit(Z, LABELS, **settings)
    with pytest.raises(StopAt):
        trainer().fit(Z, LABELS, **settings, callbacks=[Kill()])
    history = trainer().fit(Z, LABELS, **settings, resume=tmp_path / "state")
    assert history.to_dict() == whole.to_dict()


def test_many_nets_have_their_own_rows() -> None:
    rates = [0.0, 0.1, 1.0]
    options = [{"loss": "softmax_cross_entropy", "optimizer": hf.SGD(lr), "metrics": ROWS} for lr in rates]
    nets = [(identity("mse").model, o) for o in options]
    many = hf.fit_many(nets, Z, LABELS, epochs=2, batch_size=7, threads=2)
    for history, o in zip(many, options, strict=True):
        alone = hf.Trainer(identity("mse").model, **o).fit(Z, LABELS, epochs=2, batch_size=7)
        assert history.to_dict() == alone.to_dict()


def test_arrays_in_the_history(tmp_path: Path) -> None:
    trainer = still()
    history = trainer.fit(Z, LABELS, epochs=2, validation_data=(Z, LABELS))
    matrix = history["confusion_matrix"]
    assert len(matrix) == 2 and matrix[0].shape == (5, 5) and matrix[0].sum() == 40
    assert "confusion_matrix" not in repr(history) and "roc_auc" in repr(history)
    assert "confusion_matrix" not in history.numbers()
    copy = hf.History.from_dict(json.loads(json.dumps(history.to_dict())), 2)
    np.testing.assert_array_equal(copy["val_confusion_matrix"][1], history["val_confusion_matrix"][1])
    ax = history.plot()
    assert "roc_auc" in [line.get_label() for line in ax.get_legend().get_lines()]
    trainer.save_state(tmp_path / "state")
    again = still()
    again.set_state(tmp_path / "state")
    assert again.history.to_dict() == history.to_dict()


def test_metrics_of_several_outputs() -> None:
    """Each has its own; those of rows share nothing but the array that both keep."""

    class Two(hf.Module):
        def forward(self, x: Any) -> Any:
            return x * 1.0, x * 2.0

    model = Two().build((5,))
    losses = ("softmax_cross_entropy", "bce_with_logits")
    found = hf.Trainer(model, losses, metrics=["roc_auc", "accuracy"]).evaluate(Z, (LABELS, BITS), batch_size=7)
    one = identity("softmax_cross_entropy", ["roc_auc", "accuracy"]).evaluate(Z, LABELS)
    two = identity("bce_with_logits", ["roc_auc", "accuracy"]).evaluate(2 * Z, BITS)
    for name, expected in (("output0", one), ("output1", two)):
        for metric in ("roc_auc", "accuracy"):
            assert found[f"{name}_{metric}"] == pytest.approx(expected[metric], rel=1e-6)


def test_binary_forms() -> None:
    """One output, and labels of two classes: "binary" is the second of them."""
    names = ["confusion_matrix", "balanced_accuracy", *[m("binary") for m in (hf.metrics.F1, hf.metrics.Precision)]]
    y = BITS[:, 0].astype(int)
    two = identity("softmax_cross_entropy", names, 2).evaluate(np.c_[0 * Z[:, 0], Z[:, 0]], y, sample_weight=W)
    for loss, t in (("bce_with_logits", BITS), ("hinge", SIGNS), ("focal", BITS)):
        one = identity(loss, names, 1).evaluate(Z[:, :1], t[:, :1], sample_weight=W)
        for name in ("confusion_matrix", "balanced_accuracy", "f1_binary", "precision_binary"):
            np.testing.assert_allclose(one[name], two[name], 1e-12)


def test_edges_of_curves() -> None:
    """Ties count a half; one class alone, or all weight in it, has no area."""
    one = identity("bce_with_logits", ["roc_auc", "average_precision"], 1)
    y = BITS[:, :1]
    assert one.evaluate(0 * Z[:, :1], y)["roc_auc"] == 0.5
    assert one.evaluate(0 * Z[:, :1], y)["average_precision"] == pytest.approx(y.mean())
    assert one.evaluate(y, y) == pytest.approx(
        {"loss": one.evaluate(y, y)["loss"], "roc_auc": 1, "average_precision": 1}
    )
    found = one.evaluate(Z[:, :1], 0 * y)
    assert np.isnan(found["roc_auc"]) and np.isnan(found["average_precision"])
    assert np.isnan(one.evaluate(Z[:, :1], y, sample_weight=y[:, 0])["roc_auc"])
    assert one.evaluate(Z[:1, :1], y[:1])["loss"] > 0


@pytest.mark.parametrize(
    ("metric", "loss", "target", "message"),
    [
        *[
            (name, "mse", REAL, f"{name}.*MSE.*loss of classes")
            for name in hf.metrics.METRICS
            if name not in {"mse", "mae", "rmse", "mape", "r2"}
        ],
        *[
            (name, "softmax_cross_entropy", LABELS, f"{name}.*SoftmaxCrossEntropy.*output's shape")
            for name in ("mse", "mae", "rmse", "mape", "r2")
        ],
        *[
            (name, "hinge", SIGNS, f"{name}.*Hinge.*probabilities, which Hinge does not give")
            for name in ("log_loss", "brier", "calibration_error")
        ],
        *[
            (name, "softmax_cross_entropy", np.full((40, 5), 0.2), "labels, not probabilities")
            for name in ("accuracy", "f1", "roc_auc", "confusion_matrix")
        ],
        ("top_k_accuracy", "softmax_cross_entropy", LABELS, "first 5 of 5 outputs"),
        ("top_k_accuracy", "bce_with_logits", BITS, "integer labels"),
        ("confusion_matrix", "bce_with_logits", BITS, "5 outputs"),
        (hf.metrics.F1("binary"), "softmax_cross_entropy", LABELS, "two classes, but there are 5"),
        (hf.metrics.F1("binary"), "bce_with_logits", BITS, "two classes, but there are 5"),
    ],
)
def test_metrics_that_do_not_fit(metric: Any, loss: str, target: np.ndarray, message: str) -> None:
    for call in (identity(loss, [metric]).evaluate, identity(loss, [metric]).fit):
        with pytest.raises(HawfinchError, match=message):
            call(Z, target)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hf.metrics.F1("macros"), "'macro'"),
        (lambda: hf.metrics.ROCAUC("binary"), "average"),
        (lambda: hf.metrics.TopKAccuracy(0), "k must be"),
        (lambda: hf.metrics.CalibrationError(bins=0), "bins"),
        (lambda: identity("mse", ["roc_au"]), "'roc_auc'"),
        (lambda: identity("mse", [hf.metrics.F1(), "f1"]), "'f1' is taken"),
    ],
)
def test_options_that_are_none(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("f1_micro", hf.metrics.F1("micro")),
        ("precision_each", hf.metrics.Precision(None)),
        ("recall_macro", hf.metrics.Recall()),
        ("top_3_accuracy", hf.metrics.TopKAccuracy(3)),
        ("roc_auc_weighted", hf.metrics.ROCAUC("weighted")),
        ("average_precision_macro", hf.metrics.AveragePrecision()),
    ],
)
def test_names_with_an_option_in_them(name: str, metric: hf.metrics.Metric) -> None:
    trainer = identity("softmax_cross_entropy", [name])
    np.testing.assert_array_equal(
        trainer.evaluate(Z, LABELS)[name], identity("softmax_cross_entropy", [metric]).evaluate(Z, LABELS)[metric.name]
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ROC_AUC", "roc_auc"),
        ("f1_score", "f1"),
        ("ece", "calibration_error"),
        ("f1_micr", "f1"),
        ("top_x_accuracy", "top_k"),
    ],
)
def test_names_of_others(name: str, near: str) -> None:
    with pytest.raises(ArgumentError, match=f"Did you mean .*'{near}|Known: .*{near}"):
        identity("mse", [name])


def test_a_metric_of_rows_of_ones_own() -> None:
    class Median(hf.metrics.RowMetric, name="median error"):
        def keep(self, prediction: Any, target: Any) -> Any:
            return hf.ops.abs(prediction - target)

        def finalise_rows(self, rows: np.ndarray, weight: Any) -> np.ndarray:
            assert rows.shape == (40, 5) and (weight is None or weight.shape == (40,))
            return np.median(rows, 0)

    for w in (None, W):
        found = identity("mse", [Median()]).evaluate(Z, REAL, batch_size=7, sample_weight=w)["median error"]
        np.testing.assert_allclose(found, np.median(np.abs(Z - REAL), 0), 1e-12)

    class Wrong(Median):
        def keep(self, prediction: Any, target: Any) -> Any:
            return hf.ops.sum(prediction)

    with pytest.raises(HawfinchError, match=r"Wrong.*keep must give \(rows, k\)"):
        identity("mse", [Wrong()]).evaluate(Z, REAL)
