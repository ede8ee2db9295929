"""``gradient_check``: no false alarm on any layer, loss or op, every planted error found, kinks told from errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import CASES, IDS, cast, outputs
from layer_cases import LAYER_CASES, in_a_net
from loss_cases import LOSS_CASES

import hawfinch as hf
from hawfinch.errors import ArgumentError, DTypeError, LabelError, NonFiniteError, ShapeError
from hawfinch.ops.elementwise import (
    ADD,
    DIV,
    ELU,
    EXP,
    GELU,
    LEAKY_RELU,
    LOG,
    MAXIMUM,
    MUL,
    RELU,
    SIGMOID,
    SOFTPLUS,
    SQRT,
    SQUARE,
    SUB,
    TANH,
    WHERE,
)
from hawfinch.ops.matmul import MATMUL
from hawfinch.ops.normalization import NORMALIZE
from hawfinch.ops.reduction import REDUCE
from hawfinch.ops.shape import CONCAT, GATHER, TRANSPOSE
from hawfinch.ops.softmax import CROSS_ENTROPY, SOFTMAX

O = hf.ops
RNG = np.random.default_rng(3)
X, W, V, B = (RNG.normal(size=s) for s in ((12, 5), (5, 5), (5, 4), (5,)))
TARGET, LABELS = RNG.normal(size=(12, 4)), RNG.integers(0, 4, 12)
IDS_OF_ROWS = np.array([0, 1, 1, 2, 4, 1, 0, 2, 2, 4, 4, 4])


# ---- no false alarms ----
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", LAYER_CASES)
def test_every_layer_is_right(name: str, training: bool) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(20, 6)), rng.uniform(size=(20, 3))
        net, x = in_a_net(LAYER_CASES[name], x, 3)
        check = hf.gradient_check(net, x, y, loss=hf.MSE(), training=training, seed=seed)
        assert check.verdict == "right", check
        assert check.ok


class Shaped(hf.Module):
    def __init__(self, features: int, shape: tuple[int, ...]):
        self.layer, self.shape = hf.Linear(features), shape

    def forward(self, x: Any) -> Any:
        return O.reshape(self.layer(x), (x.shape[0], *self.shape))


@pytest.mark.parametrize("name", LOSS_CASES)
def test_every_loss_is_right(name: str) -> None:
    case = LOSS_CASES[name]
    features = case.prediction.shape[1]
    model = Shaped(features, case.shape or (features,)).build((features,))
    model.parameters()["layer.weight"][...] = np.eye(features)
    check = hf.gradient_check(model, case.prediction, case.target, loss=case.loss)
    assert check.verdict == "right", check


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.grad], ids=[i for c, i in zip(CASES, IDS, strict=True) if c.grad]
)
def test_every_op_is_right(case: Any) -> None:
    """At points of the case's own choice, kinks and ties among them."""
    shapes, attrs = min(case.variants, key=lambda v: abs(sum(np.prod(s) for s in v[0]) - 60))
    inputs = cast(case.inputs(shapes, seed=1), "float64")
    wrt = [i for i in case.grad if i < len(shapes)]
    projection = RNG.normal(size=np.shape(outputs(case.ref(*inputs, **attrs))[0]))

    def fn(*xs: Any) -> Any:
        return O.sum(outputs(case.call(*xs, **attrs))[0] * projection)

    check = hf.gradient_check(fn, *inputs, argnums=wrt)
    assert check.ok, check


# ---- planted errors: rules of the engine ----
def _tanh(node: Any, g: Any) -> Any:
    return g * (1.0 - O.square(node.outputs[0]))


def _both(node: Any, g: Any) -> tuple[Any, Any]:
    x, w = node.inputs
    return g @ w.T, x.T @ g


def by_weight(wrong: Callable[[Any], Any]) -> Callable[..., Any]:
    """The rule of a product whose gradient by a square weight is spoilt."""

    def rule(node: Any, g: Any) -> Any:
        dx, dw = _both(node, g)
        return [dx, wrong(dw) if dw.shape == (5, 5) else dw]

    return rule


