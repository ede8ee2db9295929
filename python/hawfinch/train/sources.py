"""Where the rows of an epoch come from, a chunk after the other.

Design: a chunk is arrays that C reads in place, one call into C each, and arrays are one chunk. What makes chunks (a
generator, a decoder) is at work on the next one, in a thread of its own, while C trains on this one: two chunks are
held, never more. The thread lives as long as the epoch. Rejected: a loader of batches, which would come back to Python,
and copy, at every step; a queue of several chunks, which hides a slow reader for a few steps and costs the memory
for all of them.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from ..augment import Mixup
from ..data.arrays import as_data, check_whole
from ..data.decoded import Decoded
from ..errors import ArgumentError, BusyError
from ..ir import Array
from .inputs import MOST_ARRAYS, Data

LONGEST_WAIT = 0.05  # seconds that Ctrl-C waits for what is under way in the thread that reads ahead
LEAST_CHUNKS = 8  # of an epoch of decoded rows, so that the first does not keep training waiting for long


class EpochRows(NamedTuple):
    """How an epoch goes over the rows. batch: None: all rows of a chunk. begin: steps that are done already."""

    seed: int
    epoch: int
    shuffle: bool
    batch: int | None
    accumulate: int = 1
    begin: int = 0

    def order(self, rows: int, chunk: int = 0) -> Array | None:
        """int64 (rows,): which row comes when; None: as they lie."""
        return _core.permutation(rows, self.seed, self.epoch + (chunk << 32)) if self.shuffle else None


class Chunk(NamedTuple):
    """Rows to train on, and their order. before, rows_before: steps and rows of the epoch in the chunks before it."""

    data: Data
    order: Array | None
    before: int
    rows_before: int


class Source(Protocol):
    """Gives an epoch's data; from the step on that is asked for, or from one before it."""

    @property
    def data(self) -> Data | None:
        """What all chunks are like, and how many rows they have together; None where that is not known before."""

    def open(self, rows: EpochRows) -> AbstractContextManager[Iterator[Chunk]]: ...


