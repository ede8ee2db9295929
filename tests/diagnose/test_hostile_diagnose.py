"""The doctor and its tools with hostile users: what can't be, what is odd, what is called at the wrong time."""

import copy
import json
import os
import pickle
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, NonFiniteError, NonFiniteInputError

CE = "softmax_cross_entropy"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def net() -> hf.Sequential:
    return hf.Sequential(hf.Linear(8), "relu", hf.Linear(2))


def seen(model: Any = None, x: Any = X, y: Any = Y, **changes: Any) -> Any:
    return hf.diagnose(net() if model is None else model, x, y, **{**dict(loss=CE, epochs=3, budget=1), **changes})


class Locked(hf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out, self.lock = hf.Linear(2), threading.Lock()

    def forward(self, x: Any) -> Any:
        return self.out(x)


class LockedCallback:
    def __init__(self) -> None:
        self.lock = threading.Lock()

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("tool", [hf.diagnose, hf.lr_find, hf.overfit_batch, hf.bias_variance, hf.curvature])
def test_a_model_that_can_not_be_copied_is_named(tool: Any) -> None:
    with pytest.raises(ArgumentError, match="Locked can't be copied"):
        tool(Locked(), X, Y, loss=CE)


@pytest.mark.parametrize(
    "callbacks, says", [(5, "callbacks"), (None, "callbacks"), ([LockedCallback()], "LockedCallback can't be copied")]
)
def test_callbacks_that_are_none(callbacks: Any, says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        seen(callbacks=callbacks)


@pytest.mark.parametrize("tool", [hf.diagnose, hf.batch_size_study, hf.learning_curve])
def test_a_bad_row_is_named_as_it_was_given(tool: Any) -> None:
    x = X.copy()
    x[150, 2] = np.nan
    with pytest.raises(NonFiniteInputError, match=r"^x holds nan in row 150, column 2"):
        tool(net(), x, Y, loss=CE)
    y = Y.copy()
    y[131] = 7
    with pytest.raises(hf.HawfinchError, match="label 7 in row 131"):
        tool(net(), X, y, loss=CE)


@pytest.mark.parametrize("scale", [1e30, 1e200])
def test_inputs_that_overflow_are_the_verdict(scale: float) -> None:
    report = seen(x=X.astype(float) * scale)
    assert report.verdict == "inputs_not_scaled", str(report)


def test_a_training_that_diverges_is_never_healthy() -> None:
    y = RNG.normal(size=(200, 1)) * 1e30
    report = seen(hf.Sequential(hf.Linear(8), "relu", hf.Linear(1)), y=y, loss="mse")
    assert report.verdict != "healthy", str(report)


@pytest.mark.parametrize("study", [hf.learning_curve, hf.bias_variance])
def test_a_study_in_which_all_trainings_diverge_has_no_verdict(study: Any) -> None:
    with pytest.raises(NonFiniteError, match="each of the"):
        study(net(), X.astype(float) * 1e200, Y, loss=CE, epochs=2)


def test_selection_of_candidates_that_all_diverge() -> None:
    with pytest.raises(NonFiniteError, match="each of the"):
        hf.model_selection({"a": net(), "b": net()}, X.astype(float) * 1e200, Y, loss=CE, epochs=2, folds=3)


def test_gradient_check_of_gradients_that_overflow() -> None:
    with pytest.raises(NonFiniteError, match="too large for float64"):
        hf.gradient_check(net(), X.astype(float) * 1e200, Y, loss=CE, samples=4)


def test_a_batch_of_equal_rows_with_different_targets_contradicts_itself() -> None:
    found = hf.overfit_batch(net(), np.ones_like(X), Y, loss=CE, steps=20)
    assert found.verdict == "data contradict" and [t.text for t in found.tried] == ["as given"]


def test_overfit_batch_says_that_it_took_more_steps() -> None:
    found = hf.overfit_batch(net(), X, Y, loss=CE, optimizer=hf.Adam(1e-6), steps=100)
    assert found.verdict == "optimisation" and "times the steps" in repr(found).split("\n")[1]


def test_a_report_is_json_by_the_standard() -> None:
    report = seen(optimizer=hf.SGD(1e20))
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["verdict"] == report.verdict


def test_a_report_is_pickled_and_copied_and_drawn_twice() -> None:
    report = seen(optimizer=hf.Adam(1e-6), epochs=10)
    other = pickle.loads(pickle.dumps(report))
    assert str(other) == str(report) == str(copy.deepcopy(report))
    assert other.cure().evaluate(X, Y)["loss"] == report.cure().evaluate(X, Y)["loss"]
    ax = report.plot()
    assert report.plot(ax) is ax
    with pytest.raises(ArgumentError, match="ax must be matplotlib Axes"):
        report.plot(3)


def test_a_seed_of_numpy() -> None:
    assert seen(seed=np.int64(3)).verdict


def test_trainer_diagnose_with_arguments_that_contradict() -> None:
    trainer = hf.Trainer(net(), CE)
    with pytest.raises(ArgumentError, match="the model is the trainer's"):
        trainer.diagnose(X, Y, model=net())
    with pytest.raises(ArgumentError, match="no x"):
        trainer.diagnose(y=Y)


def test_a_callback_that_calls_the_doctor_does_not_call_itself() -> None:
    found: list[str] = []

    class Asks:
        def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, Any]) -> None:
            if epoch == 1:
                found.append(trainer.diagnose(budget=1).verdict)

    hf.Trainer(net(), CE).fit(X, Y, epochs=2, callbacks=[Asks()])
    assert len(found) == 1


def test_ctrl_c_leaves_everything_as_it_was() -> None:
    x = RNG.normal(size=(10_000, 30)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    trainer = hf.Trainer(hf.Sequential(hf.Linear(256), "relu", hf.Linear(2)), CE)
    trainer.fit(x, y, epochs=1)
    before, steps, threads = pickle.dumps(trainer.model), trainer.steps, threading.active_count()
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.diagnose(budget=20, epochs=200)
    timer.join()
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (pickle.dumps(trainer.model), trainer.steps, threading.active_count()) == (before, steps, threads)
    trainer.fit(x, y, epochs=1)


def test_two_threads_diagnose_one_model() -> None:
    model, found = net(), []
    threads = [threading.Thread(target=lambda: found.append(seen(model).measured["error"])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] and model.inputs is None


def test_a_rate_that_no_array_holds() -> None:
    with pytest.raises(ArgumentError, match="rates must be"):
        hf.lr_batch_map(net(), X, Y, loss=CE, rates=[10**30], epochs=1)


def test_nets_that_the_budget_cut_short_accuse_no_labels() -> None:
    x = np.random.default_rng(0).normal(size=(30_000, 100)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(int)
    report = seen(hf.Sequential(hf.Linear(64), "relu", hf.Linear(2)), x, y, epochs=None)
    assert "wrong_labels" not in [c.name for c in report.causes], str(report)


def test_chance_without_references_is_not_healthy() -> None:
    ids, y = RNG.integers(0, 50, (300, 3)), RNG.permutation(np.arange(300) % 2)
    model = hf.Sequential(hf.Embedding(50, 4), hf.Flatten(), hf.Linear(2))
    report = seen(model, ids, y, epochs=5)
    assert report.measured["error"] > 0.45 and report.verdict != "healthy", str(report)
