"""Damaged files of every kind that hawfinch reads, from a seed: each loads, or raises an error that its reader names.

    python tests/fuzz_files.py --cases 100000 --seed 1 [KIND ...]

A case takes one valid file, damages it in one to four places and hands it to its reader. What gets past the reader's
own errors, or takes more memory than ``MOST`` bytes, is printed with its seed. ``tests/data/test_damage.py`` runs a few
thousand cases of each kind.
"""

import argparse
import gzip
import io
import sys
import tempfile
import traceback
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

import hawfinch as hf
from hawfinch.errors import DTypeError, FormatError, HawfinchError, HawfinchWarning, ShapeError
from hawfinch.files import safetensors

MOST = 1 << 25
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)
DIGITS = (b"0", b"-1", b"1e9", b"1000000000", b"9223372036854775807", b"99999999999999999999", b"nan", b"0x10", b"True")


def damaged(rng: Random, data: bytes) -> bytes:
    """data, damaged in one to four places."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(raw) + 1) if rng.random() < 0.5 else rng.randrange(min(len(raw), 160) + 1)
        end = min(len(raw), at + rng.choice((1, 1, 2, 4, 8, 60)))
        kind = rng.randrange(9)
        if kind == 0 and at < len(raw):
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            raw[at:end] = rng.randbytes(end - at)
        elif kind == 2:
            del raw[at:end]
        elif kind == 3:
            del raw[at:]
        elif kind == 4:
            raw[at:at] = raw[at:end] * rng.choice((1, 2, 50))
        elif kind == 5:
            width = rng.choice((1, 2, 4, 8))
            raw[at : at + width] = (rng.choice(NUMBERS) % 256**width).to_bytes(width, rng.choice(("little", "big")))
        elif kind == 6:
            raw[at:at] = rng.choice(
                (b"'", b'"', b"(", b")", b"{", b"\\", b"\0", b"\n", b",", b"\xff", b"#", b"[" * 300)
            )
        elif kind == 7:
            places = [i for i in range(min(len(raw), 4000)) if 48 <= raw[i] <= 57]
            if places:
                i = rng.choice(places)
                raw[i : i + 1] = rng.choice(DIGITS)
        else:
            to = rng.randrange(len(raw) + 1)
            raw[to : to + end - at] = raw[at:end]
    return bytes(raw)


@dataclass
class Kind:
    """Valid files, how one is read, and what its reader may raise."""

    suffix: str
    files: list[bytes]
    read: Callable[[Path], object]
    errors: tuple[type[HawfinchError], ...]
    damage: Callable[[Random, bytes], bytes] = damaged


def _table_files(suffix: str) -> list[bytes]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), np.tile([0, 1, 2], 4)
    words = np.array(["red", "green", "blue"] * 4)
    fields = np.array(list(zip(y, x[:, 0], words, strict=True)), [("a", "<i4"), ("b", ">f8"), ("c", "<U5")])
    if suffix == ".csv":
        head, rows = "size,colour,when,y", zip(x[:, 0], words, y, strict=True)
        text = "\n".join([head, *(f'{a:.4f},"{b}",2024-01-{10 + c},{c}' for a, b, c in rows)])
        return [text.encode(), text.replace(",", ";").encode("utf-8-sig"), text.replace("\n", "\r\n").encode()]
    files = []
    if suffix == ".npy":
        for array in (x, np.asfortranarray(x), x.astype("<f2"), fields, x > 0, (100 * x).astype(">i2"), words[:, None]):
            stream = io.BytesIO()
            np.save(stream, array)
            files.append(stream.getvalue())
        return files
    for save in (np.savez, np.savez_compressed):
        for arrays in ({"x": x, "y": y}, {"size": x[:, 0], "colour": words, "ok": y == 1}):
            stream = io.BytesIO()
            save(stream, **arrays)
            files.append(stream.getvalue())
    return files


def _read_table(path: Path) -> None:
    table = hf.data.read_table(path)
    repr(table)
    try:
        encoder = hf.data.TableEncoder().fit(table, -1)
        encoder.transform(table)
        encoder.decode_target(table)
    except HawfinchError:
        pass  # a table, and not one to learn from: said in an error of ours


def _idx_files() -> list[bytes]:
    files = []
    for code, dtype in ((8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")):
        values = np.arange(24).reshape(4, 3, 2)[:, :, : 2 - code % 2].astype(dtype)
        sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
        files.append(bytes([0, 0, code, values.ndim]) + sizes + values.tobytes())
    return [*files, *map(gzip.compress, files[:3])]


def _model_files() -> list[bytes]:
    block = hf.Sequential(hf.Linear(4), hf.BatchNorm(), "relu", hf.Sequential(hf.Linear(2, init="zeros")))
    shared = hf.Linear(3, bias=False)
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for model in (block, hf.Sequential(hf.Flatten(), shared, hf.Dropout(0.5), shared)):
            model.build((3,), seed=0).save(f"{folder}/net")
            files.append(Path(folder, "net").read_bytes())
    return files


def _false_claims(rng: Random, data: bytes) -> bytes:
    """A net whose description of itself is damaged, with checksums that fit."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net")
        path.write_bytes(data)
        tensors, metadata = safetensors.load_file(path)
        for key in rng.sample(sorted(metadata), rng.choice((1, 1, 2))):
            metadata[key] = damaged(rng, metadata[key].encode()).decode("utf-8", "replace")
        safetensors.save_file(path, tensors, metadata)
        return path.read_bytes()


def _read_model(path: Path) -> None:
    model = hf.load(path)
    repr(model)
    try:
        model.predict(np.zeros((2, *model.inputs[0].shape[1:]), np.float32))
    except HawfinchError:
        pass


TABLE_ERRORS = (FormatError, ShapeError, DTypeError)
KINDS = {
    **{kind: Kind(f".{kind}", _table_files(f".{kind}"), _read_table, TABLE_ERRORS) for kind in ("npy", "npz", "csv")},
    "idx": Kind("", _idx_files(), hf.data.read_idx, (FormatError,)),
    "safetensors": Kind(".safetensors", _model_files(), safetensors.load_file, (FormatError,)),
    "model": Kind(".safetensors", _model_files(), _read_model, (FormatError,), _false_claims),
}


def run(kind: str, seeds: Iterator[int] | range, folder: Path) -> list[str]:
    """What got past the reader's errors, one text per case; the seed alone says what the case is."""
    found, case = [], KINDS[kind]
    path = folder / f"case{case.suffix}"
    tracemalloc.start()
    try:
        for seed in seeds:
            rng = Random(seed)
            path.write_bytes(case.damage(rng, rng.choice(case.files)))
            tracemalloc.reset_peak()
            before, problem = tracemalloc.get_traced_memory()[0], ""
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    warnings.simplefilter("ignore", HawfinchWarning)
                    case.read(path)
            except case.errors:
                pass
            except Exception as error:
                problem = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}"
            taken = tracemalloc.get_traced_memory()[1] - before
            if taken > MOST:
                problem += f"{taken} bytes taken for a file of {path.stat().st_size}"
            if problem:
                found.append(f"{kind}, seed {seed}: {problem}")
    finally:
        tracemalloc.stop()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--cases", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    args = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.kinds:
            found = run(kind, range(args.seed, args.seed + args.cases), Path(folder))
            print(*found[:10], f"{kind}: {args.cases} damaged files, {len(found)} got past the reader", sep="\n")
            bad += len(found)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
