"""Elementwise ops with NumPy broadcasting.

Design: an op is its instruction in csrc/defs/ewise.def, and here its gradient rule and its function. No kernel per op:
compiler/group.py joins neighbours into programs. Rejected: a kernel per op, which is a pass over memory per op.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import (
    SCALAR,
    Dim,
    Op,
    Shape,
    Size,
    Tensor,
    apply,
    as_number,
    as_tensor,
    current_graph,
    numel,
    scalar_value,
    size_at,
)

__all__ = [  # what users call; the rest is for the ops
    "abs",
    "add",
    "clip",
    "cospi",
    "div",
    "elu",
    "equal",
    "erf",
    "exp",
    "expm1",
    "gelu",
    "greater",
    "greater_equal",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "not_equal",
    "pow",
    "reciprocal",
    "relu",
    "sigmoid",
    "sign",
    "silu",
    "sinpi",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "stop_gradient",
    "sub",
    "tanh",
    "where",
]

Grad = Callable[..., tuple[Any, ...]]


def broadcast_shapes(*shapes: Shape) -> Shape:
    """NumPy's rule: right-aligned, sizes equal or 1."""
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    out: list[Size] = []
    for shape in shapes:
        out = list(shape) if len(shape) > len(out) else out
    for shape in shapes:
        first = len(out) - len(shape)
        for axis, size in enumerate(shape, first):
            other = out[axis]
            if size is not other and size != other and size != 1:
                if other != 1:
                    axis -= len(out)
                    raise ShapeError(f"shapes {' and '.join(map(str, shapes))} do not broadcast together (axis {axis})")
                out[axis] = size
    return tuple(out)


def sum_to(g: Tensor, shape: Shape) -> Tensor:
    """g summed over the axes along which ``shape`` was broadcast: the gradient of broadcasting."""
    if g.shape == shape:
        return g
    lead = len(g.shape) - len(shape)
    axes = [i for i in range(len(g.shape)) if i < lead or (shape[i - lead] == 1 and g.shape[i] != 1)]
    y = g.sum(tuple(axes)) if axes else g
    return y if y.shape == shape else y.reshape(shape)


def _define(
    name: str,
    grad: Grad | None,
    decompose: Callable[..., Any] | None = None,
    *,
    dtype: str = "real",
    fold: Callable[..., float] | None = None,
    swapped: str | None = None,
) -> Op:
    """``grad(g, y, *inputs)`` gives each input's gradient in the output's shape; it is summed back to the input's.

    ``decompose(*inputs)`` gives the output in smaller ops. fold, swapped: see ``Op``.
    """

    def infer(*inputs: Tensor, **_: Any) -> list[tuple[Shape, str]]:
        for t in inputs:
            if t.dtype == "int":
                raise DTypeError(f"{name}: integer tensors have no arithmetic; use hf.ops.to_real(x) first")
        if len(inputs) == 1:
            return [(inputs[0].shape, dtype)]
        return [(broadcast_shapes(*[t.shape for t in inputs]), dtype)]

    def rule(node: Any, g: Tensor) -> list[Tensor | None]:
        assert grad is not None
        parts = grad(g, node.outputs[0], *node.inputs, **node.attrs)
        return [
            None if p is None or x.node.op is SCALAR else p if p.shape == x.shape else sum_to(p, x.shape)
            for p, x in zip(parts, node.inputs, strict=True)
        ]

    def parts(*inputs: Tensor, **attrs: Any) -> tuple[Any, ...]:
        assert decompose is not None
        return (decompose(*inputs, **attrs),)

    return Op(
        name,
        infer,
        rule if grad else None,
        decompose=parts if decompose else None,
        elementwise=True,
        fold=fold,
        swapped=swapped,
    )


def _divide(a: float, b: float) -> float:
    """a / b as IEEE has it."""
    if b:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)


def _zero_where(mask: Any, g: Any) -> Tensor:
    return where(mask, g, 0.0)


