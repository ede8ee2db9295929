"""hf.ops: the forward pass of every op against NumPy in float64; views, special values."""

import inspect
import itertools

import numpy as np
import pytest
from cases import CASES, ELEMENTWISE, EXACT, IDS, MODES, outputs, problems
from references import log_softmax

import hawfinch as hf
from hawfinch.errors import ShapeError

O = hf.ops
NAN, INF = np.nan, np.inf
rng = np.random.default_rng(5)
X34 = rng.normal(size=(3, 4))


def test_the_table_has_a_row_for_every_public_op():
    public = {name for name in dir(O) if inspect.isfunction(getattr(O, name))}
    assert {c.name for c in CASES} == public
    assert len(public) > 50


@pytest.mark.parametrize("dtype", MODES)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_forward(case, dtype):
    assert not list(problems(case, dtype))


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.eager], ids=[i for i, c in zip(IDS, CASES, strict=True) if c.eager]
)
def test_forward_outside_of_a_trace(case):
    assert not list(itertools.chain(*(problems(case, dtype, case.call) for dtype in MODES)))


def test_the_comparison_itself_notices_one_unit_in_the_last_place():
    case = next(c for c in CASES if c.name == "mul")
    off_by_one = lambda a, b: np.nextafter(a * b, np.inf, dtype=a.dtype)  # noqa: E731
    assert len(list(problems(case, "float64", off_by_one))) > 10
    assert not list(problems(case, "float64", lambda a, b: a * b))
    exact = next(c for c in CASES if c.tol == EXACT and c.name == "transpose")
    assert list(problems(exact, "float64", lambda x, axes=None: x))


def test_a_size_0_is_flattened():
    x = np.zeros((2, 0, 3), np.float32)
    assert O.reshape(x, 2, -1).shape == (2, 0)
    model = hf.Sequential(hf.Flatten(), hf.Linear(2))
    np.testing.assert_array_equal(model.predict(x), np.broadcast_to(model.parameters()["1.bias"], (2, 2)))


# ---- operators and Python numbers ----
def test_operators_are_the_ops():
    x, y = np.abs(X34) + 0.5, rng.normal(size=4)
    pairs = [
        (lambda a, b: a + b, O.add),
        (lambda a, b: a - b, O.sub),
        (lambda a, b: a * b, O.mul),
        (lambda a, b: a / b, O.div),
        (lambda a, b: a**b, O.pow),
        (lambda a, b: a > b, O.greater),
        (lambda a, b: a >= b, O.greater_equal),
        (lambda a, b: a < b, O.less),
        (lambda a, b: a <= b, O.less_equal),
        (lambda a, b: a @ b, O.matmul),
    ]
    for operator, op in pairs:
        np.testing.assert_array_equal(hf.compile(operator)(x, y), hf.compile(op)(x, y))
        np.testing.assert_allclose(hf.compile(operator)(x, y), operator(x, y), rtol=1e-14)
    for f in (
        lambda a: 2 - a,
        lambda a: 2 / a,
        lambda a: 2 + a,
        lambda a: 3 * a,
        lambda a: 1.5**a,
        lambda a: -a,
        abs,
        lambda a: a[1:, ::2],
        lambda a: a.reshape(2, 6),
        lambda a: a.reshape(-1),
        lambda a: a.T,
        lambda a: a.sum(),
        lambda a: a.sum(0, keepdims=True),
        lambda a: a.mean(1),
        lambda a: np.ones((2, 3)) @ a,
        lambda a: np.ones(4) - a,
        lambda a: sum(row for row in a),
        lambda a: a + len(a),
    ):
        np.testing.assert_allclose(hf.compile(f)(X34 + 4), f(X34 + 4), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    "op",
    [
        "sub",
        "div",
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "equal",
        "not_equal",
        "pow",
        "maximum",
        "minimum",
        "add",
        "mul",
    ],
)
def test_a_number_on_either_side(op):
    reference = {"sub": np.subtract, "div": np.divide, "mul": np.multiply, "pow": np.power}.get(op) or getattr(np, op)
    x = np.array([0.25, 0.5, 2.0, 3.0])
    f = getattr(O, op)
    for left, right in ((0.5, x), (x, 0.5), (x, 1.0), (1.0, x), (0.0, x), (x, 2)):
        expected = reference(left, right)
        traced = hf.compile((lambda a, r=right: f(a, r)) if left is x else (lambda a, v=left: f(v, a)))
        np.testing.assert_allclose(traced(x), expected, rtol=1e-15)
        np.testing.assert_allclose(f(left, right), expected, rtol=1e-15)


