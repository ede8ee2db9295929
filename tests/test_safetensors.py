"""hawfinch.interop.safetensors: round trips, damaged files, atomic replacement."""

import builtins
import errno
import io
import itertools
import json
import os
import random
import re
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from hawfinch.errors import DTypeError, FormatError, HawfinchError
from hawfinch.interop.safetensors import load_file, save_file

CODES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1",
    "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip
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


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small file with two tensors, metadata and header padding."""
    path = tmp_path / "small.safetensors"
    save_file(path, {"w": np.array([[1.5, -2.0]], np.float32), "n": np.array([True, False, True])}, {"kind": "éa"})
    assert path.read_bytes()[: parts(path)[2]].endswith(b"}    ")  # the corruption tests need some padding
    return path


# Round trips


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(), (1,), (0,), (5,), (3, 4), (2, 0, 3), (2, 3, 4)])
def test_every_dtype_and_rank_comes_back(tmp_path: Path, code: str, shape: tuple[int, ...]) -> None:
    given = filled(shape, CODES[code])
    save_file(tmp_path / "f", {"x": given}, None)
    tensors, metadata = load_file(tmp_path / "f")
    assert list(tensors) == ["x"] and metadata == {}
    assert_same(tensors["x"], given)
    header, data, _ = parts(tmp_path / "f")
    assert header["x"] == {"dtype": code, "shape": list(shape), "data_offsets": [0, given.nbytes]}
    assert data == given.tobytes()


@pytest.mark.parametrize("code", CODES)
def test_any_layout_and_byte_order_is_stored_right(tmp_path: Path, code: str) -> None:
    base = filled((4, 6, 5), CODES[code])
    readonly = base.copy()
    readonly.flags.writeable = False
    odd = np.zeros(base.nbytes + 1, np.uint8)[1:].view(base.dtype).reshape(base.shape)
    odd[...] = base
    given = {
        "fortran": np.asfortranarray(base),
        "transposed": base.transpose(2, 0, 1),
        "strided": base[::2, 1::3],
        "reversed": base[::-1, :, ::-1],
        "broadcast": np.broadcast_to(base[0, 0], (3, 2, 5)),
        "big_endian": base.astype(base.dtype.newbyteorder(">")),
        "big_endian_fortran": np.asfortranarray(base.astype(base.dtype.newbyteorder(">"))),
        "readonly": readonly,
        "misaligned": odd,
    }
    before = {name: array.tobytes() for name, array in given.items()}
    save_file(tmp_path / "f", given, None)
    tensors, _ = load_file(tmp_path / "f")
    assert tensors.keys() == given.keys()
    for name, array in given.items():
        assert_same(tensors[name], array)
        assert array.tobytes() == before[name]
    assert np.array_equal(tensors["fortran"].view(np.uint8), base.view(np.uint8))


def test_stored_values_are_little_endian_in_c_order(tmp_path: Path) -> None:
    save_file(tmp_path / "f", {"x": np.asfortranarray(np.array([[1, 2], [3, 4]], ">i2"))}, None)
    assert parts(tmp_path / "f")[1] == bytes([1, 0, 2, 0, 3, 0, 4, 0])


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ARRAYS = st.sampled_from(list(CODES.values())).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5))
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tensors=st.dictionaries(NAMES.filter(lambda name: name != "__metadata__"), ARRAYS, max_size=4),
    metadata=st.dictionaries(NAMES, NAMES, max_size=3),
    reverse=st.booleans(),
)
def test_anything_comes_back(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str], reverse: bool
) -> None:
    given = {name: array.T if reverse else array for name, array in tensors.items()}
    save_file(tmp_path / "f", given, metadata)
    got, strings = load_file(tmp_path / "f")
    assert got.keys() == given.keys() and strings == metadata
    for name, array in given.items():
        assert_same(got[name], array)


def test_no_tensors(tmp_path: Path) -> None:
    save_file(tmp_path / "f", {}, {"a": "b"})
    assert load_file(tmp_path / "f") == ({}, {"a": "b"})


def test_bool_bytes_other_than_0_and_1_are_stored_as_1(tmp_path: Path) -> None:
    save_file(tmp_path / "f", {"b": np.array([0, 1, 2, 255], np.uint8).view(np.bool_)}, None)
    assert parts(tmp_path / "f")[1] == bytes([0, 1, 1, 1])
    assert load_file(tmp_path / "f")[0]["b"].tolist() == [False, True, True, True]


def test_layout_of_the_file(tmp_path: Path) -> None:
    given = {f"{code}{n}": filled((n,), dtype) for (code, dtype), n in itertools.product(CODES.items(), (1, 3))}
    for extra in range(9):  # every amount of padding
        save_file(tmp_path / "f", given, {"pad": "x" * extra})
        header, data, start = parts(tmp_path / "f")
        assert start % 8 == 0
        assert header.pop("__metadata__").keys() == {"pad"} | CHECKSUMS
        assert len(data) == sum(array.nbytes for array in given.values())
        for name, array in given.items():
            begin, end = header[name]["data_offsets"]
            assert begin % array.itemsize == 0 and data[begin:end] == array.tobytes()


def test_same_input_gives_same_bytes_in_any_order(tmp_path: Path) -> None:
    given = {"b": filled((3,), "f4"), "a": filled((2,), "i8"), "c": filled((1,), "f4")}
    save_file(tmp_path / "1", given, {"k": "v", "a": "b"})
    save_file(tmp_path / "2", dict(reversed(given.items())), {"a": "b", "k": "v"})
    save_file(tmp_path / "3", given, {"k": "v", "a": "b"})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes() == (tmp_path / "3").read_bytes()


# What cannot be saved


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2, np.complex64),
        np.zeros(2, np.longdouble),
        np.array(["a"]),
        np.array([None]),
        np.array([1], "M8[s]"),
        np.zeros(2, "f4,i4"),
        np.zeros(2, "V2"),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        [1.0, 2.0],
        1.0,
    ],
    ids=lambda value: str(getattr(value, "dtype", type(value).__name__)),
)
def test_other_types_are_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DTypeError, match=r"f: tensor 'bad' .*expected") as caught:
        save_file(tmp_path / "f", {"good": np.zeros(1), "bad": value}, None)
    assert isinstance(caught.value, (HawfinchError, TypeError))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "metadata", "message"),
    [
        ("__metadata__", None, "name '__metadata__'"),
        (3, None, "name 3"),
        ("\ud800", None, "not valid Unicode"),
        ("x", {"k": 1}, "metadata 'k': 1"),
        ("x", {1: "v"}, "metadata 1: 'v'"),
        ("x", {"k": "\ud800"}, "not valid Unicode"),
        ("x", {"hawfinch.crc32": "0"}, "hawfinch.crc32.*checksum"),
        ("x", {"hawfinch.header_crc32": "0"}, "hawfinch.header_crc32.*checksum"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path: Path, name: Any, metadata: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        save_file(tmp_path / "f", {name: np.zeros(1)}, metadata)
    assert list(tmp_path.iterdir()) == []


def test_header_too_long_to_load_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(tmp_path / "f", {"x": np.zeros(1)}, None)
    length = parts(tmp_path / "f")[2] - 8
    monkeypatch.setattr("hawfinch.interop.safetensors._MAX_HEADER", length)
    save_file(tmp_path / "f", {"x": np.zeros(1)}, None)
    with pytest.raises(FormatError, match=f"header of {length + 16} bytes, expected at most {length}"):
        save_file(tmp_path / "f", {"x" * 17: np.zeros(1)}, None)
    assert list(load_file(tmp_path / "f")[0]) == ["x"]


# Damaged files


def test_truncation_at_every_byte(small: Path) -> None:
    raw = small.read_bytes()
    for length in range(len(raw)):
        small.write_bytes(raw[:length])
        with pytest.raises(FormatError, match=re.escape(str(small))):
            load_file(small)
    small.write_bytes(raw)
    load_file(small)


def test_file_cut_short_while_it_is_read(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = small.stat()
    small.write_bytes(small.read_bytes()[:-1])
    monkeypatch.setattr(os, "fstat", lambda fd: before)
    with pytest.raises(FormatError, match="'n': the file ended after 2 bytes, expected 3"):
        load_file(small)


@pytest.mark.parametrize("more", [b"\0", b" ", b"}", bytes(8), bytes(4096)])
def test_trailing_bytes(small: Path, more: bytes) -> None:
    small.write_bytes(small.read_bytes() + more)
    with pytest.raises(FormatError, match=f": {len(more)} trailing bytes"):
        load_file(small)


def test_every_other_value_of_every_byte(small: Path) -> None:
    raw = small.read_bytes()
    tensors, metadata = load_file(small)
    start = parts(small)[2]
    padding = range(len(raw[:start].rstrip(b" ")), start)
    harmless = set()
    with open(small, "r+b", buffering=0) as file:
        for position, old in enumerate(raw):
            for value in set(range(256)) - {old}:
                os.pwrite(file.fileno(), bytes([value]), position)
                try:
                    got, strings = load_file(small)
                except FormatError as error:
                    assert str(small) in str(error)
                else:
                    harmless.add((position, value))
                    assert strings == metadata and got.keys() == tensors.keys()
                    for name, array in tensors.items():
                        assert_same(got[name], array)
            os.pwrite(file.fileno(), bytes([old]), position)
    assert small.read_bytes() == raw
    assert harmless == {(position, value) for position in padding for value in b"\t\n\r"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=64), prefix=st.booleans())
def test_noise_is_a_format_error(tmp_path: Path, raw: bytes, prefix: bool) -> None:
    path = tmp_path / "noise"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw if prefix else raw)
    if not (prefix and json_object(raw) == {}):  # a header of {} and no data is a valid file
        with pytest.raises(FormatError):
            load_file(path)


def json_object(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw.startswith(b"{") else None
    except ValueError:
        return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 16) | st.floats() | st.sampled_from(["F32", "BOOL", "I64", "", "2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape", "a"]), inner),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries({"dtype": JSON, "shape": JSON, "data_offsets": JSON}) | JSON


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRY), size=st.integers(0, 16))
def test_odd_headers_load_consistently_or_are_a_format_error(tmp_path: Path, header: Any, size: int) -> None:
    write(tmp_path / "odd", header, bytes(size))
    try:
        tensors, metadata = load_file(tmp_path / "odd")
    except FormatError:
        return
    assert sum(array.nbytes for array in tensors.values()) == size
    assert metadata == header.pop("__metadata__", {})
    assert {name: list(array.shape) for name, array in tensors.items()} == {n: e["shape"] for n, e in header.items()}


BAD_HEADERS: dict[str, tuple[Any, bytes, str]] = {
    "empty": ("", b"", "expected JSON"),
    "not JSON": ('{"a": ', b"", "expected JSON"),
    "two values": ("{} {}", b"", "expected JSON.*Extra data"),
    "not UTF-8": (b'{"\xff": 1}', b"", "UTF-8.*0xff"),
    "byte order mark": (b"\xef\xbb\xbf{}", b"", "expected JSON"),
    "leading space": (" {}", b"", "JSON object from its first byte"),
    "lone surrogate": (r'{"\ud800": 1}', b"", "surrogates not allowed"),
    "too deep": ("[" * 200_000, b"", "expected JSON.*recursion"),
    "huge number": ('{"a": ' + "9" * 5000 + "}", b"", "expected JSON.*digits"),
    "a list": ("[]", b"", "expected a JSON object"),
    "a number": ("1", b"", "expected a JSON object"),
    "null": ("null", b"", "expected a JSON object"),
    "duplicate tensor": ('{"a": 1, "b": 2, "a": 1}', b"", "duplicate key 'a'"),
    "duplicate field": ('{"a": {"dtype": "F32", "dtype": "I32"}}', b"", "duplicate key 'dtype'"),
    "duplicate metadata": ('{"__metadata__": {"k": "1", "k": "2"}}', b"", "duplicate key 'k'"),
    "metadata a list": ({"__metadata__": ["k"]}, b"", "__metadata__ is .*expected an object of strings"),
    "metadata null": ({"__metadata__": None}, b"", "__metadata__ is None, expected an object of strings"),
    "metadata a number": ({"__metadata__": {"k": 1}}, b"", "__metadata__ is .*1.*expected an object of strings"),
    "metadata nested": ({"__metadata__": {"k": {}}}, b"", "__metadata__ is .*expected an object of strings"),
    "entry a string": ({"a": "F32"}, b"", "'a': entry 'F32', expected an object"),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8), "'a': entry .*expected .*dtype"),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8), "'a': entry .*expected .*shape"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, bytes(8), "'a': entry .*expected .*data_offsets"),
    "other field": ({"a": {**entry(), "order": "F"}}, bytes(8), "'a': entry .*expected an object of"),
    "dtype unknown": ({"a": entry("BF16", [4])}, bytes(8), "'a': unknown dtype 'BF16', expected one of BOOL"),
    "dtype lower case": ({"a": entry("f32")}, bytes(8), "'a': unknown dtype 'f32'"),
    "dtype a list": ({"a": entry(["F32"])}, bytes(8), r"'a': unknown dtype \['F32'\]"),
    "dtype null": ({"a": entry(None)}, bytes(8), "'a': unknown dtype None"),
    "shape negative": ({"a": entry(shape=[-1, -2])}, bytes(8), r"'a': shape \[-1, -2\], expected .*integers >= 0"),
    "shape of floats": ({"a": entry(shape=[2.0])}, bytes(8), r"'a': shape \[2.0\], expected .*integers"),
    "shape of bools": ({"a": entry(shape=[True, 2])}, bytes(8), r"'a': shape \[True, 2\], expected .*integers"),
    "shape of strings": ({"a": entry(shape=["2"])}, bytes(8), r"'a': shape \['2'\], expected .*integers"),
    "shape a number": ({"a": entry(shape=2)}, bytes(8), "'a': shape 2, expected a list"),
    "shape null": ({"a": entry(shape=None)}, bytes(8), "'a': shape None, expected a list"),
    "shape NaN": ('{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}', bytes(8), r"'a': shape \[nan\]"),
    "shape 65 deep": ({"a": entry(shape=[1] * 64 + [2])}, bytes(8), "'a': shape .*at most 64"),
    "shape beyond 64 bits": ({"a": entry(shape=[2**64, 0], offsets=[0, 0])}, b"", "'a': shape .*expected"),
    "shape of huge numbers": ({"a": entry(shape=[10**4000] * 9)}, bytes(8), "'a': shape .*expected a list of"),
    "shape beyond NumPy": ({"a": entry(shape=[2**62, 2**62, 0], offsets=[0, 0])}, b"", "'a': shape .*NumPy allows"),
    "shape wraps to 8 bytes": ({"a": entry(shape=[2**62 + 2])}, bytes(8), "'a': .*hold 8 bytes, expected 184467"),
    "shape wraps to 0 bytes": ({"a": entry(shape=[2**32, 2**32], offsets=[0, 0])}, b"", "'a': .*hold 0 bytes"),
    "too few bytes": ({"a": entry(shape=[3])}, bytes(8), "'a': .*hold 8 bytes, expected 12 for F32"),
    "too many bytes": ({"a": entry("F16")}, bytes(8), "'a': .*hold 8 bytes, expected 4 for F16"),
    "no bytes": ({"a": entry(shape=[], offsets=[0, 0])}, b"", "'a': .*hold 0 bytes, expected 4"),
    "offsets reversed": ({"a": entry(offsets=[8, 0])}, bytes(8), r"'a': data_offsets \[8, 0\], expected .*begin <="),
    "offsets negative": ({"a": entry(offsets=[-8, 0])}, bytes(8), r"'a': data_offsets \[-8, 0\], expected"),
    "offsets of floats": ({"a": entry(offsets=[0.0, 8.0])}, bytes(8), "'a': data_offsets .*expected"),
    "offsets of bools": ({"a": entry("U8", [1], [False, True])}, bytes(1), "'a': data_offsets .*expected"),
    "offsets of three": ({"a": entry(offsets=[0, 4, 8])}, bytes(8), "'a': data_offsets .*expected"),
    "offsets null": ({"a": entry(offsets=None)}, bytes(8), "'a': data_offsets None, expected"),
    "beyond the file": ({"a": entry()}, bytes(7), r"'a': data_offsets \[0, 8\], expected .*end <= 7"),
    "far beyond the file": ({"a": entry("U8", [2**62], [0, 2**62])}, bytes(8), "'a': data_offsets .*end <= 8"),
    "gap at the start": ({"a": entry(offsets=[4, 12])}, bytes(12), "'a': gap: data begins at 4, expected 0"),
    "gap between": ({"a": entry(), "b": entry(offsets=[9, 17])}, bytes(17), "'b': gap: data begins at 9, expected 8"),
    "overlap": ({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12), "'b': overlap: data begins at 4, expected 8"),
    "same bytes twice": ({"a": entry(), "b": entry()}, bytes(8), "'b': overlap: data begins at 0, expected 8"),
    "empty one inside": ({"a": entry(), "b": entry("U8", [0], [4, 4])}, bytes(8), "'b': overlap: data begins at 4"),
    "trailing": ({"a": entry()}, bytes(11), "11 bytes of data, expected 8 by the header: 3 trailing bytes"),
    "trailing, no tensors": ({}, bytes(1), "1 trailing bytes"),
    "bool of 2": ({"a": entry("BOOL", [3], [0, 3])}, b"\0\1\2", "'a': a BOOL byte is 2, expected 0 or 1"),
}


@pytest.mark.parametrize("case", BAD_HEADERS)
def test_bad_header_names_the_problem(tmp_path: Path, case: str) -> None:
    header, data, message = BAD_HEADERS[case]
    path = write(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(FormatError, match="bad.safetensors: .*" + message) as caught:
        load_file(path)
    assert isinstance(caught.value, (HawfinchError, ValueError))
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "0 bytes, expected at least the 8"),
        (bytes(7), "7 bytes, expected at least the 8"),
        (bytes(8), "header starts b'', expected JSON"),
        (struct.pack("<Q", 3) + b"{}", "header length 3, expected at most 2 in a file of 10 bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "header length 9223372036854775808, expected at most 2"),
        (b"\xff" * 16, "header length 18446744073709551615, expected at most 8"),
    ],
    ids=["no bytes", "seven bytes", "zero", "one too long", "2**63", "2**64 - 1"],
)
def test_bad_header_length(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "f").write_bytes(raw)
    with pytest.raises(FormatError, match=f"f: {message}"):
        load_file(tmp_path / "f")


def test_absurd_header_length_in_a_large_file(tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(200_000_000)  # sparse: takes no room
    with pytest.raises(FormatError, match="header length 100000001, expected at most 100000000"):
        load_file(tmp_path / "f")


def test_wrong_file_type_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_file(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        save_file(tmp_path / "nowhere" / "f", {}, None)
    with pytest.raises(IsADirectoryError):
        load_file(tmp_path)


# Files of other writers


def test_any_header_order_is_read_in_the_order_of_the_data(tmp_path: Path) -> None:
    data = struct.pack("<ffh", 1.0, 2.0, -3)
    header = {"z": entry("I16", [], [8, 10]), "e": entry("U8", [0, 3], [8, 8]), "a": entry()}
    tensors, metadata = load_file(write(tmp_path / "f", header, data))
    assert list(tensors) == ["a", "e", "z"] and metadata == {}
    assert tensors["a"].tolist() == [1.0, 2.0] and tensors["e"].shape == (0, 3) and tensors["z"] == -3


def test_unaligned_data_is_read(tmp_path: Path) -> None:
    header = {"a": entry("U8", [1], [0, 1]), "b": entry("F64", [1], [1, 9]), "__metadata__": {"format": "np"}}
    for padding in range(8):
        path = write(tmp_path / "f", json.dumps(header) + " " * padding, b"\7" + struct.pack("<d", 0.1))
        tensors, metadata = load_file(path)
        assert tensors["a"].tolist() == [7] and metadata == {"format": "np"}
        assert_same(tensors["b"], np.array([0.1]))


# Checksums


def test_stored_checksum_is_the_crc32_of_the_data(small: Path) -> None:
    header, data, _ = parts(small)
    assert header["__metadata__"]["hawfinch.crc32"] == f"{zlib.crc32(data):08x}"
    assert load_file(small)[1] == {"kind": "éa"}


def test_changed_data_is_a_checksum_error(small: Path) -> None:
    header, data, _ = parts(small)
    write(small, header, data)
    load_file(small)
    write(small, header, bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(FormatError, match=r"small.safetensors: checksum 'hawfinch.crc32' is '\w{8}', expected '\w{8}'"):
        load_file(small)


@pytest.mark.parametrize("change", ["rename", "dtype", "metadata", "swap"])
def test_changed_header_is_a_checksum_error(small: Path, change: str) -> None:
    header, data, _ = parts(small)
    if change == "rename":
        header["v"] = header.pop("w")
    elif change == "dtype":
        header["w"]["dtype"] = "I32"
    elif change == "metadata":
        header["__metadata__"]["kind"] = "b"
    else:
        header["w"]["shape"].reverse()
    with pytest.raises(FormatError, match=r"checksum 'hawfinch.header_crc32' is '\w{8}', expected '\w{8}'"):
        load_file(write(small, header, data))


@pytest.mark.parametrize("key", sorted(CHECKSUMS))
def test_one_checksum_without_the_other_is_an_error(small: Path, key: str) -> None:
    header, data, _ = parts(small)
    del header["__metadata__"][key]
    with pytest.raises(FormatError, match="checksum"):
        load_file(write(small, header, data))


def test_file_without_checksums_loads_unchecked(small: Path) -> None:
    header, data, _ = parts(small)
    for key in CHECKSUMS:
        del header["__metadata__"][key]
    tensors, metadata = load_file(write(small, header, data))
    assert tensors["w"].tolist() == [[1.5, -2.0]] and metadata == {"kind": "éa"}


def test_rewritten_but_equal_header_passes(small: Path) -> None:
    header, data, _ = parts(small)
    header["__metadata__"] = dict(reversed(header["__metadata__"].items()))
    write(small, json.dumps(dict(reversed(header.items())), indent=1), data)
    assert load_file(small)[0]["n"].tolist() == [True, False, True]


# Atomic replacement


class FullDisk(io.FileIO):
    """Takes the header, then has no room for the data."""

    def write(self, block: Any, /) -> int:
        if self.tell() > 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(block)


@pytest.mark.parametrize("failing", ["os.replace", "os.fsync", "write", "interrupt"])
@pytest.mark.parametrize("existing", [True, False])
def test_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, existing: bool
) -> None:
    path = tmp_path / "f"
    if existing:
        save_file(path, {"x": np.arange(3)}, {"v": "old"})
    before = {item: item.read_bytes() for item in tmp_path.iterdir()}
    seen: list[list[str]] = []

    def fail(*args: Any) -> None:
        seen.append(sorted(os.listdir(tmp_path)))
        raise KeyboardInterrupt if failing == "interrupt" else OSError(errno.EIO, "simulated")

    def open_full(file: Any, mode: str) -> FullDisk:
        seen.append([])
        return FullDisk(file, mode.replace("b", ""))

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(builtins, "open", open_full)
        else:
            patch.setattr(os, "fsync" if failing == "os.fsync" else "replace", fail)
        with pytest.raises(KeyboardInterrupt if failing == "interrupt" else OSError):
            save_file(path, {"x": np.arange(100_000)}, {"v": "new"})
    assert len(seen) == 1
    if failing != "write":  # at the failure the new file stood beside the old one, in the same directory
        assert len(seen[0]) == 1 + existing and sum(name.endswith(".tmp") for name in seen[0]) == 1
    assert {item: item.read_bytes() for item in tmp_path.iterdir()} == before


def test_data_reach_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(fd: int) -> None:
        status = os.fstat(fd)
        events.append(("directory", status.st_ino) if stat.S_ISDIR(status.st_mode) else ("file", status.st_size))
        fsync(fd)

    def note_replace(source: str, target: str) -> None:
        events.append(("replace", 0))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    save_file(tmp_path / "f", {"x": np.arange(10)}, None)  # few enough to wait in the write buffer
    size, directory = (tmp_path / "f").stat().st_size, tmp_path.stat().st_ino
    assert events == [("file", size), ("replace", 0), ("directory", directory)]


def test_no_file_descriptor_is_left_open(tmp_path: Path) -> None:
    before = os.listdir("/dev/fd")
    save_file(tmp_path / "f", {"x": np.arange(3)}, None)
    load_file(tmp_path / "f")
    with pytest.raises(OSError):
        save_file(tmp_path, {"x": np.arange(3)}, None)  # a directory cannot be replaced
    write(tmp_path / "bad", "[]")
    with pytest.raises(FormatError):
        load_file(tmp_path / "bad")
    assert len(os.listdir("/dev/fd")) == len(before)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_mode_is_that_of_a_normal_new_file(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        save_file(tmp_path / "f", {}, None)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666 & ~umask


def test_symbolic_link_and_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "f")
    save_file(tmp_path / "link", {"x": np.arange(3)}, None)
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path / "real") == ["f"]
    monkeypatch.chdir(tmp_path / "real")
    save_file("f", {"x": np.arange(4)}, None)
    assert load_file(tmp_path / "link")[0]["x"].tolist() == [0, 1, 2, 3]
    assert os.listdir(tmp_path / "real") == ["f"]


WRITER = """
import itertools, sys
path, sys.path[:] = sys.argv[1], sys.argv[2:]
import numpy as np
from hawfinch.interop.safetensors import save_file
for step in itertools.count():
    save_file(path, {"a": np.full(200_000, step, np.int64), "b": np.full(7, step, np.int32)}, {"step": str(step)})
    print(step, flush=True)
"""


def test_killed_writer_leaves_a_loadable_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    delays = random.Random(0)
    for _ in range(12):
        command = [sys.executable, "-c", WRITER, str(path), *sys.path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "0\n"
            time.sleep(delays.uniform(0, 0.03))
            writer.send_signal(signal.SIGKILL)
            reported = [0, *map(int, writer.stdout.read().split())]
        assert writer.returncode == -signal.SIGKILL
        tensors, metadata = load_file(path)
        step = int(metadata["step"])
        assert step in (reported[-1], reported[-1] + 1)  # what was reported as saved is there
        assert np.array_equal(tensors["a"], np.full(200_000, step))
        assert np.array_equal(tensors["b"], np.full(7, step))
