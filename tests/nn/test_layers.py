"""Every public layer, driven by layer_cases: forward against a reference, gradients, files, empty inputs."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import LAYER_CASES, LayerCase, in_a_net

import hawfinch as hf
from hawfinch.errors import ArgumentError, ShapeError

ROWS = 7
EPS = {"float32": 2.0**-24, "float64": 2.0**-53}


def test_every_public_layer_has_a_row() -> None:
    layers = {
        name
        for name, value in vars(hf).items()
        if isinstance(value, type) and issubclass(value, hf.Module) and value is not hf.Module
    }
    assert layers == LAYER_CASES.keys()
    assert {name for name, case in LAYER_CASES.items() if type(case.make()).__name__ != name} == set()


def data(case: LayerCase) -> np.ndarray:
    """Values that float32 holds exactly, 40 of them large, none nearer to 0 than the kink."""
    x = np.random.default_rng(11).normal(size=(ROWS, *case.shape)) * 2
    x = np.where(np.abs(x) < case.kink, case.kink, x)
    if case.ids:
        return np.int64(np.abs(x) * 10) % case.ids
    return np.float64(np.float32(x))


def built(case: LayerCase, dtype: str) -> hf.Module:
    """The layer with arrays that are no round numbers."""
    model = case.make().astype(dtype).build(case.shape)
    rng = np.random.default_rng(12)
    for array in model.parameters().values():
        array[...] = rng.normal(size=array.shape)
    for array in model.buffers().values():
        array[...] = np.sort(rng.uniform(0.5, 2, size=array.shape))  # quantiles ascend
    return model


def arrays(model: hf.Module) -> dict[str, np.ndarray]:
    return {k: np.float64(v) for k, v in (*model.parameters().items(), *model.buffers().items())}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYER_CASES)
def test_forward(name: str, dtype: str) -> None:
    case = LAYER_CASES[name]
    model, x = built(case, dtype), data(case)
    expected = case.reference(x, arrays(model), False)
    rtol = case.rtol if dtype == "float64" else 1e-5
    np.testing.assert_allclose(model.predict(x), expected, rtol=rtol, atol=rtol)
    assert model.predict(x[:0]).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("name", [name for name, case in LAYER_CASES.items() if not case.draws])
def test_gradients(name: str) -> None:
    """Of a training step, by every parameter and by the input, against central differences of the reference."""
    case = LAYER_CASES[name]
    x, target = data(case), np.random.default_rng(13).normal(size=(ROWS,))

    class Shifted(hf.Module):
        """The layer behind a shift, whose gradient is that by the input; weights break every symmetry behind it."""

        def __init__(self) -> None:
            self.layer = case.make()

        def forward(self, x: Any) -> Any:
            shift = self.param("shift", (int(np.prod(case.shape)),), "zeros")
            y = self.layer(x if case.ids else x + hf.ops.reshape(shift, case.shape))
            y = y if not case.ids else y + hf.ops.sum(shift)
            return hf.ops.reshape(y, (y.shape[0], -1)) @ np.cos(np.arange(np.prod(y.shape[1:])))

    model = Shifted().astype("float64").build(case.shape)
    rng = np.random.default_rng(12)
    for key, array in model.parameters().items():
        array[...] = rng.normal(size=array.shape) if key != "shift" else 0
    before = {k: v.copy() for k, v in model.parameters().items()}
    inner = {k.removeprefix("layer."): v for k, v in arrays(model).items()}

    def loss(values: dict[str, np.ndarray]) -> float:
        own = inner | {k.removeprefix("layer."): v for k, v in values.items()}
        shift = values["shift"].reshape(case.shape)
        y = (case.reference(x, own, True) + shift.sum() if case.ids else case.reference(x + shift, own, True)).reshape(
            ROWS, -1
        )
        return float(np.mean((y @ np.cos(np.arange(y.shape[1])) - target) ** 2))

    got = hf.Trainer(model, "mse", hf.SGD(lr=1.0)).step(x, target)
    assert got == pytest.approx(loss(before), rel=1e-10)
    h = 1e-4
    for key, array in before.items():
        gradient = (array - model.parameters()[key]).reshape(-1)
        scale = max(np.abs(gradient).max(), 1.0)
        for i in range(array.size):
            d = np.zeros(array.size)
            d[i] = h
            at = [loss(before | {key: array + k * d.reshape(array.shape)}) for k in (-2, -1, 1, 2)]
            expected = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h)
            assert gradient[i] == pytest.approx(expected, abs=1e-7 * scale), (key, i)


@pytest.mark.parametrize("name", LAYER_CASES)
def test_through_a_file(name: str, tmp_path: Path) -> None:
    """The same layer with the same options, arrays and predictions."""
    case = LAYER_CASES[name]
    model = hf.Sequential(built(case, "float32")).build(case.shape)
    model.save(tmp_path / "m")
    other = hf.load(tmp_path / "m")
    assert type(other[0]) is type(model[0])
    assert {k: v.tobytes() for k, v in arrays(other).items()} == {k: v.tobytes() for k, v in arrays(model).items()}
    assert other.predict(data(case)).tobytes() == model.predict(data(case)).tobytes()
    options = [{k: v for k, v in vars(m[0]).items() if isinstance(v, float | int)} for m in (model, other)]
    assert options[0] == options[1]


@pytest.mark.parametrize("name", LAYER_CASES)
def test_in_a_trainer(name: str) -> None:
    """Between two others, a few steps: the loss falls."""
    case = LAYER_CASES[name]
    x = np.random.default_rng(1).normal(size=(64, 6))
    y = np.stack([x[:, 0], x[:, 1]], 1)
    model, inputs = in_a_net(case, x, 2)
    y = np.exp(y / 3) if case.last else y
    losses = hf.Trainer(model, "mse", hf.Adam(lr=0.02)).fit(inputs, y, epochs=40)["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_flatten_of_nothing() -> None:
    assert hf.Flatten().predict(np.zeros((2, 0, 3))).shape == (2, 0)


def test_softmax_over_two_classes_is_the_sigmoid() -> None:
    z = np.random.default_rng(0).normal(size=(50, 2)) * 10
    p = hf.Softmax().astype("float64").predict(z)
    np.testing.assert_allclose(p[:, 1], hf.Sigmoid().astype("float64").predict(z[:, 1:] - z[:, :1])[:, 0], rtol=1e-14)


def test_maxout_with_a_zero_piece_is_relu() -> None:
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    layer, linear = hf.Maxout(4).build((6,)), hf.Linear(4).build((6,))
    for name, array in layer.parameters().items():
        array[..., 0, :] = 0
        array[..., 1, :] = linear.parameters()[name]
    y = hf.Sequential(linear, "relu").predict(x)
    np.testing.assert_allclose(layer.predict(x), y, rtol=1e-6, atol=1e-7)


def test_gelu_is_exact_by_default_and_softplus_gives_up_the_logarithm() -> None:
    x = np.linspace(-8, 8, 101)[:, None]
    exact = 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    np.testing.assert_allclose(hf.GELU().astype("float64").predict(x), exact, rtol=1e-12, atol=1e-15)
    assert np.abs(hf.GELU("tanh").astype("float64").predict(x) - exact).max() == pytest.approx(4.7e-4, rel=0.05)
    y = hf.Softplus(beta=2.0, threshold=4.0).astype("float64").predict(x)
    assert (y[x > 2] == x[x > 2]).all() and (y[x <= 2] > x[x <= 2]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hf.Softmax(axis=0).predict(np.ones((2, 3))), "axis 0 is that of the rows"),
        (lambda: hf.LogSoftmax(axis=2).predict(np.ones((2, 3))), "axis 2 is none of the axes 1 to 1"),
        (lambda: hf.Softmax(axis=-2).predict(np.ones((2, 3))), "axis -2"),
        (lambda: hf.PReLU(2).predict(np.ones((2, 3))), "PReLU has 2 weights, the input has 3 features"),
        (lambda: hf.Parametric(hf.Linear(2)).predict(np.ones((2, 3))), r"Parametric: Linear makes .* of"),
    ],
)
def test_shapes_that_do_not_fit(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hf.GELU("tan"), "unknown approximation of GELU 'tan'. Did you mean 'tanh'"),
        (lambda: hf.Softplus(beta=0), "beta must be a number above 0"),
        (lambda: hf.Softmax(axis="1"), "axis must be a whole number, not '1'"),
        (lambda: hf.PReLU(0), "num_parameters must be a whole number from 1"),
        (lambda: hf.Parametric("rel"), "unknown activation 'rel'. Did you mean 'relu'"),
        (lambda: hf.Maxout(3, 1), "pieces must be a whole number from 2"),
        (
            lambda: hf.Linear(20, 64),
            r"Linear: .*takes 2 positional.*|Linear: too many positional.*It takes Linear\(out",
        ),
        (lambda: hf.Linear(), r"Linear: missing a required argument: 'out'"),
        (lambda: hf.Linear(units=3), r"no argument 'units'. Did you mean 'out'"),
        (lambda: hf.Linear(3, bais=False), r"Did you mean 'bias'"),
        (lambda: hf.Linear(3, bias=3), "bias must be True or False, not 3"),
        (lambda: hf.Dropout(rate=0.1), "Did you mean 'p'"),
        (lambda: hf.Dropout("a"), "Dropout: p must be a number from 0 to below 1, not 'a'"),
        (lambda: hf.Dropout(True), "not True"),
        (lambda: hf.BatchNorm(eps="a"), "BatchNorm: eps must be a number above 0, not 'a'"),
        (lambda: hf.BatchNorm(1e-3), r"BatchNorm: too many positional"),
        (lambda: hf.BatchNorm(momentum=None), "momentum must be a number from 0 to 1, not None"),
        (lambda: hf.LayerNorm(epsilon=1e-3), "Did you mean 'eps'"),
        (lambda: hf.RMSNorm(eps=float("inf")), "above 0, not inf"),
        (lambda: hf.LeakyReLU("0.1"), "negative_slope must be a number"),
        (lambda: hf.ELU(alpha=10**400), "alpha must be a number"),
        (lambda: hf.ReLU(3), "ReLU"),
    ],
)
def test_wrong_calls_of_constructors(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
