"""Damaged tables, and files that claim more than they hold: errors of ours, before the memory is taken."""

import io
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fuzz_files import KINDS, run

from hawfinch.data import StandardScaler, TableEncoder, read_table
from hawfinch.errors import FormatError


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little") + text + data


def npz(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a name twice
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_loads_or_is_an_error_of_ours(kind: str, tmp_path: Path) -> None:
    assert run(kind, range(500 if kind == "model" else 2000), tmp_path) == []


@pytest.mark.filterwarnings("ignore::hawfinch.errors.HawfinchWarning")
def test_the_damage_reaches_both_sides(tmp_path: Path) -> None:
    """Of a hundred damaged files some load and some don't, so that neither side of the test above is empty."""
    for kind in ("npy", "npz", "csv", "idx"):
        assert [KINDS[kind].read(save(tmp_path / f"t.{kind}", raw)) for raw in KINDS[kind].files]
        with pytest.raises(KINDS[kind].errors):
            KINDS[kind].read(save(tmp_path / f"t.{kind}", KINDS[kind].files[0][:37]))


def save(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 2), }\n"


def bomb(claim: int) -> bytes:
    """An archive whose one member claims to unpack to so many bytes."""
    raw = bytearray(npz(("x.npy", bytes(1_000_000))))
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = claim.to_bytes(4, "little")
    return bytes(raw)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("t.npy", npy(HUGE.ljust(118), bytes(64)), "claims 16000000000 bytes.*the file holds 64: cut short or damaged"),
        ("t.npy", npy(HUGE, version=b"\x02\x00"), "claims 16000000000 bytes"),
        ("t.npy", npy(HUGE)[:8] + b"\xff\xff", "the header claims 65545 bytes, the file holds 10"),
        ("t.npy", npy(HUGE.replace("<f8", "|S0")), "takes no bytes"),
        ("t.npy", npy(HUGE.replace("(1000000000, 2)", "(0, 1000000000)")), "no rows"),
        ("t.npy", npy(HUGE.replace("(1000000000, 2)", "(1000000000, 0)")), "no columns"),
        ("t.npy", npy(HUGE.replace("(1000000000, 2)", f"({2**62}, 0)")), "no array of shape|no columns"),
        ("t.npy", npy(HUGE.replace("1000000000", "True")), "damaged"),
        ("t.npy", npy(HUGE.replace("'<f8'", "('<f8', (9,))")), "damaged"),
        ("t.npy", npy("[" * 5000), "damaged"),
        ("t.npz", npz(("x.npy", npy(HUGE))), "array 'x': the header claims 16000000000 bytes"),
        ("t.npz", bomb(640_000_000), "claim to unpack to 640000000, more than 268435456"),
        ("t.npz", npz(("x.txt", b"")), "is no array"),
        ("t.npz", npz(*[("x.npy", KINDS["npy"].files[0])] * 2), "second of its name"),
        ("t.npz", npz(("x.npy", KINDS["npy"].files[0]), method=zipfile.ZIP_BZIP2), "packed as NumPy never does"),
    ],
    ids=lambda value: value[-40:] if isinstance(value, str) else "",
)
def test_claims_are_held_against_the_size_of_the_file(tmp_path: Path, name: str, raw: bytes, message: str) -> None:
    path = save(tmp_path / name, raw)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=message):
            read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(raw) + (1 << 22)
    finally:
        tracemalloc.stop()


def test_packed_tables_of_zeros_are_read_where_they_are_small(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros((100_000, 3)))
    assert read_table(save(tmp_path / "t.npz", stream.getvalue())).rows == 100_000


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", ">i8", "|u1", "|b1", "<U3", ">U3", "|S4", "<f16"])
def test_what_numpy_writes_is_read(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype, order=order)
    np.save(tmp_path / "t.npy", array)
    table = read_table(tmp_path / "t.npy")
    assert [table.texts(i) for i in range(3)] == [["0", "1"], ["1", "0"], ["1", "1"]]
    with open(tmp_path / "t.npy", "wb") as stream:
        np.lib.format.write_array(stream, array, version=(3, 0))
    assert read_table(tmp_path / "t.npy").texts(0) == ["0", "1"]


def test_a_byte_that_is_no_bool_and_a_text_that_is_no_unicode(tmp_path: Path) -> None:
    header = "{'descr': '%s', 'fortran_order': False, 'shape': (2, 1), }\n"
    for code, data in (
        ("|b1", b"\x01\x07"),
        ("<U1", b"\xff\xff\xff\x7fA\0\0\0"),
        ("<U1", (0xD800).to_bytes(4, "little") * 2),
    ):
        with pytest.raises(FormatError, match="damaged"):
            read_table(save(tmp_path / "t.npy", npy(header % code, data)))


def _state() -> dict:
    rows = [["1", "2", "3", "4"], ["a", "b", "a", "b"], ["x", "y", "x", "y"]]
    from hawfinch.data import Table

    return TableEncoder().fit(Table("t.csv", ("n", "c", "y"), tuple(rows), named=True), "y").to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"columns": 1e400},
        {"columns": 2},
        {"features": []},
        {"features": [{"name": "n", "position": 0}, {"name": "n", "position": 1}]},
        {"features": [{"name": "n", "position": 0}, {"name": "m", "position": 1}]},
        {"features": [{"name": "n", "position": 0}, {"name": "c", "position": 1, "categories": []}]},
        {"features": [{"name": "n", "position": 0}, {"name": "c", "position": 1, "categories": 7}]},
        {"scaler": {"mean": [10**400], "scale": [1.0]}},
        {"scaler": {"mean": [], "scale": []}},
        {"target": {"name": "y", "position": 2, "task": "guess", "classes": ["x", "y"]}},
        {"target": {"name": "y", "position": 2, "task": "classify", "classes": ["x", "x"]}},
        {"target": {"name": "y", "position": 0, "task": "classify", "classes": ["x", "y"]}},
        {"target": {"name": "y", "position": 2, "task": "regress", "scaler": {"mean": 0.0, "scale": 1.0}}},
        {"format": 2},
    ],
)
def test_an_encoder_state_that_contradicts_itself(change: dict) -> None:
    TableEncoder.from_dict(_state())
    with pytest.raises(FormatError, match=r"damaged|format 2"):
        TableEncoder.from_dict(_state() | change)
    with pytest.raises(FormatError):
        TableEncoder.from_dict([])  # type: ignore[arg-type]
    with pytest.raises(FormatError):
        StandardScaler.from_dict({"mean": [10**400], "scale": [1]})
