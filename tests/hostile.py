"""Values that nobody means to pass, by name, for tests of what happens then."""

from typing import Any

import numpy as np

RNG = np.random.default_rng(1)
X = RNG.normal(size=(20, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 20)
Y = RNG.normal(size=(20, 3)).astype(np.float32)


class Claims:
    """Says that it is an array, and is none."""

    def __init__(self, what: Any):
        self.what = what

    @property
    def __array_interface__(self) -> Any:
        return self.what

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.what


class Raises:
    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise KeyError("from __array__")


def deep(n: int) -> Any:
    value: Any = 1.0
    for _ in range(n):
        value = [value]
    return value


HOSTILE: dict[str, Any] = {
    "0": 0,
    "-1": -1,
    "2**63": 2**63,
    "2**64": 2**64,
    "-2**63": -(2**63),
    "2**1000": 2**1000,
    "1e308": 1e308,
    "nan": float("nan"),
    "inf": float("inf"),
    "True": True,
    "None": None,
    "Ellipsis": ...,
    "text": "x",
    "empty text": "",
    "bytes": b"x" * 9,
    "nul": "\0",
    "surrogate": "\ud800",
    "complex": 1j,
    "()": (),
    "[]": [],
    "{}": {},
    "[[]]": [[]],
    "set": {1, 2},
    "range": range(20),
    "type": int,
    "function": len,
    "module": np,
    "object": object(),
    "slice": slice(3),
    "generator": (i for i in range(3)),
    "ragged": [[1], [1, 2]],
    "deep list": deep(40),
    "deeper list": deep(300),
    "mixed": [1, "a"],
    "list of None": [None] * 20,
    "nested tuple": ((1, 2), (3, 4)),
    "raises": Raises(),
    "claims text": Claims("x"),
    "claims None": Claims(None),
    "claims a dict": Claims({"shape": (2**62,)}),
    "0-d": np.array(3.0),
    "0-d object": np.array(None),
    "8-d": np.zeros((1,) * 8),
    "32-d": np.zeros((1,) * 32),
    "64-d": np.zeros((1,) * 64),
    "empty": np.zeros((0,)),
    "no rows": np.zeros((0, 4)),
    "no columns": np.zeros((20, 0)),
    "neither": np.zeros((0, 0)),
    "rows of nothing": np.zeros((2**40, 0)),
    "nothing of columns": np.zeros((0, 2**40)),
    "huge by strides": np.broadcast_to(np.float32(1), (4, 2**40)),
    "int8": np.full((20, 4), -128, np.int8),
    "uint64": np.full((20, 4), 2**64 - 1, np.uint64),
    "int64": np.full((20, 4), -(2**63), np.int64),
    "float16": np.full((20, 4), 65504, np.float16),
    "longdouble": np.full((20, 4), 1.5, np.longdouble),
    "huge longdouble": np.full((20, 4), np.longdouble("1e4900")),
    "subnormal": np.full((20, 4), 5e-324),
    "1e300": np.full((20, 4), 1e300),
    "float32 max": np.full((20, 4), 3.4e38),
    "byteswapped": X.astype(">f8"),
    "byteswapped labels": LABELS.astype(">i4"),
    "clongdouble": X.astype(np.clongdouble),
    "masked": np.ma.masked_array(X, X > 0),
    "recarray": X.view(np.recarray),
    "void": np.zeros((20, 4), "V8"),
    "fields": np.zeros(20, [("a", "f4"), ("b", "i4")]),
    "dates": np.zeros(20, "M8[ns]"),
    "strings": np.full((20, 4), "1.5"),
    "new strings": np.full((20, 4), "1.5", np.dtypes.StringDType()),
    "objects": X.astype(object),
    "object of arrays": np.array([np.zeros(2), None], object),
    "bools": X > 0,
    "read-only": np.broadcast_to(np.float32(2), (20, 4)),
    "negative strides": X[::-1, ::-1],
    "zero strides": np.broadcast_to(X[0], (20, 4)),
    "unaligned": np.zeros(20 * 4 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(20, 4),
    "overlapping": np.lib.stride_tricks.as_strided(X, (20, 4), (4, 4)),
    "scalar": np.float32(3),
    "memoryview": memoryview(X[0].copy()),
    "labels": LABELS,
    "right x": X,
    "right y": Y,
}
