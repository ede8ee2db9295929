"""Random shapes, and random programs of many ops, against NumPy in float64."""

import numpy as np
from cases import MODES, cast
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from references import log_softmax, sigmoid

import hawfinch as hf

O = hf.ops


# ---- random shapes ----
@given(hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, max_side=5, min_side=0), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_any_broadcast_of_up_to_four_axes(shapes, seed):
    g = np.random.default_rng(seed)
    a, b, c = (g.normal(size=s) for s in shapes.input_shapes)
    got = hf.compile(lambda a, b, c: (a * b + c, O.where(a > b, c, a - b), O.maximum(O.minimum(a, b), c)))(a, b, c)
    results = a * b + c, np.where(a > b, c, a - b), np.maximum(np.minimum(a, b), c)
    for g_, want in zip(got, results, strict=True):
        assert g_.shape == want.shape
        # a * b + c is rounded once, or twice without a fused instruction
        allowed = np.finfo(float).eps * (np.abs(a * b) + np.abs(c)) if want is results[0] else 0.0
        assert (np.abs(g_ - want) <= allowed).all()


@given(hnp.array_shapes(min_dims=1, max_dims=5, max_side=6), st.data())
@settings(max_examples=100, deadline=None)
def test_any_reduction_and_transpose(shape, data):
    x = np.random.default_rng(1).normal(size=shape)
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1))))
    keepdims = data.draw(st.booleans())
    order = data.draw(st.permutations(range(len(shape))))
    got = hf.compile(
        lambda x: (
            O.sum(x, axes, keepdims),
            O.max(x, axes, keepdims),
            O.transpose(x, order),
            O.mean(O.transpose(x, order), axes, keepdims),
        )
    )(x)
    np.testing.assert_allclose(got[0], x.sum(axes, keepdims=keepdims), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(got[1], x.max(axes, keepdims=keepdims))
    np.testing.assert_array_equal(got[2], x.transpose(order))
    np.testing.assert_allclose(got[3], x.transpose(order).mean(axes, keepdims=keepdims), rtol=1e-12, atol=1e-13)


@given(
    st.integers(0, 40), st.integers(0, 70), st.integers(0, 140), st.booleans(), st.booleans(), st.sampled_from(MODES)
)
@settings(max_examples=120, deadline=None)
def test_any_matrix_product_by_random_projection(m, k, n, x_turned, w_turned, dtype):
    """(x w) v = x (w v), with both operands as they are and as transposes that are read through their strides."""
    g = np.random.default_rng(m * 10000 + k * 100 + n)
    x, w, v = g.normal(size=(m, k)).astype(dtype), g.normal(size=(k, n)).astype(dtype), g.normal(size=n)
    f = hf.compile(lambda x, w: (x.T if x_turned else x) @ (w.T if w_turned else w))
    y = f(np.ascontiguousarray(x.T) if x_turned else x, np.ascontiguousarray(w.T) if w_turned else w)
    assert y.shape == (m, n) and y.dtype == dtype
    size = np.abs(x).astype(float) @ np.abs(w).astype(float) @ np.abs(v)
    assert (
        np.abs(y.astype(float) @ v - x.astype(float) @ (w.astype(float) @ v)) <= 3 * np.finfo(dtype).eps * size
    ).all()


# ---- random programs ----
# Every operation maps [-1, 1] to itself and hardly magnifies an error, so n of them stay within a few eps * n.
class Numpy:
    tanh, maximum, minimum, where, abs = np.tanh, np.maximum, np.minimum, np.where, np.abs
    sigmoid = staticmethod(sigmoid)
    softmax = staticmethod(lambda x: np.exp(log_softmax(x)))
    mean = staticmethod(lambda x, axis, keepdims: np.mean(x, axis, keepdims=keepdims))


STEPS = {
    "tanh": lambda o, a, b, w, m: o.tanh(a),
    "sigmoid": lambda o, a, b, w, m: o.sigmoid(a) - 0.5,
    "half sum": lambda o, a, b, w, m: (a + b) * 0.5,
    "half difference": lambda o, a, b, w, m: 0.5 * (a - b),
    "product": lambda o, a, b, w, m: a * b * 0.5,
    "quotient": lambda o, a, b, w, m: a / (b + 3.0),
    "maximum": lambda o, a, b, w, m: o.maximum(a, b),
    "minimum": lambda o, a, b, w, m: o.minimum(b, a),
    "where": lambda o, a, b, w, m: o.where(m > 0.0, a, b),
    "negative": lambda o, a, b, w, m: -a,
    "absolute": lambda o, a, b, w, m: 1.0 - o.abs(a),
    "rows": lambda o, a, b, w, m: a * 0.5 - o.mean(b, 1, True) * 0.5,
    "columns": lambda o, a, b, w, m: o.maximum(a, o.mean(b, 0, True)),
    "softmax": lambda o, a, b, w, m: o.softmax(a),
    "matmul": lambda o, a, b, w, m: a @ w,
    "bias": lambda o, a, b, w, m: o.tanh(a @ w + w[0]) * b,
    "turned": lambda o, a, b, w, m: (w @ a.T).T,
    "reshape": lambda o, a, b, w, m: a.reshape(-1).reshape(a.shape),
}
CHAIN = [
    "tanh",
    "sigmoid",
    "half sum",
    "half difference",
    "product",
    "quotient",
    "maximum",
    "minimum",
    "where",
    "negative",
    "absolute",
]


def run_program(o, program, x, y, w, m):
    values = [x, y]
    for name, i, j in program:
        values.append(STEPS[name](o, values[-1 - i % len(values)], values[-1 - j % len(values)], w, m))
    return values


def check_program(program, shape, wanted, dtype):
    g = np.random.default_rng(len(program))
    x, y = (g.uniform(-1, 1, shape) for _ in range(2))
    w = g.uniform(-1, 1, (shape[1], shape[1]))
    w /= np.maximum(np.abs(w).sum(0), 1)
    w /= np.maximum(np.abs(w).sum(1, keepdims=True), 1)
    m = g.choice([-1.0, 1.0], shape)
    args = cast([v.astype(np.float32).astype(float) for v in (x, y, w, m)], dtype)
    want = run_program(Numpy, program, *(a.astype(float) for a in args))
    chosen = sorted({-1 - i % len(want) for i in wanted} | {-1})
    f = hf.compile(lambda *a: tuple(run_program(O, program, *a)[i] for i in chosen))
    got = f(*args)
    for threads in (1, 2, 3):
        for a, b in zip(f(*args, threads=threads), got, strict=True):
            assert a.tobytes() == b.tobytes()
    for value, i in zip(got, chosen, strict=True):
        np.testing.assert_allclose(value, want[i], rtol=0, atol=6 * (len(program) + 2) * np.finfo(dtype).eps)


def programs(names, most):
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=most)


SHAPES = st.tuples(st.sampled_from([1, 2, 5, 16, 33]), st.sampled_from([1, 3, 16, 17, 40]))


@given(programs(sorted(STEPS), 25), SHAPES, st.lists(st.integers(0, 30), max_size=4), st.sampled_from(MODES))
@settings(max_examples=120, deadline=None)
def test_random_programs(program, shape, wanted, dtype):
    check_program(program, shape, wanted, dtype)


@given(programs(CHAIN, 120), SHAPES, st.lists(st.integers(0, 130), max_size=6), st.sampled_from(MODES))
@settings(max_examples=80, deadline=None)
def test_random_elementwise_chains_longer_than_a_program(program, shape, wanted, dtype):
    check_program(program, shape, wanted, dtype)
