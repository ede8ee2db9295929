"""Gradients: what reverse mode must get right. Those of each op are in tests/ops/test_derivatives.py."""

import math

import numpy as np
import pytest
from cases import cast
from differences import close, differences
from references import erf, log_softmax

import hawfinch as hf
from hawfinch.compiler.autodiff import gradients
from hawfinch.errors import ArgumentError, DTypeError, LabelError, ShapeError, TraceError
from hawfinch.ir import Graph, current_graph, input_tensor, tracing

O = hf.ops
rng = np.random.default_rng(11)


# ---- grad, jvp and hvp ----
def test_an_inner_gradient_sees_its_own_argument_alone():
    """d/dy sum(y * x) at y = x is x, though both are one array."""
    x = np.array([1.0, 2.0, 3.0])
    inner = lambda x: hf.grad(lambda y: O.sum(y * y * x))(x)  # noqa: E731
    np.testing.assert_array_equal(hf.compile(inner)(x), 2 * x * x)
    np.testing.assert_array_equal(hf.grad(lambda x: O.sum(inner(x)))(x), 4 * x)
    np.testing.assert_array_equal(hf.grad(lambda x: hf.grad(lambda y: O.sum(y**3))(2.0) * O.sum(x))(x), [12, 12, 12])
    two = hf.compile(lambda a: hf.grad(lambda p, q: p * q, (0, 1))(a, a))
    np.testing.assert_array_equal(two(np.array(3.0)), [3, 3])


def test_gradients_of_gradients_of_gradients():
    f = lambda x: O.sum(x**5)  # noqa: E731
    twice = hf.grad(lambda x: O.sum(hf.grad(f)(x)))
    thrice = hf.grad(lambda x: O.sum(twice(x)))
    x = np.array([1.0, -2.0])
    np.testing.assert_allclose(twice(x), 20 * x**3, rtol=1e-14)
    np.testing.assert_allclose(thrice(x), 60 * x**2, rtol=1e-14)


def test_compiled_functions_nest():
    inner = hf.compile(lambda p: {"y": O.tanh(p["x"]), "z": [p["x"] * 2.0]})
    x = np.array([0.5, -1.0])
    outer = hf.value_and_grad(lambda x: O.sum(inner({"x": x})["y"] * inner({"x": x})["z"][0]))
    value, g = outer(x)
    np.testing.assert_allclose(value, (np.tanh(x) * 2 * x).sum(), rtol=1e-14)
    np.testing.assert_allclose(g, 2 * np.tanh(x) + 2 * x * (1 - np.tanh(x) ** 2), rtol=1e-13)
    with pytest.raises(ArgumentError, match="out="):
        hf.compile(lambda x: inner(x, out=np.empty(2)))(x)
    fresh = hf.compile(lambda v: v * 2.0)  # a captured array beside a traced value
    np.testing.assert_array_equal(hf.compile(lambda x: fresh(np.ones(2)) + x)(x), x + 2)


def test_nested_arguments_of_jvp_and_hvp():
    p, v = {"a": np.array([1.0, 2.0]), "b": [np.array(3.0)]}, {"a": np.array([1.0, 0.0]), "b": [np.array(1.0)]}
    f = lambda p: O.sum(p["a"] ** 2) * p["b"][0]  # noqa: E731
    value, slope = hf.jvp(f, (p,), (v,))
    assert (value, slope) == (15, 11)
    h = hf.hvp(f, (p,), (v,))
    np.testing.assert_array_equal(h["a"], [6 + 2, 4])
    assert h["b"][0] == 2
    a, b = hf.hvp(lambda a, b: O.sum(a * a * b), (np.ones(2), np.full(2, 3.0)), (np.ones(2), np.zeros(2)))
    np.testing.assert_array_equal(a, [6, 6])
    np.testing.assert_array_equal(b, [2, 2])


