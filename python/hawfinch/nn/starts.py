"""How the arrays of a model start, where their layers leave it open."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..initializers import INITIALIZERS, Auto, Data, Function, Initializer, InitLike, get_initializer
from ..ir import PARAM, Graph
from ..ops.elementwise import ELU, GELU, LEAKY_RELU, RELU, SIGMOID, SOFTPLUS, TANH
from ..ops.matmul import MATMUL
from ..ops.softmax import SOFTMAX
from .structure import Tree

KAIMING, XAVIER = INITIALIZERS["kaiming_normal"], INITIALIZERS["xavier_uniform"]
OF_OP = dict.fromkeys((RELU, LEAKY_RELU, ELU, GELU, SOFTPLUS), KAIMING)
OF_OP |= dict.fromkeys((TANH, SIGMOID, SOFTMAX, MATMUL), XAVIER)


def choose_initializers(model: Tree, graph: Graph, default: Function | None) -> None:
    """Gives the arrays that have no values yet, and no initializer but None or "auto", the one that they start with.

    default: that of the model, for None. A bias starts at 0, but with "torch_default".
    """
    modules = model._walk([])
    open_ones = [p for _, m in modules for p in m._hf.own.values() if p.data is None]
    for p in open_ones:
        if isinstance(p.init, Data):
            raise ArgumentError('init="data" needs data: give it to Trainer, for all layers that name no initializer')
        if p.init is None:
            p.init = default or INITIALIZERS["torch_default"]
            if p.name == "bias" and p.init != INITIALIZERS["torch_default"]:
                p.init = INITIALIZERS["zeros"]
    chosen = {id(p): p for p in open_ones if isinstance(p.init, Auto)}
    if not chosen:
        return
    at = dict(modules)
    readers: dict[int, list[Any]] = {}
    for node in graph.nodes:
        for t in node.inputs:
            readers.setdefault(t.node.index, []).append(node)
    for node in graph.nodes:
        if node.op is PARAM and id(node.attrs["ref"].value) in chosen:
            chosen[id(node.attrs["ref"].value)].init = _behind(node, readers, at)
    for p in chosen.values():
        p.init = XAVIER if isinstance(p.init, Auto) else p.init


def bias_init(init: InitLike) -> InitLike:
    """Of the bias beside a weight of this initializer: None, the model's, stays open."""
    return init if init is None or get_initializer(init) == INITIALIZERS["torch_default"] else "zeros"


def _behind(weight: Any, readers: dict[int, list[Any]], modules: dict[str, Tree]) -> Function:
    """By the first activation behind the product with the weight."""
    waiting, seen, products = [weight], {weight.index}, 0
    while waiting:
        node = waiting.pop(0)
        start = getattr(modules.get(node.scope), "_start", None)
        if isinstance(start, Initializer) and node is not weight:
            return start
        products += node.op is MATMUL
        if node.op in OF_OP and (node.op is not MATMUL or products > 1):
            is_silu = node.op is SIGMOID and any(
                r.op.name == "mul" and node.inputs[0] in r.inputs for r in readers.get(node.index, ())
            )
            return KAIMING if is_silu else OF_OP[node.op]
        for reader in readers.get(node.index, ()):
            if reader.index not in seen:
                seen.add(reader.index)
                waiting.append(reader)
    return XAVIER
