"""The primitive ops and what is built of them. Each works on traced values and, outside of a trace, on arrays at
once."""

from ..ir import OPERATORS
from ..values import names_of as _names_of
from . import random as random
from .elementwise import *  # noqa: F403
from .group_norm import group_norm as group_norm
from .interp import interp as interp
from .matmul import matmul as matmul
from .normalization import batch_norm as batch_norm, layer_norm as layer_norm
from .random import dropout as dropout
from .reduction import argmax as argmax, max as max, mean as mean, min as min, sum as sum
from .rms_norm import rms_norm as rms_norm
from .shape import (
    broadcast_to as broadcast_to,
    concat as concat,
    gather as gather,
    getitem as getitem,
    pad as pad,
    reshape as reshape,
    to_real as to_real,
    transpose as transpose,
)
from .softmax import (
    correct as correct,
    log_softmax as log_softmax,
    softmax as softmax,
    softmax_cross_entropy as softmax_cross_entropy,
)

# What the operators and methods of a tensor are.
_OPERATORS = """
abs add div equal getitem greater greater_equal less less_equal matmul mean mul neg not_equal pow reshape sub sum
to_real transpose
"""
OPERATORS.update({name: globals()[name] for name in _OPERATORS.split()})


def __dir__() -> list[str]:
    return [*_names_of(globals()), "random"]