def test_what_jvp_and_hvp_do_not_take():
    x = np.ones(3)
    for product in (hf.jvp, hf.hvp):
        with pytest.raises(ShapeError, match="alike"):
            product(O.sum, (x,), (np.ones(2),))
        with pytest.raises(ShapeError, match="alike"):
            product(O.sum, (x,), (x, x))
        with pytest.raises(ArgumentError, match="tuple"):
            product(O.sum, x, x)
        with pytest.raises(DTypeError, match="integers"):
            product(O.sum, (np.arange(3),), (x,))
    with pytest.raises(ShapeError, match="scalar"):
        hf.hvp(O.exp, (x,), (x,))


def test_results_that_do_not_depend_have_derivative_zero():
    x = np.array([1.0, 5.0, 2.0])
    value, slope = hf.jvp(lambda x: (O.argmax(x), O.sign(x), x > 2.0, O.mean(x)), (x,), (x,))
    assert value[0] == 1 and slope[0] == 0
    np.testing.assert_array_equal(slope[1], np.zeros(3))
    np.testing.assert_array_equal(slope[2], np.zeros(3))
    np.testing.assert_allclose(slope[3], x.mean())


def test_derivatives_within_a_compiled_function():
    x, v = rng.normal(size=(2, 4))
    f = lambda x: O.sum(O.softmax(x) * O.tanh(x))  # noqa: E731
    once = hf.compile(lambda x, v: (hf.jvp(f, (x,), (v,))[1], hf.hvp(f, (x,), (v,))))(x, v)
    np.testing.assert_allclose(once[0], hf.jvp(f, (x,), (v,))[1], rtol=1e-13)
    np.testing.assert_allclose(once[1], hf.hvp(f, (x,), (v,)), rtol=1e-12)
    rank = hf.grad(lambda x: hf.jvp(f, (x,), (v,))[1])(x)
    np.testing.assert_allclose(rank, once[1], rtol=1e-12)


# ---- at kinks and ties: the documented choice ----
def grad_at(f, *xs):
    return hf.value_and_grad(lambda *a: O.sum(f(*a)), range(len(xs)))(*[np.array(x, np.float64) for x in xs])[1]


