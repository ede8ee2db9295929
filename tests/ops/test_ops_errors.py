"""hf.ops and compiled functions given what they can't use: an error before any kernel runs, and nothing written."""

import numpy as np
import pytest
from references import log_softmax

import hawfinch as hf
from hawfinch.errors import ArgumentError, DTypeError, LabelError, ShapeError, TraceError

O = hf.ops
NAN = np.nan
X34 = np.random.default_rng(5).normal(size=(3, 4))


# ---- out= ----
def test_out_receives_the_result():
    f = hf.compile(lambda x: x * 2 + 1)
    out = np.full((3, 4), NAN)
    assert f(X34, out=out) is out
    np.testing.assert_array_equal(out, X34 * 2 + 1)
    at = np.full(3, -1)
    assert hf.compile(lambda x: O.argmax(x, 1))(X34, out=at) is at
    np.testing.assert_array_equal(at, X34.argmax(1))
    total = np.array(NAN)
    assert hf.compile(O.sum)(X34, out=total) is total
    np.testing.assert_allclose(total, X34.sum())
    whole = np.zeros(3, int)
    assert hf.compile(lambda i: i)(np.arange(3), out=whole) is whole
    np.testing.assert_array_equal(whole, np.arange(3))


def read_only(a):
    a.setflags(write=False)
    return a


@pytest.mark.parametrize(
    ("fn", "out", "error"),
    [
        (lambda x: x + 1, lambda: np.empty((4, 3)), ShapeError),
        (lambda x: x + 1, lambda: np.empty((3, 4), np.float32), ShapeError),
        (lambda x: x + 1, lambda: np.empty(12), ShapeError),
        (lambda x: x + 1, lambda: [0.0], ShapeError),
        (lambda x: x + 1, lambda: np.empty((4, 3)).T, ArgumentError),
        (lambda x: x + 1, lambda: np.empty((3, 8))[:, ::2], ArgumentError),
        (lambda x: x + 1, lambda: read_only(np.empty((3, 4))), ArgumentError),
        (lambda x: x + 1, lambda: X34, ArgumentError),
        (lambda x: O.argmax(x, 1), lambda: np.empty(3), ShapeError),
        (lambda x: (O.sum(x, 1), x + 1), lambda: np.empty(3), ArgumentError),
        (lambda x: (), lambda: np.empty(3), ArgumentError),
    ],
)
def test_a_wrong_out_is_refused_and_not_written(fn, out, error):
    given_out = out()
    before = np.array(given_out)
    with pytest.raises(error, match="out"):
        hf.compile(fn)(X34, out=given_out)
    np.testing.assert_array_equal(given_out, before)


