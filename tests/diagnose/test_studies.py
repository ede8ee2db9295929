"""Studies of a training: what they say where the answer is known, that no model is changed, and bad input."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, HawfinchError

Array = np.ndarray
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 6)).astype(np.float32)
XOR = (X[:, 0] * X[:, 1] > 0).astype(int)
NUMBERS = np.sin(2 * X[:, :1]) + X[:, 1:2] * X[:, 2:3]


def net(out: int = 2, *hidden: int) -> hf.Sequential:
    layers = [layer for n in hidden or (32,) for layer in (hf.Linear(n), hf.ReLU())]
    return hf.Sequential(*layers, hf.Linear(out))


TOOLS: dict[str, Any] = {
    "lr_find": lambda model, x, y, **given: hf.lr_find(model, x, y, **{"steps": 50, "seeds": 1, **given}),
    "learning_curve": lambda model, x, y, **given: hf.learning_curve(
        model, x, y, **{"epochs": 1, "fractions": [0.5, 1.0], "seeds": 2, **given}
    ),
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_study_changes_neither_model_nor_data_nor_random_state(name: str) -> None:
    model = net().build((6,), seed=3)
    values = {k: v.copy() for k, v in {**model.parameters(), **model.buffers()}.items()}
    x, y = X.copy(), XOR.copy()
    before = np.random.get_state()[1].copy()
    first = repr(TOOLS[name](model, x, y, loss="softmax_cross_entropy"))
    assert all(np.array_equal(v, values[k]) for k, v in {**model.parameters(), **model.buffers()}.items())
    assert np.array_equal(x, X) and np.array_equal(y, XOR) and np.array_equal(before, np.random.get_state()[1])
    assert repr(TOOLS[name](model, x, y, loss="softmax_cross_entropy")) == first, "the same seed, the same answer"


@pytest.mark.parametrize("name", TOOLS)
def test_an_unbuilt_model_stays_so(name: str) -> None:
    model = net()
    TOOLS[name](model, X, XOR, loss="softmax_cross_entropy")
    assert model.inputs is None


@pytest.mark.parametrize("name", TOOLS)
def test_bad_input_of_any_study_is_an_error(name: str) -> None:
    tool = TOOLS[name]
    loss = "softmax_cross_entropy"
    for call, text in (
        (lambda: tool("net", X, XOR, loss=loss), "expected a hawfinch Module, got 'net'"),
        (lambda: tool(net(), X, XOR), "the loss is missing"),
        (lambda: tool(net(), X, XOR, loss=loss, sample_weights=X[:, 0]), "Did you mean 'sample_weight'"),
        (lambda: tool(net(), X, XOR[:5], loss=loss), "rows"),
        (lambda: tool(net(), X, XOR + 1, loss=loss), "label 2"),
        (lambda: tool(net(), X * np.nan, XOR, loss=loss), "nan"),
        (lambda: tool(net(), X, XOR, loss=loss, batch_size=0), "batch_size"),
        (lambda: tool(net(), X, XOR, loss=loss, optimizer="sdg"), "sgd"),
    ):
        with pytest.raises(HawfinchError, match=text):
            call()


# ---- lr_find ----
@pytest.mark.parametrize(
    "optimizer", [hf.Adam(), hf.SGD(1.0), hf.SGD(1.0, momentum=0.9)], ids=["adam", "sgd", "momentum"]
)
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_the_suggested_rate_trains_nearly_as_well_as_the_best_of_a_grid(task: str, optimizer: Any) -> None:
    out, y, loss = (2, XOR, "softmax_cross_entropy") if task == "classes" else (1, NUMBERS, "mse")
    found = hf.lr_find(net(out), X, y, loss=loss, optimizer=optimizer)
    assert found.verdict == "found" and found.lowest <= found.suggestion < found.highest, found
    rates = [*np.logspace(-5, 1, 13), found.suggestion]
    nets = [(net(out), dict(loss=loss, optimizer=optimizer.replace(lr=float(rate)))) for rate in rates]
    histories = hf.fit_many(nets, X, y, epochs=15)
    losses = [h["loss"][-1] if h.error is None else np.inf for h in histories]
    assert losses[-1] < min(losses) + 0.15 * losses[0], found


def test_where_nothing_can_be_learnt_there_is_no_clear_answer() -> None:
    noise = np.random.default_rng(1).integers(0, 2, 600)
    found = hf.lr_find(net(), X, noise, loss="softmax_cross_entropy", highest=1e-3)
    assert found.verdict == "no clear answer" and found.suggestion is None and "noise" in found.reason
    assert "no clear answer: the loss falls at no rate" in repr(found)


def test_a_range_that_does_not_hold_the_answer_is_told() -> None:
    low = hf.lr_find(net(), X, XOR, loss="softmax_cross_entropy", highest=0.01)
    assert low.suggestion is None and "try higher ones" in low.reason
    high = hf.lr_find(net(), X, XOR, loss="softmax_cross_entropy", lowest=0.03, highest=100.0, steps=50)
    assert high.suggestion is None and "begin lower" in high.reason
    for given, text in (
        (dict(lowest=0.1, highest=0.1), "lowest must be below highest"),
        (dict(lowest=0.0), "lowest must be a number above 0"),
        (dict(steps=10), "steps must be a whole number from 50"),
        (dict(optimizer=hf.LBFGS(), batch_size="full"), "LBFGS searches for the length of each step"),
    ):
        with pytest.raises(ArgumentError, match=text):
            hf.lr_find(net(), X, XOR, loss="softmax_cross_entropy", **given)


# ---- learning_curve ----
def test_a_learning_curve_says_whether_more_rows_help() -> None:
    few = hf.learning_curve(
        net(), X, XOR, loss="softmax_cross_entropy", optimizer=hf.Adam(0.01), epochs=20, fractions=[0.1, 0.3, 1.0]
    )
    assert few.verdict == "more rows help" and few.rows.tolist() == [48, 144, 480]
    assert few.errors.shape == few.train_errors.shape == (3, 3) and few.gain[0] > 0
    line = X[:, 0] - 0.5 * X[:, 1] + 0.3 * np.random.default_rng(2).normal(size=600)
    enough = hf.learning_curve(hf.Sequential(hf.Linear(1)), X, line[:, None], loss="mse", optimizer=hf.SGD(0.1))
    assert enough.verdict == "enough rows" and "R²" in repr(enough)


def test_every_net_of_a_learning_curve_takes_as_many_steps() -> None:
    steps: list[int] = []

    class Count:
        def __deepcopy__(self, memo: Any) -> "Count":
            return self

        def on_fit_end(self, trainer: Any) -> None:
            steps.append(trainer.steps)

    hf.learning_curve(
        net(),
        X,
        XOR,
        loss="softmax_cross_entropy",
        epochs=6,
        batch_size=24,
        fractions=[0.1, 1.0],
        seeds=2,
        callbacks=[Count()],
    )
    assert steps == [120] * 4


def test_bad_fractions_are_errors() -> None:
    for fractions in ([0.5], [0.0, 1.0], [0.5, 1.5], "half", [0.001, 0.0011]):
        with pytest.raises(ArgumentError, match="fractions"):
            hf.learning_curve(net(), X, XOR, loss="softmax_cross_entropy", fractions=fractions)
    with pytest.raises(ArgumentError, match="seeds must be a whole number from 2"):
        hf.learning_curve(net(), X, XOR, loss="softmax_cross_entropy", seeds=1)


def test_what_is_frozen_keeps_its_values() -> None:
    model = net().build((6,)).freeze("0.*")
    model.parameters()["0.weight"][...] = 0
    curve = hf.learning_curve(model, X, XOR, loss="softmax_cross_entropy", fractions=[0.5, 1.0], seeds=2, epochs=3)
    assert curve.train_error.min() > 0.35, "nothing of x comes through"


@pytest.mark.parametrize("name", TOOLS)
def test_a_study_can_be_drawn(name: str) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    axes = TOOLS[name](net(), X, XOR, loss="softmax_cross_entropy").plot()
    assert axes.get_xlabel() and axes.get_ylabel()
    axes.figure.clear()
