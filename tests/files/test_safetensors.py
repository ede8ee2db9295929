"""hawfinch.files.safetensors: round trips, files of other writers, atomic replacement."""

import builtins
import errno
import io
import itertools
import json
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from safetensors_files import CHECKSUMS, CODES, assert_same, entry, filled, parts, write

from hawfinch.errors import DTypeError, FormatError, HawfinchError
from hawfinch.files.safetensors import load_file, save_file

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
    monkeypatch.setattr("hawfinch.files.safetensors._MAX_HEADER", length)
    save_file(tmp_path / "f", {"x": np.zeros(1)}, None)
    with pytest.raises(FormatError, match=f"header of {length + 16} bytes, expected at most {length}"):
        save_file(tmp_path / "f", {"x" * 17: np.zeros(1)}, None)
    assert list(load_file(tmp_path / "f")[0]) == ["x"]


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
from hawfinch.files.safetensors import save_file
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
