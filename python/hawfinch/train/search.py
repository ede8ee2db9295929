"""A step of L-BFGS: a Python loop over one plan, which gives loss and gradient of all rows.

Design: the plan is that of a training step whose sweep moves nothing, so that losses, weights, masks and checks are
those of every other training; the vectors of the search are NumPy's. What it keeps is in the trainer's slots, so that
a run can be resumed. Sums are NumPy's pairwise ones of float64 products, the same for any number of threads. Rejected:
a search inside of the plan: its length is not known before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..ir import Array
from .batch_plan import BatchPlan
from .bound import Bound
from .steps import Steps
from .update.columns import values_of

SUFFICIENT, FLAT = 1e-4, 0.9  # of the strong Wolfe conditions
MOST_TRIES = 25
LEAST_CURVATURE = 1e-10


class Point(NamedTuple):
    """On the line: how far, the loss, its slope along the line, the gradient."""

    t: float
    loss: float
    slope: float
    g: Array


def dot(a: Array, b: Array) -> float:
    return float(np.multiply(a, b, dtype=np.float64).sum())


class _Problem:
    """Loss and gradient at any values of what is trained, with L2 penalties; ``evaluations`` counts."""

    def __init__(self, trainer: Bound, plan: BatchPlan, steps: Steps, team: int, first: Callable[[], None]):
        self.trainer, self.plan, self.steps, self.team = trainer, plan, steps, team
        self.store = trainer._model.store()
        self.parts = [slice(p.offset, p.offset + p.room) for p in self.store.trainable.values()]
        update, self.decays = trainer._update, []
        clock = trainer._clock(1)
        for name, penalty in update.penalties.items():
            if name in self.store.trainable:
                p = self.store.trainable[name]
                l2 = float(np.ravel(values_of("strength", penalty.l2, clock))[-1])
                self.decays.append((slice(p.offset, p.offset + p.room), l2))
        self.step0 = trainer.state.step
        first()
        self.sums = plan.sums.copy()
        self.evaluations = 1

    def x(self) -> Array:
        return np.concatenate([self.store.params[part] for part in self.parts])

    def put(self, x: Array) -> None:
        at = 0
        for part in self.parts:
            n = part.stop - part.start
            self.store.params[part] = x[at : at + n]
            at += n

    def taken(self) -> tuple[float, Array]:
        """Of the last evaluation."""
        loss, gradient = float(self.plan.value[0]), self.trainer.gradient
        assert gradient is not None
        params = self.store.params
        for part, l2 in self.decays:
            loss += l2 * dot(params[part], params[part])
            gradient[part] += params.dtype.type(2 * l2) * params[part]
        return loss, np.concatenate([gradient[part] for part in self.parts])

    def at(self, x: Array) -> tuple[float, Array] | None:
        """None where loss or gradient is not finite."""
        self.put(x)
        self.evaluations += 1
        s, state = self.steps, self.trainer.state
        how = (1, s.batch, s.data.rows, s.order, s.scalars, state.seed, self.step0, self.team, -1, 0)
        self.plan.set_data(s.data.arrays)
        try:
            status, _ = self.plan.core.run(self.plan.buffers, *how)
        finally:
            self.plan.core.drop_sources()
        return self.taken() if status == _core.OK else None


def search_step(trainer: Bound, plan: BatchPlan, steps: Steps, team: int, first: Callable[[], None]) -> None:
    """One step of the trainer's LBFGS. first: runs the plan's step, with all its checks, and counts it."""
    problem = _Problem(trainer, plan, steps, team, first)
    x = problem.x()
    try:
        x = _iterate(trainer, problem, x)
    finally:
        problem.put(x)
        plan.sums[...] = problem.sums


def _iterate(trainer: Bound, problem: _Problem, x: Array) -> Array:
    o: Any = trainer._optimizer
    loss, g = problem.taken()
    names, n = list(problem.store.trainable), len(x)
    kept = trainer.state.update.search
    if kept.get("trained") != names:
        kept.clear()
        kept |= {"trained": names, "used": 0, "iterations": 0, "t": 0.0, "scale": 1.0}
    slots = {k: trainer.state.slots[k] for k in o.slots}
    moves, changes = (slots[k][: o.history_size * n].reshape(o.history_size, n) for k in ("steps", "changes"))
    direction, before = slots["direction"][:n], slots["gradient_before"][:n]
    most = o.max_eval or o.max_iter * 5 // 4
    if np.abs(g).max(initial=0.0) <= o.tolerance_grad:
        return x
    for _ in range(o.max_iter):
        if kept["iterations"] == 0:
            direction[...] = -g
        else:
            change, move = g - before, direction * x.dtype.type(kept["t"])
            curvature = dot(change, move)
            if curvature > LEAST_CURVATURE:
                if kept["used"] == o.history_size:
                    moves[:-1], changes[:-1] = moves[1:].copy(), changes[1:].copy()
                    kept["used"] -= 1
                moves[kept["used"]], changes[kept["used"]] = move, change
                kept["used"] += 1
                kept["scale"] = curvature / dot(change, change)
            direction[...] = -_times_inverse(g, moves[: kept["used"]], changes[: kept["used"]], kept["scale"])
        before[...] = g
        slope = dot(g, direction)
        if slope > -o.tolerance_change:
            break
        t = o.lr if kept["iterations"] else min(1.0, 1.0 / float(np.abs(g).sum(dtype=np.float64))) * o.lr
        kept["iterations"] += 1
        start = Point(0.0, loss, slope, g)
        found = _search(problem, x, direction, t, start, o.line_search is not None)
        kept["t"] = found.t
        if found.t == 0.0:  # no better point, to the digits that there are
            break
        x = x + direction * x.dtype.type(found.t)
        loss, g, last = found.loss, found.g, loss
        small = found.t * float(np.abs(direction).max()) <= o.tolerance_change
        if np.abs(g).max() <= o.tolerance_grad or small or abs(loss - last) < o.tolerance_change:
            break
        if problem.evaluations >= most:
            break
    return x


def _times_inverse(g: Array, moves: Array, changes: Array, scale: float) -> Array:
    """H g by the two loops over the history."""
    q, factors = g.copy(), []
    kind = g.dtype.type
    for move, change in zip(moves[::-1], changes[::-1], strict=True):
        rho = 1.0 / dot(change, move)
        factors.append((rho, rho * dot(move, q)))
        q -= kind(factors[-1][1]) * change
    q *= kind(scale)
    for move, change, (rho, factor) in zip(moves, changes, reversed(factors), strict=True):
        q += kind(factor - rho * dot(change, q)) * move
    return q


def _search(problem: _Problem, x: Array, direction: Array, t: float, start: Point, wolfe: bool) -> Point:
    """The point that is taken; ``start`` where none is better."""

    def at(t: float) -> Point | None:
        found = problem.at(x + direction * x.dtype.type(t))
        return None if found is None else Point(t, found[0], dot(found[1], direction), found[1])

    last, tries = start, 0
    while tries < MOST_TRIES:
        tries += 1
        point = at(t)
        if point is None:  # too far: half of the way
            t = last.t + 0.5 * (t - last.t)
            continue
        if not wolfe:
            return point
        if point.loss > start.loss + SUFFICIENT * t * start.slope or (last.t > 0 and point.loss >= last.loss):
            return _between(at, last, point, start, MOST_TRIES - tries)
        if abs(point.slope) <= -FLAT * start.slope:
            return point
        if point.slope >= 0:
            return _between(at, point, last, start, MOST_TRIES - tries)
        wanted = _cubic(last, point)
        last, t = point, min(max(wanted, t + 0.01 * (t - last.t)), 10 * t) if wanted > t else 2 * t
    return last


def _between(at: Callable[[float], Point | None], low: Point, high: Point, start: Point, tries: int) -> Point:
    """A point between the two that meets the conditions; ``low`` is the better one, and its slope leads to ``high``."""
    for _ in range(tries):
        a, b = min(low.t, high.t), max(low.t, high.t)
        t = min(max(_cubic(low, high), a + 0.1 * (b - a)), b - 0.1 * (b - a))
        if not a < t < b or abs(low.slope) * (b - a) < 1e-16 * max(abs(low.loss), 1e-300):
            break
        point = at(t)
        if point is None or point.loss > start.loss + SUFFICIENT * t * start.slope or point.loss >= low.loss:
            high = Point(t, np.inf, np.inf, low.g) if point is None else point
            continue
        if abs(point.slope) <= -FLAT * start.slope:
            return point
        if point.slope * (high.t - low.t) >= 0:
            high = low
        low = point
    return low


def _cubic(a: Point, b: Point) -> float:
    """Where the cubic through both losses and slopes is least; the middle where there is no such place."""
    middle = 0.5 * (a.t + b.t)
    if not np.isfinite([a.loss, a.slope, b.loss, b.slope]).all() or a.t == b.t:
        return middle
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return middle
    d2 = float(np.copysign(np.sqrt(square), b.t - a.t))
    below = b.slope - a.slope + 2 * d2
    return b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below) if below else middle
