"""Reading NumPy's own files, NPY and NPZ: what a file claims is held against its size before memory is taken.

Design
(a) The format is read here, in the 3 versions that NumPy writes. Rejected: ``numpy.load``. It takes the memory that a
    header asks for and looks at the file afterwards, and a damaged header or archive escapes it as TokenError,
    SyntaxError, NotImplementedError, RuntimeError, zlib.error and others that change with Python's version.
(b) A file is read into memory at once and parsed there: an OSError then always comes from the disk, never from a
    damaged offset.
(c) An archive may unpack to at most ``MAX_RATIO`` times its size, or to ``FREE`` bytes if that is more. Rejected: no
    bound (deflate packs a thousand to one, and members may share their bytes).
"""

from __future__ import annotations

import ast
import io
import math
import re
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DTypeError, FormatError

MAGIC = b"\x93NUMPY"
MAX_HEADER = 1 << 20  # bytes; named fields of a table of 10,000 columns take 300,000
MAX_RATIO = 100
FREE = 1 << 28
_CODE = re.compile(r"[<>|=]?[bBiufcSUVOmM]\d*(\[\w+\])?")


def read_npy(source: str, data: bytes | memoryview) -> NDArray[Any]:
    """The array in the bytes of a NPY file, read-only, without a copy. ``source`` names the file in errors.

    Raises ``FormatError`` for anything that NumPy would not have written, trailing bytes included, ``DTypeError`` for
    Python objects.
    """
    raw = memoryview(data)
    dtype, fortran, shape, begin = _header(source, raw)
    claimed, held = math.prod(shape) * dtype.itemsize, len(raw) - begin
    if claimed != held:
        raise FormatError(
            f"{source}: the header claims {claimed} bytes for dtype {dtype} of shape {shape}, the file holds {held}: "
            "cut short or damaged"
        )
    try:
        flat = np.frombuffer(raw, dtype, offset=begin) if held else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # a shape such as (2**62, 0)
        raise FormatError(f"{source}: no array of shape {shape}: {error}") from None


def _header(source: str, raw: memoryview) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    """dtype, Fortran order, shape and where the data begin."""
    version = tuple(raw[6:8])
    size = 2 if version == (1, 0) else 4
    if bytes(raw[:6]) != MAGIC or version not in ((1, 0), (2, 0), (3, 0)) or len(raw) < 8 + size:
        raise FormatError(f"{source} is cut short, damaged or no NumPy file: it begins {bytes(raw[:8])!r}")
    begin = 8 + size + int.from_bytes(raw[8 : 8 + size], "little")
    if begin > len(raw) or begin > MAX_HEADER:
        raise FormatError(f"{source}: the header claims {begin} bytes, the file holds {len(raw)}: cut short or damaged")
    text = bytes(raw[8 + size : begin])
    try:
        header = ast.literal_eval(text.decode("utf-8" if version == (3, 0) else "latin-1").strip())
        if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
            raise ValueError("not a dict of descr, fortran_order and shape")
        shape, fortran = header["shape"], header["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
            raise ValueError(f"shape {shape!r}")
        if type(fortran) is not bool:
            raise ValueError(f"fortran_order {fortran!r}")
        dtype = _dtype(header["descr"])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise FormatError(f"{source}: the header is damaged ({error})") from None
    if dtype.hasobject:
        raise DTypeError(f"{source} holds Python objects, which are not loaded; store texts as dtype str")
    if dtype.itemsize == 0:
        raise FormatError(f"{source}: dtype {dtype} takes no bytes; one number or text per cell is expected")
    return dtype, fortran, shape, begin


def _dtype(descr: object) -> np.dtype[Any]:
    """The dtype that ``descr`` means: a code, or a list of (name, code) or (name, code, shape)."""
    if isinstance(descr, str):
        if not _CODE.fullmatch(descr):
            raise ValueError(f"descr {descr[:40]!r}")
        return np.dtype(descr)
    if not isinstance(descr, list) or not descr:
        raise ValueError("descr is neither a code nor a list of fields")
    fields: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = []
    for field in descr:
        name, code, *more = field if isinstance(field, tuple) and len(field) in (2, 3) else (None, None)
        if not isinstance(name, str) or not isinstance(code, str):
            raise ValueError(f"field {str(field)[:40]} of descr")
        sizes = more[0] if more else ()
        if not isinstance(sizes, tuple) or not all(type(n) is int and 0 <= n < 2**31 for n in sizes):
            raise ValueError(f"the shape of field {name!r}")
        fields.append((name, _dtype(code), sizes))
    return np.dtype(fields)


def read_npz(source: str, data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays in the bytes of a NPZ file, by name. Raises ``FormatError`` or ``DTypeError``."""
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            total, most = sum(m.file_size for m in members), max(FREE, MAX_RATIO * len(data))
            if total > most:
                raise FormatError(
                    f"{source}: {len(data)} bytes claim to unpack to {total}, more than {most}: damaged, or made to "
                    "fill the memory; save such an array with numpy.save or numpy.savez, uncompressed"
                )
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name == member.filename or name in arrays:
                    raise FormatError(f"{source}: member {member.filename!r} is no array, or the second of its name")
                if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise FormatError(f"{source}: member {name!r} is encrypted, or packed as NumPy never does")
                arrays[name] = read_npy(f"{source}, array {name!r}", archive.read(member))
    except (FormatError, DTypeError):
        raise
    except MemoryError:
        raise
    except Exception as error:  # zipfile and zlib promise no list; what they read is in memory, so the file is at fault
        raise FormatError(f"{source} is empty, cut short or damaged ({type(error).__name__}: {error})") from error
    return arrays
