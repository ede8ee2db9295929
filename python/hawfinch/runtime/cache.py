"""PlanCache: compiled things by key, as many as fit in so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
MAX_BYTES = 64 << 20  # of one cache, unless its owner says otherwise


class PlanCache(Generic[T]):
    """The values used last, up to ``max_bytes`` of them by ``nbytes(value)``; the latest one stays, however large.

    Sizes are asked for when a value is put or ``trim`` is called, since pools of plans grow in use. Keys are values:
    equal keys must mean plans that serve each other.

    >>> cache = PlanCache(len, max_bytes=10)
    >>> cache.put("a", "1234")
    '1234'
    >>> cache.put("b", "12345678")
    '12345678'
    >>> cache.get("a") is None, len(cache)
    (True, 1)
    """

    def __init__(self, nbytes: Callable[[T], int], max_bytes: int = MAX_BYTES):
        self.nbytes, self.max_bytes = nbytes, max_bytes
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        """The value of a key, which counts as used now; None where there is none."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: T) -> T:
        """Keeps a value, lets those go that were not used for longest, and returns it."""
        self._values[key] = value
        self._values.move_to_end(key)
        self.trim()
        return value

    def pop(self, key: Hashable) -> T | None:
        """Takes a value out."""
        return self._values.pop(key, None)

    def trim(self) -> None:
        """Lets the values go that were not used for longest, until the rest fits."""
        sizes = [self.nbytes(v) for v in self._values.values()]
        total = sum(sizes)
        for size in sizes[:-1]:
            if total <= self.max_bytes:
                return
            self._values.popitem(last=False)
            total -= size

    def values(self) -> Iterable[T]:
        """What is kept, that used longest ago first."""
        return self._values.values()

    def clear(self) -> None:
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)
