"""Studies of a training: what they say where the answer is known, that no model is changed, and bad input."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.diagnose.candidates import _choices, folds_of
from hawfinch.diagnose.decomposition import BiasVariance
from hawfinch.diagnose.run import Rows
from hawfinch.diagnose.task import Task
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
    "model_selection": lambda model, x, y, **given: hf.model_selection(
        {"one": model, "two": (model, dict(epochs=2))}, x, y, **{"epochs": 1, "folds": 2, **given}
    ),
    "bias_variance": lambda model, x, y, **given: hf.bias_variance(model, x, y, **{"epochs": 1, "samples": 3, **given}),
    "batch_size_study": lambda model, x, y, **given: hf.batch_size_study(
        model, x, y, **{"epochs": 1, "seeds": 1, "batch_sizes": [16, 64], **given}
    ),
    "overfit_batch": lambda model, x, y, **given: hf.overfit_batch(model, x, y, **{"steps": 40, "rows": 8, **given}),
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


# ---- model_selection ----
def test_the_smallest_of_equals_is_chosen_and_the_errors_are_those_of_fits_alone() -> None:
    nets = {"linear": net(2, 1), "small": net(2, 24), "large": net(2, 300)}
    given: dict[str, Any] = dict(loss="softmax_cross_entropy", optimizer=hf.Adam(0.01), epochs=25)
    found = hf.model_selection(nets, X, XOR, folds=3, nested=True, seed=1, **given)
    assert found.errors.shape == (3, 3) and found.sizes == sorted(found.sizes)
    limit = found.error[found.best] + found.standard_error[found.best]
    good = [name for name in found.names if found.error[name] <= limit]
    assert found.chosen == good[0] and "linear" not in good and found.best in good
    assert abs(found.nested_error - found.error[found.chosen]) < 0.1 and found.nested_errors.shape == (3,)
    text = repr(found)
    assert f"model selection: {found.chosen} (3 folds)" in text and "nested: what is chosen so" in text
    same = hf.model_selection({"small": nets["small"]}, X, XOR, folds=3, seed=1, **given)
    assert np.array_equal(same.errors[0], found.errors[1]), "whoever else is there"


def test_folds_hold_each_row_once_with_classes_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [90, 7, 5])
    rows = Rows(np.arange(102), labels)
    parts = folds_of(rows, 4, seed=3)
    assert sorted(np.concatenate([test.x for _, test in parts]).tolist()) == list(range(102))
    for learn, test in parts:
        assert not set(learn.x) & set(test.x) and len(learn.x) + len(test.x) == 102
        assert set(test.y) == {0, 1, 2} and 22 <= (test.y == 0).sum() <= 23
    assert parts[0][1].x.tolist() != folds_of(rows, 4, seed=4)[0][1].x.tolist()


def test_one_standard_error_by_hand() -> None:
    errors = np.array([[0.30, 0.34], [0.20, 0.26], [0.21, 0.23], [0.24, 0.24]])  # means .32 .23 .22 .24; se of best .01
    assert _choices(errors, [1, 20, 30, 10]) == (2, 1)
    assert _choices(errors, [1, 40, 30, 10]) == (2, 2)


def test_bad_candidates_are_errors() -> None:
    loss = "softmax_cross_entropy"
    for candidates, more, text in (
        ([net()], {}, "expected a dict of models by name"),
        ({}, {}, "expected a dict of models by name"),
        ({"a": (net(), 3)}, {}, r"candidate 'a': expected a model or \(model, options\)"),
        ({"a": (net(), dict(seed=3))}, {}, "candidate 'a'"),
        ({"a": net(), "b": (net(), dict(optimiser="sgd"))}, {}, "candidate 'b': .*Did you mean 'optimizer'"),
        ({"a": net()}, dict(folds=1), "folds must be a whole number from 2"),
        ({"a": net()}, dict(nested=5), "nested must be True or False"),
        ({"a": net(), "b": (net(1), dict(loss="mse"))}, {}, "candidate 'b'"),
    ):
        with pytest.raises(HawfinchError, match=text):
            hf.model_selection(candidates, X, XOR, loss=loss, **more)
    with pytest.raises(ArgumentError, match="5 folds need at least 10 rows, there are 8"):
        hf.model_selection({"a": net()}, X[:8], XOR[:8], loss=loss)


# ---- bias_variance ----
def test_the_parts_of_a_squared_error_add_up_and_say_which_it_is() -> None:
    given: dict[str, Any] = dict(loss="mse", epochs=30, optimizer=hf.Adam(0.01))
    noisy = NUMBERS + 0.5 * np.random.default_rng(4).normal(size=NUMBERS.shape)
    line = hf.bias_variance(hf.Sequential(hf.Linear(1)), X, noisy, **given)
    large = hf.bias_variance(
        net(1, 256), X[:60], noisy[:60], validation_data=(X[60:], NUMBERS[60:]), samples=6, **given
    )
    for found in (line, large):
        assert np.isclose(found.error, found.bias + found.variance, rtol=1e-12)
        assert np.allclose(found.error_rows, found.bias_rows + found.variance_rows, rtol=1e-12)
        assert np.allclose(found.variance_rows, found.predictions.var(0)[:, 0], rtol=1e-9)
    assert line.verdict == "bias" and large.variance > 5 * line.variance


def test_the_parts_of_a_share_of_wrong_classes_add_up_by_hand() -> None:
    """Domingos's decomposition of three nets on three rows of three classes."""
    said = np.array([[0, 1, 2], [0, 1, 0], [1, 0, 1]])
    found = BiasVariance(Task("classes", 3), said, np.array([0, 0, 2]), [])
    assert found.main.tolist() == [0, 1, 0], "the smallest of several"
    assert found.bias_rows.tolist() == [0, 1, 1] and np.allclose(found.variance_rows, [1 / 3, 1 / 3, 2 / 3])
    assert np.isclose(found.variance_unbiased, 1 / 9) and np.isclose(found.variance_biased, 2 / 9)
    assert np.isclose(found.error, 5 / 9) and np.isclose(found.bias + found.variance, found.error)


