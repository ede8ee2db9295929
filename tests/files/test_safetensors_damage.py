"""hawfinch.files.safetensors: damaged files and checksums."""

import json
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors_files import CHECKSUMS, assert_same, entry, parts, write

from hawfinch.errors import FormatError, HawfinchError
from hawfinch.files.safetensors import load_file, save_file


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small file with two tensors, metadata and header padding."""
    path = tmp_path / "small.safetensors"
    save_file(path, {"w": np.array([[1.5, -2.0]], np.float32), "n": np.array([True, False, True])}, {"kind": "éa"})
    assert path.read_bytes()[: parts(path)[2]].endswith(b"}    ")  # the corruption tests need some padding
    return path


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
