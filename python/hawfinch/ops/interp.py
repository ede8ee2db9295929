"""interp: values on lines through knots."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..ir import Op, Shape, Step, Tensor, apply, numel
from .elementwise import mul, stop_gradient


def _infer(x: Tensor, knots: Tensor, values: Tensor) -> list[tuple[Shape, str]]:
    if x.ndim < 1 or knots.ndim != 2 or values.ndim != 1:
        raise ShapeError(f"interp: x (..., n), knots (n, k), values (k,); got {x.shape}, {knots.shape}, {values.shape}")
    if x.shape[-1] != knots.shape[0] or knots.shape[1] != values.shape[0] or values.shape[0] == 0:
        raise ShapeError(
            f"interp: x {x.shape} needs knots ({x.shape[-1]}, k) and as many values, k at least 1; got {knots.shape} "
            f"and {values.shape}"
        )
    return [(x.shape, "real"), (x.shape, "real")]


def _lower(node: Any) -> list[Step]:
    x, knots, values = node.inputs
    y, slope = node.outputs
    rows = numel(x.shape[:-1])
    fields = {"y": y, "slope": slope, "x": x, "knots": knots, "values": values}
    fields |= {"rows": rows, "cols": x.shape[-1], "n": values.shape[0]}
    return [Step("interp", fields, (y, slope), (x, knots, values), units=rows, local=(y, slope, x))]


INTERP = Op(
    "interp",
    _infer,
    lambda node, g, g_slope: [None if g is None else mul(g, node.outputs[1]), None, None],  # the slope is constant
    _lower,
)


def interp(x: Any, knots: Any, values: Any) -> Tensor:
    """Piecewise linear: x (..., n) on the line through (knots[j], values), j its place in the last axis, as np.interp.

    knots (n, k), ascending in each row; values (k,). Below the first knot values[0], above the last values[-1]; where x
    meets several equal knots the mean of the first's value and the last's, as in scikit-learn's QuantileTransformer.
    The gradient by x is the slope; there is none by knots and values. Raises ShapeError.

    >>> hf.ops.interp([[0.5], [9.0]], [[0.0, 1.0, 3.0]], [0.0, 10.0, 30.0])
    array([[ 5.],
           [30.]])
    """
    return apply(INTERP, x, stop_gradient(knots), stop_gradient(values))[0]
