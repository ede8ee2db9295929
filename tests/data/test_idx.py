"""IDX files: all types, packed or not; what is damaged is told with its place; Fashion-MNIST from a folder."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hawfinch.data import idx, load_fashion_mnist, read_idx
from hawfinch.errors import ArgumentError, FormatError

TYPES = [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")]


def written(path: Path, array: np.ndarray, code: int = 8, sizes: Any = None, pack: bool = False) -> Path:
    """array in an IDX file that says it has these sizes."""
    sizes = array.shape if sizes is None else sizes
    head = bytes([0, 0, code, len(sizes)]) + b"".join(int(n).to_bytes(4, "big") for n in sizes)
    raw = head + array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(raw) if pack else raw)
    return path


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(("code", "dtype"), TYPES)
@pytest.mark.parametrize("shape", [(5,), (0,), (3, 0), (4, 3, 2), (1, 1, 2, 1, 3, 1, 2)])
def test_what_is_written_is_read(tmp_path: Path, code: int, dtype: str, pack: bool, shape: tuple[int, ...]) -> None:
    array = (np.random.RandomState(0).normal(size=shape) * 100).astype(dtype)
    found = read_idx(written(tmp_path / "a", array, code, pack=pack))
    assert found.dtype == dtype and found.dtype.isnative and np.array_equal(found, array) and found.flags.writeable
    assert np.array_equal(read_idx(str(tmp_path / "a")), array)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no IDX file.*offset 0"),
        (b"\1\0\x08\1", "no IDX file: it begins .*; offset 0"),
        (b"\0\1\x08\1", "no IDX file.*offset 1"),
        (b"\0\0\x08", "no IDX file"),
        (b"\0\0\x0a\1\0\0\0\1x", "unknown type 0x0a at offset 2; known: 0x08, 0x09"),
        (b"\0\0\x08\0x", "0 axes at offset 3; expected 1 to 7"),
        (b"\0\0\x08\xff" + bytes(2000), "255 axes at offset 3"),
        (b"\0\0\x08\3\0\0\0\1\0\0", "cut short at offset 10: 3 sizes end at offset 16"),
        (b"\0\0\x08\1\0\0\0\3ab", r"claims 11 bytes for uint8 .*\(3,\), the file holds 10: cut short at offset 10"),
        (b"\0\0\x08\1\0\0\0\3abcd", "bytes too many at offset 11"),
        (b"\0\0\x0e\2\xff\xff\xff\xff\xff\xff\xff\xff", "claims 147573952520956936212 bytes.*holds 12"),
        (b"\0\0\x08\7" + b"\xff" * 24 + bytes(4), "no array of shape"),
    ],
)
def test_what_is_wrong_is_told_with_its_offset(tmp_path: Path, raw: bytes, message: str) -> None:
    for data in (raw, gzip.compress(raw)):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(FormatError, match=message if data is raw else "a: "):
            read_idx(tmp_path / "a")


def test_a_packed_file_is_read_to_its_end(tmp_path: Path) -> None:
    whole = written(tmp_path / "a", np.arange(200, dtype="u1"), pack=True).read_bytes()
    for raw, message in (
        (whole[:-9], "the gzip stream is cut short, at offset"),
        (whole + b"x", f"goes on after its end, at offset {len(whole)}"),
        (whole[:-6] + b"abcdef", "the gzip stream is damaged"),
        (whole[:4], "no IDX file|damaged|cut short"),
    ):
        (tmp_path / "a").write_bytes(raw)
        with pytest.raises(FormatError, match=message):
            read_idx(tmp_path / "a")


def test_claims_take_no_memory(tmp_path: Path) -> None:
    bomb = written(tmp_path / "a", np.zeros(1 << 22, "u1"), sizes=(1 << 31,), pack=True)
    plain = written(tmp_path / "b", np.zeros(3, "u1"), sizes=(1 << 31, 1 << 31))
    few = written(tmp_path / "c", np.zeros(1 << 22, "u1"), sizes=(7,), pack=True)
    tracemalloc.start()
    try:
        for path, message in ((bomb, "claims 2147483656 bytes"), (plain, "the file holds 15"), (few, "bytes too many")):
            with pytest.raises(FormatError, match=message):
                read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_fashion_mnist_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "FASHION_MNIST", tmp_path)
    with pytest.raises(ArgumentError, match="apt install dataset-fashion-mnist"):
        load_fashion_mnist()
    images, labels = np.random.RandomState(0).randint(0, 256, (4, 5, 6)).astype("u1"), np.array([3, 1, 9, 0], "u1")
    for part in ("train", "t10k"):
        written(tmp_path / f"{part}-images-idx3-ubyte.gz", images, pack=True)
        written(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    for found in (load_fashion_mnist(), load_fashion_mnist(str(tmp_path))):
        assert np.array_equal(found.x_train, images) and np.array_equal(found.x_test, images)
        assert found.y_train.tolist() == [3, 1, 9, 0] and found.y_test.dtype == np.int64
    written(tmp_path / "t10k-labels-idx1-ubyte", labels[:3])
    with pytest.raises(FormatError, match="t10k has images of shape"):
        load_fashion_mnist(tmp_path)
    written(tmp_path / "t10k-labels-idx1-ubyte", labels.astype("f4"), 13)
    with pytest.raises(FormatError, match="t10k has images of uint8 and labels of float32, not bytes"):
        load_fashion_mnist(tmp_path)