def by_bias(wrong: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda node, g: [g, wrong(g) if node.inputs[1].ndim == 1 and g.ndim == 2 else g]


def untransposed(node: Any, g: Any) -> Any:
    w = node.inputs[1]
    return [g @ w if w.shape == (5, 5) else g @ w.T, _both(node, g)[1]]


def wide_net() -> Any:
    """One in which few of the weights are compared one by one."""
    x, y = np.random.default_rng(0).normal(size=(40, 300)), np.random.default_rng(1).normal(size=(40, 2))
    return hf.gradient_check(hf.Sequential(hf.Linear(2)), x, y, loss=hf.MSE(), samples=8)


def along_rows(node: Any, g: Any) -> Any:
    along = node.attrs["first"] == 1
    return [O.broadcast_to(O.reshape(g, (-1, 1)) if along else g, node.inputs[0].shape)]


def across_rows(node: Any, g: Any) -> Any:
    return [O.broadcast_to(O.reshape(g, (1, -1)) if node.attrs["first"] == 1 else g, node.inputs[0].shape)]


def net_of(*layers: Any, loss: Any = None) -> Callable[[], Any]:
    """A check of a small net."""
    y = LABELS if isinstance(loss, hf.SoftmaxCrossEntropy) else TARGET
    return lambda: hf.gradient_check(hf.Sequential(hf.Linear(5), *layers, hf.Linear(4)), X, y, loss=loss or hf.MSE())


def of(fn: Callable[..., Any], *args: Any, argnums: Any = 0) -> Callable[[], Any]:
    return lambda: hf.gradient_check(fn, *args, argnums=argnums)


def weighted(y: Any) -> Any:
    return O.sum(y * np.cos(np.arange(np.prod([int(n) for n in y.shape]))).reshape([int(n) for n in y.shape]))


PLANTED: dict[str, tuple[Any, Callable[..., Any], Callable[[], Any]]] = {
    "sign of tanh": (TANH, lambda n, g: [-_tanh(n, g)], net_of(hf.Tanh())),
    "factor of tanh": (TANH, lambda n, g: [_tanh(n, g) * 2.0], net_of(hf.Tanh())),
    "tanh of its input": (TANH, lambda n, g: [g * (1.0 - O.square(n.inputs[0]))], net_of(hf.Tanh())),
    "sigmoid without 1 - y": (SIGMOID, lambda n, g: [g * n.outputs[0]], net_of(hf.Sigmoid())),
    "relu without its mask": (RELU, lambda n, g: [g], net_of(hf.ReLU())),
    "relu with the mask of the gradient": (RELU, lambda n, g: [O.where(g > 0.0, g, 0.0)], net_of(hf.ReLU())),
    "slope of the wrong side": (
        LEAKY_RELU,
        lambda n, g: [O.where(n.inputs[0] > 0.0, 0.01 * g, g)],
        net_of(hf.LeakyReLU()),
    ),
    "elu without alpha": (ELU, lambda n, g, **_: [O.where(n.inputs[0] < 0.0, g * n.outputs[0], g)], net_of(hf.ELU())),
    "gelu by its sigmoid form": (GELU, lambda n, g: [g * O.sigmoid(1.702 * n.inputs[0])], net_of(hf.GELU())),
    "softplus by tanh": (SOFTPLUS, lambda n, g: [g * O.tanh(n.inputs[0])], net_of(hf.Softplus())),
    "weight transposed": (MATMUL, by_weight(lambda dw: dw.T), net_of(hf.Tanh())),
    "product by w, not its transpose": (MATMUL, untransposed, net_of(hf.Tanh(), hf.Linear(5))),
    "half of the weight's gradient": (MATMUL, by_weight(lambda dw: dw * 0.5), net_of(hf.Tanh())),
    "a row of the weight too far": (MATMUL, by_weight(lambda dw: O.concat([dw[1:], dw[:1]], 0)), net_of(hf.Tanh())),
    "a weight's last row forgotten": (
        MATMUL,
        lambda n, g: [_both(n, g)[0], O.pad(_both(n, g)[1][:-1], ((0, 1), (0, 0)))],
        wide_net,
    ),
    "bias by the mean of the rows": (ADD, by_bias(lambda g: O.mean(g, 0)), net_of(hf.Tanh(), loss=hf.MAE())),
    "bias of the next unit": (
        ADD,
        by_bias(lambda g: O.concat([O.sum(g, 0)[1:], O.sum(g, 0)[:1]], 0)),
        net_of(hf.Tanh()),
    ),
    "subtraction adds": (SUB, lambda n, g: [g, g], of(lambda a, b: weighted(a - b), X, X[::-1].copy(), argnums=(0, 1))),
    "quotient without its square": (
        DIV,
        lambda n, g: [g / n.inputs[1], -(g * n.outputs[0])],
        of(lambda a, b: weighted(a / b), X, np.abs(X) + 1, argnums=(0, 1)),
    ),
    "product by itself": (
        MUL,
        lambda n, g: [g * n.inputs[0], g * n.inputs[1]],
        of(lambda a, b: O.sum(a * b), X, X[::-1].copy(), argnums=(0, 1)),
    ),
    "mean as a sum": (REDUCE, along_rows, of(lambda a: weighted(O.mean(a, 1)), X)),
    "sum of another axis": (REDUCE, across_rows, of(lambda a: weighted(O.sum(a, 1)), W)),
    "softmax without its sum": (SOFTMAX, lambda n, g: [n.outputs[0] * g], of(lambda a: weighted(O.softmax(a)), X)),
    "log of softmax as softmax": (
        SOFTMAX,
        lambda n, g: [g - O.exp(n.outputs[0])],
        of(lambda a: weighted(O.log_softmax(a)), X),
    ),
    "cross-entropy without its target": (
        CROSS_ENTROPY,
        lambda n, g: [O.softmax(n.inputs[0]) * O.reshape(g, (-1, 1)), None],
        net_of(hf.Tanh(), loss=hf.SoftmaxCrossEntropy()),
    ),
    "cross-entropy of evenly spread targets": (
        CROSS_ENTROPY,
        lambda n, g: [(O.softmax(n.inputs[0]) - 0.25) * O.reshape(g, (-1, 1)), None],
        net_of(hf.Tanh(), loss=hf.SoftmaxCrossEntropy()),
    ),
    "statistics of a batch norm held fixed": (
        NORMALIZE,
        lambda n, g, *_: [g * n.inputs[1], *[None] * (len(n.inputs) - 1)],
        net_of(hf.BatchNorm(), hf.Tanh()),
    ),
    "gather of the row before": (
        GATHER,
        lambda n, g: [O.pad(O.reshape(O.sum(g), (1, 1)) + n.inputs[0] * 0.0, ((0, 0), (0, 0))), None],
        of(lambda a: weighted(O.gather(a, IDS_OF_ROWS)), W),
    ),
    "transpose forgotten": (TRANSPOSE, lambda n, g: [g], of(lambda a: weighted(O.transpose(a)), W)),
    "parts of a concat exchanged": (
        CONCAT,
        lambda n, g: [g[12:], g[:12]],
        of(lambda a, b: weighted(O.concat([a, b], 0)), X, X[::-1].copy(), argnums=(0, 1)),
    ),
    "where exchanged": (
        WHERE,
        lambda n, g: [None, O.where(n.inputs[0], 0.0, g), O.where(n.inputs[0], g, 0.0)],
        of(lambda a, b: weighted(O.where(a > b, a * 2.0, b)), X, X[::-1].copy(), argnums=(0, 1)),
    ),
    "maximum of both": (
        MAXIMUM,
        lambda n, g: [g, g],
        of(lambda a, b: weighted(O.maximum(a, b)), X, X[::-1].copy(), argnums=(0, 1)),
    ),
    "sqrt without its half": (SQRT, lambda n, g: [g / n.outputs[0]], of(lambda a: weighted(O.sqrt(a)), np.abs(X) + 1)),
    "log of the output": (LOG, lambda n, g: [g / n.outputs[0]], of(lambda a: weighted(O.log(a)), np.abs(X) + 1)),
    "exp forgotten": (EXP, lambda n, g: [g], of(lambda a: weighted(O.exp(a)), X)),
    "square's factor": (SQUARE, lambda n, g: [g * n.inputs[0]], net_of(hf.Tanh())),
}


@pytest.mark.parametrize("name", PLANTED)
def test_finds_a_wrong_rule(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    op, rule, check = PLANTED[name]
    assert check().verdict == "right"
    asked: list[int] = []

    def wrong(node: Any, *gs: Any) -> Any:
        asked.append(1)
        return rule(node, *gs)

    monkeypatch.setattr(op, "grad", wrong)
    found = check()
    assert asked
    assert not found.ok, found


# ---- planted errors: gradients of one's own ----
def _softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, z)


def logistic(w: np.ndarray) -> Any:
    z = X @ w
    return np.mean(_softplus(z) - z * (LABELS > 1))


def d_logistic(w: np.ndarray) -> np.ndarray:
    return X.T @ (1 / (1 + np.exp(-X @ w)) - (LABELS > 1)) / len(X)


def standardised(x: np.ndarray, eps: float = 1e-2) -> np.ndarray:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + eps)


