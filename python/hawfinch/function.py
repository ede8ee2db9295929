"""The road for plain functions on arrays: ``compile``, ``value_and_grad``, and single ops run at once.

Each set of input shapes and dtypes is traced once and kept in a bounded cache.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _core
from .compiler.autodiff import gradients
from .compiler.group import fuse
from .compiler.memory import Dynamic, Place, base_of
from .compiler.rewrite import rewrite
from .errors import ArgumentError, DTypeError, LabelError, ShapeError
from .ir import (
    CONST,
    INPUT,
    SCALAR,
    Array,
    Graph,
    Op,
    Tensor,
    apply,
    as_tensor,
    current_graph,
    input_tensor,
    set_run_now,
    size_at,
    tracing,
)
from .ops.elementwise import COPY
from .ops.shape import RESHAPE, TRANSPOSE
from .runtime.plan import Plan

CACHE_SIZE = 64  # plans per function
MAX_THREADS = 16  # most threads that a plan can be asked to use


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """Leaves of nested dicts, lists and tuples, and a template to put them back with ``unflatten``."""
    if isinstance(tree, dict):
        parts = [(k, flatten(v)) for k, v in tree.items()]
        return [x for _, (xs, _) in parts for x in xs], ("dict", tuple((k, t) for k, (_, t) in parts))
    if isinstance(tree, list | tuple):
        flat = [flatten(v) for v in tree]
        return [x for xs, _ in flat for x in xs], (type(tree).__name__, tuple(t for _, t in flat))
    return [tree], "leaf"


def unflatten(template: Any, leaves: Any) -> Any:
    if template == "leaf":
        return next(leaves)
    kind, parts = template
    if kind == "dict":
        return {k: unflatten(t, leaves) for k, t in parts}
    items = [unflatten(t, leaves) for t in parts]
    return items if kind == "list" else tuple(items)


def as_input(value: Any, name: str) -> Array:
    """An array of numbers as it can go into a plan: float32, float64 or int64, native byte order."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name}: not a regular array of numbers ({error})") from None
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise DTypeError(f"{name}: dtype {array.dtype} is not supported; expected real numbers (float, int or bool)")
    if array.dtype.kind == "f":
        return array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64, copy=False)
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32, copy=False)


def fresh(graph: Graph, outputs: Sequence[Tensor]) -> list[Tensor]:
    """The same values, each in memory of its own: leaves, and second views of the same tensor, are copied."""
    seen: set[int] = set()
    out = []
    with tracing(graph):
        for t in outputs:
            while (base := base_of(t)).node.op.is_leaf or id(base) in seen:  # equal copies are one node: copy the copy
                t = (
                    apply(TRANSPOSE, t, axes=tuple(range(t.ndim)))
                    if t.dtype == "int"
                    else apply(COPY, t, shape=t.shape)
                )
            seen.add(id(base_of(t)))
            out.append(t)
    return out


