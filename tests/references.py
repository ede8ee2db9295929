"""What the ops and their derivatives are, in NumPy: the references of cases.py and of tests that need one alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray

erf = np.vectorize(math.erf, otypes=[np.float64])
erfc = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    return np.where(x < 0, np.exp(-np.abs(x)), 1) / (1 + np.exp(-np.abs(x)))


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def normal_cdf(x: Array) -> Array:
    return 0.5 * erfc(-x * math.sqrt(0.5))


def gelu(x: Array) -> Array:
    return np.where(x < -40, 0.0, x * normal_cdf(x))


def log_softmax(x: Array) -> Array:
    d = x - x.max(-1, keepdims=True)
    return d - np.log(np.exp(d).sum(-1, keepdims=True))


def layer_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Array:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * gamma + beta


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> tuple[Array, Array, Array]:
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    return (x - mean) / np.sqrt(var + eps) * gamma + beta, mean, var


def rms_norm(x: Array, gamma: Array, eps: float = 1e-6) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * gamma


def norm_scale(x: Array, gamma: Array, beta: Array, axes: Any, eps: float = 1e-5) -> Array:
    """A rounding of x, whatever is then subtracted from it, is divided by the deviation too."""
    largest = np.abs(x).max(axes, keepdims=True) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return np.broadcast_to(largest * np.abs(gamma) + np.abs(beta), x.shape)


def _group_statistics(x: Array, groups: int, eps: float) -> tuple[Array, Array, Array]:
    """x as (samples, positions, groups, channels of a group), its means and deviations."""
    grouped = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    mean, var = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    return grouped, mean, np.sqrt(var + eps)


def group_norm(x: Array, gamma: Array, beta: Array, groups: int, eps: float = 1e-5) -> Array:
    grouped, mean, deviation = _group_statistics(x, groups, eps)
    return ((grouped - mean) / deviation).reshape(x.shape) * gamma + beta


def group_norm_scale(x: Array, gamma: Array, beta: Array, groups: int, eps: float = 1e-5) -> Array:
    grouped, _, deviation = _group_statistics(x, groups, eps)
    largest = np.broadcast_to(np.abs(grouped).max((1, 3), keepdims=True) / deviation, grouped.shape)
    return largest.reshape(x.shape) * np.abs(gamma) + np.abs(beta)


def cross_entropy(x: Array, t: Array, label_smoothing: float = 0.0) -> Array:
    if t.dtype.kind == "i":
        t = np.eye(x.shape[-1])[t]
    t = (1 - label_smoothing) * t + label_smoothing / x.shape[-1]
    return -(t * log_softmax(x)).sum(-1)


def philox(counter: Sequence[Array], key: tuple[int, int]) -> list[Array]:
    """Philox4x32-10 (Salmon et al., SC11) on uint64 arrays that hold 32-bit words."""
    c, (k0, k1), low = [np.asarray(v, np.uint64) for v in counter], key, np.uint64(0xFFFFFFFF)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        shift = np.uint64(32)
        c = [(p1 >> shift) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> shift) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def dropout(x: Array, p: float, seed: int = 0, step: int = 0, stream: int = 1) -> Array:
    """The documented mask of csrc/runtime/random.h."""
    e = np.arange(x.size, dtype=np.uint64)
    block = (e >> np.uint64(6)) * np.uint64(16) + (e & np.uint64(15))
    zero = np.zeros_like(e)
    words = np.stack(philox([block, zero, zero + np.uint64(stream), zero + np.uint64(step)], (seed, 0)), 0)
    word = words[((e >> np.uint64(4)) & np.uint64(3)).astype(int), np.arange(x.size)] if x.size else e
    keep = word >= np.uint64(p * 2.0**32)
    return np.where(keep.reshape(x.shape), x / (1 - p) if p < 1 else 0, 0.0)


def batch_norm_grad(
    dy: Array, x: Array, gamma: Array, beta: Array, eps: float = 1e-5, relu: bool = False
) -> tuple[Array, ...]:
    axes = tuple(range(x.ndim - 1))
    rstd = 1 / np.sqrt(x.var(axes) + eps)
    xhat = (x - x.mean(axes)) * rstd
    y = xhat * gamma + beta
    if relu:
        y, dy = np.maximum(y, 0), np.where(y > 0, dy, 0)
    dx = gamma * rstd * (dy - dy.mean(axes) - xhat * (dy * xhat).mean(axes))
    return y, dx, (dy * xhat).sum(axes), dy.sum(axes)


def layer_norm_grad(dy: Array, x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> tuple[Array, ...]:
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + eps)
    xhat, h = (x - x.mean(-1, keepdims=True)) * rstd, dy * gamma
    dx = rstd * (h - h.mean(-1, keepdims=True) - xhat * (h * xhat).mean(-1, keepdims=True))
    rows = tuple(range(x.ndim - 1))
    return xhat * gamma + beta, dx, (dy * xhat).sum(rows), dy.sum(rows)


def cross_entropy_grad(x: Array, t: Array, label_smoothing: float = 0.0) -> tuple[Array, Array]:
    target = np.eye(x.shape[-1])[t] if t.dtype.kind == "i" else t
    target = (1 - label_smoothing) * target + label_smoothing / x.shape[-1]
    dx = (np.exp(log_softmax(x)) * target.sum(-1, keepdims=True) - target) / len(x)
    return np.asarray(cross_entropy(x, t, label_smoothing).mean()), dx


def interp(x: Array, knots: Array, values: Array) -> tuple[Array, Array]:
    """The line through (knots, values) at x, and its slope; all one-dimensional. Where x meets several equal knots, the
    mean of the first's value and the last's, and slope 0."""
    y, slope = np.empty(x.shape), np.zeros(x.shape)
    for e, v in np.ndenumerate(x):
        at = np.flatnonzero(knots == v)
        if v <= knots[0] or v >= knots[-1]:
            y[e] = values[0] if v <= knots[0] else values[-1]
        else:
            right = int(np.argmax(knots > v))
            left = right - 1
            steep = (values[right] - values[left]) / (knots[right] - knots[left])
            y[e] = (values[at[0]] + values[at[-1]]) / 2 if len(at) else values[left] + steep * (v - knots[left])
            slope[e] = 0.0 if len(at) > 1 else steep
    return y, slope
