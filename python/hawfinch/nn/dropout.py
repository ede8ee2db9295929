"""Noise in training: Dropout and its kin. In inference each is x itself."""

from __future__ import annotations

import math

from .. import ops
from ..ir import Tensor
from ..values import check_real
from .activations import SELU_ALPHA, SELU_SCALE
from .module import Module


class Dropout(Module):
    """In training, each element is 0 with probability p and the rest is divided by 1 - p; in inference, x itself.

    The mask is a function of (seed, step, position): the same for any number of threads, and never stored.
    p: default 0.5, in [0, 1). Srivastava et al., JMLR 15, 2014.

    >>> import numpy as np, hawfinch as hf
    >>> model, x = hf.Sequential(hf.Dropout(0.5)), np.ones((4, 1000))
    >>> bool((model.predict(x) == 1).all())
    True
    >>> bool(0.9 < hf.Trainer(model, "mae").step(x, 0 * x) < 1.1)  # half of them are 2, the others 0
    True
    """

    def __init__(self, p: float = 0.5):
        self.p = check_real(p, "Dropout: p", "from 0 to below 1", lambda v: 0 <= v < 1)

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p) if self.training and self.p > 0 else x


class AlphaDropout(Module):
    """Dropout for SELU: keeps mean 0 and variance 1. In inference, x itself.

    In training each element is -1.7581, SELU's lower end, with probability p, and everything is then scaled and
    shifted: y = a (x or -1.7581) + b with a = ((1 - p) (1 + p 1.7581**2))**-0.5, b = a p 1.7581. p: default 0.5, in
    [0, 1). Klambauer, Unterthiner, Mayr, Hochreiter, NeurIPS 2017.

    >>> import numpy as np, hawfinch as hf
    >>> model = hf.Sequential(hf.AlphaDropout(0.3))
    >>> x = np.random.default_rng(0).normal(size=(100, 1000))
    >>> round(hf.Trainer(model, "mse").step(x, 0 * x), 2)  # the mean square
    1.0
    """

    def __init__(self, p: float = 0.5):
        self.p = check_real(p, "AlphaDropout: p", "from 0 to below 1", lambda v: 0 <= v < 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        low = -SELU_ALPHA * SELU_SCALE
        a = 1 / math.sqrt((1 - self.p) * (1 + self.p * low**2))
        dropped = ops.random.bernoulli(x.shape, self.p)
        return ops.where(dropped, a * low - a * self.p * low, x * a - a * self.p * low)


class GaussianNoise(Module):
    """In training x + std times normal numbers; in inference, x itself. Gradients go through as they are.

    std: default 0.1, in the units of x: for inputs of deviation 1, a tenth of it. With small noise on the inputs of a
    squared error it is as a penalty on the slope. Bishop, Neural Computation 7, 1995.

    >>> import numpy as np, hawfinch as hf
    >>> model, x = hf.Sequential(hf.GaussianNoise(0.5)), np.ones((100, 1000))
    >>> round(hf.Trainer(model, "mse").step(x, x), 2)
    0.25
    """

    def __init__(self, std: float = 0.1):
        self.std = check_real(std, "GaussianNoise: std", "from 0", lambda v: 0 <= v < math.inf)

    def forward(self, x: Tensor) -> Tensor:
        return x + ops.random.normal(x.shape, 0.0, self.std) if self.training and self.std > 0 else x


class GaussianDropout(Module):
    """In training x times normal numbers of mean 1 and deviation sqrt(p / (1 - p)); in inference, x itself.

    The first two moments are those of Dropout(p). p: default 0.5, in [0, 1). Srivastava et al., JMLR 15, 2014.

    >>> import numpy as np, hawfinch as hf
    >>> model, x = hf.Sequential(hf.GaussianDropout(0.2)), np.ones((100, 1000))
    >>> round(hf.Trainer(model, "mse").step(x, x), 2)  # p / (1 - p)
    0.25
    """

    def __init__(self, p: float = 0.5):
        self.p = check_real(p, "GaussianDropout: p", "from 0 to below 1", lambda v: 0 <= v < 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * ops.random.normal(x.shape, 1.0, math.sqrt(self.p / (1 - self.p)))
