"""hawfinch.losses and hawfinch.metrics: values and gradients against NumPy, targets checked."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loss_cases import BITS, LABELS, LOSS_CASES, METRIC_CASES, REAL, RNG, SHARES, LossCase, Z

import hawfinch as hf
from hawfinch.errors import ArgumentError, DTypeError, HawfinchError, LabelError, ShapeError
from hawfinch.losses import LOSSES
from hawfinch.metrics import METRICS


class Shaped(hf.Module):
    """A layer, and its output in another shape."""

    def __init__(self, features: int, shape: tuple[int, ...]):
        self.layer, self.shape = hf.Linear(features), shape

    def forward(self, x: Any) -> Any:
        return hf.ops.reshape(self.layer(x), (x.shape[0], *self.shape))


def identity(loss: Any, metrics: Any = (), features: int = 5, shape: tuple[int, ...] | None = None) -> hf.Trainer:
    """Linear with the unit matrix: the input is the prediction, and the gradient of the weight is x.T @ dz."""
    model = Shaped(features, shape or (features,)).astype("float64").build((features,))
    p = model.parameters()
    p["layer.weight"][...], p["layer.bias"][...] = np.eye(features), 0
    return hf.Trainer(model, loss, hf.SGD(lr=1.0), metrics=metrics)


def of_case(case: LossCase) -> hf.Trainer:
    return identity(case.loss, features=case.prediction.shape[1], shape=case.shape)


def mean_of(case: LossCase, z: np.ndarray, w: np.ndarray | None = None) -> float:
    """The weighted mean of the formula over what is not missing."""
    weights = np.ones(len(z)) if w is None else w
    shares = 1.0 if case.counts is None else case.counts(z, case.target)
    return float((weights * case.formula(z, case.target)).sum() / (weights * shares).sum())


def test_every_public_loss_and_metric_has_a_case() -> None:
    """And a name, and is exported."""
    cases = {type(case.loss) for case in LOSS_CASES.values()}
    ours = {v for v in LOSSES.values() if v.__module__.startswith("hawfinch.")}  # a document may have made another
    assert ours <= cases
    public = {v for v in vars(hf).values() if isinstance(v, type) and issubclass(v, hf.Loss) and v is not hf.Loss}
    assert public == ours
    kinds = {
        METRICS.get(case.metric) if isinstance(case.metric, str) else type(case.metric)
        for case in METRIC_CASES.values()
    }
    metrics = {v for v in METRICS.values() if getattr(v, "__module__", "").startswith("hawfinch.")}
    assert metrics <= kinds


@pytest.mark.parametrize("name", LOSS_CASES)
def test_value(name: str) -> None:
    case = LOSS_CASES[name]
    for batch in (7, 40):
        got = of_case(case).evaluate(case.prediction, case.target, batch_size=batch)["loss"]
        assert got == pytest.approx(mean_of(case, case.prediction), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSS_CASES)
def test_gradient(name: str, weighted: bool) -> None:
    """By central differences of the NumPy formula: the step of SGD with lr 1 is the gradient."""
    case = LOSS_CASES[name]
    z, n = case.prediction, case.prediction.shape[1]
    w = RNG.uniform(size=40) if weighted else None
    trainer = of_case(case)
    value = trainer.step(z, case.target, sample_weight=w)
    assert value == pytest.approx(mean_of(case, z, w), rel=1e-12)
    h = 1e-4
    slope = []
    for s in h * np.eye(n):
        near, far = (
            mean_of(case, z + s, w) - mean_of(case, z - s, w),
            mean_of(case, z + 2 * s, w) - mean_of(case, z - 2 * s, w),
        )
        slope.append((8 * near - far) / (12 * h))
    np.testing.assert_allclose(-trainer.model.parameters()["layer.bias"], slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", LOSS_CASES)
def test_second_derivative(name: str) -> None:
    """The product of the Hessian with a direction, by central differences of the gradient."""
    case = LOSS_CASES[name]
    loss = hf.losses.get_loss(case.loss)
    shape = (-1, *(case.shape or case.prediction.shape[1:]))
    z = case.prediction.reshape(shape)
    target = case.target if case.target is None else np.asarray(case.target)

    def total(z: Any) -> Any:
        return hf.ops.sum(loss(z, target))

    direction = np.random.default_rng(3).normal(size=z.shape)
    h = 1e-5
    gradient = hf.grad(total)
    difference = (gradient(z + h * direction) - gradient(z - h * direction)) / (2 * h)
    np.testing.assert_allclose(hf.hvp(total, (z,), (direction,)), difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSS_CASES)
def test_extreme_predictions(name: str, dtype: str) -> None:
    """Scores of +-1e4: loss and gradient are finite, but for Poisson's rates, which are not."""
    case = LOSS_CASES[name]
    if isinstance(case.loss, hf.Poisson | hf.GaussianNLL):
        return
    z = np.sign(case.prediction) * 1e4
    model = of_case(case).model.astype(dtype)
    trainer = hf.Trainer(model, case.loss, hf.SGD(lr=1e-30))
    assert np.isfinite(trainer.step(z, case.target))
    assert np.isfinite(trainer.gradient).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [100.0, 1e4, 1e30])