NEG: Op = _define("neg", lambda g, y, x: (-g,), fold=lambda a: -a)
ABS: Op = _define("abs", lambda g, y, x: (g * apply(SIGN, x),))
SIGN: Op = _define("sign", lambda g, y, x: (None,))
SQRT: Op = _define("sqrt", lambda g, y, x: (g * 0.5 / y,))
SQUARE: Op = _define("square", lambda g, y, x: (g * (x * 2.0),), lambda x: apply(MUL, x, x), fold=lambda a: a * a)
RECIPROCAL: Op = _define("reciprocal", lambda g, y, x: (-(g * apply(SQUARE, y)),), lambda x: 1.0 / x)
EXP: Op = _define("exp", lambda g, y, x: (g * y,))
EXPM1 = _define("expm1", lambda g, y, x: (g * (y + 1.0),))
LOG: Op = _define("log", lambda g, y, x: (g / x,))
LOG1P = _define("log1p", lambda g, y, x: (g / (x + 1.0),))
TANH: Op = _define("tanh", lambda g, y, x: (g * (1.0 - apply(SQUARE, y)),))
SIGMOID: Op = _define("sigmoid", lambda g, y, x: (g * (y * (1.0 - y)),), lambda x: _sigmoid_parts(x))
ERF: Op = _define("erf", lambda g, y, x: (g * (apply(EXP, -apply(SQUARE, x)) * (2.0 / math.sqrt(math.pi))),))
SINPI: Op = _define("sinpi", lambda g, y, x: (g * (apply(COSPI, x) * math.pi),))
COSPI: Op = _define("cospi", lambda g, y, x: (g * (apply(SINPI, x) * -math.pi),))
SOFTPLUS: Op = _define("softplus", lambda g, y, x: (g * apply(SIGMOID, x),), lambda x: _softplus_parts(x))
GELU: Op = _define("gelu", lambda g, y, x: (g * apply(GELU_SLOPE, x),), lambda x: x * _normal_cdf(x))
GELU_SLOPE: Op = _define("gelu_slope", None, lambda x: _normal_cdf(x) + x * _bell(x))
SOFTSIGN: Op = _define("softsign", lambda g, y, x: (g / apply(SQUARE, apply(ABS, x) + 1.0),))
RELU: Op = _define("relu", lambda g, y, x: (apply(RELU_MASK, g, y),), lambda x: where(x < 0.0, 0.0, x))
RELU_MASK: Op = _define(
    "relu_mask", lambda g, y, a, b: (apply(RELU_MASK, g, b), None), lambda a, b: where(b > 0.0, a, 0.0)
)
LEAKY_RELU: Op = _define(
    "leaky_relu", lambda g, y, x, imm: (where(x < 0.0, g * imm, g),), lambda x, imm: where(x < 0.0, x * imm, x)
)
ELU: Op = _define("elu", lambda g, y, x, imm: (where(x < 0.0, g * (y + imm), g),), lambda x, imm: _elu_parts(x, imm))
ADD: Op = _define("add", lambda g, y, a, b: (g, g), fold=lambda a, b: a + b, swapped="add_imm")
SUB: Op = _define("sub", lambda g, y, a, b: (g, -g), fold=lambda a, b: a - b, swapped="rsub")
MUL: Op = _define("mul", lambda g, y, a, b: (g * b, g * a), fold=lambda a, b: a * b, swapped="mul_imm")
DIV: Op = _define("div", lambda g, y, a, b: (g / b, -(g * y / b)), fold=_divide, swapped="rdiv")
POW: Op = _define("pow", lambda g, y, a, b: (g * _pow_by_base(a, b), g * (y * _log_of_base(a))))
MAXIMUM: Op = _define("maximum", lambda g, y, a, b: _split(g, a, b, y), swapped="maximum_imm")
MINIMUM: Op = _define("minimum", lambda g, y, a, b: _split(g, a, b, y), swapped="minimum_imm")
GREATER: Op = _define("greater", None, dtype="mask", swapped="less_imm")
GREATER_EQUAL: Op = _define("greater_equal", None, dtype="mask", swapped="less_equal_imm")
LESS: Op = _define("less", None, dtype="mask", swapped="greater_imm")
LESS_EQUAL: Op = _define("less_equal", None, dtype="mask", swapped="greater_equal_imm")
EQUAL: Op = _define("equal", None, dtype="mask", swapped="equal_imm")
NOT_EQUAL: Op = _define("not_equal", None, dtype="mask", swapped="not_equal_imm")
WHERE: Op = _define("where", lambda g, y, c, a, b: (None, _zero_where(c, g), where(c, 0.0, g)))
# products with a sum, rounded once: made by compiler/rewrite.py
FMA: Op = _define("fma", None, lambda a, b, c: a * b + c)
FMS: Op = _define("fms", None, lambda a, b, c: a * b - c)
FNMA: Op = _define("fnma", None, lambda a, b, c: c - a * b)
COPY: Op = Op(
    "copy", lambda x, *, shape: [(shape, x.dtype)], lambda node, g: [sum_to(g, node.inputs[0].shape)], elementwise=True
)
# x, where no gradient goes through; and x as a tensor of its own, the one that a nested function is differentiated by
STOP_GRADIENT: Op = Op(
    "stop_gradient",
    lambda x: [(x.shape, x.dtype)],
    lambda node, g: [None],
    decompose=lambda x: (x,),
    is_view=True,
    flops=lambda node: 0,
)
ARGUMENT: Op = Op(
    "argument",
    lambda x, *, number: [(x.shape, x.dtype)],
    lambda node, g: [g],
    decompose=lambda x, number: (x,),
    is_view=True,
    flops=lambda node: 0,
)


