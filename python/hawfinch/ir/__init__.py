"""The intermediate representation: sizes, tensors, nodes, graphs, traces, steps. It knows nothing above it."""

from .graph import (
    CONST as CONST,
    INPUT as INPUT,
    PARAM as PARAM,
    SCALAR as SCALAR,
    STATE as STATE,
    ById as ById,
    Graph as Graph,
    input_tensor as input_tensor,
    leaf as leaf,
    scalar as scalar,
    scalar_value as scalar_value,
)
from .nodes import OPERATORS as OPERATORS, Node as Node, Op as Op, Tensor as Tensor
from .sizes import (
    BATCH as BATCH,
    Array as Array,
    Dim as Dim,
    Shape as Shape,
    Size as Size,
    Spec as Spec,
    dim as dim,
    numel as numel,
    row_shapes as row_shapes,
    size_at as size_at,
    times as times,
)
from .steps import Step as Step, single as single, yield_step as yield_step
from .trace import (
    apply as apply,
    as_array as as_array,
    as_number as as_number,
    as_tensor as as_tensor,
    collector_paused as collector_paused,
    current_graph as current_graph,
    operand as operand,
    run_at_once as run_at_once,
    set_run_now as set_run_now,
    tracing as tracing,
)
