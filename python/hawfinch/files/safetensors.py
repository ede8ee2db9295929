"""Named arrays in a safetensors file: written atomically, checked in full before use.

Design note.
(a) Rejected: the `safetensors` package. It is a compiled dependency, and its 0.8.0 silently corrupts arrays that are
    not C-contiguous (huggingface/safetensors#825). The format is small enough to write here with NumPy alone.
(b) Rejected: one checksum, of the data. A flipped bit in the header would rename a tensor or turn F32 into I32 unseen,
    so a second one covers the header. Each is required when the other is there; a file with neither loads unchecked.
(c) Tensors are stored in the order of the reference writer (widest dtype first, then by name): equal inputs give equal
    bytes whatever their order, and each tensor starts at a multiple of its item size, ready for a C reader to map.

A file is: header length (8 bytes, little-endian), JSON header, data. The header maps each name to {"dtype", "shape",
"data_offsets": [begin, end)} relative to the data, and "__metadata__" to a string-to-string object.
"""

import json
import math
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DTypeError, FormatError

_DTYPES = {  # in the reference's alignment order, which decides where a tensor is stored
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
}
_NAMES = {dtype.str: name for name, dtype in _DTYPES.items()}
_RANKS = {name: rank for rank, name in enumerate(_DTYPES)}
_METADATA = "__metadata__"
_DATA_CRC = "hawfinch.crc32"  # metadata key: crc32 of the data section, 8 hex digits
_HEADER_CRC = "hawfinch.header_crc32"  # metadata key: crc32 of the header's content, see _header_crc
_MAX_HEADER = 100_000_000  # bytes; the reference reader's limit