def _bell(x: Tensor) -> Tensor:
    """The normal density."""
    return apply(EXP, apply(SQUARE, x) * -0.5) * (1 / math.sqrt(2 * math.pi))


def _normal_cdf(x: Tensor) -> Tensor:
    return apply(ERF, x * math.sqrt(0.5)) * 0.5 + 0.5


def _sigmoid_parts(x: Tensor) -> Tensor:
    """1 / (1 + e**-x) without overflow."""
    e = exp(-abs(x))
    return where(x < 0.0, e, 1.0) / (e + 1.0)


def _softplus_parts(x: Tensor) -> Tensor:
    """max(x, 0) + log(1 + e**-|x|)."""
    return maximum(x, 0.0) + log1p(exp(-abs(x)))


def _elu_parts(x: Tensor, alpha: float) -> Tensor:
    return where(x < 0.0, expm1(minimum(x, 0.0)) * alpha, x)


def _log_of_base(a: Tensor) -> Tensor:
    """log(a) with 0 where a <= 0: the gradient of a**b by b is 0 at a = 0, as in PyTorch."""
    return where(a > 0.0, apply(LOG, where(a > 0.0, a, 1.0)), 0.0)


def _pow_by_base(a: Tensor, b: Tensor) -> Tensor:
    """b * a**(b - 1), and 0 where b = 0, where at a = 0 it would be 0 * inf."""
    slope = b * pow(a, b - 1.0)
    return where(equal(b, 0.0), 0.0, slope) if scalar_value(b) in (None, 0) else slope


