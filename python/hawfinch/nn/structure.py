"""What a module keeps, what a model is made of (Tree, the ground of Module), and whether two models are alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

from .. import _core
from ..errors import ArgumentError
from ..ir import Graph, Spec, Tensor
from ..values import CheckedCall
from .store import Parameter, Store

SHORT = 32  # items
stamps = itertools.count()  # each state of a module has one of its own


class Inside:
    """What a module keeps beside its attributes."""

    __slots__ = (
        "alone",
        "arguments",
        "changes",
        "init",
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
        self.init: Any = None  # of the weights whose layers name none
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

    def changed(self) -> None:
        """Whatever was made of the module no longer serves."""
        self.stamp = next(stamps)
        self.changes.add()

    def __getstate__(self) -> dict[str, Any]:
        kept = ("arguments", "metadata", "own", "init", "inputs", "outputs", "output_names", "seed", "version")
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


class Tree(metaclass=CheckedCall):
    """A module as what it is made of: its own arrays and the modules below it."""

    __slots__ = ("__dict__", "__weakref__", "_hf")
    dtype: str = "float32"  # in which the arrays are made
    _nameless: ClassVar[str] = ""  # the attribute whose items are children by their own names
    _hf: Inside

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        object.__setattr__(self, "_hf", Inside((args, kwargs)))
        return self

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: all but memory and plans, which are made again."""
        attributes = {k: v for k, v in vars(self).items() if not holds_tensor(v)}  # these belong to a trace
        return {"attributes": attributes, "inside": self._hf}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        object.__setattr__(self, "_hf", state["inside"].copy())

    def _children(self, containers: list[Any]) -> list[tuple[str, Tree]]:
        """``children``; appends the lists and dicts that hold them."""
        found: list[tuple[str, Tree]] = []
        for name, value in vars(self).items():
            if isinstance(value, Tree | list | tuple | dict):
                modules_in("" if name == self._nameless else name, value, found, containers)
        return found

    def _walk(self, containers: list[Any]) -> list[tuple[str, Tree]]:
        """``modules``; appends the lists and dicts that hold them."""
        found: list[tuple[str, Tree]] = []
        seen: set[int] = set()
        waiting: list[tuple[str, Tree]] = [("", self)]  # no recursive closure: it would wait for the cyclic collector
        while waiting:
            path, module = waiting.pop()
            if id(module) not in seen:
                seen.add(id(module))
                found.append((path, module))
                for name, child in reversed(module._children(containers)):
                    waiting.append((f"{path}.{name}" if path else name, child))
        return found

    def _arrays(self, modules: Sequence[tuple[str, Tree]] | None = None) -> dict[str, Parameter]:
        """The arrays of all modules by name."""
        return named_arrays(self._walk([]) if modules is None else modules)

    def structure(self) -> tuple[Any, ...] | None:
        """Models of equal structure have equal traces. None: built already, or with a layer of one's own."""
        try:
            return likeness(self._hf.init, {}) + likeness(self, {})
        except LookupError:
            return None


def holds_tensor(value: Any, *outer: int) -> bool:
    """Whether value is a traced one, or a list, tuple or dict with one in it. outer: ids of those around the value."""
    if isinstance(value, list | tuple | dict) and id(value) not in outer:
        items = value.values() if isinstance(value, dict) else value
        return any([holds_tensor(v, *outer, id(value)) for v in items])
    return isinstance(value, Tensor)


def modules_in(name: str, value: Any, found: list[tuple[str, Tree]], containers: list[Any], *outer: int) -> None:
    """Appends the modules in a value, with their names, to found.

    Appends the lists and dicts that hold some, or are short enough to be looked at in each call, to containers. outer:
    ids of those around the value, one of which may hold itself.
    """
    if isinstance(value, Tree):
        found.append((name, value))
    elif isinstance(value, list | tuple | dict) and id(value) not in outer:
        before = len(found)
        for k, v in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(v, Tree):
                found.append((f"{name}.{k}" if name else str(k), v))
            elif isinstance(v, list | tuple | dict):
                modules_in(f"{name}.{k}" if name else str(k), v, found, containers, *outer, id(value))
        if not isinstance(value, tuple) and (len(found) > before or len(value) <= SHORT):
            containers.append(value)


def named_arrays(modules: Sequence[tuple[str, Tree]]) -> dict[str, Parameter]:
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


def drop_unborn(model: Tree) -> list[Parameter]:
    """Takes out the arrays that a trace asked for and that have got no values: their sizes must bind no later one."""
    dropped: list[Parameter] = []
    for _, m in model._walk([]):
        dropped += [p for p in m._hf.own.values() if p.data is None]
        m._hf.own = {k: p for k, p in m._hf.own.items() if p.data is not None}
    return dropped


def likeness(value: Any, seen: dict[int, int]) -> tuple[Any, ...]:
    """What a layer's trace follows from: classes and options. Raises LookupError where that is not known."""
    if isinstance(value, Tree):
        if id(value) in seen:
            return (seen[id(value)],)
        seen[id(value)] = len(seen)
        if value._hf.own or not type(value).__module__.startswith("hawfinch.nn."):
            raise LookupError
        return (type(value), *((k, likeness(v, seen)) for k, v in vars(value).items()))
    if isinstance(value, list | tuple):
        return (type(value), *(likeness(v, seen) for v in value))
    if isinstance(value, dict):
        return (dict, *((k, likeness(v, seen)) for k, v in value.items()))
    if value is None or isinstance(value, int | float | str):
        return (type(value), repr(value))  # 1 == True, 0.0 == -0.0
    if callable(value):
        return (value,)
    raise LookupError


def kept(model: Tree) -> Callable[[], None]:
    """A function that puts the arrays, memory and dtypes of a model back to where they are now."""
    slots = [name for name in Inside.__slots__ if name not in ("changes", "own", "stamp")]
    modules = [
        (m, vars(m).get("dtype"), dict(m._hf.own), [getattr(m._hf, k) for k in slots]) for _, m in model._walk([])
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
            m._hf.changed()
        for p, data, offset, store in arrays:
            p.data, p.offset, p.store = data, offset, store

    return put_back
