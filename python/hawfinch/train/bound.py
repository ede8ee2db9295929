"""A trainer's settings and state, bound to buffers and plans.

Design: what the loop, a resumed run and the statistics of an average work with is a class of its own, below them; the
face that users see stands above. Rejected: one class, which those would have to import and be imported by.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import _core
from ..data.arrays import wrong_index
from ..errors import ShapeError
from ..ir import Array
from ..runtime.buffers import aligned_zeros
from .batch_plan import BatchPlan
from .batch_trace import StepKey
from .inputs import Data, check_data
from .learn_scales import learn_scales
from .plans import Plans
from .scale_weights import scale_weights
from .settings import Settings
from .sources import Arrays, EpochRows, Source
from .update import Clock, UpdateState
from .update.averages import take_back, work_out_average


class FitCall(NamedTuple):
    """A call of ``fit``, checked."""

    source: Source
    validation: Data | None
    epochs: int
    batch: int | None  # None: all rows
    shuffle: bool
    events: dict[str, list[Callable[..., Any]]]
    threads: int | None
    callbacks: tuple[Any, ...]
    texts: dict[str, str]  # of the data, for the settings of a state; empty until they are asked for
    augment: Any  # what is made of the rows in training, or None
    stride: int  # steps after which on_step_end is called


class Bound(Settings):
    """What a trainer works with besides its settings; made anew in a copy, all but the state."""

    stop: bool
    epochs_planned: int
    _total_steps: int | None
    _scales_weights: bool

    def _start(self) -> None:
        """What is made anew in a copy."""
        self.gradient: Array | None = None  # flat; what products give is not in it (update/products.py)
        self._plans = Plans()
        self._output_shapes: dict[Any, Any] = {}
        self._params: Array | None = None  # the model's buffer that gradient and slots belong to
        self._training = threading.RLock()  # whoever trains; a callback may call step
        self._evaluating = threading.RLock()
        self._call: FitCall | None = None  # the fit under way
        self._fitted: Any = None  # what the last fit was given, for a diagnosis
        self._has_learnt = False  # whether fit has looked for layers that learn from data
        self._forget()

    def _forget(self) -> None:
        self._repeated: _core.Quick | None = None
        self._watched: BatchPlan | None = None  # the plan of the last update

    def _bind(self) -> tuple[Array, ...]:
        """The buffers that a plan works on; gradient and slots are kept as long as the model's buffer stays."""
        store, state, kind = self._model.store(), self.state, self._update.kind
        params, slots = store.params, self._update.slots(store)
        state.buffers = store.buffers
        if self._params is not params or state.rule != kind or list(state.slots) != list(slots):
            if state.rule and params.size != state.parameters.size:
                raise ShapeError("the model's parameters have changed since this trainer began; make a new Trainer")
            self.gradient = aligned_zeros(params.nbytes).view(params.dtype)
            old = state.slots if state.rule == kind else {}
            if state.rule != kind:
                self._count_updates().begin_anew()
            state.rule, state.slots = kind, {}
            for name, size in slots.items():
                slot = state.slots[name] = aligned_zeros(size * params.itemsize).view(params.dtype)
                slot[...] = old.get(name, 0)  # zeros too: a page that is read before it is written is mapped twice
            self._plans.clear()
            self._forget()
            self._params = state.parameters = params
        assert self.gradient is not None
        return (params, store.buffers, self.gradient, *state.slots.values())

    def _plan(self, data: Data, batch: int, training: bool) -> BatchPlan:
        """A plan for batches of such data, bound to this trainer's buffers."""
        buffers = self._bind()
        update = self._update if training else None
        key = self._key(data, training)
        if not training:
            buffers = self._averaged() if self._call is not None and "average" in self.state.slots else buffers[:2]
        plan = self._plans.get(self._model, key, batch, update, buffers)
        if training:
            self._watched = plan
        return plan

    def _count_updates(self) -> UpdateState:
        found = self.state.update
        found.updates = self.state.step - found.skipped
        return found

    def _averaged(self) -> tuple[Array, Array]:
        """The averages of parameters and state, once there are any."""
        state = self._count_updates()
        if state.updates == state.averaged_from:
            return self.state.parameters, self.state.buffers
        self._work_out_average()
        return self.state.slots["average"], self.state.slots.get("average_state", self.state.buffers)

    def _work_out_average(self) -> None:
        if self._optimizer.averages:
            work_out_average(self._update.own, self._model.store(), self.state.slots)

    def _length(self) -> int | None:
        """Steps of the fit under way; outside of one, and for chunks, whose rows are not known before, what the trainer
        was told, or None."""
        call = self._call
        if call is None or call.source.data is None:
            return self._total_steps
        rows = call.source.data.rows
        return call.epochs * -(-rows // min(call.batch or rows, rows))

    def _clock(self, n: int, first: int = 0, rows: int = 1, batch: int = 1) -> Clock:
        """For n steps, of which ``first`` are done; those of a fit if there is one."""
        state, update = self.state, self._count_updates()
        before = update.updates - first // self._update.accumulate
        of_fit = state.fit if self._call is not None else None
        start, begin = (0, 0) if of_fit is None else (of_fit.first_step, of_fit.first_update)
        step0 = state.step - first
        of_average = (before, update.averaged_from)
        return Clock(step0, n, start, self._length(), update.schedules, *of_average, rows, batch, begin=begin)

    def _arrange(self) -> None:
        self._update.arrange(self._model.store(), self._count_updates())

    def _key(self, data: Data, training: bool) -> StepKey:
        if training:
            self._arrange()
        return StepKey(
            *data.specs,
            tuple([None if w is None else w.shape[1:] for w in data.weight]),
            self._objective,
            training,
            self._precision if training else "f32",
            self._update.signature if training else None,
            self._model.version,
            training and data.share is not None,
            self._update.trainers if training else 0,
        )

    def _check(self, x: Any, y: Any, weight: Any = None, *, learn: bool = False, **more: Any) -> Data:
        data = check_data(
            self._model, self._objective, self.state.seed, x, y, weight, shapes=self._output_shapes, **more
        )
        if learn and not self._has_learnt:
            learn_scales(self._model, self._objective, data, self._update.reduce is not None)
            self._has_learnt = True
        if self._scales_weights:
            self._scales_weights = False
            scale_weights(self._model, data.arrays[: len(data.specs[0])])
        return data

    def _evaluate(self, data: Data, batch: int, threads: int | None) -> dict[str, Any]:
        batch = min(batch, data.rows)
        seed = self.state.seed
        with self._evaluating, Arrays(data).open(EpochRows(seed, 0, False, batch)) as chunks:
            plan = self._plan(data, batch, False)
            plan.sums[...] = 0
            kept = plan.new_kept(data.rows)
            team = plan.plan.team(self._threads if threads is None else threads, batch, -(-data.rows // batch))
            for part, _, before, at in chunks:
                plan.set_data(part.arrays)
                rows = part.rows
                plan.kept = [a[at : at + rows] for a in kept]
                status, step = plan.core.run(
                    (*plan.buffers, *plan.kept), -(-rows // batch), batch, rows, None, None, seed, before, team
                )
                plan.core.drop_sources()
                if status == _core.BAD_INDEX:
                    first = (before + step) * batch
                    last = min(first + batch, data.rows)
                    raise wrong_index(data.x, data.specs[0], f"rows {first} to {last}: ")
            plan.kept = []
            return plan.results(kept)

    def _take_back(self) -> None:
        """The model may hold averages, after a fit."""
        if self.state.update.shown:
            take_back(self._count_updates(), self._model.store(), self.state.slots)
