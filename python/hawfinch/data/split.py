"""Splitting arrays into a part to train on and a part to test on.

Design: the order comes from sorting raw Philox words. NumPy guarantees the bits of a bit generator for ever, but not
what ``Generator.permutation`` makes of them (NEP 19). Rejected: ``Generator.permutation``, since a split that changes
with the NumPy version moves rows from the test part into the training part of a saved net.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DTypeError, ShapeError
from ..values import check_whole
from .arrays import as_array


def _test_counts(counts: NDArray[np.int64], n_test: int) -> NDArray[np.int64]:
    """How many rows of each class are tested: in proportion, the largest remainders first, never a whole class."""
    share = counts * n_test / counts.sum()
    chosen = np.minimum(share.astype(np.int64), counts - 1)
    while chosen.sum() < n_test:
        lack = np.where(chosen < counts - 1, share - chosen, -np.inf)
        if lack.max() == -np.inf:
            break  # each class is down to its last training row
        chosen[lack.argmax()] += 1
    return np.asarray(chosen, np.int64)


def split_rows(
    n: int, *, test_size: float = 0.2, seed: int = 0, stratify: ArrayLike | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The row numbers behind ``train_test_split``: two int64 arrays, disjoint, together 0 .. n - 1, shuffled.

    >>> train, test = hf.data.split_rows(5, test_size=0.4)
    >>> len(train), len(test), sorted([*train.tolist(), *test.tolist()])
    (3, 2, [0, 1, 2, 3, 4])
    """
    n, seed = check_whole(n, "n"), check_whole(seed, "seed")
    if isinstance(test_size, bool) or not isinstance(test_size, int | float | np.integer | np.floating):
        raise ArgumentError(f"test_size must be a number, not {test_size!r}")
    if isinstance(test_size, int | np.integer):
        n_test, valid = int(test_size), 0 < test_size < n
    else:
        valid = 0.0 < test_size < 1.0
        n_test = min(max(round(n * test_size), 1), n - 1) if valid else 0
    if n < 2:
        raise ArgumentError(f"a split needs at least 2 rows, not {n}")
    if not valid:
        raise ArgumentError(f"test_size={test_size!r}: give a fraction between 0 and 1, or a count from 1 to {n - 1}")
    order = np.argsort(np.random.Philox(seed).random_raw(n), kind="stable").astype(np.int64)
    if stratify is None:
        return order[n_test:], order[:n_test]
    labels = as_array(stratify, "stratify")
    if labels.shape != (n,):
        raise ShapeError(f"stratify must have shape ({n},), one class per row, not {labels.shape}")
    try:
        _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    except TypeError as error:
        raise DTypeError(f"stratify holds classes that can't be put in order: {error}") from None
    chosen = _test_counts(counts.astype(np.int64), n_test)
    if not chosen.any():
        raise ArgumentError("stratify: each class has only one row, so none can be put aside for the test")
    classes = classes[order]
    by_class = np.argsort(classes, kind="stable")  # keeps the shuffled order within each class
    rank = np.empty(n, np.int64)  # a row's place among the rows of its class
    rank[by_class] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    test = rank < chosen[classes]
    return order[~test], order[test]


def train_test_split(
    *arrays: ArrayLike, test_size: float = 0.2, seed: int = 0, stratify: ArrayLike | None = None
) -> tuple[NDArray[Any], ...]:
    """Split arrays of N rows each, all in the same way.

    Arguments:
        arrays: one or more arrays of shape (N, ...); any dtype.
        test_size: the fraction of rows to test on (rounded, at least one row on either side), or their number (int).
        seed: the same seed gives the same split on every machine, with every version of NumPy.
        stratify: (N,) classes; both parts get them in the proportions of the whole. A class with one row only stays in
            the training part.

    Returns ``(train, test)`` of the first array, then of the second, and so on: copies with the dtypes given.

    Raises ``ShapeError`` when the arrays differ in N, ``ArgumentError`` for a size or seed out of range.

    >>> x, y = np.arange(10.0).reshape(5, 2), np.array([0, 1, 0, 1, 0])
    >>> x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, stratify=y)
    >>> x_train.shape, x_test.shape, sorted(y_test.tolist())
    ((3, 2), (2, 2), [0, 1])
    """
    if not arrays:
        raise ArgumentError("train_test_split needs at least one array")
    given = [as_array(a, f"argument {i}") for i, a in enumerate(arrays)]
    for i, a in enumerate(given):
        if a.ndim == 0 or len(a) != len(given[0]):
            raise ShapeError(
                f"argument {i} has shape {a.shape}, but argument 0 has {given[0].shape}: the first sizes must match"
            )
    train, test = split_rows(len(given[0]), test_size=test_size, seed=seed, stratify=stratify)
    return tuple(part for a in given for part in (a[train], a[test]))
