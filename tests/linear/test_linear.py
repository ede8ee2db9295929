"""The linear models: scikit-learn's objectives and predictions, recorded; options, labels, weights, errors, files."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linear_cases import CASES, data_sets, row_weights, scores

import hawfinch as hf
from hawfinch.errors import (
    ArgumentError,
    DTypeError,
    HawfinchWarning,
    LabelError,
    NonFiniteInputError,
    NotBuiltError,
    ShapeError,
)

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "linear_models.npz")
KEYS = sorted({key.rpartition("|")[0] for key in FIXTURE.files})
DATA = data_sets()
X, (NUMBERS, TWO, THREE) = DATA["numbers"][0], (DATA[name][1] for name in ("numbers", "two", "three"))
MODELS = {name: getattr(hf.linear, name) for name in hf.linear.__all__}
CLASSIFIERS = {k: m for k, m in MODELS.items() if k in ("LinearSVC", "LogisticRegression", "Perceptron")}
REGRESSORS = {k: m for k, m in MODELS.items() if k not in CLASSIFIERS}


def recorded(key: str) -> tuple[Any, Any, Any, Any, Any]:
    """The case, x, y as it is fitted, sample weights or None, and scikit-learn's coefficients."""
    name, data, *weighted = key.split("|")
    x, y = DATA[data]
    theirs = SimpleNamespace(coef_=FIXTURE[f"{key}|coef"], intercept_=FIXTURE[f"{key}|intercept"])
    return CASES[name], x, y, row_weights(len(y)) if weighted else None, theirs


@pytest.mark.parametrize("key", KEYS)
def test_objective_and_predictions_are_scikit_learns(key: str) -> None:
    case, x, y, weights, theirs = recorded(key)
    ours = case.ours().fit(x, y, sample_weight=weights)
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.shape(ours.intercept_) == theirs.intercept_.shape or key.startswith("LinearSVR")  # theirs is (1,)
    numbers = np.unique(y, return_inverse=True)[1] if case.labels else y
    s = np.ones(len(y)) if weights is None else weights
    mine, reference = case.value(ours, x, numbers, s), case.value(theirs, x, numbers, s)
    if key.startswith("Perceptron"):  # which disagrees with itself over seeds
        assert mine <= reference + 0.06
        return
    assert mine <= reference * (1 + 1e-4)
    if "l1" not in key and "elasticnet" not in key:  # where saga may have ended early
        assert mine >= reference * (1 - 1e-4)
    z, reference_z = scores(ours, x), scores(theirs, x)
    if not case.labels:
        same = abs(z - reference_z) <= 1e-2 * y.std()
    elif z.shape[1] == 1:
        same = (z > 0) == (reference_z > 0)
    else:
        same = z.argmax(1) == reference_z.argmax(1)
    assert same.mean() >= 0.99


def test_zeros_are_exact_and_the_same() -> None:
    for key in ("Lasso|numbers", "ElasticNet|numbers", "Logistic, l1|two"):
        case, x, y, _, theirs = recorded(key)
        ours = case.ours().fit(x, y)
        assert ((ours.coef_ == 0) == (theirs.coef_ == 0)).all()
    assert (hf.linear.Lasso(1e3).fit(X, NUMBERS).coef_ == 0).all()
    digits, labels = DATA["digits"]
    dead = digits.std(0) == 0
    for model in (hf.linear.LogisticRegression(penalty="l1"), hf.linear.LinearSVC()):
        assert dead.any() and (model.fit(digits, labels).coef_[:, dead] == 0).all()


