"""Layers, one small file each."""

from .activations import (
    ELU as ELU,
)
from .activations import (
    GELU as GELU,
)
from .activations import (
    LeakyReLU as LeakyReLU,
)
from .activations import (
    LogSoftmax as LogSoftmax,
)
from .activations import (
    ReLU as ReLU,
)
from .activations import (
    Sigmoid as Sigmoid,
)
from .activations import (
    SiLU as SiLU,
)
from .activations import (
    Softmax as Softmax,
)
from .activations import (
    Softplus as Softplus,
)
from .activations import (
    Tanh as Tanh,
)
from .batch_norm import BatchNorm as BatchNorm
from .dropout import Dropout as Dropout
from .layer_norm import LayerNorm as LayerNorm
from .linear import Linear as Linear
from .module import Module as Module
from .sequential import Flatten as Flatten
from .sequential import Sequential as Sequential
