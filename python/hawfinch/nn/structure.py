"""What a module keeps, what a model is made of, and whether two models are alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import _core
from ..errors import ArgumentError
from ..ir import PARAM, STATE, Graph, Spec, Tensor
from .store import Parameter, Store

if TYPE_CHECKING:
    from .module import Module

SHORT = 32  # items
stamps = itertools.count()  # each state of a module has one of its own


class Inside:
    """What a module keeps beside its attributes."""

    __slots__ = (
        "alone",
        "arguments",
        "changes",
        "inputs",
        "known",
        "metadata",
        "output_names",
        "outputs",
        "own",
        "path",
        "predictor",
        "quick",
        "seed",
        "stamp",
        "store",
        "trace",
        "version",
        "watch",
    )

    def __init__(self, arguments: tuple[tuple[Any, ...], dict[str, Any]]):
        self.arguments = arguments  # of the constructor
        self.metadata: dict[str, str] = {}
        self.own: dict[str, Parameter] = {}  # arrays of this module itself
        self.path = ""  # in the model that was traced last
        self.stamp = next(stamps)  # another one when an attribute is set
        self.changes = _core.Changes()
        # of a model, as built:
        self.inputs: tuple[Spec, ...] | None = None
        self.outputs: tuple[Spec, ...] = ()
        self.output_names: tuple[str, ...] = ()
        self.seed = 0
        self.store: Store | None = None
        self.alone = False  # whether the store holds nothing else
        self.watch: _core.Watch | None = None
        self.known: tuple[tuple[str, int], ...] = ()  # path and stamp of every module
        self.version = 0
        self.trace: tuple[Graph, list[Tensor], list[Tensor]] | None = (
            None  # the training trace of build, for its first use
        )
        self.quick: _core.Quick | None = None  # predict's short way
        self.predictor: Any = None  # what predict keeps of this model

    def __getstate__(self) -> dict[str, Any]:
        kept = ("arguments", "metadata", "own", "inputs", "outputs", "output_names", "seed", "version")
        return {k: getattr(self, k) for k in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["arguments"])  # type: ignore[misc]
        for k, v in state.items():
            setattr(self, k, v)

    def copy(self) -> Inside:
        """The same, in a state of its own."""
        other = Inside(self.arguments)
        other.__setstate__(self.__getstate__())
        return other


def modules_in(
    kind: type[Module], name: str, value: Any, found: list[tuple[str, Module]], containers: list[Any], *outer: int
) -> None:
    """Appends the modules (instances of kind) in a value, with their names, to found.

    Appends the lists and dicts that hold some, or are short enough to be looked at in each call, to containers. outer:
    ids of those around the value, one of which may hold itself.
    """
    if isinstance(value, kind):
        found.append((name, value))
    elif isinstance(value, list | tuple | dict) and id(value) not in outer:
        before = len(found)
        for k, v in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(v, kind):
                found.append((f"{name}.{k}" if name else str(k), v))
            elif isinstance(v, list | tuple | dict):
                modules_in(kind, f"{name}.{k}" if name else str(k), v, found, containers, *outer, id(value))
        if not isinstance(value, tuple) and (len(found) > before or len(value) <= SHORT):
            containers.append(value)


def named_arrays(modules: Sequence[tuple[str, Module]]) -> dict[str, Parameter]:
    """The arrays of modules, by their paths and names. Raises ArgumentError where two have one name."""
    named: dict[str, Parameter] = {}
    for path, m in modules:
        for n, p in m._hf.own.items():
            name = f"{path}.{n}" if path else n
            if name in named:
                pair = [f"{q.name!r} of a {q.layer}" for q in (named[name], p)]
                why = ": keys of a dict that are equal as text" if p.name == named[name].name else ""
                raise ArgumentError(f"two arrays are named {name!r}, {' and '.join(pair)}{why}; rename one")
            named[name] = p
    return named


def check_owned(model: Module, graph: Graph, built: bool) -> None:
    """Raises ArgumentError where the trace met an array that has no memory in the model."""
    used = {id(n.attrs["ref"].value): n for n in graph.nodes if n.op is PARAM or n.op is STATE}
    mine = {id(p) for _, m in model.modules() for p in m._hf.own.values()}  # layers made in forward are found now
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


def drop_unborn(model: Module) -> list[Parameter]:
    """Takes out the arrays that a trace asked for and that have got no values: their sizes must bind no later one."""
    dropped: list[Parameter] = []
    for _, m in model.modules():
        dropped += [p for p in m._hf.own.values() if p.data is None]
        m._hf.own = {k: p for k, p in m._hf.own.items() if p.data is not None}
    return dropped


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


def likeness(kind: type[Module], value: Any, seen: dict[int, int]) -> tuple[Any, ...]:
    """What a layer's trace follows from: classes and options. Raises LookupError where that is not known."""
    if isinstance(value, kind):
        if id(value) in seen:
            return (seen[id(value)],)
        seen[id(value)] = len(seen)
        if value._hf.own or not type(value).__module__.startswith("hawfinch.nn."):
            raise LookupError
        return (type(value), *((k, likeness(kind, v, seen)) for k, v in vars(value).items()))
    if isinstance(value, list | tuple):
        return (type(value), *(likeness(kind, v, seen) for v in value))
    if isinstance(value, dict):
        return (dict, *((k, likeness(kind, v, seen)) for k, v in value.items()))
    if value is None or isinstance(value, int | float | str):
        return (type(value), repr(value))  # 1 == True, 0.0 == -0.0
    if callable(value):
        return (value,)
    raise LookupError


def kept(model: Module) -> Callable[[], None]:
    """A function that puts the arrays, memory and dtypes of a model back to where they are now."""
    slots = [name for name in Inside.__slots__ if name not in ("changes", "own", "stamp")]
    modules = [
        (m, vars(m).get("dtype"), dict(m._hf.own), [getattr(m._hf, k) for k in slots]) for _, m in model.modules()
    ]
    arrays = [(p, p.data, p.offset, p.store) for _, _, own, _ in modules for p in own.values()]

    def put_back() -> None:
        for m, dtype, own, values in modules:
            m._hf.own = own
            for k, v in zip(slots, values, strict=True):
                setattr(m._hf, k, v)
            vars(m).pop("dtype", None)
            if dtype is not None:
                vars(m)["dtype"] = dtype
            m.changed()
        for p, data, offset, store in arrays:
            p.data, p.offset, p.store = data, offset, store

    return put_back


def wrong_inputs(model: Module, n: int) -> ArgumentError | None:
    """What is wrong with a call of forward with n inputs; None if it takes as many."""
    import inspect

    signature = inspect.signature(model.forward)
    try:
        signature.bind(*[None] * n)
    except TypeError as error:
        name = type(model).__name__
        return ArgumentError(f"{name} got {n} input(s): {error}; it defines {name}.forward{signature}")
    return None
