"""The primitive ops and what is built of them. Each works on traced values and, outside of a trace, on arrays at
once."""

from ..ir import OPERATORS
from . import random as random
from .elementwise import (
    abs as abs,
    add as add,
    clip as clip,
    div as div,
    elu as elu,
    equal as equal,
    erf as erf,
    exp as exp,
    expm1 as expm1,
    gelu as gelu,
    greater as greater,
    greater_equal as greater_equal,
    leaky_relu as leaky_relu,
    less as less,
    less_equal as less_equal,
    log as log,
    log1p as log1p,
    maximum as maximum,
    minimum as minimum,
    mul as mul,
    neg as neg,
    not_equal as not_equal,
    pow as pow,
    reciprocal as reciprocal,
    relu as relu,
    sigmoid as sigmoid,
    sign as sign,
    silu as silu,
    softplus as softplus,
    sqrt as sqrt,
    square as square,
    stop_gradient as stop_gradient,
    sub as sub,
    tanh as tanh,
    where as where,
)
from .group_norm import group_norm as group_norm
from .matmul import matmul as matmul
from .normalization import batch_norm as batch_norm, layer_norm as layer_norm
from .random import dropout as dropout
from .reduction import argmax as argmax, max as max, mean as mean, min as min, sum as sum
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

OPERATORS.update(
    {
        f.__name__: f
        for f in (
            abs,
            add,
            div,
            equal,
            getitem,
            greater,
            greater_equal,
            less,
            less_equal,
            matmul,
            mean,
            mul,
            neg,
            not_equal,
            pow,
            reshape,
            sub,
            sum,
            to_real,
            transpose,
        )
    }
)