def test_zeros_of_both_signs_are_different_numbers():
    one = np.ones(2)
    positive, negative = hf.compile(lambda x: (x / 0.0, x / -0.0))(one)
    assert (positive == INF).all() and (negative == -INF).all()
    assert (O.div(one, 0.0) == INF).all() and (O.div(one, -0.0) == -INF).all()
    assert (
        np.signbit(hf.compile(lambda x: x * -0.0)(one)).all()
        and not np.signbit(hf.compile(lambda x: x * 0.0)(one)).any()
    )


# ---- dtypes ----
def test_float64_anywhere_gives_a_float64_plan_and_all_else_float32():
    a32, a64 = np.ones(3, np.float32), np.ones(3)
    for args, dtype in (
        ((a32, a32), "float32"),
        ((a32, a64), "float64"),
        ((a64, a32), "float64"),
        ((a32, np.ones(3, int)), "float32"),
        ((np.ones(3, np.float16), a32), "float32"),
        ((np.ones(3, bool), np.ones(3, np.uint8)), "float32"),
        ((a32, [1.0, 2.0, 3.0]), "float64"),
        ((a64, np.float32(1)), "float64"),
    ):
        assert O.add(*args).dtype == dtype, args
        np.testing.assert_array_equal(O.add(*args), np.add(*args).astype(float))


def test_arithmetic_on_integers_is_on_real_numbers():
    i = np.arange(-3, 3)
    for f in (
        lambda x: x + 0,
        lambda x: x * 1,
        lambda x: x + 1,
        lambda x: x / 2,
        lambda x: -x,
        O.tanh,
        O.sum,
        O.to_real,
        lambda x: O.where(x > 0, x, 2 * x),
        lambda x: O.max(x, 0),
        lambda x: x @ np.ones((6, 2)),
    ):
        g = hf.compile(f)
        assert g(i).dtype == np.float32
        np.testing.assert_array_equal(g(i), g(i.astype(np.float32)))


def test_a_mask_is_bool_outside_and_a_number_in_arithmetic():
    mask = O.greater(X34, 0.0)
    assert mask.dtype == bool and isinstance(O.greater(2.0, 1.0), np.bool_)
    f = hf.compile(
        lambda x: (x > 0, (x > 0) * 1.0, (x > 0) + 0.0, O.to_real(x > 0), O.sum(x > 0), (x > 0) @ np.ones((4, 1)))
    )
    got = f(X34)
    assert got[0].dtype == bool
    for g in got[1:4]:
        assert g.dtype == np.float64
        np.testing.assert_array_equal(g, mask.astype(float))
    assert got[4] == mask.sum()
    np.testing.assert_array_equal(got[5][:, 0], mask.sum(1))


def test_movement_of_integers_keeps_them():
    i = rng.integers(-(2**62), 2**62, (3, 4))
    f = hf.compile(
        lambda x, at: (x, O.transpose(x), O.reshape(x, (2, 6)), x[::-1, 1:3], O.concat([x, x], 1), O.gather(x, at), x)
    )
    at = np.array([2, 0])
    for got, want in zip(
        f(i, at), (i, i.T, i.reshape(2, 6), i[::-1, 1:3], np.concatenate([i, i], 1), i[at], i), strict=True
    ):
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, want)


def test_to_real_gives_back_real_input():
    for x in (np.ones(3, np.float32), X34, np.array([True, False])):
        np.testing.assert_array_equal(O.to_real(x), x.astype(float))
        np.testing.assert_array_equal(hf.compile(O.to_real)(x), x.astype(float))


