"""Module: a layer or a whole model. Its ``forward`` is traced; its parameters are views of one buffer.

Design
(a) Sizes are inferred: a layer asks for its parameters in ``forward``, where it sees the shape of its input.
    Parameters exist after ``build`` (which ``fit`` and ``predict`` call). Rejected: input sizes in every constructor,
    the commonest shape error of hand-written nets.
(b) The root module owns one contiguous buffer for parameters and one for state (batch-norm statistics);
    ``Parameter.data`` is a view of it. Rejected: an array per parameter, which makes an optimiser a loop over arrays.
(c) Constructor arguments are kept as given, so a model of built-in layers can describe itself in a file. Rejected:
    pickling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, DTypeError, NotBuiltError, ShapeError
from ..initializers import Draw, Initializer, get_initializer
from ..ir import (
    BATCH,
    PARAM,
    STATE,
    Array,
    Graph,
    Shape,
    Tensor,
    collector_paused,
    current_graph,
    input_tensor,
    leaf,
    tracing,
)
from ..runtime.buffers import aligned_zeros

DTYPES = ("float32", "float64")
MOST_ELEMENTS = 1 << 46
PAD = 16  # elements: every parameter starts on a cache line
INTERNAL = frozenset({"_config", "_own", "_pools", "_store", "_traced", "_quick"})  # no attributes of the user's


class Parameter:
    """A named array of a module. ``data`` is a view into the model's buffer once built."""

    __slots__ = ("data", "fan", "init", "layer", "name", "offset", "shape", "trainable")

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        init: Initializer,
        fan: tuple[int, int],
        trainable: bool = True,
        layer: str = "",
    ):
        self.layer = layer  # the class that made it
        self.name, self.shape, self.init, self.fan, self.trainable = name, shape, init, fan, trainable
        self.data: Array | None = None
        self.offset = 0  # elements into its buffer

    def value(self, draw: Draw) -> Array:
        return self.init(self.shape, *self.fan, draw).reshape(self.shape)


