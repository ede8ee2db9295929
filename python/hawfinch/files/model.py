"""A model in a file: safetensors, with the architecture as JSON in its metadata.

Design: a model of hawfinch's own layers is rebuilt from class names and constructor arguments looked up in a fixed
table; nothing in a file is ever executed. A model with layers of the user's own is saved too, and loaded into an
instance that the user makes. A layer that is used twice is written once, and by its number from then on. Rejected:
pickle, which runs code from the file.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import initializers, nn
from ..errors import ArgumentError, FormatError, HawfinchError
from ..initializers import Initializer
from ..ir import Array
from ..nn.module import Module
from ..nn.store import Parameter
from ..nn.structure import kept
from ..values import short

VERSION = 1
LAYERS: dict[str, type[Module]] = {
    name: value
    for name, value in vars(nn).items()
    if isinstance(value, type) and issubclass(value, Module) and value is not Module
}


class _CustomLayer(Exception):
    """A layer that is not in the table."""


def arguments(module: Module | Initializer) -> tuple[list[Any], dict[str, Any]]:
    """What would make the layer as it is now: each argument is kept under its name, where it may have been changed."""
    import inspect

    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    if type(module).__init__ is not object.__init__:
        for p in list(inspect.signature(type(module).__init__).parameters.values())[1:]:
            if p.kind is p.VAR_POSITIONAL:
                args.extend(getattr(module, p.name))
            else:
                kwargs[p.name] = getattr(module, p.name)
    return args, kwargs


def describe(value: Any, seen: dict[int, int] | None = None) -> Any:
    """A module, or an argument of one, as JSON values. seen: the modules before it; one of them is named by number."""
    seen = {} if seen is None else seen
    if isinstance(value, Module):
        if id(value) in seen:
            return {"same": seen[id(value)]}
        seen[id(value)] = len(seen)
        if LAYERS.get(type(value).__name__) is not type(value):
            raise _CustomLayer(type(value).__name__)
        args, kwargs = arguments(value)
        return {
            "layer": type(value).__name__,
            "args": [describe(a, seen) for a in args],
            "kwargs": {k: describe(v, seen) for k, v in kwargs.items()},
        }
    if isinstance(value, Initializer) and getattr(initializers, type(value).__name__, None) is type(value):
        return {"initializer": type(value).__name__, "kwargs": arguments(value)[1]}
    if isinstance(value, list | tuple):
        return [describe(v, seen) for v in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, np.integer | np.floating):
        return value.item()
    raise _CustomLayer(f"an argument of type {type(value).__name__}")


def rebuild(description: Any, made: list[Module | None] | None = None) -> Any:
    """The reverse of ``describe``. Raises FormatError for anything unexpected. made: the modules before it."""
    made = [] if made is None else made
    if isinstance(description, dict):
        if set(description) == {"same"}:
            number = description["same"]
            same = made[number] if type(number) is int and 0 <= number < len(made) else None
            if same is None:
                raise FormatError(
                    f"the file describes a layer that is the same as layer {number!r}, which is not there"
                )
            return same
        if set(description) == {"initializer", "kwargs"}:
            return _initializer(description["initializer"], description["kwargs"])
        name = description.get("layer")
        if set(description) != {"layer", "args", "kwargs"} or not isinstance(name, str) or name not in LAYERS:
            raise FormatError(f"the file describes a layer {name!r} that this version does not know")
        args, kwargs = description["args"], description["kwargs"]
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise FormatError(f"the file's description of layer {name!r} is malformed")
        number = len(made)
        made.append(None)
        try:
            values = [rebuild(a, made) for a in args], {k: rebuild(v, made) for k, v in kwargs.items()}
            layer = made[number] = LAYERS[name](*values[0], **values[1])
            return layer
        except FormatError:
            raise
        except (HawfinchError, TypeError, ValueError) as error:
            raise FormatError(f"the file's description of layer {name!r} does not fit this version: {error}") from None
    if isinstance(description, list):
        return [rebuild(v, made) for v in description]
    return description


def _initializer(name: Any, kwargs: Any) -> Initializer:
    kind = getattr(initializers, name, None) if isinstance(name, str) and name[:1].isupper() else None
    if not isinstance(kind, type) or not issubclass(kind, Initializer) or not isinstance(kwargs, dict):
        raise FormatError(f"the file describes an initializer {name!r} that this version does not know")
    try:
        return kind(**kwargs)
    except HawfinchError as error:
        raise FormatError(f"the file's description of initializer {name!r} does not fit: {error}") from None


def save_model(model: Module, path: Any, metadata: dict[str, str] | None) -> None:
    """``Module.save``."""
    import json

    from .safetensors import save_file

    store, inputs = model.home(), model.inputs
    assert inputs is not None
    tensors = {**model.parameters(), **model.buffers()}
    try:
        architecture = json.dumps(describe(model))
    except _CustomLayer as custom:
        architecture = json.dumps({"custom": str(custom)})
    if metadata is not None and not isinstance(metadata, dict):
        raise ArgumentError(f"metadata must be a dict of texts, not {short(metadata)}")
    text = {**model.metadata, **(metadata or {})}
    for key, value in text.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ArgumentError("metadata must map text to text; json.dumps what is not")
        if key.startswith("hawfinch.format") or key in ("hawfinch.model", "hawfinch.input", "hawfinch.dtype"):
            raise ArgumentError(f"metadata key {key!r} is reserved")
    save_file(
        path,
        tensors,
        {
            **text,
            "hawfinch.format": str(VERSION),
            "hawfinch.model": architecture,
            "hawfinch.input": json.dumps([list(s.shape[1:]) for s in inputs]),
            "hawfinch.dtype": store.dtype,
        },
    )


def load(path: Any, model: Module | None = None) -> Module:
    """A model from a file that ``save`` wrote, ready to predict or to train on.

    model: needed when the file's model holds layers of your own: a fresh instance, into which the arrays are put.
    Free text given to ``save`` comes back as ``model.metadata``. Raises FormatError (naming what is wrong) for a
    damaged, truncated or foreign file or one whose arrays do not fit; FileNotFoundError where there is none. Nothing
    in the file is executed.

    >>> import tempfile, hawfinch as hf
    >>> path = tempfile.mkdtemp() + "/net.safetensors"
    >>> hf.Sequential(hf.Linear(2)).build((3,)).save(path, {"trained on": "digits"})
    >>> model = hf.load(path)
    >>> model.predict([[1.0, 2.0, 3.0]]).shape, model.metadata
    ((1, 2), {'trained on': 'digits'})
    """
    import json

    from .safetensors import load_file

    if model is not None and not isinstance(model, Module):
        raise ArgumentError(f"model must be a Module, not {short(model)}")
    tensors, metadata = load_file(path)
    version = metadata.get("hawfinch.format")
    if version is None and "hawfinch.train_state" in metadata:
        raise FormatError(
            f"{path}: a checkpoint of a training, which has no description of the model; "
            f"make the model, build it, and call model.load_weights({os.fspath(path)!r})"
        )
    if version is None:
        raise FormatError(
            f"{path}: a safetensors file, but not a hawfinch model (no 'hawfinch.format' in its metadata)"
        )
    if version != str(VERSION):
        raise FormatError(
            f"{path}: written in format {version}, this hawfinch reads format {VERSION}; upgrade hawfinch"
        )
    try:
        architecture = json.loads(metadata["hawfinch.model"])
        shapes = json.loads(metadata["hawfinch.input"])
        dtype = metadata["hawfinch.dtype"]
        if not isinstance(shapes, list) or any(
            not isinstance(s, list) or any(type(n) is not int or n < 0 for n in s) for s in shapes
        ):
            raise ValueError("input shapes")
    except (KeyError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: the model's metadata is damaged ({error})") from None
    if dtype not in ("float32", "float64"):
        raise FormatError(f"{path}: unknown dtype {dtype!r}")
    if model is None:
        if isinstance(architecture, dict) and "custom" in architecture:
            raise ArgumentError(
                f"{path} holds a model of your own layers ({architecture['custom']}): "
                "pass an instance, hf.load(path, model=...)"
            )
        model = rebuild(architecture)
        if not isinstance(model, Module):
            raise FormatError(f"{path}: the model's metadata describes no model")
    put_back = kept(model)
    try:
        model.dtype = dtype
        try:
            model.build(*shapes, accept=lambda arrays: _check(path, arrays, tensors, dtype))
        except FormatError:
            raise
        except (HawfinchError, TypeError) as error:  # TypeError: forward takes another number of inputs
            raise FormatError(f"{path}: the model can't be built for inputs {shapes}: {error}") from None
        for name, target in {**model.parameters(), **model.buffers()}.items():
            target[...] = tensors[name]
    except BaseException:
        put_back()
        raise
    model.metadata = {k: v for k, v in metadata.items() if not k.startswith("hawfinch.") or k == "hawfinch.table"}
    return model


def _check(path: Any, arrays: dict[str, Parameter], tensors: dict[str, Array], dtype: str) -> None:
    """Raises FormatError where the file's arrays are not those of the model; before memory is made for these."""
    missing, extra = sorted(arrays.keys() - tensors.keys()), sorted(tensors.keys() - arrays.keys())
    if missing or extra:
        raise FormatError(
            f"{path}: arrays do not fit the model (missing: {missing or 'none'}; unknown: {extra or 'none'})"
        )
    for name, array in arrays.items():
        found = tensors[name]
        if found.shape != array.shape or found.dtype != dtype:
            raise FormatError(f"{path}: {name} is {found.dtype} {found.shape}, the model needs {dtype} {array.shape}")