def test_large_logits(size: float, dtype: str) -> None:
    """Sure and wrong: the loss is the difference, never infinite, and so is the gradient."""
    z = np.array([[size, 0.0], [0.0, size]])
    for loss, y, expected in (
        ("softmax_cross_entropy", np.array([1, 1]), size / 2),
        ("bce_with_logits", np.array([[0.0, 0.0], [1.0, 1.0]]), (size + np.log(2)) / 4),
    ):
        model = hf.Sequential(hf.Linear(2)).astype(dtype).build((2,))
        model.parameters()["0.weight"][...], model.parameters()["0.bias"][...] = np.eye(2), 0
        trainer = hf.Trainer(model, loss, hf.SGD(lr=1e-30))
        assert trainer.step(z, y) == pytest.approx(expected, rel=1e-6, abs=np.log(2) / 2 + 1e-6)
        assert np.isfinite(trainer.gradient).all()


def test_targets_of_one_column_and_of_none() -> None:
    """(rows, 1) against (rows,): nothing is broadcast silently, and the message says what to do."""
    flat = REAL[:, 0]
    column = identity("mse", features=1)
    with pytest.raises(ShapeError, match=r"\(rows,\).*\(rows, 1\).*y\[:, None\]"):
        column.evaluate(Z[:, :1], flat)
    assert column.evaluate(Z[:, :1], flat[:, None])["loss"] > 0

    class Flat(hf.Module):
        def __init__(self) -> None:
            self.layer = hf.Linear(1)

        def forward(self, x: Any) -> Any:
            return hf.ops.reshape(self.layer(x), (x.shape[0],))

    trainer = hf.Trainer(Flat(), "mse")
    with pytest.raises(ShapeError, match=r"y\[:, 0\]"):
        trainer.fit(Z, flat[:, None])
    trainer.fit(Z, flat)
    trainer.fit(Z, LABELS)  # whole numbers are numbers
    expected = ((trainer.model.predict(Z) - flat) ** 2).mean()
    assert trainer.evaluate(Z, flat)["loss"] == pytest.approx(expected, rel=1e-5)


def test_losses_of_images() -> None:
    """More axes: the mean over all but the rows."""
    x = RNG.normal(size=(6, 3, 2, 5))
    model = hf.Sequential(hf.Tanh()).astype("float64")
    got = hf.Trainer(model, "mae").evaluate(x, x)["loss"]
    assert got == pytest.approx(np.abs(np.tanh(x) - x).mean(), rel=1e-12)