# ---- how inputs lie in memory ----
LAYOUTS = {
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "fortran": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "every other": lambda a: np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3],
    "offset by a byte": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    "in the middle": lambda a: np.pad(a, 2, constant_values=NAN)[2:-2, 2:-2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", MODES)
def test_any_layout_gives_the_same_bits_and_stays_untouched(layout, dtype):
    f = hf.compile(lambda a, b: (O.tanh(a) + b, a @ b.T, O.sum(a, 0), O.softmax(b), a[1:, ::2], O.concat([a, b], 1)))
    a, b = rng.normal(size=(2, 17, 33)).astype(dtype)
    va, vb = LAYOUTS[layout](a), LAYOUTS[layout](b)
    np.testing.assert_array_equal(va, a)
    va.setflags(write=False)
    for got, want in zip(f(va, vb), f(a, b), strict=True):
        assert got.tobytes() == want.tobytes()
        assert got.flags.c_contiguous and got.flags.writeable
    np.testing.assert_array_equal(va, a)
    np.testing.assert_array_equal(vb, b)
    assert O.add(va, vb).tobytes() == O.add(a, b).tobytes()


def test_an_array_repeated_by_stride_0_and_an_aliased_argument():
    wide = np.broadcast_to(X34[:, :1], (3, 50))
    np.testing.assert_array_equal(O.exp(wide), O.exp(wide.copy()))
    f = hf.compile(lambda a, b: (a + b, a @ b.T))
    for got, want in zip(f(X34, X34), f(X34, X34.copy()), strict=True):
        np.testing.assert_array_equal(got, want)


def test_results_are_new_arrays_each_time():
    f = hf.compile(lambda a: (a, a, O.reshape(a, (12,)), O.reshape(a, (2, 6)), a + 1, a + 1, a + 1))
    first = f(X34)
    kept = [r.copy() for r in first]
    f(X34 * 5)
    for r, k in zip(first, kept, strict=True):
        np.testing.assert_array_equal(r, k)
    for i, j in itertools.combinations(range(len(first)), 2):
        assert not np.may_share_memory(first[i], first[j])
    for r, want in zip(first, [X34, X34, X34, X34, X34 + 1, X34 + 1, X34 + 1], strict=True):
        np.testing.assert_array_equal(r.reshape(3, 4), want)


def test_results_wanted_many_times():
    """Equal copies are one node, so the third copy must not stand for the second."""
    f = hf.compile(
        lambda a: (
            [O.argmax(a, 1)] * 4 + [O.tanh(a)] * 4 + [O.reshape(O.tanh(a), (12,))] * 3 + [O.reshape(O.tanh(a), (4, 3))]
        )
    )
    got = f(X34)
    for g in got[:4]:
        np.testing.assert_array_equal(g, X34.argmax(1))
    for g in got[4:]:
        np.testing.assert_allclose(g.ravel(), np.tanh(X34).ravel(), rtol=1e-15)


def test_constants_captured_by_a_trace():
    c = rng.normal(size=(4, 2)).astype(np.float32)
    k = np.array([2, 0])
    f = hf.compile(
        lambda x: (x @ c, x + np.float32(0.5), O.gather(x, k), x * np.array(2.0), c, k, 3.0, x + np.ones(4, bool))
    )
    got = f(X34)
    wanted = (X34 @ c.astype(float), X34 + 0.5, X34[k], X34 * 2, c, k, 3.0, X34 + 1)
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-14)
    assert got[5].dtype == np.int64 and isinstance(got[6], np.float64)


def test_nested_arguments_and_results():
    f = hf.compile(lambda p, xs: {"y": [p["w"] * x for x in xs], "t": (p["w"],)})
    got = f({"w": X34}, [X34, 2 * X34])
    np.testing.assert_array_equal(got["y"][1], X34 * 2 * X34)
    assert isinstance(got["t"], tuple) and isinstance(got["y"], list)


# ---- special values ----
SPECIAL = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -3.0, 2.0]


def same(got, want, rtol):
    """Equal NaNs, infinities and signs of zero; the rest within rtol."""
    want = want.astype(got.dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    known = ~np.isnan(want)
    np.testing.assert_allclose(got[known], want[known], rtol=rtol, atol=0)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))


UNARY = {name: case.ref for name, case in ELEMENTWISE.items() if len(case.draws) == 1 and not case.scale}
EXTREME = {
    "float32": [1e-45, -1e-45, 3e38, -3e38, 1e-38, 88.5, 89.5, -87.5, -95.0, -105.0, 1e-8, -1e-8],
    "float64": [5e-324, -5e-324, 1.7e308, -1.7e308, 1e-308, 709.5, 710.5, -708.5, -740.0, -750.0, 1e-17, -1e-17],
}


