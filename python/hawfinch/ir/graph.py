"""Graph: the nodes of one trace.

Design
(a) A graph is a list of nodes in the order of their creation, which is a topological order. Rejected: a pointer graph
    that every stage has to sort again.
(b) The batch size is a symbol in shapes (``Dim``), affine in one unknown, so a plan serves every batch size.
    Rejected: one trace per batch size, as JAX does: the short last batch of every epoch would be a second compilation.
(c) Equal nodes are recorded once (hash-consing): gradient rules may repeat themselves freely.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import TraceError
from .nodes import Node, Op, Tensor
from .sizes import Shape


class Graph:
    """Nodes in topological order. ``training`` is what layers ask; ``updates`` are state tensors to write at the
    end."""

    def __init__(self, *, training: bool = False):
        self.nodes: list[Node] = []
        self.training = training
        self.scope = ""
        self.updates: list[tuple[Tensor, Tensor]] = []
        self.n_streams = 0
        self.watches: list[Any] = []  # of the models that it calls, other than that whose trace it is
        self.differentiated = False  # whether gradients are part of it
        self.captured: dict[
            int, tuple[Any, Tensor]
        ] = {}  # arrays met in the trace; held, so that their ids stay theirs
        self.leaves: dict[tuple[Op, int], Tensor] = {}
        self._seen: dict[Any, Node] = {}

    def __del__(self) -> None:
        for node in self._seen.values():  # nodes and their outputs would keep each other until a cyclic collection
            node.outputs = ()

    def add(self, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any], like: Node | None = None) -> Node:
        key = (op, inputs, *attrs.items())
        node = self._seen.get(key)
        if node is None:
            nodes = self.nodes
            n = len(nodes)
            for t in inputs:
                if t.node.index >= n or nodes[t.node.index] is not t.node:
                    self.check_own(t)
            node = self._seen[key] = Node(op, inputs, attrs, len(self.nodes), self.scope, like)
            self.nodes.append(node)
        return node

    def check_own(self, t: Tensor) -> None:
        """Raises TraceError for a tensor of another graph."""
        nodes, index = self.nodes, t.node.index
        if index >= len(nodes) or nodes[index] is not t.node:
            raise TraceError(
                f"{t} is of another trace: a traced value was kept after the function that made it was traced, or "
                "belongs to a model that is traced elsewhere; pass it as an argument, or give it back as a result"
            )

    def new_stream(self) -> int:
        """A number for a new random mask."""
        self.n_streams += 1
        return self.n_streams

    def show(self) -> str:
        """A readable listing: one line per node, with its inputs, attributes, shape and the layer that it came from."""
        return "\n".join(["graph:", *[n.show() for n in self.nodes]])


class ById:
    """Wraps a value so that nodes are equal only for the same object."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ById) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


# Leaves. ``input``: one array per run; ``param`` and ``state``: a view of the model's buffers; ``const``: a captured
# array; ``scalar``: a number known while tracing.
INPUT = Op("input", lambda *, name, shape, dtype: [(shape, dtype)], is_leaf=True)
PARAM = Op("param", lambda *, ref: [(ref.value.shape, "real")], is_leaf=True)
STATE = Op("state", lambda *, ref: [(ref.value.shape, "real")], is_leaf=True)
CONST = Op("const", lambda *, ref: [(ref.value.shape, "int" if ref.value.dtype.kind in "iu" else "real")], is_leaf=True)
SCALAR = Op("scalar", lambda *, value, sign: [((), "real")], is_leaf=True)


def input_tensor(graph: Graph, name: str, shape: Shape, dtype: str = "real") -> Tensor:
    return graph.add(INPUT, (), {"name": name, "shape": shape, "dtype": dtype}).outputs[0]


def scalar(graph: Graph, value: float) -> Tensor:
    return graph.add(SCALAR, (), {"value": float(value), "sign": math.copysign(1.0, value)}).outputs[0]  # 0.0 == -0.0


def leaf(graph: Graph, op: Op, value: Any) -> Tensor:
    """A param, state or const tensor; the same object gives the same tensor."""
    known = graph.leaves.get((op, id(value)))  # held by its node, so that its id stays its own
    if known is None:
        known = graph.leaves[op, id(value)] = graph.add(op, (), {"ref": ById(value)}).outputs[0]
    return known


def scalar_value(t: Tensor) -> float | None:
    """The number that a scalar tensor stands for, None for every other tensor."""
    return t.node.attrs["value"] if t.node.op is SCALAR else None
