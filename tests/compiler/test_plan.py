"""Memory, barriers, threads and listing of a plan, against an independent account of what the records touch."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from plan_accounts import check, check_accounts, check_memory, races, tensors_of
from references import log_softmax

import hawfinch as hf
from hawfinch import _core
from hawfinch.compiler.autodiff import gradients
from hawfinch.compiler.group import fuse
from hawfinch.compiler.memory import ALIGN, Dynamic, base_of
from hawfinch.compiler.rewrite import rewrite
from hawfinch.errors import LabelError
from hawfinch.ir import BATCH, CONST, Dim, Graph, input_tensor, leaf, tracing
from hawfinch.runtime.plan import Plan

O = hf.ops
rng = np.random.default_rng(31)


# ---- functions to plan ----
def net(w1, b1, w2, b2, x, y):
    return O.mean(O.softmax_cross_entropy(O.relu(x @ w1 + b1) @ w2 + b2, y))


def norms(x, w, g):
    h, _, _ = O.batch_norm(x @ w, g, g)
    return O.sum(O.square(O.layer_norm(O.tanh(h), g, g)))


def attention(x, w):
    h = O.tanh(x @ w)
    return O.sum(O.softmax(h @ h.T) @ h)


def distances(x):
    """Two views of one tensor: by row, and as a whole."""
    v = O.exp(O.sum(x, 1))
    d = v[:, None] - v[None, :]
    return O.sum(O.exp(-d * d))


def squares(x):
    h = O.tanh(x[:5, :5] * 2.0)
    return O.sum((h @ h) * h + h)


def moves(x):
    h = O.concat([O.tanh(x), x * x], 1)
    return O.sum(O.pad(h, [(1, 0), (0, 2)])[1:, ::2] * O.transpose(O.transpose(h)[:6:-1])[:, :1])


def rows_of(table, index):
    return O.sum(O.square(O.gather(O.tanh(table), index) - O.gather(O.exp(table), index[::-1])))


def twice_seen(x, w):
    h = O.relu(x @ w)
    return O.sum(O.max(h, 1) * O.sum(h, 1)) + O.mean(O.min(h, 0) * O.sum(h, 0)) * O.sum(h)


X, Y = rng.normal(size=(12, 7)), np.arange(12) % 3
FUNCTIONS = {
    "net": (net, (rng.normal(size=(7, 9)), rng.normal(size=9), rng.normal(size=(9, 3)), np.zeros(3), X, Y), range(4)),
    "norms": (norms, (X, rng.normal(size=(7, 9)), np.ones(9)), (0, 1, 2)),
    "attention": (attention, (X, rng.normal(size=(7, 5))), (0, 1)),
    "distances": (distances, (X,), (0,)),
    "squares": (squares, (X,), (0,)),
    "moves": (moves, (X,), (0,)),
    "rows_of": (rows_of, (X, np.array([3, 3, 0, 11])), (0,)),
    "twice_seen": (twice_seen, (X, rng.normal(size=(7, 20))), (0, 1)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_overlap_and_no_race(name, dtype):
    fn, args, argnums = FUNCTIONS[name]
    args = [a.astype(dtype) if a.dtype.kind == "f" else a for a in args]
    for f in (hf.compile(fn), hf.value_and_grad(fn, argnums)):
        check(f.plan(*args))
        results = [np.concatenate([np.ravel(r) for r in hf_leaves(f(*args, threads=n))]) for n in (1, 2, 3, 4)]
        assert np.isfinite(results[0]).all()
        for r in results[1:]:
            np.testing.assert_array_equal(r, results[0])


def hf_leaves(result):
    return itertools.chain(*(hf_leaves(r) for r in result)) if isinstance(result, tuple | list) else [result]


KINDS = [
    lambda a, b, w, v, r: a + b,
    lambda a, b, w, v, r: O.tanh(a),
    lambda a, b, w, v, r: a @ w,
    lambda a, b, w, v, r: O.relu(a @ w + v) - b,
    lambda a, b, w, v, r: O.mean(a, 0, True) * b,
    lambda a, b, w, v, r: (a @ b.T) @ b,
    lambda a, b, w, v, r: O.softmax(a),
    lambda a, b, w, v, r: O.layer_norm(a, v, v),
    lambda a, b, w, v, r: O.sum(a, 1, True) + b,
    lambda a, b, w, v, r: O.batch_norm(a, v, v)[0],
    lambda a, b, w, v, r: O.reshape(O.reshape(a, (1, r, 3)) * b, (r, 3)),
    lambda a, b, w, v, r: O.transpose(O.reshape(O.concat([a, b], 1), (r, 2, 3)), (1, 0, 2))[1],
    lambda a, b, w, v, r: O.max(O.reshape(a, (r, 1, 3)) - O.reshape(b, (r, 3, 1)), 1),
]


@pytest.mark.filterwarnings("ignore:the function does not use")
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20),
    st.sets(st.integers(0, 21), max_size=3),
    st.sampled_from([1, 2, 7]),
)
@settings(max_examples=60, deadline=None)
def test_no_overlap_and_no_race_in_random_programs(program, wanted, rows):
    def fn(x, w, v):
        values = [x, x @ w]
        for kind, i, j in program:
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            values.append(KINDS[kind](a, b, w, v, rows))
        return (*(values[i % len(values)] for i in sorted(wanted)), values[-1])

    args = (X[:rows, :3], X[:3, :3], X[0, :3])
    check(hf.compile(fn).plan(*args))
    check(hf.value_and_grad(lambda *a: O.sum(fn(*a)[-1]), (0, 1, 2)).plan(*args))


# ---- the checks themselves notice what they look for ----
def test_a_missing_barrier_is_a_race():
    fn, args, argnums = FUNCTIONS["net"]
    plan = hf.value_and_grad(fn, argnums).plan(*args)
    assert sum(plan.barriers) > 0
    for i in [i for i, b in enumerate(plan.barriers) if b]:
        plan.barriers[i] = False
        assert races(plan, teams=(2, 3, 12)), f"the barrier before record {i}, {plan.steps[i].op}, is not needed"
        plan.barriers[i] = True


def test_overlapping_memory_is_noticed():
    plan = hf.compile(attention).plan(*FUNCTIONS["attention"][1])
    check_memory(plan)
    a, b = next(t for s in plan.steps if len(t := [k for k in tensors_of(s) if k not in plan.layout.places]) >= 2)[:2]
    plan.layout.offsets[b] = plan.layout.offsets[a]
    with pytest.raises(AssertionError):
        check_memory(plan)


# ---- barriers ----
def test_rows_need_no_barrier_until_data_crosses_them():
    w = rng.normal(size=(7, 7))
    for fn, records in (
        (lambda x: O.softmax(O.relu(O.relu(O.relu(x @ w) @ w) @ w + w[0])), 4),
        (lambda x: O.softmax(O.layer_norm(x, w[0], w[1]) @ w), 5),
        (lambda x: O.softmax_cross_entropy(O.tanh(x * O.sum(x, 1, True) - O.softmax(x)), Y), 4),
    ):
        plan = hf.compile(fn).plan(X)
        assert len(plan.steps) == records and not any(plan.barriers)
    plan = hf.compile(lambda x, w: O.relu(x @ w) - O.mean(O.relu(x @ w), 0)).plan(X, w)
    assert [s.op for s, b in zip(plan.steps, plan.barriers, strict=True) if b] == ["reduce", "ewise"]


def test_a_product_of_a_tensor_with_itself_waits_for_all_of_its_rows():
    for fn, waits in (
        (lambda x: O.tanh(x) @ O.tanh(x), [False, True]),
        (lambda x: O.tanh(x) @ O.tanh(x).T, [False, True]),
        (lambda x: (x @ O.tanh(x)) * O.tanh(x), [False, True]),
        (lambda x: (O.tanh(x) @ X[:7]) * O.tanh(x), [False, False]),  # its own row, twice
    ):
        plan = hf.compile(fn).plan(X[:7])
        assert [s.op for s in plan.steps] == ["ewise", "matmul"] and plan.barriers == waits
        assert not races(plan)


# ---- memory ----
def test_memory_is_used_again():
    def deep(x, w):
        for _ in range(50):
            x = O.softmax(x @ w)
        return x

    plan = hf.compile(deep).plan(X[:7], X[:7])
    _, total = check_memory(plan)
    tensor = -(-49 * 8 // ALIGN) * ALIGN
    assert plan.arena.nbytes <= 3 * tensor < total / 10


def test_an_output_takes_the_place_of_an_input_that_dies():
    def fn(x):
        y = O.sum(x, 2)  # (12, 7), in the arena
        z = O.exp(y)
        return O.sum(z, 0)

    wide = rng.normal(size=(12, 7, 2))
    taken_over, _ = check_memory(hf.compile(fn).plan(wide))
    assert taken_over == 1
    np.testing.assert_allclose(hf.compile(fn)(wide), np.exp(wide.sum(2)).sum(0), rtol=1e-13)

    def early(x):  # the first result of a program may take its first input, which the rest does not read
        z = O.exp(O.sum(x, 2))
        t = O.tanh(z)
        return O.sum(z, 0), O.sum(t, 0)

    assert [s.op for s in hf.compile(early).plan(wide).steps] == ["reduce", "ewise", "reduce", "reduce"]
    assert check_memory(hf.compile(early).plan(wide))[0] == 1


def test_an_input_that_is_read_later_is_not_overwritten():
    def fn(x):
        y = O.sum(x, 2)
        return O.sum(O.exp(y), 0) + O.max(y, 0)

    wide = rng.normal(size=(12, 7, 2))
    taken_over, _ = check_memory(hf.compile(fn).plan(wide))
    assert taken_over == 0
    y = wide.sum(2)
    np.testing.assert_allclose(hf.compile(fn)(wide), np.exp(y).sum(0) + y.max(0), rtol=1e-13)


def test_an_input_seen_under_two_shapes_is_not_overwritten():
    def fn(x, p):
        y = O.sum(x, 2)
        a = p * O.reshape(y, (1, 12, 7))  # may not take the place of y, which b reads under its other shape
        b = O.exp(a) * y
        return O.sum(a, 1), O.sum(b, 1)

    wide, p = rng.normal(size=(12, 7, 2)), rng.normal(size=(1, 12, 7))
    plan = hf.compile(fn).plan(wide, p)
    check(plan)
    (step,) = [s for s in plan.steps if s.op == "ewise"]
    assert len(step.reads) == 3 and len({id(base_of(t)) for t in step.reads}) == 2 and step.in_place
    y = wide.sum(2)[None]
    for got, want in zip(hf.compile(fn)(wide, p), ((p * y).sum(1), (np.exp(p * y) * y).sum(1)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_inputs_are_never_written():
    for name, (fn, args, argnums) in FUNCTIONS.items():
        plan = hf.value_and_grad(fn, argnums).plan(*args)
        written = {
            plan.layout.places[id(base_of(t))].number
            for s in plan.steps
            for t in s.writes
            if isinstance(plan.layout.places.get(id(base_of(t))), Dynamic)
        }
        assert written == set(range(len(args), len(args) + 1 + len(argnums))), name


def test_the_numbers_of_memory_add_up():
    plan = hf.value_and_grad(net).plan(*FUNCTIONS["net"][1])
    m = plan.memory
    assert m.total == m.parameters + m.gradients + m.optimizer + m.activations + m.workspace
    assert m.activations == plan.arena.nbytes > 0 and m.workspace == plan.schedule.scratch_bytes > 0
    assert m.parameters == m.gradients == m.optimizer == 0  # a function has none of its own
    assert _core.address(plan.arena) % ALIGN == 0
    buffers = {
        "parameters": [np.zeros(3)],
        "gradients": [np.zeros(5, np.float32)],
        "optimizer": [np.zeros(2), np.zeros(4)],
    }
    m = Plan([], [], {}, dtype="float32", capacity=1, buffers=buffers).memory
    assert (m.parameters, m.gradients, m.optimizer, m.activations) == (24, 20, 48, 0)


# ---- the batch ----
def batch_plan(capacity, dtype="float64"):
    """loss, gradient and predictions of a net over (BATCH, 7) rows, as a plan of this capacity."""
    w1, w2, g = rng.normal(size=(7, 9)), rng.normal(size=(9, 3)), np.ones(9)
    with tracing(Graph()) as graph:
        x, y = input_tensor(graph, "x", (BATCH, 7)), input_tensor(graph, "y", (BATCH,), "int")
        p1, p2, p3 = (leaf(graph, CONST, a) for a in (w1, w2, g))
        h, _, _ = O.batch_norm(O.relu(x @ p1), p3, p3)
        z = O.concat([h, O.reshape(h, (BATCH, 3, 3))[:, ::-1, 0]], 1)[:, :9] @ p2
        loss = O.mean(O.softmax_cross_entropy(z, y)) + O.sum(O.mean(O.square(z), 0))
        dw = gradients(graph, loss, [p1])[0]
        wanted = [loss, dw, O.softmax(z)]
    new, to = rewrite(graph, wanted)
    outputs = [to[id(t)] for t in wanted]
    arrays = {id(p.node.attrs["ref"].value): p.node.attrs["ref"].value for p in (p1, p2, p3)}
    places = {}
    for node in new.nodes:
        t = node.outputs[0]
        if node.op.name == "input":
            places[id(t)] = Dynamic("xy".index(node.attrs["name"]))
        elif node.op.name == "const":
            places[id(t)] = (np.ascontiguousarray(arrays[id(node.attrs["ref"].value)], dtype), 0)
        elif node.op.name == "scalar":
            places[id(t)] = (np.full(1, node.attrs["value"], dtype), 0)
    for i, t in enumerate(outputs):
        places[id(base_of(t))] = Dynamic(2 + i)
    return Plan(fuse(new, outputs), outputs, places, dtype=dtype, capacity=capacity), (w1, w2, g)


def numpys(x, y, w1, w2, g):
    a = x @ w1
    r = np.maximum(a, 0)
    h = (r - r.mean(0)) / np.sqrt(r.var(0) + 1e-5) * g + g
    z = h @ w2
    log_p = log_softmax(z)
    return -log_p[np.arange(len(x)), y].mean() + np.square(z).mean(0).sum(), np.exp(log_p)


def test_one_plan_serves_every_batch_up_to_its_capacity():
    plan, weights = batch_plan(40)
    for batch in (40, 1, 17, 39, 2, 40):
        x, y = rng.normal(size=(batch, 7)), rng.integers(0, 3, batch)
        loss, dw, p = np.zeros(1), np.zeros((7, 9)), np.full((40, 3), np.nan)
        for threads in range(1, _core.max_threads() + 1):
            status, _ = plan.core.run((x, y, loss, dw, p), batch=batch, rows=batch, threads=threads)
            assert status == _core.OK
            want_loss, want_p = numpys(x, y, *weights)
            np.testing.assert_allclose(loss[0], want_loss, rtol=1e-12)
            np.testing.assert_allclose(p[:batch], want_p, rtol=1e-10, atol=1e-13)
            assert np.isnan(p[batch:]).all()  # rows beyond the batch are nobody's
        if batch > 2:  # with two rows the normalised values are +-1 whatever the weights
            direction, step = rng.normal(size=(7, 9)), 1e-4
            w1, w2, g = weights
            sides = [numpys(x, y, w1 + s * step * direction, w2, g)[0] for s in (-2, -1, 1, 2)]
            slope = (sides[0] - 8 * sides[1] + 8 * sides[2] - sides[3]) / (12 * step)
            np.testing.assert_allclose((dw * direction).sum(), slope, rtol=1e-4, atol=1e-6)


def test_memory_and_barriers_of_a_batch_plan_hold_for_every_batch():
    plan, _ = batch_plan(13, "float32")
    for batch in (1, 2, 5, 13):
        check_accounts(plan, batch)
        check_memory(plan, batch=batch)
        assert not races(plan, batch)
    assert any(isinstance(s.units, Dim) for s in plan.steps)


def test_the_arena_grows_with_the_capacity_and_holds_it():
    small, large = batch_plan(8)[0], batch_plan(80)[0]
    assert small.arena.nbytes < large.arena.nbytes <= 10 * small.arena.nbytes + 64 * len(large.steps)


def test_view_shows_a_tensor_after_a_run():
    plan, (w1, _, _) = batch_plan(10)
    x, y = rng.normal(size=(6, 7)), np.zeros(6, np.int64)
    plan.core.run((x, y, np.zeros(1), np.zeros((7, 9)), np.zeros((10, 3))), batch=6, rows=6, only_record=0)
    assert plan.steps[0].op == "matmul"
    np.testing.assert_allclose(
        plan.view(plan.steps[0].writes[0], 6).reshape(6, 9), np.maximum(x @ w1, 0), rtol=1e-12, atol=1e-14
    )


def test_a_label_out_of_range_stops_a_run_and_the_next_one_works():
    plan, _ = batch_plan(5)
    x, out = rng.normal(size=(5, 7)), (np.zeros(1), np.zeros((7, 9)), np.zeros((5, 3)))
    assert plan.core.run((x, np.array([0, 1, 3, 0, 0]), *out), batch=5, rows=5)[0] == _core.BAD_INDEX
    assert plan.core.run((x, np.array([0, 1, 2, 0, 0]), *out), batch=5, rows=5)[0] == _core.OK
    with pytest.raises(LabelError):
        hf.value_and_grad(net)(*FUNCTIONS["net"][1][:5], Y + 1)


# ---- threads ----
def test_tiny_work_runs_on_one_thread_and_more_work_never_on_fewer():
    tiny = hf.compile(lambda x: O.tanh(x @ X.T)).plan(X)
    assert tiny.threads_for(1) == 1
    plan, _ = batch_plan(4096)
    teams = [plan.threads_for(b, 100) for b in (1, 16, 256, 4096)]
    assert teams[0] == 1 and teams == sorted(teams) and max(teams) <= _core.max_threads()
    big = rng.normal(size=(800, 800)).astype(np.float32)
    plan = hf.compile(lambda x: x @ x).plan(big)
    assert 1 <= plan.threads_for(1) <= _core.max_threads() <= plan.max_threads


def test_each_plan_refuses_more_threads_than_it_has_scratch_for():
    plan, _ = batch_plan(5)
    for n in (0, plan.max_threads + 1, -plan.max_threads - 1):
        with pytest.raises(ValueError, match="threads"):
            plan.core.run((X[:5], Y[:5], np.zeros(1), np.zeros((7, 9)), np.zeros((5, 3))), batch=5, rows=5, threads=n)


# ---- the listing ----
def test_describe_names_every_record():
    plan = hf.value_and_grad(norms, (0, 1, 2)).plan(*FUNCTIONS["norms"][1])
    text = plan.describe()
    head, columns, *lines, last = text.splitlines()
    assert f"{len(plan.steps)} records" in head and f"{sum(plan.barriers)} barriers" in head and "float64" in head
    assert _core.kernel_isa() in head and columns.startswith("op")
    assert len(lines) == len(plan.steps)
    for line, step, barrier in zip(lines, plan.steps, plan.barriers, strict=True):
        assert line.startswith("| " if barrier else "  ") and line[2:].startswith(step.op)
        assert all(name in line for name in step.code)
        assert all("x".join(map(str, t.shape)) or "1" in line for t in step.writes)
    assert f"activations {plan.memory.activations}" in last and f"workspace {plan.memory.workspace}" in last


def test_describe_of_a_batch_shows_the_symbol_and_scales_the_bytes():
    plan, _ = batch_plan(32)
    one, full = plan.describe(1), plan.describe()
    assert "Bx9" in full and "capacity 32" in full

    def moved(text):
        return sum(int(re.search(r"(\d+) (?:one|\d*B|\d+) ", line)[1]) for line in text.splitlines()[2:-1])

    assert moved(full) > 8 * moved(one) > 0


def test_a_long_record_is_cut_in_pieces_with_the_same_bits(monkeypatch):
    def trained(threads):
        model = hf.Sequential(hf.Linear(70), hf.BatchNorm(), hf.ReLU(), hf.Dropout(0.3), hf.Linear(5))
        trainer = hf.Trainer(model, "mse", seed=1, threads=threads)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(90, 40)), rng.normal(size=(90, 5))
        trainer.fit(x, y, batch_size=40, epochs=2)
        return trainer.plan(x, y, batch_size=40), np.concatenate([p.ravel() for p in model.parameters().values()])

    whole, expected = trained(1)
    assert set(whole.schedule.pieces) == {1}
    monkeypatch.setattr("hawfinch.compiler.schedule.PIECE", 1e-7)
    for threads in (1, 2, 3):
        cut, found = trained(threads)
        assert max(cut.schedule.pieces) > 3
        assert found.tobytes() == expected.tobytes()
