"""Tracing: sizes that depend on the batch, equal nodes recorded once, and what a symbol refuses to be."""

import copy

import numpy as np
import pytest
from hypothesis import given, strategies as st

import hawfinch as hf
from hawfinch.compiler.autodiff import gradients
from hawfinch.compiler.rewrite import live_nodes, rewrite
from hawfinch.errors import ShapeError
from hawfinch.ir import (
    BATCH,
    CONST,
    PARAM,
    Dim,
    Graph,
    as_tensor,
    current_graph,
    dim,
    input_tensor,
    leaf,
    numel,
    scalar,
    scalar_value,
    size_at,
    tracing,
)

O = hf.ops


@pytest.fixture
def graph():
    with tracing(Graph()) as g:
        yield g


def names(graph):
    return [n.op.name for n in graph.nodes]


# ---- sizes ----
SIZES = st.one_of(st.integers(0, 50), st.builds(Dim, st.integers(1, 9), st.integers(-5, 20)))


@given(SIZES, SIZES, st.integers(0, 7), st.integers(0, 1000))
def test_arithmetic_of_sizes_commutes_with_choosing_the_batch(a, b, n, batch):
    at = lambda s: size_at(s, batch)  # noqa: E731
    assert at(a + b) == at(a) + at(b) and a + b == b + a
    assert at(a + n) == at(n + a) == at(a) + n
    assert at(a * n) == at(n * a) == at(a) * n
    if isinstance(a, Dim):
        assert at(a - b) == at(a) - at(b)
        assert not isinstance(a - a, Dim) and a - a == 0
        assert isinstance(a * 0, int)
        if n:
            assert (a * n).divided_by(n) == a


def test_sizes_are_values():
    assert Dim(2, 3) == Dim(2, 3) and hash(Dim(2, 3)) == hash(Dim(2, 3))
    assert Dim(2, 3) != Dim(2, 4) and Dim(1) != 1 and Dim(1) != 5
    assert dim(0, 4) == 4 and isinstance(dim(0, 4), int)
    assert [repr(d) for d in (BATCH, Dim(3), Dim(1, 2), Dim(2, -1))] == ["B", "3B", "B+2", "2B-1"]


def test_number_of_elements():
    assert numel(()) == 1 and numel((3, 4)) == 12 and numel((0, BATCH)) == 0
    assert numel((BATCH, 3, 2)) == Dim(6) == numel((3, BATCH, 2)) and numel((Dim(2, 1), 3)) == Dim(6, 3)
    with pytest.raises(ShapeError, match="square of the batch"):
        numel((BATCH, BATCH))
    for n in (0, 4, 6):
        with pytest.raises(ShapeError, match="not divisible"):
            Dim(3, 9).divided_by(n)
    assert Dim(3, 9).divided_by(3) == Dim(1, 3)


# ---- the batch in shapes ----
def test_shapes_carry_the_batch(graph):
    x = input_tensor(graph, "x", (BATCH, 4, 3))
    w = as_tensor(graph, np.ones((3, 5)))
    y = x @ w
    assert y.shape == (BATCH, 4, 5)
    assert O.reshape(x, (-1, 3)).shape == (Dim(4), 3) and O.reshape(x, (BATCH, -1)).shape == (BATCH, 12)
    assert O.reshape(x, (Dim(2), -1)).shape == (Dim(2), 6)
    assert O.transpose(x).shape == (3, 4, BATCH)
    assert O.concat([x, x, as_tensor(graph, np.ones((2, 4, 3)))]).shape == (Dim(2, 2), 4, 3)
    assert O.sum(x, 0).shape == (4, 3) and O.mean(x, (1, 2)).shape == (BATCH,) and O.sum(x).shape == ()
    assert x[:, 1].shape == (BATCH, 3) and x[:, None, ..., -1].shape == (BATCH, 1, 4)
    assert O.pad(x, [(1, 2), (0, 0), (1, 1)]).shape == (Dim(1, 3), 4, 5)
    assert (x + as_tensor(graph, np.ones((4, 1)))).shape == (BATCH, 4, 3)


