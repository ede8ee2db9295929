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
from collections.abc import Callable
from typing import Any

from ..errors import TraceError
from .nodes import Node, Op, Tensor
from .sizes import Shape

_blank: Any = object.__new__  # nodes and tensors have no __init__: a first step makes hundreds of them


class Graph:
    """Nodes in topological order. ``training`` is what layers ask; ``updates`` are state tensors to write at the
    end."""

    def __init__(self, *, training: bool = False):
        self.nodes: list[Node] = []
        self.training = training
        self.trainers = 0  # whose batches are one, see ops/joint.py; 0: they are not joined
        self.scope = ""
        self.updates: list[tuple[Tensor, Tensor]] = []
        self.n_streams = 0
        self.wrapped: dict[tuple[int, str], Callable[[Any], Any]] = {}  # (id of a layer, array) -> what it works with
        self.on_output: Callable[[Any, Any], Any] | None = None  # (layer, its output) -> what goes on in its place
        self.scalings: list[tuple[Any, Any, Any]] = []  # layers that learn from data: (layer, its input, its output)
        self.watches: list[Any] = []  # of each model that it calls, other than that whose trace it is
        self.differentiated = False  # whether gradients are part of it
        self.captured: dict[
            int, tuple[Any, Tensor]
        ] = {}  # arrays met in the trace; held, so that their ids stay theirs
        self.leaves: dict[tuple[Op, int], Tensor] = {}  # by op and id of the value, which the node holds
        self._seen: dict[Any, Node] = {}

    def __del__(self) -> None:
        for node in self._seen.values():  # nodes and their outputs would keep each other until a cyclic collection
            node.outputs = ()

    def add(self, op: Op, inputs: tuple[Tensor, ...], attrs: dict[str, Any], like: Node | None = None) -> Node:
        """The node, an equal one of before if there is one.

        like: a node whose outputs are of the same shapes and dtypes; by default they are inferred.
        """
        key = (op, inputs, *attrs.items())
        node = self._seen.get(key)
        if node is None:
            nodes = self.nodes
            n = len(nodes)
            for t in inputs:
                if t.node.index >= n or nodes[t.node.index] is not t.node:
                    self.check_own(t)
            node = _blank(Node)
            node.op, node.inputs, node.attrs, node.index, node.scope = op, inputs, attrs, n, self.scope
            view = None
            if op.is_view:
                view = inputs[0] if inputs[0].view_of is None else inputs[0].view_of
            outputs: list[Tensor] = []
            if like is None:
                for shape, dtype in op.infer(*inputs, **attrs):
                    t = _blank(Tensor)
                    t.node, t.index, t.shape, t.dtype, t.view_of = node, len(outputs), shape, dtype, view
                    outputs.append(t)
            else:
                for old in like.outputs:
                    t = _blank(Tensor)
                    t.node, t.index, t.shape, t.dtype, t.view_of = node, old.index, old.shape, old.dtype, view
                    outputs.append(t)
            node.outputs = tuple(outputs)
            nodes.append(node)
            self._seen[key] = node
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
    found = graph.leaves.get((op, id(value)))
    if found is None:
        found = graph.leaves[op, id(value)] = graph.add(op, (), {"ref": ById(value)}).outputs[0]
    return found


def scalar_value(t: Tensor) -> float | None:
    """The number that a scalar tensor stands for, None for every other tensor."""
    return t.node.attrs["value"] if t.node.op is SCALAR else None
