"""What several trainers that train one model together have to agree on within a step.

Design: the average over the trainers is an op whose steps are a copy and a yield (``ir.yield_step``), so that what is
made of it (batch statistics, the loss that decides whether the step is taken) is differentiated, rewritten and planned
like any other graph, and no kernel knows of it. Rejected: a second batch norm with yields between its kernels.
"""

from __future__ import annotations

from typing import Any

from ..ir import Op, Step, Tensor, apply, current_graph, numel, yield_step
from .shape import contiguous_copy


def n_trainers() -> int:
    """Of the trace that is under way: how many trainers' batches are one; 0 where they are not joined."""
    graph = current_graph()
    return 0 if graph is None else graph.trainers


def _joint_mean_lower(node: Any) -> list[Step]:
    x, y = node.inputs[0], node.outputs[0]
    return [contiguous_copy(y, x, numel(x.shape)), yield_step(0, [y])]


# Each trainer's gradient is that of its own loss, n times its part in the averaged one; so the gradient of an average
# is the average of the gradients.
JOINT_MEAN: Op = Op(
    "joint_mean", lambda x: [(x.shape, "real")], lambda node, g: [apply(JOINT_MEAN, g)], _joint_mean_lower
)


def joint_mean(x: Tensor) -> Tensor:
    """The average of x over the trainers."""
    return apply(JOINT_MEAN, x)
