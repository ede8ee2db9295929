"""Wrong arguments of everything in hf.data: an error of hawfinch's, or a result, never a raw Python error."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import HOSTILE

from hawfinch import data
from hawfinch.errors import HawfinchError
from hawfinch.files import safetensors

X = np.arange(24.0).reshape(4, 6)
TABLE = data.Table("t.csv", ("a", "y"), (["1", "2", "3", "4"], ["x", "y", "x", "y"]), True, [2, 3, 4, 5])
ENCODER = data.TableEncoder().fit(TABLE, "y")
SCALER = data.StandardScaler().fit(X)

CALLS: dict[str, Callable[[Any, Path], Any]] = {
    "train_test_split": lambda v, _: data.train_test_split(v),
    "train_test_split, second array": lambda v, _: data.train_test_split(X, v),
    "train_test_split, test_size": lambda v, _: data.train_test_split(X, test_size=v),
    "train_test_split, seed": lambda v, _: data.train_test_split(X, seed=v),
    "train_test_split, stratify": lambda v, _: data.train_test_split(X, stratify=v),
    "split_rows": lambda v, _: data.split_rows(v) if not isinstance(v, int) or v < 2**31 else None,
    "StandardScaler.fit": lambda v, _: data.StandardScaler().fit(v),
    "StandardScaler.transform": lambda v, _: SCALER.transform(v),
    "StandardScaler.inverse": lambda v, _: SCALER.inverse(v),
    "StandardScaler.from_dict": lambda v, _: data.StandardScaler.from_dict(v),
    "StandardScaler.from_dict, values": lambda v, _: data.StandardScaler.from_dict({"mean": v, "scale": v}),
    "shift_images": lambda v, _: data.shift_images(v),
    "shift_images, amount": lambda v, _: data.shift_images(X[None], v),
    "shift_images, seed": lambda v, _: data.shift_images(X[None], seed=v),
    "read_table": lambda v, _: data.read_table(v),
    "read_table, delimiter": lambda v, path: data.read_table(path, delimiter=v),
    "read_table, header": lambda v, path: data.read_table(path, header=v),
    "read_idx": lambda v, _: data.read_idx(v),
    "load_fashion_mnist": lambda v, _: data.load_fashion_mnist(v) if v is not None else None,
    "Table.find": lambda v, _: TABLE.find(v),
    "TableEncoder.fit": lambda v, _: data.TableEncoder().fit(v, "y"),
    "TableEncoder.fit, target": lambda v, _: data.TableEncoder().fit(TABLE, v),
    "TableEncoder.fit, task": lambda v, _: data.TableEncoder().fit(TABLE, "y", task=v),
    "TableEncoder.fit, rows": lambda v, _: data.TableEncoder().fit(TABLE, "y", rows=v),
    "TableEncoder.fit, ignore": lambda v, _: data.TableEncoder().fit(TABLE, "y", ignore=v),
    "TableEncoder.fit, categorical": lambda v, _: data.TableEncoder().fit(TABLE, "y", categorical=v),
    "TableEncoder.transform": lambda v, _: ENCODER.transform(v),
    "TableEncoder.transform_target": lambda v, _: ENCODER.transform_target(v),
    "TableEncoder.decode": lambda v, _: ENCODER.decode(v),
    "TableEncoder.decode_target": lambda v, _: ENCODER.decode_target(v),
    "TableEncoder.from_dict": lambda v, _: data.TableEncoder.from_dict(v),
    "load_file": lambda v, _: safetensors.load_file(v),
}


@pytest.mark.parametrize("call", CALLS)
def test_hostile_values(call: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,x\n2,y\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, value in HOSTILE.items():
            try:
                CALLS[call](value, tmp_path / "t.csv")
            except HawfinchError as error:
                assert str(error), name
            except OSError:
                assert call in ("read_table", "load_file", "read_idx") and isinstance(value, str | bytes), name
            except MemoryError:  # the value is as large as that
                assert name in ("huge by strides", "rows of nothing"), name
            except KeyError as error:
                assert error.args == ("from __array__",)  # what the value itself raises


def test_options_that_are_easily_meant_otherwise() -> None:
    with pytest.raises(HawfinchError, match="ignore must be a list of columns, by name or number, not 'a'"):
        data.TableEncoder().fit(TABLE, "y", ignore="a")
    with pytest.raises(HawfinchError, match="rows must be from 0 to 3, not 1 to 4"):
        data.TableEncoder().fit(TABLE, "y", rows=np.array([1, 4]))
    with pytest.raises(HawfinchError, match=r"table must be a Table, such as hf\.data\.read_table gives, not 't\.csv'"):
        data.TableEncoder().fit("t.csv", "y")  # type: ignore[arg-type]
    with pytest.raises(HawfinchError, match="seed must be a whole number from 0, not -1"):
        data.shift_images(X[None], seed=-1)
    with pytest.raises(HawfinchError, match=r"amount must be a number from 0 to below 4.*not 'a'"):
        data.shift_images(X[None], "a")  # type: ignore[arg-type]
    with pytest.raises(HawfinchError, match="masked arrays are not supported"):
        data.StandardScaler().fit(np.ma.masked_less(X, 3))
