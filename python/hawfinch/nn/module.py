"""Module: a layer or a whole model. Its ``forward`` is traced; its arrays live in a ``Store``.

Design
(a) Sizes are inferred: a layer asks for its arrays in ``forward``, where it sees the shape of its input. They exist
    after ``build`` (which ``fit`` and ``predict`` call). Rejected: input sizes in every constructor, the commonest
    shape error of hand-written nets.
(b) Module is what users see of a layer. Tree (structure.py) is what it is made of; Built (built.py) traces it and gives
    its arrays memory (store.py). What runs a model is found through ``uses``, a table that ``hawfinch/__init__`` fills
    with functions of the rooms above (predict, files). Rejected: imports inside methods, a circle hidden from every
    tool; and functions ``predict(model, x)`` alone: a method is at hand.
(c) Modules that belong together share a counter of changes (``_core.Changes``): setting an attribute of one raises it,
    and whatever was made of the model asks its ``Watch``. Rejected: a counter for the whole process, by which a layer
    made anywhere slows every model down.
(d) Constructor arguments are kept as given, so a model of built-in layers can describe itself in a file. Rejected:
    pickling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, cast

import numpy as np

from .. import _core
from ..errors import ArgumentError, DTypeError, HawfinchError, NotBuiltError, ShapeError, TraceError, unknown_name
from ..initializers import Data, InitLike, get_initializer
from ..ir import BATCH, PARAM, STATE, Array, Dim, Graph, Spec, Tensor, as_tensor, current_graph, leaf, row_shapes
from ..values import is_word, matching, short
from .built import DTYPES, Built, building, traced
from .store import Parameter
from .structure import Tree, drop_unborn

MOST_ELEMENTS = 1 << 46


class Module(Built):
    """Base of layers and models. Subclasses define ``forward(self, *inputs)`` with operators and ``hf.ops``.

    Layers are attributes, or are in lists, tuples and dicts that are attributes, at any depth. Setting an attribute of
    a built model, or an item of such a list, is seen by the next call of anything, and so is an item of any other short
    list or dict; after other changes in place (an array that forward uses as a constant) call ``changed``.

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

    __slots__ = ()
    uses: ClassVar[dict[str, Callable[..., Any]]] = {}  # see Design (b)

    def __init__(self) -> None:
        """Takes no arguments. A subclass that takes some need not call this."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN_NAMES:
            raise ArgumentError(f"{type(self).__name__}.{name}: this name is Module's own (see hf.Module.{name})")
        under_way = current_graph() is not None
        if under_way and isinstance(value, Tree) and not _any_values(value) and _any_values(vars(self).get(name)):
            raise ArgumentError(
                f"forward sets {name!r} to a new {type(value).__name__} in each call, so that the one that was "
                "trained would be lost; make layers in __init__"
            )
        super().__setattr__(name, value)
        if name != "metadata" and not under_way:
            self._hf.changed()

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._hf.changed()

    def changed(self) -> None:
        """Says that something that forward uses has changed in place, so that the model is traced again.

        >>> import numpy as np, hawfinch as hf
        >>> class Scaled(hf.Module):
        ...     def __init__(self):
        ...         self.by = np.ones(2, np.float32)
        ...
        ...     def forward(self, x):
        ...         return x * self.by
        >>> model = Scaled()
        >>> model.predict([[1.0, 2.0]])
        array([[1., 2.]], dtype=float32)
        >>> model.by[:] = 3
        >>> model.changed()
        >>> model.predict([[1.0, 2.0]])
        array([[3., 6.]], dtype=float32)
        """
        self._hf.changed()

    @property
    def metadata(self) -> dict[str, str]:
        """Free text that is kept in the model's file."""
        return self._hf.metadata

    @metadata.setter
    def metadata(self, value: dict[str, str]) -> None:
        if not isinstance(value, dict):
            raise ArgumentError(f"metadata must be a dict of texts, not {short(value)}")
        self._hf.metadata = value

    def forward(self, *inputs: Any) -> Any:
        """To be defined by each module: the outputs, made of the inputs, with operators and ``hf.ops``."""
        raise ArgumentError(f"{type(self).__name__} defines no forward(self, *inputs)")

    def __call__(self, *inputs: Any) -> Any:
        """On traced values: the layer's output. On arrays: ``predict``."""
        graph = current_graph()
        if graph is None:
            return self.predict(inputs[0] if len(inputs) == 1 else inputs)
        for x in inputs:
            if not isinstance(x, Tensor):  # a constant
                inputs = tuple([as_tensor(graph, x) for x in inputs])
                break
        if traced.get() is None:
            return self._as_guest(graph, inputs)
        path = self._hf.path
        outer, graph.scope = graph.scope, path or graph.scope
        try:
            y = self.forward(*inputs)
            return y if graph.on_output is None else graph.on_output(self, y)
        except ShapeError as error:
            if path and not getattr(error, "placed", False):
                error.args = (f"layer {path!r} ({type(self).__name__}): {error}",)
                error.placed = True  # type: ignore[attr-defined]
            raise
        except (TypeError, AttributeError) as error:
            if isinstance(error, HawfinchError) or type(self).__module__[:12] != "hawfinch.nn." or self._children([]):
                raise
            options = ", ".join([f"{k}={short(v)}" for k, v in vars(self).items()])
            what = f"layer {path!r} ({type(self).__name__}) can't work with its options as they were set"
            raise ArgumentError(f"{what}: {options} ({error})") from error
        finally:
            graph.scope = outer

    def _as_guest(self, graph: Graph, inputs: tuple[Any, ...]) -> Any:
        """A call in the trace of a function, or of a loss: in inference mode, with the arrays as they are."""
        if self._hf.inputs is None:  # a part of a model, whose other parts may change too
            containers: list[Any] = []
            self._walk(containers)
            graph.watches.append(_core.Watch(self._hf.changes, containers))
        else:
            graph.watches.append(self.watch())
        token, training, graph.training = traced.set(self), graph.training, False
        try:
            return self(*inputs)
        finally:
            graph.training = training
            traced.reset(token)
            unborn = drop_unborn(self)
            if unborn:
                raise NotBuiltError(
                    f"a model that is not built was called in a function: {unborn[0].layer} has no values for its "
                    f"array {unborn[0].name!r} yet; call the model's build(input_shape), fit or predict first"
                )

    # ---- what forward may use ----
    @property
    def training(self) -> bool:
        """Whether the trace under way is for training (batch statistics, dropout)."""
        graph = current_graph()
        return graph is not None and graph.training

    def _graph(self, what: str) -> Graph:
        graph = current_graph()
        if graph is None:
            raise TraceError(f"{what} is for use in forward, which is traced; see Module.parameters for the arrays")
        return graph

    def param(
        self, name: str, shape: Sequence[int], init: InitLike, fan: tuple[int, int] = (0, 0), *, trainable: bool = True
    ) -> Tensor:
        """This module's array ``name``, made at the first trace. For use in ``forward``.

        init: an initializer or its name; None: the model's. fan: (inputs, outputs), for the initializer. Raises
        ShapeError where the array exists with another shape.

        >>> import hawfinch as hf
        >>> class Scale(hf.Module):
        ...     def forward(self, x):
        ...         return x * self.param("scale", (x.shape[-1],), "ones")
        >>> Scale().build((3,)).parameters()
        {'scale': array([1., 1., 1.], dtype=float32)}
        """
        graph, own = self._graph("param and state"), self._hf.own
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"the name of an array must be text, not {short(name)}")
        sizes = shape if isinstance(shape, tuple | list) else (shape,)
        if sizes is not shape or not all([isinstance(s, int | np.integer) and s >= 0 for s in sizes]):
            why = "can't follow from the batch size" if Dim in map(type, sizes) else "must be a tuple of whole numbers"
            raise ShapeError(f"parameter {name!r}: its shape {why}, got {short(shape)}")
        known = own.get(name)
        if known is None:
            if not isinstance(fan, tuple) or len(fan) != 2 or not isinstance(trainable, bool):
                what = short((fan, trainable))
                raise ArgumentError(f"parameter {name!r}: fan must be two numbers, trainable a bool; got {what}")
            if math.prod(shape) > MOST_ELEMENTS:
                raise ShapeError(f"parameter {name!r} of shape {tuple(shape)} is larger than any memory")
            layer = type(self).__name__
            start = None if init is None else get_initializer(init)
            known = own[name] = Parameter(name, tuple(shape), start, fan, trainable, layer)
        elif known.shape != tuple(shape):
            raise ShapeError(f"parameter {name!r} has shape {known.shape}, but this input needs {tuple(shape)}")
        elif known.trainable is not trainable:
            raise ArgumentError(f"{name!r} is the name of a parameter and of a state of {known.layer}; rename one")
        if trainable:
            wrap = graph.wrapped.get((id(self), name))
            return leaf(graph, PARAM, known) if wrap is None else wrap(leaf(graph, PARAM, known))
        found = leaf(graph, STATE, known)
        return next((value for target, value in graph.updates if target is found), found)

    def state(self, name: str, shape: Sequence[int], init: InitLike) -> Tensor:
        """An array that is not trained, such as a running mean: its value as this trace's updates have left it.

        An example is that of ``update_state``. Arguments and errors are those of ``param``.
        """
        return self.param(name, shape, init, trainable=False)

    def update_state(self, name: str, value: Tensor) -> None:
        """Sets a state array to ``value`` at the end of every training step; a later update in the same trace goes on
        from it. A frozen array stays as it is.

        >>> import numpy as np, hawfinch as hf
        >>> class Count(hf.Module):
        ...     def forward(self, x):
        ...         count = self.state("count", (1,), "zeros")
        ...         if self.training:
        ...             self.update_state("count", count + 1.0)
        ...         return x
        >>> model, x = Count(), np.zeros((6, 1), np.float32)
        >>> _ = hf.Trainer(model, "mse").fit(x, x, epochs=2, batch_size=2)
        >>> model.buffers()
        {'count': array([6.], dtype=float32)}
        """
        graph, array = self._graph("update_state"), self._hf.own.get(name) if isinstance(name, str) else None
        if array is None or array.trainable:
            raise unknown_name("state", name, [k for k, p in self._hf.own.items() if not p.trainable])
        if not isinstance(value, Tensor) or value.shape != array.shape:
            given = f"shape {value.shape}" if isinstance(value, Tensor) else type(value).__name__
            raise ShapeError(f"update_state: {name!r} has shape {array.shape}, the new value is of {given}")
        if not array.frozen:
            target = leaf(graph, STATE, array)
            graph.updates = [pair for pair in graph.updates if pair[0] is not target] + [(target, value)]

    def is_frozen(self, name: str) -> bool:
        """Whether this module's array ``name`` is frozen (see ``freeze``). False before it is made."""
        array = self._hf.own.get(name) if isinstance(name, str) else None
        return array is not None and array.frozen

    # ---- structure ----
    def children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules: attributes, and what lists, tuples and dicts among them hold, at any depth.

        >>> import hawfinch as hf
        >>> [name for name, _ in hf.Sequential(hf.Linear(2), hf.ReLU()).children()]
        ['0', '1']
        """
        return iter(cast("list[tuple[str, Module]]", self._children([])))

    def modules(self) -> Iterator[tuple[str, Module]]:
        """This module (its path is "") and all below it, each once, with its path.

        >>> import hawfinch as hf
        >>> [path for path, _ in hf.Sequential(hf.Linear(2), hf.Sequential(hf.ReLU())).modules()]
        ['', '0', '1', '1.0']
        """
        return iter(cast("list[tuple[str, Module]]", self._walk([])))

    # ---- build ----
    @property
    def inputs(self) -> tuple[Spec, ...] | None:
        """What the model was built for, batch axis first; None before ``build``.

        >>> import hawfinch as hf
        >>> hf.Linear(2).build((3,)).inputs
        (Spec(shape=(B, 3), dtype='real'),)
        """
        return self._hf.inputs

    @property
    def output_specs(self) -> tuple[Spec, ...]:
        """What forward gives for such inputs; empty before ``build``."""
        return self._hf.outputs

    @property
    def output_names(self) -> tuple[str, ...]:
        """The keys of the dict that forward gives; empty where it gives no dict."""
        return self._hf.output_names

    def build(
        self,
        *input_shapes: Sequence[int] | Spec,
        seed: int = 0,
        init: InitLike = None,
        accept: Callable[[dict[str, Parameter]], None] | None = None,
    ) -> Module:
        """Makes and initialises the arrays; returns the model.

        input_shapes: one per input, without the batch axis; () for an input of shape (rows,). An input is of integers
        if ``forward`` uses it as indices (or where a ``Spec`` says so). seed: the initial values follow from it alone.
        init: of weights whose layers name none; default "torch_default", see ``hf.initializers``.
        accept: is called with the arrays by name before memory is made for them, and may raise.
        Does nothing to a model that is built already; raises ShapeError where it was built for other shapes.

        >>> import hawfinch as hf
        >>> model = hf.Sequential(hf.Linear(2)).build((3,))
        >>> {name: array.shape for name, array in model.parameters().items()}
        {'0.weight': (3, 2), '0.bias': (2,)}
        """
        specs = tuple(map(_spec, input_shapes))
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
            raise ArgumentError(f"seed must be an integer in [0, 2**64), got {seed!r}")
        with building:
            inputs = self._hf.inputs
            if init is not None:
                if isinstance(get_initializer(init), Data):
                    raise ArgumentError('build(init="data") has no data: give it to Trainer')
                self._start_with(init)
            if inputs is None:
                self._make(specs, int(seed), accept)
            elif [s.shape for s in inputs] != [s.shape for s in specs]:
                raise ShapeError(f"the model was built for inputs {row_shapes(inputs)}, got {row_shapes(specs)}")
            else:
                if accept is not None:
                    accept(self._arrays())
                self.home()
        return self

    def _start_with(self, init: InitLike) -> None:
        """The initializer of weights whose layers name none; ArgumentError where there are values already."""
        if self._hf.inputs is not None:
            raise ArgumentError(f"init={init!r}: the model is built, its weights have values; give it to a new model")
        self._hf.init = None if init is None else get_initializer(init)

    # ---- arrays ----
    def _ready(self) -> dict[str, Parameter]:
        """The arrays, all with values. A layer of a built model has them without having been built by itself."""
        if self._hf.inputs is None:
            arrays = self._arrays()
            if arrays and all([p.data is not None for p in arrays.values()]):
                return arrays
        self.home()
        return self._arrays()

    def parameters(self) -> dict[str, Array]:
        """Arrays that can be trained, by name; views: writing to one changes the net.

        >>> import hawfinch as hf
        >>> model = hf.Sequential(hf.Linear(1)).build((2,))
        >>> model.parameters()["0.bias"][:] = 5
        >>> model.predict([[0.0, 0.0]])
        array([[5.]], dtype=float32)
        """
        return {k: p.data for k, p in self._ready().items() if p.trainable and p.data is not None}

    def buffers(self) -> dict[str, Array]:
        """Arrays that are not trained (running statistics) by name; views.

        >>> import hawfinch as hf
        >>> list(hf.Sequential(hf.BatchNorm()).build((3,)).buffers())
        ['0.running_mean', '0.running_var']
        """
        return {k: p.data for k, p in self._ready().items() if not p.trainable and p.data is not None}

    def freeze(self, *patterns: str) -> Module:
        """From now on training leaves the arrays whose names match a pattern as they are; returns the model.

        patterns: names as in ``parameters`` and ``buffers``, where ``*`` stands for anything, ``?`` for one character
        and ``[ab]`` for one of several. A BatchNorm whose running statistics are frozen uses them in training too.
        Below the lowest parameter that is trained no gradient is computed. Raises ArgumentError with near matches
        where nothing matches, NotBuiltError before ``build``.

        >>> import hawfinch as hf
        >>> model = hf.Sequential(hf.Linear(2), hf.BatchNorm(), hf.Linear(1)).build((3,))
        >>> list(model.freeze("0.*", "1.*").trainable())
        ['2.weight', '2.bias']
        >>> list(model.unfreeze("1.*").trainable())
        ['1.weight', '1.bias', '2.weight', '2.bias']
        """
        return self._set_frozen(patterns, True)

    def unfreeze(self, *patterns: str) -> Module:
        """The reverse of ``freeze``; without a pattern, of all arrays.

        >>> import hawfinch as hf
        >>> list(hf.Linear(2).build((3,)).freeze("*").unfreeze("bias").trainable())
        ['bias']
        """
        return self._set_frozen(patterns or ("*",), False)

    def _set_frozen(self, patterns: Sequence[str], frozen: bool) -> Module:
        arrays, what = self._ready(), "freeze" if frozen else "unfreeze"
        if not patterns:
            raise ArgumentError("freeze takes patterns of names such as '0.*'; all of them: '*'")
        if not arrays:  # all of nothing
            patterns = [pattern for pattern in patterns if pattern != "*"]
        chosen = {id(arrays[name]) for pattern in patterns for name in matching(what, pattern, arrays, "array")}
        for _, m in self._walk([]):
            mine = [p for p in m._hf.own.values() if id(p) in chosen and p.frozen is not frozen]
            for p in mine:
                p.frozen = frozen
            if mine:
                m._hf.changed()
        return self

    def trainable(self) -> dict[str, Array]:
        """The part of ``parameters`` that is not frozen, by name; views.

        >>> import hawfinch as hf
        >>> list(hf.Linear(2).build((3,)).freeze("bias").trainable())
        ['weight']
        """
        arrays = self._ready().items()
        return {k: p.data for k, p in arrays if p.trainable and not p.frozen and p.data is not None}

    @property
    def n_parameters(self) -> int:
        """Number of values in ``parameters``."""
        return sum([p.size for p in self.parameters().values()])

    def astype(self, dtype: str) -> Module:
        """Sets the dtype that the model is built in: "float32" or "float64". A built model is converted.

        >>> import hawfinch as hf
        >>> hf.Sequential(hf.Linear(1)).astype("float64").predict([[0.0, 0.0]]).dtype
        dtype('float64')
        """
        if not is_word(dtype, *DTYPES):
            raise DTypeError(f"dtype must be one of {DTYPES}, got {dtype!r}")
        self.dtype = dtype
        if self._hf.inputs is not None:
            self.home()
        return self

    # ---- use ----
    def predict(self, x: Any, *, out: Array | None = None, threads: int | None = None) -> Array | tuple[Array, ...]:
        """The model's output for rows of x, in inference mode. A model that isn't built is built first.

        x: array (rows, ...), or a tuple of them for several inputs; any real dtype and strides. Rows stream through
        the net in chunks, so memory does not grow with their number, and a row's result does not depend on the other
        rows. Returns an array (rows, ...) of the model's dtype, or a tuple of them. Raises ShapeError, DTypeError,
        NonFiniteError.

        >>> import numpy as np, hawfinch as hf
        >>> hf.Sequential(hf.Linear(3), "relu").predict(np.zeros((5, 2))).shape
        (5, 3)
        """
        quick = self._hf.quick
        if quick is not None and out is None and threads is None:
            y = quick.predict(x)
            if y is not None:
                return y
        return cast("Array | tuple[Array, ...]", self.uses["predict"](self, x, out, threads))

    def outputs(self, x: Any, name: str) -> Array | tuple[Array, ...]:
        """What one layer gives for rows of x, in inference mode: the layer ``name``, as parameters' names begin.

        x: as in ``predict``; nothing behind the layer is computed. Returns an array, or a tuple of them where forward
        calls the layer several times or it gives several. Raises ArgumentError with near matches, and as ``predict``.

        >>> import numpy as np, hawfinch as hf
        >>> model = hf.Sequential(hf.Linear(3), "relu", hf.Linear(2)).build((4,))
        >>> model.outputs(np.zeros((5, 4)), "1").shape
        (5, 3)
        """
        return cast("Array | tuple[Array, ...]", self.uses["outputs"](self, x, name))

    def summary(self) -> str:
        """A table: layer, output shape, parameters, bytes, FLOPs of one row. The model must be built.

        >>> import hawfinch as hf
        >>> print(hf.Sequential(hf.Linear(2)).build((3,)).summary())
        layer       output (B: rows)  parameters  bytes  FLOPs/row
        ----------------------------------------------------------
        0 (Linear)  Bx2                        8     32         12
        ----------------------------------------------------------
        total                                  8     32         12
        """
        return cast(str, self.uses["summary"](self))

    def save(self, path: Any, metadata: dict[str, str] | None = None) -> None:
        """Writes the net to a safetensors file, with its architecture where all layers are hawfinch's own.

        The file is written beside the old one and renamed: it is never half there. ``metadata``: text to keep in the
        file, given back as ``model.metadata``. What is frozen is not kept: that belongs to a training run.

        >>> import tempfile, hawfinch as hf
        >>> path = tempfile.mkdtemp() + "/net.safetensors"
        >>> hf.Sequential(hf.Linear(2), "relu").build((3,)).save(path)
        >>> hf.load(path)
        Sequential(Linear(out=2, bias=True, init=None), ReLU())
        """
        self.uses["save"](self, path, metadata)

    def load_weights(self, source: Any, *, strict: bool = True, rename: Any = None) -> Any:
        """Takes over arrays by name from a file, a model or a dict of arrays; returns a report of what matched.

        source: a path of a safetensors file (of ``save``, a Checkpoint, whose averages it takes where it has some, or
        another tool), a Module that is built, or a mapping of names to arrays, whose shapes are those of this
        model's (``Linear.weight`` is (in, out)). strict: default True, raises where an array is missing, left over or
        of another shape; False takes what fits. rename: a dict from given names to this model's, or a function of a
        name that gives one, or None to leave the array out. The report (``hawfinch.files.weights.LoadReport``) has
        ``loaded``, ``missing``, ``unexpected`` and ``mismatched``.

        Raises ArgumentError (nothing is changed then), also where nothing fits at all; NotBuiltError before ``build``,
        FormatError for a damaged file, NonFiniteInputError for a NaN or infinity.

        >>> import tempfile, hawfinch as hf
        >>> path = tempfile.mkdtemp() + "/net.safetensors"
        >>> hf.Sequential(hf.Linear(4), "relu", hf.Linear(2)).build((5,)).save(path)
        >>> model = hf.Sequential(hf.Linear(4), "relu", hf.Linear(7)).build((5,))
        >>> print(model.load_weights(path, strict=False))
        loaded 2 arrays: 0.weight, 0.bias
        2.weight: given (4, 2), the model's is (4, 7)
        2.bias: given (2,), the model's is (7,)
        """
        return self.uses["load_weights"](self, source, strict, rename)

    def __repr__(self) -> str:
        args, kwargs = self._hf.arguments
        inner = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items()]
        return f"{type(self).__name__}({', '.join(inner)})"


_OWN_NAMES = {name for part in (Tree, Built, Module) for name in vars(part) if name[0] != "_"} | {"_hf"}
_OWN_NAMES -= {"dtype", "metadata", "forward"}  # all others can't be names of attributes


def _any_values(value: Any) -> bool:
    """Whether this is a module with an array that has values."""
    return isinstance(value, Tree) and any([p.data is not None for p in value._arrays().values()])


def _spec(shape: Sequence[int] | Spec) -> Spec:
    """A shape without the batch axis as what it says of an input."""
    if isinstance(shape, Spec):
        return shape
    if not isinstance(shape, tuple | list) or any(
        isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0 for n in shape
    ):
        raise ShapeError(f"build takes one shape per input, without the batch axis: build((4,)); got {shape!r}")
    return Spec((BATCH, *map(int, shape)))
