"""The primitive ops and what is built of them. Each works on traced values and, outside of a trace, on arrays at
once."""

from .elementwise import (
    abs as abs,
)
from .elementwise import (
    add as add,
)
from .elementwise import (
    clip as clip,
)
from .elementwise import (
    div as div,
)
from .elementwise import (
    dropout as dropout,
)
from .elementwise import (
    elu as elu,
)
from .elementwise import (
    equal as equal,
)
from .elementwise import (
    erf as erf,
)
from .elementwise import (
    exp as exp,
)
from .elementwise import (
    expm1 as expm1,
)
from .elementwise import (
    gelu as gelu,
)
from .elementwise import (
    greater as greater,
)
from .elementwise import (
    greater_equal as greater_equal,
)
from .elementwise import (
    leaky_relu as leaky_relu,
)
from .elementwise import (
    less as less,
)
from .elementwise import (
    less_equal as less_equal,
)
from .elementwise import (
    log as log,
)
from .elementwise import (
    log1p as log1p,
)
from .elementwise import (
    maximum as maximum,
)
from .elementwise import (
    minimum as minimum,
)
from .elementwise import (
    mul as mul,
)
from .elementwise import (
    neg as neg,
)
from .elementwise import (
    not_equal as not_equal,
)
from .elementwise import (
    pow as pow,
)
from .elementwise import (
    reciprocal as reciprocal,
)
from .elementwise import (
    relu as relu,
)
from .elementwise import (
    sigmoid as sigmoid,
)
from .elementwise import (
    sign as sign,
)
from .elementwise import (
    silu as silu,
)
from .elementwise import (
    softplus as softplus,
)
from .elementwise import (
    sqrt as sqrt,
)
from .elementwise import (
    square as square,
)
from .elementwise import (
    sub as sub,
)
from .elementwise import (
    tanh as tanh,
)
from .elementwise import (
    where as where,
)
from .matmul import matmul as matmul
from .normalization import batch_norm as batch_norm
from .normalization import layer_norm as layer_norm
from .reduction import argmax as argmax
from .reduction import max as max
from .reduction import mean as mean
from .reduction import min as min
from .reduction import sum as sum
from .shape import (
    broadcast_to as broadcast_to,
)
from .shape import (
    concat as concat,
)
from .shape import (
    gather as gather,
)
from .shape import (
    getitem as getitem,
)
from .shape import (
    pad as pad,
)
from .shape import (
    reshape as reshape,
)
from .shape import (
    to_real as to_real,
)
from .shape import (
    transpose as transpose,
)
from .softmax import (
    correct as correct,
)
from .softmax import (
    log_softmax as log_softmax,
)
from .softmax import (
    softmax as softmax,
)
from .softmax import (
    softmax_cross_entropy as softmax_cross_entropy,
)
