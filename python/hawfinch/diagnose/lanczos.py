"""Eigenvalues, spectrum and trace of a symmetric matrix of which only products with vectors are known.

Design: products with the basis go through compiled functions, so that the numbers are the same for any number of
threads; the small matrices are NumPy's. The basis is orthogonalised, which is what keeps copies of an eigenvalue
out, and restarted (Wu, Simon, SIAM J. Matrix Anal. Appl. 22, 2000) where it would not fit in memory.
Rejected: power iteration with deflation, which needs some ten times the products, one eigenvalue after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..function import compile as compiled
from ..ir import Array
from ..ops import reshape

Product = Callable[[Array, Array], Any]  # (v, out): writes the matrix times v to out
BLOCK = 8  # rows by which the basis is multiplied
BASIS_BYTES = 1 << 28
MOST_BASIS = 160
FLOOR = 1e-2  # of the spectrum's width: a smaller eigenvalue's error is measured by this much of it

_times = compiled(lambda basis, v: basis @ v)
_combined = compiled(lambda c, basis: c @ basis)


@compiled
def _rest(w: Any, v: Any, u: Any, b: Any) -> tuple[Any, Any, Any]:
    """alpha = w'v, r = w - alpha v - b u, r'r."""
    row = reshape(w, (1, -1))
    alpha = row @ v
    r = w - alpha * v - b * u
    return alpha, r, reshape(r, (1, -1)) @ r


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
    return float(_times(a.reshape(1, -1), b)[0])


def _unit(v: Array) -> tuple[Array, float]:
    length = _dot(v, v) ** 0.5
    return (v / v.dtype.type(length) if length else v), length


class Steps:
    """The recurrence H v_j = sum_i T_ij v_i, a row of the basis at a time.

    A new row is orthogonalised against all others where the recurrence of w_jk = v_j' v_k, which follows from T alone,
    says that half of the digits are lost, and the row after it too; T is then exact to all of them (Simon, Linear
    Algebra Appl. 61, 1984). Each time would cost more than the products do.
    """

    def __init__(self, product: Product, basis: Basis, t: Array):
        self.product, self.basis, self.t = product, basis, t
        dtype = basis.rows.dtype
        self.made, self.w = (np.empty(basis.rows.shape[1], dtype) for _ in range(2))
        self.outs = (np.empty(1, dtype), self.w, np.empty(1, dtype))
        self.eps = float(np.finfo(self.w.dtype).eps)
        self.begin(0)

    def begin(self, j: int) -> None:
        """Goes on from row j, which is orthogonal to those before it."""
        self.last, self.now = np.full(max(j - 1, 0), self.eps), np.full(j, self.eps)
        self.again = True  # the next row too

    def step(self, j: int) -> float:
        """Makes row j + 1 and T_jj; gives beta, 0 where the rows span all that the matrix makes of them."""
        basis, w, t, kind = self.basis, self.w, self.t, self.w.dtype.type
        links = t[:j, j]
        self.product(basis.rows[j], self.made)
        u, back = (basis.rows[j - 1], links[-1]) if j and not links[:-1].any() else (basis.rows[j], 0.0)
        if links[:-1].any():  # behind a restart
            u, back = basis.combination(links), 1.0
        alphas, _, squares = _rest(self.made, basis.rows[j], u, kind(back), out=self.outs)
        t[j, j] = alpha = float(alphas[0])
        beta = float(squares[0]) ** 0.5
        size = max(abs(alpha), float(np.abs(links).max(initial=0.0)), beta)
        if not self._is_orthogonal(j, beta, size):
            for _ in range(2):
                before = beta
                c = basis.coefficients(j + 1, w)
                w -= basis.combination(c)
                t[j, j] += float(c[j])
                beta = _dot(w, w) ** 0.5
                if beta > 0.7 * before:
                    break
        if beta <= 8 * self.eps * size:
            self.again = True
            return 0.0
        np.divide(w, kind(beta), out=basis.rows[j + 1])
        return beta

    def _is_orthogonal(self, j: int, beta: float, size: float) -> bool:
        """Whether row j + 1 is, by the recurrence."""
        now, last = np.append(self.now[:j], 1.0), np.append(self.last, 1.0)[:j]
        if beta <= 1e3 * self.eps * size:
            following = np.ones(j + 1)
        else:
            t = self.t[: j + 1, : j + 1]
            following = np.full(j + 1, self.eps)
            if j:
                found = (t @ now)[:j] - t[j, j] * now[:j] - t[j - 1, j] * last
                following[:j] += (np.abs(found) + 2 * self.eps * size) / beta
        fine = not self.again and float(following.max()) < self.eps**0.5
        self.again = not fine and not self.again
        self.last, self.now = self.now[:j], following if fine else np.full(j + 1, self.eps)
        return fine


def extreme_pairs(
    product: Product,
    n: int,
    dtype: str,
    k: int,
    tolerance: float,
    most: int,
    rng: np.random.Generator,
    ends: tuple[bool, bool] = (True, True),
) -> Eigenpairs:
    """The k smallest and the k largest eigenpairs (all of them, where there are no more), or of one end. A pair has
    converged when its residual is at most tolerance times its value, or times 1 % of the spectrum's width where that is
    more."""
    room = BASIS_BYTES // (n * np.dtype(dtype).itemsize)
    size = min(n, max(4 * k + 16, min(MOST_BASIS, room)))
    kept = min(2 * k + 8, size - 4) if size < n else 0  # at each end half of them, at a restart
    basis, t = Basis(size, n, dtype), np.zeros((size, size))
    steps = Steps(product, basis, t)
    basis.rows[0] = _unit(rng.standard_normal(n).astype(dtype))[0]
    j, products, first = 0, 0, 0
    while True:
        beta = steps.step(j)
        products += 1
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
            low, high = (min(k, j + 1) if end else 0 for end in ends)
            wanted = np.unique(np.r_[:low, j + 1 - high : j + 1])
            residuals = beta * np.abs(s[-1])
            scale = np.maximum(np.abs(values), FLOOR * (values[-1] - values[0]))
            close = bool((residuals[wanted] <= tolerance * scale[wanted] + 1e-300).all())
            enough = len(wanted) == k * sum(ends) or j + 1 == n
            full = j + 1 == n
            if full or (close and enough and products > 2 * k + 4) or products >= most:
                vectors = basis.combination(s[:, wanted].T)
                return Eigenpairs(values[wanted], vectors, residuals[wanted], products, close or full)
            if j + 1 == size:
                keep = np.r_[: kept // 2, j + 1 - (kept - kept // 2) : j + 1]
                ritz = basis.combination(s[:, keep].T)
                basis.rows[kept] = basis.rows[j + 1]
                basis.rows[:kept] = ritz
                t[...] = 0
                t[:kept, :kept] = np.diag(values[keep])
                t[kept, :kept] = t[:kept, kept] = beta * s[-1, keep]
                j = first = kept
                steps.begin(j)
                continue
        j += 1


def quadrature(
    product: Product, n: int, dtype: str, draws: int, steps: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Stochastic Lanczos quadrature: (nodes, weights) of the density of eigenvalues, weights summing to 1."""
    steps = min(steps, n)
    basis = Basis(steps, n, dtype)
    nodes, weights = [], []
    for _ in range(draws):
        basis.rows[0] = rng.choice([-1.0, 1.0], n) / np.sqrt(n)
        t = np.zeros((steps, steps))
        recurrence = Steps(product, basis, t)
        for j in range(steps):
            beta = recurrence.step(j)
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