# ---- bad input ----
I3 = np.array([0, 1, 2])
BAD = [
    (lambda: O.add(X34, np.ones(3)), ShapeError, "broadcast"),
    (lambda: O.where(np.ones(2), X34, 0.0), ShapeError, "broadcast"),
    (lambda: O.mul(np.ones((2, 1, 2, 1, 2, 1)), np.ones((1, 2, 1, 2, 1, 2))), ShapeError, "fewer axes"),
    (lambda: O.matmul(X34, np.ones((3, 4))), ShapeError, r"4 columns against 3 rows"),
    (lambda: O.matmul(X34, np.ones((2, 4, 5))), ShapeError, "expected"),
    (lambda: O.matmul(X34, np.array(1.0)), ShapeError, "expected"),
    (lambda: O.matmul(np.ones(3), np.ones(4)), ShapeError, "do not fit"),
    (lambda: O.sum(X34, 2), ShapeError, "axis 2 is out of bounds"),
    (lambda: O.mean(X34, (0, -3)), ShapeError, "out of bounds"),
    (lambda: O.max(X34, -3), ShapeError, "out of bounds"),
    (lambda: O.argmax(X34, 5), ShapeError, "out of bounds"),
    (lambda: O.argmax(X34, (0, 1)), ShapeError, "one axis"),
    (lambda: O.softmax(np.array(1.0)), ShapeError, "last axis"),
    (lambda: O.log_softmax(np.array(1.0)), ShapeError, "last axis"),
    (lambda: O.reshape(X34, (5, 2)), ShapeError, "12 elements against 10"),
    (lambda: O.reshape(X34, (5, -1)), ShapeError, "can't reshape"),
    (lambda: O.reshape(X34, (-1, -1)), ShapeError, "at most one"),
    (lambda: O.reshape(X34, (-2, -6)), ShapeError, "whole numbers"),
    (lambda: O.reshape(X34, (1.5, 8)), ShapeError, "whole numbers"),
    (lambda: O.transpose(X34, (0, 0)), ShapeError, "permutation"),
    (lambda: O.transpose(X34, (0,)), ShapeError, "permutation"),
    (lambda: O.transpose(X34, (0, 2)), ShapeError, "permutation"),
    (lambda: O.transpose(np.ones((1,) * 7)), ShapeError, "6 dimensions"),
    (lambda: O.getitem(X34, 3), ShapeError, "out of bounds"),
    (lambda: O.getitem(X34, -4), ShapeError, "out of bounds"),
    (lambda: O.getitem(X34, (0, 0, 0)), ShapeError, "too many indices"),
    (lambda: O.getitem(X34, "a"), DTypeError, "index must be"),
    (lambda: O.getitem(X34, 1.0), DTypeError, "index must be"),
    (lambda: O.getitem(X34, [0, 1]), DTypeError, "gather"),
    (lambda: O.getitem(X34, True), DTypeError, "index must be"),
    (lambda: hf.compile(lambda x: x[True])(X34), DTypeError, "index must be"),
    (lambda: O.sum(X34, 1.0), ShapeError, "whole number"),
    (lambda: O.sum(X34, True), ShapeError, "whole number"),
    (lambda: O.add(10**400, X34), ArgumentError, "401 digits"),
    (lambda: hf.compile(lambda x: x + 10**400)(X34), ArgumentError, "401 digits"),
    (lambda: O.pad(X34, 2), ShapeError, "pairs"),
    (lambda: O.pad(X34, [(1, 1.5), (0, 0)]), ShapeError, "pairs"),
    (lambda: O.elu(X34, "a"), DTypeError, "alpha"),
    (lambda: O.sum(X34, keepdims="no"), ArgumentError, "keepdims"),
    (lambda: O.pad(X34, [(1, 1)]), ShapeError, "per axis"),
    (lambda: O.pad(X34, [(1, 1), (-1, 0)]), ShapeError, "negative"),
    (lambda: O.pad(np.arange(3), [(1, 1)]), DTypeError, "to_real"),
    (lambda: O.concat([]), ShapeError, "at least one"),
    (lambda: O.concat([X34, X34[:, :3]]), ShapeError, "differ"),
    (lambda: O.concat([X34, X34[0]]), ShapeError, "differ"),
    (lambda: O.concat([X34, X34], axis=2), ShapeError, "axis 2 is out of bounds"),
    (lambda: O.concat([X34, X34], axis=-3), ShapeError, "out of bounds"),
    (lambda: O.concat([np.array(1.0), np.array(2.0)]), ShapeError, "out of bounds"),
    (lambda: O.concat([X34, np.ones((3, 4), int)]), ShapeError, "real and .* int"),
    (lambda: O.broadcast_to(X34, (4, 4)), ShapeError, "broadcast"),
    (lambda: O.broadcast_to(X34, (4,)), ShapeError, "can't broadcast"),
    (lambda: O.broadcast_to(np.ones(1), (-2,)), ShapeError, "whole numbers >= 0"),
    (lambda: O.broadcast_to(1.0, (2**40, 2**40)), ShapeError, "any memory"),
    (lambda: O.gather(X34, np.array([0.0, 1.0])), DTypeError, "integer"),
    (lambda: O.gather(np.array(1.0), I3), ShapeError, "rows of a table"),
    (lambda: O.gather(X34, np.array([0, 3])), LabelError, "outside"),
    (lambda: O.gather(X34, np.array([-1])), LabelError, "outside"),
    (lambda: O.gather(X34, np.array([2**62])), LabelError, "outside"),
    (lambda: O.softmax_cross_entropy(X34, np.array([0, 1, 4])), LabelError, r"outside"),
    (lambda: O.softmax_cross_entropy(X34, np.array([0, -1, 1])), LabelError, "outside"),
    (lambda: O.softmax_cross_entropy(np.ones((1, 50)), np.array([50])), LabelError, "outside"),
    (lambda: O.softmax_cross_entropy(np.ones((3, 0)), I3), LabelError, "outside"),
    (lambda: O.softmax_cross_entropy(X34, np.array([0, 1])), ShapeError, "integer labels"),
    (lambda: O.softmax_cross_entropy(X34, I3[:, None]), ShapeError, "elements|labels"),
    (lambda: O.softmax_cross_entropy(X34, I3.astype(float)), ShapeError, "probabilities"),
    (lambda: O.softmax_cross_entropy(X34, np.ones((4, 3))), ShapeError, "probabilities"),
    (lambda: O.softmax_cross_entropy(X34, np.ones((3, 1))), ShapeError, "probabilities"),
    (lambda: O.softmax_cross_entropy(np.array(1.0), np.array(0)), ShapeError, "classes"),
    (lambda: O.softmax_cross_entropy(np.ones((3, 4), int), I3), DTypeError, "real"),
    (lambda: O.softmax_cross_entropy(X34, I3, 1.5), ArgumentError, "label_smoothing"),
    (lambda: O.softmax_cross_entropy(X34, I3, -0.1), ArgumentError, "label_smoothing"),
    (lambda: O.correct(X34, I3[:2]), ShapeError, "labels"),
    (lambda: O.correct(X34, I3.astype(float)), ShapeError, "integer labels"),
    (lambda: O.correct(X34[0], I3), ShapeError, "rows, classes"),
    (lambda: O.correct(np.ones((3, 4), int), I3), DTypeError, "real"),
    (lambda: O.layer_norm(X34, np.ones(3), np.zeros(4)), ShapeError, "gamma"),
    (lambda: O.layer_norm(X34, np.ones(4), np.zeros((3, 4))), ShapeError, "beta"),
    (lambda: O.layer_norm(X34, np.ones((2, 1, 4)), np.zeros(4)), ShapeError, "gamma"),
    (lambda: O.layer_norm(np.array(1.0), np.ones(1), np.zeros(1)), ShapeError, "last axis"),
    (lambda: O.batch_norm(X34, np.ones(1), np.zeros(4)), ShapeError, "gamma"),
    (lambda: O.batch_norm(X34, np.ones(4), np.zeros(5)), ShapeError, "beta"),
    (lambda: O.dropout(X34), TraceError, "trace"),
    (lambda: hf.compile(lambda x: O.dropout(x, 1.5))(X34), ArgumentError, r"\[0, 1\]"),
    (lambda: hf.compile(lambda x: O.dropout(x, -0.5))(X34), ArgumentError, r"\[0, 1\]"),
    (lambda: O.exp(None), DTypeError, "exp.*object"),
    (lambda: O.exp("three"), DTypeError, "<U5"),
    (lambda: O.exp(np.ones(2, complex)), DTypeError, "complex128"),
    (lambda: O.exp(np.array(["2020-01-01"], "datetime64[D]")), DTypeError, "datetime64"),
    (lambda: O.exp([[1.0], [1.0, 2.0]]), ShapeError, "regular"),
    (lambda: hf.compile(lambda x: x + "a")(X34), DTypeError, "str"),
    (lambda: hf.compile(lambda x: x + 1)(None), DTypeError, "argument 0"),
    (lambda: hf.compile(lambda x: 1.0 if x > 0 else 0.0)(X34), TraceError, "truth value"),
    (lambda: hf.compile(lambda x: np.exp(x))(X34), TypeError, "NumPy's functions take no traced"),
    (lambda: hf.compile(lambda x: np.asarray(x))(X34), TraceError, "hf.ops"),
    (lambda: hf.compile(lambda x: x + 1, threads=0)(X34), ArgumentError, "threads"),
    (lambda: hf.compile(lambda x: x + 1)(X34, threads=-2), ArgumentError, "threads"),
    (lambda: hf.compile(lambda x: x + 1)(X34, threads=1.5), ArgumentError, "threads"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD, ids=range(len(BAD)))
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_error_leaves_a_function_usable():
    f = hf.compile(O.softmax_cross_entropy)
    with pytest.raises(LabelError):
        f(X34, np.array([0, 1, 9]))
    np.testing.assert_allclose(f(X34, I3), -log_softmax(X34)[[0, 1, 2], I3], rtol=1e-14)
    with pytest.raises(ShapeError):
        f(X34, np.array([0, 1]))
    assert np.isfinite(f(X34, I3)).all()
