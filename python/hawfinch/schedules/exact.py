"""cos, log2 and powers from additions, products, quotients and changes of the exponent alone: the same bits everywhere.

Measured against NumPy: below 1e-15 off for cos, 1e-15 relative for log2; powers 1e-15 times the number of factors, or
times |log2| of the result.
"""

from __future__ import annotations

import math

import numpy as np

from ..ir import Array

LN2 = 0.6931471805599453  # the nearest float64


def cos_pi(u: Array) -> Array:
    """cos(pi u) for u in [0, 1]: -sin z, z = pi (u - 1/2), by its Taylor series up to z^21."""
    z = np.pi * (np.asarray(u, np.float64) - 0.5)
    square = z * z
    series = np.zeros_like(z)
    for n in range(20, 0, -2):  # 1 - z^2 / (2 3) (1 - z^2 / (4 5) (1 - ...))
        series = square * (1.0 - series) / (n * (n + 1.0))
    return z * (series - 1.0)


def cos_turns(u: Array) -> Array:
    """cos(2 pi u) for any u >= 0."""
    part = 2.0 * (u - np.floor(u))
    return cos_pi(np.minimum(part, 2.0 - part))


def log2(x: Array) -> Array:
    """For normal x > 0: x = m 2^e with m in [sqrt(1/2), sqrt(2)), ln m = 2 (s + s^3 / 3 + ...), s = (m - 1)/(m + 1)."""
    m, e = np.frexp(x)
    low = m < math.sqrt(0.5)
    m, e = np.where(low, 2.0 * m, m), e - low
    s = (m - 1.0) / (m + 1.0)
    square, series = s * s, np.zeros_like(s)
    for k in range(23, 0, -2):
        series = series * square + 1.0 / k
    return e + (2.0 / LN2) * (s * series)


def exp2(y: Array) -> Array:
    """2^y: of the nearest whole number exactly, of the rest by the Taylor series of exp."""
    whole = np.floor(np.clip(y, -1100.0, 1100.0) + 0.5)
    z = (np.clip(y, -1100.0, 1100.0) - whole) * LN2
    series = np.ones_like(z)
    for n in range(16, 0, -1):
        series = 1.0 + z * series / n
    with np.errstate(under="ignore", over="ignore"):
        return np.ldexp(series, whole.astype(np.int64))


def whole_power(base: float, exponents: Array) -> Array:
    """base**exponents for whole numbers >= 0, by squaring."""
    left = np.array(exponents, np.int64)
    result, square = np.ones(len(left)), np.float64(base)
    with np.errstate(under="ignore", over="ignore"):
        while left.any():
            result = np.where(left & 1, result * square, result)
            square, left = square * square, left >> 1
    return result


def power(base: Array | float, exponent: Array | float) -> Array:
    """base**exponent for base >= 0 and exponent >= 0; 0**0 is 1."""
    base, exponent = np.broadcast_arrays(np.asarray(base, np.float64), np.asarray(exponent, np.float64))
    some = base > 0
    found = exp2(exponent * log2(np.where(some, base, 1.0)))
    return np.where(some, found, np.where(exponent == 0, 1.0, 0.0))