def test_what_the_batch_axis_refuses(graph):
    x = input_tensor(graph, "x", (BATCH, 4))
    for f, message in (
        (lambda: x[0], "can't be indexed"),
        (lambda: x[1:], "can't be sliced"),
        (lambda: x @ O.transpose(x) @ x @ x, "fit"),
        (lambda: x + as_tensor(graph, np.ones((3, 4))), "broadcast"),
        (lambda: O.reshape(x, (5, -1)), "divisible"),
        (lambda: O.reshape(x, (Dim(3), -1)), "can't reshape"),
        (lambda: O.reshape(x, (BATCH, 5)), "4B elements against 5B"),
        (lambda: O.gather(x, as_tensor(graph, np.array([0]))), "fixed number of rows"),
        (lambda: O.concat([x, O.reshape(x, (4, BATCH))]), "differ"),
        (lambda: x + O.reshape(x, (Dim(2), 2)), "broadcast"),
    ):
        with pytest.raises(ShapeError, match=message):
            f()
    with pytest.raises(TypeError, match="batch size is not known"):
        len(x)
    with pytest.raises(TypeError, match="batch size is not known"):
        next(iter(x))


# ---- equal nodes ----
def test_equal_nodes_are_recorded_once(graph):
    x = input_tensor(graph, "x", (2, 3))
    y = input_tensor(graph, "y", (2, 3))
    assert x + y is x + y and O.exp(x) is O.exp(x)
    assert O.sum(x, 0) is O.sum(x, 0) and O.sum(x, 0) is not O.sum(x, 1)
    assert O.leaky_relu(x, 0.1) is O.leaky_relu(x, 0.1) and O.leaky_relu(x, 0.1) is not O.leaky_relu(x, 0.2)
    assert x * 2 is x * 2.0 and x * 2 is not x * 3
    assert x - y is not y - x
    n = len(graph.nodes)
    _ = x + y, O.exp(x), x * 2
    assert len(graph.nodes) == n
    assert [node.index for node in graph.nodes] == list(range(n))
    assert all(t.node.index < node.index for node in graph.nodes for t in node.inputs)


def test_arrays_are_equal_only_as_the_same_object(graph):
    a = np.ones(3)
    assert leaf(graph, PARAM, a) is leaf(graph, PARAM, a)
    assert leaf(graph, PARAM, a) is not leaf(graph, PARAM, a.copy())
    assert leaf(graph, PARAM, a) is not leaf(graph, CONST, a)


def test_numbers_that_are_equal_but_differ(graph):
    assert scalar(graph, 0.0) is scalar(graph, 0.0) and scalar(graph, 0.0) is not scalar(graph, -0.0)
    assert scalar_value(scalar(graph, 2.5)) == 2.5 and scalar_value(input_tensor(graph, "x", ())) is None
    x = input_tensor(graph, "x", (3,))
    assert x / 0.0 is not x / -0.0


def test_arithmetic_of_numbers_is_done_while_tracing(graph):
    a, b = scalar(graph, 3.0), scalar(graph, 4.0)
    for t, value in ((a + b, 7), (a - b, -1), (a * b, 12), (a / b, 0.75), (-a, -3), (O.square(b), 16), (2 * a + 1, 7)):
        assert scalar_value(t) == value
    for numerator, denominator, value in ((1, 0.0, np.inf), (1, -0.0, -np.inf), (-1, 0.0, -np.inf), (0, 0.0, np.nan)):
        np.testing.assert_equal(scalar_value(scalar(graph, numerator) / scalar(graph, denominator)), value)
    assert set(names(graph)) == {"scalar"}


def test_what_changes_nothing_is_not_recorded(graph):
    x = input_tensor(graph, "x", (2, 3))
    i = input_tensor(graph, "i", (2, 3), "int")
    for same in (
        x + 0,
        0 + x,
        x - 0,
        x * 1,
        1 * x,
        x / 1,
        x**1,
        O.reshape(x, (2, 3)),
        O.transpose(x, (0, 1)),
        x.T.T,
        x[:, :],
        O.broadcast_to(x, (2, 3)),
        O.clip(x),
        O.to_real(x),
    ):
        assert same is x
    assert names(graph)[:2] == ["input", "input"]
    assert 0 - x is not x and 1 / x is not x
    assert (i + 0).dtype == "real"
    assert ((x > 0) * 1).dtype == "real"
    for power, name in ((2, "square"), (0.5, "sqrt"), (-1, "reciprocal"), (3, "pow")):
        assert (x**power).node.op.name == name