def _split(g: Tensor, a: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Ties give half to each side, as PyTorch does."""
    tie = where(equal(a, b), 0.5, 1.0)
    return _zero_where(equal(a, y), g * tie), _zero_where(equal(b, y), g * tie)


def _repeated(x: Any, other: Any) -> Any:
    """The number where x is one number repeated within the shape of ``other``, as the gradient of a sum is; else x."""
    if not isinstance(x, Tensor) or not isinstance(other, Tensor):
        return x
    t = x
    while t.node.op is COPY or (t.node.op.is_view and t.node.op is not ARGUMENT):
        t = t.node.inputs[0]
    if t is x or t.node.op is not SCALAR or broadcast_shapes(x.shape, other.shape) != other.shape:
        return x
    return scalar_value(t)


def _binary(op: Op, doc: str, example: str, neutral: float | None = None) -> Callable[[Any, Any], Tensor]:
    def function(a: Any, b: Any) -> Tensor:
        if current_graph() is None:
            return apply(op, a, b)
        a = _repeated(a, b)
        b = _repeated(b, a)
        for x, other in ((a, b), (b, a)):  # x * 1 is x: gradient rules multiply by one a lot
            value = other
            if isinstance(other, Tensor):
                value = other.node.attrs["value"] if other.node.op is SCALAR else None
            is_neutral = isinstance(value, (int, float)) and value == neutral and (x is a or op in (ADD, MUL))
            if is_neutral and isinstance(x, Tensor) and x.dtype == "real":
                return x
        return apply(op, a, b)

    takes = "Shapes broadcast as in NumPy; integers become real numbers. Raises ShapeError, DTypeError."
    return _described(function, op, doc, takes, example)


def _unary(op: Op, doc: str, example: str) -> Callable[[Any], Tensor]:
    def function(x: Any) -> Tensor:
        return apply(op, x)

    return _described(function, op, doc, "Of x of any shape; integers become real numbers. Raises DTypeError.", example)


def _described(function: Callable[..., Any], op: Op, doc: str, takes: str, example: str) -> Callable[..., Any]:
    """example: "arguments -> result"."""
    function.__name__ = function.__qualname__ = op.name
    arguments, result = example.split(" -> ")
    function.__doc__ = f"{doc}\n\n    {takes}\n\n    >>> hf.ops.{op.name}({arguments})\n    {result}\n    "
    return function


neg = _unary(NEG, "-x.", "[1.0, -2.0] -> array([-1.,  2.])")
abs = _unary(ABS, "Absolute value; gradient sign(x), 0 at 0.", "[1.0, -2.0] -> array([1., 2.])")
sign = _unary(SIGN, "-1, 0 or 1; gradient zero.", "[3.0, 0.0, -2.0] -> array([ 1.,  0., -1.])")
sqrt = _unary(SQRT, "Square root, correctly rounded.", "[4.0, 9.0] -> array([2., 3.])")
square = _unary(SQUARE, "x * x.", "[3.0, -4.0] -> array([ 9., 16.])")
reciprocal = _unary(RECIPROCAL, "1 / x.", "[2.0, -4.0] -> array([ 0.5 , -0.25])")
exp = _unary(EXP, "e**x.", "[0.0, 1.0] -> array([1.        , 2.71828183])")
expm1 = _unary(EXPM1, "e**x - 1, accurate near 0.", "[0.0, 1e-12] -> array([0.e+00, 1.e-12])")
log = _unary(LOG, "Natural logarithm.", "[1.0, 2.0] -> array([0.        , 0.69314718])")
log1p = _unary(LOG1P, "log(1 + x), accurate near 0.", "[0.0, 1e-12] -> array([0.e+00, 1.e-12])")
tanh = _unary(TANH, "Hyperbolic tangent.", "[0.0, 1.0] -> array([0.        , 0.76159416])")
sigmoid = _unary(SIGMOID, "1 / (1 + e**-x).", "[0.0, 2.0] -> array([0.5       , 0.88079708])")
erf = _unary(
    ERF,
    "Error function, 2/sqrt(pi) * integral of e**(-t*t) from 0 to x.",
    "[0.0, 1.0] -> array([0.        , 0.84270079])",
)
sinpi = _unary(
    SINPI,
    "sin(pi x): exact zeros, and no loss for large x (from 2**23 on, in float32, x counts as even); error below 2e-7.",
    "[0.25, 0.5, 1.0, 1000000.5] -> array([0.70710678, 1.        , 0.        , 1.        ])",
)
cospi = _unary(
    COSPI,
    "cos(pi x): exact zeros, and no loss for large x (from 2**23 on, in float32, x counts as even); error below 2e-7.",
    "[0.0, 0.25, 0.5, 1.0] -> array([ 1.        ,  0.70710678,  0.        , -1.        ])",
)
relu = _unary(RELU, "max(x, 0); gradient 0 at 0. Lets NaN through.", "[-1.0, 2.0] -> array([0., 2.])")
softplus = _unary(SOFTPLUS, "log(1 + e**x), without overflow.", "[0.0, 80.0] -> array([ 0.69314718, 80.        ])")
softsign = _unary(
    SOFTSIGN,
    "x / (1 + |x|): as tanh, with tails that fall as 1/x instead of e**-2x. Bergstra et al., 2009.",
    "[0.0, 1.0, -4.0] -> array([ 0. ,  0.5, -0.8])",
)
gelu = _unary(
    GELU,
    "x * Phi(x), Phi the normal distribution function (the exact form, by erf). Hendrycks, Gimpel, 2016.",
    "[0.0, 1.0] -> array([0.        , 0.84134475])",
)
add = _binary(ADD, "a + b.", "[1.0, 2.0], 3.0 -> array([4., 5.])", 0.0)
sub = _binary(SUB, "a - b.", "[1.0, 2.0], 3.0 -> array([-2., -1.])", 0.0)
mul = _binary(MUL, "a * b.", "[1.0, 2.0], 3.0 -> array([3., 6.])", 1.0)
div = _binary(DIV, "a / b.", "[1.0, 2.0], 4.0 -> array([0.25, 0.5 ])", 1.0)
maximum = _binary(
    MAXIMUM,
    "The larger of each pair; NaN wins; a tie gives half of the gradient to each side.",
    "[1.0, 4.0], 3.0 -> array([3., 4.])",
)
minimum = _binary(
    MINIMUM,
    "The smaller of each pair; NaN wins; a tie gives half of the gradient to each side.",
    "[1.0, 4.0], 3.0 -> array([1., 3.])",
)
greater = _binary(GREATER, "a > b: a mask in a trace, bool outside of one.", "[1.0, 4.0], 3.0 -> array([False,  True])")
greater_equal = _binary(
    GREATER_EQUAL, "a >= b: a mask in a trace, bool outside of one.", "[1.0, 3.0], 3.0 -> array([False,  True])"
)
less = _binary(LESS, "a < b: a mask in a trace, bool outside of one.", "[1.0, 4.0], 3.0 -> array([ True, False])")
less_equal = _binary(
    LESS_EQUAL, "a <= b: a mask in a trace, bool outside of one.", "[3.0, 4.0], 3.0 -> array([ True, False])"
)
equal = _binary(EQUAL, "a == b: a mask in a trace, bool outside of one.", "[3.0, 4.0], 3.0 -> array([ True, False])")
not_equal = _binary(
    NOT_EQUAL, "a != b: a mask in a trace, bool outside of one.", "[3.0, 4.0], 3.0 -> array([False,  True])"
)


def pow(a: Any, b: Any) -> Tensor:
    """a ** b with NumPy broadcasting; exponents 2, 1, 0.5 and -1 become square, x, sqrt and reciprocal.

    The gradient by b is 0 where a <= 0. Raises ShapeError, DTypeError.

    >>> hf.ops.pow([1.0, 3.0], 2)
    array([1., 9.])
    """
    graph = current_graph()
    if graph is not None:
        special = scalar_value(as_tensor(graph, b))
        base = as_tensor(graph, a)
        if special == 2:
            return square(base)
        if special == 1:
            return base
        if special == 0.5:
            return sqrt(base)
        if special == -1:
            return reciprocal(base)
    return apply(POW, a, b)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where condition is true (not 0), else b; with NumPy broadcasting. Raises ShapeError, DTypeError.

    The side that is not taken gets the gradient 0, also where its own gradient is NaN.

    >>> hf.ops.where([True, False], [1.0, 2.0], 0.0)
    array([1., 0.])
    """
    return apply(WHERE, condition, a, b)


def setting(name: str, value: Any) -> float:
    """An option of an op as a number; raises DTypeError where it is none (a traced value, an array, a string)."""
    if isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool):
        return as_number(value)
    raise DTypeError(f"{name} must be a number that is known while tracing, got {type(value).__name__}")