def test_positive_weights() -> None:
    model = hf.linear.Lasso(0.1, positive=True).fit(X, NUMBERS)
    assert (model.coef_ >= 0).all() and (model.coef_ > 0).any()
    r = NUMBERS - model.predict(X)
    slopes = X.T @ (r - r.mean()) / len(X)  # of the fit; at most alpha where w = 0, alpha where w > 0
    assert (slopes <= 0.1 + 1e-2).all() and np.allclose(slopes[model.coef_ > 0], 0.1, atol=1e-2)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    "values",
    [[0, 1], [-1, 1], [False, True], [7.5, 2.25], ["no", "yes"], [b"a", b"b"], ["a", 1.0], ["x", "y", "z"], [9, 3, 5]],
    ids=str,
)
def test_labels_are_any_values(name: str, values: list[Any]) -> None:
    number = THREE if len(values) == 3 else (TWO == "up").astype(int)
    y = np.array(values, object)[number] if {str, float} == {*map(type, values)} else np.array(values)[number]
    if y.dtype == object:
        with pytest.raises(DTypeError, match="can't be put in order"):
            CLASSIFIERS[name]().fit(X, y)
        return
    model = CLASSIFIERS[name]().fit(X, y)
    assert model.classes_.tolist() == sorted(values) and model.classes_.dtype == y.dtype
    assert model.predict(X).dtype == y.dtype and model.score(X, y) > 0.6
    assert model.score(X, y) == (model.predict(X) == y).mean()
    shape = (1, 8) if len(values) == 2 else (3, 8)
    assert model.coef_.shape == shape and model.intercept_.shape == shape[:1]
    assert model.decision_function(X).shape == ((200,) if len(values) == 2 else (200, 3))
    again = CLASSIFIERS[name]().fit(X.tolist(), y[:, None])
    assert np.array_equal(again.coef_, model.coef_)


def test_probabilities() -> None:
    two, three = (hf.linear.LogisticRegression().fit(X, y) for y in (TWO, THREE))
    p = two.predict_proba(X)
    assert np.allclose(p[:, 1], 1 / (1 + np.exp(-two.decision_function(X))), rtol=1e-12) and np.allclose(p.sum(1), 1)
    e = np.exp(three.decision_function(X))
    assert np.allclose(three.predict_proba(X), e / e.sum(1, keepdims=True), rtol=1e-12)
    for model in (two, three):
        assert np.array_equal(model.predict(X), model.classes_[model.predict_proba(X).argmax(1)])
        assert np.allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)), atol=1e-9)
    assert two.predict_log_proba(1e4 * X).min() < -1e3


@pytest.mark.parametrize("name", MODELS)
def test_a_weight_is_a_repetition(name: str) -> None:
    """Weight 2 is the row twice, weight 0 none; equal weights change nothing where only their ratios matter."""
    y = TWO if name in CLASSIFIERS else NUMBERS
    times = np.random.RandomState(2).randint(0, 3, 200)
    options = dict(max_iter=20, tol=None, shuffle=False) if name == "Perceptron" else {}
    if name.startswith("LinearSV"):
        options = dict(tol=1e-8, max_iter=10_000)
    a = MODELS[name](**options).fit(X, y, sample_weight=times)
    b = MODELS[name](**options).fit(np.repeat(X, times, 0), np.repeat(y, times, 0))
    if name == "Perceptron":  # twice the step is not two steps
        alone = MODELS[name](**options).fit(X[times > 0], y[times > 0], sample_weight=times[times > 0])
        assert np.allclose(a.coef_, alone.coef_)
        return
    tolerance = (
        dict(rtol=1e-3, atol=1e-3) if name in ("LogisticRegression", "LinearSVR") else dict(rtol=1e-4, atol=1e-4)
    )
    assert np.allclose(a.coef_, b.coef_, **tolerance) and np.allclose(a.intercept_, b.intercept_, **tolerance)
    assert np.isclose(a.score(X, y, times), a.score(np.repeat(X, times, 0), np.repeat(y, times, 0)))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_class_weight(name: str) -> None:
    options = dict(shuffle=False) if name == "Perceptron" else {}
    make = CLASSIFIERS[name]
    weighted = make(class_weight={"up": 3.0}, **options).fit(X, TWO)
    rows = make(**options).fit(X, TWO, sample_weight=np.where(TWO == "up", 3.0, 1.0))
    assert np.array_equal(weighted.coef_, rows.coef_)
    share = (TWO == "up").mean()
    balanced = make(class_weight="balanced", **options).fit(X, TWO)
    rows = make(**options).fit(X, TWO, sample_weight=np.where(TWO == "up", 0.5 / share, 0.5 / (1 - share)))
    assert np.allclose(balanced.coef_, rows.coef_, rtol=1e-6)
    with pytest.raises(LabelError, match=r"class_weight names 'left', but the classes of y are \['down', 'up'\]"):
        make(class_weight={"left": 2.0}).fit(X, TWO)


