"""Minimisers of f(u) + sum l1 |u|: ``problem(u)`` gives value and gradient of f, ``problem.l1`` the strengths.

Both stop where the (pseudo-)gradient g has |g|^2 <= tol^2 (f + l1 |u|): with variables of about unit curvature, half of
|g|^2 is about what is still to be gained.

Design: both call one compiled function per iteration and are NumPy on vectors of the size of the model. Rejected:
``Trainer`` with an optimiser per step (its penalties know no scale per feature, and a solver must look at the
objective to choose its step).
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from .base import Array


def _slope(u: Array, g: Array, l1: Array) -> Array:
    """The subgradient of f + l1 |u| that is closest to 0."""
    at_zero = np.sign(g) * np.maximum(np.abs(g) - l1, 0.0)
    return np.where(u == 0, at_zero, g + l1 * np.sign(u))


def lbfgs(problem: Any, u: Array, max_iter: int, tol: float, memory: int = 10) -> tuple[Array, int, bool]:
    """(u, iterations, converged). L-BFGS (Liu, Nocedal, 1989), which with an L1 penalty stays in an orthant per
    iteration, so that zeros are exact (Andrew, Gao, ICML 2007)."""
    l1, penalised = problem.l1, bool(problem.l1.any())
    pairs: deque[tuple[Array, Array, float]] = deque(maxlen=memory)
    value, g = problem(u)
    whole = value + float((l1 * np.abs(u)).sum())
    for done in range(max_iter):
        slope = _slope(u, g, l1)
        if np.vdot(slope, slope) <= tol * tol * whole:
            return u, done, True
        direction = _two_loops(-slope, pairs)
        if penalised:
            direction[direction * slope > 0] = 0.0
            orthant = np.where(u == 0, -np.sign(slope), np.sign(u))
        if np.vdot(direction, slope) >= 0:  # the curvature is rounding noise
            pairs.clear()
            direction = -slope
        step = 1.0 if pairs else 1.0 / max(1.0, float(np.abs(slope).sum()))
        while True:
            new = u + step * direction
            if penalised:
                new = np.where((l1 > 0) & (np.sign(new) != orthant), 0.0, new)
            new_value, new_g = problem(new)
            new_whole = new_value + float((l1 * np.abs(new)).sum())
            if new_whole <= whole + 1e-4 * np.vdot(slope, new - u):
                break
            step *= 0.5
            if step < 1e-12:  # no better number can be found: as good as rounding allows
                return u, done, bool(np.vdot(slope, slope) <= 1e-6 * whole) or not pairs
        moved, turned = new - u, new_g - g
        curvature = float(np.vdot(moved, turned))
        if curvature > 1e-12 * float(np.vdot(turned, turned)):
            pairs.append((moved, turned, curvature))
        u, g, whole = new, new_g, new_whole
    return u, max_iter, False


def _two_loops(q: Array, pairs: deque[tuple[Array, Array, float]]) -> Array:
    """The inverse of the estimated Hessian times q."""
    factors = []
    q = q.copy()
    for moved, turned, curvature in reversed(pairs):
        by = np.vdot(moved, q) / curvature
        q -= by * turned
        factors.append(by)
    if pairs:
        _, turned, curvature = pairs[-1]
        q *= curvature / np.vdot(turned, turned)
    for (moved, turned, curvature), by in zip(pairs, reversed(factors), strict=True):
        q += (by - np.vdot(turned, q) / curvature) * moved
    return q


def gradient_descent(problem: Any, u: Array, max_iter: int, tol: float) -> tuple[Array, int, bool]:
    """(u, iterations, converged). Gradient descent with Nesterov's momentum, which starts again where it leads uphill
    (O'Donoghue, Candes, 2015), a step size that is halved until it is safe, and a proximal step for an L1 penalty
    (Beck, Teboulle, FISTA, 2009)."""
    l1, step, momentum, ahead = problem.l1, 1.0, 1.0, u
    for done in range(max_iter):
        value, g = problem(ahead)
        slope = _slope(ahead, g, l1)
        if np.vdot(slope, slope) <= tol * tol * (value + float((l1 * np.abs(ahead)).sum())):
            return ahead, done, True
        while True:
            new = ahead - step * g
            new = np.sign(new) * np.maximum(np.abs(new) - step * l1, 0.0)
            moved = new - ahead
            bound = value + np.vdot(g, moved) + np.vdot(moved, moved) / (2 * step)
            if problem(new)[0] <= bound + 1e-14 * abs(value) or step < 1e-12:
                break
            step *= 0.5
        if np.vdot(ahead - new, new - u) > 0:
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum * momentum)) / 2
        ahead, u, momentum = new + (momentum - 1) / following * (new - u), new, following
    return u, max_iter, False


def minimise(problem: Any, solver: str, max_iter: int, tol: float, kinks: bool = False) -> tuple[Array, int, bool]:
    """By "gd" or "lbfgs". kinks: the loss has a corner, which is rounded less and less."""
    method = gradient_descent if solver == "gd" else lbfgs
    u, iterations, converged = problem.start(), 0, True
    for smooth in (1.0, 0.1, 0.01, 1e-3, 1e-4) if kinks else (1.0,):
        problem.smooth = np.array(smooth)
        u, used, converged = method(problem, u, max_iter, tol)
        iterations += used
    return u, iterations, converged
