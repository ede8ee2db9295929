"""Sizes and shapes: an int, or a ``Dim`` that is affine in the batch size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from ..errors import ShapeError

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]


_DIMS: WeakValueDictionary[tuple[int, int], Dim] = WeakValueDictionary()


class Dim:
    """A size that depends on the batch size B: ``per_row * B + fixed``. Equal ones are one object, so that shapes
    compare, hash and are looked up without Python code.
    """

    __slots__ = ("__weakref__", "fixed", "per_row")
    per_row: int
    fixed: int

    def __new__(cls, per_row: int, fixed: int = 0) -> Dim:
        self = _DIMS.get((per_row, fixed))
        if self is None:
            self = object.__new__(cls)
            self.per_row, self.fixed = per_row, fixed
            self = _DIMS.setdefault((per_row, fixed), self)
        return self

    def __reduce__(self) -> tuple[type[Dim], tuple[int, int]]:
        return Dim, (self.per_row, self.fixed)

    def at(self, batch: int) -> int:
        return self.per_row * batch + self.fixed

    def __add__(self, other: Size) -> Size:
        if isinstance(other, Dim):
            return dim(self.per_row + other.per_row, self.fixed + other.fixed)
        return Dim(self.per_row, self.fixed + other)

    __radd__ = __add__

    def __sub__(self, other: Size) -> Size:
        return self + (other * -1)

    def __mul__(self, other: int) -> Size:
        if other == 1:
            return self
        return Dim(self.per_row * other, self.fixed * other) if other else 0

    __rmul__ = __mul__

    def divided_by(self, n: int) -> Size:
        if n == 0 or self.per_row % n or self.fixed % n:
            raise ShapeError(f"{self} is not divisible by {n} for every batch size")
        return dim(self.per_row // n, self.fixed // n)

    def __repr__(self) -> str:
        text = "B" if self.per_row == 1 else f"{self.per_row}B"
        return text if self.fixed == 0 else f"{text}{self.fixed:+d}"


Size = int | Dim
Shape = tuple[Size, ...]
BATCH = Dim(1)


class Spec(NamedTuple):
    """What an array in a trace is: its shape, batch axis first, and "real" or "int" (int64)."""

    shape: Shape
    dtype: str = "real"


def row_shapes(specs: Sequence[Spec]) -> str:
    """Shapes as a user writes them: (rows, 4), (rows,)."""
    rows = [["rows", *map(str, s.shape[1:])] for s in specs]
    return ", ".join(["(rows,)" if len(names) == 1 else f"({', '.join(names)})" for names in rows])


def dim(per_row: int, fixed: int) -> Size:
    return Dim(per_row, fixed) if per_row else fixed


@lru_cache(4096)
def times(a: Size, b: Size) -> Size:
    """a * b; at most one of them may depend on the batch size."""
    if isinstance(a, int):
        return b * a
    if isinstance(b, int):
        return a * b
    raise ShapeError("a shape can't hold the square of the batch size")


@lru_cache(4096)
def numel(shape: Sequence[Size]) -> Size:
    n, varying = 1, None
    for s in shape:
        if isinstance(s, int):
            n *= s
        elif varying is None:
            varying = s
        else:
            return times(varying, s)
    return n if varying is None else varying * n


@lru_cache(4096)
def size_at(size: Size, batch: int) -> int:
    return size.per_row * batch + size.fixed if isinstance(size, Dim) else size
