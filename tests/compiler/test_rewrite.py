"""One case per row of the rewrite tables: what it does to the steps, and that it changes no result."""

import itertools

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.compiler import rewrite
from hawfinch.compiler.rewrite import JOINED, REPLACED, unfused

O = hf.ops
rng = np.random.default_rng(6)
X, V, M, LABELS = rng.normal(size=(6, 5)), rng.normal(size=5), rng.normal(size=(5, 4)), np.arange(6) % 5


def codes(steps):
    return list(itertools.chain(*(s.code for s in steps)))


def named(steps, op):
    return [s for s in steps if s.op == op]


def norm_under_relu(x, g, dy):
    return O.sum(O.relu(O.batch_norm(x, g, V)[0]) * dy)


# row -> (function, arguments, argnums of a gradient or None, whether its trace is in the steps)
CASES = {
    "cross-entropy pair": (
        lambda x: O.mean(O.softmax_cross_entropy(x, LABELS)),
        (X,),
        0,
        lambda steps: len(named(steps, "softmax_cross_entropy")) == 1,
    ),
    "mask made anew": (  # what is masked is computed in the same program, not read
        norm_under_relu,
        (X, V, X[::-1].copy()),
        (0, 1),
        lambda steps: any({"relu_mask", "fnma"} <= set(s.code) for s in steps),
    ),
    "mask in the sums of a batch norm": (
        norm_under_relu,
        (X, V, X[::-1].copy()),
        (0, 1),
        lambda steps: any(s.fields["scale"] is not None for s in named(steps, "norm_grad")),
    ),
    "product + sum": (
        lambda x: (x * V + 1.0, 1.0 - O.square(x), O.exp(x) * V - x),
        (X,),
        None,
        lambda steps: {"fma_c", "fnma_c", "fms"} <= set(codes(steps)),
    ),
    "matmul + bias": (
        lambda x: M[0] + x @ M,
        (X,),
        None,
        lambda steps: len(steps) == 1 and steps[0].fields["bias"] is not None,
    ),
    "transpose into matmul": (
        lambda x, m: O.transpose(m) @ O.transpose(x),
        (X, M),
        None,
        lambda steps: [s.op for s in steps] == ["matmul"],
    ),
}


def test_every_row_has_a_case():
    assert CASES.keys() == {row.name for row in (*REPLACED, *JOINED)}


def made(name):
    fn, args, argnums, seen = CASES[name]
    f = hf.compile(fn) if argnums is None else hf.value_and_grad(fn, argnums)
    return seen(f.plan(*args).steps), [np.asarray(r) for r in leaves(f(*args))]


def leaves(result):
    return itertools.chain(*map(leaves, result)) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", CASES)
def test_a_row_is_applied_and_changes_no_result(name, monkeypatch):
    applied, results = made(name)
    monkeypatch.setattr(rewrite, "REPLACED", tuple(row for row in REPLACED if row.name != name))
    monkeypatch.setattr(rewrite, "JOINED", tuple(row for row in JOINED if row.name != name))
    without, plain = made(name)
    assert applied and not without
    for a, b in zip(results, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_without_fusing_there_are_primitive_ops_a_record_each(name):
    _, results = made(name)
    with unfused():
        applied, plain = made(name)
        fn, args, argnums, _ = CASES[name]
        steps = (hf.compile(fn) if argnums is None else hf.value_and_grad(fn, argnums)).plan(*args).steps
    assert not applied or name == "transpose into matmul"
    assert not {s.op for s in steps} & {"softmax_cross_entropy", "softmax", "moments", "norm_grad"}
    assert all(len(set(s.code) - {"constant"}) <= 1 for s in steps)
    for a, b in zip(results, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


# ---- conditions: where a row must not be applied ----
def count(fn, *args, op="matmul"):
    return [s.op for s in hf.compile(fn).plan(*args).steps].count(op)


def test_a_product_that_another_reads_stays():
    (step,) = hf.compile(lambda x: (x * V, x * V + 1.0)).plan(X).steps
    assert step.code == ("mul", "add_imm")
    (step,) = hf.compile(lambda x: x * V + x * V).plan(X).steps
    assert step.code == ("mul", "add")


def test_a_sum_that_is_no_bias_stays():
    for fn in (
        lambda x: x @ M + O.reshape(O.sum(x, 0)[:4], (4,)),  # computed: not there when the accumulators start
        lambda x: x @ M + np.ones((6, 1)),
        lambda x: (x @ M, x @ M + M[0]),
    ):
        steps = hf.compile(fn).plan(X).steps
        assert all(s.fields["bias"] is None for s in named(steps, "matmul")) and "add" in codes(steps)


def test_a_transpose_that_is_wanted_itself_is_copied():
    assert count(lambda x: (O.transpose(x), O.transpose(x) @ X), X, op="copy") == 1
    assert count(lambda x: O.transpose(x) @ X, X, op="copy") == 0


def test_outputs_that_become_one_node_are_both_written():
    """A batch norm beside its own formula: taken apart, they are the same nodes."""

    def fn(x, g, b):
        y, mean, var = O.batch_norm(x, g, b)
        return y, (x - mean) * (g * O.reciprocal(O.sqrt(var + 1e-5))) + b

    a, b = hf.compile(fn)(X, V, V[::-1].copy())
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a, (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-5) * V + V[::-1], rtol=1e-12)
