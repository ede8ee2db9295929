"""What the tests of safetensors files share: arrays, and files taken apart and put together by definition."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

CODES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "I8": "i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "BOOL": "?",
}
CHECKSUMS = {"hawfinch.crc32", "hawfinch.header_crc32"}


def filled(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of random bytes (0 or 1 for bool), so NaN payloads and every sign occur."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.random.default_rng(count).integers(0, 2 if dtype == np.bool_ else 256, count, dtype=np.uint8)
    result: np.ndarray = raw.view(dtype).reshape(shape)
    return result


def assert_same(got: np.ndarray, given: np.ndarray) -> None:
    """Same dtype up to byte order, same shape, same bits, and an array that its caller may write to."""
    assert got.dtype == given.dtype.newbyteorder("<")
    assert got.shape == given.shape
    assert got.tobytes() == given.astype(given.dtype.newbyteorder("<")).tobytes()  # both in C order
    assert got.flags.c_contiguous and got.flags.writeable and got.flags.aligned and got.flags.owndata


def parts(path: Path) -> tuple[dict[str, Any], bytes, int]:
    """(header, data, start of the data), read by the format's definition alone."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :], 8 + length


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    """A hand-made file; `header` is a str, bytes, or anything that json.dumps takes."""
    text = header if isinstance(header, (str, bytes)) else json.dumps(header)
    raw = text.encode() if isinstance(text, str) else text
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}
