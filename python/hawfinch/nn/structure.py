"""What a module keeps, what a model is made of, and whether two models are alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .. import _core
from ..ir import Graph, Spec, Tensor
from .store import Parameter, Store

if TYPE_CHECKING:
    from .module import Module

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
    kind: type[Module], name: str, value: Any, containers: list[Any], outer: tuple[int, ...] = ()
) -> Iterator[tuple[str, Module]]:
    """The modules (instances of kind) in a value, with their names.

    Appends the lists and dicts that hold some, or are empty, to containers. outer: those around the value, one of which
    may hold itself.
    """
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, list | tuple | dict) and id(value) not in outer:
        found = [
            pair
            for k, v in (value.items() if isinstance(value, dict) else enumerate(value))
            if isinstance(v, kind | list | tuple | dict)
            for pair in modules_in(kind, f"{name}.{k}" if name else str(k), v, containers, (*outer, id(value)))
        ]
        if not isinstance(value, tuple) and (found or not value):
            containers.append(value)
        yield from found


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
    arrays = [(p, p.data, p.offset, p._store) for _, _, own, _ in modules for p in own.values()]

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
            p.data, p.offset, p._store = data, offset, store

    return put_back
