"""Decoded: rows that are made from items, such as files, when they are wanted.

Design: what stands in for an array is a value with a shape and ``take``, so that targets, weights, row order and
checks are those of arrays; a fit takes as many whole batches at a time as ``memory`` allows. The threads of a ``take``
begin and end with it: none is left by an error, by Ctrl-C or for a fork. Rejected: processes (their rows would have to
be copied, and what decodes for long, as Pillow, zlib and NumPy do, lets go of the interpreter's lock) and a pool that
lives on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import _core
from ..errors import ArgumentError, DecodeError
from ..ir import Array
from ..values import CheckedCall, check_whole, short


class Decoded(metaclass=CheckedCall):
    """Items and the function that makes a row of each: an x whose rows are decoded when they are needed.

    ``Trainer.fit`` and ``evaluate`` take it as x, or as one of several inputs, and in validation_data; y and weights
    are arrays as ever. They hold some of its rows at a time and give the bits of a fit on ``np.asarray`` of it. While
    batches are trained on, threads decode the next ones. ``predict`` takes it part by part, too. Whatever else takes an
    array decodes all rows at once.

    items: paths, bytes, rows of a table: a sequence, or what can be listed. decode: gives the row of an item, an array
    of any numbers, of equal shape and dtype for all; it is called in several threads at a time, in any order. workers:
    those threads; default: one for each core. memory: bytes of decoded rows that are held at a time; a batch is the
    least.

    Raises ArgumentError for other items, DecodeError that names the item where decode raises, gives no numbers, a NaN
    or an infinity, or a row of another shape or dtype than the first item's.

    >>> import numpy as np, hawfinch as hf
    >>> lines = ["0 0", "0 1", "1 0", "1 1"]
    >>> x = hf.data.Decoded(lines, lambda line: np.array(line.split(), np.float32))
    >>> history = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse").fit(x, np.ones((4, 1)), epochs=2, batch_size=2)
    >>> x.shape, np.asarray(x)[1]
    ((4, 2), array([0., 1.], dtype=float32))
    """

    def __init__(
        self, items: Iterable[Any], decode: Callable[[Any], Any], *, workers: int | None = None, memory: int = 128 << 20
    ):
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
            raise ArgumentError(f"items: expected a list of what is decoded, got {type(items).__name__}")
        if not callable(decode):
            raise ArgumentError(f"decode: expected a function of an item, got {short(decode)}")
        self.items = items if isinstance(items, list | tuple | np.ndarray) else list(items)
        if len(self.items) == 0:
            raise ArgumentError("items: there are none to decode")
        self.decode = decode
        self.workers = None if workers is None else check_whole(workers, "workers", 1)
        self.memory = check_whole(memory, "memory", 1)
        self._like: Array | None = None

    @property
    def like(self) -> Array:
        """The first item's row, whose shape and dtype are those of all."""
        if self._like is None:
            self._like = self._row(0)
        return self._like

    @property
    def shape(self) -> tuple[int, ...]:
        """(items, ...): that of all rows together."""
        return (len(self.items), *self.like.shape)

    @property
    def dtype(self) -> Any:
        """Of the rows."""
        return self.like.dtype

    @property
    def ndim(self) -> int:
        """Axes of all rows together."""
        return 1 + self.like.ndim

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"Decoded({len(self.items)} items, {short(self.decode)})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        rows = self.take(range(len(self.items)))
        return rows if dtype is None else rows.astype(dtype, copy=False)

    def parts(self) -> Iterator[Array]:
        """All rows, some at a time: as many as ``memory`` holds, at least one."""
        n = max(self.memory // max(self.like.nbytes, 1), 1)
        for at in range(0, len(self.items), n):
            yield self.take(range(at, min(at + n, len(self.items))))

    def take(self, index: Any, stop: threading.Event | None = None) -> Array:
        """The rows of these items. stop: once it is set, the rest of them is left undone."""
        out = np.empty((len(index), *self.like.shape), self.like.dtype)
        todo = iter(range(len(index)))
        lock = threading.Lock()
        failed: list[tuple[int, BaseException]] = []

        def work() -> None:
            at = -1
            try:
                while stop is None or not stop.is_set():
                    with lock:
                        at = next(todo, len(index))
                    if at == len(index) or any(first < at for first, _ in failed):
                        return
                    out[at] = self._row(int(index[at]))
            except BaseException as error:
                # Items are begun in order and those before this one are finished: the error raised is always the first.
                failed.append((at if isinstance(error, Exception) else -1, error))

        n = min(self.workers or _core.max_threads(), len(index))
        team = [threading.Thread(target=work, name="hawfinch-decode", daemon=True) for _ in range(n - 1)]
        for thread in team:
            thread.start()
        work()
        for thread in team:
            thread.join()
        if failed:
            raise min(failed, key=lambda f: f[0])[1]
        return out

    def _row(self, i: int) -> Array:
        item = self.items[i]
        try:
            row = np.asarray(self.decode(item))
        except Exception as error:
            raise DecodeError(f"item {i}, {short(item)}: {type(error).__name__}: {error}", item=i) from error
        if row.dtype.kind not in "fiub":
            raise DecodeError(f"item {i}, {short(item)}: decode gave {row.dtype}, expected numbers", item=i)
        like = self._like
        if like is not None and (row.shape != like.shape or row.dtype != like.dtype):
            raise DecodeError(
                f"item {i}, {short(item)}: decode gave {row.dtype} {row.shape}, for item 0 {like.dtype} {like.shape}",
                item=i,
            )
        if row.dtype.kind == "f" and not np.isfinite(row).all():
            at = tuple(np.argwhere(~np.isfinite(row))[0].tolist())
            raise DecodeError(f"item {i}, {short(item)}: decode gave {row[at]} at {at}", item=i)
        return row
