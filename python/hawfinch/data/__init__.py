"""Data: the bundled digits, splits, scaling, tables and images from files. Readers are imported at first use."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

if _TYPE_CHECKING:
    from .augment import shift_images as shift_images
    from .decoded import Decoded as Decoded
    from .digits import load_digits as load_digits
    from .encoder import TableEncoder as TableEncoder
    from .idx import load_fashion_mnist as load_fashion_mnist, read_idx as read_idx
    from .scaling import StandardScaler as StandardScaler
    from .split import split_rows as split_rows, train_test_split as train_test_split
    from .table import Table as Table, read_table as read_table

_HOMES = {
    "shift_images": "augment",
    "Decoded": "decoded",
    "load_digits": "digits",
    "TableEncoder": "encoder",
    "load_fashion_mnist": "idx",
    "read_idx": "idx",
    "StandardScaler": "scaling",
    "split_rows": "split",
    "train_test_split": "split",
    "Table": "table",
    "read_table": "table",
}  # public name -> its module


def __getattr__(name: str) -> _Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hawfinch.data' has no attribute {name!r}")
    value = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(_HOMES)
