"""Fusing: which records a function becomes, and that fused is still the same function."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from references import log_softmax

import hawfinch as hf
from hawfinch.compiler.group import MAX_NODES, fuse
from hawfinch.compiler.memory import Dynamic, base_of
from hawfinch.compiler.program import Program
from hawfinch.compiler.rewrite import rewrite, unfused
from hawfinch.ir import CONST, Graph, input_tensor, leaf, tracing
from hawfinch.ops.instructions import MAX_CODE, MAX_IN, MAX_OUT, MAX_TEMP
from hawfinch.ops.softmax import CROSS_ENTROPY_BOTH

O = hf.ops
rng = np.random.default_rng(21)
X, W, B = rng.normal(size=(6, 5)), rng.normal(size=(5, 4)), rng.normal(size=4)
LABELS = np.array([0, 1, 2, 3, 0, 1])


def steps(fn, *args):
    return hf.compile(fn).plan(*args).steps


def ops(fn, *args):
    return [s.op for s in steps(fn, *args)]


def grad_ops(fn, *args, argnums=0):
    return [s.op for s in hf.value_and_grad(fn, argnums).plan(*args).steps]


# ---- matmul and what follows it ----
@pytest.mark.parametrize(
    ("fn", "code"),
    [
        (lambda x, w: x @ w, ()),
        (lambda x, w: O.relu(x @ w), ("relu",)),
        (lambda x, w: O.tanh(x @ w * 2.0), ("mul_imm", "tanh")),
        (lambda x, w: O.gelu(x @ w), ("gelu",)),
        (lambda x, w: O.sigmoid(x @ w) * (x @ w), None),  # the product is read twice
    ],
)
def test_matmul_and_activation_are_one_record(fn, code):
    (step,) = steps(fn, X, W)
    assert step.op == "matmul"
    assert step.code == code if code is not None else len(step.code) > 1
    assert (step.fields["epilogue"] is None) == (code == ())


def test_matmul_bias_and_activation_are_one_record():
    (step,) = steps(lambda x, w, b: O.relu(x @ w + b), X, W, B)
    assert step.op == "matmul" and step.code == ("add", "relu")
    (step,) = steps(lambda x: O.relu(x @ W + B), X)  # a bias of the model starts the accumulators
    assert step.op == "matmul" and step.code == ("relu",) and step.fields["bias"].shape == (4,)
    (step,) = steps(lambda x: B + x @ W, X)
    assert step.code == () and step.fields["bias"] is not None
    np.testing.assert_allclose(
        hf.compile(lambda x: O.relu(x @ W + B))(X), np.maximum(X @ W + B, 0), rtol=1e-12, atol=1e-13
    )


def test_residual_connection_is_part_of_the_record():
    square = rng.normal(size=(5, 5))
    (step,) = steps(lambda x, w: O.tanh(x @ w) + x, X, square)
    assert step.op == "matmul" and step.code == ("tanh", "add")
    np.testing.assert_allclose(
        hf.compile(lambda x, w: O.tanh(x @ w) + x)(X, square), np.tanh(X @ square) + X, rtol=1e-12
    )


def test_a_product_that_is_wanted_itself_stays():
    def fn(x, w):
        y = x @ w
        return y, O.relu(y)

    (step,) = steps(fn, X, W)
    assert len(step.writes) == 2
    y, r = hf.compile(fn)(X, W)
    np.testing.assert_allclose(y, X @ W, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(r, np.maximum(y, 0))
    # here it is read by something that is no epilogue
    fn2 = lambda x, w: O.relu(x @ w) * O.sum(x @ w)  # noqa: E731
    assert ops(fn2, X, W) == ["matmul", "reduce", "reduce", "ewise"]
    np.testing.assert_allclose(hf.compile(fn2)(X, W), np.maximum(X @ W, 0) * (X @ W).sum(), rtol=1e-11, atol=1e-12)


def test_a_bias_is_no_bias_when_the_product_is_used_elsewhere_or_the_shape_differs():
    def fn(x):
        y = x @ W
        return y + B, O.exp(y)

    assert [s.fields["bias"] for s in steps(fn, X) if s.op == "matmul"] == [None]
    a, b = hf.compile(fn)(X)
    np.testing.assert_allclose(a, X @ W + B, rtol=1e-12, atol=1e-13)
    y, a = hf.compile(lambda x: ((y := x @ W), y + B))(X)
    np.testing.assert_allclose(y, X @ W, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(a, X @ W + B, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(b, np.exp(X @ W), rtol=1e-12)
    for shape in ((6, 4), (1, 4), (6, 1), (1,), ()):
        c = np.asarray(rng.normal(size=shape))
        np.testing.assert_allclose(hf.compile(lambda x, c=c: x @ W + c)(X), X @ W + c, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(
        hf.compile(lambda x: (x @ W + B) + (x @ W + B))(X), 2 * (X @ W + B), rtol=1e-12, atol=1e-13
    )
    np.testing.assert_allclose(hf.compile(lambda x: x @ W + B + B)(X), X @ W + 2 * B, rtol=1e-12, atol=1e-13)


def test_two_layers_are_two_records_and_a_training_step_has_no_lonely_elementwise_pass():
    w2 = rng.normal(size=(4, 3))

    def net(w1, b1, w2, b2, x):
        return O.relu(x @ w1 + b1) @ w2 + b2

    args = (W, B, w2, np.zeros(3), X)
    assert ops(net, *args) == ["matmul", "matmul"]

    def loss(*a):
        return O.mean(O.softmax_cross_entropy(net(*a), LABELS % 3))

    found = grad_ops(loss, *args, argnums=(0, 1, 2, 3))
    # forward 2, loss with its gradient 1, mean 1, bias gradients 2, weight gradients 2, gradient of the hidden layer
    # with the mask of relu in its epilogue 1
    assert sorted(found) == ["matmul"] * 5 + ["reduce"] * 3 + ["softmax_cross_entropy"]


def test_the_gradient_of_an_activation_is_an_epilogue_of_the_product_before_it():
    w2 = rng.normal(size=(4, 3))
    plan = hf.value_and_grad(lambda w1: O.sum(O.square(O.tanh(X @ w1) @ w2))).plan(W)
    codes = {s.code for s in plan.steps if s.op == "matmul"}
    assert codes == {("tanh",), ("square", "mul_imm"), ("fnma_c", "mul"), ()}


@pytest.mark.parametrize(
    "loss",
    [
        hf.MSE(),
        hf.MAE(),
        hf.Huber(),
        hf.LogCosh(),
        hf.Quantile(0.3),
        hf.Poisson(),
        hf.BCEWithLogits(),
        hf.Hinge(),
        hf.PerceptronLoss(),
        0.5 * hf.MSE() + hf.MAE(),
    ],
)
def test_the_elements_of_a_loss_and_its_gradient_are_one_record(loss):
    """Each operand is read once, though the sum stands between the two in the trace."""
    t = np.abs(X) + 1.0
    traced = hf.value_and_grad(lambda x: O.mean(loss(x, t)))
    plan = traced.plan(X)
    (step,) = [s for s in plan.steps if X.shape in [t.shape for t in s.reads]]
    assert step.op == "ewise" and [t.shape for t in step.writes if t.shape != X.shape[:1]] == [X.shape]
    value, gradient = traced(X)
    h = 1e-6
    ends = [float(traced(X + np.eye(1, X.size, 7).reshape(X.shape) * s)[0]) for s in (h, -h)]
    assert gradient.reshape(-1)[7] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-9)
    assert np.isfinite(value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 10, 256, 257, 512, 513, 1023, 1024, 1025, 1536, 2049, 5000])
def test_a_sum_over_rows_is_part_of_the_program_with_the_bits_of_a_sum_of_its_own(n, dtype):
    """Around a block of the program (512 floats) and the chunk of a sum (1,024)."""
    x, by = rng.normal(size=(7, n)).astype(dtype), rng.normal(size=(7, 1)).astype(dtype)
    for kind in (O.sum, O.mean):
        inside = hf.compile(lambda x, by, kind=kind: kind(O.exp(x * 0.5) * by, 1))
        apart = hf.compile(lambda x, by, kind=kind: (kind(y := O.exp(x * 0.5) * by, 1), y))
        assert [s.op for s in inside.plan(x, by).steps] == ["ewise"]
        assert [s.op for s in apart.plan(x, by).steps] == ["ewise", "reduce"]
        np.testing.assert_array_equal(inside(x, by), apart(x, by)[0])


@pytest.mark.parametrize(
    ("fn", "records"),
    [
        (lambda x: O.sum(O.exp(x), 0), ["ewise", "reduce"]),  # down the columns
        (lambda x: O.max(O.exp(x), 1), ["ewise", "reduce"]),
        (lambda x: O.sum(O.exp(x), 1) + O.max(O.exp(x), 1), ["ewise", "reduce", "reduce", "ewise"]),  # two readers
        (lambda x: O.sum(O.exp(O.reshape(x, (6, 5, 1)) * W), 1), ["ewise", "reduce"]),  # not all of the row
        (lambda x: O.sum(O.exp(O.reshape(x, (6, 5, 1)) * W), (1, 2)), ["ewise", "reduce"]),  # no run of elements
    ],
)
def test_other_sums_are_records_of_their_own(fn, records):
    assert ops(fn, X) == records
    with unfused():
        want = hf.compile(fn)(X)
    np.testing.assert_allclose(hf.compile(fn)(X), want, rtol=1e-12)


def test_a_sum_that_nobody_waits_for_runs_before_the_next_product():
    """So that what it adds up need not be kept any longer."""
    names = grad_ops(lambda w: O.sum(O.square(O.tanh(X @ w) @ np.ones((4, 3)))), W)
    assert names.index("reduce") < max(i for i, name in enumerate(names) if name == "matmul")


# ---- transposes ----
def test_transposes_are_read_through_strides():
    assert ops(lambda x, w: O.transpose(x) @ w, X.T.copy(), W) == ["matmul"]
    assert ops(lambda x, w: x @ w.T, X, W.T.copy()) == ["matmul"]
    assert ops(lambda x, w: x.T @ w.T, X.T.copy(), W.T.copy()) == ["matmul"]
    assert ops(lambda x: x.T.T, X) == ["ewise"]  # the copy of an input that is given back
    assert ops(lambda x, w: (w.T @ x.T).T, X, W) == ["matmul", "copy"]
    assert ops(lambda x: O.exp(x.T), X) == ["copy", "ewise"]
    # one reader takes strides, the other needs the copy
    assert sorted(ops(lambda x: (x.T @ X, O.exp(x.T)), X)) == ["copy", "ewise", "matmul"]
    for fn in (lambda x, w: (w.T @ x.T).T, lambda x, w: x.T.T @ w.T.T):
        np.testing.assert_allclose(hf.compile(fn)(X, W), X @ W, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(hf.compile(lambda x: x.T @ x)(X), X.T @ X, rtol=1e-12, atol=1e-14)


def test_the_gradients_of_a_product_need_no_copies():
    assert grad_ops(lambda x, w: O.sum(O.square(x @ w)), X, W, argnums=(0, 1)).count("copy") == 0


# ---- elementwise programs ----
def test_a_chain_is_one_record():
    chain = lambda x: O.tanh(O.exp(-O.square(x) * 0.5) + x) / (O.abs(x) + 1.0)  # noqa: E731
    (step,) = steps(chain, X)
    assert step.op == "ewise"
    assert step.code == ("square", "neg", "mul_imm", "exp", "add", "tanh", "abs", "add_imm", "div")
    assert len(step.reads) == len(step.writes) == 1


def test_branches_and_several_results_are_one_record():
    def fn(x, v):
        a = O.sigmoid(x) * v
        return a, O.maximum(a, x), a - 1.0

    (step,) = steps(fn, X, rng.normal(size=5))
    assert len(step.writes) == 3


def test_broadcast_operands_do_not_need_a_pass_of_their_own():
    (step,) = steps(lambda x, v, c: (x - v) * c + 1.0, X, rng.normal(size=5), rng.normal(size=(6, 1)))
    assert step.op == "ewise" and [t.shape for t in step.reads] == [(6, 5), (5,), (6, 1)]


def test_normalisation_and_activation_are_statistics_and_one_pass():
    one = np.ones(5)
    assert ops(lambda x: O.relu(O.layer_norm(x, one, one)), X)[0] == "moments"
    found = steps(lambda x: O.relu(O.batch_norm(x, one, one)[0]), X)
    assert [s.op for s in found if (6, 5) in [t.shape for t in s.writes]] == ["ewise"]
    assert "relu" in found[-1].code


def test_programs_are_cut_where_they_do_not_fit_the_machine():
    values = [rng.normal(size=(3, 7)) for _ in range(20)]

    def many_inputs(*xs):
        y = xs[0]
        for x in xs[1:]:
            y = y * 0.5 + O.tanh(x)
        return y

    def many_results(x):
        return tuple(O.tanh(x * float(i)) for i in range(11))

    def long(x):
        for i in range(100):
            x = O.tanh(x + 0.01 * i)
        return x

    def wide(x):  # more values alive at once than there are registers
        level = [O.tanh(x * (1.0 + i)) for i in range(16)]
        while len(level) > 1:
            level = [a + b for a, b in zip(level[: len(level) // 2], level[len(level) // 2 :], strict=True)]
        return level[0]

    expected = values[0]
    for i in range(100):
        expected = np.tanh(expected + 0.01 * i)
    np.testing.assert_allclose(hf.compile(long)(values[0]), expected, rtol=1e-12)
    for fn, args in ((many_inputs, values), (many_results, values[:1]), (long, values[:1]), (wide, values[:1])):
        found = steps(fn, *args)
        assert {s.op for s in found} == {"ewise"} and 1 < len(found) < 40
        for s in found:
            assert s.fields["n_in"] == len(s.reads) <= MAX_IN and s.fields["n_out"] == len(s.writes) <= MAX_OUT
            assert s.fields["n_code"] == len(s.code) <= MAX_CODE
    y = values[0]
    for x in values[1:]:
        y = y * 0.5 + np.tanh(x)
    np.testing.assert_allclose(hf.compile(many_inputs)(*values), y, rtol=1e-13)
    for i, r in enumerate(hf.compile(many_results)(values[0])):
        np.testing.assert_allclose(r, np.tanh(values[0] * i), rtol=1e-14)
    np.testing.assert_allclose(
        hf.compile(wide)(values[0]), sum(np.tanh(values[0] * (1 + i)) for i in range(16)), rtol=1e-13, atol=1e-14
    )
    assert len(steps(long, values[0])) == -(-200 // MAX_NODES)


def test_what_stands_between_keeps_programs_apart():
    """exp(x) is read by the sum, and the sum by the last program: one record for both would be a circle."""
    fn = lambda x: O.exp(x) / O.sum(O.exp(x), 1, True)  # noqa: E731
    assert ops(fn, X) == ["ewise", "reduce", "ewise"]
    np.testing.assert_allclose(hf.compile(fn)(X), np.exp(log_softmax(X)), rtol=1e-14)


def test_different_shapes_are_different_programs():
    assert ops(lambda x: O.exp(O.tanh(x)[:2]), X) == ["ewise", "copy", "ewise"]
    assert ops(lambda x: O.tanh(O.reshape(O.exp(x), (30,))), X) == ["ewise", "ewise"]


# ---- instructions ----
def test_numbers_are_immediates():
    x = np.array([0.5, 2.0])
    for fn, code in (
        (lambda v: v + 3, "add_imm"),
        (lambda v: 3 + v, "add_imm"),
        (lambda v: v - 3, "sub_imm"),
        (lambda v: 3 - v, "rsub"),
        (lambda v: v / 3, "div_imm"),
        (lambda v: 3 / v, "rdiv"),
        (lambda v: v**3, "pow_imm"),
        (lambda v: O.maximum(3, v), "maximum_imm"),
        (lambda v: v > 3, "greater_imm"),
        (lambda v: O.greater(3, v), "less_imm"),
        (lambda v: O.less_equal(3, v), "greater_equal_imm"),
    ):
        assert steps(fn, x)[0].code == (code,)
    assert steps(lambda v: 3**v, x)[0].code == ("constant", "pow")
    assert steps(lambda v: O.where(v, 1.0, 2.0), x)[0].code == ("constant", "where_c")
    assert steps(lambda v: O.where(v, 2.0, v), x)[0].code == ("where_b",)
    for fn, code in (
        (lambda v: v * v * v + 3, ("mul", "fma_c")),
        (lambda v: 2 * v + v, ("fma_b",)),
        (lambda v: v - 2 * v, ("fnma_b",)),
        (lambda v: v * 2 - v, ("fms_b",)),
        (lambda v: O.square(v) - 3, ("fms_c",)),
        (lambda v: 1 - O.exp(v) * v, ("exp", "fnma_c")),
    ):
        assert steps(fn, x)[0].code == code
    np.testing.assert_allclose(hf.compile(lambda v: 1 - O.exp(v) * v)(x), 1 - np.exp(x) * x, rtol=1e-15)
    np.testing.assert_array_equal(hf.compile(lambda v: O.where(v > 1, 1.0, 2.0))(x), [2, 1])
    np.testing.assert_array_equal(
        hf.compile(lambda v: O.where(O.greater(1.0, v), v, 2.0) + O.where(v, 0.0, 3.0))(x), [0.5, 2]
    )


MEANING = {
    "constant": lambda a, b, c, imm: np.full(4, imm),
    "tanh": lambda a, b, c, imm: np.tanh(a),
    "add": lambda a, b, c, imm: a + b,
    "pow": lambda a, b, c, imm: a**b,
    "rsub": lambda a, b, c, imm: imm - a,
    "mul_imm": lambda a, b, c, imm: a * imm,
    "where": lambda a, b, c, imm: np.where(a, b, c),
    "where_b": lambda a, b, c, imm: np.where(a, imm, c),
    "where_c": lambda a, b, c, imm: np.where(a, b, imm),
    "fma": lambda a, b, c, imm: a * b + c,
    "fma_b": lambda a, b, c, imm: a * imm + c,
    "fma_c": lambda a, b, c, imm: a * b + imm,
}


def interpret(program, inputs):
    """The outputs of a program, by the layout in csrc/runtime/program.h; a register is written before it is read."""
    register = dict(enumerate(inputs))
    for code, imm, name in zip(program.code, program.imm, program.names, strict=True):
        a, b, c = (register.get(code >> shift & 255) for shift in (16, 24, 32))
        register[code >> 8 & 255] = MEANING[name](a, b, c, imm)
    assert max(register) < 12 + MAX_TEMP
    return [register[8 + j] for j in range(len(program.outputs))]


NODES = [
    lambda o, a, b, c: a + b,
    lambda o, a, b, c: o.tanh(a),
    lambda o, a, b, c: o.where(a, b, 2.5),
    lambda o, a, b, c: 0.5**a,
    lambda o, a, b, c: o.where(a, 1.5, c),
    lambda o, a, b, c: 2.0 - a,
    lambda o, a, b, c: o.where(a, 1.5, -0.5),
    lambda o, a, b, c: a * 0.3,
]


def test_registers_are_never_shared_by_two_live_values():
    ran = 0
    for seed in range(200):
        g = np.random.default_rng(seed)
        with tracing(Graph()) as graph:
            values = [(input_tensor(graph, str(i), (4,)), g.integers(0, 2, 4) * 0.5) for i in range(3)]
            for _ in range(14):
                (a, x), (b, y), (c, z) = (values[i] for i in g.integers(0, len(values), 3))
                on = NODES[g.integers(0, len(NODES))]
                values.append((on(O, a, b, c), on(np, x, y, z)))
        nodes = [n for n in graph.nodes if n.op.elementwise]
        wanted = {id(t): (t, x) for t, x in (values[i] for i in (-1, *g.integers(3, len(values), 2)))}
        try:
            program = Program(nodes, [t for t, _ in wanted.values()])
        except IndexError:
            continue  # out of registers: group.py cuts it in two
        numbers = {id(t): x for t, x in values}
        for got, (_, want) in zip(
            interpret(program, [numbers[id(t)] for t in program.inputs]), wanted.values(), strict=True
        ):
            np.testing.assert_array_equal(got, want)
        ran += 1
    assert ran > 150


# ---- cross-entropy ----
def test_cross_entropy_and_its_gradient_are_one_record():
    for weigh in (O.mean, O.sum, lambda v: O.sum(v * np.arange(6.0))):
        fn = lambda z, weigh=weigh: weigh(O.softmax_cross_entropy(z, LABELS, 0.1))  # noqa: E731
        found = hf.value_and_grad(fn).plan(X[:, :4]).steps
        (step,) = [s for s in found if s.op == "softmax_cross_entropy"]
        assert step.fields["loss"] is not None and step.fields["dx"] is not None


def test_cross_entropy_alone_writes_no_gradient():
    (step,) = steps(lambda z: O.softmax_cross_entropy(z, LABELS), X)
    assert step.fields["dx"] is None and step.fields["loss"] is not None


def test_a_gradient_that_waits_for_the_loss_is_a_pass_of_its_own():
    """d sum(loss**2): what flows into the gradient is the loss itself."""
    fn = lambda z: O.sum(O.square(O.softmax_cross_entropy(z, LABELS)))  # noqa: E731
    plan = hf.value_and_grad(fn).plan(X)
    assert [s.op for s in plan.steps].count("softmax_cross_entropy") == 2
    value, g = hf.value_and_grad(fn)(X)
    log_p = log_softmax(X)
    loss = -log_p[np.arange(6), LABELS]
    np.testing.assert_allclose(value, (loss**2).sum(), rtol=1e-13)
    np.testing.assert_allclose(g, (np.exp(log_p) - np.eye(5)[LABELS]) * 2 * loss[:, None], rtol=1e-11, atol=1e-13)


def test_two_losses_of_the_same_logits():
    other = (LABELS + 1) % 4

    def fn(z):
        return O.mean(O.softmax_cross_entropy(z, LABELS)) + 2.0 * O.mean(O.softmax_cross_entropy(z, other))

    plan = hf.value_and_grad(fn).plan(X)
    assert [s.op for s in plan.steps].count("softmax_cross_entropy") == 2
    _, g = hf.value_and_grad(fn)(X)
    p = np.exp(log_softmax(X))
    np.testing.assert_allclose(g, ((p - np.eye(5)[LABELS]) + 2 * (p - np.eye(5)[other])) / 6, rtol=1e-11, atol=1e-14)


def test_rewriting_makes_the_pair():
    with tracing(Graph()) as graph:
        z = input_tensor(graph, "z", (6, 5))
        loss = O.mean(O.softmax_cross_entropy(z, leaf(graph, CONST, LABELS)))
        (dz,) = hf.compiler.autodiff.gradients(graph, loss, [z])
    new, to = rewrite(graph, [loss, dz])
    assert sum(n.op is CROSS_ENTROPY_BOTH for n in new.nodes) == 1
    assert to[id(dz)].node.op is CROSS_ENTROPY_BOTH
    assert all(t.node.index < n.index for n in new.nodes for t in n.inputs)
    assert [s.op for s in fuse(new, [to[id(loss)], to[id(dz)]])] == ["softmax_cross_entropy", "reduce"]


# ---- every step is computable when its turn comes ----
def check_order(plan):
    known = {key for key, place in plan.layout.places.items() if not isinstance(place, Dynamic) or place.number < 3}
    for step in plan.steps:
        for t in step.reads:
            assert id(base_of(t)) in known, f"{step.op} reads {t} before it is written"
        known |= {id(base_of(t)) for t in step.writes}


KINDS = [
    lambda a, b, w, v: a + b,
    lambda a, b, w, v: O.tanh(a),
    lambda a, b, w, v: a @ w,
    lambda a, b, w, v: a @ w + v,
    lambda a, b, w, v: O.mean(a, 0, True) * b,
    lambda a, b, w, v: a.T @ b @ w + a[:5],
    lambda a, b, w, v: O.softmax(a),
    lambda a, b, w, v: O.layer_norm(a, v, v),
    lambda a, b, w, v: O.reshape(O.exp(-O.square(a)), (1, 5, 5))[0],
]


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30),
    st.sets(st.integers(0, 31), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_no_step_reads_what_is_not_there_yet(program, wanted):
    def fn(x, w, v):
        values = [x, x @ w]
        for kind, i, j in program:
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            values.append(KINDS[kind](a, b, w, v))
        return (*(values[i % len(values)] for i in sorted(wanted)), values[-1])

    square = rng.normal(size=(5, 5))
    check_order(hf.compile(fn).plan(square, square * 0.3, B[[0, 1, 2, 3, 0]]))