@pytest.mark.parametrize("name", MODELS)
def test_without_intercept(name: str) -> None:
    y = TWO if name in CLASSIFIERS else NUMBERS
    model = MODELS[name](fit_intercept=False).fit(X, y)
    assert np.all(model.intercept_ == 0.0) and list(model.model_.parameters()) == ["0.weight"]
    assert model.score(X, y) > (0.7 if name in CLASSIFIERS else -1)


@pytest.mark.parametrize("name", ["LinearRegression", "Ridge", "Lasso", "ElasticNet"])
def test_several_targets_are_several_fits(name: str) -> None:
    y = np.column_stack([NUMBERS, -2 * NUMBERS + X[:, 0]])
    both = MODELS[name]().fit(X, y)
    ones = [MODELS[name]().fit(X, y[:, i]) for i in (0, 1)]
    assert both.predict(X).shape == (200, 2) and both.coef_.shape == (2, 8) and both.intercept_.shape == (2,)
    assert np.allclose(both.coef_, [m.coef_ for m in ones], atol=1e-9)
    assert np.isclose(both.score(X, y), np.mean([m.score(X, y[:, i]) for i, m in enumerate(ones)]))


def test_ridge_with_more_features_than_rows_and_without_a_penalty() -> None:
    wide, y = X[:5], NUMBERS[:5]
    a = hf.linear.Ridge(0.7).fit(wide, y)
    centred = wide - wide.mean(0)
    w = np.linalg.solve(centred.T @ centred + 0.7 * np.eye(8), centred.T @ (y - y.mean()))
    assert np.allclose(a.coef_, w, rtol=1e-9)
    assert np.allclose(hf.linear.Ridge(0.0).fit(X, NUMBERS).coef_, hf.linear.LinearRegression().fit(X, NUMBERS).coef_)
    twice = np.hstack([X, X])
    assert np.allclose(
        hf.linear.LinearRegression().fit(twice, NUMBERS).coef_[:8],
        hf.linear.LinearRegression().fit(X, NUMBERS).coef_ / 2,
    )


