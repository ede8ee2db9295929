"""``sharpness`` and ``loss_landscape``: the loss around a net, in units of its filters' lengths.

Design: a direction is normalised filter by filter (Li, Xu, Taylor, Studer, Goldstein, NeurIPS 2018), so that nets whose
layers are scaled against each other, and compute the same, look alike. A filter is the weights of one output, all axes
but the last; an array of one axis (a bias, a norm's scale) is one. Rejected: directions as they come, in which a net
with large weights looks flat.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, import_extra
from ..ir import Array
from ..nn.module import Module
from ..values import check_real, check_whole, short
from .hessian import Curvature
from .lanczos import extreme_pairs
from .surface import Surface

ASCENT = 10  # steps of the search for the largest loss in a ball


def filter_lengths(surface: Surface, point: Array) -> Array:
    """For each parameter the length of its filter."""
    found = np.empty(surface.size)
    for part in surface.parts:
        a = point[part.slice].reshape(part.shape)
        axes = tuple(range(a.ndim - 1)) if a.ndim > 1 else None
        found[part.slice] = np.broadcast_to(np.sqrt(np.square(a).sum(axes, keepdims=True)), part.shape).reshape(-1)
    return found


def _normalised(surface: Surface, direction: Array, lengths: Array) -> Array:
    """direction, each filter as long as the net's."""
    own = filter_lengths(surface, direction)
    return direction * np.divide(lengths, own, out=np.zeros_like(own), where=own > 0)


class Sharpness(NamedTuple):
    """``largest``, ``trace``: of the Hessian's eigenvalues. ``normalised``: the largest one where each parameter is
    measured in units of its filter's length: that of D H D. ``loss``; ``worst``: the largest loss found where no filter
    is moved by more than ``radius`` of its length; ``rise``: worst - loss."""

    largest: float
    trace: float
    normalised: float
    loss: float
    worst: float
    rise: float
    radius: float


def sharpness(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    radius: float = 0.05,
    training: bool = False,
    rows: int | None = None,
    seed: int = 0,
) -> Sharpness:
    """How sharp the loss of these rows is around the net, measured in three ways, two of them free of how layers are
    scaled against each other.

    The largest eigenvalue and the trace of the Hessian; the largest eigenvalue of D H D, D the lengths of the
    parameters' filters; and the largest loss with every filter w moved by at most radius |w| (default 0.05), looked for
    along the gradient in 10 steps, so that it is a lower bound. training, rows: as in ``curvature``. The model is not
    changed. Raises ArgumentError, ShapeError, NonFiniteError. Keskar et al., ICLR 2017; Kwon et al., "ASAM", ICML 2021.

    >>> x = np.array([[1.0], [-1.0]])
    >>> model = hf.Sequential(hf.Linear(1, bias=False)).build((1,))
    >>> model.parameters()["0.weight"][...] = 2
    >>> found = hf.sharpness(model, x, x, loss=hf.MSE())  # (w - 1)^2 at w = 2, and at 2.1
    >>> found.largest, found.trace, found.normalised, round(found.rise, 6)
    (2.0, 2.0, 8.0, 0.21)
    """
    reach = check_real(radius, "radius", "in (0, 1000]", lambda v: 0 < v <= 1000)
    surface = Surface(model, x, y, loss, training=training, seed=seed, rows=rows)
    base = surface.checked_value()
    c = Curvature(surface)
    lengths = filter_lengths(surface, surface.point)

    def scaled(v: Array, out: Array) -> None:
        surface.hvp(lengths * v, out)
        np.multiply(out, lengths, out=out)

    pairs = extreme_pairs(
        scaled, surface.size, surface.dtype, 1, 1e-5, 1000, np.random.default_rng(seed), (False, True)
    )
    worst = _worst(surface, lengths, reach, seed)
    largest, trace = c.extreme(ends="largest", seed=seed).largest, c.trace(seed=seed)
    return Sharpness(largest, trace, pairs.largest, base, worst, worst - base, reach)


def _worst(surface: Surface, lengths: Array, radius: float, seed: int) -> float:
    """The largest loss met on the way up, within the ball."""
    centre, worst = surface.point, surface.value()
    moved = 1e-3 * radius * _normalised(surface, np.random.default_rng(seed).standard_normal(surface.size), lengths)
    for _ in range(ASCENT):
        surface.move_to(centre + moved)
        value, g = surface.value_and_gradient()
        worst = max(worst, value)
        # up as far as the ball goes: the direction of steepest rise with filters measured by their lengths
        up = _normalised(surface, g, lengths)
        moved = radius * up if np.isfinite(up).all() else moved
        surface.move_to(centre + moved)
        value = surface.value()
        if np.isfinite(value):
            worst = max(worst, value)
    surface.move_to(centre)
    return worst


