"""Losses against recorded values and gradients of PyTorch, metrics against recorded ones of scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_losses import Shaped, identity

import hawfinch as hf
from hawfinch.errors import ShapeError

RECORDED = np.load(Path(__file__).parent.parent / "fixtures" / "loss_values.npz")
WEIGHTS = [1.0, 2.0, 0.5, 3.0]

LOSSES: dict[str, Any] = {
    "mse": hf.MSE(),
    "mae": hf.MAE(),
    "huber": hf.Huber(0.7),
    "smooth_l1": (1 / 0.7) * hf.Huber(0.7),
    "cross_entropy": hf.SoftmaxCrossEntropy(),
    "cross_entropy_smooth": hf.SoftmaxCrossEntropy(label_smoothing=0.1),
    "cross_entropy_shares": hf.SoftmaxCrossEntropy(label_smoothing=0.1),
    "cross_entropy_weight": hf.SoftmaxCrossEntropy(class_weight=WEIGHTS),
    "cross_entropy_ignore": hf.SoftmaxCrossEntropy(class_weight=WEIGHTS, ignore_index=-100),
    "bce": hf.BCEWithLogits(),
    "bce_pos_weight": hf.BCEWithLogits(pos_weight=WEIGHTS),
    "focal": hf.Focal(2.0, 0.25),
    "kl": hf.KLDivergence(),
    "kl_log_target": hf.KLDivergence(log_target=True),
    "poisson": hf.Poisson(),
    "poisson_full": hf.Poisson(full=True),
    "poisson_rate": hf.Poisson(log_input=False),
    "gaussian": hf.GaussianNLL(),
    "gaussian_full": hf.GaussianNLL(full=True),
    "multi_margin": hf.Hinge(multi_class="sum"),
    "multi_margin_squared": hf.Hinge(0.5, multi_class="sum", squared=True),
    "triplet": hf.Triplet(),
    "triplet_swap": hf.Triplet(2.0, swap=True),
    "triplet_p1": hf.Triplet(p=1),
}


def test_every_recorded_loss_has_one_here() -> None:
    assert {name.removeprefix("value.") for name in RECORDED if name.startswith("value.")} == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_of_pytorch(name: str) -> None:
    """The weight of a layer whose input is the unit matrix is the table of predictions, and its gradient theirs."""
    z = RECORDED[f"z.{name}"]
    y = RECORDED.get(f"y.{name}")
    shape = (3, z.shape[1] // 3) if name.startswith("triplet") else None
    model = Shaped(z.shape[1], shape or z.shape[1:]).astype("float64").build((len(z),))
    table, bias = model.parameters()["layer.weight"], model.parameters()["layer.bias"]
    table[...], bias[...] = z, 0
    assert table.shape == z.shape
    trainer = hf.Trainer(model, LOSSES[name], hf.SGD(1.0))
    assert trainer.step(np.eye(len(z)), y) == pytest.approx(float(RECORDED[f"value.{name}"]), rel=1e-12)
    np.testing.assert_allclose(trainer.gradient[: z.size].reshape(z.shape), RECORDED[f"grad.{name}"], 1e-12, 1e-15)


def metric(name: str) -> Any:
    kind, _, average = name.partition("_")
    if name == "top_2_accuracy":
        return hf.metrics.TopKAccuracy(2)
    if name == "roc_auc_weighted":
        return hf.metrics.ROCAUC("weighted")
    kinds = {"f1": hf.metrics.F1, "precision": hf.metrics.Precision, "recall": hf.metrics.Recall}
    return kinds[kind](average) if kind in kinds and average else name


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [n.removeprefix("metric.") for n in RECORDED if n.startswith("metric.")])
def test_metric_of_scikit_learn(name: str, weighted: bool) -> None:
    def given(key: str) -> np.ndarray:
        return RECORDED[f"metric_of.{key}"]

    kind, _, short = name.rpartition(".")
    z, y, loss = {
        "": (given("scores"), given("which"), "softmax_cross_entropy"),
        "bits": (given("one")[:, None], given("yes")[:, None], "bce_with_logits"),
        "points": (given("points"), given("truth"), "mse"),
    }[kind]
    trainer = identity(loss, [metric(short)], z.shape[1])
    found = trainer.evaluate(z, y, batch_size=7, sample_weight=given("w") if weighted else None)
    expected = RECORDED[f"metric{'_w' if weighted else ''}.{name}"]
    np.testing.assert_allclose(found[short], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "loss", [hf.MSE(), hf.MAE(), hf.Huber(), hf.LogCosh(), hf.Quantile(0.3), hf.Poisson()], ids=repr
)
def test_two_shapes_are_not_broadcast(loss: hf.Loss) -> None:
    column, row = np.ones((4, 1)), np.ones(4)
    if not isinstance(loss, hf.Quantile):
        with pytest.raises(ShapeError, match=r"targets \(4,\) do not match predictions \(4, 1\)"):
            loss(column, row)  # type: ignore[arg-type]
        with pytest.raises(ShapeError, match="do not match"):
            hf.grad(lambda p: hf.ops.mean(loss(p, row)))(column)  # type: ignore[arg-type]
    assert np.shape(loss(row, 1.0)) == (4,)  # type: ignore[arg-type]
