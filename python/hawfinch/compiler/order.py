"""Order: sums that nobody waits for.

Design: a loss is an elementwise expression and its sum; the gradient reads the same operands, but not the sum. Where
the sum stands between the two, they can't be one program (group.py), and the operands are read twice. So sums that only
results need are held back, behind the elementwise nodes that follow, up to the next product, softmax or other sum. Each
keeps its value: the order of independent nodes changes no bit. Rejected: the end of the graph, which would keep the
loss of each element through the whole backward pass; moving elementwise nodes up, which would store in the forward pass
what the backward pass computes again for less.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from ..ir import Node
from ..ops.reduction import REDUCE

_node = attrgetter("node")


def sums_held_back(nodes: Sequence[Node]) -> list[Node]:
    """The nodes, those held back that only results need."""
    needed: set[Node] = set()  # by something else than sums and what is made of them
    for n in reversed(nodes):
        if n in needed or not (n.op is REDUCE or n.op.elementwise or n.op.is_view):
            needed.update(map(_node, n.inputs))
    ordered: list[Node] = []
    held: list[Node] = []
    waiting: set[Node] = set()
    for n in nodes:
        if n not in needed and (n.op is REDUCE or (waiting and not waiting.isdisjoint(map(_node, n.inputs)))):
            held.append(n)
            waiting.add(n)
            continue
        if held and n.inputs and not (n.op.elementwise or n.op.is_view):
            ordered += held
            held.clear()
            waiting.clear()
        ordered.append(n)
    return ordered + held
