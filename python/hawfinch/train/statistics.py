"""Running statistics of averaged weights: worked out anew, by one pass over the training data.

Design: the pass is a training step of the same model with all parameters frozen, so every layer sees what it sees in
training, and only its state moves. What a batch adds to a running average r, (1 - m) r + m b, is b = (new - (1 - m) r)
/ m; r is put back before each batch, so that a layer that looks at r sees the same in all of them. Rejected: a second
forward pass with hooks, which would be another road; momentum as a number of the plan, for this alone.
"""

from __future__ import annotations

import numpy as np

from ..errors import NonFiniteError
from ..nn.store import Parameter
from ..optim import SGD
from .bound import Bound, FitCall
from .objective import Head, Objective
from .plans import Plans
from .sources import EpochRows
from .state import TrainState
from .steps import Steps, run_steps
from .update import Clock, Update, UpdateState

NAMES = ("running_mean", "running_var")


def recompute_statistics(trainer: Bound, call: FitCall) -> None:
    """Each running mean and variance becomes the mean over the batches of an epoch, by rows.

    As PyTorch's ``update_bn``, which weighs a short last batch as a whole one. They stay as they are where the data
    can't be gone over again, where the loss is not finite, and with ``reduce``, which needs all trainers.
    """
    store, state = trainer._model.store(), trainer.state
    momenta = _momenta(trainer)
    if not momenta or trainer._update.reduce is not None:
        return
    before, sums, total = store.buffers.copy(), np.zeros(store.buffers.size), 0
    update, plans = Update(SGD(0.0)), Plans()
    objective = Objective(tuple([Head(h.name, h.loss, h.weight, ()) for h in trainer._objective.heads]))
    frozen = [p for p in store.parameters.values() if not p.frozen]
    scratch = TrainState(state.seed)
    scratch.step = state.step
    gradient = trainer._bind()[2]
    rows = EpochRows(state.seed, state.epoch, call.shuffle, call.batch)
    try:
        with call.source.open(rows) as chunks:
            for data, order, *_ in chunks:
                key = trainer._key(data, True)
                for p in frozen:
                    p.frozen = True
                update.arrange(store, UpdateState())
                key = key._replace(objective=objective, update=update.signature, trainers=0)
                batch = min(call.batch or data.rows, data.rows)
                plan = plans.get(trainer._model, key, batch, update, (store.params, store.buffers, gradient))
                for p in frozen:
                    p.frozen = False
                steps = Steps(data, batch, order, update.columns.fill(Clock(0, 1, 0, None)))
                team = plan.plan.team(call.threads, batch)
                for i in range(-(-data.rows // batch)):
                    store.buffers[...] = before
                    run_steps(plan, steps, scratch, i, i + 1, team)
                    n = min(batch, data.rows - i * batch)
                    sums += n * store.buffers.astype(np.float64)
                    total += n
    except NonFiniteError:
        total = 0
    finally:
        for p in frozen:
            p.frozen = False
        store.buffers[...] = before
    for p, m in momenta if total else ():
        part = slice(p.offset, p.offset + p.room)
        store.buffers[part] = (sums[part] / total - (1.0 - m) * before[part]) / m


def _momenta(trainer: Bound) -> list[tuple[Parameter, float]]:
    """The running statistics that training moves, each with the part of a batch in it."""
    arrays, found = trainer._model.store().state, []
    for path, module in trainer._model.modules():
        momentum = getattr(module, "momentum", None)
        for name in NAMES:
            p = arrays.get(f"{path}.{name}" if path else name)
            if p is not None and not p.frozen and isinstance(momentum, float) and momentum > 0:
                found.append((p, momentum))
    return found
