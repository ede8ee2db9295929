"""Rewrite: patterns on the nodes of a finished graph, gradients included.

Design
(a) A rewrite is a row of one of two tables: the ops where its pattern ends, a match, a replacement. The graph is
    copied, and rows of ``REPLACED`` decide what a node becomes on the way; then rows of ``JOINED`` let a node of the
    copy take another one into itself. One pass each, in the order of the nodes; the first row that matches is applied.
    Rejected: rewriting until nothing changes: no pattern here makes another one possible.
(b) The graph alone decides, never how nodes are grouped later, so the bits don't depend on that.
Rejected: fusing while tracing (the gradient of a fused op would need a rule of its own).
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ..ir import CONST, PARAM, SCALAR, STATE, Graph, Node, Op, Tensor, apply, numel, tracing
from ..ops.elementwise import ADD, COPY, FMA, FMS, FNMA, MUL, RELU_MASK, SQUARE, SUB
from ..ops.matmul import MATMUL
from ..ops.normalization import NORM_GRAD, normalize_again, normalize_under_relu
from ..ops.shape import TRANSPOSE
from ..ops.softmax import CROSS_ENTROPY, CROSS_ENTROPY_BOTH, CROSS_ENTROPY_GRAD
from .order import sums_held_back
from .show import stage

_fused: contextvars.ContextVar[bool] = contextvars.ContextVar("hawfinch_fused", default=True)


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """Graphs that are rewritten and lowered inside keep to the ops that others are made of, one record each: what a new
    backend runs first, and the reference for all that is fused."""
    token = _fused.set(False)
    try:
        yield
    finally:
        _fused.reset(token)


def is_fused() -> bool:
    return _fused.get()


class Rewrite(NamedTuple):
    """A row: ``match(work, node)``, asked at nodes of the ops ``at``, returns what it found, or None.

    ``replace(work, node, found)``: in ``REPLACED`` it returns the node's outputs in the new graph, in ``JOINED`` it
    changes the node.
    """

    name: str
    at: tuple[Op, ...]
    match: Callable[[Any, Node], Any]
    replace: Callable[[Any, Node, Any], Any]


def _by_op(rows: Sequence[Rewrite]) -> dict[Op, list[Rewrite]]:
    found: dict[Op, list[Rewrite]] = {}
    for row in rows:
        for op in row.at:
            found.setdefault(op, []).append(row)
    return found


# ---- while the graph is copied ----
class Copy:
    """The nodes of a graph once more, in a new one; ``to``: id of an old tensor -> new tensor."""

    def __init__(self, graph: Graph, nodes: Sequence[Node], rows: Sequence[Rewrite]):
        self.graph = Graph(training=graph.training)
        self.graph.n_streams = graph.n_streams
        self.nodes, self.rows = nodes, _by_op(rows)
        self.to: dict[int, Tensor] = {}

    def moved(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        return [self.to[id(t)] for t in tensors]

    def run(self) -> None:
        """All of them. Most stay as they are: those go without a call for each."""
        to, rows, graph, fused = self.to, self.rows, self.graph, is_fused()
        for node in self.nodes:
            op, inputs = node.op, []
            for t in node.inputs:
                if id(t) in to:
                    inputs.append(to[id(t)])
            plain = op.decompose is None or (fused and (op.lower is not None or op.elementwise))
            if id(node.outputs[0]) in to:
                continue
            if not plain or op in rows or len(inputs) < len(node.inputs):
                self.node(node)
                continue
            graph.scope = node.scope
            for old, new in zip(node.outputs, graph.add(op, tuple(inputs), node.attrs, node).outputs, strict=True):
                to[id(old)] = new

    def node(self, node: Node) -> None:
        """The node after all that it needs. Depth first without recursion: nets can be hundreds of layers deep."""
        stack, to = [node], self.to
        while stack:
            top = stack[-1]
            n = len(stack)
            for t in top.inputs:
                if id(t) not in to:
                    stack.append(t.node)
            if len(stack) == n and id(stack.pop().outputs[0]) not in to:
                self._replay(top)

    def _replay(self, node: Node) -> None:
        self.graph.scope = node.scope
        fresh: Sequence[Tensor] | None = None
        for row in self.rows.get(node.op, ()):
            found = row.match(self, node)
            if found is not None:
                fresh = row.replace(self, node, found)
                break
        if fresh is None:
            op, inputs = node.op, []
            for t in node.inputs:
                inputs.append(self.to[id(t)])
            if op.decompose is not None and (not is_fused() or (op.lower is None and not op.elementwise)):
                fresh = op.decompose(*inputs, **node.attrs)
            else:
                fresh = self.graph.add(op, tuple(inputs), node.attrs, node).outputs
        for old, new in zip(node.outputs, fresh, strict=True):
            self.to[id(old)] = new

    @cached_property
    def pairs(self) -> dict[Node, Node]:
        """cross-entropy node -> its gradient node, where both can be one pass."""
        losses = {(*map(id, n.inputs), n.attrs["smoothing"]): n for n in self.nodes if n.op is CROSS_ENTROPY}
        pairs: dict[Node, Node] = {}
        for n in self.nodes:
            if n.op is CROSS_ENTROPY_GRAD:
                loss = losses.get((*map(id, n.inputs[:2]), n.attrs["smoothing"]))
                if loss is not None and loss not in pairs and not _depends_on(n.inputs[2], loss, pairs):
                    pairs[loss] = n
        return pairs

    @cached_property
    def losses(self) -> dict[Node, Node]:
        return {grad: loss for loss, grad in self.pairs.items()}


def _depends_on(t: Tensor, target: Node, pairs: dict[Node, Node]) -> bool:
    """Whether t needs target, where each loss of ``pairs`` comes with its gradient and so needs what that needs."""
    stack, seen = [t.node], set()
    while stack:
        node = stack.pop()
        if node is target:
            return True
        if node not in seen and (pairs or node.index > target.index):
            seen.add(node)
            stack.extend([x.node for x in node.inputs])
            if node in pairs:
                stack.extend([x.node for x in pairs[node].inputs])
    return False


def _loss_and_gradient(work: Copy, node: Node, grad: Node) -> Sequence[Tensor]:
    """What the gradient needs besides the logits comes before the loss now."""
    x, target, dloss = grad.inputs
    if dloss.node.op is COPY and numel(dloss.node.inputs[0].shape) == 1:  # one number for every row
        dloss = dloss.node.inputs[0]
    work.node(dloss.node)
    work.graph.scope = node.scope
    loss, dx = work.graph.add(CROSS_ENTROPY_BOTH, tuple(work.moved((x, target, dloss))), node.attrs).outputs
    work.to[id(grad.outputs[0])] = dx
    return [loss]


def _with_its_loss(work: Copy, node: Node, loss: Node) -> Sequence[Tensor]:
    work.node(loss)
    return work.moved(node.outputs)


def _norm(work: Copy, norm: Node) -> list[Tensor]:
    """x, mean, var, gamma and beta of a normalize node, in the new graph."""
    (x, gamma, beta), (_, mean, var) = norm.inputs, norm.outputs
    return work.moved((x, mean, var, gamma, beta))


def _mask_anew(work: Copy, node: Node, norm: Node) -> Sequence[Tensor]:
    again = normalize_again(*_norm(work, norm), eps=norm.attrs["eps"])
    return [apply(RELU_MASK, work.to[id(node.inputs[0])], again)]


def _norm_under_mask(work: Copy, node: Node) -> Node | None:
    norm: Node | None = normalize_under_relu(node.inputs[0])
    return norm if norm is not None and norm.inputs[0] is node.inputs[1] else None


def _masked_sums(work: Copy, node: Node, norm: Node) -> Sequence[Tensor]:
    _, x, mean, rstd = work.moved(node.inputs)
    _, _, _, gamma, beta = _norm(work, norm)
    dy = work.to[id(node.inputs[0].node.inputs[0])]
    return work.graph.add(NORM_GRAD, (dy, x, mean, rstd, gamma * rstd, beta), node.attrs, node).outputs


REPLACED = (
    # loss and gradient in one pass over the logits, where the gradient does not wait for the loss
    Rewrite("cross-entropy pair", (CROSS_ENTROPY,), lambda work, n: work.pairs.get(n), _loss_and_gradient),
    Rewrite("cross-entropy pair", (CROSS_ENTROPY_GRAD,), lambda work, n: work.losses.get(n), _with_its_loss),
    # the mask of a ReLU behind a batch norm is made anew where the gradient comes from memory: y is not read again
    Rewrite("mask made anew", (RELU_MASK,), lambda work, n: normalize_under_relu(n.outputs[0]), _mask_anew),
    Rewrite("mask in the sums of a batch norm", (NORM_GRAD,), _norm_under_mask, _masked_sums),
)


# ---- in the copy ----
class Joining:
    """Nodes that take others into themselves. ``readers``: how many uses a node has, outputs among them."""

    def __init__(self, nodes: Sequence[Node], outputs: Sequence[Tensor], rows: Sequence[Rewrite]):
        self.nodes, self.rows = nodes, _by_op(rows)
        self.readers: dict[Node, int] = {n: 0 for n in nodes}
        for t in outputs:
            self.readers[t.node] += 1
        for n in nodes:
            for t in n.inputs:
                self.readers[t.node] += 1

    def run(self) -> list[Node]:
        """The nodes that are left."""
        readers = self.readers
        for n in self.nodes:
            for row in self.rows.get(n.op, ()):
                found = row.match(self, n)
                if found is not None:
                    row.replace(self, n, found)
                    break
        return [n for n in self.nodes if readers[n]]

    def become(self, n: Node, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any]) -> None:
        """n is another op of other inputs, with the same output."""
        readers = self.readers
        for t in inputs:
            readers[t.node] += 1
        gone = list(n.inputs)
        n.op, n.inputs, n.attrs = op, inputs, attrs
        for t in gone:
            readers[t.node] -= 1
            if readers[t.node] == 0:
                gone.extend(t.node.inputs)


def _only_here(work: Joining, n: Node, ops: tuple[Op, ...]) -> int | None:
    """Which input of n comes, in n's shape, from a node of one of these ops that nothing else reads."""
    for i, t in enumerate(n.inputs):
        if t.node.op in ops and work.readers[t.node] == 1 and t.shape == n.outputs[0].shape:
            return i
    return None