def save_file(
    path: str | os.PathLike[str], tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `tensors` and `metadata` to `path`, atomically: a reader finds the whole old file or the whole new one.

    tensors: name -> array of any shape, strides and byte order; dtype float16-64, int8-64, uint8-64 or bool.
    metadata: strings by string; the checksum keys "hawfinch.crc32" and "hawfinch.header_crc32" are added.

    A symbolic link is followed. On any failure the old file stays and the temporary one (".hawfinch-*.tmp" beside it)
    is removed; only a killed process leaves one behind. Raises DTypeError for any other dtype or type of value,
    FormatError for names or metadata that the format cannot hold, OSError as `open` does.
    """
    _check_path(path)
    target = os.path.realpath(path)
    blocks = {name: _block(path, name, array) for name, array in tensors.items()}
    entries: dict[str, Any] = {}
    crc = end = 0
    for name in sorted(blocks, key=lambda name: (-_RANKS[blocks[name][0]], name)):
        code, block = blocks[name]
        begin, end = end, end + block.nbytes
        crc = zlib.crc32(block, crc)
        entries[name] = {"dtype": code, "shape": list(tensors[name].shape), "data_offsets": [begin, end]}

    stored = dict(metadata or {})
    for key, value in stored.items():
        if not isinstance(key, str) or not isinstance(value, str) or key in (_DATA_CRC, _HEADER_CRC):
            what = f"metadata {short(key)}: {short(value)}"
            raise FormatError(f"{path}: {what}, expected a str for a str, and not the key of a checksum")
    stored[_DATA_CRC] = f"{crc:08x}"
    stored[_HEADER_CRC] = _header_crc(entries, stored)
    content = {_METADATA: dict(sorted(stored.items())), **entries}
    try:
        header = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{path}: a tensor name or metadata string is not valid Unicode: {error}") from None
    header += b" " * (-len(header) % 8)
    if len(header) > _MAX_HEADER:
        raise FormatError(f"{path}: header of {len(header)} bytes, expected at most {_MAX_HEADER}")

    parent = os.path.dirname(target)
    temporary = os.path.join(parent, temporary_name(target))
    directory = os.open(parent, os.O_RDONLY)  # opened first: what can fail fails before anything is replaced
    try:
        with open(temporary, "xb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for name in entries:
                file.write(blocks[name][1])
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        os.fsync(directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        os.close(directory)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Removes what processes that were killed have left of writing to this path. Nobody may be writing to it now."""
    parent, ending = os.path.dirname(os.path.realpath(path)), _ending(os.path.realpath(path))
    with suppress(FileNotFoundError):
        for name in os.listdir(parent):
            if name.startswith(".hawfinch-") and name.endswith(ending):
                os.unlink(os.path.join(parent, name))


def temporary_name(target: str) -> str:
    """Of a new file that will take the target's place."""
    return f".hawfinch-{os.urandom(8).hex()}{_ending(target)}"


def _ending(target: str) -> str:
    """Of the temporary files for a file, by its name."""
    return f"-{zlib.crc32(os.fsencode(os.path.basename(target))):08x}.tmp"


def load_file(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read `path` back as (tensors, metadata): what `save_file` was given, or what another safetensors writer stored.

    Each array is C-contiguous, writable and owns its memory; names come in the order of the data; the two checksums
    are left out of the metadata. No array is allocated before the header has been checked against the file's size.
    Raises FormatError, naming the file, the tensor, what was found and what was expected, for anything wrong in the
    file (a bad checksum too), and OSError as `open` does.
    """
    _check_path(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise FormatError(f"{path}: {size} bytes, expected at least the 8 of a header length")
        length = int.from_bytes(file.read(8), "little")
        if length > (limit := min(_MAX_HEADER, size - 8)):
            raise FormatError(f"{path}: header length {length}, expected at most {limit} in a file of {size} bytes")
        entries = _parse(path, file.read(length))
        metadata = entries.pop(_METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise FormatError(f"{path}: {_METADATA} is {short(metadata)}, expected an object of strings")
        tensors: dict[str, NDArray[Any]] = {}
        crc = 0
        for name in _check_entries(path, entries, size - 8 - length):
            what, shape = f"{path}: tensor {name!r}", entries[name]["shape"]
            try:
                tensors[name] = np.empty(shape, _DTYPES[entries[name]["dtype"]])
            except (ValueError, OverflowError) as error:  # a shape such as [2**62, 0]
                raise FormatError(f"{what}: shape {short(shape)}, expected one that NumPy allows: {error}") from None
            block = tensors[name].reshape(-1).view(np.uint8).data
            if (got := file.readinto(block)) != block.nbytes:
                raise FormatError(f"{what}: the file ended after {got} bytes, expected {block.nbytes}")
            crc = zlib.crc32(block, crc)

    actual = {_HEADER_CRC: _header_crc(entries, metadata), _DATA_CRC: f"{crc:08x}"}
    found = {key: metadata.pop(key) for key in actual if key in metadata}
    for key, value in actual.items():
        if found and found.get(key) != value:
            what = f"checksum {key!r} is {short(found.get(key))}, expected {value!r}"
            raise FormatError(f"{path}: {what}: damaged, or changed by a program that kept the old metadata")
    for name, array in tensors.items():
        if array.dtype == np.bool_ and (top := array.view(np.uint8).max(initial=0)) > 1:
            raise FormatError(f"{path}: tensor {name!r}: a BOOL byte is {top}, expected 0 or 1")
    return tensors, metadata


def _check_path(path: object) -> None:
    try:
        known = path != "" and not isinstance(path, bytes) and b"\0" not in os.fsencode(path)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ArgumentError(f"path must be a file's name, not {short(path)}")


def _block(path: str | os.PathLike[str], name: str, array: NDArray[Any]) -> tuple[str, memoryview]:
    """The dtype's name and the bytes to store (those of `array` itself where it is little-endian and C-contiguous)."""
    if not isinstance(name, str) or name == _METADATA:
        raise FormatError(f"{path}: tensor name {name!r}, expected a str other than {_METADATA!r}")
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise DTypeError(f"{path}: tensor {name!r} is a {type(array).__name__}, expected a plain numpy.ndarray")
    if (code := _NAMES.get(array.dtype.str.replace(">", "<"))) is None:
        raise DTypeError(f"{path}: tensor {name!r} has dtype {array.dtype}, expected one of {', '.join(_DTYPES)}")
    block = np.ascontiguousarray(array, _DTYPES[code]).reshape(-1).view(np.uint8)
    return code, (block != 0).view(np.uint8).data if code == "BOOL" else block.data  # a bool made by view may hold 2


def _header_crc(entries: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    """crc32 of the header's content in one canonical spelling: all but padding, key order and this checksum itself."""
    content = {**entries, _METADATA: {key: value for key, value in metadata.items() if key != _HEADER_CRC}}
    return f"{zlib.crc32(json.dumps(content, sort_keys=True, separators=(',', ':')).encode()):08x}"


def _parse(path: str | os.PathLike[str], raw: bytes) -> dict[str, Any]:
    """The header as a dict; FormatError unless it is one JSON object, in UTF-8, with no key twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"duplicate key {key!r}")
            result[key] = value
        return result

    try:
        header = json.loads(raw.decode(), object_pairs_hook=unique)
        json.dumps(header, ensure_ascii=False).encode()  # an escaped lone surrogate is no Unicode either
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: header starts {raw[:16]!r}, expected JSON in UTF-8: {error}") from None
    if not isinstance(header, dict) or not raw.startswith(b"{"):
        raise FormatError(f"{path}: header starts {raw[:16]!r}, expected a JSON object from its first byte on")
    return header


def _check_entries(path: str | os.PathLike[str], entries: Mapping[str, Any], size: int) -> list[str]:
    """The names in the order of their data; FormatError unless the entries tile the `size` bytes of data exactly."""
    for name, entry in entries.items():
        what = f"{path}: tensor {name!r}"
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise FormatError(f"{what}: entry {short(entry)}, expected an object of dtype, shape and data_offsets")
        code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(code, str) or code not in _DTYPES:
            raise FormatError(f"{what}: unknown dtype {short(code)}, expected one of {', '.join(_DTYPES)}")
        if not _are_sizes(shape) or len(shape) > 64:  # NumPy's limit
            raise FormatError(f"{what}: shape {short(shape)}, expected a list of at most 64 integers >= 0")
        if not _are_sizes(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
            raise FormatError(f"{what}: data_offsets {short(offsets)}, expected [begin, end], begin <= end <= {size}")
        held, expected = offsets[1] - offsets[0], math.prod(shape) * _DTYPES[code].itemsize
        if held != expected:
            made = f"expected {expected} for {code} of shape {short(shape)}"
            raise FormatError(f"{what}: data_offsets {offsets} hold {held} bytes, {made}")
    names = sorted(entries, key=lambda name: entries[name]["data_offsets"])
    end = 0
    for name in names:
        begin = entries[name]["data_offsets"][0]
        if begin != end:
            problem = "gap" if begin > end else "overlap"
            raise FormatError(f"{path}: tensor {name!r}: {problem}: data begins at {begin}, expected {end}")
        end = entries[name]["data_offsets"][1]
    if end != size:
        raise FormatError(f"{path}: {size} bytes of data, expected {end} by the header: {size - end} trailing bytes")
    return names


def _are_sizes(values: object) -> bool:
    """Is it a list of true integers (no bool) from 0 to 2**63 - 1?"""
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**63 for value in values)