def test_classes_of_trained_nets_add_up_and_what_has_no_error_of_its_own_is_an_error() -> None:
    found = hf.bias_variance(net(), X, XOR, loss="softmax_cross_entropy", epochs=5, samples=5)
    assert np.isclose(found.error, found.bias + found.variance, rtol=1e-12)
    with pytest.raises(ArgumentError, match="numbers or classes"):
        hf.bias_variance(hf.Sequential(hf.Linear(2)), X, NUMBERS, loss=hf.GaussianNLL())
    with pytest.raises(ArgumentError, match="samples must be a whole number from 2"):
        hf.bias_variance(net(), X, XOR, loss="softmax_cross_entropy", samples=1)


# ---- overfit_batch ----
def batch_verdict(model: hf.Module, y: Array, loss: str = "softmax_cross_entropy", **given: Any) -> Any:
    return hf.overfit_batch(model, X, y, loss=loss, **{"optimizer": hf.Adam(0.01), **given})


def test_a_net_that_learns_the_batch_by_heart_fits() -> None:
    for found in (batch_verdict(net(), XOR), batch_verdict(net(1, 64), NUMBERS, "mse")):
        assert found.verdict == "fits" and len(found.losses) == 500 and found.losses[-1] < 0.1 * found.losses[0]
        assert len(found.rows) == 32 and len(found.tried) == 1


def test_a_net_that_does_not_is_told_why() -> None:
    slow = batch_verdict(net(), XOR, optimizer=hf.SGD(1e-6), steps=150)
    assert slow.verdict == "optimisation" and "it fits with Adam at" in repr(slow)
    held = batch_verdict(net(), XOR, regularizers={"*.weight": hf.L2(1.0)}, steps=150)
    assert held.verdict == "optimisation" and "nothing that holds it back" in repr(held)
    small = batch_verdict(hf.Sequential(hf.Linear(1), hf.ReLU(), hf.Linear(2)), XOR, rows=64, steps=100)
    assert small.verdict == "model too small"
    positive = hf.Sequential(hf.Linear(64), hf.ReLU(), hf.Linear(1), hf.Sigmoid())
    assert batch_verdict(positive, NUMBERS, "mse", steps=150).verdict == "output"