def _rounded_once(work: Joining, n: Node, i: int) -> None:
    m = n.inputs[i].node
    a, b = m.inputs if m.op is MUL else m.inputs * 2
    if a.node.op is SCALAR:
        a, b = b, a
    work.become(n, FMA if n.op is ADD else FMS if i == 0 else FNMA, (a, b, n.inputs[1 - i]), {})


def _product_and_vector(work: Joining, n: Node) -> int | None:
    i = _only_here(work, n, (MATMUL,))
    if i is None or len(n.inputs[i].node.inputs) != 2:
        return None
    b = n.inputs[1 - i]
    return i if b.shape == n.outputs[0].shape[1:] and b.node.op in (PARAM, STATE, CONST) else None


def _into_accumulators(work: Joining, n: Node, i: int) -> None:
    m = n.inputs[i].node
    work.become(n, MATMUL, (*m.inputs, n.inputs[1 - i]), m.attrs)


def _turned(work: Joining, n: Node) -> tuple[bool, bool] | None:
    turned = n.inputs[0].node.op is TRANSPOSE, n.inputs[1].node.op is TRANSPOSE
    return turned if any(turned) else None


def _through_strides(work: Joining, n: Node, turned: tuple[bool, bool]) -> None:
    x, w = n.inputs[:2]
    x, w = x.node.inputs[0] if turned[0] else x, w.node.inputs[0] if turned[1] else w
    attrs = {**n.attrs, "x_turned": turned[0], "w_turned": turned[1]}
    work.become(n, MATMUL, (x, w, *n.inputs[2:]), attrs)


