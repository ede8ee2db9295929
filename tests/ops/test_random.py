"""hf.ops.random: the numbers of csrc/runtime/random.h, wherever and however they are drawn."""

import numpy as np
import pytest
from numpy_backend import bernoulli, normal, random_words, uniform

import hawfinch as hf
from hawfinch.errors import ArgumentError, DTypeError, ShapeError

R, O = hf.ops.random, hf.ops
SHAPE = (13, 70)
N = 13 * 70


def reference(kind, seed, step=0, stream=1, p=0.3):
    words = random_words(seed, step, stream, -(-N // 32) * 32)
    if kind == "uniform":
        return uniform(words[:N], random_words(seed, step, stream + (1 << 23), N)).reshape(SHAPE)
    return (normal(words, N) if kind == "normal" else bernoulli(words[:N], p)).reshape(SHAPE)


DRAWS = {
    "uniform": lambda **more: R.uniform(SHAPE, **more),
    "normal": lambda **more: R.normal(SHAPE, **more),
    "bernoulli": lambda **more: R.bernoulli(SHAPE, 0.3, **more),
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("seed", [0, 1, 2**40 + 7, 2**64 - 1])
def test_the_documented_numbers(kind, seed):
    draw = DRAWS[kind]
    compiled = hf.compile(lambda x: draw() + x * 0.0)
    got = compiled(np.zeros(SHAPE), seed=seed)
    np.testing.assert_allclose(got, reference(kind, seed), rtol=1e-12, atol=1e-14)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(compiled(np.zeros(SHAPE), seed=seed, threads=threads), got)
    now = draw(seed=seed)
    assert now.dtype == np.float32
    np.testing.assert_allclose(now, got, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(now, draw(seed=seed))


def test_draws_of_a_trace_differ_and_calls_repeat():
    f = hf.compile(lambda x: (R.uniform(x.shape), R.uniform(x.shape), R.normal(x.shape)))
    x = np.zeros(SHAPE)
    a, b, _ = f(x)
    assert (a != b).mean() > 0.99
    np.testing.assert_array_equal(f(x)[0], a)
    assert (f(x, seed=1)[0] != a).mean() > 0.99
    np.testing.assert_array_equal(f(x)[0], a)
    np.testing.assert_allclose(b, reference("uniform", 0, stream=2), rtol=1e-12)


def test_moments_of_the_distributions():
    n = 200_000
    u, z, flips = R.uniform(n, -2.0, 4.0, seed=3), R.normal(n, 1.5, 2.0, seed=4), R.bernoulli(n, 0.2, seed=5)
    for x, mean, variance in ((u, 1.0, 3.0), (z, 1.5, 4.0), (flips, 0.2, 0.16)):
        x = x.astype(np.float64)
        assert abs(x.mean() - mean) < 5 * np.sqrt(variance / n)
        assert abs(x.var() - variance) < 5 * np.sqrt(3 * variance**2 / n)
    assert u.min() >= -2 and u.max() <= 4 and set(flips.tolist()) == {0.0, 1.0}
    below = np.sort(z)[[int(n * q) for q in (0.02275, 0.15866, 0.5, 0.84134, 0.97725)]]
    np.testing.assert_allclose(below, 1.5 + 2.0 * np.arange(-2, 3), atol=0.05)
    assert (R.bernoulli(100, 1.0, seed=0) == 1).all() and (R.bernoulli(100, 0.0, seed=0) == 0).all()


def test_gradients_by_the_parameters_of_a_distribution():
    """The reparametrisation: d(mean + std z) = 1, z."""
    f = hf.grad(lambda mean, std: O.sum(R.normal(SHAPE, mean, std)), (0, 1))
    z = reference("normal", 0)
    dmean, dstd = f(np.float64(0.5), np.float64(2.0))
    np.testing.assert_allclose([dmean, dstd], [N, z.sum()], rtol=1e-10)
    low, high = hf.grad(lambda a, b: O.sum(R.uniform(SHAPE, a, b)), (0, 1))(np.zeros(70), np.ones(70))
    u = reference("uniform", 0)
    np.testing.assert_allclose(high, u.sum(0), rtol=1e-12)
    np.testing.assert_allclose(low, (1 - u).sum(0), rtol=1e-12)


def test_a_trainer_draws_anew_at_each_step_and_the_same_for_a_seed():
    class Noise(hf.Module):
        def forward(self, x):
            return x + self.param("w", (3,), "zeros") * R.normal(x.shape)

    x, y = np.ones((8, 3), np.float32), np.zeros((8, 3), np.float32)

    def weights(seed, epochs):
        model = Noise()
        hf.Trainer(model, "mse", hf.SGD(0.1), seed=seed).fit(x, y, epochs=epochs, batch_size=8)
        return model.parameters()["w"].copy()

    once, twice = weights(0, 1), weights(0, 2)
    np.testing.assert_array_equal(weights(0, 2), twice)
    assert not np.allclose(weights(1, 1), once)
    z = [reference_rows(0, step) for step in range(2)]
    w = np.zeros(3)
    for step in range(2):
        w = w - 0.1 * 2 * ((1 + w * z[step]) * z[step]).mean(0) / 3
        if step == 0:
            np.testing.assert_allclose(once, w, rtol=1e-4)
    np.testing.assert_allclose(twice, w, rtol=1e-4)


def reference_rows(seed, step):
    return normal(random_words(seed, step, 1, 32), 24).reshape(8, 3)


def test_what_is_refused():
    for f, error, message in (
        (lambda: R.uniform(3), ArgumentError, "need a seed"),
        (lambda: R.normal(3, seed=-1), ArgumentError, "seed"),
        (lambda: R.normal(3, seed=2**64), ArgumentError, "seed"),
        (lambda: R.normal(3, seed=1.0), ArgumentError, "seed"),
        (lambda: R.normal(3, seed=True), ArgumentError, "seed"),
        (lambda: R.uniform((2, -1), seed=0), ShapeError, "shape"),
        (lambda: R.uniform("ab", seed=0), ShapeError, "shape"),
        (lambda: R.uniform(2.0, seed=0), ShapeError, "shape"),
        (lambda: R.uniform(2, "a", seed=0), DTypeError, "dtype"),
        (lambda: R.normal(2, std=np.ones(3), seed=0), ShapeError, "broadcast"),
        (lambda: R.bernoulli(2, 1.5, seed=0), ArgumentError, "p must be"),
        (lambda: R.bernoulli(2, float("nan"), seed=0), ArgumentError, "p must be"),
        (lambda: R.bernoulli(2, "a", seed=0), DTypeError, "p must be"),
        (lambda: hf.compile(lambda x: x + R.normal(x.shape, seed=1))(np.ones(3)), ArgumentError, "leave seed"),
        (lambda: hf.compile(lambda x: x)(np.ones(3), seed=-1), ArgumentError, "seed"),
        (lambda: hf.compile(lambda x: x)(np.ones(3), seed="a"), ArgumentError, "seed"),
    ):
        with pytest.raises(error, match=message):
            f()
