"""The part of a net behind a product, as a function of the product: for differences by every weight of a layer."""

from __future__ import annotations

import numpy as np

from ..compiler.rewrite import live_nodes
from ..ir import PARAM, Array, Graph, Node, Tensor, collector_paused, input_tensor, leaf, size_at
from ..ops.matmul import MATMUL
from ..train.batch_trace import BatchTrace
from .surface import Run, Surface


class Tail:
    """z = x w, where x does not depend on w, and the loss as a function of z. A change of w[i, j] is one of column j of
    z, so that neither the product nor what lies before it is computed again."""

    def __init__(self, surface: Surface, run: Run, x: Array, z: Array):
        self.value, self.run, self.x, self.z = surface.number, run, x, z

    @classmethod
    def of(cls, surface: Surface, name: str) -> Tail | None:
        """None where the parameter is not the second operand of one product alone."""
        with collector_paused():
            trace = BatchTrace(surface.model, surface.key)
            w = leaf(trace.graph, PARAM, surface.trainable[name])
            users = [n for n in live_nodes(trace.graph, [trace.loss]) if any([t is w for t in n.inputs])]
            if len(users) != 1 or users[0].op is not MATMUL or users[0].inputs[0] is w:
                return None
            product = users[0]
            rows = surface.data.rows
            tensors = (product.inputs[0], product.outputs[0])
            x, z = [np.zeros([size_at(n, rows) for n in t.shape], surface.dtype) for t in tensors]
            surface.plan(trace.graph, trace.sources, [], tensors, [(x, 0), (z, 0)])()
            return cls(surface, _behind(surface, product, z), x, z)

    def quotients(self, h: float) -> Array:
        """The central difference quotients of all elements of w, in their order."""
        n_in, n_out = self.x.shape[1], self.z.shape[1]
        found = np.empty((n_in, n_out))
        value, run = self.value, self.run
        for j in range(n_out):
            column, kept = self.z[:, j], self.z[:, j].copy()
            ups, downs = kept + h * self.x.T, kept - h * self.x.T
            for i in range(n_in):
                column[...] = ups[i]
                run()
                up = value[0]
                column[...] = downs[i]
                run()
                found[i, j] = up - value[0]
            column[...] = kept
        return found.reshape(-1) / (2 * h)


def _behind(surface: Surface, product: Node, z: Array) -> Run:
    """The loss of the product's result as it lies in z."""
    trace = BatchTrace(surface.model, surface.key)
    graph, cut = Graph(training=trace.graph.training), trace.graph.nodes[product.index]
    graph.n_streams = trace.graph.n_streams
    to: dict[int, Tensor] = {}
    for node in live_nodes(trace.graph, [trace.loss]):
        graph.scope = node.scope
        if node is cut:
            result = product.outputs[0]
            to[id(node.outputs[0])] = given = input_tensor(graph, "product", result.shape)
            continue
        made = graph.add(node.op, tuple([to[id(t)] for t in node.inputs]), node.attrs)
        to |= {id(old): new for old, new in zip(node.outputs, made.outputs, strict=True)}
    sources = [to.get(id(t)) for t in trace.sources]
    return surface.plan(graph, sources, [(given, (z, 0))], [to[id(trace.loss)]], [(surface.number, 0)])
