"""Softmax, log-softmax and softmax cross-entropy, over the last axis."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Array, Op, Shape, Size, Step, Tensor, apply, numel, operand
from .elementwise import equal, exp, is_whole, log as log_, setting, stop_gradient, where
from .reduction import max as max_, sum as sum_
from .shape import gather, reshape, to_real


def _softmax_lower(node: Any) -> list[Step]:
    x, y = node.inputs[0], node.outputs[0]
    rows = numel(x.shape[:-1])
    fields = {"y": y, "x": x, "rows": rows, "cols": x.shape[-1], "log": int(node.attrs["log"])}
    return [Step("softmax", fields, (y,), (x,), units=rows, local=(y, x), flops=node.op.flops(node))]


def _softmax_grad(node: Any, g: Tensor) -> list[Tensor]:
    y = node.outputs[0]
    if node.attrs["log"]:
        return [g - exp(y) * sum_(g, -1, True)]
    return [y * (g - sum_(g * y, -1, True))]


def _softmax_infer(x: Tensor, *, log: bool) -> list[tuple[Shape, str]]:
    if x.ndim == 0 or x.dtype == "int":
        raise ShapeError(f"softmax needs real numbers along a last axis, got shape {x.shape} of {x.dtype}")
    return [(x.shape, "real")]


def _softmax_parts(x: Tensor, *, log: bool) -> tuple[Tensor]:
    """Whatever is subtracted from a row, the result is the same: so the maximum has no part in the gradient."""
    below = x - stop_gradient(max_(x, -1, True))
    if log:
        return (below - log_(sum_(exp(below), -1, True)),)
    e = exp(below)
    return (e / sum_(e, -1, True),)


SOFTMAX: Op = Op(
    "softmax",
    _softmax_infer,
    _softmax_grad,
    _softmax_lower,
    decompose=_softmax_parts,
    flops=lambda node: numel(node.inputs[0].shape) * 20,
    real_inputs=True,
)


def softmax(x: Any) -> Tensor:
    """exp(x) / sum(exp(x)) over the last axis, without overflow. Raises ShapeError.

    >>> hf.ops.softmax([1e4, 1e4])
    array([0.5, 0.5])
    """
    return apply(SOFTMAX, x, log=False)


def log_softmax(x: Any) -> Tensor:
    """x - log(sum(exp(x))) over the last axis, without overflow. Raises ShapeError.

    >>> hf.ops.log_softmax([1e4, 1e4])
    array([-0.69314718, -0.69314718])
    """
    return apply(SOFTMAX, x, log=True)


# ---- softmax cross-entropy: loss (rows,) of logits (rows, C) and labels (rows,) or target (rows, C) ----
def _xent_infer(x: Tensor, t: Tensor, *, smoothing: float) -> list[tuple[Shape, str]]:
    if x.dtype == "int":
        raise DTypeError("softmax_cross_entropy: logits must be real numbers, got integers")
    if x.ndim != 2:
        raise ShapeError(f"softmax_cross_entropy: logits must be (rows, classes), got {x.shape}")
    expected = x.shape[:1] if t.dtype == "int" else x.shape
    if t.shape != expected:
        kind = "integer labels (rows,)" if t.dtype == "int" else "probabilities (rows, classes)"
        raise ShapeError(f"softmax_cross_entropy: logits {x.shape} need {kind}, got {t.shape}")
    return [(x.shape[:1], "real")]


def _xent_flops(x: Tensor) -> Size:
    return numel(x.shape) * 25


def _xent_step(
    x: Tensor, t: Tensor, smoothing: float, loss: Tensor | None, dx: Tensor | None, dloss: Tensor | None
) -> Step:
    labels = t.dtype == "int"
    scalar = dloss is not None and numel(dloss.shape) == 1
    fields = {
        "loss": loss,
        "dx": dx,
        "x": x,
        "labels": t if labels else None,
        "target": None if labels else t,
        "dloss": dloss,
        "rows": x.shape[0],
        "cols": x.shape[1],
        "dloss_row": int(not scalar),
        "smoothing": smoothing,
    }
    writes = tuple([w for w in (loss, dx) if w is not None])
    reads = (x, t) if dloss is None else (x, t, dloss)
    local = tuple([r for r in (*writes, *reads) if r is not dloss or not scalar])
    return Step(
        "softmax_cross_entropy",
        fields,
        writes,
        reads,
        units=x.shape[0],
        local=local,
        flops=_xent_flops(x),
        in_place=((dx, x),) if dx is not None else (),
    )


def _lower_one(node: Any, loss: Tensor | None, dx: Tensor | None, dloss: Tensor | None) -> list[Step]:
    return [_xent_step(node.inputs[0], node.inputs[1], node.attrs["smoothing"], loss, dx, dloss)]


def _lower_pair(node: Any) -> list[Step]:
    return _lower_one(node, node.outputs[0], node.outputs[1], node.inputs[2])


def _xent_grad(node: Any, g: Tensor) -> list[Tensor | None]:
    x, t = node.inputs
    dx = apply(CROSS_ENTROPY_GRAD, x, t, g, **node.attrs)
    if t.dtype != "real":
        return [dx, None]
    return [dx, log_softmax(x) * (reshape(g, (x.shape[0], 1)) * (node.attrs["smoothing"] - 1.0))]


@functools.lru_cache(maxsize=16)
def _class_numbers(classes: int) -> Array:
    return np.arange(classes)


def _classes(x: Tensor) -> int:
    classes = x.shape[1]
    assert isinstance(classes, int)
    return classes


def _hot(labels: Tensor, classes: int) -> Tensor:
    """1 at each row's label, else 0: (rows, classes), a mask."""
    return equal(reshape(to_real(labels), (labels.shape[0], 1)), to_real(_class_numbers(classes)))