def test_frozen_layers_are_seen() -> None:
    model = net().build((6,)).freeze("*.weight")
    found = batch_verdict(model, XOR)
    assert found.verdict == "optimisation" and "with nothing frozen" in repr(found)


def test_rows_that_contradict_each_other_are_listed() -> None:
    x, y = X.copy(), XOR.copy()
    x[7], y[7] = x[3], 1 - y[3]
    x[9], y[9] = x[3], y[3]
    found = hf.overfit_batch(net(), x[:20], y[:20], loss="softmax_cross_entropy", optimizer=hf.Adam(0.01))
    assert found.verdict == "data contradict" and found.contradictions == [(3, 7, 9)]
    assert "rows 3, 7, 9 are equal, with different targets" in repr(found)
    x[7], y[7] = X[7], XOR[7]
    found = hf.overfit_batch(net(), x[:20], y[:20], loss="softmax_cross_entropy", optimizer=hf.Adam(0.01))
    assert found.verdict == "fits" and found.contradictions == []


def test_bad_batches_are_errors() -> None:
    for given, text in ((dict(rows=1), "rows must be a whole number from 2"), (dict(steps=0), "steps must be")):
        with pytest.raises(ArgumentError, match=text):
            batch_verdict(net(), XOR, **given)


# ---- batch_size_study ----
def test_the_noise_scale_is_that_of_the_rows_own_gradients() -> None:
    model = hf.Sequential(hf.Linear(1, bias=False)).build((6,))
    line = X[:, :1] + np.random.default_rng(6).normal(size=(600, 1))
    given: dict[str, Any] = dict(loss="mse", optimizer=hf.SGD(0.01), epochs=1, validation_data=(X, line))
    study = hf.batch_size_study(model, X, line, seed=2, **given)
    fresh = hf.Sequential(hf.Linear(1, bias=False)).build((6,), seed=2)
    own = 2 * (fresh.predict(X) - line) * X.astype(np.float64)
    expected = own.var(0).sum() / (own.mean(0) ** 2).sum()
    assert abs(study.noise_scale / expected - 1) < 0.25
    assert np.allclose(study.gradient_variance * study.batch_sizes, study.noise_scale, rtol=0.6)
    assert np.allclose(study.rates, 0.01 * study.batch_sizes / 32)
    curvature = 2 * np.linalg.eigvalsh(X[:512].astype(np.float64).T @ X[:512] / 512)[-1]
    assert np.allclose(study.sharpness, curvature, rtol=1e-3)


def test_bad_batch_sizes_are_errors() -> None:
    for given, text in (
        (dict(batch_sizes=[0, 8]), "batch_sizes: each"),
        (dict(batch_sizes="all"), "batch_sizes must be"),
        (dict(batch_sizes=[8, 5000]), "5000 is more than the 480 training rows"),
        (dict(scale="square"), 'scale must be "linear"'),
        (dict(optimizer=hf.SGD(hf.schedules.Cosine(0.1))), "is a schedule"),
    ):
        with pytest.raises(ArgumentError, match=text):
            hf.batch_size_study(net(), X, XOR, loss="softmax_cross_entropy", **given)


# ---- lr_batch_map ----
def test_a_map_has_the_errors_of_fits_alone_and_tells_what_diverged() -> None:
    held = (X[:100], NUMBERS[:100])
    given: dict[str, Any] = dict(loss="mse", optimizer=hf.SGD(1.0), epochs=3, validation_data=held)
    found = hf.lr_batch_map(net(1), X, NUMBERS, rates=[0.03, 1e30], batch_sizes=[16, 64], **given)
    trainer = hf.Trainer(net(1), "mse", hf.SGD(0.03))
    trainer.fit(X, NUMBERS, epochs=3, batch_size=64)
    assert np.isclose(found.error[0, 1], ((trainer.model.predict(X[:100]) - held[1]) ** 2).mean() / NUMBERS.var())
    assert found.diverged.tolist() == [[False, False], [True, True]] and found.best is not None
    assert "diverged" in repr(found) and np.isnan(found.error[1]).all()
    with pytest.raises(ArgumentError, match="rates must be numbers above 0"):
        hf.lr_batch_map(net(1), X, NUMBERS, loss="mse", rates=[0.0, 1.0])
