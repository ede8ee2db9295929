"""Plans that give control back in the middle of a step."""

import threading
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch import _core
from hawfinch.compiler.autodiff import gradients
from hawfinch.compiler.group import fuse
from hawfinch.compiler.memory import Source
from hawfinch.compiler.rewrite import rewrite
from hawfinch.ir import BATCH, Graph, Step, input_tensor, single, tracing, yield_step
from hawfinch.runtime.plan import Plan

O = hf.ops
IN, HIDDEN, OUT, STEPS, BATCH_SIZE = 12, 40, 3, 7, 64
ROWS = STEPS * BATCH_SIZE - 20  # the last batch is short
GRADIENTS, WEIGHTS, LAST = 11, 22, 33  # tags
Run = dict[str, Any]


class Descent:
    """Gradient descent on a net of two layers: a step yields its gradients, its new weights, or at its very end."""

    def __init__(self, tags: tuple[int, ...] = (), batch: int = BATCH_SIZE, dropout: float = 0.25):
        rng = np.random.default_rng(5)
        self.batch = batch
        self.weights = [rng.normal(size=(IN, HIDDEN)), rng.normal(size=(HIDDEN, OUT))]
        self.grads = [np.zeros((IN, HIDDEN)), np.zeros((HIDDEN, OUT))]
        self.loss, self.sums = np.zeros(8), np.zeros(2)
        with tracing(Graph()) as graph:
            x, y = input_tensor(graph, "x", (BATCH, IN)), input_tensor(graph, "y", (BATCH, OUT))
            ws = [input_tensor(graph, f"w{i}", w.shape) for i, w in enumerate(self.weights)]
            loss = O.mean(O.square(O.dropout(O.tanh(x @ ws[0]), dropout) @ ws[1] - y))
            wanted = [loss, *gradients(graph, loss, ws)]
        forward, to = rewrite(graph, wanted)
        loss, *dws = (to[id(t)] for t in wanted)
        with tracing(Graph()) as update:
            old = [input_tensor(update, f"w{i}", w.shape) for i, w in enumerate(self.weights)]
            dw = [input_tensor(update, f"g{i}", w.shape) for i, w in enumerate(self.weights)]
            new = [w - g * 0.05 for w, g in zip(old, dw, strict=True)]
        update, after = rewrite(update, new)
        new = [after[id(t)] for t in new]
        places: dict[int, Any] = {id(loss): (self.loss, 0)}
        arrays = {f"w{i}": w for i, w in enumerate(self.weights)} | {f"g{i}": g for i, g in enumerate(self.grads)}
        inputs = [n.outputs[0] for g in (forward, update) for n in g.nodes if n.op.name == "input"]
        named = {t: t.node.attrs["name"] for t in inputs}
        places |= {id(t): (arrays[name], 0) for t, name in named.items() if name in arrays}
        places |= {id(t): (g, 0) for t, g in zip(dws, self.grads, strict=True)}
        places |= {id(t): (w, 0) for t, w in zip(new, self.weights, strict=True)}
        for node in (*forward.nodes, *update.nodes):
            if node.op.name == "scalar":
                places[id(node.outputs[0])] = (np.full(1, node.attrs["value"]), 0)
        sums = input_tensor(update, "sums", (2,))
        places[id(sums)] = (self.sums, 0)
        total = {"sums": sums, "value": loss, "weight": None, "rows": BATCH}
        data = {name: t for t, name in named.items() if name in "xy"}
        steps = [load(data["x"], 0, IN), load(data["y"], 1, OUT), *fuse(forward, [loss, *dws])]
        steps += [yield_step(GRADIENTS, dws)] if GRADIENTS in tags else []
        steps += fuse(update, new)
        steps += [yield_step(WEIGHTS, new, update=True)] if WEIGHTS in tags else []
        steps += [single("accumulate", total, (sums,), (loss,), update=True)]
        steps += [yield_step(LAST, [])] if LAST in tags else []
        self.plan = Plan(steps, [], places, dtype="float64", capacity=batch, max_threads=4)
        self.core = self.plan.core

    def start(self, data: tuple[np.ndarray, np.ndarray], how: Run) -> tuple[int, int]:
        for i, a in enumerate(data):
            self.core.set_source(i, a)
        rows = len(data[0])
        return self.core.run((), n_steps=-(-rows // self.batch), batch=self.batch, rows=rows, seed=3, **how)

    def result(self) -> list[bytes]:
        return [a.tobytes() for a in (*self.weights, self.sums)]


def load(t: Any, number: int, elems: int) -> Step:
    fields = {"dst": t, "source": Source(number), "rows": BATCH, "elems": elems, "to_int": 0, "ahead": 0}
    return Step("load_batch", fields, (t,), (), units=BATCH, local=(t,))


def make_data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    return rng.normal(size=(ROWS, IN)), rng.normal(size=(ROWS, OUT))


@pytest.mark.parametrize("tags", [(GRADIENTS,), (WEIGHTS,), (LAST,), (GRADIENTS, WEIGHTS, LAST)])
@pytest.mark.parametrize("threads", [1, 2, 4, -2])
def test_a_run_with_yields_ends_with_the_same_bits_and_says_where_it_is(tags: tuple[int, ...], threads: int) -> None:
    data, plain, yielding = make_data(), Descent(), Descent(tags)
    assert plain.start(data, {}) == (_core.OK, STEPS)
    seen = []
    status, step = yielding.start(data, {"threads": threads})
    while status == _core.YIELDED:
        tag = yielding.core.yielded
        seen.append((step - (tag == LAST), tag))  # behind the last record begins the next step
        status, step = yielding.core.resume()
    assert (status, step) == (_core.OK, STEPS) and yielding.core.yielded is None
    assert seen == [(step, tag) for step in range(STEPS) for tag in tags]
    assert yielding.result() == plain.result()


@pytest.mark.parametrize("threads", [1, 3])
def test_all_before_a_yield_is_done_and_what_the_caller_writes_is_what_follows_reads(threads: int) -> None:
    data, net = make_data(), Descent((GRADIENTS, WEIGHTS))
    weights = [w.copy() for w in net.weights]
    status, _ = net.start(data, {"threads": threads})
    while status == _core.YIELDED:
        if net.core.yielded == GRADIENTS:
            assert all(
                g.any() and (w == before).all() for g, w, before in zip(net.grads, net.weights, weights, strict=True)
            )
            for g in net.grads:
                g *= 2
            weights = [w - g * 0.05 for w, g in zip(weights, net.grads, strict=True)]
        else:
            for w, want in zip(net.weights, weights, strict=True):
                np.testing.assert_allclose(w, want, rtol=1e-14)
                w += 1e-3
            weights = [w.copy() for w in net.weights]
        status, _ = net.core.resume()
    assert status == _core.OK


def test_two_plans_that_average_their_gradients_are_one_on_the_joined_batch() -> None:
    x, y = make_data()
    x, y = x[: 4 * BATCH_SIZE], y[: 4 * BATCH_SIZE]
    a, b = (Descent((GRADIENTS,), BATCH_SIZE, 0.0) for _ in range(2))
    states = [a.start((x[::2].copy(), y[::2].copy()), {}), b.start((x[1::2].copy(), y[1::2].copy()), {})]
    while states[0][0] == _core.YIELDED:
        for g, h in zip(a.grads, b.grads, strict=True):
            g[:] = h[:] = (g + h) / 2
        states = [a.core.resume(), b.core.resume()]
    assert states == [(_core.OK, 2), (_core.OK, 2)]
    whole = Descent((), 2 * BATCH_SIZE, 0.0)
    assert whole.start((x, y), {}) == (_core.OK, 2)
    for w, v, want in zip(a.weights, b.weights, whole.weights, strict=True):
        assert w.tobytes() == v.tobytes()
        np.testing.assert_allclose(w, want, rtol=1e-12, atol=1e-14)


def test_a_plan_that_waits_is_busy_and_can_be_abandoned() -> None:
    data, net = make_data(), Descent((GRADIENTS,))
    with pytest.raises(RuntimeError, match="waits at no yield"):
        net.core.resume()
    assert net.start(data, {}) == (_core.YIELDED, 0) and net.core.busy
    with pytest.raises(RuntimeError, match="running already"):
        net.start(data, {})
    net.core.abandon()
    assert not net.core.busy
    with pytest.raises(RuntimeError, match="waits at no yield"):
        net.core.resume()
    assert net.start(data, {}) == (_core.YIELDED, 0)


def test_a_record_alone_runs_without_yields() -> None:
    net = Descent((GRADIENTS,))
    assert net.start(make_data(), {"only_record": 0}) == (_core.OK, STEPS)


def test_a_failed_step_does_not_reach_its_yield() -> None:
    graph = Graph()
    table, index, rows = (
        input_tensor(graph, n, s, d) for n, s, d in (("t", (3, 2), "real"), ("i", (4,), "int"), ("r", (4, 2), "real"))
    )
    fields = {"y": rows, "table": table, "index": index, "rows": 4, "cols": 2, "table_rows": 3, "itemsize": "itemsize"}
    places: dict[int, Any] = {id(table): (np.ones((3, 2)), 0), id(index): (np.array([0, 1, 9, 2]), 0)}
    steps = [Step("gather", fields, (rows,), (table, index), units=4), yield_step(1, [rows])]
    core = Plan(steps, [rows], places, dtype="float64", capacity=1).core
    assert core.run()[0] == _core.BAD_INDEX and not core.busy


def test_pauses_and_yields_in_one_run() -> None:
    """A run that is stopped before it goes on after a yield ends as one that is interrupted; the next starts afresh."""
    data, net = make_data(), Descent((GRADIENTS,))
    net.core.stop_event = threading.Event()
    assert net.start(data, {})[0] == _core.YIELDED
    net.core.stop_event.set()
    with pytest.raises(KeyboardInterrupt):
        net.core.resume()
    net.core.stop_event = None
    assert not net.core.busy and net.start(data, {})[0] == _core.YIELDED