def test_gradients_at_kinks():
    x = [-1.0, 0.0, 2.0]
    for f, want in (
        (O.relu, [0, 0, 1]),
        (O.abs, [-1, 0, 1]),
        (O.sign, [0, 0, 0]),
        (O.leaky_relu, [0.01, 1, 1]),
        (lambda v: O.clip(v, -1.0, 2.0), [0.5, 1, 0.5]),
        (lambda v: O.clip(v, 0.0, None), [0, 0.5, 1]),
        (lambda v: O.maximum(v, v), [1, 1, 1]),
        (lambda v: O.minimum(v, 0.0), [1, 0.5, 0]),
        (lambda v: (v > 0.0) * v, [0, 0, 1]),
        (lambda v: O.square(v) + v**0, [-2, 0, 4]),
        (lambda v: v**3, [3, 0, 12]),
    ):
        np.testing.assert_allclose(grad_at(f, x)[0], want, rtol=1e-15)
    a, b = grad_at(O.maximum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(a, [0, 0.5, 1])
    np.testing.assert_array_equal(b, [1, 0.5, 0])


def test_ties_of_a_reduction_share_the_gradient():
    for f in (O.max, O.min):
        np.testing.assert_array_equal(
            grad_at(lambda x, f=f: f(x, 1), [[3.0, 3, 3, 3], [5, 5, 5, 5]])[0], np.full((2, 4), 0.25)
        )
    np.testing.assert_array_equal(grad_at(O.max, [[1.0, 7.0], [7.0, 0.0]])[0], [[0, 0.5], [0.5, 0]])


@pytest.mark.parametrize("axis", [None, (0, 1), (0, 2), (0, 1, 2), (1, 2)])
def test_ties_over_several_axes_share_evenly(axis):
    x = np.zeros((3, 2, 4))
    x[0, 0, :2] = x[2, 0, 0] = x[1, 1, 1] = 5
    axes = (0, 1, 2) if axis is None else axis
    for sign, f in ((1, O.max), (-1, O.min)):
        top = (sign * x * sign).max(axes, keepdims=True)
        hits = (x == top).astype(float)
        want = hits / hits.sum(axes, keepdims=True)
        np.testing.assert_array_equal(grad_at(lambda v, f=f: f(v, axis), sign * x)[0], want)


def test_pow_where_its_logarithm_has_none():
    a, b = grad_at(lambda a, b: a**b, [0.0, 0.0, -2.0], [2.0, 1.0, 3.0])
    np.testing.assert_allclose(a, [0, 1, 12])
    np.testing.assert_array_equal(b, [0, 0, 0])
    np.testing.assert_allclose(grad_at(lambda a: a**3, [-2.0, 0.0])[0], [12, 0])


def test_where_does_not_let_a_nan_of_the_other_branch_through():
    g = grad_at(lambda x: O.where(x > 0.0, O.log(O.where(x > 0.0, x, 1.0)), x), [-2.0, 4.0])[0]
    np.testing.assert_array_equal(g, [1, 0.25])


# ---- structure ----
@pytest.mark.filterwarnings("ignore:the function does not use")
def test_an_argument_that_is_not_used_has_gradient_zero():
    value, (da, db, dc) = hf.value_and_grad(lambda a, b, c: O.sum(a * a) + O.sum(O.sign(c)), (0, 1, 2))(
        np.ones((2, 3)), np.ones(4), np.ones(())
    )
    assert value == 7
    np.testing.assert_array_equal(da, np.full((2, 3), 2.0))
    np.testing.assert_array_equal(db, np.zeros(4))
    assert dc == 0 and np.shape(dc) == ()


def test_argnums_and_nested_arguments():
    params = {"w": rng.normal(size=(3, 2)), "more": [rng.normal(size=2), rng.normal(size=())]}
    x = rng.normal(size=(4, 3))

    def loss(p, x):
        return O.sum(O.tanh(x @ p["w"] + p["more"][0]) * p["more"][1])

    _, g = hf.value_and_grad(loss)(params, x)
    assert list(g) == ["w", "more"] and isinstance(g["more"], list) and g["w"].shape == (3, 2)
    _, (gx,) = hf.value_and_grad(loss, [1])(params, x)
    _, (gp, gx2) = hf.value_and_grad(loss, (0, -1))(params, x)
    np.testing.assert_array_equal(gx, gx2)
    np.testing.assert_array_equal(gp["w"], g["w"])
    np.testing.assert_array_equal(gp["more"][1], g["more"][1])
    t = np.tanh(x @ params["w"] + params["more"][0])
    np.testing.assert_allclose(g["more"][1], t.sum(), rtol=1e-13)
    np.testing.assert_allclose(g["w"], x.T @ ((1 - t * t) * params["more"][1]), rtol=1e-12)


def test_one_array_in_two_places_has_two_gradients():
    x = np.array([2.0, 3.0])
    _, (a, b) = hf.value_and_grad(lambda a, b: O.sum(a * b * b), (0, 1))(x, x)
    np.testing.assert_array_equal(a, x * x)
    np.testing.assert_array_equal(b, 2 * x * x)


def test_equal_gradients_of_many_arguments():
    """Three biases have one and the same gradient tensor, and each its own array."""
    f = hf.value_and_grad(lambda *b: O.sum(O.square(b[0] + b[1] + b[2] + b[3])), (0, 1, 2, 3))
    xs = [rng.normal(size=(3, 2)) for _ in range(4)]
    _, gs = f(*xs)
    for i, g in enumerate(gs):
        np.testing.assert_allclose(g, 2 * sum(xs), rtol=1e-14)
        assert not any(np.may_share_memory(g, other) for other in gs[:i])


def test_shared_subexpressions_add_up():
    def f(x):
        a = O.tanh(x)
        b = a * a
        c = b + a
        return O.sum(c * b + a / (c * c + 2.0))

    def ref(x):
        a = np.tanh(x)
        b = a * a
        c = b + a
        return np.sum(c * b + a / (c * c + 2))

    x = rng.normal(size=(3, 4))
    close(hf.value_and_grad(f)(x)[1], differences(ref, x))


def test_a_weight_used_many_times():
    x, w = rng.normal(size=(4, 3)), rng.normal(size=(3, 3)) * 0.7

    def unroll(tanh, total):
        def f(w):
            h = x
            for _ in range(5):
                h = tanh(h @ w + h)
            return total(h * h)

        return f

    close(hf.value_and_grad(unroll(O.tanh, O.sum))(w)[1], differences(unroll(np.tanh, np.sum), w))


@pytest.mark.parametrize("layers", [300])
def test_deep_chains_need_no_deep_stack(layers):
    x, w = rng.normal(size=(2, 3)), np.eye(3) * 0.99

    def f(x, w):
        for i in range(layers):
            x = O.tanh(x @ w) + x * 0.5 if i % 2 else O.sigmoid(x) * x
        return O.sum(x)

    def ref(x, w):
        for i in range(layers):
            x = np.tanh(x @ w) + x * 0.5 if i % 2 else x / (1 + np.exp(-x))
        return np.sum(x)

    value, (dx, dw) = hf.value_and_grad(f, (0, 1))(x, w)
    np.testing.assert_allclose(value, ref(x, w), rtol=1e-11, atol=1e-12)
    assert dx.shape == x.shape and dw.shape == w.shape


def test_a_chain_of_a_thousand_elementwise_ops():
    x = np.linspace(0.1, 1, 7)

    def f(x):
        for _ in range(1000):
            x = x * 1.001
        return O.sum(x)

    value, g = hf.value_and_grad(f)(x)
    np.testing.assert_allclose(value, x.sum() * 1.001**1000, rtol=1e-12)
    np.testing.assert_allclose(g, np.full(7, 1.001**1000), rtol=1e-12)


def test_third_derivative():
    def derivative(f):
        return lambda x: gradients(current_graph(), O.sum(f(x)), [x])[0]

    x = np.linspace(-1, 1, 9)
    got = hf.compile(derivative(derivative(derivative(O.tanh))))(x)
    t = np.tanh(x)
    np.testing.assert_allclose(got, (1 - t * t) * (6 * t * t - 2), rtol=1e-12, atol=1e-13)
    got = hf.compile(derivative(derivative(derivative(O.exp))))(x)
    np.testing.assert_allclose(got, np.exp(x), rtol=1e-14)
    got = hf.compile(derivative(derivative(derivative(lambda v: v**5))))(x)
    np.testing.assert_allclose(got, 60 * x * x, rtol=1e-12, atol=1e-14)


THROUGH_PARTS = {
    "cross-entropy": lambda x: O.sum(O.softmax_cross_entropy(x, np.array([0, 1, 2, 1]), 0.1) ** 2),
    "batch norm": lambda x: O.sum(O.batch_norm(x, np.array([1.0, -0.5, 2.0]), 0.3)[0] ** 3),
    "rms norm": lambda x: O.sum(O.rms_norm(x, np.array([1.0, -0.5, 2.0])) ** 3),
    "layer norm": lambda x: O.sum(O.layer_norm(x, np.array([1.0, -0.5, 2.0]), 0.3) ** 3),
    "group norm": lambda x: O.sum(O.group_norm(O.reshape(x, (2, 2, 3)), 1, np.array([1.0, -0.5, 2.0]), 0.3) ** 3),
    "gelu": lambda x: O.sum(O.gelu(x) ** 2),
    "log-softmax": lambda x: O.sum(O.log_softmax(x) ** 3),
}


@pytest.mark.parametrize("name", THROUGH_PARTS)
def test_third_derivative_through_decompositions(name):
    f, x, v = (
        THROUGH_PARTS[name],
        np.random.default_rng(2).normal(size=(4, 3)),
        np.random.default_rng(3).normal(size=(4, 3)),
    )
    curvature = hf.compile(lambda x: O.sum(hf.hvp(f, (x,), (v,)) * v))
    close(hf.grad(curvature)(x), differences(lambda x: float(curvature(x)), x))


def test_broadcast_gradients_are_sums():
    shapes = [(3, 4), (4,), (), (3, 1), (1, 4), (1, 1), (2, 3, 4), (2, 1, 1)]
    xs = [rng.normal(size=s) for s in shapes]

    def product(xs, total):
        y = xs[0]
        for x in xs[1:]:
            y = y * x
        return total(y)

    _, grads = hf.value_and_grad(lambda *xs: product(xs, O.sum), range(len(xs)))(*xs)
    for i, g in enumerate(grads):
        close(np.asarray(g), differences(lambda x, i=i: product([*xs[:i], x, *xs[i + 1 :]], np.sum), xs[i]))


def test_a_whole_classifier():
    """Layers, normalisation, activation, loss and a penalty in one function."""
    x, y = rng.normal(size=(7, 5)), rng.integers(0, 3, 7)
    p = [rng.normal(size=s) * 0.6 for s in ((5, 6), (6,), (6,), (6,), (6, 3), (3,))]

    def f(w1, b1, gamma, beta, w2, b2):
        h, _, _ = O.batch_norm(x @ w1 + b1, gamma, beta)
        z = O.layer_norm(O.gelu(h), gamma, beta) @ w2 + b2
        return O.mean(O.softmax_cross_entropy(z, y, 0.1)) + 0.01 * (O.sum(w1 * w1) + O.sum(O.abs(w2)))

    def norm(h, axis):
        return (h - h.mean(axis, keepdims=True)) / np.sqrt(h.var(axis, keepdims=True) + 1e-5)

    def ref(w1, b1, gamma, beta, w2, b2):
        h = norm(x @ w1 + b1, 0) * gamma + beta
        h = h * (0.5 + 0.5 * erf(h / math.sqrt(2)))
        log_p = log_softmax((norm(h, 1) * gamma + beta) @ w2 + b2)
        loss = -(0.9 * log_p[np.arange(7), y] + 0.1 * log_p.mean(1)).mean()
        return loss + 0.01 * ((w1 * w1).sum() + np.abs(w2).sum())

    value, grads = hf.value_and_grad(f, range(6))(*p)
    np.testing.assert_allclose(value, ref(*p), rtol=1e-12)
    for i, g in enumerate(grads):
        close(g, differences(lambda v, i=i: ref(*p[:i], v, *p[i + 1 :]), p[i]))
    _, grads32 = hf.value_and_grad(f, range(6))(*cast(p, "float32"))
    for a, b in zip(grads32, grads, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * max(0.1, np.abs(b).max()))


def test_cross_entropy_against_itself_and_against_a_function_of_the_logits():
    """Target and logits may be one tensor, or views of one: neither may overwrite the other."""
    for cols in (5, 40):
        x = rng.normal(size=(3, cols))
        for target, numpys in (
            (lambda z: z, lambda z: z),
            (lambda z: O.reshape(z, z.shape), lambda z: z),
            (O.softmax, lambda z: np.exp(log_softmax(z))),
        ):

            def f(x, target=target):
                return O.sum(O.softmax_cross_entropy(x * 2.0, target(x * 2.0)))

            def ref(x, numpys=numpys):
                return -(numpys(2 * x) * log_softmax(2 * x)).sum()

            value, g = hf.value_and_grad(f)(x)
            np.testing.assert_allclose(value, ref(x), rtol=1e-12)
            close(g, differences(ref, x))


# ---- refusals ----
def test_what_has_no_gradient_says_so():
    x = rng.normal(size=(3, 4))
    with pytest.raises(ShapeError, match=r"scalar.*\(3, 4\)"):
        hf.value_and_grad(lambda a: a)(x)
    with pytest.raises(TypeError, match="expected a scalar"):
        hf.value_and_grad(lambda a: 3.0)(x)
    with pytest.raises(TypeError, match="expected a scalar"):
        hf.value_and_grad(lambda a: (O.sum(a), a))(x)
    with pytest.raises(DTypeError, match="integers"):
        hf.value_and_grad(lambda a: O.sum(a))(np.arange(3))
    for given in (np.int64(1), [np.int64(1)], np.array([1])):
        _, g = hf.value_and_grad(lambda a, b: O.sum(a * b), given)(x, x + 1)
        np.testing.assert_array_equal(g if isinstance(given, np.int64) else g[0], x)
    for argnums in (2, -3, (0, 5), 0.0, True, "0", None):
        with pytest.raises(ArgumentError, match="argnums"):
            hf.value_and_grad(lambda a, b: O.sum(a * b), argnums)(x, x)


def test_what_has_no_gradient_rule_says_so():
    with pytest.raises(TraceError, match="correct has no gradient"):
        hf.value_and_grad(lambda v: O.sum(O.correct(v, np.array([0, 1, 2]))))(rng.normal(size=(3, 4)))


def test_statistics_of_a_batch_norm_have_gradients():
    x, one, zero = rng.normal(size=(5, 3)) + 2, np.ones(3), np.zeros(3)
    weights = rng.normal(size=(2, 3))

    def f(x):
        y, mean, var = O.batch_norm(x, one, zero)
        return O.sum(O.square(y) * x) + O.sum(mean * weights[0]) + O.sum(var * mean * weights[1])

    def ref(x):
        mean, var = x.mean(0), x.var(0)
        y = (x - mean) / np.sqrt(var + 1e-5)
        return (y * y * x).sum() + (mean * weights[0]).sum() + (var * mean * weights[1]).sum()

    close(hf.value_and_grad(f)(x)[1], differences(ref, x))
    only_mean = hf.value_and_grad(lambda x: O.sum(O.batch_norm(x, one, zero)[1] * weights[0]))(x)[1]
    np.testing.assert_allclose(only_mean, np.broadcast_to(weights[0] / 5, x.shape), rtol=1e-14)


def test_a_product_of_two_cross_entropies():
    """Each loss waits for the other's gradient: the two can't both be one pass."""
    a, b = rng.normal(size=(2, 4, 3))
    t = np.array([0, 2, 1, 1])

    def f(a, b):
        return O.sum(O.softmax_cross_entropy(a, t) * O.softmax_cross_entropy(b, t))

    def ref(a, b):
        rows = np.arange(4)
        return (log_softmax(a)[rows, t] * log_softmax(b)[rows, t]).sum()

    value, (da, db) = hf.value_and_grad(f, (0, 1))(a, b)
    np.testing.assert_allclose(value, ref(a, b), rtol=1e-13)
    close(da, differences(lambda v: ref(v, b), a))
    close(db, differences(lambda v: ref(a, v), b))


def test_a_product_of_two_cross_entropies_as_a_loss():
    x, t = rng.normal(size=(8, 3)), np.eye(3)[np.arange(8) % 3]
    model = hf.Linear(3)

    def loss(p, t):
        return O.softmax_cross_entropy(p, t) * O.softmax_cross_entropy(p * 2.0, t)

    history = hf.Trainer(model, loss, hf.SGD(0.1), seed=0).fit(x, t, epochs=20)
    assert history["loss"][-1] < 0.7 * history["loss"][0]


def test_labels_are_checked_where_only_second_derivatives_are_wanted():
    x = rng.normal(size=(3, 4))
    for labels in ([0, 1, 4], [0, -1, 1]):
        t = np.array(labels)
        f = lambda x, t=t: O.sum(O.softmax_cross_entropy(x, t))  # noqa: E731
        with pytest.raises(LabelError):
            hf.hvp(f, (x,), (x,))
        with pytest.raises(LabelError):
            hf.jvp(f, (x,), (x,))


def test_no_gradient_goes_through_stop_gradient():
    x = rng.normal(size=(3, 4))
    g = hf.value_and_grad(lambda v: O.sum(O.stop_gradient(v * v) * v))(x)[1]
    np.testing.assert_array_equal(g, x * x)
    np.testing.assert_array_equal(O.stop_gradient(x), x)
    np.testing.assert_array_equal(O.stop_gradient(np.arange(3)), np.arange(3))


def test_gradients_of_a_scalar_size_one_array():
    x = np.array([[3.0]])
    value, g = hf.value_and_grad(lambda v: v * v)(x)
    assert value == 9 and g.shape == (1, 1) and g[0, 0] == 6


def test_gradients_gives_none_where_nothing_depends():
    graph = Graph()
    a, b = input_tensor(graph, "a", (3,)), input_tensor(graph, "b", (3,))
    with tracing(graph):
        y = O.sum(a * a)
        ga, gb, gy = gradients(graph, y, [a, b, y])
    assert ga.shape == (3,) and gb is None and gy.shape == ()
