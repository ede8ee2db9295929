"""Compiled functions and hf.kernels: the short way of a repeated call, out=, and the gradients of the norms."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import hawfinch as hf
from hawfinch import _core, kernels
from hawfinch.errors import (
    ArgumentError,
    DTypeError,
    HawfinchError,
    HawfinchWarning,
    LabelError,
    NotBuiltError,
    ShapeError,
    TraceError,
)

O = hf.ops
rng = np.random.default_rng(5)
X = rng.normal(size=(5, 3)).astype(np.float32)


def repeated(f, *args, **more):
    """The result of a call after one like it, which goes the short way."""
    f(*args, **more)
    return f(*args, **more)


# ---- the short way ----
def test_a_repeated_call_gives_the_same_in_arrays_of_its_own():
    f = hf.compile(lambda x, i: (O.tanh(x), O.sum(x), O.gather(x, i), O.argmax(x, 1)))
    i = np.array([2, 0])
    first, second = f(X, i), repeated(f, X, i)
    assert isinstance(f._quick[1], _core.Call) and f._quick[1].run((X, i), None) is not None
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert type(a) is type(b) and np.asarray(a).dtype == np.asarray(b).dtype
        assert a.ndim == 0 or not np.shares_memory(a, b)
    np.testing.assert_array_equal(second[2], X[i])


def test_anything_else_goes_the_long_way():
    f = hf.compile(lambda x: x * 2.0)
    repeated(f, X)
    for other in (
        X.astype(np.float64),
        X.T,
        X[::2],
        X[:, :1],
        X.astype(">f4"),
        np.asfortranarray(X),
        np.zeros((0, 3), np.float32),
        X.astype(np.int32),
    ):
        np.testing.assert_array_equal(f(other), np.asarray(other) * 2)
        np.testing.assert_array_equal(f(X), X * 2)
    unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(X.shape)
    np.testing.assert_array_equal(f(unaligned), X * 2)
    with pytest.raises(ArgumentError, match="threads"):
        f(X, threads=True)
    np.testing.assert_array_equal(repeated(f, X, threads=1), f(X, threads=2))
    with pytest.raises(TypeError):
        f(X, X)


def test_errors_are_those_of_the_long_way():
    z, labels = X, np.array([0, 1, 2, 0, 1])
    repeated(kernels.softmax_cross_entropy, z, labels)
    with pytest.raises(LabelError):
        kernels.softmax_cross_entropy(z, labels + 1)
    with pytest.raises(ShapeError):
        kernels.softmax_cross_entropy(z, labels[:2])
    assert np.isfinite(kernels.softmax_cross_entropy(z, labels)).all()


def test_nested_results_and_masks_keep_their_form():
    f = hf.compile(lambda x: {"a": (x, [x + 1.0]), "m": x > 0.0})
    found = repeated(f, X)
    assert found["m"].dtype == bool and isinstance(found["a"][1], list)
    np.testing.assert_array_equal(found["a"][1][0], X + 1)


def test_many_threads_may_repeat_a_call():
    f = hf.compile(lambda x: O.exp(x) @ O.transpose(x))
    args = [rng.normal(size=(40, 30)) for _ in range(4)]
    want = [f(a) for a in args]
    wrong = []

    def work(a, w):
        for _ in range(200):
            if not np.array_equal(f(a), w):
                wrong.append(a)

    team = [threading.Thread(target=work, args=pair) for pair in zip(args, want, strict=True)]
    for t in team:
        t.start()
    for t in team:
        t.join()
    assert not wrong


# ---- out ----
def test_out_is_written_and_given_back():
    f = hf.compile(lambda x: (O.exp(x), O.sum(x)))
    out = np.empty_like(X), np.empty((), np.float32)
    want = f(X)
    for _ in range(3):
        for a in out:
            a[...] = np.nan
        found = f(X, out=out)
        assert all(a is b for a, b in zip(found, out, strict=True))
        np.testing.assert_array_equal(out[0], want[0])
        assert out[1] == want[1]


def test_a_wrong_out_is_an_error_first_and_later():
    f, both = hf.compile(lambda x: x * 2.0), hf.compile(lambda x: (x * 2.0, x * 3.0))
    y = np.empty_like(X)
    locked = np.empty_like(X)
    locked.flags.writeable = False
    for _ in range(2):
        for wrong in (X, X[:], y[:3], y.T, y.astype(np.float64), locked, (y,), [[1.0]]):
            with pytest.raises((ArgumentError, ShapeError)):
                f(X, out=wrong)
        for wrong in ((y, y), (y, X), (y,), y, (y, y.copy(), y.copy())):
            with pytest.raises((ArgumentError, ShapeError)):
                both(X, out=wrong)
        np.testing.assert_array_equal(f(X, out=y), X * 2)
        both(X, out=(y, np.empty_like(X)))


# ---- models ----
def net(dtype="float32"):
    return hf.Sequential(hf.Linear(4), hf.BatchNorm(), hf.Tanh(), hf.Linear(1)).astype(dtype).build((3,))


def test_gradients_of_a_model_by_its_input():
    model = net("float64")
    x = X.astype(np.float64)
    value, dx = hf.value_and_grad(lambda x: O.sum(model(x)))(x)
    np.testing.assert_allclose(value, model.predict(x).sum(), rtol=1e-13)
    for i, j in ((0, 0), (3, 2)):
        step = np.zeros_like(x)
        step[i, j] = 1e-4
        want = (model.predict(x + step).sum() - model.predict(x - step).sum()) / 2e-4
        np.testing.assert_allclose(dx[i, j], want, rtol=1e-6)
    y, slope = hf.jvp(model, (x,), (np.ones_like(x),))
    np.testing.assert_array_equal(y, model.predict(x))
    np.testing.assert_allclose(slope[:, 0], dx.sum(1), rtol=1e-12)
    h = 1e-4
    want = (hf.grad(lambda x: O.sum(model(x)))(x + h) - hf.grad(lambda x: O.sum(model(x)))(x - h)) / (2 * h)
    np.testing.assert_allclose(hf.hvp(lambda x: O.sum(model(x)), (x,), (np.ones_like(x),)), want, rtol=1e-5, atol=1e-7)


def test_what_is_written_to_a_model_is_seen_by_a_compiled_function():
    model = net()
    f = hf.compile(lambda x: model(x) * 2.0)
    np.testing.assert_array_equal(f(X), model.predict(X) * 2)
    model.parameters()["3.bias"][:] = 7
    np.testing.assert_array_equal(f(X), model.predict(X) * 2)
    hf.Trainer(model, "mse", seed=1).fit(X, np.zeros((5, 1)), epochs=2)
    np.testing.assert_array_equal(f(X), model.predict(X) * 2)
    model.astype("float64")
    got = f(X)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, model.predict(X) * 2)


def test_a_float32_model_makes_a_float32_plan():
    model = net()
    got = hf.compile(model)(X.astype(np.float64))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, model.predict(X))
    other = net("float64")
    with pytest.raises(DTypeError, match="float32 and float64"):
        hf.compile(lambda x: model(x) + other(x))(X)


def test_a_model_whose_output_is_a_gradient_by_its_input_is_trained():
    """A force field: minus the gradient of an energy. Its training step needs second derivatives."""

    class Force(hf.Module):
        def __init__(self):
            self.energy = hf.Sequential(hf.Linear(5), hf.Tanh(), hf.LayerNorm(), hf.Linear(1))

        def forward(self, x):
            return -hf.grad(lambda x: O.sum(self.energy(x)))(x)

    g = np.random.default_rng(1)
    x, y = g.normal(size=(6, 3)), g.normal(size=(6, 3))
    model = Force().astype("float64").build((3,))
    arrays = model.parameters()
    want = {}
    for name, values in arrays.items():
        want[name] = np.zeros_like(values)
        for at in np.ndindex(values.shape):
            kept, losses = values[at], []
            for step in (1e-5, -1e-5):
                values[at] = kept + step
                losses.append(np.square(model.predict(x) - y).mean())
            values[at] = kept
            want[name][at] = (losses[0] - losses[1]) / 2e-5
    before = {name: values.copy() for name, values in arrays.items()}
    hf.Trainer(model, "mse", hf.SGD(1.0), seed=0).step(x, y)
    for name, values in model.parameters().items():
        np.testing.assert_allclose(before[name] - values, want[name], rtol=1e-6, atol=1e-8)


def test_a_model_that_is_not_built_says_so():
    with pytest.raises(NotBuiltError, match="build"):
        hf.compile(hf.Sequential(hf.Linear(2)))(X)


# ---- arguments that are no plain arrays ----
def test_lists_are_arrays():
    rows = [[1.0, -2.0], [3.0, 4.0]]
    a = np.array(rows)
    np.testing.assert_array_equal(hf.compile(lambda x: x * 2.0)([1.0, 2.0]), [2, 4])
    np.testing.assert_array_equal(kernels.relu(rows), np.maximum(a, 0))
    np.testing.assert_allclose(kernels.matmul(rows, rows, [1.0, 1.0]), a @ a + 1)
    np.testing.assert_allclose(kernels.softmax_cross_entropy(rows, [0, 1]), -O.log_softmax(a)[[0, 1], [0, 1]])
    np.testing.assert_array_equal(hf.grad(lambda x: O.sum(x * x))([1.0, 2.0]), [2, 4])
    assert hf.jvp(O.sum, ([1.0, 2.0],), ([1.0, 1.0],)) == (3, 2)
    np.testing.assert_array_equal(kernels.gather(rows, [1, 0]), a[[1, 0]])
    for f, want in (
        (O.sum, a.sum()),
        (O.transpose, a.T),
        (lambda x: O.reshape(x, 4), a.ravel()),
        (lambda x: O.getitem(x, 1), a[1]),
        (lambda x: O.matmul(x, [1.0, 2.0]), a @ [1, 2]),
        (lambda x: O.concat([x, x]), np.concatenate([a, a])),
        (lambda x: O.pad(x, [(1, 0), (0, 0)]), np.pad(a, [(1, 0), (0, 0)])),
        (lambda x: O.broadcast_to(x, (2, 2, 2)), np.broadcast_to(a, (2, 2, 2))),
        (lambda x: O.layer_norm(x, [1.0, 1.0], [0.0, 0.0]), O.layer_norm(a, np.ones(2), np.zeros(2))),
    ):
        np.testing.assert_array_equal(f(rows), want)
        np.testing.assert_array_equal(hf.compile(lambda y, f=f: (f(rows), y)[0])(0.5), np.asarray(want))


def unaligned(a):
    return np.frombuffer(b"\0" + np.ascontiguousarray(a).tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)


def test_unaligned_arrays_are_copied():
    x, w = rng.normal(size=(20, 33)), rng.normal(size=(33, 17))
    seen = []
    f = hf.compile(O.matmul)
    f(x, w)
    plan = next(iter(f._cache.values())).free[0]
    core = plan.core

    class Spy:
        def run(self, arrays, **more):
            seen.extend(arrays)
            return core.run(arrays, **more)

    plan.core, f._quick = Spy(), (None, None)
    got, plan.core = f(unaligned(x), unaligned(w)), core
    np.testing.assert_array_equal(got, f(x, w))
    assert all(a.flags.aligned for a in seen) and len(seen) == 3
    with pytest.raises(ArgumentError, match="aligned"):
        f(x, w, out=np.zeros(20 * 17 * 8 + 1, np.uint8)[1:].view(np.float64).reshape(20, 17))


def test_integers_beyond_int64_are_refused_and_large_ones_exact():
    big = np.array([2**63, 1], np.uint64)
    for f in (lambda: O.to_real(big), lambda: hf.compile(lambda x: x + big)(1.0), lambda: O.gather(np.ones(3), big)):
        with pytest.raises(DTypeError, match=r"2\*\*63"):
            f()
    largest = np.array([2**63 - 1], np.uint64)
    np.testing.assert_array_equal(hf.compile(lambda i: i)(largest), [2**63 - 1])


def test_masked_values_are_refused():
    inside = [np.ones(2), np.ma.masked_array([1.0, 2.0], [False, True])]
    with pytest.raises(ArgumentError, match="masked"):
        hf.ops.add(inside, 1)
    x = np.ma.array([1.0, 2.0], mask=[False, True])
    for f in (lambda: O.exp(x), lambda: hf.compile(lambda y: y + x)(1.0), lambda: hf.grad(O.sum)(x)):
        with pytest.raises(ArgumentError, match="masked"):
            f()
    np.testing.assert_array_equal(O.neg(np.ma.array([1.0, 2.0], mask=[False, False])), [-1, -2])


def test_a_traced_value_that_got_out_says_so():
    kept = []
    hf.compile(lambda x: (kept.append(x * 2.0), x)[1])(X)
    for f in (
        lambda: kept[0] + 1.0,
        lambda: O.sum(kept[0]),
        lambda: O.reshape(kept[0], -1),
        lambda: kept[0][0],
        lambda: np.asarray(kept[0]),
        lambda: float(kept[0]),
        lambda: kernels.relu(kept[0]),
        lambda: hf.compile(lambda x: x + kept[0])(X),
        lambda: hf.compile(lambda x: kept[0])(X),
        lambda: hf.compile(lambda x: (x, [kept[0]]))(X),
        lambda: hf.grad(lambda x: O.sum(kept[0]))(X),
        lambda: hf.value_and_grad(lambda x: O.sum(kept[0]) * O.sum(x))(X),
        lambda: hf.jvp(lambda x: kept[0], (X,), (X,)),
        lambda: net().predict(kept[0]),
    ):
        with pytest.raises(HawfinchError):
            f()


# ---- norms ----
shape = st.tuples(st.integers(1, 200), st.integers(1, 70))


def reference(kind, dy, x, gamma, beta, eps, relu):
    axis = 0 if kind == "batch" else 1
    mean, var = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    rstd = 1 / np.sqrt(var + eps)
    xhat = (x - mean) * rstd
    y = xhat * gamma + beta
    if relu:
        dy, y = np.where(y > 0, dy, 0), np.maximum(y, 0)
    h = dy * gamma
    dx = rstd * (h - h.mean(axis, keepdims=True) - xhat * (h * xhat).mean(axis, keepdims=True))
    return y, dx, (dy * xhat).sum(0), dy.sum(0)


@given(shape, st.sampled_from(["batch", "batch relu", "layer"]), st.integers(0, 99), st.sampled_from([0.0, 10.0]))
@settings(max_examples=80, deadline=None)
def test_norms_forward_and_backward(size, kind, seed, offset):
    g = np.random.default_rng(seed)
    dy, x = g.normal(size=size), g.normal(size=size) + offset
    gamma, beta = g.normal(size=size[1]), g.normal(size=size[1])
    want = reference(kind.split()[0], dy, x, gamma, beta, 0.01, "relu" in kind)
    if kind == "layer":
        found = kernels.layer_norm_grad(dy, x, gamma, beta, 0.01)
    else:
        found = kernels.batch_norm_grad(dy, x, gamma, beta, 0.01, relu="relu" in kind)
    for f, w in zip(found, want, strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-9, atol=1e-10 * (1 + offset**2))


def test_a_relu_mask_made_anew_is_the_mask_of_the_forward_pass():
    """float32, any ISA: dbeta counts just the positive results."""
    x = rng.normal(size=(333, 45)).astype(np.float32)
    gamma, beta = rng.normal(size=(2, 45)).astype(np.float32)
    y, _, _, dbeta = kernels.batch_norm_grad(np.ones_like(x), x, gamma, beta, relu=True)
    np.testing.assert_array_equal(dbeta, (y > 0).sum(0))
    plan = kernels._function(kernels._batch_norm_grad, 1e-5, True).plan(x, x, gamma, beta)
    assert [s.op for s in plan.steps] == ["moments", "ewise", "ewise", "norm_grad", "ewise", "ewise"]
    assert all(y is not t for s in plan.steps[3:] for t in s.reads for y in plan.steps[2].writes)


@pytest.mark.parametrize("order", ["up", "down", "mixed", "steps"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 64, 65, 129, 3000])
def test_one_pass_variance_is_right_for_any_data(n, order):
    """Whatever the first rows are, the squares about the running mean do not cancel more than a few bits."""
    base = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    x = {
        "up": np.sort(base, 0),
        "down": -np.sort(-base, 0) * np.float32(1e3),
        "mixed": base + np.float32(100),
        "steps": base * np.float32(1e-3) + np.where(np.arange(n)[:, None] < 16, np.float32(1e4), np.float32(-1e4)),
    }[order]
    x = x.astype(np.float32)
    _, mean, var = kernels.batch_norm(x, np.ones(3, np.float32), np.zeros(3, np.float32))
    exact = x.astype(np.float64)
    size = np.abs(exact).max(0)
    assert (np.abs(mean - exact.mean(0)) <= 3 * np.finfo(np.float32).eps * size).all()
    allowed = np.finfo(np.float32).eps * (
        30 * exact.var(0) + 4 * size * exact.std(0) + (np.finfo(np.float32).eps * size**2)
    )
    assert (np.abs(var - exact.var(0)) <= allowed).all()


# ---- what goes past the caches ----
def test_large_arrays_are_written_whole():
    x = np.arange(1 << 22, dtype=np.float32)[3:]  # 16-byte blocks do not fit the ends
    out = np.full(x.size + 2, -1, np.float32)
    for start in (0, 1, 2):
        y = out[start : start + x.size]
        hf.compile(lambda x: x + 1.0)(x, out=y)
        np.testing.assert_array_equal(y, x + 1)
    z = np.zeros((4099, 800), np.float32)
    loss, dz = kernels.softmax_cross_entropy_grad(z, np.zeros(4099, np.int64))
    assert abs(loss - np.log(800)) < 1e-5
    np.testing.assert_allclose(dz[:, 1:], 1 / 800 / 4099, rtol=1e-5)
    np.testing.assert_allclose(dz[:, 0], (1 / 800 - 1) / 4099, rtol=1e-5)


@pytest.mark.parametrize(("rows", "cols"), [(1 << 21, 2), (1 << 17, 40), (1 << 13, 801)])
def test_a_row_of_a_large_softmax_has_the_bits_of_a_small_one(rows, cols):
    rng = np.random.default_rng(5)
    z, labels = rng.standard_normal((rows, cols), np.float32), rng.integers(0, cols, rows)
    y, dz = kernels.softmax(z), kernels.softmax_cross_entropy_grad(z, labels)[1]
    for part in (slice(0, 1), slice(17, 21), slice(rows - 2, rows)):
        n = part.stop - part.start  # of the mean: powers of two, so that dz differs by an exact factor
        np.testing.assert_array_equal(y[part], kernels.softmax(z[part]))
        small = kernels.softmax_cross_entropy_grad(z[part], labels[part])[1]
        np.testing.assert_array_equal(dz[part] * (rows / n), small)


def test_a_column_of_a_large_batch_norm_has_the_bits_of_a_small_one():
    """3000 x 1500 goes past the caches, with memory asked for ahead, in two blocks of columns; 3000 x 40 does not."""
    rng = np.random.default_rng(6)
    x, dy = rng.standard_normal((2, 3000, 1500), np.float32)
    gamma, beta = rng.standard_normal((2, 1500), np.float32)
    for relu in (False, True):
        large = kernels.batch_norm_grad(dy, x, gamma, beta, relu=relu)
        for part in (slice(0, 40), slice(1000, 1040), slice(1460, 1500)):
            small = kernels.batch_norm_grad(dy[:, part], x[:, part], gamma[part], beta[part], relu=relu)
            for a, b in zip(large, small, strict=True):
                np.testing.assert_array_equal(a[..., part], b)


def test_plans_of_many_shapes_are_kept_up_to_so_many_bytes():
    f = hf.compile(lambda x: hf.ops.sum(hf.ops.exp(hf.ops.sum(x, 1)) * hf.ops.max(x, 0)))
    f._cache.max_bytes = 4 << 20
    for n in range(1, 40):
        x = np.ones((n, n))
        np.testing.assert_allclose(f(x), n * np.exp(n), rtol=1e-14)
    assert 1 < len(f._cache) < 20 and f.nbytes <= 5 << 20
    np.testing.assert_allclose(f(np.ones((1, 1))), np.e, rtol=1e-14)  # made anew


def test_equality_is_element_by_element_and_tensors_stay_keys():
    x = np.array([0.0, 1.0, np.nan])
    assert hf.compile(lambda x: (x == 0, x != 0, x == 1.0))(x)[0].tolist() == [True, False, False]
    assert np.array_equal(hf.compile(lambda x: hf.ops.where(x == 0, 5.0, x))(x[:2]), [5.0, 1.0])
    assert hf.compile(lambda x: {x: x + 1}[x])(x[:2]).tolist() == [1.0, 2.0]
    with pytest.raises(HawfinchError, match="truth value"):
        hf.compile(lambda x: x if x == 0 else -x)(x)


def test_numpy_inside_and_calls_without_end_say_so():
    x = np.ones((3, 2), np.float32)
    with pytest.raises(TraceError, match="NumPy's functions take no traced values"):
        hf.compile(lambda x: np.sin(x))(x)

    class Wave(hf.Module):
        def forward(self, x):
            return np.sin(x)

    with pytest.raises(TraceError, match="NumPy's functions take no traced values"):
        Wave().predict(x)
    again = hf.compile(lambda x: again(x))
    with pytest.raises(ArgumentError, match="without end"):
        again(x)


def test_an_argument_that_is_not_used_is_told() -> None:
    x, model = np.ones((4, 3)), hf.Sequential(hf.Linear(1)).astype("float64").build((3,))
    by_model = hf.value_and_grad(lambda w, x: hf.ops.mean(model(x) ** 2))
    with pytest.warns(HawfinchWarning, match="does not use argument 0.*a model reads its own parameters"):
        _, found = by_model(model.parameters(), x)
    assert not found["0.weight"].any()
    with pytest.warns(HawfinchWarning, match="does not use argument 1, so the gradient by it is zero$"):
        hf.grad(lambda a, b: hf.ops.mean(a), argnums=(0, 1))(x, x)
    slope = hf.grad(lambda a: hf.ops.sum(a * 2.0))  # used, and its second derivative is 0 all the same
    assert not hf.grad(lambda a: hf.ops.sum(slope(a)))(x).any()
