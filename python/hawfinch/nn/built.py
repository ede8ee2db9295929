"""From a module to a model that is built: its traces, and memory for its arrays (Built, between Tree and Module)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

from .. import _core
from ..errors import ArgumentError, DTypeError, HawfinchError, NotBuiltError, ShapeError
from ..ir import BATCH, PARAM, STATE, Graph, Spec, Tensor, collector_paused, input_tensor, tracing
from .starts import choose_initializers
from .store import Following, Parameter, Store
from .structure import Tree, drop_unborn

DTYPES = ("float32", "float64")

building = threading.RLock()  # one thread at a time gives arrays memory: two may predict with a model that is new
if hasattr(os, "register_at_fork"):  # a child that is forked while another thread holds it would wait for ever
    os.register_at_fork(before=building.acquire, after_in_parent=building.release, after_in_child=building.release)
traced: ContextVar[Built | None] = ContextVar("hawfinch_model", default=None)  # whose forward is being traced


class Built(Tree):
    """What ``fit``, ``predict`` and files ask of a model: graphs of its forward, and where its arrays lie."""

    __slots__ = ()
    __call__: Callable[..., Any]

    # ---- traces ----
    def trace(
        self, graph: Graph, inputs: Sequence[Spec], change: Callable[[list[Tensor]], list[Tensor]] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Calls forward with symbols like these: (input tensors, output tensors). change: what becomes of them before.

        Raises ArgumentError where it meets an array that has no memory in this model, ShapeError for an output without
        the rows of the inputs.
        """
        try:
            return self._trace(graph, inputs, built=True, change=change)
        except BaseException:
            drop_unborn(self)
            raise

    def _trace(
        self,
        graph: Graph,
        inputs: Sequence[Spec],
        *,
        built: bool,
        change: Callable[[list[Tensor]], list[Tensor]] | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        modules = self._walk([])
        for path, m in modules:
            m._hf.path = path
        token = traced.set(self)
        try:
            with tracing(graph):
                xs = [input_tensor(graph, f"x{i}", *spec) for i, spec in enumerate(inputs)]
                result = self(*(xs if change is None else change(xs)))
        except TypeError as error:
            wrong = None if isinstance(error, HawfinchError) else wrong_inputs(self, len(inputs))
            if wrong is None:
                raise
            raise wrong from error
        except RecursionError:
            raise ArgumentError(
                "forward calls itself without end (a layer calls one that calls it), or layers are nested too deeply"
            ) from None
        finally:
            traced.reset(token)
        check_owned(self, graph, built)
        self._hf.output_names = tuple(result) if isinstance(result, dict) else ()
        if isinstance(result, dict):
            result = tuple(result.values())
        ys = list(result) if isinstance(result, tuple | list) else [result]
        if not ys:
            raise DTypeError("forward gave no output; expected a traced value or a tuple of them")
        for y in ys:
            if not isinstance(y, Tensor):
                raise DTypeError(f"forward gave {type(y).__name__}; expected a traced value or a tuple of them")
            if y.shape[:1] != (BATCH,):
                raise ShapeError(f"the model's output {y.shape} must keep the rows of its input as its first axis")
        return xs, ys

    def training_trace(self) -> tuple[Graph, list[Tensor], list[Tensor]]:
        """A graph of the forward pass in training mode, its inputs and outputs: the first time that of ``build``."""
        inside = self._hf
        found, inside.trace = inside.trace, None
        if found is not None and inside.watch is not None and inside.watch.unchanged():
            return found
        assert inside.inputs is not None
        graph = Graph(training=True)
        return graph, *self.trace(graph, inside.inputs)

    @property
    def version(self) -> int:
        """Another number whenever layers or options have changed, so that plans for earlier traces do not serve."""
        return self._hf.version

    def _make(
        self, specs: tuple[Spec, ...], seed: int, accept: Callable[[dict[str, Parameter]], None] | None = None
    ) -> None:
        """Traces, makes the arrays that are missing, and memory for them where they have none."""
        if self.dtype not in DTYPES:
            raise DTypeError(f"dtype must be one of {DTYPES}, got {self.dtype!r}")
        try:
            with collector_paused():
                graph, xs, ys = self._trace_undecided(specs)
            specs = tuple([Spec(x.shape, x.dtype) for x in xs])
            if accept is not None:
                accept(self._arrays())
            choose_initializers(self, graph, self._hf.init)
            self._settle(specs, tuple([Spec(y.shape, y.dtype) for y in ys]), seed)
        except BaseException:  # the sizes that a failed trace has fixed must not bind the next one
            drop_unborn(self)
            raise
        self._hf.trace = graph, xs, ys

    def _trace_undecided(self, specs: tuple[Spec, ...]) -> tuple[Graph, list[Tensor], list[Tensor]]:
        """The training trace; inputs that forward uses as indices become integers."""
        while True:
            graph = Graph(training=True)
            try:
                return graph, *self._trace(graph, specs, built=False)
            except DTypeError as error:
                indices = getattr(error, "indices", None)
                behind = set() if indices is None else inputs_behind(indices)
                if not any(f"x{i}" in behind and spec.dtype == "real" for i, spec in enumerate(specs)):
                    raise
                specs = tuple([Spec(s.shape, "int" if f"x{i}" in behind else s.dtype) for i, s in enumerate(specs)])

    def build_like(self, twin: Built, seed: int = 0) -> None:
        """``build`` without a trace, for a model whose ``structure`` is that of ``twin`` was before it was built."""
        of: dict[int, Parameter] = {}
        for (path, m), (_, other) in zip(self._walk([]), twin._walk([]), strict=True):
            m._hf.path = path
            m._hf.own = {k: p.like() for k, p in other._hf.own.items()}
            of |= {id(p): m._hf.own[k] for k, p in other._hf.own.items()}
        for p in of.values():
            if isinstance(p.init, Following):
                p.init = Following(of[id(p.init.of)], p.init.function)
        assert twin._hf.inputs is not None
        self._settle(twin._hf.inputs, twin._hf.outputs, seed)

    def _settle(self, inputs: tuple[Spec, ...], outputs: tuple[Spec, ...], seed: int, alone: bool = False) -> Store:
        """Gives all arrays memory: where they lie already if they lie together, else new. alone: with no others."""
        containers: list[Any] = []
        modules = self._walk(containers)
        arrays = self._arrays(modules)
        inside = self._hf
        first = next(iter(arrays.values()), None)
        store = inside.store if first is None else first.store
        if store is None or store.dtype != self.dtype or not store.holds(arrays):
            store = None
        if store is None or (alone and not store.holds_just(arrays)):
            store = Store(arrays, self.dtype, seed)
            inside.changes.add()
        known = tuple([(path, m._hf.stamp) for path, m in modules])
        if known != inside.known:
            inside.version += 1
            inside.trace = None
        for _, m in modules:
            inside.changes.join(m._hf.changes)
            vars(m)["dtype"] = store.dtype
        inside.inputs, inside.outputs, inside.seed, inside.known, inside.store = inputs, outputs, seed, known, store
        inside.alone = store.holds_just(arrays)
        inside.watch = _core.Watch(inside.changes, containers)
        inside.quick = None
        return store

    def home(self) -> Store:
        """The memory in which the arrays lie, which may be that of a larger model. NotBuiltError before ``build``."""
        inside = self._hf
        if inside.store is not None and inside.watch is not None and inside.watch.unchanged():
            return inside.store
        return self._look(alone=False)

    def store(self) -> Store:
        """Memory of this model's arrays alone: they move there if they lie in that of a larger model."""
        inside = self._hf
        if inside.alone and inside.store is not None and inside.watch is not None and inside.watch.unchanged():
            return inside.store
        return self._look(alone=True)

    def watch(self) -> _core.Watch:
        """Tells whether memory, layers and options are still as they are now."""
        self.home()
        assert self._hf.watch is not None
        return self._hf.watch

    def _look(self, alone: bool) -> Store:
        """The store, after something has changed."""
        inside = self._hf
        if inside.inputs is None:
            raise NotBuiltError("the model has no parameters yet; call build(input_shape), fit or predict first")
        with building:
            if inside.watch is not None and not inside.watch.same_items():
                inside.known = ()
            if inside.known != tuple([(path, m._hf.stamp) for path, m in self._walk([])]):
                self._make(inside.inputs, inside.seed)
                assert inside.store is not None
                if inside.alone or not alone:
                    return inside.store
            return self._settle(inside.inputs, inside.outputs, inside.seed, alone)


def check_owned(model: Tree, graph: Graph, built: bool) -> None:
    """Raises ArgumentError where the trace met an array that has no memory in the model."""
    used = {id(n.attrs["ref"].value): n for n in graph.nodes if n.op is PARAM or n.op is STATE}
    mine = {id(p) for _, m in model._walk([]) for p in m._hf.own.values()}  # layers made in forward are found now
    for key, node in used.items():
        p: Parameter = node.attrs["ref"].value
        where = f"forward of layer {node.scope!r}" if node.scope else "forward"
        if key not in mine:
            raise ArgumentError(
                f"{where} uses {p.layer} ({p.name!r} of shape {p.shape}), which is not a layer of this model: make "
                "layers in __init__ and keep them as attributes, or in lists, tuples and dicts that are attributes"
            )
        if built and p.data is None:
            raise ArgumentError(
                f"{where} uses {p.layer} ({p.name!r} of shape {p.shape}), which it did not use in training when "
                "the model was built, so that it has no memory; call it in training too"
            )


def inputs_behind(t: Tensor) -> set[str]:
    """Names of the inputs that t is computed from."""
    found, seen, rest = set(), set(), [t.node]
    while rest:
        node = rest.pop()
        if id(node) not in seen:
            seen.add(id(node))
            rest += [x.node for x in node.inputs]
            if not node.inputs and "name" in node.attrs:
                found.add(str(node.attrs["name"]))
    return found


def wrong_inputs(model: Any, n: int) -> ArgumentError | None:
    """What is wrong with a call of forward with n inputs; None if it takes as many."""
    import inspect

    signature = inspect.signature(model.forward)
    try:
        signature.bind(*[None] * n)
    except TypeError as error:
        name = type(model).__name__
        return ArgumentError(f"{name} got {n} input(s): {error}; it defines {name}.forward{signature}")
    return None
