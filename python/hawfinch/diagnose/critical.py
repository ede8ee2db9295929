"""``critical_point``: minimum, maximum or saddle, and the way out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import import_extra
from ..ir import Array
from ..values import check_real
from .hessian import Curvature
from .lanczos import Eigenpairs
from .surface import Surface

FLAT = 1e-5  # of the largest absolute eigenvalue: less is no curvature


class CriticalPoint:
    """What ``critical_point`` found.

    ``loss``, ``gradient_norm``; ``gain``: what a step down the gradient could take off the loss, at most and to second
    order, |g|^2 / 2 |H|; ``near``: whether that is next to nothing. ``kind``: "minimum", "maximum", "saddle" or "flat",
    by the signs of ``smallest`` and ``largest``, the extreme eigenvalues (whose vectors are in ``pairs``). ``escape``:
    by name, the direction in which the loss curves down the most, of length 1, to the side where it falls further; None
    where it curves down nowhere. ``distance`` and ``lower``: how far along it the loss is least, and what it is there.
    """

    def __init__(self, surface: Surface, pairs: Eigenpairs, loss: float, gradient_norm: float, tolerance: float):
        self._surface, self.pairs, self.loss, self.gradient_norm = surface, pairs, loss, gradient_norm
        self.smallest, self.largest = pairs.smallest, pairs.largest
        size = max(abs(self.smallest), abs(self.largest))
        self.gain = gradient_norm**2 / (2 * size) if size else (np.inf if gradient_norm else 0.0)
        self.near = self.gain <= tolerance * abs(loss) or gradient_norm == 0
        down, up = self.smallest < -FLAT * size, self.largest > FLAT * size
        self.kind = "saddle" if down and up else "minimum" if up else "maximum" if down else "flat"
        self.escape: dict[str, Array] | None = None
        self.distance, self.lower = 0.0, loss
        if down:
            self._look_for_a_way(pairs.vectors[0])

    def _look_for_a_way(self, v: Array) -> None:
        scale = max(1.0, float(np.sqrt(np.square(self._surface.point).sum())))
        steps = scale * np.logspace(-4, 0, 33)
        sides = {side: self._line(side * v, steps) for side in (1.0, -1.0)}
        best = min(sides, key=lambda side: float(np.nanmin(sides[side])))
        at = int(np.nanargmin(sides[best]))
        self._direction = best * v
        self.escape = self._surface.by_name(self._direction)
        if sides[best][at] < self.loss:
            self.distance, self.lower = float(steps[at]), float(sides[best][at])

    def _line(self, v: Array, steps: Array) -> Array:
        point, found = self._surface.point, np.empty(len(steps))
        for i, t in enumerate(steps):
            self._surface.move_to(point + t * v)
            value = self._surface.value()
            found[i] = value if np.isfinite(value) else np.inf
        self._surface.move_to(point)
        return found

    def along(self, steps: Any) -> Array:
        """The loss at these distances along the escape direction; negative ones lead to its other side."""
        direction = self._direction if self.escape is not None else self.pairs.vectors[0]
        return self._line(direction, np.asarray(steps, np.float64))

    def __repr__(self) -> str:
        close = "a critical point" if self.near else "no critical point: the gradient leads on"
        lines = [
            f"{self.kind}: {close}" if self.near else close,
            f"loss {self.loss:.6g}, gradient {self.gradient_norm:.3g}, which could take {self.gain:.2g} off the loss",
            f"eigenvalues of the Hessian from {self.smallest:.6g} to {self.largest:.6g}",
        ]
        if not self.pairs.converged:
            lines[-1] += f" (not converged in {self.pairs.products} products)"
        if self.escape is not None and self.distance:
            lines.append(f"the way out: {self.distance:.3g} along .escape the loss is {self.lower:.6g}")
        elif self.escape is not None:
            lines.append("no way out: along .escape, as far as was looked, the loss is not lower")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draws the loss along the escape direction (of a minimum: along that of least curvature), and the parabola of
        its eigenvalue; gives the Axes. Needs matplotlib."""
        plt = import_extra("matplotlib.pyplot", "plot")
        if ax is None:
            ax = plt.subplots(figsize=(7, 4), layout="constrained")[1]
        reach = 1.5 * self.distance or 1.0
        steps = np.linspace(-reach, reach, 101)
        losses = self.along(steps)
        ax.plot(steps, losses, label="loss")
        parabola = self.loss + self.smallest * steps**2 / 2
        room = float(np.ptp(losses[np.isfinite(losses)])) or 1.0
        shown = np.abs(parabola - self.loss) <= room
        ax.plot(steps[shown], parabola[shown], "--", color="gray", label=f"eigenvalue {self.smallest:.3g}")
        ax.plot([0], [self.loss], "o", color="tab:red", label=self.kind if self.near else "here")
        ax.set_xlabel("distance along the escape direction" if self.escape else "distance along the least curvature")
        ax.set_ylabel("loss")
        ax.legend(frameon=False)
        ax.grid(alpha=0.3)
        return ax


def critical_point(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    tolerance: float = 1e-3,
    training: bool = False,
    rows: int | None = None,
    most: int = 1000,
    seed: int = 0,
) -> CriticalPoint:
    """Is the net at a critical point of its loss on these rows, and at which kind: minimum, maximum or saddle?

    Near a critical point is where a step down the gradient g could take at most |g|^2 / 2 max|eigenvalue| off the loss,
    and that is less than tolerance (default 1e-3) of it. The kind follows from the Hessian's extreme eigenvalues, by
    Lanczos in at most so many products; less than 1e-5 of the largest absolute one is no curvature. From a saddle or a
    maximum the loss falls along the eigenvector of the smallest eigenvalue, to both sides: ``escape``, along which it
    is looked at up to the length of the parameters. training, rows: as in ``curvature``. The model is not changed.
    Raises ArgumentError, ShapeError, NonFiniteError. Dauphin et al., NeurIPS 2014.

    >>> x = np.array([[1.0]])
    >>> model = hf.Sequential(hf.Linear(1, bias=False), hf.Linear(1, bias=False)).build((1,))
    >>> for w in model.parameters().values():
    ...     w[...] = 0
    >>> print(hf.critical_point(model, x, x, loss=hf.MSE()))  # of (1 - w1 w2)^2
    saddle: a critical point
    loss 1, gradient 0, which could take 0 off the loss
    eigenvalues of the Hessian from -2 to 2
    the way out: 1 along .escape the loss is 0.25
    """
    least = check_real(tolerance, "tolerance", "above 0", lambda v: v > 0)
    surface = Surface(model, x, y, loss, training=training, seed=seed, rows=rows)
    surface.checked_value()
    c = Curvature(surface)
    return CriticalPoint(surface, c.extreme(most=most, seed=seed), c.loss, c.gradient_norm, least)