JOINED = (
    # a product that only a sum reads is part of it: rounded once, an instruction less
    Rewrite("product + sum", (ADD, SUB), lambda work, n: _only_here(work, n, (MUL, SQUARE)), _rounded_once),
    # a vector that is added to every row of a matrix product starts its accumulators
    Rewrite("matmul + bias", (ADD,), _product_and_vector, _into_accumulators),
    # a matrix product reads transposes through strides
    Rewrite("transpose into matmul", (MATMUL,), _turned, _through_strides),
)


def live_nodes(graph: Graph, outputs: Iterable[Tensor]) -> list[Node]:
    """Nodes that the outputs depend on, in order."""
    live = {t.node for t in outputs}
    for node in reversed(graph.nodes):
        if node in live:
            for t in node.inputs:
                live.add(t.node)
    return [n for n in graph.nodes if n in live]


def _copied(t: Tensor) -> Tensor:
    if t.dtype == "int":
        return apply(TRANSPOSE, t, axes=tuple(range(t.ndim)))
    return apply(COPY, t, shape=t.shape)


def fresh(graph: Graph, outputs: Sequence[Tensor]) -> list[Tensor]:
    """The same values, each in memory of its own: leaves, and second views of the same tensor, are copied."""
    seen: set[int] = set()
    out = []
    with tracing(graph):
        for t in outputs:
            base = t if t.view_of is None else t.view_of
            while base.node.op.is_leaf or id(base) in seen:  # equal copies are one node: copy the copy
                base = t = _copied(t)
            seen.add(id(base))
            out.append(t)
    return out


