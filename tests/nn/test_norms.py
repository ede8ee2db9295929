"""What the rows of layer_cases don't show of norms and noise: state, how they begin, what is fixed to gradients."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(12, 4)) * 3 + 1


# ---- batch renorm ----
def renorm(**options: Any) -> tuple[hf.Sequential, hf.Trainer]:
    model = hf.Sequential(hf.BatchRenorm(momentum=0.2, **options)).astype("float64").build((4,))
    rng = np.random.default_rng(0)
    for name, array in {**model.parameters(), **model.buffers()}.items():
        array[...] = 0 if name.endswith("steps") else rng.uniform(0.5, 2, array.shape)
    return model, hf.Trainer(model, lambda y, t: hf.ops.sum(y * t, 1), hf.SGD(lr=1.0))


@pytest.mark.parametrize("limits", [dict(rmax=1.5, dmax=0.3), dict(rmax=100.0, dmax=100.0), dict(rmax=1.0, dmax=0.0)])
def test_batch_renorm_is_a_batch_norm_whose_r_and_d_are_fixed(limits: dict[str, float]) -> None:
    """Output, gradients and running averages, by NumPy and by central differences with r and d held."""
    model, trainer = renorm(**limits)
    before = {k: v.copy() for k, v in {**model.parameters(), **model.buffers()}.items()}
    weight, bias, mean, var = (before[f"0.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
    t = RNG.normal(size=X.shape)
    std, running = np.sqrt(X.var(0) + 1e-5), np.sqrt(var + 1e-5)
    r = np.clip(std / running, 1 / limits["rmax"], limits["rmax"])
    d = np.clip((X.mean(0) - mean) / running, -limits["dmax"], limits["dmax"])
    xhat = (X - X.mean(0)) / std * r + d
    assert trainer.step(X, t) == pytest.approx(np.mean(np.sum((xhat * weight + bias) * t, 1)), rel=1e-12)
    after = {**model.parameters(), **model.buffers()}
    np.testing.assert_allclose(before["0.weight"] - after["0.weight"], (xhat * t).mean(0), rtol=1e-11)
    np.testing.assert_allclose(before["0.bias"] - after["0.bias"], t.mean(0), rtol=1e-11)
    np.testing.assert_allclose(after["0.running_mean"], 0.8 * mean + 0.2 * X.mean(0), rtol=1e-12)
    np.testing.assert_allclose(after["0.running_var"], 0.8 * var + 0.2 * X.var(0, ddof=1), rtol=1e-12)
    if limits["rmax"] == 100:
        np.testing.assert_allclose(xhat, (X - mean) / running, rtol=1e-10)  # in training as in inference

    def loss(w: np.ndarray) -> float:
        x = X @ w
        y = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * r + d) * weight + bias
        return float(np.mean(np.sum(y * t, 1)))

    behind = hf.Sequential(hf.Linear(4, bias=False), hf.BatchRenorm(momentum=0.2, **limits)).astype("float64")
    for name, array in {**behind.build((4,)).parameters(), **behind.buffers()}.items():
        array[...] = np.eye(4) if name == "0.weight" else before[f"0.{name[2:]}"]
    hf.Trainer(behind, lambda y, t: hf.ops.sum(y * t, 1), hf.SGD(lr=1.0)).step(X, t)
    gradient, h = np.eye(4) - behind.parameters()["0.weight"], 1e-5
    for i in range(4):
        for j in range(4):
            e = np.zeros((4, 4))
            e[i, j] = h
            slope = (loss(np.eye(4) + e) - loss(np.eye(4) - e)) / (2 * h)
            assert gradient[i, j] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_batch_renorm_runs_one_pass_for_its_statistics() -> None:
    ops = renorm()[1].plan(X, X).describe()
    assert ops.count(" moments ") == 1 and ops.count(" norm_grad ") == 1


@pytest.mark.parametrize("layer", [hf.LayerNorm(), hf.RMSNorm()])
def test_a_norm_of_rows_reads_the_activation_as_rarely_as_it_can(layer: hf.Module) -> None:
    """Statistics, normalise; two sums for the weights, the gradient: no product is stored to be summed."""
    model = hf.Sequential(hf.Linear(8), layer, hf.Linear(2))
    steps = [s for s in hf.Trainer(model, "mse").plan(X, X[:, :2]).steps if s.scope == "1"]
    whole = [s.op for s in steps if any(t.ndim == 2 and t.shape[1] == 8 for t in (*s.reads, *s.writes))]
    assert whole == ["moments", "ewise", "norm_grad", "norm_row_grad"]


def test_the_limits_of_a_batch_renorm_grow_with_its_steps() -> None:
    """As a batch norm up to the first step of the span; half of the way in its middle."""
    model, trainer = renorm(rmax=3.0, dmax=5.0, rmax_steps=(2, 6), dmax_steps=(0, 8))
    weight, bias = model.parameters()["0.weight"], model.parameters()["0.bias"]
    trainer.set(lr=0.0)
    t = RNG.normal(size=X.shape)
    for step in range(9):
        mean, var = (model.buffers()[f"0.running_{k}"].copy() for k in ("mean", "var"))
        std, running = np.sqrt(X.var(0) + 1e-5), np.sqrt(var + 1e-5)
        rmax, dmax = 1 + 2 * min(max(step - 2, 0) / 4, 1), 5 * min(step / 8, 1)
        r, d = np.clip(std / running, 1 / rmax, rmax), np.clip((X.mean(0) - mean) / running, -dmax, dmax)
        y = ((X - X.mean(0)) / std * r + d) * weight + bias
        assert trainer.step(X, t) == pytest.approx(np.mean(np.sum(y * t, 1)), rel=1e-10), step
    assert model.buffers()["0.steps"] == 9


def test_a_frozen_batch_renorm_uses_its_averages() -> None:
    model, trainer = renorm()
    model.freeze("*running*")
    before = model.buffers()["0.running_mean"].copy()
    assert trainer.step(X, X) == pytest.approx(np.mean(np.sum(renorm()[0].predict(X) * X, 1)), rel=1e-12)
    assert np.array_equal(model.buffers()["0.running_mean"], before)


# ---- weight norm, spectral norm ----
def test_weight_norm_begins_as_the_layer_would() -> None:
    for init in (None, "he_normal"):
        inner = hf.WeightNorm(hf.Linear(3, init=init)).build((4,), seed=3)
        w = inner.parameters()
        np.testing.assert_allclose(w["weight_g"], np.linalg.norm(w["layer.weight"], axis=0), rtol=1e-6)
        np.testing.assert_allclose(inner.predict(X), X @ w["layer.weight"] + w["layer.bias"], rtol=1e-4, atol=1e-5)


def test_weight_norm_of_a_layer_that_is_trained_already() -> None:
    linear = hf.Linear(3).build((4,))
    y = linear.predict(X)
    np.testing.assert_allclose(hf.Sequential(hf.WeightNorm(linear)).predict(X), y, rtol=1e-5, atol=1e-5)


def test_weight_norm_of_a_layer_with_a_path_of_its_own() -> None:
    class Twice(hf.Module):
        def __init__(self) -> None:
            self.plain = hf.Linear(4)
            self.normed = hf.WeightNorm(self.plain)

        def forward(self, x: Any) -> Any:
            return self.normed(self.plain(x))

    arrays = Twice().build((4,)).parameters()
    assert list(arrays) == ["plain.weight", "plain.bias", "normed.weight_g"]
    np.testing.assert_allclose(arrays["normed.weight_g"], np.linalg.norm(arrays["plain.weight"], axis=0), rtol=1e-6)


def test_weight_norm_does_not_see_the_length_of_v() -> None:
    model = hf.WeightNorm(hf.Linear(3)).astype("float64").build((4,))
    y = model.predict(X)
    model.parameters()["layer.weight"][...] *= [1e-3, 5.0, 1e4]
    np.testing.assert_allclose(model.predict(X), y, rtol=1e-10)


@pytest.mark.parametrize("wrapper", [hf.WeightNorm, hf.SpectralNorm])
def test_a_norm_of_weights_in_many_nets_at_once(wrapper: Any) -> None:
    """Each of its own first values, by its own seed."""

    def net() -> hf.Sequential:
        return hf.Sequential(wrapper(hf.Linear(3)), "tanh", hf.Linear(4))

    nets = [net() for _ in range(3)]
    hf.fit_many([(m, {"loss": "mse", "seed": i}) for i, m in enumerate(nets)], X, X, epochs=2)
    for i, model in enumerate(nets):
        alone = net()
        hf.Trainer(alone, "mse", seed=i).fit(X, X, epochs=2)
        for name, array in {**alone.parameters(), **alone.buffers()}.items():
            assert {**model.parameters(), **model.buffers()}[name].tobytes() == array.tobytes(), name


def test_spectral_norm_limits_a_weight_of_more_axes_and_keeps_its_state_where_frozen() -> None:
    model = hf.SpectralNorm(hf.Maxout(5, 3)).astype("float64").build((4,))
    trainer = hf.Trainer(model, "mse", hf.Adam(0.01))
    y = RNG.normal(size=(12, 5))
    for _ in range(60):
        trainer.step(X, y)
    w, buffers = model.parameters()["layer.weight"].reshape(-1, 5), model.buffers()
    sigma = buffers["weight_v"] @ w @ buffers["weight_u"]
    assert sigma == pytest.approx(np.linalg.norm(w, 2), rel=1e-3)
    u = buffers["weight_u"].copy()
    model.freeze("weight_*")
    trainer.step(X, y)
    assert np.array_equal(model.buffers()["weight_u"], u)


def test_second_derivatives_through_norms_of_weights() -> None:
    """hvp by the input against a difference of gradients."""
    for layer in (hf.WeightNorm(hf.Linear(3)), hf.SpectralNorm(hf.Linear(3)), hf.GroupNorm(2), hf.RMSNorm()):
        model = hf.Sequential(layer, "tanh").astype("float64").build((4,))
        f = lambda x, model=model: hf.ops.sum(model(x) ** 2)  # noqa: E731
        v, h = RNG.normal(size=X.shape), 1e-5
        difference = (hf.grad(f)(X + h * v) - hf.grad(f)(X - h * v)) / (2 * h)
        np.testing.assert_allclose(hf.hvp(f, (X,), (v,)), difference, rtol=1e-5, atol=1e-8)


# ---- noise ----
@pytest.mark.parametrize(
    ("layer", "mean", "variance"),
    [
        (hf.AlphaDropout(0.3), 0.0, 1.0),
        (hf.GaussianDropout(0.2), 0.0, 1.25),
        (hf.GaussianNoise(0.5), 0.0, 1.25),
        (hf.Dropout(0.2), 0.0, 1.25),
    ],
)
def test_noise_keeps_mean_and_variance(layer: hf.Module, mean: float, variance: float) -> None:
    """Of numbers of mean 0 and variance 1, in training; another draw in the next step; nothing in inference."""
    x = np.random.default_rng(0).normal(size=(400, 500)).astype(np.float32)
    model = hf.Sequential(layer).build((500,))
    trainer = hf.Trainer(model, lambda y, t: hf.ops.mean(y**2, 1), seed=3)
    first, second = trainer.step(x, x), trainer.step(x, x)
    assert first == pytest.approx(variance, rel=0.01) and first != second
    again = hf.Trainer(model, lambda y, t: hf.ops.mean(y, 1), seed=3)
    assert again.step(x, x) == pytest.approx(mean, abs=0.01)
    assert model.predict(x).tobytes() == x.tobytes()


def test_selu_with_alpha_dropout_stays_where_it_is() -> None:
    layers = [part for _ in range(8) for part in (hf.Linear(256), "selu", hf.AlphaDropout(0.1))]
    model = hf.Sequential(*layers)
    x = np.random.default_rng(0).normal(size=(512, 256)).astype(np.float32)
    trainer = hf.Trainer(model, lambda y, t: hf.ops.mean(y**2, 1), hf.SGD(lr=0.0), init="lecun_normal")
    assert trainer.step(x, x) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: hf.GroupNorm(0), ArgumentError, "groups must be a whole number from 1"),
        (lambda: hf.GroupNorm(3).predict(X), ArgumentError, "groups must be a divisor of the 4 channels, got 3"),
        (lambda: hf.GroupNorm(2).predict(X[:, 0]), ShapeError, r"expected \(rows, ..., features\)"),
        (lambda: hf.InstanceNorm().predict(X), ShapeError, "one position has no variance"),
        (lambda: hf.InstanceNorm(affine=1), ArgumentError, "affine must be True or False, not 1"),
        (lambda: hf.BatchRenorm(rmax=0.5), ArgumentError, "rmax must be a number from 1, not 0.5"),
        (lambda: hf.BatchRenorm(rmax_steps=3), ArgumentError, r"rmax_steps must be a pair \(first, last\)"),
        (lambda: hf.BatchRenorm(dmax_steps=(5, 2)), ArgumentError, r"dmax_steps\[1\] must be a whole number from 5"),
        (lambda: hf.WeightNorm("relu"), ArgumentError, "WeightNorm is put around a layer, not 'relu'"),
        (lambda: hf.WeightNorm(hf.Linear(2), "wieght").predict(X), ArgumentError, "Did you mean 'weight'"),
        (lambda: hf.WeightNorm(hf.ReLU()).predict(X), ArgumentError, "unknown array of ReLU 'weight'"),
        (lambda: hf.WeightNorm(hf.Linear(2), 3), ArgumentError, "name must be that of an array"),
        (lambda: hf.WeightNorm(hf.Linear(2, init="zeros")).predict(X), ArgumentError, "column of the weight is 0"),
        (lambda: hf.SpectralNorm(hf.Linear(2), "bias").predict(X), ShapeError, r"'bias' of shape \(2,\) is no matrix"),
        (lambda: hf.SpectralNorm(hf.Linear(2), n_power_iterations=0), ArgumentError, "n_power_iterations must be"),
        (lambda: hf.GaussianNoise(-1), ArgumentError, "std must be a number from 0"),
        (lambda: hf.AlphaDropout(1.0), ArgumentError, "AlphaDropout: p must be a number from 0 to below 1"),
        (lambda: hf.GaussianDropout(rate=0.1), ArgumentError, "Did you mean 'p'"),
    ],
)
def test_wrong_options(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
