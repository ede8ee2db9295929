"""Layers, one small file each. What is imported here is a name of ``hawfinch`` too."""

from typing import TYPE_CHECKING

from .activations import (
    ELU as ELU,
    GELU as GELU,
    SELU as SELU,
    HardSigmoid as HardSigmoid,
    HardSwish as HardSwish,
    LeakyReLU as LeakyReLU,
    LogSoftmax as LogSoftmax,
    Mish as Mish,
    Parametric as Parametric,
    PReLU as PReLU,
    ReLU as ReLU,
    Sigmoid as Sigmoid,
    SiLU as SiLU,
    Softmax as Softmax,
    Softplus as Softplus,
    Tanh as Tanh,
)
from .batch_norm import BatchNorm as BatchNorm
from .dropout import Dropout as Dropout
from .layer_norm import LayerNorm as LayerNorm
from .linear import Linear as Linear
from .maxout import Maxout as Maxout
from .module import Module as Module
from .rms_norm import RMSNorm as RMSNorm
from .sequential import Flatten as Flatten, Sequential as Sequential

if not TYPE_CHECKING:  # a type checker takes the names above
    __all__ = [name for name, value in globals().items() if isinstance(value, type)]  # without the files
