"""Every public op and kernel, and each function of functions, given every odd value in each argument: it works, or the
error is one of ours, that says what was wrong."""

import inspect
import warnings

import numpy as np
import pytest

import hawfinch as hf
from hawfinch import kernels
from hawfinch.errors import HawfinchError

O = hf.ops


class NoArray:
    def __array__(self, *args, **kwargs):
        raise RuntimeError("not today")


class OnlyAShape:
    shape = (3,)


ODD = {
    "None": None,
    "str": "abc",
    "bytes": b"x",
    "object": object(),
    "complex": 1j,
    "objects": np.array([None, 1], object),
    "ragged": [[1, 2], [3]],
    "huge": 10**400,
    "2**70": 2**70,
    "nan": float("nan"),
    "inf": float("inf"),
    "True": True,
    "np.True": np.array(True),
    "[]": [],
    "no rows": np.zeros((0, 3)),
    "seven axes": np.ones((1,) * 7),
    "module": hf.ops,
    "class": int,
    "function": len,
    "NoArray": NoArray(),
    "OnlyAShape": OnlyAShape(),
    "set": {1, 2},
    "dict": {"a": 1},
    "dates": np.array(["2020"], "datetime64[Y]"),
    "record": np.zeros(2, [("a", "f4")]),
    "float16": np.ones(3, np.float16),
    "longdouble": np.ones(3, np.longdouble),
    "big endian": np.ones(3, ">f8"),
    "-1": -1,
    "1.5": 1.5,
    "slice": slice(None),
    "slice of str": slice("a"),
    "...": ...,
    "np.int64": np.int64(1),
    "np.array(1)": np.array(1),
    "tuple": (1, 2),
    "list": [[1.0, 2.0], [3.0, 4.0]],
    "uint64": np.array([2**63], np.uint64),
    "masked": np.ma.array([1.0, 2.0], mask=[1, 0]),
    "out of range": np.array([2**62]),
    "negative": np.array([-1]),
    "vector": np.ones(3),
    "matrix": np.ones((2, 3)),
    "integers": np.arange(3),
}
X = np.ones((2, 3))
FITTING = {
    **dict.fromkeys(("x", "a", "b", "condition", "logits", "table", "dy"), X),
    **dict.fromkeys(("gamma", "beta"), np.ones(3)),
    **dict.fromkeys(("target", "labels", "index"), np.array([0, 1])),
    "w": np.ones((3, 2)),
    "bias": np.ones(2),
    "xs": [X, X],
    "shape": (2, 3),
    "widths": [(0, 1), (1, 0)],
    "key": 0,
}
PUBLIC = [(f"ops.{n}", f) for n in dir(O) if inspect.isfunction(f := getattr(O, n))]
PUBLIC += [(f"ops.random.{n}", getattr(O.random, n)) for n in ("uniform", "normal", "bernoulli")]
PUBLIC += [(f"kernels.{n}", getattr(kernels, n)) for n in kernels.__all__]


def works_or_says(call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except HawfinchError as error:
            assert len(str(error)) > 15


@pytest.mark.parametrize(("name", "f"), PUBLIC, ids=[n for n, _ in PUBLIC])
def test_every_argument(name, f):
    known = [p for p in inspect.signature(f).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    for odd in known:
        for value in ODD.values():
            args = [FITTING.get(p.name, p.default) for p in known if p.kind is not p.KEYWORD_ONLY and p is not odd]
            args.insert(known.index(odd), value) if odd.kind is not odd.KEYWORD_ONLY else None
            more = {odd.name: value} if odd.kind is odd.KEYWORD_ONLY else {}
            works_or_says(lambda args=args, more=more: f(*args, **more))
            if name.startswith("ops."):
                works_or_says(lambda args=args, more=more: hf.compile(lambda y: (f(*args, **more), y)[0])(1.0))


FUNCTIONS = {
    "reshape(*v)": lambda v: O.reshape(X, v),
    "reshape(2, v)": lambda v: O.reshape(X, 2, v),
    "tensor[v]": lambda v: hf.compile(lambda x: x[v])(X),
    "tensor[v, v]": lambda v: hf.compile(lambda x: x[v, v])(X),
    "tensor + v": lambda v: hf.compile(lambda x: x + v)(X),
    "v @ tensor": lambda v: hf.compile(lambda x: v @ x)(X),
    "tensor ** v": lambda v: hf.compile(lambda x: x**v)(X),
    "v / tensor": lambda v: hf.compile(lambda x: v / x)(X),
    "tensor > v": lambda v: hf.compile(lambda x: x > v)(X),
    "tensor.sum(v)": lambda v: hf.compile(lambda x: x.sum(v))(X),
    "tensor.reshape(v)": lambda v: hf.compile(lambda x: x.reshape(v))(X),
    "a function that gives v": lambda v: hf.compile(lambda x: v)(X),
    "compile(v)": hf.compile,
    "compile(f)(v)": lambda v: hf.compile(O.exp)(v),
    "compile(f)([v, x])": lambda v: hf.compile(lambda t: [O.exp(i) for i in t] if isinstance(t, list) else t)([v, X]),
    "threads": lambda v: hf.compile(O.exp, threads=v)(X),
    "threads of a call": lambda v: hf.compile(O.exp)(X, threads=v),
    "out": lambda v: hf.compile(O.exp)(X, out=v),
    "seed": lambda v: hf.compile(O.exp)(X, seed=v),
    "seed of random": lambda v: O.random.normal(3, seed=v),
    "grad(v)": hf.grad,
    "argnums": lambda v: hf.grad(O.sum, v)(X),
    "grad(f)(v)": lambda v: hf.grad(O.sum)(v),
    "gradient of v": lambda v: hf.value_and_grad(lambda x: v)(X),
    "value_and_grad(v)": hf.value_and_grad,
    "jvp of v": lambda v: hf.jvp(v, (X,), (X,)),
    "jvp at v": lambda v: hf.jvp(O.exp, (v,), (X,)),
    "primals": lambda v: hf.jvp(O.exp, v, (X,)),
    "tangents": lambda v: hf.jvp(O.exp, (X,), v),
    "jvp along v": lambda v: hf.jvp(O.exp, (X,), (v,)),
    "hvp of v": lambda v: hf.hvp(v, (X,), (X,)),
    "hvp at v": lambda v: hf.hvp(O.sum, (v,), (v,)),
    "hvp along v": lambda v: hf.hvp(O.sum, (X,), (v,)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    for what, value in ODD.items():
        if callable(value) and name in ("compile(v)", "grad(v)", "value_and_grad(v)", "jvp of v", "hvp of v"):
            continue  # Python's own functions of a traced value raise Python's own errors
        if name == "compile(f)([v, x])" and what == "[]":
            continue
        works_or_says(lambda value=value: FUNCTIONS[name](value))
