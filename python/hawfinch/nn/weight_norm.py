"""WeightNorm and SpectralNorm: layers around a layer whose weight is normalised before use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..errors import ArgumentError, ShapeError, unknown_name
from ..initializers import Draw
from ..ir import Array, Tensor, current_graph
from ..values import check_real, check_whole, short
from .module import Module
from .store import Following


class _Reweighted(Module):
    """layer, whose array ``name`` is what ``_weight`` makes of it."""

    def __init__(self, layer: Module, name: str):
        if not isinstance(layer, Module):
            raise ArgumentError(f"{type(self).__name__} is put around a layer, not {short(layer)}")
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"{type(self).__name__}: name must be that of an array of the layer, not {short(name)}")
        self.layer, self.name = layer, name

    def _weight(self, w: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, *inputs: Any) -> Any:
        graph = current_graph()
        assert graph is not None
        made: dict[Tensor, Tensor] = {}

        def wrap(w: Tensor) -> Tensor:
            if w not in made:
                made[w] = self._weight(w)
            return made[w]

        key = id(self.layer), self.name
        if key in graph.wrapped:
            raise ArgumentError(f"{self.layer!r}: its {self.name!r} is normalised by two layers around it")
        graph.wrapped[key] = wrap
        try:
            y = self.layer(*inputs)
        finally:
            del graph.wrapped[key]
        if not made:
            raise unknown_name(f"array of {type(self.layer).__name__}", self.name, self.layer._hf.own)
        return y


class WeightNorm(_Reweighted):
    """layer with weight = g v / |v|: the length of each output's weights apart from their direction.

    |v| is over all axes of the weight but the last, which is that of the outputs. v is the layer's own array
    ("layer.weight", PyTorch's weight_v); g ("weight_g", (outputs,)) begins with |v|, so that the layer begins as it
    would without. name: of the array, default "weight". Raises ArgumentError for a weight with a column of zeros, whose
    direction is not known, and where the layer has no such array. Costs a few passes over the weight in each step.
    Salimans, Kingma, NeurIPS 2016.

    >>> import hawfinch as hf
    >>> model = hf.WeightNorm(hf.Linear(2)).build((3,))
    >>> {name: array.shape for name, array in model.parameters().items()}
    {'weight_g': (2,), 'layer.weight': (3, 2), 'layer.bias': (2,)}
    """

    def __init__(self, layer: Module, name: str = "weight"):
        super().__init__(layer, name)

    def _weight(self, v: Tensor) -> Tensor:
        own = self.layer._hf.own[self.name]
        g = self.param(f"{self.name}_g", own.shape[-1:], Following(own, _lengths))
        return v * (g / ops.sqrt(ops.sum(ops.square(v), tuple(range(v.ndim - 1)))))


class SpectralNorm(_Reweighted):
    """layer with weight = w / sigma, sigma the largest singular value of w: the layer stretches nothing by more than 1.

    w is the layer's own array ("layer.weight") as a matrix (all axes but the last, last). sigma is estimated by power
    iteration, u = w' v / |w' v|, v = w u / |w u|, sigma = v' w u, from the u and v of the step before, which are state
    ("weight_u", (outputs,), and "weight_v"): n_power_iterations in each training step, none in inference or
    where they are frozen; at the start 15 from random vectors. No gradient goes through u and v, which is
    exact once they have converged. name: of the array, default "weight". n_power_iterations: default 1. eps: default
    1e-12, least length. Names and defaults are PyTorch's. Miyato, Kataoka, Koyama, Yoshida, ICLR 2018.

    >>> import numpy as np, hawfinch as hf
    >>> layer = hf.Linear(20, bias=False)
    >>> model = hf.SpectralNorm(layer).build((20,))
    >>> y = model.predict(np.eye(20))
    >>> round(float(np.linalg.norm(y, 2)), 1)
    1.0
    """

    def __init__(self, layer: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12):
        super().__init__(layer, name)
        self.n_power_iterations = check_whole(n_power_iterations, "SpectralNorm: n_power_iterations", 1)
        self.eps = check_real(eps, "SpectralNorm: eps", "above 0", lambda v: 0 < v < math.inf)

    def _weight(self, w: Tensor) -> Tensor:
        if w.ndim < 2:
            raise ShapeError(f"SpectralNorm: {self.name!r} of shape {w.shape} is no matrix")
        own, names = self.layer._hf.own[self.name], (f"{self.name}_u", f"{self.name}_v")
        m, n = math.prod(own.shape[:-1]), own.shape[-1]
        matrix = ops.reshape(w, (m, n))
        u = ops.reshape(self.state(names[0], (n,), Following(own, _right)), (n, 1))
        v = ops.reshape(self.state(names[1], (m,), Following(own, _left)), (1, m))
        if self.training and not self.is_frozen(names[0]) and not self.is_frozen(names[1]):
            fixed = ops.stop_gradient(matrix)
            for _ in range(self.n_power_iterations):
                u = self._unit(ops.reshape(v @ fixed, (n, 1)))
                v = self._unit(ops.reshape(fixed @ u, (1, m)))
            self.update_state(names[0], ops.reshape(u, (n,)))
            self.update_state(names[1], ops.reshape(v, (m,)))
        return w / ops.sum(v @ matrix @ u)

    def _unit(self, a: Tensor) -> Tensor:
        return a / ops.maximum(ops.sqrt(ops.sum(ops.square(a))), self.eps)


# First values, in NumPy's elementwise operations and sums down columns, whose bits are the same everywhere.
def _lengths(v: Array, draw: Draw) -> Array:
    lengths = np.sqrt((v * v).reshape(-1, v.shape[-1]).sum(0))
    if not lengths.all():
        raise ArgumentError("WeightNorm: a column of the weight is 0, so it has no direction; choose another init")
    return lengths


def _power(w: Array, draw: Draw) -> tuple[Array, Array]:
    """v and u after 15 iterations, from a random u."""
    matrix = w.reshape(-1, w.shape[-1])
    u = draw.normal(matrix.shape[1], 1.0)
    for _ in range(15):
        v = (matrix.T * u[:, None]).sum(0)
        v /= max(math.sqrt(math.fsum((v * v).tolist())), 1e-12)
        u = (matrix * v[:, None]).sum(0)
        u /= max(math.sqrt(math.fsum((u * u).tolist())), 1e-12)
    return v, u


def _right(w: Array, draw: Draw) -> Array:
    return _power(w, Draw(draw.seed, 0))[1]  # the same for both


def _left(w: Array, draw: Draw) -> Array:
    return _power(w, Draw(draw.seed, 0))[0]
