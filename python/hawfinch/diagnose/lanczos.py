"""Eigenvalues, spectrum and trace of a symmetric matrix of which only products with vectors are known.

Design: products with the basis go through compiled functions, so that the numbers are the same for any number of
threads; the small matrices are NumPy's. The basis is orthogonalised in full, which is what keeps copies of an
eigenvalue out, and restarted (Wu, Simon, SIAM J. Matrix Anal. Appl. 22, 2000) where it would not fit in memory.
Rejected: power iteration with deflation, which needs some ten times the products, one eigenvalue after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..function import compile as compiled
from ..ir import Array

Product = Callable[[Array, Array], Any]  # (v, out): writes the matrix times v to out
BLOCK = 8  # rows by which the basis is multiplied
BASIS_BYTES = 1 << 28
MOST_BASIS = 160
FLOOR = 1e-2  # of the spectrum's width: a smaller eigenvalue's error is measured by this much of it

_times = compiled(lambda basis, v: basis @ v)
_combined = compiled(lambda c, basis: c @ basis)


class Eigenpairs(NamedTuple):
    """Of a symmetric matrix: ``values`` ascending, the smallest and the largest; ``vectors`` (values, n), of length 1.

    ``residuals``: |H v - value v|, which bounds each error. ``products``: with the matrix, that it took.
    """

    values: Array
    vectors: Array
    residuals: Array
    products: int
    converged: bool

    @property
    def smallest(self) -> float:
        return float(self.values[0])

    @property
    def largest(self) -> float:
        return float(self.values[-1])


class Basis:
    """Orthonormal rows, to which one is added at a time."""

    def __init__(self, most: int, n: int, dtype: str):
        self.rows = np.zeros((-(-(most + 1) // BLOCK) * BLOCK, n), dtype)

    def coefficients(self, count: int, v: Array) -> Array:
        return _times(self.rows[: -(-count // BLOCK) * BLOCK], v)[:count]

    def combination(self, c: Array) -> Array:
        """c @ the first rows; c (k, count) or (count,)."""
        count = c.shape[-1]
        padded = np.zeros((*c.shape[:-1], -(-count // BLOCK) * BLOCK), self.rows.dtype)
        padded[..., :count] = c
        return _combined(padded, self.rows[: padded.shape[-1]])


def _dot(a: Array, b: Array) -> float:
    return float(np.multiply(a, b, dtype=np.float64).sum())


def _unit(v: Array) -> tuple[Array, float]:
    length = _dot(v, v) ** 0.5
    return (v / v.dtype.type(length) if length else v), length


def _step(product: Product, basis: Basis, j: int, w: Array, links: Array) -> tuple[float, float]:
    """Row j + 1 of the basis from row j; (alpha, beta). links: what T[:j, j] is known to be. beta is 0 where the rows
    span all that the matrix makes of them."""
    product(basis.rows[j], w)
    alpha = _dot(w, basis.rows[j])
    w -= basis.rows.dtype.type(alpha) * basis.rows[j]
    coupled = np.flatnonzero(links)
    if len(coupled) == 1:
        w -= basis.rows.dtype.type(links[coupled[0]]) * basis.rows[coupled[0]]
    elif len(coupled):
        w -= basis.combination(links)
    size = max(abs(alpha), float(np.abs(links).max(initial=0.0)), _dot(w, w) ** 0.5)
    for _ in range(2):
        before = _dot(w, w)
        c = basis.coefficients(j + 1, w)
        w -= basis.combination(c)
        alpha += float(c[j])
        beta = _dot(w, w) ** 0.5
        if beta > 0.7 * before**0.5:
            break
    if beta <= 8 * np.finfo(w.dtype).eps * size:
        return alpha, 0.0
    np.divide(w, w.dtype.type(beta), out=basis.rows[j + 1])
    return alpha, beta


def extreme_pairs(
    product: Product, n: int, dtype: str, k: int, tolerance: float, most: int, rng: np.random.Generator
) -> Eigenpairs:
    """The k smallest and the k largest eigenpairs (all of them, where there are no more). A pair has converged when its
    residual is at most tolerance times its value, or times 1 % of the spectrum's width where that is more."""
    room = BASIS_BYTES // (n * np.dtype(dtype).itemsize)
    size = min(n, max(4 * k + 16, min(MOST_BASIS, room)))
    kept = min(2 * k + 8, size - 4) if size < n else 0  # at each end half of them, at a restart
    basis, t, w = Basis(size, n, dtype), np.zeros((size, size)), np.empty(n, dtype)
    basis.rows[0] = _unit(rng.standard_normal(n).astype(dtype))[0]
    j, products, first = 0, 0, 0
    while True:
        alpha, beta = _step(product, basis, j, w, t[:j, j])
        products += 1
        t[j, j] = alpha
        if beta == 0.0 and j + 1 < n and j + 1 < size:  # go on in what has not been met
            fresh = rng.standard_normal(n).astype(dtype)
            for _ in range(2):
                fresh -= basis.combination(basis.coefficients(j + 1, fresh))
            basis.rows[j + 1] = _unit(fresh)[0]
        if j + 1 < size:
            t[j, j + 1] = t[j + 1, j] = beta
        done = products >= most or j + 1 == size
        if done or (j - first) % 5 == 4:
            values, s = np.linalg.eigh(t[: j + 1, : j + 1])
            wanted = np.unique(np.r_[: min(k, j + 1), max(0, j + 1 - k) : j + 1])
            residuals = beta * np.abs(s[-1])
            scale = np.maximum(np.abs(values), FLOOR * (values[-1] - values[0]))
            close = bool((residuals[wanted] <= tolerance * scale[wanted] + 1e-300).all())
            enough = len(wanted) == 2 * k or j + 1 == n
            full = j + 1 == n
            if full or (close and enough and products > 2 * k + 4) or products >= most:
                vectors = basis.combination(s[:, wanted].T)
                return Eigenpairs(values[wanted], vectors, residuals[wanted], products, close or full)
            if j + 1 == size:
                ends = np.r_[: kept // 2, j + 1 - (kept - kept // 2) : j + 1]
                ritz = basis.combination(s[:, ends].T)
                basis.rows[kept] = basis.rows[j + 1]
                basis.rows[:kept] = ritz
                t[...] = 0
                t[:kept, :kept] = np.diag(values[ends])
                t[kept, :kept] = t[:kept, kept] = beta * s[-1, ends]
                j = first = kept
                continue
        j += 1


def quadrature(
    product: Product, n: int, dtype: str, draws: int, steps: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Stochastic Lanczos quadrature: (nodes, weights) of the density of eigenvalues, weights summing to 1."""
    steps = min(steps, n)
    basis, w = Basis(steps, n, dtype), np.empty(n, dtype)
    nodes, weights = [], []
    for _ in range(draws):
        basis.rows[0] = rng.choice([-1.0, 1.0], n) / np.sqrt(n)
        t = np.zeros((steps, steps))
        for j in range(steps):
            t[j, j], beta = _step(product, basis, j, w, t[:j, j])
            if j + 1 == steps or beta == 0.0:
                break
            t[j, j + 1] = t[j + 1, j] = beta
        values, s = np.linalg.eigh(t[: j + 1, : j + 1])
        nodes.append(values)
        weights.append(np.square(s[0]) / draws)
    return np.concatenate(nodes), np.concatenate(weights)


def trace_of(product: Product, n: int, dtype: str, products: int, rng: np.random.Generator) -> float:
    """Hutch++: exact on the range of a third of the products, Hutchinson's estimate on the rest."""
    w = np.empty(n, dtype)

    def times(columns: Array) -> Array:
        found = np.empty(columns.shape, np.float64)
        for i, v in enumerate(columns.T):
            product(np.ascontiguousarray(v, dtype=dtype), w)
            found[:, i] = w
        return found

    if products >= n:
        total = 0.0
        for i in range(n):
            e = np.zeros(n, dtype)
            e[i] = 1
            product(e, w)
            total += float(w[i])
        return total
    third = max(1, products // 3)
    q, _ = np.linalg.qr(times(rng.choice([-1.0, 1.0], (n, third))))
    rest = rng.choice([-1.0, 1.0], (n, max(1, products - 2 * third)))
    rest -= q @ (q.T @ rest)
    sketched = float(np.sum(q * times(q)))
    return sketched + float(np.sum(rest * times(rest))) / rest.shape[1]
