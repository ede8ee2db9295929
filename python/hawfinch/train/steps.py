"""Steps over the rows of some data, in one call into C.

Design: ``run_steps`` is a function of (plan, data, state), so that what is saved is what is trained on; ``fit``,
``step`` and whatever else runs a training step's plan call this one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import _core
from ..data.arrays import wrong_index
from ..errors import BusyError, NonFiniteError
from ..ir import Array
from .batch_plan import BatchPlan
from .inputs import Data
from .state import TrainState


class Steps(NamedTuple):
    """Steps over the rows of some data."""

    data: Data
    batch: int
    order: Array | None  # int64 (rows,): which row comes when; None: as they lie
    scalars: Array  # float64 (steps, k) or (1, k): the numbers of the update
    accumulate: int = 1  # batches of an update

    def updates(self, step: int) -> int:
        """Those of the steps before this one."""
        last = -(-self.data.rows // self.batch)
        return -(-step // self.accumulate) if step == last else step // self.accumulate


def run_steps(plan: BatchPlan, steps: Steps, state: TrainState, first: int, stop: int, team: int) -> None:
    """Steps [first, stop), in one call into C; the state is that after the last whole step, whatever happens.

    Raises NonFiniteError, LabelError; BusyError where another thread is in this plan.
    """
    if plan.core.busy:
        raise BusyError("this trainer is at work in another thread")
    data = steps.data
    plan.set_data(data.arrays)
    step0 = state.step - first
    reached = first
    try:
        try:
            how = (stop, steps.batch, data.rows, steps.order, steps.scalars, state.seed, step0, team, -1, first)
            status, reached = plan.core.run((*plan.buffers, *plan.kept), *how)
            if status == _core.YIELDED:
                status, reached = plan.reduce()
        except BaseException:  # Ctrl-C, or what another signal's handler raised
            reached = plan.core.last_step
            raise
        finally:
            state.step = step0 + reached
            if steps.accumulate > 1:
                state.update.skipped += reached - first - steps.updates(reached) + steps.updates(first)
        if status != _core.OK:
            _fail(plan, status, steps, state, step0, reached)
    finally:
        plan.core.drop_sources()


def _fail(plan: BatchPlan, status: int, steps: Steps, state: TrainState, step0: int, step: int) -> None:
    if status == _core.BAD_INDEX:
        raise wrong_index(steps.data.x, steps.data.specs[0], f"epoch {state.epoch}, step {step}: ")
    run = dict(batch=steps.batch, rows=steps.data.rows, index=steps.order, scalars=steps.scalars, seed=state.seed)
    run["step0"] = step0
    value = float(plan.value[0])
    culprit = plan.first_nonfinite(run, step)
    what = f"the loss is {value}" if not np.isfinite(value) else "the gradient overflowed or came near to it"
    if culprit is None and plan.update is not None and plan.update.trainers:
        what = "the loss or the gradient, averaged over the trainers, is not finite"
    raise NonFiniteError(
        f"epoch {state.epoch}, step {step}: {what}; first non-finite: {culprit or 'the norm of the gradient'}. "
        "The parameters are those before this step. A smaller learning rate or clip_norm often helps.",
        tensor=culprit,
        epoch=state.epoch,
        step=step,
    )
