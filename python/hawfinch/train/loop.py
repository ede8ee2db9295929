"""The loop of training: one for ``fit`` and ``fit_many``.

Design: it decides which plan, which rows and when to come back to Python; an epoch is one call of ``run_steps`` per
chunk of data, or one per step where a callback wants that.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..errors import ArgumentError
from ..ir import Array
from .batch_plan import BatchPlan
from .bound import Bound, FitCall
from .history import History
from .inputs import weights_of_batches
from .monitor import check_monitor, history_names
from .search import search_step
from .sources import EpochRows, check_mixable
from .state import FitProgress, TrainState
from .statistics import recompute_statistics
from .steps import Steps, run_steps
from .update.averages import show_average
from .update.columns import after_epoch
from .update.constraints import check_limited


def _check_monitors(trainer: Bound, call: FitCall, followers: Iterable[Any]) -> None:
    """Raises ArgumentError where a schedule or a callback follows what the History will not have."""
    names = history_names(trainer._objective, bool(trainer._update.regularizers), call.validation is not None)
    for follower in followers:
        for name in getattr(follower, "monitors", ()):
            check_monitor(type(follower).__name__, name, names)


def run_fit(trainer: Bound, call: FitCall, resumed: bool = False) -> History:
    """The epochs of a call of ``fit`` that are still to be done; a callback may call it for a fit within the fit."""
    state, outer = trainer.state, trainer._call
    trainer._call = call
    best_of_outer = None if outer is None else state.best
    if outer is None:
        trainer._take_back()
    begun = False
    try:
        if not resumed or state.fit is None:
            state.fit = FitProgress(state.epoch, call.epochs, state.step, trainer._count_updates().updates)
            state.position, state.sums, state.kept = 0, None, []
            state.best = state.history.best_epoch = None
        last = state.fit.first_epoch + state.fit.epochs
        trainer.stop, trainer.epochs_planned = False, call.epochs
        plan: BatchPlan | None = None
        data = call.source.data
        if call.augment is not None and data is not None:
            data = data._replace(share=call.augment.shares(data.rows, state.seed, state.epoch))
        if state.epoch < last and data is not None:  # what can't be compiled is told before any callback
            plan = trainer._plan(data, min(call.batch or data.rows, data.rows), True)
            if trainer._update.columns.schedules:
                trainer._update.columns.check_length(trainer._length())
                _check_monitors(trainer, call, trainer._update.columns.schedules)
        if call.callbacks:
            _check_monitors(trainer, call, call.callbacks)
        for notify in call.events["on_fit_begin"]:
            notify(trainer)
        begun = True
        if call.events["on_fit_begin"]:  # a callback may have frozen something, or set another loss
            plan = None
        if state.epoch < last and data is not None:
            store = trainer._model.store()
            if store.params.size and not store.trainable:
                raise ArgumentError("all parameters are frozen: there is nothing to train; see model.unfreeze")
        while state.epoch < last and not trainer.stop:
            logs = _epoch(trainer, call, state, plan)
            if trainer._update.regularizers:
                logs["penalty"] = trainer._update.penalty(trainer._model.store(), trainer._clock(1, 1))
            if call.validation is not None:
                validation = trainer._evaluate(call.validation, call.batch or call.validation.rows, call.threads)
                logs |= {f"val_{k}": v for k, v in validation.items()}
            state.epoch += 1
            state.position, state.sums, state.kept = 0, None, []
            state.history.add(logs)
            if trainer._update.columns.schedules:
                after_epoch(trainer._update.columns, state.update.schedules, logs)
            for notify in call.events["on_epoch_end"]:
                notify(trainer, state.epoch - 1, logs)
            if any(call.events.values()):  # a callback may have moved the parameters or set another loss
                trainer._model.store()
                plan = None
    finally:
        try:
            if begun:
                for notify in call.events["on_fit_end"]:
                    notify(trainer)
        finally:
            trainer._call = outer
            if state.best is not None:
                state.take_best()
                state.best = best_of_outer
            if outer is None and "average" in state.slots:
                average = trainer._update.average
                trainer._work_out_average()
                anew = partial(recompute_statistics, trainer, call) if average and average.recomputes else None
                show_average(trainer._count_updates(), trainer._model.store(), state.slots, anew)
    return state.history


def _epoch(trainer: Bound, call: FitCall, state: TrainState, plan: BatchPlan | None) -> dict[str, float]:
    """The rest of the epoch under way; returns its loss and metrics. plan: the one to use, if it is known."""
    begin = state.position  # steps that are done already, when a fit is gone on with
    on_step_end = call.events["on_step_end"]
    used: BatchPlan | None = None
    with call.source.open(
        EpochRows(state.seed, state.epoch, call.shuffle, call.batch, trainer._update.accumulate, begin)
    ) as chunks:
        for data, order, before, rows_before in chunks:
            rows = data.rows
            if call.augment is not None:
                check_mixable(data)
                data = data._replace(share=call.augment.shares(rows, state.seed, state.epoch, rows_before))
            batch = min(call.batch or rows, rows)
            n_steps = -(-rows // batch)
            first = min(max(begin - before, 0), n_steps)
            used = plan or trainer._plan(data, batch, True)
            used.sums[...] = 0 if state.sums is None else state.sums
            kept = _kept_rows(used, state, rows_before, rows) if used.keeps_rows else []
            if first == n_steps:
                continue
            clock = trainer._clock(n_steps, first, rows, batch)
            if trainer._update.accumulate > 1:
                clock = clock._replace(weights=weights_of_batches(trainer._objective, data, order, batch))
            steps = Steps(data, batch, order, trainer._update.columns.fill(clock), trainer._update.accumulate)
            team = used.plan.team(call.threads, batch, n_steps)
            while first < n_steps:
                stop = min(first + call.stride - state.step % call.stride, n_steps) if on_step_end else n_steps
                step0 = state.step
                used.kept = kept
                try:
                    if trainer._optimizer.searches:
                        run = partial(run_steps, used, steps, state, first, stop, team)
                        search_step(trainer, used, steps, team, run)
                    else:
                        run_steps(used, steps, state, first, stop, team)
                finally:
                    state.position += state.step - step0
                    state.sums = used.sums.copy()
                if trainer._update.limits:
                    check_limited(trainer._update.limits, trainer._model.store())
                first = stop
                for notify in on_step_end:
                    notify(trainer, state.step - 1, float(used.value[0]))
                if on_step_end:  # which may have used the plan for a step of its own
                    used.sums[...] = state.sums
    if used is None:
        raise ArgumentError("there are no chunks to train on: an iterable that is used up?")
    used.kept = []
    return used.results(state.kept)


def _kept_rows(plan: BatchPlan, state: TrainState, before: int, rows: int) -> list[Array]:
    """Where metrics keep the rows of a chunk, behind those of the chunks before it, in the state."""
    if not state.kept or len(state.kept[0]) < before + rows:
        longer = plan.new_kept(before + rows)
        for new, old in zip(longer, state.kept, strict=False):
            new[: len(old)] = old
        state.kept = longer
    return [a[before : before + rows] for a in state.kept]