class _Compiled:
    """One traced shape of a function: a pool of plans, one for each caller at work."""

    def __init__(self, fn: Callable[..., Any], args: Sequence[Array], template: Any):
        graph = Graph()
        with tracing(graph):
            symbols = [
                input_tensor(graph, str(i), a.shape, "int" if a.dtype.kind == "i" else "real")
                for i, a in enumerate(args)
            ]
            result = fn(*unflatten(template, iter(symbols)))
            leaves, self.template = flatten(result)
            outputs = [as_tensor(graph, t) for t in leaves]
        self.echo = {
            i: int(t.node.attrs["name"]) for i, t in enumerate(outputs) if t.node.op is INPUT and t.dtype == "int"
        }
        kept = [i for i in range(len(outputs)) if i not in self.echo]
        self.dtype = "float64" if any(a.dtype == np.float64 for a in args) else "float32"
        self.n_in, self.n_out = len(args), len(outputs)
        wanted = fresh(graph, [outputs[i] for i in kept])
        self.graph, to = rewrite(graph, wanted)
        self.outputs = dict(zip(kept, [to[id(t)] for t in wanted], strict=True))
        self.meta = [(tuple(size_at(s, 1) for s in t.shape), t.dtype) for t in outputs]
        self.inputs = [(a.shape, "int" if a.dtype.kind == "i" else "real") for a in args]
        self.free: list[Plan] = []
        flat_args = template == ("tuple", ("leaf",) * len(args))
        flat_result = self.template in ("leaf", ("tuple", ("leaf",) * self.n_out))
        few = self.n_in + self.n_out <= _core.MOST_ARRAYS
        self.plain = (
            flat_args and flat_result and few and not self.echo and all(kind != "mask" for _, kind in self.meta)
        )
        self.quicks: dict[int | None, _core.Call] = {}

    def quick(self, threads: int | None) -> _core.Call | None:
        """The short way for calls like those before, where there is one."""
        if self.plain and self.free and threads not in self.quicks:
            real = np.dtype(self.dtype)
            every = [*self.inputs, *self.meta]
            arrays = tuple([np.empty(shape, np.int64 if kind == "int" else real) for shape, kind in every])
            team = self.free[-1].team(threads, 1)
            self.quicks[threads] = _core.Call(self.free, arrays, self.n_in, self.template != "leaf", team)
        return self.quicks.get(threads)

    def plan(self) -> Plan:
        places: dict[int, Place] = {}
        for node in self.graph.nodes:
            if node.op is INPUT:
                places[id(node.outputs[0])] = Dynamic(int(node.attrs["name"]))
            elif node.op is CONST:
                value = node.attrs["ref"].value
                kind = value.dtype if value.dtype == np.int64 else self.dtype
                places[id(node.outputs[0])] = (np.ascontiguousarray(value, dtype=kind), 0)
            elif node.op is SCALAR:
                places[id(node.outputs[0])] = (np.full(1, node.attrs["value"], self.dtype), 0)
        for i, t in self.outputs.items():
            places[id(base_of(t))] = Dynamic(self.n_in + i)
        steps = fuse(self.graph, list(self.outputs.values()))
        return Plan(
            steps,
            list(self.outputs.values()),
            places,
            dtype=self.dtype,
            capacity=1,
            max_threads=max(MAX_THREADS, _core.max_threads()),
        )

    def __call__(self, args: Sequence[Array], threads: int | None, out: Sequence[Array] | None = None) -> Any:
        real = np.dtype(self.dtype)
        arrays = [np.ascontiguousarray(a, dtype=a.dtype if a.dtype.kind == "i" else real) for a in args]
        for i, (shape, kind) in enumerate(self.meta):
            arrays.append(np.empty(shape, np.int64 if kind == "int" else real) if out is None else out[i])
            if i in self.echo:
                arrays[-1][...] = arrays[self.echo[i]]
        try:
            plan = self.free.pop()
        except IndexError:
            plan = self.plan()
        team = plan.team(threads, 1)
        status, _ = plan.core.run(tuple(arrays), threads=team)
        self.free.append(plan)
        if status == _core.BAD_INDEX:
            raise LabelError("an index is outside of the table that it reads, or a label outside [0, classes)")
        results = [
            a
            if out is not None
            else a[()]
            if a.ndim == 0 and kind != "mask"
            else a.astype(bool)[()]
            if kind == "mask"
            else a
            for a, (_, kind) in zip(arrays[self.n_in :], self.meta, strict=True)
        ]
        return unflatten(self.template, iter(results))


class Function:
    """What ``compile`` gives: call it with arrays, or look at its plan."""

    def __init__(self, fn: Callable[..., Any], threads: int | None = None):
        self.fn, self.threads = fn, threads
        self._cache: OrderedDict[Any, _Compiled] = OrderedDict()
        self._quick: tuple[int | None, _core.Call | None] = (None, None)  # the last call's threads and its short way
        self.__doc__, self.__name__ = fn.__doc__, getattr(fn, "__name__", "function")

    def _lookup(self, args: Sequence[Any]) -> tuple[_Compiled, list[Array]]:
        leaves, template = flatten(tuple(args))
        arrays = [as_input(v, f"argument {i}") for i, v in enumerate(leaves)]
        key = (template, tuple((a.shape, a.dtype.char) for a in arrays))
        compiled = self._cache.get(key)
        if compiled is None:
            compiled = self._cache[key] = _Compiled(self.fn, arrays, template)
            while len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
        return compiled, arrays

    def __call__(self, *args: Any, out: Array | tuple[Array, ...] | None = None, threads: int | None = None) -> Any:
        return self.run(args, out, threads)

    def run(self, args: tuple[Any, ...], out: Array | tuple[Array, ...] | None, threads: int | None) -> Any:
        """A call, its arguments by position: faster from Python."""
        threads = self.threads if threads is None else threads
        asked, quick = self._quick
        if quick is not None and asked is threads:  # not ==: True is no number of threads
            result = quick.run(args, out)
            if result is not None:
                return result
        compiled, arrays = self._lookup(args)
        outs: tuple[Array, ...] | None = None
        if out is not None:
            outs = out if isinstance(out, tuple) else (out,)
            if len(compiled.meta) != len(outs) or isinstance(out, tuple) != (compiled.template != "leaf"):
                given = f"a tuple of {len(outs)}" if isinstance(out, tuple) else "one array"
                raise ArgumentError(f"out must be like the result: {len(compiled.meta)} array(s); got {given}")
            for i, (a, (shape, kind)) in enumerate(zip(outs, compiled.meta, strict=True)):
                check_out(a, shape, "int64" if kind == "int" else compiled.dtype, [*arrays, *outs[:i]])
        result = compiled(arrays, threads, outs)
        self._quick = threads, compiled.quick(threads)
        return result

    def plan(self, *args: Any) -> Plan:
        """The plan for arguments of these shapes: see ``Plan.describe()`` and ``Plan.memory``."""
        compiled, _ = self._lookup(args)
        return compiled.plan()


