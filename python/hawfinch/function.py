"""The road for plain functions on arrays: ``compile``, ``value_and_grad``, and single ops run at once.

Each set of input shapes and dtypes is traced once and kept in a bounded cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import _core
from .compiler.autodiff import gradients, pull
from .compiler.group import fuse
from .compiler.memory import Dynamic, Place, base_of
from .compiler.rewrite import fresh, rewrite
from .errors import ArgumentError, DTypeError, HawfinchWarning, LabelError, NotBuiltError, ShapeError, TraceError, warn
from .ir import (
    CONST,
    INPUT,
    PARAM,
    SCALAR,
    STATE,
    Array,
    Graph,
    Op,
    Tensor,
    apply,
    as_array,
    as_number,
    as_tensor,
    current_graph,
    input_tensor,
    operand,
    set_run_now,
    size_at,
    tracing,
)
from .ops.elementwise import ARGUMENT, COPY, is_whole, items
from .ops.random import check_seed
from .ops.shape import RESHAPE, to_real
from .runtime.cache import PlanCache
from .runtime.plan import Plan
from .values import content

RECORDS_BYTES = 1 << 18  # of a trace and its records, beside the memory that they work on
MAX_THREADS = 16  # most threads that a plan can be asked to use


def flatten(tree: Any, *, lists: bool = False) -> tuple[list[Any], Any]:
    """Leaves of nested dicts, lists and tuples, and a template to put them back with ``unflatten``.

    lists: a list that holds nothing but numbers, and lists of them, is an array: one leaf.
    """
    if isinstance(tree, dict):
        parts = [(k, flatten(v, lists=lists)) for k, v in tree.items()]
        return [x for _, (xs, _) in parts for x in xs], ("dict", tuple([(k, t) for k, (_, t) in parts]))
    if isinstance(tree, list | tuple) and not (lists and isinstance(tree, list) and tree and _of_numbers(tree)):
        flat = [flatten(v, lists=lists) for v in tree]
        return [x for xs, _ in flat for x in xs], (type(tree).__name__, tuple([t for _, t in flat]))
    return [tree], "leaf"


def _of_numbers(items: list[Any]) -> bool:
    return all([isinstance(v, int | float | np.generic) or (isinstance(v, list) and _of_numbers(v)) for v in items])


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
    array = as_array(value, name)
    if array.dtype.kind == "f":
        return array.astype(np.float32 if array.dtype.itemsize <= 4 else np.float64, copy=False)
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32, copy=False)


class _Compiled:
    """One traced shape of a function: a pool of plans, one for each caller at work."""

    def __init__(self, fn: Callable[..., Any], args: Sequence[Array], template: Any):
        graph = Graph()
        with tracing(graph):
            symbols = [
                input_tensor(graph, str(i), a.shape, "int" if a.dtype.kind == "i" else "real")
                for i, a in enumerate(args)
            ]
            try:
                result = fn(*unflatten(template, iter(symbols)))
            except RecursionError:
                raise ArgumentError("the function calls itself without end, or calls are nested too deeply") from None
            leaves, self.template = flatten(result)
            outputs = [as_tensor(graph, t) for t in leaves]
            for t in outputs:
                graph.check_own(t)
        self.bound = _arrays_of_models(graph)
        self.watches = tuple(graph.watches)
        self.echo = {
            i: int(t.node.attrs["name"]) for i, t in enumerate(outputs) if t.node.op is INPUT and t.dtype == "int"
        }
        kept = [i for i in range(len(outputs)) if i not in self.echo]
        self.dtype = "float64" if any(a.dtype == np.float64 for a in args) else "float32"
        if self.bound:
            self.dtype = self.bound[0][1].dtype.name
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

    def is_current(self) -> bool:
        """Whether the models that it calls are as they were."""
        return all([held.data is array for held, array in self.bound]) and all([w.unchanged() for w in self.watches])

    @property
    def nbytes(self) -> int:
        return RECORDS_BYTES + sum([plan.nbytes for plan in self.free])

    def quick(self, threads: int | None) -> _core.Call | None:
        """The short way for calls like those before, where there is one."""
        if self.plain and self.free and threads not in self.quicks:
            real = np.dtype(self.dtype)
            every = [*self.inputs, *self.meta]
            arrays = tuple([np.empty(shape, np.int64 if kind == "int" else real) for shape, kind in every])
            team = self.free[-1].team(threads, 1)
            self.quicks[threads] = _core.Call(self.free, arrays, self.n_in, self.template != "leaf", team, self.watches)
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
            elif node.op is PARAM or node.op is STATE:
                places[id(node.outputs[0])] = (node.attrs["ref"].value.data, 0)
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

    def __call__(
        self, args: Sequence[Array], threads: int | None, out: Sequence[Array] | None = None, seed: int = 0
    ) -> Any:
        real = np.dtype(self.dtype)
        arrays = [np.ascontiguousarray(a, dtype=a.dtype if a.dtype.kind == "i" else real) for a in args]
        arrays = [a if a.flags.aligned else a.copy() for a in arrays]
        for i, (shape, kind) in enumerate(self.meta):
            arrays.append(np.empty(shape, np.int64 if kind == "int" else real) if out is None else out[i])
            if i in self.echo:
                arrays[-1][...] = arrays[self.echo[i]]
        try:
            plan = self.free.pop()
        except IndexError:
            plan = self.plan()
        team = plan.team(threads, 1)
        status, _ = plan.core.run(tuple(arrays), threads=team, seed=seed)
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


def _arrays_of_models(graph: Graph) -> list[tuple[Any, Array]]:
    """The arrays of built models that were called in the trace, each with the memory in which it is now."""
    found = []
    for node in graph.nodes:
        if node.op is PARAM or node.op is STATE:
            held = node.attrs["ref"].value
            if held.data is None:
                raise NotBuiltError(
                    f"a model that is not built was called in a compiled function: its array {held.name!r} has no "
                    "values yet; call its build(input_shape), fit or predict first"
                )
            found.append((held, held.data))
    if len({array.dtype for _, array in found}) > 1:
        raise DTypeError("a compiled function can't call float32 and float64 models at once; see Module.astype")
    return found


class Function:
    """What ``compile`` gives: call it with arrays, or look at its plan. Within another trace it is a part of that."""

    def __init__(self, fn: Callable[..., Any], threads: int | None = None, *, nested: bool = True):
        """nested: an argument may be a dict, list or tuple of arrays; else each is one array."""
        self.fn, self.threads, self.nested = fn, threads, nested
        self._cache: PlanCache[_Compiled] = PlanCache(lambda compiled: compiled.nbytes)
        self._quick: tuple[int | None, _core.Call | None] = (None, None)  # the last call's threads and its short way
        self.__doc__, self.__name__ = fn.__doc__, getattr(fn, "__name__", "function")

    @property
    def nbytes(self) -> int:
        """What the plans for all shapes that are kept hold."""
        return sum([compiled.nbytes for compiled in self._cache.values()])

    def _leaves(self, args: tuple[Any, ...]) -> tuple[Sequence[Any], Any]:
        return flatten(args, lists=True) if self.nested else (args, ("tuple", ("leaf",) * len(args)))

    def _lookup(self, args: tuple[Any, ...]) -> tuple[_Compiled, list[Array]]:
        leaves, template = self._leaves(args)
        arrays = [as_input(v, f"argument {i}") for i, v in enumerate(leaves)]
        key = (template, tuple([(a.shape, a.dtype.char) for a in arrays]))
        compiled = self._cache.get(key)
        if compiled is None or not compiled.is_current():
            compiled = self._cache.put(key, _Compiled(self.fn, arrays, template))
        return compiled, arrays

    def __call__(
        self, *args: Any, out: Array | tuple[Array, ...] | None = None, threads: int | None = None, seed: int = 0
    ) -> Any:
        return self.run(args, out, threads, seed)

    def run(
        self, args: tuple[Any, ...], out: Array | tuple[Array, ...] | None, threads: int | None, seed: int = 0
    ) -> Any:
        """A call, its arguments by position: faster from Python."""
        threads = self.threads if threads is None else threads
        asked, quick = self._quick
        # not ==: True is no number of threads, an array no seed
        if quick is not None and asked is threads and type(seed) is int and seed == 0:
            result = quick.run(args, out)
            if result is not None:
                return result
        graph = current_graph()
        if graph is not None:
            return self._inside(graph, args, out)
        compiled, arrays = self._lookup(args)
        outs: tuple[Array, ...] | None = None
        if out is not None:
            outs = out if isinstance(out, tuple) else (out,)
            if len(compiled.meta) != len(outs) or isinstance(out, tuple) != (compiled.template != "leaf"):
                given = f"a tuple of {len(outs)}" if isinstance(out, tuple) else "one array"
                raise ArgumentError(f"out must be like the result: {len(compiled.meta)} array(s); got {given}")
            for i, (a, (shape, kind)) in enumerate(zip(outs, compiled.meta, strict=True)):
                check_out(a, shape, "int64" if kind == "int" else compiled.dtype, [*arrays, *outs[:i]])
        result = compiled(arrays, threads, outs, check_seed(seed))
        self._quick = threads, compiled.quick(threads)
        return result

    def _inside(self, graph: Graph, args: tuple[Any, ...], out: Any) -> Any:
        """A call in the trace of another function: more of that trace.

        Each argument is a tensor of its own, so that a gradient by it does not see what else its value is used for.
        """
        if out is not None:
            raise ArgumentError("out= has no meaning inside of another function's trace")
        leaves, template = self._leaves(args)
        own = [apply(ARGUMENT, as_tensor(graph, v), number=len(graph.nodes)) for v in leaves]
        return self.fn(*unflatten(template, iter(own)))

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
    if not out.flags.carray:
        raise ArgumentError("out must be writable, aligned and C-contiguous")
    if any(np.may_share_memory(out, a) for a in others):
        raise ArgumentError("out must not share memory with an input or another out")


def compile(fn: Callable[..., Any], *, threads: int | None = None) -> Function:
    """A function on NumPy arrays, traced once per input shape and run as one C call.

    fn takes arrays, or nested dicts, lists and tuples of them, and uses operators and ``hf.ops``; Python control flow
    is unrolled while tracing. A list of numbers (or of lists of them) is an array, and so is what ``np.asarray`` makes
    one. float64 inputs give a float64 plan, anything else float32; where fn calls a model, which must be built, the
    plan has the model's dtype and reads its arrays where they are. threads: None chooses by cost.
    A call takes ``out=``, an array or a tuple of arrays like the result, to write there and give that back, and
    ``seed=`` for its random numbers (default 0).

    >>> import numpy as np, hawfinch as hf
    >>> f = hf.compile(lambda x, w: hf.ops.relu(x @ w))
    >>> f(np.array([[1.0, 2.0]]), np.array([[1.0, -1.0], [1.0, -1.0]]))
    array([[3., 0.]])
    """
    return Function(_function(fn), threads)


def value_and_grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, threads: int | None = None) -> Function:
    """A function that gives ``(fn(*args), gradients)``; fn must give a scalar.

    argnums: position(s) of the arguments to differentiate by. An int gives that argument's gradient, a sequence a
    tuple of them; a nested argument gives gradients nested in the same way. float64 inputs give a float64 plan; a model
    that fn calls must be built, its arrays are read where they are, and its dtype is that of the plan. Raises
    ArgumentError, ShapeError, DTypeError, TraceError; warns of an argument that the function does not use.

    >>> import numpy as np, hawfinch as hf
    >>> f = hf.value_and_grad(lambda w, x: hf.ops.mean((x @ w) ** 2))
    >>> value, dw = f(np.array([1.0, 2.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> float(value), dw
    (2.5, array([1., 2.]))
    """
    numbers = positions(argnums)

    def both(*args: Any) -> Any:
        value, found = _slopes(fn, args, numbers)
        return value, found if isinstance(numbers, tuple) else found[0]

    return _like(Function(both, threads), _function(fn))


def grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, threads: int | None = None) -> Function:
    """A function that gives the gradient of fn, whose result must be a scalar; arguments as in ``value_and_grad``.

    The result can be differentiated again, and called inside of other traced functions.

    >>> import numpy as np, hawfinch as hf
    >>> hf.grad(lambda x: hf.ops.sum(x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    >>> hf.grad(lambda x: hf.ops.sum(hf.grad(lambda y: hf.ops.sum(y**3))(x)))(np.array([1.0, 2.0]))
    array([ 6., 12.])
    """
    numbers = positions(argnums)

    def slope(*args: Any) -> Any:
        _, found = _slopes(fn, args, numbers)
        return found if isinstance(numbers, tuple) else found[0]

    return _like(Function(slope, threads), _function(fn))


def jvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(fn(*primals), its derivative along the tangents): the Jacobian of fn times a vector, as in JAX.

    primals: a tuple of fn's arguments, arrays or nested; tangents: the same in form and shapes. fn may give anything
    that ``compile`` takes. fn is traced at every call: to repeat it, compile a function that calls ``jvp``.
    Raises ShapeError, DTypeError, ArgumentError.

    >>> import numpy as np, hawfinch as hf
    >>> hf.jvp(hf.ops.square, (np.array([3.0]),), (np.array([1.0]),))
    (array([9.]), array([6.]))
    """
    return _at_once(lambda xs, vs: _push(fn, xs, vs), "jvp", primals, tangents)


def hvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of fn, whose result must be a scalar, times a vector: of one primal its array, else a tuple of them.

    primals, tangents: as in ``jvp``; several primals are one long vector. The Hessian itself is never made: the cost is
    that of a few gradients. Pearlmutter, Neural Computation 6, 1994. Raises ShapeError, DTypeError, ArgumentError.

    >>> import numpy as np, hawfinch as hf
    >>> hf.hvp(lambda x: hf.ops.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """

    def product(xs: tuple[Any, ...], vs: tuple[Any, ...]) -> Any:
        _, found = _slopes(fn, xs, tuple(range(len(xs))))
        graph = _graph()
        wrt, template = _variables(xs, "primals")
        slopes, _ = flatten(found)
        along = [to_real(v) for v in flatten(vs)[0]]
        products = pull(graph, slopes, along, wrt)  # the Hessian is symmetric
        result = unflatten(template, iter([_or_zeros(p, x) for p, x in zip(products, wrt, strict=True)]))
        return result[0] if len(xs) == 1 else result

    return _at_once(product, "hvp", primals, tangents)


def _graph() -> Graph:
    graph = current_graph()
    assert graph is not None
    return graph


def _like(function: Function, fn: Callable[..., Any]) -> Function:
    function.__doc__, function.__name__ = fn.__doc__, getattr(fn, "__name__", "function")
    return function


def _function(fn: Any) -> Callable[..., Any]:
    if not callable(fn):
        raise ArgumentError(f"expected a function, got {type(fn).__name__}")
    return fn


def positions(argnums: int | Sequence[int]) -> int | tuple[int, ...]:
    if is_whole(argnums):
        return int(argnums)  # type: ignore[arg-type]
    positions = items(argnums)
    if positions is not None and all([is_whole(n) for n in positions]):
        return tuple([int(n) for n in positions])
    raise ArgumentError(f"argnums must be a position among the arguments or a sequence of them, got {argnums!r}")


def _variables(tree: Any, name: str) -> tuple[list[Tensor], Any]:
    """The tensors of an argument to differentiate by, and its form."""
    leaves, template = flatten(tree)
    if any([t.dtype == "int" for t in leaves]):
        raise DTypeError(f"{name} holds integers: there is no gradient by it; pass floats")
    return leaves, template


def _slopes(
    fn: Callable[..., Any], args: tuple[Any, ...], argnums: int | tuple[int, ...]
) -> tuple[Tensor, tuple[Any, ...]]:
    """The scalar fn(*args), and its gradient by each of the arguments argnums."""
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    if any([not -len(args) <= n < len(args) for n in numbers]):
        raise ArgumentError(f"argnums {argnums} is out of range for {len(args)} arguments")
    value = _function(fn)(*args)
    if not isinstance(value, Tensor):
        raise TraceError(f"the function gave {type(value).__name__}, expected a scalar of its inputs")
    graph = _graph()
    graph.check_own(value)
    if value.shape in ((1,), (1, 1)):
        value = apply(RESHAPE, value, shape=())
    results = []
    for n in numbers:
        leaves, template = _variables(args[n], f"argument {n}")
        found = gradients(graph, value, leaves)
        if leaves and not any([g is not None for g in found]):
            _warn_of_unused(graph, n, leaves)
        results.append(unflatten(template, iter([_or_zeros(g, t) for g, t in zip(found, leaves, strict=True)])))
    return value, tuple(results)


def _warn_of_unused(graph: Graph, number: int, leaves: Sequence[Tensor]) -> None:
    """Says so where no op takes any part of the argument: a gradient of zeros is hardly what was meant."""
    taken = {id(t) for node in graph.nodes for t in node.inputs}
    if not any([id(t) in taken for t in leaves]):
        text = f"the function does not use argument {number}, so the gradient by it is zero"
        if _arrays_of_models(graph):
            text += ": a model reads its own parameters, not an argument; write the function of the arrays themselves"
        warn(text, HawfinchWarning)


def _push(fn: Callable[..., Any], xs: tuple[Any, ...], vs: tuple[Any, ...]) -> tuple[Any, Any]:
    """Forward mode out of reverse mode twice: the gradient of sum(y * u) by x is linear in u, whatever u is, so its
    product with v has a gradient by u, and that is the Jacobian times v. u itself drops out of the plan. Rejected: a
    second, forward rule for every op, for a few nodes less in the graph."""
    result = _function(fn)(*xs)
    graph = _graph()
    leaves, template = flatten(result)
    ys = [as_tensor(graph, y) for y in leaves]
    wrt, _ = _variables(xs, "primals")
    along = [to_real(v) for v in flatten(vs)[0]]
    us = [input_tensor(graph, f"u{len(graph.nodes)}", y.shape) for y in ys]
    slopes = pull(graph, ys, us, wrt)
    hit = [(g, v) for g, v in zip(slopes, along, strict=True) if g is not None]
    found = pull(graph, [g for g, _ in hit], [v for _, v in hit], us)
    return result, unflatten(template, iter([_or_zeros(d, y) for d, y in zip(found, ys, strict=True)]))


def _at_once(product: Callable[..., Any], name: str, primals: Any, tangents: Any) -> Any:
    for which, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise ArgumentError(
                f"{name}: {which} must be a tuple of the function's arguments, got {type(given).__name__}"
            )
    points, directions = flatten(tuple(primals), lists=True), flatten(tuple(tangents), lists=True)
    shapes = [[tuple(operand(v).shape) for v in leaves] for leaves, _ in (points, directions)]
    if points[1] != directions[1] or shapes[0] != shapes[1]:
        raise ShapeError(f"{name}: primals and tangents must be alike; got shapes {shapes[0]} and {shapes[1]}")
    return Function(product)(tuple(primals), tuple(tangents))


def _or_zeros(g: Tensor | None, like: Tensor) -> Tensor:
    return apply(COPY, 0.0, shape=like.shape) if g is None else g


_eager: PlanCache[Function] = PlanCache(lambda function: function.nbytes)


def run_now(op: Op, inputs: Sequence[Any], attrs: dict[str, Any], seed: int = 0) -> Any:
    """One op on arrays, outside of any trace. Python numbers stay numbers."""
    numbers = tuple([v if isinstance(v, int | float) else None for v in inputs])
    arrays = [as_input(v, f"{op.name}: argument {i}") for i, v in enumerate(inputs) if not isinstance(v, int | float)]
    if not arrays:
        arrays, numbers = [np.asarray(as_number(v)) for v in inputs], (None,) * len(inputs)
    key = (op, content(numbers), content(attrs))
    function = _eager.get(key)
    if function is None:

        def call(*tensors: Any) -> Any:
            rest = iter(tensors)
            return apply(op, *[next(rest) if n is None else n for n in numbers], **attrs)

        function = _eager.put(key, Function(call, nested=False))
    return function.run(tuple(arrays), None, None, seed)


set_run_now(run_now)