class Landscape:
    """Losses along a line (``a``, ``loss`` (points,)) or in a plane (``a``, ``b``, ``loss`` (points of b, points of
    a))."""

    def __init__(self, a: Array, b: Array | None, loss: Array, to_net: bool):
        self.a, self.b, self.loss, self._to_net = a, b, loss, to_net

    def __repr__(self) -> str:
        where = "line" if self.b is None else "plane"
        low, high = np.nanmin(self.loss), np.nanmax(self.loss)
        return f"Landscape({where}: loss from {low:.4g} to {high:.4g})"

    @property
    def barrier(self) -> float:
        """On a line from one net (0) to another (1): how far the loss between them rises above the straight line
        between their losses; 0 where it does not. Frankle et al., ICML 2020."""
        if self.b is not None or not self._to_net:
            raise ArgumentError("barrier is of a line between two nets: loss_landscape(..., to=other)")
        within = (self.a >= 0) & (self.a <= 1)
        ends = np.interp([0.0, 1.0], self.a, self.loss)
        straight = ends[0] + (ends[1] - ends[0]) * self.a
        return float(max(0.0, np.max((self.loss - straight)[within])))

    def plot(self, ax: Any = None) -> Any:
        """Draws the line, or the plane as contours of equal loss; gives the Axes. Needs matplotlib."""
        plt = import_extra("matplotlib.pyplot", "plot")
        if ax is None:
            ax = plt.subplots(figsize=(6, 4.5 if self.b is not None else 4), layout="constrained")[1]
        if self.b is None:
            ax.plot(self.a, self.loss)
            for at in (0, 1) if self._to_net else (0,):
                ax.axvline(at, color="gray", linestyle=":", linewidth=1)
            ax.set_xlabel("0: the net, 1: the other one" if self._to_net else "along the direction")
            ax.set_ylabel("loss")
            ax.grid(alpha=0.3)
            return ax
        finite = self.loss[np.isfinite(self.loss)]
        low, high = float(finite.min()), float(finite.max())
        levels = np.linspace(low, high, 25) if low <= 0 or high / low < 5 else np.geomspace(low, high, 25)
        if high <= low:
            levels = np.array([low, low + 1.0])
        drawn = ax.contourf(self.a, self.b, np.where(np.isfinite(self.loss), self.loss, high), levels, cmap="viridis")
        ax.figure.colorbar(drawn, ax=ax, label="loss", format="%.3g")
        ax.plot([0], [0], "+", color="white", markersize=12, markeredgewidth=2)
        ax.set_xlabel("first direction, in filter lengths")
        ax.set_ylabel("second direction")
        return ax


def loss_landscape(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    to: Module | None = None,
    points: int = 21,
    span: float = 1.0,
    training: bool = False,
    rows: int | None = None,
    seed: int = 0,
) -> Landscape:
    """The loss of these rows around a net, or between two.

    Without ``to``: in a plane of points x points (default 21) around the net, up to span (default 1) to each side,
    along two random directions whose every filter is as long as the net's. to: another net of the same architecture: on
    the line p + a (q - p), a from -span / 4 to 1 + span / 4, in points points; running statistics are interpolated
    too. training, rows: as in ``curvature``. Nothing is changed. Gives a Landscape with ``a``, ``b``, ``loss``,
    ``barrier`` and ``plot()``. Raises ArgumentError, ShapeError, NonFiniteError. Goodfellow, Vinyals, Saxe, ICLR 2015;
    Li et al., NeurIPS 2018.

    >>> x = np.array([[1.0], [-1.0]])
    >>> one, other = (hf.Sequential(hf.Linear(1, bias=False)).build((1,)) for _ in range(2))
    >>> one.parameters()["0.weight"][...], other.parameters()["0.weight"][...] = 0, 2
    >>> line = hf.loss_landscape(one, x, x, loss=hf.MSE(), to=other, points=7)  # (w - 1)^2
    >>> line.a.tolist(), line.loss.tolist()
    ([-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25], [2.25, 1.0, 0.25, 0.0, 0.25, 1.0, 2.25])
    """
    count, reach = check_whole(points, "points", 2), check_real(span, "span", "in (0, 1000]", lambda v: 0 < v <= 1000)
    surface = Surface(model, x, y, loss, training=training, seed=seed, rows=rows)
    surface.checked_value()
    if to is not None:
        return _between(surface, to, count, reach)
    point, rng = surface.point, np.random.default_rng(seed)
    lengths = filter_lengths(surface, point)
    u, v = [_normalised(surface, rng.standard_normal(surface.size), lengths) for _ in range(2)]
    a = np.linspace(-reach, reach, count)
    found = np.empty((count, count))
    for i, q in enumerate(a):
        for j, p in enumerate(a):
            surface.move_to(point + p * u + q * v)
            found[i, j] = surface.value()
    return Landscape(a, a, found, False)


def _between(surface: Surface, to: Module, points: int, span: float) -> Landscape:
    if not isinstance(to, Module):
        raise ArgumentError(f"to must be another model, not {short(to)}")
    ours = {**surface.model.parameters(), **surface.model.buffers()}
    theirs = {**to.parameters(), **to.buffers()}
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        raise ArgumentError("to must be a model of the same architecture: its arrays have other names or shapes")
    starts = {k: v.copy() for k, v in ours.items()}
    a = np.linspace(-span / 4, 1 + span / 4, points)
    found = np.empty(points)
    for i, t in enumerate(a):
        for k, v in ours.items():
            v[...] = starts[k] + t * (theirs[k] - starts[k])
        found[i] = surface.value()
    return Landscape(a, None, found, True)
