"""``curvature``: the Hessian of a loss over the parameters of a net, by its products with vectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, import_extra, unknown_name
from ..ir import Array
from ..values import check_real, check_whole, is_word
from .lanczos import Eigenpairs, extreme_pairs, quadrature, trace_of
from .surface import Surface

MOST_DENSE = 1 << 29  # bytes of a whole matrix


class Curvature:
    """What ``curvature`` gives: a symmetric matrix over the parameters, the Hessian, or in ``ggn`` the generalised
    Gauss-Newton matrix. ``n``: its rows; ``loss`` and ``gradient_norm``: of the point at which it is taken."""

    def __init__(self, surface: Surface, kind: str = "hessian"):
        self._surface, self.kind = surface, kind
        self._times = surface.hvp if kind == "hessian" else surface.ggn
        self.n = surface.size
        self.loss, gradient = surface.value_and_gradient()
        self.gradient_norm = float(np.sqrt(np.square(gradient, dtype=np.float64).sum()))

    def __repr__(self) -> str:
        return f"Curvature({self.kind} of {self.n} parameters: loss {self.loss:.4g}, gradient {self.gradient_norm:.2g})"

    @cached_property
    def ggn(self) -> Curvature:
        """J' H_out J, where J is the Jacobian of the outputs and H_out the loss's Hessian by them: the Hessian without
        what the net's own curvature adds; positive semidefinite where the loss is convex. Schraudolph, Neural
        Computation 14, 2002."""
        return Curvature(self._surface, "ggn")

    # ---- vectors ----
    def by_name(self, vector: Array) -> dict[str, Array]:
        """The parts of a vector of all parameters, in their shapes, by name."""
        return self._surface.by_name(self._flat(vector))

    def _flat(self, v: Any) -> Array:
        if isinstance(v, Mapping):
            names = [part.name for part in self._surface.parts]
            for name in v:
                if name not in names:
                    raise unknown_name("parameter", name, names)
            parts = [np.asarray(v[p.name]) if p.name in v else np.zeros(p.shape) for p in self._surface.parts]
            for part, value in zip(self._surface.parts, parts, strict=True):
                if value.shape != part.shape:
                    raise ShapeError(f"{part.name!r} has shape {part.shape}, its part of the vector {value.shape}")
            v = np.concatenate([np.ravel(a) for a in parts])
        flat: Array = np.ascontiguousarray(v, dtype=self._surface.dtype)
        if flat.shape != (self.n,):
            raise ShapeError(f"expected a vector of all {self.n} parameters, or a dict by name; got shape {flat.shape}")
        return flat

    def product(self, v: Any) -> Any:
        """The matrix times v: an array (n,), or a dict of arrays by the parameters' names, a missing one being 0; the
        result is of the same kind. It costs two gradients or so; the matrix itself is never made. Pearlmutter, Neural
        Computation 6, 1994."""
        found = self._times(self._flat(v))
        return self._surface.by_name(found) if isinstance(v, Mapping) else found

    # ---- what it is like ----
    def extreme(
        self, k: int = 1, *, ends: str = "both", tolerance: float = 1e-5, most: int = 1000, seed: int = 0
    ) -> Eigenpairs:
        """The k smallest and k largest eigenvalues, and their vectors, by Lanczos with reorthogonalisation.

        k: default 1. ends: "both", "smallest" or "largest", which often takes the fewest products. tolerance: a
        residual |H v - value v| of so much of the value, or of 1 % of the spectrum's width where that is more, is small
        enough; it bounds the value's error, which mostly is its square. most: products with the matrix at the most,
        default 1000; ``converged`` says whether they were enough. seed: of the first vector.
        """
        k, most = check_whole(k, "k", 1), check_whole(most, "most", 1)
        tolerance = check_real(tolerance, "tolerance", "above 0", lambda v: v > 0)
        if not is_word(ends, "both", "smallest", "largest"):
            raise ArgumentError(f'ends must be "both", "smallest" or "largest", got {ends!r}')
        wanted, rng = (ends != "largest", ends != "smallest"), np.random.default_rng(seed)
        return extreme_pairs(self._times, self.n, self._surface.dtype, k, tolerance, most, rng, wanted)

    def quadrature(self, draws: int = 8, steps: int = 40, *, seed: int = 0) -> tuple[Array, Array]:
        """(nodes, weights): a function's mean over all eigenvalues is about sum(weights * f(nodes)).

        Stochastic Lanczos quadrature: so many steps of Lanczos from so many random vectors. Ubaru, Chen, Saad, SIAM J.
        Matrix Anal. Appl. 38, 2017.
        """
        draws, steps = check_whole(draws, "draws", 1), check_whole(steps, "steps", 1)
        return quadrature(self._times, self.n, self._surface.dtype, draws, steps, np.random.default_rng(seed))

    def spectral_density(
        self, draws: int = 8, steps: int = 40, *, points: int = 400, width: float = 0.01, seed: int = 0
    ) -> tuple[Array, Array]:
        """(eigenvalues, density): how the eigenvalues are distributed, the ``quadrature`` smoothed by a Gaussian.

        width: its deviation as a share of the spectrum's width, default 0.01. The density's integral is 1. Ghorbani,
        Krishnan, Xiao, ICML 2019.
        """
        share = check_real(width, "width", "above 0", lambda v: v > 0)
        nodes, weights = self.quadrature(draws, steps, seed=seed)
        low, high = float(nodes.min()), float(nodes.max())
        sigma = share * max(high - low, abs(high), 1e-300)
        grid = np.linspace(low - 5 * sigma, high + 5 * sigma, check_whole(points, "points", 2))
        bells = np.exp(-0.5 * np.square((grid[:, None] - nodes) / sigma)) / (sigma * np.sqrt(2 * np.pi))
        return grid, np.sum(bells * weights, axis=1)

    def negative_share(self, draws: int = 8, steps: int = 40, *, zero: float = 1e-4, seed: int = 0) -> float:
        """The share of eigenvalues below -zero times the largest absolute one: 0 at a minimum. By ``quadrature``,
        which tells an eigenvalue from a neighbour, and from zero, the better the more steps there are."""
        nodes, weights = self.quadrature(draws, steps, seed=seed)
        return float(weights[nodes < -zero * np.abs(nodes).max()].sum())

    def trace(self, products: int = 60, *, seed: int = 0) -> float:
        """The sum of all eigenvalues, estimated with so many products by Hutch++; exact where they are n or more.

        A third of the products finds where the matrix is large, which is summed exactly; random vectors estimate the
        rest. Meyer, Musco, Musco, Woodruff, SOSA 2021.
        """
        count = check_whole(products, "products", 3)
        return trace_of(self._times, self.n, self._surface.dtype, count, np.random.default_rng(seed))

    def hessian(self) -> Array:
        """The whole matrix (n, n), by n products. Raises ArgumentError where it would take more than 512 MiB."""
        nbytes = self.n**2 * np.dtype(self._surface.dtype).itemsize
        if nbytes > MOST_DENSE:
            raise ArgumentError(
                f"the whole matrix of {self.n} parameters has {nbytes / 2**30:.1f} GiB; see extreme, spectral_density "
                "and trace, which work on products, or freeze the parameters that matter less"
            )
        found, e = np.empty((self.n, self.n), self._surface.dtype), np.zeros(self.n, self._surface.dtype)
        for i in range(self.n):
            e[i] = 1
            self._times(e, found[i])
            e[i] = 0
        return (found + found.T) / 2

    def plot(self, ax: Any = None, *, seed: int = 0) -> Any:
        """Draws the spectral density (logarithmic) and marks the smallest and the largest eigenvalue; gives the Axes.
        Needs matplotlib."""
        plt = import_extra("matplotlib.pyplot", "plot")
        if ax is None:
            ax = plt.subplots(figsize=(7, 4), layout="constrained")[1]
        grid, density = self.spectral_density(seed=seed)
        ends = self.extreme(seed=seed)
        ax.fill_between(grid, np.maximum(density, 1e-300), 1e-300, alpha=0.3)
        ax.plot(grid, np.maximum(density, 1e-300))
        for value, side in ((ends.smallest, "right"), (ends.largest, "left")):
            ax.axvline(value, color="tab:red", linestyle="--", linewidth=1)
            ax.annotate(
                f"{value:.3g}",
                (value, 0.97),
                (3 if side == "left" else -3, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha=side,
                va="top",
                color="tab:red",
            )
        ax.axvline(0, color="gray", linewidth=1)
        ax.set_yscale("log")
        ax.set_ylim(density.max() * 1e-7, density.max() * 3)
        ax.set_xlabel(f"eigenvalue of the {'Hessian' if self.kind == 'hessian' else 'Gauss-Newton matrix'}")
        ax.set_ylabel("density")
        ax.grid(alpha=0.3)
        return ax


def curvature(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    loss: Any = None,
    training: bool = False,
    rows: int | None = None,
    dtype: str = "float64",
    seed: int = 0,
    threads: int | None = None,
) -> Curvature:
    """The curvature of the loss of these rows at the model's parameters: H_ij = d2 loss / dp_i dp_j, over all that are
    not frozen.

    Gives an object with ``product(v)``, ``extreme(k)``, ``spectral_density()``, ``negative_share()``, ``trace()``,
    ``hessian()`` for small nets, ``plot()``, and ``ggn``, the same of the generalised Gauss-Newton matrix. The model is
    not changed: a copy in dtype is looked at ("float64"; "float32" is about twice as fast and good to 1e-5 of the
    largest eigenvalue). training: default False, layers as in ``evaluate``: no dropout, running statistics; True, as in
    a training step over all rows. rows: at most so many of x, drawn by seed; default all, in one piece, whose
    activations take memory. Raises ArgumentError, ShapeError, NonFiniteError.

    >>> x = np.array([[1.0], [-1.0]])
    >>> model = hf.Sequential(hf.Linear(1, bias=False), hf.Linear(1, bias=False)).build((1,))
    >>> for w in model.parameters().values():
    ...     w[...] = 0
    >>> c = hf.curvature(model, x, x, loss=hf.MSE())
    >>> print(c.hessian())  # of (1 - w1 w2)^2
    [[ 0. -2.]
     [-2.  0.]]
    >>> c.extreme().values.round(6).tolist()
    [-2.0, 2.0]
    """
    if not is_word(dtype, "float32", "float64"):
        raise ArgumentError(f'dtype must be "float32" or "float64", got {dtype!r}')
    surface = Surface(model, x, y, loss, dtype=dtype, training=training, seed=seed, rows=rows, threads=threads)
    surface.checked_value()
    return Curvature(surface)