def test_units_do_not_matter_to_the_gradient_solvers() -> None:
    """Features in units of 1e-4 to 1e4, far from 0, whose penalty is corrected for: the same function is found."""
    unit, shift = 10.0 ** np.linspace(-4, 4, 8), 1e3 * np.arange(8)
    for solver in ("lbfgs", "gd"):
        a = hf.linear.LogisticRegression(penalty=None, solver=solver, max_iter=20_000).fit(X, TWO)
        b = hf.linear.LogisticRegression(penalty=None, solver=solver, max_iter=20_000).fit((X + shift) * unit, TWO)
        assert np.allclose(a.decision_function(X), b.decision_function((X + shift) * unit), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_the_net_is_saved_loaded_and_trained_on(name: str, tmp_path: Path) -> None:
    y = TWO if name in CLASSIFIERS else NUMBERS
    model = MODELS[name]().fit(X, y)
    net = model.model_
    net.save(tmp_path / "net.safetensors")
    expected = model.decision_function(X) if name in CLASSIFIERS else model.predict(X)
    assert np.array_equal(hf.load(tmp_path / "net.safetensors").predict(X)[:, 0], expected)
    target = (TWO == "up")[:, None].astype(float) if name in CLASSIFIERS else NUMBERS[:, None]
    before = model.coef_.copy()
    hf.Trainer(net, "mse", hf.SGD(lr=1e-4)).fit(X, target, epochs=1)
    assert not np.array_equal(model.coef_, before), "coef_ is the net's weight"
    outputs = scores(model, X)[:, 0]
    assert np.allclose(model.decision_function(X) if name in CLASSIFIERS else model.predict(X), outputs)


@pytest.mark.parametrize("name", MODELS)
def test_params_as_scikit_learn_has_them(name: str) -> None:
    model = MODELS[name]()
    params = model.get_params()
    assert MODELS[name](**params).get_params() == params and repr(model) == f"{name}()"
    given = np.int64(77)
    assert model.set_params(**{"max_iter" if "max_iter" in params else "alpha": given}) is model
    assert any(value is given for value in model.get_params().values()), "kept as it was given, for sklearn's clone"
    with pytest.raises(ArgumentError, match=r"unknown option of .*Did you mean 'fit_intercept'"):
        model.set_params(fit_intercep=True)
    before = model.get_params()
    with pytest.raises(ArgumentError, match="fit_intercept must be True or False"):
        model.set_params(max_iter=5, fit_intercept="yes")
    assert model.get_params() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hf.linear.Ridge(-1.0), "Ridge: alpha must be a number >= 0, not -1.0"),
        (lambda: hf.linear.Lasso(float("nan")), "alpha must be a number"),
        (lambda: hf.linear.ElasticNet(l1_ratio=1.5), "l1_ratio must be a number from 0 to 1"),
        (lambda: hf.linear.LogisticRegression(C=0), "C must be a number above 0"),
        (
            lambda: hf.linear.LogisticRegression(penalty="l3"),
            "LogisticRegression: unknown penalty 'l3'. Known: elasticnet",
        ),
        (lambda: hf.linear.LogisticRegression(penalty=1), "must be one of 'l2', 'l1', 'elasticnet', None, not 1"),
        (lambda: hf.linear.LogisticRegression(solver="lbfg"), "Did you mean 'lbfgs'"),
        (lambda: hf.linear.LinearSVC(loss="hinge2"), "Did you mean 'hinge'"),
        (lambda: hf.linear.LinearSVC(class_weight="balance"), "class_weight must be None, 'balanced' or a dict"),
        (lambda: hf.linear.Perceptron(max_iter=0), "max_iter must be a whole number from 1"),
        (lambda: hf.linear.Perceptron(random_state=-1), "random_state must be a whole number from 0"),
        (lambda: hf.linear.Ridge(alfa=1.0), "Did you mean 'alpha'"),
    ],
)
def test_options_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


def test_options_that_do_not_fit_each_other() -> None:
    for options in (dict(l1_ratio=0.5), dict(penalty="elasticnet"), dict(penalty="l1", l1_ratio=0.5)):
        with pytest.raises(ArgumentError, match='l1_ratio belongs to penalty="elasticnet"'):
            hf.linear.LogisticRegression(**options).fit(X, TWO)


@pytest.mark.parametrize("name", MODELS)
def test_bad_data_are_errors_and_leave_the_model_as_it_was(name: str) -> None:
    y = TWO if name in CLASSIFIERS else NUMBERS
    model = MODELS[name]()
    with pytest.raises(NotBuiltError, match=f"this {name} has not been fitted"):
        model.predict(X)
    with pytest.raises(NotBuiltError):
        _ = model.coef_
    model.fit(X, y)
    before = model.predict(X)
    bad = X.copy()
    bad[3, 2] = np.nan
    for x, kind, message in (
        (bad, NonFiniteInputError, "X holds nan in row 3, column 2"),
        (X[:, 0], ShapeError, r"X\[:, None\]"),
        (X[:0], ShapeError, "at least one row"),
        (X[:, :0], ShapeError, "at least one row and one feature"),
        (X[:7], ShapeError, "y: expected"),
        ([["a"]] * 200, DTypeError, "text of dtype"),
        (X * 1j, DTypeError, "complex"),
    ):
        with pytest.raises(kind, match=message):
            model.fit(x, y)
    for weights, kind in ((np.ones(3), ShapeError), (-np.ones(200), ArgumentError), (np.zeros(200), ArgumentError)):
        with pytest.raises(kind, match="sample_weight"):
            model.fit(X, y, sample_weight=weights)
    for targets in ([*y[:-1], np.nan],) if name in REGRESSORS else ():
        with pytest.raises(NonFiniteInputError, match="y holds nan"):
            model.fit(X, targets)
    with pytest.raises(ShapeError, match=f"X has 3 features, {name} was fitted on 8"):
        model.predict(X[:, :3])
    with pytest.raises(NonFiniteInputError):
        model.predict(bad)
    assert np.array_equal(model.predict(X), before)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_bad_labels(name: str) -> None:
    for y, kind, message in (
        (np.ones(200), LabelError, "only one class, .*1.0"),
        (NUMBERS, LabelError, "not whole, and more than two: regression"),
        (np.where(np.arange(200) == 5, np.nan, 1.0), NonFiniteInputError, "y holds nan in row 5"),
        (np.zeros((200, 2)), ShapeError, "one label per row"),
        (np.zeros(200, "M8[s]"), DTypeError, "labels are numbers or texts"),
    ):
        with pytest.raises(kind, match=message):
            CLASSIFIERS[name]().fit(X, y)