BAD: list[tuple[str, Any, type[Exception], str]] = [
    ("softmax_cross_entropy", LABELS + 1, LabelError, r"label 5 in row \d+ is outside \[0, 5\)"),
    ("softmax_cross_entropy", LABELS - 1, LabelError, r"label -1 in row \d+ is outside \[0, 5\)"),
    ("softmax_cross_entropy", LABELS.astype(np.uint64) + np.uint64(2**63), LabelError, r"label 922337203685477580"),
    ("softmax_cross_entropy", LABELS.astype(float), DTypeError, "astype"),
    ("softmax_cross_entropy", LABELS[:, None], ShapeError, r"y\[:, 0\]"),
    ("softmax_cross_entropy", BITS[:, :4], ShapeError, r"\(rows, 5\)"),
    ("softmax_cross_entropy", BITS.astype(int), ShapeError, "integer labels"),
    ("softmax_cross_entropy", SHARES * 2, LabelError, "sum to 1"),
    ("softmax_cross_entropy", SHARES - 0.5, LabelError, "negative"),
    ("softmax_cross_entropy", LABELS.astype(str), DTypeError, "not supported"),
    ("bce_with_logits", BITS * 2, LabelError, r"\[0, 1\], got values from 0.0 to 2.0"),
    ("bce_with_logits", BITS - 1, LabelError, r"\[0, 1\]"),
    ("bce_with_logits", BITS[:, 0], ShapeError, r"\(rows,\)"),
    ("mse", LABELS, ShapeError, r"\(rows,\).*\(rows, 5\)"),
    ("mae", REAL[:, :4], ShapeError, r"\(rows, 4\)"),
    ("huber", REAL[:, :, None], ShapeError, r"\(rows, 5, 1\)"),
]


@pytest.mark.parametrize(("loss", "y", "kind", "message"), BAD)
def test_bad_targets(loss: str, y: Any, kind: type[Exception], message: str) -> None:
    trainer = identity(loss)
    for call in (trainer.fit, trainer.step, trainer.evaluate):
        with pytest.raises(kind, match=message):
            call(Z, y)
    with pytest.raises(kind, match=message):
        trainer.fit(Z, LABELS if loss.startswith("soft") else BITS, validation_data=(Z, y))
    assert trainer.steps == 0


@pytest.mark.parametrize("where", [0, 39])
def test_one_bad_label_is_found_and_named(where: int) -> None:
    labels = LABELS.astype(np.int8)
    labels[where] = 99
    with pytest.raises(LabelError, match=f"label 99 in row {where} "):
        identity("softmax_cross_entropy").fit(Z, labels)


@pytest.mark.parametrize(
    "make",
    [
        lambda: hf.SoftmaxCrossEntropy(label_smoothing=1.0),
        lambda: hf.SoftmaxCrossEntropy(label_smoothing=-0.1),
        lambda: hf.SoftmaxCrossEntropy(label_smoothing=float("nan")),
        lambda: hf.Huber(0),
        lambda: hf.Huber(-1.0),
        lambda: hf.Huber(float("nan")),
        lambda: hf.Huber(float("inf")),
        lambda: identity("msse"),
        lambda: identity(3),
        lambda: identity(None),
        lambda: identity("mse", ["acuracy"]),
        lambda: identity("mse", [3]),
        lambda: identity("mse", 3),
        lambda: identity("mse", ["mae", "mae"]),
        lambda: identity("mse", [lambda p, t: p, lambda p, t: t]),
        lambda: identity("mse", ["accuracy"]).evaluate(Z, REAL),
        lambda: identity("softmax_cross_entropy", ["accuracy"]).evaluate(Z, SHARES),
        lambda: identity(hf.SoftmaxCrossEntropy(class_weight={0: 2.0})).evaluate(Z, SHARES),
    ],
)
def test_bad_arguments(make: Callable[[], Any]) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_a_metric_may_not_take_the_name_of_the_loss() -> None:
    def loss(prediction: Any, target: Any) -> Any:
        return prediction

    with pytest.raises(ArgumentError, match="'loss' is taken"):
        identity("mse", [loss])


CLASS_WEIGHTS: list[tuple[Any, type[Exception], str]] = [
    ({5: 1.0}, LabelError, "class 5"),
    ({-1: 1.0}, LabelError, "class -1"),
    ({"a": 1.0}, LabelError, "'a'"),
    ({0: "a"}, ArgumentError, "'a'"),
    ({0: -1.0}, ArgumentError, "not negative"),
    ({0: float("nan")}, ArgumentError, "finite"),
    ([1.0, 2.0], ShapeError, "5"),
    ([1.0] * 6, ShapeError, "5"),
    (["a"] * 5, ArgumentError, "'a'"),
    ([[1.0] * 5], ArgumentError, "numbers"),
    (3, ShapeError, "5"),
    ("balance", ArgumentError, "'balanced'"),
]