@pytest.mark.parametrize("dtype", MODES)
@pytest.mark.parametrize("name", UNARY)
def test_special_values(name, dtype):
    x = np.array([*SPECIAL, *EXTREME[dtype]], dtype)
    with np.errstate(all="ignore"):
        want = UNARY[name](x.astype(np.longdouble if dtype == "float64" and name != "erf" else np.float64))
        if name == "sign":
            want = want + 0.0  # sign(-0.0) is 0.0
        want = want.astype(dtype)
    subnormal = np.abs(want) < np.finfo(dtype).tiny
    for padded in (x, np.tile(x, 5)):  # in a tail and in full vectors
        got = getattr(O, name)(padded)[: len(x)]
        ok = ~subnormal | (want == 0)
        same(got[ok], want[ok], 3 * np.finfo(dtype).eps)
        # below the normal numbers the unit is fixed: 2 of them
        np.testing.assert_array_less(np.abs(got[~ok] - want[~ok]), 2.5 * np.finfo(dtype).smallest_subnormal)


BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
}


@pytest.mark.parametrize("dtype", MODES)
@pytest.mark.parametrize("name", BINARY)
def test_special_values_of_two(name, dtype):
    a, b = (v.ravel() for v in np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype)))
    with np.errstate(all="ignore"):
        want = BINARY[name](a, b)
    got = getattr(O, name)(a, b)
    assert got.dtype == want.dtype
    if want.dtype == bool:
        np.testing.assert_array_equal(got, want)
    else:
        same(got, want, np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", MODES)
def test_maximum_minimum_where_clip_of_special_values(dtype):
    a, b = (v.ravel() for v in np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype)))
    np.testing.assert_array_equal(O.maximum(a, b), np.maximum(a, b))
    np.testing.assert_array_equal(O.minimum(a, b), np.minimum(a, b))
    np.testing.assert_array_equal(O.where(a, b, 7.0), np.where(a, b, 7))
    np.testing.assert_array_equal(O.clip(a, -0.75, 2.5), np.clip(a, -0.75, 2.5))


@pytest.mark.parametrize("dtype", MODES)
@pytest.mark.parametrize("at", [0, 3, 15, 16, 63, 64, 69])
def test_nan_wins_every_reduction(dtype, at):
    x = rng.normal(size=(5, 70)).astype(dtype)
    x[2, at] = NAN
    x[3, at] = INF
    x[4, at] = -INF
    for axis, view in ((1, x), (0, np.ascontiguousarray(x.T))):
        for name in ("sum", "mean", "max", "min"):
            got, want = getattr(O, name)(view, axis), getattr(np, name)(view.astype(np.float64), axis)
            assert np.isnan(got[2])
            np.testing.assert_allclose(got, want, rtol=1e-4 if dtype == "float32" else 1e-12)
        np.testing.assert_array_equal(O.argmax(view, axis), np.argmax(view, axis))
    assert O.argmax(x) == 2 * 70 + at and np.isnan(O.max(x)) and np.isnan(O.sum(x))


def test_argmax_gives_the_first_of_equals():
    x = np.zeros((3, 65))
    np.testing.assert_array_equal(O.argmax(x, 1), [0, 0, 0])
    x[1, [7, 40]] = 1
    np.testing.assert_array_equal(O.argmax(x, 1), [0, 7, 0])
    np.testing.assert_array_equal(O.argmax(x, 0, keepdims=True), np.argmax(x, 0, keepdims=True))