PROJECTION = np.cos(np.arange(60.0)).reshape(12, 5)


def d_standardised(x: np.ndarray, mean: float = 1.0, var: float = 1.0, inside: float = 1e-2) -> np.ndarray:
    y, g = (x - x.mean(0)) / np.sqrt(x.var(0) + inside), PROJECTION
    return (g - mean * g.mean(0) - var * y * (g * y).mean(0)) / np.sqrt(x.var(0) + inside)


def normed(x: np.ndarray) -> Any:
    return np.sum(standardised(x) * PROJECTION)


OWN: dict[str, tuple[Callable[..., Any], np.ndarray, Callable[..., Any], Callable[..., Any]]] = {
    "mean over the batch forgotten": (logistic, B, d_logistic, lambda w: d_logistic(w) * len(X)),
    "target forgotten": (logistic, B, d_logistic, lambda w: X.T @ (1 / (1 + np.exp(-X @ w))) / len(X)),
    "mean over one row too few": (logistic, B, d_logistic, lambda w: d_logistic(w) * len(X) / (len(X) - 1)),
    "last row forgotten": (
        logistic, B, d_logistic, lambda w: X[:-1].T @ (1 / (1 + np.exp(-X[:-1] @ w)) - (LABELS[:-1] > 1)) / len(X)
    ),
    "sign": (logistic, B, d_logistic, lambda w: -d_logistic(w)),
    "mean of a norm held fixed": (normed, X, d_standardised, lambda x: d_standardised(x, mean=0.0)),
    "variance of a norm held fixed": (normed, X, d_standardised, lambda x: d_standardised(x, var=0.0)),
    "eps left out": (normed, X, d_standardised, lambda x: d_standardised(x, inside=0.0)),
    "axis of a sum": (
        lambda w: np.sum(np.sum(w, 1) ** 2), W,
        lambda w: 2 * np.sum(w, 1, keepdims=True) + 0 * w, lambda w: 2 * np.sum(w, 0) + 0 * w,
    ),
    "one element of 10,000": (
        lambda w: np.sum(np.sin(w)), np.linspace(0, 1, 10_000), np.cos,
        lambda w: np.where(np.arange(10_000) == 4321, -1, 1) * np.cos(w),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_finds_a_wrong_gradient_of_ones_own(name: str) -> None:
    fn, at, right, wrong = OWN[name]
    assert hf.gradient_check(fn, at, gradient=right).verdict == "right"
    check = hf.gradient_check(fn, at, gradient=wrong)
    assert not check.ok, check


# ---- kinks, small gradients ----
def test_a_kink_within_the_step_is_no_error() -> None:
    """Units of a ReLU at every distance from their kink, from 1e-12 to far outside of the step."""
    near = np.concatenate([s * np.logspace(-12, -3, 40) for s in (1, -1)])
    check = hf.gradient_check(lambda x: O.sum(O.relu(x) * 3.0), near, samples="all")
    assert check.verdict == "right", check
    assert not hf.gradient_check(lambda x: np.sum(np.maximum(x, 0) * 3), near, gradient=lambda x: 2.0 * (x > 0)).ok


def test_at_a_kink_any_slope_between_is_right() -> None:
    x = np.array([0.0, 0.0, 1.0, -2.0])
    for slope in (0.0, 0.3, 1.0):
        check = hf.gradient_check(
            lambda x: np.sum(np.maximum(x, 0)), x, gradient=lambda x, s=slope: np.where(x == 0, s, x > 0)
        )
        assert check.verdict == "right"
        assert check.rows[0].kinks == 2
    assert "2 of the numbers lie at a kink" in repr(check)


def test_rows_of_zeros_before_a_relu() -> None:
    """Every unit of the first layer is exactly at its kink in some rows."""
    x = X.copy()
    x[::3] = 0
    model = hf.Sequential(hf.Linear(20, init=None), hf.ReLU(), hf.Linear(4)).build((5,))
    model.parameters()["0.bias"][...] = 0
    check = hf.gradient_check(model, x, TARGET, loss=hf.MSE())
    assert check.ok, check
    assert check.rows[1].kinks > 0


def test_a_bias_before_a_batch_norm_is_too_small_to_tell() -> None:
    check = hf.gradient_check(
        hf.Sequential(hf.Linear(6), hf.BatchNorm(), hf.Tanh(), hf.Linear(4)), X, TARGET, loss=hf.MSE()
    )
    assert {row.name: row.verdict for row in check.rows}["0.bias"] == "too small to tell"
    assert check.verdict == "right"


def test_a_converged_net_is_too_small_to_tell() -> None:
    model = hf.Sequential(hf.Linear(1)).build((5,))
    model.parameters()["0.weight"][...] = 1
    model.parameters()["0.bias"][...] = 0
    check = hf.gradient_check(model, X, X.sum(1, keepdims=True), loss=hf.MSE())
    assert check.ok
    assert check.verdict in ("too small to tell", "right")


def test_a_forgotten_gradient_is_not_too_small() -> None:
    check = hf.gradient_check(
        lambda a, b: np.sum(a * a) + np.sum(b * b), X, W, argnums=(0, 1), gradient=lambda a, b: (2 * a, 0 * b)
    )
    assert [row.verdict for row in check.rows] == ["right", "wrong"]
    assert "the gradient says 0" in repr(check)


# ---- every parameter, in the fast way, and the slow one ----
def test_every_element_by_the_layers_product() -> None:
    """Differences by a change of the product are those by a change of the weight."""
    model = hf.Sequential(hf.Linear(7), hf.LayerNorm(), hf.GELU(), hf.Linear(4))
    check = hf.gradient_check(model, X, LABELS, loss=hf.SoftmaxCrossEntropy(), samples="all")
    assert check.verdict == "right"
    assert [row.compared for row in check.rows] == [35, 7, 7, 7, 28, 4]


def test_one_wrong_weight_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil = np.ones((5, 7))
    spoil[3, 2] = -1
    right = MATMUL.grad
    monkeypatch.setattr(
        MATMUL, "grad", lambda n, g: [right(n, g)[0], right(n, g)[1] * (spoil if n.inputs[1].shape == (5, 7) else 1.0)]
    )
    model = hf.Sequential(hf.Linear(7), hf.Tanh(), hf.Linear(4))
    check = hf.gradient_check(model, X, TARGET, loss=hf.MSE(), samples="all")
    assert check.rows[0].verdict == "wrong"
    assert check.rows[0].worst is not None
    assert check.rows[0].worst[0] == (3, 2)
    assert [row.verdict for row in check.rows[1:]] == ["right"] * 3


# ---- what it takes ----
def test_the_model_is_not_changed() -> None:
    model = hf.Sequential(hf.Linear(6), hf.BatchNorm(), hf.Dropout(0.5), hf.Linear(4)).build((5,))
    before = {k: v.copy() for k, v in {**model.parameters(), **model.buffers()}.items()}
    assert hf.gradient_check(model, X, TARGET, loss=hf.MSE()).ok
    for k, v in {**model.parameters(), **model.buffers()}.items():
        assert v.dtype == np.float32
        np.testing.assert_array_equal(v, before[k])
    fresh = hf.Sequential(hf.Linear(4))
    assert hf.gradient_check(fresh, X, TARGET, loss=hf.MSE()).ok
    assert fresh.inputs is None


def test_several_outputs_frozen_parameters_and_integer_inputs() -> None:
    class Two(hf.Module):
        def __init__(self) -> None:
            self.table, self.a, self.b = hf.Embedding(5, 3), hf.Linear(4), hf.Linear(2)

        def forward(self, ids: Any, x: Any) -> Any:
            h = O.tanh(O.concat([O.reshape(self.table(ids), (ids.shape[0], -1)), x], 1))
            return {"class": self.a(h), "size": self.b(h)}

    model = Two()
    x = (RNG.integers(0, 5, (12, 2)), X)
    y = {"class": LABELS, "size": RNG.normal(size=(12, 2))}
    loss = {"class": hf.SoftmaxCrossEntropy(), "size": hf.Huber()}
    check = hf.gradient_check(model, x, y, loss=loss)
    assert check.verdict == "right"
    assert len(check.rows) == 5
    model.build((2,), (5,)).freeze("a.*")
    assert [row.name for row in hf.gradient_check(model, x, y, loss=loss).rows] == [
        "table.weight",
        "b.weight",
        "b.bias",
    ]


def test_nested_arguments_have_names() -> None:
    check = hf.gradient_check(lambda p, x: O.sum(O.tanh(x @ p["w"] + p["b"])), {"w": W, "b": B}, X)
    assert [row.name for row in check.rows] == ["argument 0, array 0", "argument 0, array 1"]
    assert check.verdict == "right"


def test_over_epsilon_is_a_valley_or_a_plateau() -> None:
    curves = hf.gradient_check(lambda w: O.sum(O.exp(w)), W).over_epsilon([1e-2, 1e-5, 1e-10])
    d = curves["argument 0"]
    assert d[1] < 1e-9 < d[0]
    assert d[1] < d[2]
    wrong = hf.gradient_check(lambda w: np.sum(np.exp(w)), W, gradient=lambda w: 2 * np.exp(w))
    np.testing.assert_allclose(wrong.over_epsilon([1e-2, 1e-5, 1e-8])["argument 0"], 1 / 3, rtol=1e-4)
    axes = wrong.plot()
    assert axes.get_xscale() == "log"
    assert len(axes.get_lines()) == 5


def test_bad_input() -> None:
    model = hf.Sequential(hf.Linear(4))
    with pytest.raises(ArgumentError, match="loss is missing"):
        hf.gradient_check(model, X, TARGET)
    with pytest.raises(ArgumentError, match="are for a function"):
        hf.gradient_check(model, X, TARGET, loss="mse", argnums=1)
    with pytest.raises(ArgumentError, match="a function gives its own number"):
        hf.gradient_check(np.sum, X, loss="mse")
    with pytest.raises(ArgumentError, match="samples"):
        hf.gradient_check(model, X, TARGET, loss="mse", samples="some")
    with pytest.raises(ArgumentError, match="epsilon"):
        hf.gradient_check(model, X, TARGET, loss="mse", epsilon=0.0)
    with pytest.raises(ArgumentError, match="takes a model or a function"):
        hf.gradient_check(X, TARGET)
    with pytest.raises(ArgumentError, match="expected x and y"):
        hf.gradient_check(model, X, TARGET, LABELS, loss="mse")
    with pytest.raises(LabelError):
        hf.gradient_check(model, X, LABELS + 9, loss="softmax_cross_entropy")
    with pytest.raises(ShapeError, match="must give a scalar"):
        hf.gradient_check(lambda x: x * 2, X, gradient=lambda x: x)
    with pytest.raises(ShapeError, match=r"shape \(5,\) for argument 0 of shape \(5, 5\)"):
        hf.gradient_check(lambda w: np.sum(w), W, gradient=lambda w: np.sum(w, 0))
    with pytest.raises(NonFiniteError):
        hf.gradient_check(lambda w: np.sum(w) * np.nan, W, gradient=lambda w: w)
    with pytest.raises(ArgumentError, match="out of range"):
        hf.gradient_check(np.sum, W, argnums=1, gradient=lambda w: w)
    with pytest.raises(ArgumentError, match="argnums must"):
        hf.gradient_check(np.sum, W, argnums=None, gradient=lambda w: w)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="what the function gives"):
        hf.gradient_check(lambda w: "a number", W, gradient=lambda w: w)
    with pytest.raises(ShapeError, match="one for each of argnums"):
        hf.gradient_check(np.sum, W, argnums=(0,), gradient=lambda w: 1.0)
    with pytest.raises(ArgumentError, match="integers"):
        hf.gradient_check(np.sum, LABELS, gradient=lambda w: w)
    with pytest.raises(ArgumentError, match="not frozen"):
        hf.gradient_check(model.build((5,)).freeze("*"), X, TARGET, loss="mse")
