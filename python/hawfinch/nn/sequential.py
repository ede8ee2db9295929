"""Sequential and Flatten: layers one after the other."""

from __future__ import annotations

from .. import ops
from ..errors import ArgumentError
from ..ir import Tensor, numel
from .activations import get_activation
from .module import Module


class Sequential(Module):
    """layers[0], then layers[1], ...; a string names an activation. ``model[i]`` is layer i.

    >>> import numpy as np, hawfinch as hf
    >>> model = hf.Sequential(hf.Linear(8), "relu", hf.Linear(3)).build((4,))
    >>> sorted(model.parameters())
    ['0.bias', '0.weight', '2.bias', '2.weight']
    """

    _nameless = "layers"

    def __init__(self, *layers: Module | str):
        if len(layers) == 1 and isinstance(layers[0], list | tuple):
            layers = tuple(layers[0])
        self.layers = tuple(get_activation(layer) if isinstance(layer, str) else layer for layer in layers)
        for layer in self.layers:
            if not isinstance(layer, Module):
                raise ArgumentError(f"Sequential takes layers or activation names, got {type(layer).__name__}")

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Module:
        return self.layers[i]


class Flatten(Module):
    """(rows, a, b, ...) to (rows, a * b * ...).

    >>> import numpy as np, hawfinch as hf
    >>> hf.Flatten().predict(np.zeros((5, 2, 3))).shape
    (5, 6)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (x.shape[0], numel(x.shape[1:])))