class Arrays:
    """Rows that are all known: one chunk of arrays, or what decoded rows make necessary."""

    def __init__(self, data: Data):
        self.data = data

    def open(self, rows: EpochRows) -> AbstractContextManager[Iterator[Chunk]]:
        data = self.data
        if any([isinstance(a, Decoded) for a in data.x]):
            return self._decoded(rows)
        return contextlib.nullcontext(iter((Chunk(data, rows.order(data.rows), 0, 0),)))

    @contextlib.contextmanager
    def _decoded(self, how: EpochRows) -> Iterator[Iterator[Chunk]]:
        """In an order over all rows, so many whole batches and updates at a time that the steps are those of arrays."""
        data, rows = self.data, self.data.rows
        batch = min(how.batch or rows, rows)
        size = chunk_rows(data, batch * how.accumulate)
        steps = -(-size // batch)
        order = how.order(rows)
        if order is None:
            order = np.arange(rows)
        first = min(how.begin // steps, -(-rows // size) - 1)
        closing = threading.Event()
        made = (_taken(data, order[at : at + size], closing) for at in range(first * size, rows, size))
        with ReadAhead(made, closing) as read:
            yield (Chunk(part, None, i * steps, i * size) for i, part in enumerate(read, first))


def chunk_rows(data: Data, update: int) -> int:
    """Rows of a chunk of decoded ones: whole updates, at least one; two chunks fill the memory that was allowed."""
    decoded = [a for a in data.x if isinstance(a, Decoded)]
    row_bytes = sum([a.like.nbytes for a in decoded])
    most = min([a.memory for a in decoded]) // (2 * max(row_bytes, 1))
    return max(min(most, -(-data.rows // LEAST_CHUNKS)) // update, 1) * update


def _taken(data: Data, index: Array, stop: threading.Event) -> Data:
    """These rows."""
    x = []
    for a, spec in zip(data.x, data.specs[0], strict=True):
        a = as_data(a.take(index, stop), "x") if isinstance(a, Decoded) else a[index]
        if spec.dtype == "int":
            check_whole(a, "x")
        x.append(a)
    y = tuple([a[index] for a in data.y])
    return Data(tuple(x), y, tuple([None if w is None else w[index] for w in data.weight]), data.specs)


class Chunks:
    """Chunks that an iterable gives, or a function that gives an iterable: (x, y) or (x, y, sample_weight) each.

    ahead: whether a thread makes the next one.
    """

    data: Data | None = None

    def __init__(self, given: Any, check: Callable[..., Data], ahead: bool):
        self.given, self.check, self.ahead = given, check, ahead

    @contextlib.contextmanager
    def open(self, rows: EpochRows) -> Iterator[Iterator[Chunk]]:
        given = self.given() if callable(self.given) else self.given
        if not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
            raise ArgumentError(f"x: the function must return an iterable of (x, y), got {type(given).__name__}")
        if self.ahead and not isinstance(given, list | tuple):
            with ReadAhead(iter(given)) as read:
                del given
                yield self._checked(read, rows)
        else:
            yield self._checked(given, rows)

    def _checked(self, given: Iterable[Any], rows: EpochRows) -> Iterator[Chunk]:
        before = rows_before = 0
        for i, chunk in enumerate(given):
            data = self.check(*split_pair(chunk, f"chunk {i}"), name=f"chunk {i}")
            yield Chunk(data, rows.order(data.rows, i), before, rows_before)
            rows_before += data.rows
            before += -(-data.rows // min(rows.batch or data.rows, data.rows))


class _Handover:
    """What the thread that reads and the one that takes have in common."""

    def __init__(self, closing: threading.Event):
        self.wanted, self.made, self.over = threading.Lock(), threading.Lock(), threading.Lock()
        self.made.acquire()
        self.over.acquire()
        self.closing = closing
        self.item: Any = None
        self.error: BaseException | None = None


def _read(given: Iterator[Any], hand: _Handover) -> None:
    try:
        while True:
            hand.wanted.acquire()  # the first item is, from the beginning
            if hand.closing.is_set():
                break
            hand.item = next(given)
            hand.made.release()
    except BaseException as error:
        hand.error = error
        hand.made.release()
    finally:
        del given
        hand.over.release()


class ReadAhead:
    """Iterates over ``given``, whose next item a thread makes while the caller is at work with the one before.

    Within ``with``. It raises what ``given`` raises. At its end the thread is waited for, which lets go of ``given``;
    after Ctrl-C not for long: then it ends with what it has under way. closing: set at the end, for ``given`` to see.
    """

    def __init__(self, given: Iterator[Any], closing: threading.Event | None = None):
        self._hand = _Handover(threading.Event() if closing is None else closing)
        self._process = os.getpid()
        context = contextvars.copy_context()  # NumPy's errstate, decimal's precision
        how: dict[str, Any] = {"args": (_read, given, self._hand), "name": "hawfinch-read", "daemon": True}
        self._thread = threading.Thread(target=context.run, **how)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if os.getpid() != self._process:
            raise BusyError("a fit that reads its data ahead can't go on in a process that was forked within it")
        hand = self._hand
        hand.made.acquire()
        if hand.error is not None:
            raise hand.error
        item, hand.item = hand.item, None
        hand.wanted.release()
        return item

    def _close(self) -> None:
        self._hand.closing.set()
        with contextlib.suppress(RuntimeError):  # it is wanted already
            self._hand.wanted.release()

    __del__ = _close  # where Ctrl-C has come in between: the thread holds no reference to this

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        self._close()
        if os.getpid() != self._process:
            return
        if self._hand.over.acquire(timeout=-1 if kind is None or issubclass(kind, Exception) else LONGEST_WAIT):
            self._thread.join()
        self._hand.item = self._hand.error = None  # whose traceback holds all of this


def is_chunks(x: Any) -> bool:
    """Whether x is no array or what can be one, but gives them one after the other."""
    if isinstance(x, tuple | list | str | bytes | Mapping) or hasattr(x, "__array__") or hasattr(x, "__dlpack__"):
        return False
    return callable(x) or (isinstance(x, Iterable) and not hasattr(x, "__getitem__")) or isinstance(x, Iterator)


def split_pair(given: Any, name: str) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight or None) of a tuple of two or three."""
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise ArgumentError(f"{name}: expected (x, y) or (x, y, sample_weight), got {type(given).__name__}")
    return given[0], given[1], given[2] if len(given) == 3 else None


def check_augment(augment: Any, source: Source) -> None:
    """Raises ArgumentError where rows can't be mixed."""
    if not isinstance(augment, Mixup):
        raise ArgumentError(f"augment: expected an augmentation such as hf.augment.Mixup(0.2), got {augment!r:.80}")
    if source.data is not None:
        check_mixable(source.data)


def check_mixable(data: Data) -> None:
    """Raises ArgumentError where the rows can't be mixed."""
    if not data.y:
        raise ArgumentError("augment: Mixup mixes targets, and there are none; leave augment out")
    if len(data.arrays) >= MOST_ARRAYS:
        most = f"with Mixup at most {MOST_ARRAYS - 1}"
        raise ArgumentError(f"augment: {len(data.arrays)} inputs, targets and weights; {most}")
    if any([spec.dtype == "int" for spec in data.specs[0]]):
        raise ArgumentError("augment: Mixup mixes real inputs, and there are integer ones (indices of an embedding)")