def rewrite(graph: Graph, outputs: Sequence[Tensor]) -> tuple[Graph, dict[int, Tensor]]:
    """A new graph of the live nodes only, with node-level rewriting done; and old tensor id -> new tensor."""
    stage("differentiated" if graph.differentiated else "traced", graph.show)
    if not is_fused():
        return _primitive(graph, outputs)
    work = _copy(graph, outputs, REPLACED)
    kept = [work.to[id(t)] for t in outputs]
    nodes = Joining(live_nodes(work.graph, kept), kept, JOINED).run()
    return _numbered(work.graph, sums_held_back(nodes)), work.to


def _copy(graph: Graph, outputs: Sequence[Tensor], rows: Sequence[Rewrite]) -> Copy:
    work = Copy(graph, live_nodes(graph, outputs), rows)
    with tracing(work.graph):
        work.run()
        seen: set[int] = set()
        for t in outputs:  # what was apart may have become the same node: equal nodes are recorded once
            new = work.to[id(t)]
            base = new if new.view_of is None else new.view_of
            while id(base) in seen:
                base = new = work.to[id(t)] = _copied(new)
            if not base.node.op.is_leaf:
                seen.add(id(base))
    return work


def _primitive(graph: Graph, outputs: Sequence[Tensor]) -> tuple[Graph, dict[int, Tensor]]:
    """``rewrite`` without any row, all ops taken apart that are made of others."""
    work = _copy(graph, outputs, ())
    to = work.to
    while any([n.op.decompose is not None for n in live_nodes(work.graph, work.moved(outputs))]):
        again = _copy(work.graph, [to[id(t)] for t in outputs], ())
        to = {key: again.to[id(t)] for key, t in to.items() if id(t) in again.to}
        again.to, work = to, again
    return _numbered(work.graph, live_nodes(work.graph, work.moved(outputs))), to


def _numbered(graph: Graph, nodes: list[Node]) -> Graph:
    graph.nodes = nodes
    for i, n in enumerate(nodes):
        n.index = i
    return graph
