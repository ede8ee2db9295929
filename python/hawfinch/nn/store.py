"""Store: the memory of a model, and the arrays that live in it.

Design
(a) One contiguous buffer for parameters and one for state (running statistics); an array is a view of it. Rejected: an
    array per parameter, which makes an optimiser a loop over arrays, and data parallelism many messages.
(b) The layout follows from the model alone, not from an optimiser's groups or from what is frozen: views stay live when
    those change. Rejected: groups side by side.
(c) An array knows the store that it lives in, so a part of a model finds the memory of the whole. Rejected: a store for
    each model that is used by itself, between which arrays would move, leaving dead views behind.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..initializers import Draw, Function
from ..ir import Array
from ..runtime.buffers import aligned_zeros
from ..values import called, short

LINE = 16  # elements: every array starts on a cache line


class Parameter:
    """A named array of a layer: trained (``trainable``), or state such as a running mean.

    ``data`` is a view into the store's buffer, ``offset`` elements from its start; before there is a store, None or the
    values that it will start with. ``frozen``: training leaves it as it is. ``layer``: the class that made it.
    ``init``: None until the model chooses one (starts.py). ``sparse``: whether the update sees touched rows, unless the
    trainer's groups say otherwise (train/update/rows.py).
    """

    __slots__ = (
        "__weakref__",
        "data",
        "fan",
        "frozen",
        "init",
        "layer",
        "name",
        "offset",
        "shape",
        "sparse",
        "store",
        "trainable",
    )

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        init: Function | None,
        fan: tuple[int, int],
        trainable: bool,
        layer: str,
    ):
        self.name, self.shape, self.init, self.fan = name, shape, init, fan
        self.trainable, self.layer, self.frozen, self.sparse = trainable, layer, False, False
        self.data: Array | None = None
        self.offset = 0
        self.store: Store | None = None  # where it lives

    @property
    def room(self) -> int:
        """Elements that it takes in a buffer, up to the next array."""
        return -(-math.prod(self.shape) // LINE) * LINE

    def like(self) -> Parameter:
        """One of the same kind without values."""
        other = Parameter(self.name, self.shape, self.init, self.fan, self.trainable, self.layer)
        other.sparse = self.sparse
        return other

    def first_value(self, name: str, draw: Draw) -> Array:
        """What the initializer gives. name: for the message, where it gives something else than the array needs."""
        assert self.init is not None
        given = called(f"the initializer of {name!r}", self.init, self.shape, *self.fan, draw)
        try:
            value = np.asarray(given)
        except Exception as error:
            raise ArgumentError(
                f"the initializer of {name!r} gave {short(given)}, which is no array ({error})"
            ) from None
        if value.shape not in (self.shape, (math.prod(self.shape),)) or value.dtype.kind not in "fiub":
            raise ArgumentError(
                f"the initializer of {name!r} gave an array of shape {value.shape} and dtype {value.dtype}; "
                f"expected {math.prod(self.shape)} numbers for shape {self.shape}"
            )
        return value.reshape(self.shape)

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: the values, without the store that they lie in."""
        state = {k: getattr(self, k) for k in self.__slots__ if k not in ("__weakref__", "store", "data", "offset")}
        return state | {"data": None if self.data is None else self.data.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.store, self.offset = None, 0
        for k, v in state.items():
            setattr(self, k, v)


class Following:
    """The initializer of an array that begins with what another one gives: ``function(the other, draw)``."""

    def __init__(self, of: Parameter, function: Callable[[Array, Draw], Array]):
        self.of, self.function = of, function

    def __call__(self, shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Draw) -> Array:
        return np.zeros(shape)  # until the other one is there


class Store:
    """The buffers of a model: ``params`` for what is trained, ``buffers`` for state. Values that are missing are drawn.

    arrays: by name; an array that lived elsewhere moves here with its values.
    """

    def __init__(self, arrays: dict[str, Parameter], dtype: str, seed: int):
        self.dtype = dtype
        # weakly: an array holds its store, and a circle would wait for the cyclic collector with its memory
        self._arrays = {k: weakref.ref(p) for k, p in arrays.items()}
        draws = {k: Draw(seed, i) for i, k in enumerate(arrays)}
        homes: list[tuple[Parameter, Array, int]] = []
        self.params = self._buffer(self.parameters, draws, homes)
        self.buffers = self._buffer(self.state, draws, homes)
        values = {id(p): view for p, view, _ in homes}
        for k, p in arrays.items():
            if p.data is None and isinstance(p.init, Following):
                other = values[id(p.init.of)].astype(np.float64)
                values[id(p)][...] = p.init.function(other, draws[k])
        for p, view, offset in homes:  # nothing has changed if an initializer has failed
            p.data, p.offset, p.store = view, offset, self

    def _buffer(
        self, group: dict[str, Parameter], draws: dict[str, Draw], homes: list[tuple[Parameter, Array, int]]
    ) -> Array:
        """One buffer with the values of the group; appends (array, its view of the buffer, offset) to homes."""
        sizes = [p.room for p in group.values()]
        flat = aligned_zeros(sum(sizes) * np.dtype(self.dtype).itemsize).view(self.dtype)
        at = 0
        for (k, p), size in zip(group.items(), sizes, strict=True):
            view = flat[at : at + math.prod(p.shape)].reshape(p.shape)
            view[...] = p.first_value(k, draws[k]) if p.data is None else p.data
            homes.append((p, view, at))
            at += size
        return flat

    @property
    def parameters(self) -> dict[str, Parameter]:
        """What lies in ``params``, by name."""
        found = {}  # a loop: each fit asks several times, and a comprehension is a call of its own
        for k, ref in self._arrays.items():
            if (p := ref()) is not None and p.trainable:
                found[k] = p
        return found

    @property
    def state(self) -> dict[str, Parameter]:
        """What lies in ``buffers``, by name."""
        return {k: p for k, ref in self._arrays.items() if (p := ref()) is not None and not p.trainable}

    @property
    def trainable(self) -> dict[str, Parameter]:
        """What training changes: the parameters that are not frozen."""
        found = {}
        for k, ref in self._arrays.items():
            if (p := ref()) is not None and p.trainable and not p.frozen:
                found[k] = p
        return found

    def holds_just(self, arrays: dict[str, Parameter]) -> bool:
        """Whether these arrays, all of them and no others, live here."""
        return len(arrays) == len(self._arrays) and self.holds(arrays)

    def holds(self, arrays: dict[str, Parameter]) -> bool:
        """Whether these arrays live here."""
        return all([p.store is self for p in arrays.values()])