@pytest.mark.parametrize("name", MODELS)
def test_huge_numbers_are_an_error_or_a_finite_answer(name: str) -> None:
    y = TWO if name in CLASSIFIERS else NUMBERS
    model = MODELS[name]()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model.fit(X * 1e200, y)
        except (ArgumentError, hf.NonFiniteError):
            return
    assert np.isfinite(model.coef_).all()


def test_a_solver_that_runs_out_of_steps_says_so() -> None:
    for make, y in (
        (hf.linear.LogisticRegression(max_iter=2), TWO),
        (hf.linear.LinearRegression(solver="gd", max_iter=2), NUMBERS),
        (hf.linear.Lasso(1e-6, max_iter=1), NUMBERS),
        (hf.linear.LinearSVC(loss="hinge", max_iter=1), TWO),
        (hf.linear.Perceptron(max_iter=3), TWO),
    ):
        with pytest.warns(HawfinchWarning, match=f"{type(make).__name__} has not converged in \\d iterations"):
            make.fit(X, y)
        assert np.max(make.n_iter_) <= 3 and np.isfinite(make.coef_).all()


def test_separable_rows_and_a_constant_target() -> None:
    x, y = np.array([[-1.0], [1.0]] * 4), [0, 1] * 4
    for make in CLASSIFIERS.values():
        assert make().fit(x, y).score(x, y) == 1.0
    constant = np.full(200, 4.0)
    for name, make in REGRESSORS.items():
        model = make().fit(X, constant)
        assert np.allclose(model.predict(X), 4.0, atol=0.05), name
    assert hf.linear.LinearRegression().fit(X, constant).score(X, constant + 1) == 0.0


def test_the_same_bits_again() -> None:
    for name, make in MODELS.items():
        y = TWO if name in CLASSIFIERS else NUMBERS
        assert np.array_equal(make().fit(X, y).coef_, make().fit(X, y).coef_)


def test_inputs_of_other_dtypes_are_not_changed() -> None:
    x = X.astype(np.float32)
    x.flags.writeable = False
    a = hf.linear.Lasso(0.1).fit(x, NUMBERS)
    b = hf.linear.Lasso(0.1).fit(x.astype(np.float64)[:, :].copy(order="F"), NUMBERS.astype(np.float64))
    assert np.array_equal(a.coef_, b.coef_)


def test_columns_in_another_order_are_an_error() -> None:
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
    model = hf.linear.LinearRegression().fit(table, [0.0, 1.0, 2.0, 3.0])
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ArgumentError, match="column 0 is 'b', LinearRegression was fitted with 'a' there"):
        model.predict(table[["b", "a"]])
    assert np.allclose(model.predict(table.to_numpy()), model.predict(table))
    assert not hasattr(model.fit(table.to_numpy(), [0.0, 1.0, 2.0, 3.0]), "feature_names_in_")