# ---- live nodes ----
def test_dead_nodes_do_not_survive_rewriting(graph):
    x = input_tensor(graph, "x", (2, 3))
    dead = O.exp(x) @ as_tensor(graph, np.ones((3, 3)))
    y = O.tanh(x)
    assert dead.node not in live_nodes(graph, [y]) and [n.op.name for n in live_nodes(graph, [y])] == ["input", "tanh"]
    new, to = rewrite(graph, [y])
    assert names(new) == ["input", "tanh"] and to[id(y)].node is new.nodes[1]
    assert [n.index for n in new.nodes] == [0, 1]
    assert "matmul" in names(graph)  # the first graph is left as it was


def test_a_value_that_nobody_wants_costs_no_record():
    f = hf.compile(lambda x: (O.exp(x @ x), O.tanh(x))[1])
    assert [s.op for s in f.plan(np.ones((3, 3))).steps] == ["ewise"]
    g = hf.value_and_grad(lambda x, w: O.sum(x @ w), 1)
    matmuls = [s for s in g.plan(np.ones((2, 3)), np.ones((3, 4))).steps if s.op == "matmul"]
    assert len(matmuls) == 2  # x w and dw, not dx


def test_gradient_nodes_carry_the_scope_of_their_layer(graph):
    x = input_tensor(graph, "x", (2, 3))
    graph.scope = "layer"
    y = O.tanh(x)
    graph.scope = "loss"
    z = O.sum(y * y)
    graph.scope = ""
    before = len(graph.nodes)
    gradients(graph, z, [x])
    scopes = {n.op.name: n.scope for n in graph.nodes[before:] if n.op.name != "scalar"}
    assert scopes["square"] == "layer"
    assert {n.scope for n in graph.nodes if n.op.name == "reduce"} == {"loss"}


# ---- the trace ----
def test_tracing_ends_with_its_block_also_after_an_error():
    assert current_graph() is None
    outer, inner = Graph(), Graph()
    with tracing(outer):
        with pytest.raises(ZeroDivisionError), tracing(inner):
            assert current_graph() is inner
            raise ZeroDivisionError
        assert current_graph() is outer
    assert current_graph() is None
    with pytest.raises(ShapeError):
        hf.compile(lambda x: x @ x)(np.ones((2, 3)))
    assert current_graph() is None and isinstance(O.exp(np.ones(2)), np.ndarray)


def test_a_function_is_traced_once_for_each_set_of_shapes_and_dtypes():
    calls = []

    def fn(x, k):
        calls.append(x.shape)
        return x * 2

    f = hf.compile(fn)
    for x in (np.ones(3), np.zeros(3), np.ones(4), np.ones(3, np.float32), np.ones((3, 1)), np.ones(3)):
        f(x, np.ones(1))
    assert calls == [(3,), (4,), (3,), (3, 1)]
    f(np.ones(3), [np.ones(1)])
    f(np.ones(3), {"a": np.ones(1)})
    assert len(calls) == 6


def test_the_cache_of_traces_is_bounded_and_drops_the_oldest():
    calls = []

    def fn(x):
        calls.append(x.shape[0])
        return x + 1

    f = hf.compile(fn)
    f(np.ones(1))
    f._cache.max_bytes = 20 * f.nbytes
    for n in range(2, 31):
        f(np.ones(n))
    f(np.ones(30))
    assert len(calls) == 30 and f.nbytes <= f._cache.max_bytes
    f(np.ones(1))
    assert calls[30:] == [1]


def test_symbols_refuse_to_be_arrays_or_truths(graph):
    x = input_tensor(graph, "x", (2, 3))
    for f in (
        lambda: bool(x),
        lambda: x and 1,
        lambda: not x,
        lambda: np.asarray(x),
        lambda: np.ones(3)[x],
        lambda: float(x),
    ):
        with pytest.raises((TypeError, IndexError)):
            f()
    assert "input" in repr(x) and "(2, 3)" in repr(x)
    assert x.ndim == 2 and x.T.shape == (3, 2) and len(x) == 2 and [row.shape for row in x] == [(3,), (3,)]
    assert copy.copy(x.shape) == (2, 3)
    # numpy on the left leaves the operation to the symbol
    assert (
        (np.ones((4, 2)) @ x).shape == (4, 3)
        and (np.float64(2) * x).shape == (2, 3)
        and (np.ones(3) > x).dtype == "mask"
    )


def test_graphs_of_two_threads_are_apart():
    import threading

    with tracing(Graph()):
        seen = []
        thread = threading.Thread(target=lambda: seen.append((current_graph(), O.exp(np.zeros(2)))))
        thread.start()
        thread.join()
    assert seen[0][0] is None
    np.testing.assert_array_equal(seen[0][1], [1, 1])