@pytest.mark.parametrize(("weights", "kind", "message"), CLASS_WEIGHTS)
def test_bad_class_weights(weights: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        identity("softmax_cross_entropy").fit(Z, LABELS, class_weight=weights)
    with pytest.raises(kind, match=message):
        identity(hf.SoftmaxCrossEntropy(class_weight=weights)).fit(Z, LABELS)
    with pytest.raises(ArgumentError, match="integer labels"):
        identity("mse").fit(Z, REAL, class_weight={0: 1.0})


@pytest.mark.parametrize("name", LOSSES)
def test_names_classes_and_instances(name: str) -> None:
    """The same loss, whichever way it is given."""
    given = [hf.Trainer(hf.Sequential(hf.ReLU()), loss).loss for loss in (name, LOSSES[name], LOSSES[name]())]
    assert given[0] == given[1] == given[2]


def test_losses_and_metrics_are_values() -> None:
    """Equal by content, also of long arrays, which a repr cuts short; nothing about them can be changed."""
    weights = np.ones(5000)
    other = weights.copy()
    other[2500] = 2
    a, b, c = (hf.SoftmaxCrossEntropy(class_weight=w) for w in (weights, weights.copy(), other))
    assert a == b and hash(a) == hash(b) and a != c
    weights[0] = 7
    assert a == b
    for value in (a, hf.Huber(0.5), hf.MSE(), hf.metrics.F1("micro").for_loss(a)):
        assert pickle.loads(pickle.dumps(value)) == value == copy.deepcopy(value)
        with pytest.raises(ArgumentError, match="immutable"):
            value.delta = 3
    assert hf.Huber(1.0) == hf.Huber() != hf.Huber(2.0)
    with pytest.raises(ArgumentError, match="'label_smoothing'"):
        hf.SoftmaxCrossEntropy(label_smothing=0.1)  # type: ignore[call-arg]


def test_functions_that_are_no_losses() -> None:
    cases: list[tuple[Callable[[Any, Any], Any], str]] = [
        (lambda p, t: 3.0, "traced value"),
        (lambda p, t: hf.ops.sum(p - t, 0), "one value per row"),
        (lambda p, t: np.abs(p - t), "hf.ops"),
        (lambda p, t: np.mean((p - t) ** 2), "hf.ops"),
        (lambda p, t: np.asarray(p), "hf.ops"),
    ]
    for function, message in cases:
        with pytest.raises(HawfinchError, match=message):
            identity(function).step(Z, REAL)
        with pytest.raises(HawfinchError, match=message):
            identity("mse", [function]).evaluate(Z, REAL)


def test_a_loss_of_ones_own_with_its_own_targets() -> None:
    """A subclass decides by `check` what its targets are: here an interval per row."""

    class Interval(hf.Loss):
        def check(self, y: np.ndarray, output: Any) -> np.ndarray:
            assert y.shape[1:] == (2,)
            return y

        def __call__(self, prediction: Any, target: Any) -> Any:
            low, high = target[:, 0:1] - prediction, prediction - target[:, 1:2]
            return hf.ops.sum(hf.ops.relu(low) + hf.ops.relu(high), 1)

    y = np.sort(RNG.normal(size=(40, 2)), 1)
    expected = (np.maximum(y[:, :1] - Z, 0) + np.maximum(Z - y[:, 1:], 0)).sum(1).mean()
    assert identity(Interval()).evaluate(Z, y)["loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", METRIC_CASES)
def test_metric(name: str, weighted: bool) -> None:
    """The whole epoch's, exactly, whatever the batches; and in the history of a fit too."""
    metric, loss, target, formula = METRIC_CASES[name]
    w = RNG.uniform(size=40) if weighted else None
    key = metric if isinstance(metric, str) else getattr(metric, "name", "<lambda>")
    expected = formula(Z, target, np.ones(40) if w is None else w)
    for batch in (7, 40):
        got = identity(loss, [metric]).evaluate(Z, target, batch_size=batch, sample_weight=w)
        np.testing.assert_allclose(got[key], expected, rtol=1e-12, atol=1e-14)
    trainer = identity(loss, [metric])
    trainer.optimizer = hf.SGD(lr=0.0)
    history = trainer.fit(Z, target, batch_size=11, sample_weight=w)
    np.testing.assert_allclose(history[key][0], expected, rtol=1e-12, atol=1e-14)
    single = identity(loss, [metric]).model.astype("float32")
    got = hf.Trainer(single, loss, metrics=[metric]).evaluate(Z, target, batch_size=9, sample_weight=w)[key]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_metrics_at_their_edges() -> None:
    """Targets that do not vary, classes that nobody has; each with the answer that its docstring says."""
    same = np.ones((4, 2))
    assert identity("mse", ["r2"], 2).evaluate(same, same)["r2"] == 1
    assert identity("mse", ["r2"], 2).evaluate(same + 1, same)["r2"] == 0
    assert identity("bce_with_logits", ["f1"], 2).evaluate(same, same)["f1"] == 1
    assert np.isnan(identity("bce_with_logits", ["f1"], 2).evaluate(-same, 0 * same)["f1"])
    for loss, y in (("mse", same), ("softmax_cross_entropy", same / 2)):
        with pytest.raises(ArgumentError, match=r"classes|labels"):
            identity(loss, ["f1"], 2).evaluate(same, y)
    with pytest.raises(ShapeError, match=r"r2.*SoftmaxCrossEntropy.*targets of the output's shape"):
        identity("softmax_cross_entropy", ["r2"], 2).evaluate(same, np.zeros(4, int))
    many = identity("bce_with_logits", ["f1", "accuracy"], 40)
    z, y = RNG.normal(size=(30, 40)), RNG.integers(0, 2, (30, 40)).astype(float)
    hits, both = ((z > 0) * y).sum(0), (z > 0).sum(0) + y.sum(0)
    got = many.evaluate(z, y)
    assert got["f1"] == pytest.approx((2 * hits / both).mean(), rel=1e-12)
    assert got["accuracy"] == pytest.approx(((z > 0) == (y > 0)).mean(), rel=1e-12)


def test_accuracy_takes_the_first_of_equals() -> None:
    z = np.zeros((4, 5))
    assert identity("softmax_cross_entropy", "accuracy").evaluate(z, np.zeros(4, int))["accuracy"] == 1
    assert identity("softmax_cross_entropy", "accuracy").evaluate(z, np.ones(4, int))["accuracy"] == 0


def test_a_metric_of_sums() -> None:
    """The whole epoch's sums, weighted, whatever the batches: exact, not a mean over batches."""

    class RMSE(hf.metrics.Metric):
        def sums(self, prediction: Any, target: Any, weight: Any) -> Any:
            d = prediction - target
            columns = self.total(hf.ops.square(d), weight)
            return [columns, self.total(d[:, 0] * 0.0 + 1.0, weight)]

        def finalise(self, sums: np.ndarray) -> float:
            assert sums.shape == (6,) and sums.dtype == np.float64
            return float(np.sqrt(sums[:5].sum() / sums[5]))

    w = RNG.uniform(size=40)
    for weight in (None, w):
        share = np.ones(40) if weight is None else w
        expected = np.sqrt((share[:, None] * (Z - REAL) ** 2).sum() / share.sum())
        for batch in (7, 40):
            got = identity("mae", [RMSE(), "mse"]).evaluate(Z, REAL, batch_size=batch, sample_weight=weight)
            assert got["RMSE"] == pytest.approx(expected, rel=1e-12)
            assert got["mse"] == pytest.approx(expected**2 / 5, rel=1e-12)

    class NotSummed(hf.metrics.Metric):
        def sums(self, prediction: Any, target: Any, weight: Any) -> Any:
            return prediction

    with pytest.raises(ShapeError, match="summed over the rows"):
        identity("mae", [NotSummed()]).evaluate(Z, REAL)
