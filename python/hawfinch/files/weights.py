"""Weights by name: what a net takes over from another one, and what it does not.

Design: the arrays of the two nets meet by their names alone, so that a net with another head, or one from another tool,
gives what it has; what came and what did not is a value, to be printed or asserted. All is checked before an array is
changed. Rejected: a warning for each array that does not fit, which nobody reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, FormatError, NonFiniteInputError, near_names
from ..ir import Array
from ..nn.module import Module


class LoadReport:
    """What ``Module.load_weights`` did, by names of the model's arrays; ``print`` shows it.

    loaded: taken over. missing: of the model, for which there was nothing. unexpected: given, of which the model has
    none. mismatched: name -> (shape given, shape of the model's).

    >>> import hawfinch as hf
    >>> old, new = hf.Sequential(hf.Linear(4), hf.Linear(2)), hf.Sequential(hf.Linear(4), hf.Linear(3))
    >>> report = new.build((5,)).load_weights(old.build((5,)), strict=False)
    >>> report.loaded, list(report.mismatched)
    (['0.weight', '0.bias'], ['1.weight', '1.bias'])
    """

    def __init__(
        self,
        loaded: list[str],
        missing: list[str],
        unexpected: list[str],
        mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
    ):
        self.loaded, self.missing, self.unexpected, self.mismatched = loaded, missing, unexpected, mismatched

    @property
    def complete(self) -> bool:
        """Whether every array of the model was loaded and nothing was left over."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __repr__(self) -> str:
        counts = [f"{len(getattr(self, k))} {k}" for k in ("loaded", "missing", "unexpected", "mismatched")]
        return f"LoadReport({', '.join(counts)})"

    def __str__(self) -> str:
        lines = [f"loaded {len(self.loaded)} arrays: {', '.join(self.loaded) or 'none'}"]
        if self.missing:
            lines.append(f"missing, left as they were: {', '.join(self.missing)}")
        if self.unexpected:
            lines.append(f"not in the model: {', '.join(self.unexpected)}")
        for k, (a, b) in self.mismatched.items():
            turned = "; pass its transpose (PyTorch's Linear.weight is (out, in))" if a == b[::-1] else ""
            lines.append(f"{k}: given {a}, the model's is {b}{turned}")
        return "\n".join(lines)


def load_weights(model: Module, source: Any, strict: bool, rename: Any) -> LoadReport:
    """``Module.load_weights``."""
    if not isinstance(strict, bool | np.bool_):
        raise ArgumentError(f"load_weights: strict must be True or False, got {strict!r:.80}")
    given = _renamed(_arrays(source), rename)
    store = model.home()
    mine = {**model.parameters(), **model.buffers()}
    report = LoadReport([], [k for k in mine if k not in given], [k for k in given if k not in mine], {})
    values: dict[str, Array] = {}
    for name, target in mine.items():
        if name not in given:
            continue
        value = given[name]
        if value.shape != target.shape:
            report.mismatched[name] = (value.shape, target.shape)
            continue
        with np.errstate(over="ignore"):
            values[name] = value.astype(store.dtype)
        if not np.isfinite(values[name]).all():
            raise NonFiniteInputError(f"load_weights: {name!r} holds a NaN or infinity in {store.dtype}", tensor=name)
        report.loaded.append(name)
    if not report.loaded and (given or mine):
        hint = near_names(next(iter(given), ""), mine) or list(mine)[:3]
        raise ArgumentError(
            f"load_weights: no array fits by name and shape; given are {', '.join(list(given)[:3]) or 'none'}, the "
            f"model has {', '.join(hint)}; rename= maps names to the model's"
        )
    if strict and not report.complete:
        raise ArgumentError(f"load_weights: not the arrays of the model; strict=False takes what fits\n{report}")
    for name, value in values.items():
        mine[name][...] = value
    return report


def _arrays(source: Any) -> dict[str, Array]:
    """By name: those of a model, of a file or of a mapping. Raises for what holds no real numbers."""
    if isinstance(source, Module):
        return {**source.parameters(), **source.buffers()}
    if isinstance(source, str | os.PathLike):
        from ..train.state_file import KEY, state_in  # json and zlib are slow to import
        from .safetensors import load_file

        found, metadata = load_file(source)
        if KEY in metadata:
            return state_in(source, found, metadata).model_arrays()
        for name, array in found.items():
            if array.dtype.kind not in "fiub":
                raise FormatError(f"{source}: {name!r} has dtype {array.dtype}, expected real numbers")
        return found
    if not isinstance(source, Mapping):
        raise ArgumentError(
            f"load_weights: expected a file, a model or a dict of arrays by name, got {type(source).__name__}"
        )
    arrays = {}
    for name, value in source.items():
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ArgumentError(f"load_weights: {name!r} is not an array: {error}") from None
        if not isinstance(name, str) or array.dtype.kind not in "fiub":
            raise ArgumentError(f"load_weights: expected arrays of numbers by name; {name!r} has {array.dtype}")
        arrays[name] = array
    return arrays


def _renamed(arrays: Mapping[str, Array], rename: Any) -> dict[str, Array]:
    if rename is None:
        return dict(arrays)
    if isinstance(rename, Mapping):
        for name in rename:
            if name not in arrays:
                near = near_names(name, arrays) or list(arrays)[:3]
                raise ArgumentError(f"rename: {name!r} is not among the arrays that are given: {', '.join(near)}")
        function: Callable[[str], Any] = lambda name: rename.get(name, name)  # noqa: E731
    elif callable(rename):
        function = rename
    else:
        raise ArgumentError(f"rename: expected a dict of names or a function of a name, got {rename!r:.80}")
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        new = function(name)
        if new is None:
            continue
        if not isinstance(new, str):
            raise ArgumentError(f"rename: {name!r} became {new!r:.80}, expected a name, or None to leave it out")
        if new in found:
            raise ArgumentError(f"rename: two arrays are to be {new!r}")
        found[new] = array
    return found
