"""What a run was made of, as text: so that a resumed fit can say which setting is another one.

Design: each setting has a key and a text of its own. Rejected: one digest of all, which can only say "something".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..data.decoded import Decoded
from ..errors import ArgumentError
from ..ir import Array
from ..nn.module import Module
from ..values import Value
from .inputs import Data
from .sources import Source

ROWS, BYTES = 1000, 1 << 18  # at most so much of an array is looked at, in rows spread evenly


def model_text(model: Module) -> str:
    """Names and shapes of the arrays, and their dtype."""
    store = model.store()
    arrays = [f"{k} {p.shape}" for k, p in (*store.parameters.items(), *store.state.items())]
    return f"{store.dtype}: {', '.join(arrays)}"


def data_text(data: Data | None) -> str:
    """Shapes, dtypes and a digest of some rows of every array."""
    return "none" if data is None else "; ".join(_array_text(a) for a in data.arrays)


def source_text(source: Source) -> str:
    return "chunks" if source.data is None else data_text(source.data)


def _array_text(a: Array | Decoded) -> str:
    if isinstance(a, Decoded):
        some = [a.items[int(i)] for i in np.linspace(0, len(a) - 1, min(len(a), ROWS))]
        names = [repr(item) for item in some if isinstance(item, str | bytes | int | float | os.PathLike)]
        return f"decoded {a.dtype} {a.shape} {_digest(np.array(names))}"
    n = min(ROWS, max(BYTES * len(a) // max(a.nbytes, 1), 16))
    rows = a if len(a) <= n else a[np.linspace(0, len(a) - 1, n).astype(int)]
    return f"{a.dtype} {a.shape} {_digest(rows)}"


def _digest(a: Array) -> str:
    import hashlib  # slow to import

    return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()[:16]


def value_text(value: Any) -> str:
    """A setting by its content; a function by its name."""
    if isinstance(value, np.ndarray):
        return f"array({value.dtype} {value.shape} {_digest(value)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {value_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(value_text, value)) + ")"
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return repr(value)
    if not isinstance(value, Value) and callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    settings = [f"{k}={value_text(v)}" for k, v in vars(value).items() if not k.startswith("_")]
    return f"{type(value).__qualname__}({', '.join(settings)})"


def check_same(saved: Mapping[str, str], now: Mapping[str, str], ignore: Sequence[str] = ()) -> None:
    """Raises ArgumentError for the first setting that is another one."""
    for key, text in saved.items():
        if key in now and key not in ignore and now[key] != text:
            raise ArgumentError(
                f"resume: {key} is not that of the run that was saved: there {text:.200}, here {now[key]:.200}. "
                "A resumed fit is the same call gone on with"
            )
