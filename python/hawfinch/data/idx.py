"""Reading IDX files, the format of MNIST and its successors, and Fashion-MNIST where it is installed.

An IDX file is: two bytes 0, a byte for the type, a byte for the number of axes, the size of each axis as an unsigned
32-bit number, and the values, all big-endian (LeCun, Cortes, Burges, yann.lecun.com/exdb/mnist).

Design: the header is held against the size of the file before memory is taken. A gzip file (known by its first bytes,
not by its name) is unpacked up to what its header claims and one byte more, and the claim may be at most what a NPZ
member's may (npy.py). Rejected: ``gzip.open``, whose errors are of several kinds, and which unpacks whatever it is
given.
"""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, FormatError
from .arrays import as_path
from .npy import FREE, MAX_RATIO

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 7
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # of Debian's dataset-fashion-mnist


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """The array in an IDX file, or in a gzip file of one, in native byte order: uint8, int8, int16, int32, float32 or
    float64.

    Raises FormatError, with the offset of the first byte that is wrong, for a file that is damaged, cut short, longer
    than its header says or no IDX file; ArgumentError for what is no path; OSError where it can't be read.

    >>> with open("labels-idx1-ubyte", "wb") as file:
    ...     _ = file.write(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> hf.data.read_idx("labels-idx1-ubyte")
    array([7, 8, 9], dtype=uint8)
    """
    file = as_path(path)
    source, data = file.name, file.read_bytes()
    packed = data[:2] == b"\x1f\x8b"
    head = _unpack(source, data, 4 + 4 * MOST_AXES) if packed else data
    dtype, shape, begin = _header(source, head)
    claimed = begin + math.prod(shape) * dtype.itemsize
    if packed:
        most = max(FREE, MAX_RATIO * len(data))
        if claimed > most:
            raise FormatError(
                f"{source}: the header, up to offset {begin}, claims {claimed} bytes for shape {shape}; {len(data)} "
                f"packed bytes may give at most {most}: damaged"
            )
        data = _unpack(source, data, claimed + 1, whole=True)
    if len(data) != claimed:
        what = "cut short" if len(data) < claimed else "bytes too many"
        raise FormatError(
            f"{source}: the header claims {claimed} bytes for {dtype.name} of shape {shape}, the file holds {len(data)}"
            f": {what} at offset {min(len(data), claimed)}"
        )
    try:
        values = np.frombuffer(data, dtype, offset=begin) if claimed > begin else np.empty(0, dtype)
        return values.reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:  # a shape such as (2**32 - 1, ..., 0)
        raise FormatError(f"{source}: the header, at offset 4, gives no array of shape {shape}: {error}") from None


def _unpack(source: str, data: bytes, most: int, whole: bool = False) -> bytes:
    """At most so many of a gzip file's bytes. whole: it must end there, its checksum must fit, nothing may follow."""
    stream = zlib.decompressobj(wbits=31)
    try:
        out = stream.decompress(data, most)
    except zlib.error as error:
        raise FormatError(f"{source}: the gzip stream is damaged ({error})") from None
    if whole and len(out) < most and (not stream.eof or stream.unused_data):
        at = len(data) - len(stream.unused_data)
        what = "goes on after its end" if stream.eof else "is cut short"
        raise FormatError(f"{source}: the gzip stream {what}, at offset {at}")
    return out


def _header(source: str, head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """dtype, shape and where the values begin."""
    if len(head) < 4 or head[0] or head[1]:
        at = 0 if not head or head[0] else min(len(head), 1)
        raise FormatError(f"{source}: no IDX file: it begins {head[:4]!r}, expected two bytes 0; offset {at}")
    if head[2] not in TYPES:
        known = ", ".join(f"0x{code:02x}" for code in TYPES)
        raise FormatError(f"{source}: unknown type 0x{head[2]:02x} at offset 2; known: {known}")
    axes, begin = head[3], 4 + 4 * head[3]
    if not 1 <= axes <= MOST_AXES:
        raise FormatError(f"{source}: {axes} axes at offset 3; expected 1 to {MOST_AXES}")
    if len(head) < begin:
        raise FormatError(f"{source}: cut short at offset {len(head)}: {axes} sizes end at offset {begin}")
    return np.dtype(TYPES[head[2]]), tuple([int(n) for n in np.frombuffer(head, ">u4", axes, 4)]), begin


class Images(NamedTuple):
    """Pictures uint8 (rows, height, width) and labels int64 (rows,), to train on and to test on."""

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.int64]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.int64]


def load_fashion_mnist(path: str | os.PathLike[str] | None = None) -> Images:
    """Fashion-MNIST: 60,000 pictures of clothes to train on and 10,000 to test on, 28 x 28 bytes, in ten classes.

    path: the folder of the four files (train-images-idx3-ubyte and so on, with .gz or without), also of MNIST's own,
    which have these names too; default: where Debian's package ``dataset-fashion-mnist`` puts them. Returns a tuple
    (x_train, y_train, x_test, y_test). Raises FormatError for damaged files; ArgumentError, which says what to install,
    where there are none. Xiao, Rasul, Vollgraf, arXiv 1708.07747, 2017.

    >>> from pathlib import Path
    >>> for name in ("train", "t10k"):  # a data set of two white pictures
    ...     _ = Path(f"{name}-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, *[0, 0, 0, 2] * 3] + [255] * 8))
    ...     _ = Path(f"{name}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]))
    >>> x, y, x_test, y_test = hf.data.load_fashion_mnist(".")
    >>> x.shape, y.tolist()
    ((2, 2, 2), [5, 7])
    """
    folder = FASHION_MNIST if path is None else as_path(path)
    arrays = []
    for part in ("train", "t10k"):
        images, labels = _one(folder, f"{part}-images-idx3-ubyte"), _one(folder, f"{part}-labels-idx1-ubyte")
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise FormatError(f"{folder}: {part} has images of shape {images.shape} and labels of {labels.shape}")
        if images.dtype != np.uint8 or labels.dtype != np.uint8:
            raise FormatError(f"{folder}: {part} has images of {images.dtype} and labels of {labels.dtype}, not bytes")
        arrays += [images, labels.astype(np.int64)]
    return Images(*arrays)


def _one(folder: Path, name: str) -> NDArray[Any]:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return read_idx(file)
    raise ArgumentError(
        f"there is no {name}[.gz] in {folder}: install Debian's package dataset-fashion-mnist (apt install "
        "dataset-fashion-mnist), or pass the folder that has the four IDX files"
    )
