"""hawfinch: a neural-net engine. The public names, nothing else."""

from typing import TYPE_CHECKING as _TYPE_CHECKING, Any as _Any

from . import errors as errors
from . import initializers as initializers
from . import kernels as kernels
from . import nn as nn
from . import ops as ops
from .compile import compile as compile
from .compile import value_and_grad as value_and_grad
from .errors import HawfinchError as HawfinchError
from .errors import NonFiniteError as NonFiniteError
from .interop.checkpoint import load as load
from .losses import (
    MAE as MAE,
)
from .losses import (
    MSE as MSE,
)
from .losses import (
    BCEWithLogits as BCEWithLogits,
)
from .losses import (
    Huber as Huber,
)
from .losses import (
    Loss as Loss,
)
from .losses import (
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
)
from .nn import (
    ELU as ELU,
)
from .nn import (
    GELU as GELU,
)
from .nn import (
    BatchNorm as BatchNorm,
)
from .nn import (
    Dropout as Dropout,
)
from .nn import (
    Flatten as Flatten,
)
from .nn import (
    LayerNorm as LayerNorm,
)
from .nn import (
    LeakyReLU as LeakyReLU,
)
from .nn import (
    Linear as Linear,
)
from .nn import (
    LogSoftmax as LogSoftmax,
)
from .nn import (
    Module as Module,
)
from .nn import (
    ReLU as ReLU,
)
from .nn import (
    Sequential as Sequential,
)
from .nn import (
    Sigmoid as Sigmoid,
)
from .nn import (
    SiLU as SiLU,
)
from .nn import (
    Softmax as Softmax,
)
from .nn import (
    Softplus as Softplus,
)
from .nn import (
    Tanh as Tanh,
)
from .optim import (
    SGD as SGD,
)
from .optim import (
    Adagrad as Adagrad,
)
from .optim import (
    Adam as Adam,
)
from .optim import (
    AdamW as AdamW,
)
from .optim import (
    Optimizer as Optimizer,
)
from .optim import (
    RMSprop as RMSprop,
)
from .show_config import show_config as show_config
from .train.callbacks import Progress as Progress
from .train.history import History as History
from .train.trainer import Trainer as Trainer

if _TYPE_CHECKING:
    from . import data as data


def __getattr__(name: str) -> _Any:
    """``hawfinch.data`` is imported when it is first used: its readers need parts of Python that take time to import."""
    if name == "data":
        from importlib import import_module

        return import_module("hawfinch.data")
    raise AttributeError(f"module 'hawfinch' has no attribute {name!r}")
