"""Differentiate: reverse mode, graph to graph.

Design: the gradient is more nodes in the same graph, made by the gradient rules of the primitives (ops/), so it can be
differentiated again, fused and planned like any other. Rejected: a tape of closures, which a planner can't see into.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ShapeError
from ..ir import LEAVES, Graph, Node, Tensor, scalar, tracing


def gradients(graph: Graph, y: Tensor, wrt: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of the scalar y by each tensor of wrt; None where y does not depend on it."""
    if y.shape != ():
        raise ShapeError(f"the gradient needs a scalar to start from, got shape {y.shape}; take a mean or sum first")
    needed = _reaching(graph, wrt)
    cotangent: dict[int, list[Tensor]] = {id(y): [scalar(graph, 1.0)]}
    scope = graph.scope
    with tracing(graph):
        for node in reversed(graph.nodes[: y.node.index + 1]):
            if node not in needed or node.op.name in LEAVES:
                continue
            parts = [_total(cotangent, t) for t in node.outputs]
            if all(p is None for p in parts):
                continue
            if node.op.grad is None:
                if node.outputs[0].dtype == "real" and any(t.node in needed for t in node.inputs):
                    raise TypeError(f"{node.op.name} has no gradient rule: it can't be differentiated (again)")
                continue
            graph.scope = node.scope
            gs = node.op.grad(node, *parts)
            for t, g in zip(node.inputs, gs, strict=True):
                if g is not None and t.node in needed:
                    cotangent.setdefault(id(t), []).append(g)
        graph.scope = scope
        return [_total(cotangent, t) for t in wrt]


def _reaching(graph: Graph, wrt: Sequence[Tensor]) -> set[Node]:
    """Nodes whose value depends on a tensor of wrt."""
    reached = {t.node for t in wrt}
    for node in graph.nodes:
        if node not in reached and any(t.node in reached for t in node.inputs):
            reached.add(node)
    return reached


def _total(cotangent: dict[int, list[Tensor]], t: Tensor) -> Tensor | None:
    """The sum of what has arrived for t, in order of arrival."""
    parts = cotangent.get(id(t))
    if parts is None:
        return None
    while len(parts) > 1:
        second = parts.pop(1)
        parts[0] = parts[0] + second
    return parts[0]
