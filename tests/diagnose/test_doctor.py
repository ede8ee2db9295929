"""The doctor: broken trainings, each with one right answer; healthy ones; and what it says to bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.diagnose.catalogue import CAUSES
from hawfinch.errors import ArgumentError

Array = np.ndarray


def two_moons(n: int, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    t, y = np.pi * rng.random(n), rng.integers(0, 2, n)
    x = np.stack([np.where(y == 1, 1 - np.cos(t), np.cos(t)), np.where(y == 1, 0.5 - np.sin(t), np.sin(t))], 1)
    return (x + 0.15 * rng.normal(size=x.shape)).astype(np.float32), y


X, Y = two_moons(800, 0)
XV, YV = two_moons(500, 1)


def net(*hidden: Any) -> hf.Sequential:
    return hf.Sequential(*(hidden or (hf.Linear(32), "relu", hf.Linear(32), "relu")), hf.Linear(2))


def seen(model: hf.Module | None = None, *, x: Array = X, y: Array = Y, **changes: Any) -> Any:
    options: dict[str, Any] = dict(
        validation_data=(XV, YV), loss="softmax_cross_entropy", optimizer=hf.Adam(3e-3), epochs=40, budget="10s"
    )
    return hf.diagnose(model or net(), x, y, **{**options, **changes})


BROKEN: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "rate up": (lambda: seen(optimizer=hf.Adam(3.0)), {"learning_rate_too_high"}),
    "rate down": (lambda: seen(optimizer=hf.Adam(3e-6)), {"learning_rate_too_low"}),
    "scale": (lambda: seen(x=X * 300 + 1000, validation_data=(XV * 300 + 1000, YV)), {"inputs_not_scaled"}),
    "no activation": (lambda: seen(net(hf.Linear(32), hf.Linear(32))), {"model_bias"}),
    "dropout": (lambda: seen(net(hf.Linear(16), "relu", hf.Dropout(0.95))), {"dropout"}),
    "penalty": (lambda: seen(regularizers={"*.weight": hf.L2(1.0)}), {"regularisation_too_strong"}),
    "zeros": (
        lambda: seen(hf.Sequential(hf.Linear(16, init="zeros"), "relu", hf.Linear(2, init="zeros"))),
        {"bad_initialisation", "critical_point"},
    ),
    "constant": (lambda: seen(x=0 * X + 1, validation_data=(0 * XV + 1, YV)), {"constant_inputs"}),
    "softmax twice": (
        lambda: seen(hf.Sequential(hf.Linear(16), "relu", hf.Linear(2), hf.Softmax())),
        {"output_or_loss"},
    ),
    "preparation": (lambda: seen(validation_data=(XV * 4 + 3, YV)), {"preprocessing_differs"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_training_is_seen_for_what_it_is(name: str) -> None:
    make, right = BROKEN[name]
    report = make()
    assert report.verdict in right, str(report)
    first = report.causes[0]
    assert first.evidence and first.says == CAUSES[report.verdict].says
    assert json.dumps(report.to_dict()) and report.verdict in str(report)


@pytest.mark.parametrize("model", [lambda: net(), lambda: net(hf.Linear(32), hf.BatchNorm(), "relu")])
def test_a_healthy_training_is_healthy(model: Callable[[], hf.Module]) -> None:
    report = seen(model())
    assert report.verdict == "healthy" and report.causes == [], str(report)
    with pytest.raises(ArgumentError, match="healthy"):
        report.cure()


def test_frozen_weights_are_seen_and_the_user_s_model_is_left_alone() -> None:
    model = net(hf.Linear(8), "relu", hf.Linear(8), "relu").build((2,)).freeze("*.weight")
    before = {k: v.copy() for k, v in model.parameters().items()}
    report = seen(model)
    assert report.verdict == "frozen"
    assert all((before[k] == v).all() for k, v in model.parameters().items())
    assert "0.weight" not in model.trainable()


def test_the_cure_is_a_trained_trainer() -> None:
    report = seen(optimizer=hf.Adam(3e-6))
    trainer = report.cure()
    trainer.metrics = ["accuracy"]
    assert trainer.evaluate(XV, YV)["accuracy"] > 0.9
    assert report.causes[0].recovered > 0.9 and "tried" in str(report)


def test_wrong_labels_are_listed() -> None:
    rng = np.random.default_rng(3)
    y, wrong = Y.copy(), np.sort(rng.permutation(len(Y))[:240])
    y[wrong] = 1 - y[wrong]
    report = seen(y=y, epochs=300, model=net(hf.Linear(256), "relu", hf.Linear(256), "relu"))
    listed = next(c for c in report.causes if c.name == "wrong_labels").numbers["rows"]
    assert np.isin(listed, wrong).mean() > 0.9 and np.isin(wrong, listed).mean() > 0.8


def test_a_regression_whose_targets_are_far_from_the_net_s_outputs() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 3))
    y = 4000 + 900 * np.sin(2 * x[:, :1])
    report = hf.diagnose(
        hf.Sequential(hf.Linear(32), "tanh", hf.Linear(1)),
        x[:400],
        y[:400],
        validation_data=(x[400:], y[400:]),
        loss="mse",
        epochs=40,
        budget="10s",
    )
    assert report.verdict == "output_or_loss" and "TargetScale" in report.causes[0].code, str(report)


def test_a_trainer_is_diagnosed_on_what_it_was_fitted_on() -> None:
    trainer = hf.Trainer(net(), "softmax_cross_entropy", hf.SGD(1e-5))
    with pytest.raises(ArgumentError, match="no fit yet"):
        trainer.diagnose()
    trainer.fit(X, Y, epochs=10, validation_data=(XV, YV))
    before = {k: v.copy() for k, v in trainer.model.parameters().items()}
    assert trainer.diagnose(budget="5s").verdict in ("learning_rate_too_low", "optimisation")
    assert all((before[k] == v).all() for k, v in trainer.model.parameters().items())


def test_without_validation_data_rows_are_held_out_and_the_report_says_so() -> None:
    report = seen(validation_data=None)
    assert any("held out" in note for note in report.notes)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no loss": (dict(loss=None), "loss is missing"),
    "budget": (dict(budget="soon"), "budget"),
    "no time": (dict(budget=0.01), "at least 1 s"),
    "option": (dict(epoch=3), "epoch"),
    "validation": (dict(validation_data=X), "validation_data"),
    "labels": (dict(y=Y + 5), "label"),
    "rows": (dict(y=Y[:5]), "rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_an_error_that_names_it(name: str) -> None:
    changes, text = BAD[name]
    with pytest.raises(hf.HawfinchError, match=text):
        seen(**changes)


def test_the_way_to_the_verdict_is_drawn() -> None:
    import matplotlib

    matplotlib.use("Agg")
    report = seen(optimizer=hf.Adam(3e-6))
    axes = report.plot()
    words = " ".join(t.get_text() for t in axes.texts)
    assert "learning_rate_too_low" in words and "Can the same rows be learnt better?" in words


def test_every_cause_says_how_to_tell_and_what_to_do() -> None:
    for cause in CAUSES.values():
        assert cause.says.endswith(".") and cause.symptom and cause.tell and cause.cure


def test_the_page_of_causes_is_that_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = Path(__file__).parents[2] / "docs"
    monkeypatch.syspath_prepend(str(docs))
    import make_causes

    assert make_causes.PAGE.read_text() == make_causes.page(), "run python docs/make_causes.py"
    for cause in CAUSES.values():
        compile(cause.example, cause.name, "exec")


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from hawfinch.ops import elementwise

    right = elementwise.TANH.grad
    monkeypatch.setattr(elementwise.TANH, "grad", lambda *a: [-g for g in right(*a)])
    report = seen(net(hf.Linear(16), "tanh", hf.Linear(16), "tanh"))
    assert report.verdict == "wrong_gradient", str(report)