def check_out(out: Array, shape: tuple[int, ...], dtype: str, others: Sequence[Array]) -> None:
    """``out`` must be a writable C-contiguous array of the result's shape and dtype that shares no memory with the
    inputs or another out."""
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        given = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ShapeError(f"out: expected a {dtype} array of shape {shape}, got {given}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ArgumentError("out must be writable and C-contiguous")
    if any(np.may_share_memory(out, a) for a in others):
        raise ArgumentError("out must not share memory with an input or another out")


def compile(fn: Callable[..., Any], *, threads: int | None = None) -> Function:
    """A function on NumPy arrays, traced once per input shape and run as one C call.

    fn takes arrays (or nested dicts, lists and tuples of them) and uses operators and ``hf.ops``; Python control flow
    is unrolled while tracing. float64 inputs give a float64 plan, anything else float32. threads: None chooses by cost.
    A call takes ``out=``, an array or a tuple of arrays like the result, to write there and give that back.

    >>> import numpy as np, hawfinch as hf
    >>> f = hf.compile(lambda x, w: hf.ops.relu(x @ w))
    >>> f(np.array([[1.0, 2.0]]), np.array([[1.0, -1.0], [1.0, -1.0]]))
    array([[3., 0.]])
    """
    return Function(fn, threads)


def value_and_grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, threads: int | None = None) -> Function:
    """A function that gives ``(fn(*args), gradients)``; fn must give a scalar.

    argnums: position(s) of the arguments to differentiate by. An int gives that argument's gradient, a sequence a
    tuple of them; a nested argument gives gradients nested in the same way. float64 inputs give a float64 plan.

    >>> import numpy as np, hawfinch as hf
    >>> f = hf.value_and_grad(lambda w, x: hf.ops.mean((x @ w) ** 2))
    >>> value, dw = f(np.array([1.0, 2.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> float(value), dw
    (2.5, array([1., 2.]))
    """
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)

    def both(*args: Any) -> Any:
        if any(not -len(args) <= n < len(args) for n in numbers):
            raise ArgumentError(f"argnums {argnums} is out of range for {len(args)} arguments")
        value = fn(*args)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"value_and_grad: the function gave {type(value).__name__}, expected a scalar of its inputs"
            )
        value = (
            value if value.shape == () else apply(RESHAPE, value, shape=()) if value.shape in ((1,), (1, 1)) else value
        )
        graph = current_graph()
        assert graph is not None
        results = []
        for n in numbers:
            leaves, template = flatten(args[n])
            if any(t.dtype == "int" for t in leaves):
                raise DTypeError(f"argument {n} holds integers: there is no gradient by it; pass floats")
            found = gradients(graph, value, leaves)
            zeros = [_zeros(t) if g is None else g for t, g in zip(leaves, found, strict=True)]
            results.append(unflatten(template, iter(zeros)))
        return value, results[0] if isinstance(argnums, int) else tuple(results)

    both.__doc__ = fn.__doc__
    return Function(both, threads)


def _zeros(t: Tensor) -> Tensor:
    return apply(COPY, 0.0, shape=t.shape)


_eager: OrderedDict[Any, Function] = OrderedDict()


def run_now(op: Op, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """One op on arrays, outside of any trace. Python numbers stay numbers."""
    numbers = tuple(v if isinstance(v, int | float) else None for v in inputs)
    arrays = [as_input(v, f"{op.name}: argument {i}") for i, v in enumerate(inputs) if not isinstance(v, int | float)]
    if not arrays:
        arrays, numbers = [np.asarray(v, np.float64) for v in inputs], (None,) * len(inputs)
    key = (op.name, repr(numbers), repr(attrs))  # repr: 0.0 and -0.0 are equal
    function = _eager.get(key)
    if function is None:

        def call(*tensors: Any) -> Any:
            rest = iter(tensors)
            return apply(op, *[next(rest) if n is None else n for n in numbers], **attrs)

        function = _eager[key] = Function(call)
        while len(_eager) > CACHE_SIZE:
            _eager.popitem(last=False)
    return function(*arrays)


set_run_now(run_now)