@pytest.mark.parametrize("dtype", MODES)
@pytest.mark.parametrize("cols", [3, 32, 33, 48])
def test_softmax_of_special_values(cols, dtype):
    x = rng.normal(size=(7, cols)).astype(dtype)
    x[0] *= 1e3  # no overflow
    x[1, 0] = -INF
    x[2, 1:] = -INF  # one class only
    x[3] = -INF
    x[4, 2] = INF
    x[5, 1] = NAN
    with np.errstate(all="ignore"):
        want = log_softmax(x.astype(np.float64))
    p, log_p = O.softmax(x), O.log_softmax(x)
    eps = np.finfo(dtype).eps
    for bad in (3, 4, 5):
        assert np.isnan(p[bad]).all() and np.isnan(log_p[bad]).any()
    good = [0, 1, 2, 6]
    np.testing.assert_allclose(log_p[good], want[good], rtol=4 * eps, atol=8 * eps)
    np.testing.assert_allclose(p[good], np.exp(want[good]), rtol=0, atol=8 * eps)
    assert p[2, 0] == 1 and (p[2, 1:] == 0).all() and log_p[2, 0] == 0
    # 0 log 0 = 0: a class that can't be is no loss where the target rules it out
    loss = O.softmax_cross_entropy(x[1:3], np.eye(cols, dtype=dtype)[[1, 0]])
    np.testing.assert_allclose(loss, [-want[1, 1], 0], rtol=8 * eps, atol=8 * eps)
    np.testing.assert_array_equal(O.softmax_cross_entropy(x[2:3], np.array([1])), [INF])


def test_matmul_of_special_values():
    x, w = rng.normal(size=(5, 70)), rng.normal(size=(70, 20))
    x[1, 3], x[2, 4], w[5, 6] = NAN, INF, NAN
    got = O.matmul(x, w)
    clean = np.ones((5, 20), bool)
    clean[1] = clean[:, 6] = clean[2] = False
    assert np.isnan(got[1]).all() and np.isnan(got[:, 6]).all() and not np.isfinite(got[2]).any()
    np.testing.assert_allclose(
        got[clean], (np.nan_to_num(x, posinf=0) @ np.nan_to_num(w))[clean], rtol=1e-12, atol=1e-13
    )


def test_empty_reductions_are_what_numpy_says():
    empty = np.ones((0, 3))
    np.testing.assert_array_equal(O.sum(empty, 0), [0, 0, 0])
    assert O.sum(empty) == 0 and np.isnan(O.mean(empty, 0)).all() and O.mean(empty, 1).shape == (0,)
    assert O.max(np.ones((0, 3)), 1).shape == (0,) and O.argmax(np.ones((0, 3)), 1).shape == (0,)
    for op in (O.max, O.min, O.argmax):
        with pytest.raises(ShapeError, match="no elements"):
            op(empty, 0)


# ---- dropout ----
def test_dropout_keeps_the_share_it_should_and_scales_by_it():
    x = np.ones((200, 301))
    for p in (0.1, 0.5, 0.9):
        y = hf.compile(lambda x, p=p: O.dropout(x, p))(x)
        kept = (y != 0).mean()
        assert abs(kept - (1 - p)) < 5 * np.sqrt(p * (1 - p) / x.size)
        np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-15)


def test_two_dropouts_have_masks_of_their_own_and_one_mask_serves_forward_and_backward():
    x = np.ones((20, 300))
    a, b = hf.compile(lambda x: (O.dropout(x), O.dropout(x)))(x)
    assert 0.4 < (a == b).mean() < 0.6

    def f(x):
        y = O.dropout(x, 0.3)
        return O.sum(y * y)

    value, g = hf.value_and_grad(f)(x)
    y = hf.compile(lambda x: O.dropout(x, 0.3))(x)
    np.testing.assert_allclose(value, (y * y).sum(), rtol=1e-14)
    np.testing.assert_allclose(g, 2 * y / 0.7, rtol=1e-14)


def test_more_threads_than_the_machine_has_are_no_error():
    f = hf.compile(lambda x: O.tanh(x @ x.T))
    assert all(f(X34, threads=n).tobytes() == f(X34).tobytes() for n in (1, 2, 7, 16, 10**9))


def test_outputs_helper_and_batch_norm_in_one_trace():
    y, mean, var = outputs(hf.compile(O.batch_norm)(X34, np.ones(4), np.zeros(4)))
    np.testing.assert_allclose(mean, X34.mean(0), rtol=1e-14)
    np.testing.assert_allclose(y.std(0), np.sqrt(var / (var + 1e-5)), rtol=1e-12)


@pytest.mark.parametrize("dtype", MODES)
def test_the_variance_of_one_row_that_is_not_finite_is_no_number(dtype):
    _, mean, var = O.batch_norm(np.array([[NAN, INF, 2.0]], dtype), np.ones(3, dtype), np.zeros(3, dtype))
    np.testing.assert_array_equal(mean, [NAN, INF, 2])
    np.testing.assert_array_equal(var, [NAN, NAN, 0])