@functools.lru_cache(maxsize=16)
def _zeros(classes: int) -> Array:
    return np.zeros(classes)


def _checked(labels: Tensor, classes: int) -> Tensor:
    """0 for each label (rows,); a label outside [0, classes) stops the run, as the kernel's would."""
    return gather(_zeros(classes), labels)


def _xent_parts(x: Tensor, t: Tensor, *, smoothing: float) -> tuple[Tensor]:
    log_p = log_softmax(x)
    if t.dtype == "int":  # where, not a product: the logarithm of another class's probability may be -inf
        loss = sum_(where(_hot(t, _classes(x)), log_p, 0.0), 1) + _checked(t, _classes(x))
    else:
        loss = sum_(t * log_p, 1)
    if smoothing:
        loss = loss * (1.0 - smoothing) + sum_(log_p, 1) * (smoothing / _classes(x))
    return (-loss,)


def _xent_grad_parts(x: Tensor, t: Tensor, dloss: Tensor, *, smoothing: float) -> tuple[Tensor]:
    """dx = (softmax(x) * sum(t) - t) * dloss, t smoothed."""
    target = where(_hot(t, _classes(x)), 1.0, 0.0) if t.dtype == "int" else t
    if t.dtype == "int":
        dloss = dloss + _checked(t, _classes(x))
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / _classes(x)
    p = softmax(x) if t.dtype == "int" else softmax(x) * sum_(target, 1, True)
    return ((p - target) * (dloss if dloss.shape == () else reshape(dloss, (numel(dloss.shape), 1))),)


def _xent_both_parts(x: Tensor, t: Tensor, dloss: Tensor, *, smoothing: float) -> tuple[Tensor, Tensor]:
    return *_xent_parts(x, t, smoothing=smoothing), *_xent_grad_parts(x, t, dloss, smoothing=smoothing)


CROSS_ENTROPY: Op = Op(
    "softmax_cross_entropy",
    _xent_infer,
    _xent_grad,
    lambda node: _lower_one(node, node.outputs[0], None, None),
    decompose=_xent_parts,
    flops=lambda node: _xent_flops(node.inputs[0]),
)
CROSS_ENTROPY_GRAD: Op = Op(
    "softmax_cross_entropy_grad",
    lambda x, t, dloss, *, smoothing: [(x.shape, "real")],
    None,
    lambda node: _lower_one(node, None, node.outputs[0], node.inputs[2]),
    decompose=_xent_grad_parts,
    flops=lambda node: _xent_flops(node.inputs[0]),
)
# forward and gradient in one pass over the logits: made by compiler/rewrite.py, never by a trace
CROSS_ENTROPY_BOTH: Op = Op(
    "softmax_cross_entropy_both",
    lambda x, t, dloss, *, smoothing: [(x.shape[:1], "real"), (x.shape, "real")],
    None,
    _lower_pair,
    decompose=_xent_both_parts,
    flops=lambda node: _xent_flops(node.inputs[0]),
)


def softmax_cross_entropy(logits: Any, target: Any, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of softmax(logits) against integer labels (rows,) or probabilities (rows, classes): (rows,).

    loss_i = -sum_j t_ij * log_softmax(logits)_ij, t smoothed to (1 - s) * t + s / classes with s = label_smoothing in
    [0, 1]. Logits of any leading shape are taken as rows. Raises ShapeError, DTypeError, ArgumentError, and LabelError
    when the plan is run.

    >>> hf.ops.softmax_cross_entropy([[0.0, 0.0], [1e4, -1e4]], np.array([1, 0]))
    array([0.69314718, 0.        ])
    """
    label_smoothing = setting("label_smoothing", label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"softmax_cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    logits = logits if isinstance(logits, Tensor) else operand(logits)
    target = target if isinstance(target, Tensor) else operand(np.asarray(target) if is_whole(target) else target)
    if len(logits.shape) == 0:
        raise ShapeError("softmax_cross_entropy: logits must be (rows, classes), got a number")
    lead = tuple(logits.shape[:-1])
    if len(lead) != 1:
        target = reshape(target, (numel(lead), *target.shape[len(lead) :]))
        logits = reshape(logits, (numel(lead), logits.shape[-1]))
    loss = apply(CROSS_ENTROPY, logits, target, smoothing=label_smoothing)
    return loss if len(lead) == 1 else reshape(loss, lead)


def _correct_lower(node: Any) -> list[Step]:
    x, labels = node.inputs
    y = node.outputs[0]
    fields = {"y": y, "x": x, "labels": labels, "rows": x.shape[0], "cols": x.shape[1]}
    return [Step("correct", fields, (y,), (x, labels), units=x.shape[0], local=(y, x, labels))]


def _correct_infer(x: Tensor, labels: Tensor) -> list[tuple[Shape, str]]:
    if x.dtype == "int":
        raise DTypeError("correct: logits must be real numbers, got integers")
    if x.ndim != 2 or x.shape[1] == 0 or labels.dtype != "int" or labels.shape != x.shape[:1]:
        raise ShapeError(
            f"correct: expected logits (rows, classes) and integer labels (rows,), got {x.shape} and "
            f"{labels.dtype} {labels.shape}"
        )
    return [(x.shape[:1], "real")]


CORRECT: Op = Op("correct", _correct_infer, None, _correct_lower)


def correct(logits: Any, labels: Any) -> Tensor:
    """1 where the largest logit of a row (rows, classes) is at its integer label, else 0: (rows,). No gradient.

    Raises ShapeError, DTypeError.

    >>> hf.ops.correct([[0.1, 0.9], [0.8, 0.2]], np.array([1, 1]))
    array([1., 0.])
    """
    return apply(CORRECT, logits, labels)
