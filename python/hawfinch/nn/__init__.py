"""Layers, one small file each. What is imported here is a name of ``hawfinch`` too."""

from typing import TYPE_CHECKING

from ..values import names_of
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
from .batch_renorm import BatchRenorm as BatchRenorm
from .dropout import (
    AlphaDropout as AlphaDropout,
    Dropout as Dropout,
    GaussianDropout as GaussianDropout,
    GaussianNoise as GaussianNoise,
)
from .embedding import Embedding as Embedding
from .feature_linear import FeatureLinear as FeatureLinear
from .group_norm import GroupNorm as GroupNorm, InstanceNorm as InstanceNorm
from .layer_norm import LayerNorm as LayerNorm
from .linear import Linear as Linear
from .maxout import Maxout as Maxout
from .module import Module as Module
from .periodic import PeriodicEmbedding as PeriodicEmbedding
from .piecewise_linear import PiecewiseLinearEmbedding as PiecewiseLinearEmbedding
from .rms_norm import RMSNorm as RMSNorm
from .scaling import (
    MinMaxScale as MinMaxScale,
    QuantileScale as QuantileScale,
    Rescale as Rescale,
    RobustScale as RobustScale,
    Standardize as Standardize,
    TargetScale as TargetScale,
)
from .sequential import Flatten as Flatten, Sequential as Sequential
from .weight_norm import SpectralNorm as SpectralNorm, WeightNorm as WeightNorm

if not TYPE_CHECKING:  # a type checker takes the names above
    __all__ = [name for name, value in globals().items() if isinstance(value, type)]  # without the files


def __dir__() -> list[str]:
    return names_of(globals())