class Store:
    """The buffers of a built model: trainable parameters, and state. Arrays that are missing are drawn."""

    def __init__(self, named: dict[str, Parameter], dtype: str, seed: int):
        self.dtype = dtype
        self.trainable = {k: p for k, p in named.items() if p.trainable}
        self.state = {k: p for k, p in named.items() if not p.trainable}
        draws = {k: Draw(seed, i) for i, k in enumerate(named)}
        homes: list[tuple[Parameter, Array, int]] = []
        self.params = self._buffer(self.trainable, draws, homes)
        self.buffers = self._buffer(self.state, draws, homes)
        _core.new_version()
        for p, view, offset in homes:
            p.data, p.offset = view, offset

    def _buffer(
        self, group: dict[str, Parameter], draws: dict[str, Draw], homes: list[tuple[Parameter, Array, int]]
    ) -> Array:
        """One buffer with the values of the group; appends (parameter, its view of the buffer, offset) to homes."""
        size = sum(-(-math.prod(p.shape) // PAD) * PAD for p in group.values())
        itemsize = np.dtype(self.dtype).itemsize
        flat = aligned_zeros(size * itemsize).view(self.dtype)
        at = 0
        for k, p in group.items():
            n = math.prod(p.shape)
            view = flat[at : at + n].reshape(p.shape)
            view[...] = p.value(draws[k]) if p.data is None else p.data
            homes.append((p, view, at))
            at += -(-n // PAD) * PAD
        return flat

    def owns(self, named: dict[str, Parameter]) -> bool:
        """Whether the named parameters are exactly this store's, still at home here."""
        mine = {**self.trainable, **self.state}
        return mine.keys() == named.keys() and all(
            named[k] is p and p.data is not None and _inside(p.data, self.params if p.trainable else self.buffers)
            for k, p in mine.items()
        )


def _inside(view: Array, flat: Array) -> bool:
    start = _core.address(flat)
    return start <= _core.address(view) <= start + flat.nbytes


class Module:
    """Base of layers and models. Subclasses define ``forward(self, *inputs)`` with operators and ``hf.ops``.

    >>> import numpy as np, hawfinch as hf
    >>> class Block(hf.Module):
    ...     def __init__(self, n):
    ...         self.a, self.b = hf.Linear(n), hf.Linear(n)
    ...
    ...     def forward(self, x):
    ...         return hf.ops.relu(self.b(hf.ops.relu(self.a(x))) + x)
    >>> Block(4).predict(np.zeros((3, 4), np.float32)).shape
    (3, 4)
    """

    dtype: str = "float32"
    metadata: dict[str, str]  # free text kept in the model's file
    _config: tuple[tuple[Any, ...], dict[str, Any]]
    _own: dict[str, Parameter]
    _pools: dict[Any, Any]
    _path: str = ""
    _store: Store | None = None
    _input: tuple[Shape, ...] | None = None
    _output: tuple[Shape, ...] = ()
    _version: int = -1
    _seed: int = 0
    _changes: int = 0
    _structure: tuple[tuple[str, int, int], ...] = ()
    _traced: tuple[Graph, list[Tensor], list[Tensor]] | None = None
    _quick: _core.Quick | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Module:
        self = super().__new__(cls)
        self.__dict__.update(_config=(args, kwargs), _own={}, _pools={}, metadata={})
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: all but the plans, which are made anew."""
        return {**self.__dict__, "_pools": {}, "_quick": None, "_traced": None}

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name != "metadata":  # a layer or an option may have been exchanged
            self.__dict__["_changes"] = self._changes + 1
            _core.new_version()
        super().__setattr__(name, value)

    def forward(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} defines no forward(self, *inputs)")

    def __call__(self, *inputs: Any) -> Any:
        """On traced values: the layer's output. On arrays: ``predict``."""
        graph = current_graph()
        if graph is None:
            return self.predict(inputs[0] if len(inputs) == 1 else inputs)
        for x in inputs:
            if not isinstance(x, Tensor):
                raise TypeError(f"{type(self).__name__}: expected traced values, got {type(x).__name__}")
        outer, graph.scope = graph.scope, self._path or graph.scope
        try:
            return self.forward(*inputs)
        except ShapeError as error:
            if self._path and not getattr(error, "placed", False):
                error.args = (f"layer {self._path!r} ({type(self).__name__}): {error}",)
                error.placed = True  # type: ignore[attr-defined]
            raise
        finally:
            graph.scope = outer

    # ---- what forward may use ----
    @property
    def training(self) -> bool:
        """Whether the trace under way is for training (batch statistics, dropout)."""
        graph = current_graph()
        return graph is not None and graph.training

    def param(
        self,
        name: str,
        shape: Sequence[int],
        init: str | Initializer,
        fan: tuple[int, int] = (0, 0),
        *,
        trainable: bool = True,
    ) -> Tensor:
        """This module's array ``name``, made at the first trace. fan: (inputs, outputs), for the initializer."""
        graph = current_graph()
        assert graph is not None
        known = self._own.get(name)
        if known is None:
            if any(not isinstance(s, int) for s in shape):
                raise ShapeError(f"parameter {name!r} can't have the batch size in its shape {tuple(shape)}")
            if math.prod(shape) > MOST_ELEMENTS:
                raise ShapeError(f"parameter {name!r} of shape {tuple(shape)} is larger than any memory")
            known = self._own[name] = Parameter(
                name, tuple(shape), get_initializer(init), fan, trainable, type(self).__name__
            )
        elif known.shape != tuple(shape):
            raise ShapeError(f"parameter {name!r} has shape {known.shape}, but this input needs {tuple(shape)}")
        return leaf(graph, PARAM if trainable else STATE, known)

    def state(self, name: str, shape: Sequence[int], init: str | Initializer) -> Tensor:
        """An array that is not trained, such as a running mean."""
        return self.param(name, shape, init, trainable=False)

    def update_state(self, name: str, value: Tensor) -> None:
        """Sets a state array to ``value`` at the end of every training step."""
        graph = current_graph()
        assert graph is not None
        graph.updates.append((leaf(graph, STATE, self._own[name]), value))

    # ---- structure ----
    def children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules: attributes, and what lists, tuples and dicts among them hold, at any depth."""
        for name, value in vars(self).items():
            if name not in INTERNAL:
                yield from _modules_in(name, value, ())

    def modules(self, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with its path."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield path, self
        for name, child in self.children():
            yield from child.modules(f"{path}.{name}" if path else name, seen)

    # ---- build ----
    def trace(self, graph: Graph, inputs: Sequence[Shape]) -> tuple[list[Tensor], list[Tensor]]:
        """Calls forward with symbols of these shapes (batch axis first): (input tensors, output tensors)."""
        modules = list(self.modules())
        for path, m in modules:
            m._path = path
        try:
            with tracing(graph):
                xs = [input_tensor(graph, f"x{i}", shape) for i, shape in enumerate(inputs)]
                result = self(*xs)
        except RecursionError:
            raise ArgumentError("forward calls itself without end: a layer calls one that calls it") from None
        self._check_owned(graph, modules)
        ys = list(result) if isinstance(result, tuple | list) else [result]
        for y in ys:
            if not isinstance(y, Tensor):
                raise TypeError(f"forward gave {type(y).__name__}; expected a traced value or a tuple of them")
        return xs, ys

    def _check_owned(self, graph: Graph, modules: list[tuple[str, Module]]) -> None:
        """Raises ArgumentError where the trace met an array that has no memory in this model."""
        used = {id(n.attrs["ref"].value): n for n in graph.nodes if n.op is PARAM or n.op is STATE}
        mine = {id(p): m for _, m in modules for p in m._own.values()}
        if not used.keys() <= mine.keys():  # a layer that forward made and set as an attribute is found now
            mine = {id(p): m for _, m in self.modules() for p in m._own.values()}
        for key, node in used.items():
            p, owner = node.attrs["ref"].value, mine.get(key)
            where = f"forward of layer {node.scope!r}" if node.scope else "forward"
            if owner is None:
                raise ArgumentError(
                    f"{where} uses {p.layer} ({p.name!r} of shape {p.shape}), which is not a layer of this model: make "
                    "layers in __init__ and keep them as attributes, or in lists, tuples and dicts that are attributes"
                )
            if self._store is not None and p.data is None and not graph.training:
                raise ArgumentError(
                    f"{where} uses {type(owner).__name__} in inference only, so that it has no memory: "
                    "call it in training too, or build the model again"
                )

    def training_trace(self) -> tuple[Graph, list[Tensor], list[Tensor]]:
        """A graph of the forward pass in training mode, its inputs and outputs: the first time that of ``build``."""
        traced, self._traced = self._traced, None
        if traced is not None and self._structure == self._survey()[1]:
            return traced
        assert self._input is not None
        graph = Graph(training=True)
        return graph, *self.trace(graph, self._input)

    def build(self, *input_shapes: Sequence[int], seed: int = 0) -> Module:
        """Makes and initialises the parameters. input_shapes: one per input, without the batch axis.

        Does nothing to a model that is built already; raises ShapeError where it was built for other shapes.
        """
        for shape in input_shapes:
            if not isinstance(shape, tuple | list) or any(
                isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0 for n in shape
            ):
                raise ShapeError(f"build takes one shape per input, without the batch axis: build((4,)); got {shape!r}")
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
            raise ArgumentError(f"seed must be an integer in [0, 2**64), got {seed!r}")
        shapes: tuple[Shape, ...] = tuple((BATCH, *map(int, shape)) for shape in input_shapes)
        if self._input is not None and self._store is not None:
            if shapes != self._input:
                raise ShapeError(f"the model was built for inputs {self._describe_input()}, got {_plain(shapes)}")
            self.store()
            return self
        self._make(shapes, int(seed))
        return self

    def _make(self, shapes: tuple[Shape, ...], seed: int) -> None:
        """Makes the arrays that are missing, and buffers for all."""
        if self.dtype not in DTYPES:
            raise DTypeError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")
        try:
            with collector_paused():
                graph = Graph(training=True)
                inputs, outputs = self.trace(graph, shapes)
            for y in outputs:
                if y.shape[:1] != (BATCH,):
                    raise ShapeError(f"the model's output {y.shape} must keep the rows of its input as its first axis")
            self._fill(shapes, tuple(y.shape for y in outputs), seed)
        except BaseException:  # the sizes that a failed trace has fixed must not bind the next one
            for _, m in self.modules():
                m._own = {k: p for k, p in m._own.items() if p.data is not None}
            raise
        self._traced = (graph, inputs, outputs)

    def build_like(self, twin: Module, seed: int = 0) -> None:
        """``build`` without a trace, for a model whose ``structure`` is that of ``twin`` was before it was built."""
        for (path, m), (_, other) in zip(self.modules(), twin.modules(), strict=True):
            m._path = path
            m._own = {k: Parameter(p.name, p.shape, p.init, p.fan, p.trainable, p.layer) for k, p in other._own.items()}
        assert twin._input is not None
        self._fill(twin._input, twin._output, seed)

    def structure(self) -> tuple[Any, ...] | None:
        """Models of equal structure and dtype have equal traces. None: built already, or with a layer of one's own."""
        try:
            return _structure(self, {})
        except LookupError:
            return None

    def _fill(self, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...], seed: int) -> None:
        """Draws the arrays that are missing; buffers for all."""
        named, structure = self._survey()
        self._store = Store(named, self.dtype, seed)
        self._input, self._output, self._seed, self._structure = inputs, outputs, seed, structure
        self._traced = None
        self._pools.clear()
        self._quick = None
        self._version = _core.version()

    def _survey(self) -> tuple[dict[str, Parameter], tuple[tuple[str, int, int], ...]]:
        """Arrays by name, and what differs when a layer has been exchanged or an option of one has been set."""
        modules = list(self.modules())
        named: dict[str, Parameter] = {}
        for path, m in modules:
            for n, p in m._own.items():
                name = f"{path}.{n}" if path else n
                if name in named:
                    pair = [f"{q.name!r} of a {q.layer}" for q in (named[name], p)]
                    why = ": keys of a dict that are equal as text" if p.name == named[name].name else ""
                    raise ArgumentError(f"two arrays are named {name!r}, {' and '.join(pair)}{why}; rename one")
                named[name] = p
        return named, tuple([(path, id(m), m._changes) for path, m in modules])

    def store(self, *, look: bool = False) -> Store:
        """The buffers; made anew when a parameter has moved to another model's buffer, or a layer was exchanged.

        look: even if no attribute was set anywhere: an item of a list or dict of layers is exchanged unseen.
        """
        if self._store is None:
            raise NotBuiltError("the model has no parameters yet; call build(input_shape), fit or predict first")
        if look or self._version != _core.version():
            named, structure = self._survey()
            if self._structure != structure:
                assert self._input is not None
                self._make(self._input, self._seed)
            elif not self._store.owns(named):
                self._store = Store(named, self.dtype, self._seed)
                self._pools.clear()
            self.__dict__["_version"] = _core.version()
        return self._store

    def _describe_input(self) -> str:
        return _plain(self._input or ())

    def parameters(self) -> dict[str, Array]:
        """Trainable arrays by name; views: writing to one changes the net."""
        return {k: p.data for k, p in self.store().trainable.items() if p.data is not None}

    def buffers(self) -> dict[str, Array]:
        """Arrays that are not trained (running statistics) by name; views."""
        return {k: p.data for k, p in self.store().state.items() if p.data is not None}

    @property
    def n_parameters(self) -> int:
        """Number of trainable values."""
        return sum(math.prod(p.shape) for p in self.store().trainable.values())

    def astype(self, dtype: str) -> Module:
        """Sets the dtype that the model is built in: "float32" or "float64". A built model is converted."""
        if dtype not in DTYPES:
            raise DTypeError(f"dtype must be one of {DTYPES}, got {dtype!r}")
        self.dtype = dtype
        if self._store is not None:
            self.store()
        return self

    # ---- use ----
    def predict(self, x: Any, *, out: Array | None = None, threads: int | None = None) -> Any:
        """The model's output for rows of x, in inference mode. A model that isn't built is built first.

        x: array (rows, ...), or a tuple of them for several inputs; any real dtype and strides. Rows stream through
        the net in chunks, so memory does not grow with their number, and a row's result does not depend on the other
        rows. Gives an array (rows, ...) of the model's dtype, or a tuple of them. Raises ShapeError, DTypeError,
        NonFiniteError.
        """
        if self._quick is not None and out is None and threads is None:
            y = self._quick.predict(x)
            if y is not None:
                return y
        from ..predict.predictor import predict

        return predict(self, x, out, threads)

    def summary(self) -> str:
        """A table: layer, output shape, parameters, bytes, FLOPs of one row. The model must be built."""
        from .summary import summary

        return summary(self)

    def save(self, path: Any, metadata: dict[str, str] | None = None) -> None:
        """Writes the net to a safetensors file, with its architecture where all layers are hawfinch's own.

        The file is written beside the old one and renamed: it is never half there. ``metadata``: text to keep in the
        file, given back as ``model.metadata``.
        """
        from ..files.model import save_model

        save_model(self, path, metadata)

    def __repr__(self) -> str:
        args, kwargs = self._config
        inner = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items()]
        return f"{type(self).__name__}({', '.join(inner)})"


def _modules_in(name: str, value: Any, outer: tuple[int, ...]) -> Iterator[tuple[str, Module]]:
    """The modules in a value, with their names. outer: the containers around it, one of which may hold itself."""
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, list | tuple | dict) and id(value) not in outer:
        for k, v in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _modules_in(f"{name}.{k}", v, (*outer, id(value)))


def _structure(value: Any, seen: dict[int, int]) -> tuple[Any, ...]:
    """What a layer's trace follows from: classes and options. Raises LookupError where that is not known."""
    if isinstance(value, Module):
        if id(value) in seen:
            return (seen[id(value)],)
        seen[id(value)] = len(seen)
        if value._own or not type(value).__module__.startswith("hawfinch.nn."):
            raise LookupError
        return (type(value), *((k, _structure(v, seen)) for k, v in vars(value).items() if k[0] != "_"))
    if isinstance(value, list | tuple):
        return (type(value), *(_structure(v, seen) for v in value))
    if isinstance(value, dict):
        return (dict, *((k, _structure(v, seen)) for k, v in value.items()))
    if value is None or isinstance(value, int | float | str):
        return (type(value), repr(value))  # 1 == True, 0.0 == -0.0
    if callable(value):
        return (value,)
    raise LookupError


def _plain(shapes: Sequence[Shape]) -> str:
    return ", ".join("(" + ", ".join(["rows", *map(str, s[1:])]) + ")" for s in shapes)