def is_whole(value: object) -> bool:
    """Whether value is an int, of Python or NumPy; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def items(value: Any) -> list[Any] | None:
    """The items of a tuple, list, range or array of one axis; None for anything else."""
    plain = isinstance(value, tuple | list | range) or (isinstance(value, np.ndarray) and value.ndim == 1)
    return list(value) if plain else None


MOST_ELEMENTS = 1 << 46


def as_shape(value: Any) -> Shape:
    """A size or several as a shape; raises ShapeError unless they are whole numbers >= 0 that some memory may hold."""
    sizes: list[Any] | None = [value] if is_whole(value) or isinstance(value, Dim) else items(value)
    if sizes is None or any([not isinstance(s, Dim) and (not is_whole(s) or s < 0) for s in sizes]):
        raise ShapeError(f"a shape is a tuple of whole numbers >= 0, got {value!r}")
    shape = tuple([s if isinstance(s, Dim) else int(s) for s in sizes])
    if size_at(numel(shape), 1) > MOST_ELEMENTS:
        raise ShapeError(f"an array of shape {shape} is larger than any memory")
    return shape


def flag(name: str, value: Any) -> bool:
    """An option that is True or False; raises ArgumentError where it is neither."""
    if isinstance(value, bool | np.bool_) or (is_whole(value) and value in (0, 1)):
        return bool(value)
    raise ArgumentError(f"{name} must be True or False, got {type(value).__name__}")


def clip(x: Any, low: float | None = None, high: float | None = None) -> Tensor:
    """x limited to [low, high]; gradient 1 inside, 0 outside, half at a bound. None: no bound.

    low, high: numbers, or arrays that broadcast against x. Raises ShapeError, DTypeError.

    >>> hf.ops.clip([-2.0, 0.5, 2.0], -1.0, 1.0)
    array([-1. ,  0.5,  1. ])
    """
    if low is not None:
        x = maximum(x, low)
    return minimum(x, high) if high is not None else x


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x where x >= 0, else negative_slope * x. Raises DTypeError.

    >>> hf.ops.leaky_relu([-1.0, 2.0])
    array([-0.01,  2.  ])
    """
    return apply(LEAKY_RELU, x, imm=setting("negative_slope", negative_slope))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x where x >= 0, else alpha * (e**x - 1). Clevert, Unterthiner, Hochreiter, ICLR 2016. Raises DTypeError.

    >>> hf.ops.elu([-1.0, 2.0])
    array([-0.63212056,  2.        ])
    """
    return apply(ELU, x, imm=setting("alpha", alpha))


def silu(x: Any) -> Tensor:
    """x * sigmoid(x). Elfwing, Uchibe, Doya, 2018. Raises DTypeError.

    >>> hf.ops.silu([0.0, 2.0])
    array([0.        , 1.76159416])
    """
    return mul(x, sigmoid(x))


def stop_gradient(x: Any) -> Tensor:
    """x itself, of any shape and dtype, as a constant to every gradient.

    >>> hf.grad(lambda x: hf.ops.sum(hf.ops.stop_gradient(x) * x))(np.array([1.0, 2.0]))
    array([1., 2.])
    """
    return apply(STOP_GRADIENT, x)
