"""Rewrite: node-level patterns on the finished graph, gradients included.

Rejected: fusing while tracing (the gradient of a fused op would need a rule of its own).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir import SCALAR, Graph, Node, Tensor, apply, numel, tracing
from ..ops.elementwise import ADD, COPY, FMA, FMS, FNMA, MUL, RELU_MASK, SQUARE, SUB
from ..ops.normalization import NORM_GRAD, normalize_again, normalize_under_relu
from ..ops.softmax import CROSS_ENTROPY, CROSS_ENTROPY_BOTH, CROSS_ENTROPY_GRAD


def live_nodes(graph: Graph, outputs: Iterable[Tensor]) -> list[Node]:
    """Nodes that the outputs depend on, in order."""
    live = {t.node for t in outputs}
    for node in reversed(graph.nodes):
        if node in live:
            live.update([t.node for t in node.inputs])
    return [n for n in graph.nodes if n in live]


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


def _cross_entropy_pairs(nodes: Sequence[Node]) -> dict[Node, Node]:
    """cross-entropy node -> its gradient node, where both can be one pass."""
    losses = {(*map(id, n.inputs), n.attrs["smoothing"]): n for n in nodes if n.op is CROSS_ENTROPY}
    pairs: dict[Node, Node] = {}
    for n in nodes:
        if n.op is CROSS_ENTROPY_GRAD:
            loss = losses.get((*map(id, n.inputs[:2]), n.attrs["smoothing"]))
            if loss is not None and loss not in pairs and not _depends_on(n.inputs[2], loss, pairs):
                pairs[loss] = n
    return pairs


def _contract(nodes: Sequence[Node], outputs: Sequence[Tensor]) -> list[Node]:
    """The nodes that are left when a product that only a sum reads is part of it: rounded once, an instruction less.

    By the graph alone, whatever the programs will be; so the bits don't depend on how nodes are grouped.
    """
    readers: dict[Node, int] = {}
    for n in nodes:
        for t in n.inputs:
            readers[t.node] = readers.get(t.node, 0) + 1
    kept = {t.node for t in outputs}
    absorbed = set()
    for n in nodes:
        if n.op is not ADD and n.op is not SUB:
            continue
        for i, t in enumerate(n.inputs):
            m = t.node
            if m.op in (MUL, SQUARE) and readers[m] == 1 and m not in kept and t.shape == n.outputs[0].shape:
                a, b = m.inputs if m.op is MUL else m.inputs * 2
                if a.node.op is SCALAR:
                    a, b = b, a
                n.op = FMA if n.op is ADD else FMS if i == 0 else FNMA
                n.inputs = (a, b, n.inputs[1 - i])
                absorbed.add(m)
                break
    return [n for n in nodes if n not in absorbed]


class _Rewrite:
    """Replays nodes into a new graph; ``to``: id of an old tensor -> new tensor."""

    def __init__(self, graph: Graph, nodes: Sequence[Node]):
        self.graph = Graph(training=graph.training)
        self.graph.n_streams = graph.n_streams
        self.to: dict[int, Tensor] = {}
        self.pairs = _cross_entropy_pairs(nodes)
        self.losses = {grad: loss for loss, grad in self.pairs.items()}

    def node(self, node: Node) -> None:
        """The node after all that it needs. Depth first without recursion: nets can be hundreds of layers deep."""
        stack = [node]
        while stack:
            top = stack[-1]
            waiting = [t.node for t in top.inputs if id(t) not in self.to]
            if waiting:
                stack.extend(waiting)
            elif id(stack.pop().outputs[0]) not in self.to:
                self._replay(top)

    def _norm(self, node: Node) -> tuple[Tensor, ...]:
        """x, mean, var, gamma and beta of a normalize node, in the new graph."""
        (x, gamma, beta), (_, mean, var) = node.inputs, node.outputs
        return tuple([self.to[id(t)] for t in (x, mean, var, gamma, beta)])

    def _replay(self, node: Node) -> None:
        to = self.to
        self.graph.scope = node.scope
        if node in self.pairs:  # what the gradient needs besides the logits comes before the loss now
            grad = self.pairs[node]
            x, target, dloss = grad.inputs
            if dloss.node.op is COPY and numel(dloss.node.inputs[0].shape) == 1:  # one number for every row
                dloss = dloss.node.inputs[0]
            self.node(dloss.node)
            ins = tuple(to[id(t)] for t in (x, target, dloss))
            both = self.graph.add(CROSS_ENTROPY_BOTH, ins, node.attrs)
            to[id(node.outputs[0])], to[id(grad.outputs[0])] = both.outputs
        elif node in self.losses:
            self.node(self.losses[node])
        elif (norm := normalize_under_relu(node.outputs[0])) is not None:
            again = normalize_again(*self._norm(norm), eps=norm.attrs["eps"])
            to[id(node.outputs[0])] = apply(RELU_MASK, to[id(node.inputs[0])], again)
        elif node.op.decompose is not None and node.op.lower is None and not node.op.elementwise:  # no kernel
            parts = node.op.decompose(*[to[id(t)] for t in node.inputs], **node.attrs)
            for old, fresh in zip(node.outputs, parts, strict=True):
                to[id(old)] = fresh
        else:
            inputs = [to[id(t)] for t in node.inputs]
            norm = normalize_under_relu(node.inputs[0]) if node.op is NORM_GRAD else None
            if norm is not None and norm.inputs[0] is node.inputs[1]:
                _, _, _, gamma, beta = self._norm(norm)
                inputs = [to[id(node.inputs[0].node.inputs[0])], *inputs[1:], gamma * inputs[3], beta]
            made = self.graph.add(node.op, tuple(inputs), node.attrs, node)
            for old, fresh in zip(node.outputs, made.outputs, strict=True):
                to[id(old)] = fresh


def rewrite(graph: Graph, outputs: Sequence[Tensor]) -> tuple[Graph, dict[int, Tensor]]:
    """A new graph of the live nodes only, with node-level rewriting done; and old tensor id -> new tensor."""
    nodes = live_nodes(graph, outputs)
    work = _Rewrite(graph, nodes)
    new, to = work.graph, work.to
    with tracing(new):
        for node in nodes:
            if id(node.outputs[0]) not in to:
                work.node(node)
    kept = [to[id(t)] for t in outputs]
    new.nodes = _contract(live_nodes(new, kept), kept)
    for i, n in enumerate(new.nodes):
        n.index = i
    return new, to
