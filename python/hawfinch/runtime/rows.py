"""What plans over rows of data share: where a model's arrays live, and the steps that load and store rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core
from ..compiler.memory import Dynamic, Place, Source
from ..errors import DTypeError
from ..ir import BATCH, CONST, PARAM, SCALAR, STATE, Array, Graph, Step, Tensor, numel


def model_places(graph: Graph, params: Array, state: Array, numbers: tuple[int, int] | None = None) -> dict[int, Place]:
    """Where parameters, state and captured constants live: in these buffers.

    numbers: of the two buffers among those that are given at each run; None: their addresses are part of the plan.
    """
    places: dict[int, Place] = {}
    for node in graph.nodes:
        t = node.outputs[0]
        if node.op in (PARAM, STATE):
            which = 0 if node.op is PARAM else 1
            held = node.attrs["ref"].value
            buffer, offset = (params, state)[which], held.offset * params.itemsize
            if _core.address(held.data) != _core.address(buffer) + offset:  # another model's, called by a loss
                if held.data.dtype != params.dtype:
                    raise DTypeError(f"a {held.data.dtype} model is called in the trace of a {params.dtype} one")
                places[id(t)] = (held.data, 0)
            else:
                places[id(t)] = (buffer, offset) if numbers is None else Dynamic(numbers[which], offset)
        elif node.op is CONST:
            value = node.attrs["ref"].value
            kind = value.dtype if value.dtype == np.int64 else params.dtype
            places[id(t)] = (np.ascontiguousarray(value, dtype=kind), 0)
        elif node.op is SCALAR:
            places[id(t)] = (np.full(1, node.attrs["value"], params.dtype), 0)
    return places


def load_step(t: Tensor, number: int, ahead: int = 0) -> Step:
    """Fills t with the batch's rows of source array ``number``; each with the one ``ahead`` rows on, in a circle."""
    fields = {
        "dst": t,
        "source": Source(number),
        "rows": t.shape[0],
        "elems": numel(t.shape[1:]),
        "to_int": int(t.dtype == "int"),
        "ahead": ahead,
    }
    return Step("load_batch", fields, (t,), (), units=t.shape[0], local=(t,), scope="batch")


def load_steps(tensors: Sequence[Tensor | None]) -> list[Step]:
    """Loads source i into tensor i; None: nothing reads it."""
    return [load_step(t, i) for i, t in enumerate(tensors) if t is not None]


def store_step(y: Tensor, number: int, itemsize: int) -> Step:
    """Writes the batch's rows to the array ``number`` of the run."""
    row_bytes = numel((*y.shape[1:], 8 if y.dtype == "int" else itemsize))
    fields = {"dst": Dynamic(number), "src": y, "rows": BATCH, "row_bytes": row_bytes}
    return Step("store_batch", fields, (), (y,), units=BATCH, local=(y,), scope="result")
