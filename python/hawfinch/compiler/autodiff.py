"""Differentiate: reverse mode, graph to graph.

Design: the gradient is more nodes in the same graph, made by the gradient rules of the primitives (ops/), so it can be
differentiated again, fused and planned like any other. Rejected: a tape of closures, which a planner can't see into.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import ShapeError, TraceError
from ..ir import Graph, Node, Tensor, as_tensor, scalar, tracing
from .show import stage

Parts = dict[int, list[Tensor]]  # id of a tensor -> what has arrived of its gradient


def gradients(graph: Graph, y: Tensor, wrt: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of the scalar y by each tensor of wrt; None where y does not depend on it."""
    if y.shape != ():
        raise ShapeError(f"the gradient needs a scalar to start from, got shape {y.shape}; take a mean or sum first")
    return pull(graph, [y], [scalar(graph, 1.0)], wrt)


def pull(graph: Graph, ys: Sequence[Tensor], gs: Sequence[Tensor | None], wrt: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of sum(ys * gs) by each tensor of wrt, gs held fixed; None where ys do not depend on it."""
    if not graph.differentiated:
        stage("traced", graph.show)
    graph.differentiated = True
    scope = graph.scope
    with tracing(graph):
        arrived: Parts = {}
        for y, g in zip(ys, gs, strict=True):
            if g is not None:
                arrived.setdefault(id(y), []).append(g)
        last = max((y.node.index for y in ys), default=-1)
        _reverse(graph, graph.nodes[: last + 1], arrived, wrt)
        graph.scope = scope
        return [_total(arrived, t) for t in wrt]


def _reverse(
    graph: Graph, nodes: Sequence[Node], arrived: Parts, wrt: Sequence[Tensor], ends: frozenset[int] = frozenset()
) -> None:
    """Takes what has arrived at the outputs of ``nodes`` (in topological order) back to the tensors of wrt; not past
    those of ``ends``."""
    needed = _reaching(nodes, wrt)
    for node in reversed(nodes):
        if node not in needed or node.op.is_leaf:
            continue
        parts: list[Tensor | None] = []
        some = False
        for t in node.outputs:
            came = id(t) in arrived and id(t) not in ends
            parts.append(_total(arrived, t) if came else None)
            some = some or came
        if not some:
            continue
        graph.scope = node.scope
        if node.op.grad is not None:
            gs = node.op.grad(node, *parts)
        elif node.op.decompose is not None:
            gs = _through_parts(graph, node, parts)
        elif node.outputs[0].dtype == "real" and any(t.node in needed for t in node.inputs):
            raise TraceError(f"{node.op.name} has no gradient: it can't be differentiated; see hf.ops.stop_gradient")
        else:
            continue
        for t, g in zip(node.inputs, gs, strict=True):
            if g is not None and t.node in needed:
                arrived.setdefault(id(t), []).append(g)


def _through_parts(graph: Graph, node: Node, gs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradient of each input of a node without a gradient rule: that of its decomposition.

    Its inputs are independent here, even where one is a function of another: that is the outer walk's concern.
    """
    assert node.op.decompose is not None
    ys = [as_tensor(graph, y) for y in node.op.decompose(*node.inputs, **node.attrs)]
    arrived: Parts = {}
    for y, g in zip(ys, gs, strict=True):
        if g is not None:
            arrived.setdefault(id(y), []).append(g)
    ends = frozenset(map(id, node.inputs))
    _reverse(graph, _between(ys, ends), arrived, node.inputs, ends)
    once = dict.fromkeys(node.inputs)  # an input that stands in two places takes its gradient in the first
    return [_total(arrived, t) if once.pop(t, t) is None else None for t in node.inputs]


def _between(ys: Iterable[Tensor], ends: frozenset[int]) -> list[Node]:
    """The nodes that ys depend on, not past the tensors of ``ends``, in topological order."""
    found: set[Node] = set()
    stack = list(ys)
    while stack:
        t = stack.pop()
        if id(t) not in ends and t.node not in found:
            found.add(t.node)
            stack.extend(t.node.inputs)
    return sorted(found, key=lambda n: n.index)


def _reaching(nodes: Iterable[Node], wrt: Sequence[Tensor]) -> set[Node]:
    """Those of the nodes whose value depends on a tensor of wrt, and the nodes of wrt."""
    reached = {t.node for t in wrt}
    for node in nodes:
        if node not in reached:
            for t in node.inputs:
                if t.node in reached:
                    reached.add(node)
                    break
    return reached


def _total(arrived: Parts, t: Tensor) -> Tensor | None:
    """The sum of what has arrived for t, in order of arrival."""
    parts = arrived.get(id(t))
    if parts is None:
        return None
    while len(parts) > 1:
        second = parts.pop(1)
        parts[0] = parts[0] + second
    return parts[0]
