"""fit_many: independent nets, one per core, on shared plans.

Design: each net goes down ``Trainer.fit``'s own road on one thread; what is shared is the plan. Nets whose batches have
the same trace (``BatchTrace.signature``), whatever code it came from, take turns on one plan and one arena per worker,
so a net costs a trace and its own arrays, not a compilation. Nets of one architecture are trained one after the other,
so that a worker needs one plan at a time, and dearest first, so that no core waits long at the end.
Rejected: one batched plan for nets of equal shape (a step of a small net already runs at the speed of one core, and
nets that stop at different times would leave holes) and processes (every one would load the data and compile anew).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .. import _core
from ..data.arrays import as_data, as_inputs
from ..errors import ArgumentError, HawfinchError, NonFiniteError, import_extra, unknown_name
from ..ir import Array
from ..losses import ClassWeight
from ..nn.module import Module
from ..runtime.plan import check_threads
from ..values import items_of, short
from .batch_plan import BatchPlan
from .batch_trace import BatchTrace, StepKey
from .bound import FitCall
from .history import History
from .loop import run_fit
from .plans import Plans
from .resume import check, read, take
from .trainer import Trainer
from .update import Update

POLL = 0.05  # seconds between looks at the progress


def _options(function: Any) -> frozenset[str]:
    """Names of a function's arguments that are a net's own."""
    code = function.__code__
    return frozenset(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]) - {
        "self",
        "model",
        "x",
        "y",
        "threads",
    }


OF_TRAINER, OF_FIT = _options(Trainer.__init__), _options(Trainer.fit)
OF_NET = OF_TRAINER | OF_FIT | {"x", "y"}


class _Job(NamedTuple):
    number: int
    trainer: Trainer
    call: FitCall
    resume: Any
    signature: Any
    cost: int


def fit_many(
    nets: Iterable[tuple[Module, Mapping[str, Any]]],
    x: Any,
    y: Any,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Any = None,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    shuffle: bool = True,
    threads: int | None = None,
    progress: bool = False,
) -> list[History]:
    """Trains independent nets at the same time, each on one core; gives their histories in the order of ``nets``.

    nets: pairs (model, options). options: what ``Trainer`` and ``fit`` take by name, for this net alone: loss,
    optimizer, metrics, seed, callbacks, resume, epochs, batch_size, sample_weight and so on; x and y where it trains on
    rows of its own, as in cross-validation. The other arguments are of ``Trainer.fit`` for all nets. threads: nets in
    training at a time; default: one for each core. progress: a tqdm bar over nets (``pip install hawfinch[progress]``).

    Each net gets the same bits as from ``Trainer(model, **options).fit(x, y, ...)``. Architectures may differ; nets of
    the same one share a plan. Memory: the nets' parameters, and for each thread an arena, gradient and optimiser state.
    Callbacks run in worker threads, those of different nets at the same time: one that keeps something needs an object
    of its own for each net.

    A net whose loss or gradient stops being finite does not stop the others: its history ends there and has the
    NonFiniteError as ``history.error``. Bad input raises as in ``fit``, naming the net, before any training. An error
    in a callback, and Ctrl-C (seen within 100 ms), stop all nets and are raised; each model is then as its last whole
    step left it. Raises ArgumentError for nets that share a layer.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> def net(width):
    ...     return hf.Sequential(hf.Linear(width), hf.Tanh(), hf.Linear(2))
    >>> rates = [0.001, 0.003, 0.01, 0.03]
    >>> nets = [(net(16), dict(loss="softmax_cross_entropy", optimizer=hf.Adam(lr=lr))) for lr in rates]
    >>> histories = hf.fit_many(nets, x, y, epochs=20, batch_size=32)
    >>> best = min(range(4), key=lambda i: histories[i]["loss"][-1])
    >>> rates[best]
    0.03
    """
    workers = check_threads(threads) or _core.max_threads()
    nets = items_of(nets, "nets: expected a list of (model, options) pairs")
    if not isinstance(progress, bool):
        raise ArgumentError(f"progress must be True or False, got {short(progress)}")
    arrays = as_inputs(x)  # here, so that a list becomes one array for all
    if not arrays:
        raise ArgumentError("x: expected an array, or a tuple of them; got ()")
    x, y = arrays if len(arrays) > 1 else arrays[0], _targets(y)
    if isinstance(validation_data, tuple | list) and len(validation_data) in (2, 3):
        validation_data = (as_inputs(validation_data[0]), _targets(validation_data[1]), *validation_data[2:])
    common = dict(
        epochs=epochs,
        batch_size=batch_size,
        validation_data=validation_data,
        class_weight=class_weight,
        sample_weight=None if sample_weight is None else as_data(sample_weight, "sample_weight"),
        shuffle=shuffle,
    )
    prepare = _Preparation(x, y, common)
    queue = _in_order([prepare.job(net) for net in nets])  # alone holds the trainers, so that each goes after its turn
    histories = {job.number: job.trainer.history for job in queue}
    workers = min(workers, len(queue))
    if progress:
        with import_extra("tqdm.auto", "progress").tqdm(total=len(queue), unit="net") as bar:
            _run(queue, workers, bar)
    else:
        _run(queue, workers)
    return [histories[i] for i in range(len(histories))]


def _targets(y: Any) -> Any:
    """y, or several of them as a tuple or dict, as arrays."""
    if isinstance(y, Mapping):
        return {name: as_data(v, f"y[{name!r}]") for name, v in y.items()}
    if isinstance(y, tuple) and y and all([getattr(v, "ndim", 0) for v in y]):
        return tuple([as_data(v, f"y[{i}]") for i, v in enumerate(y)])
    return None if y is None else as_data(y, "y")


def _in_order(jobs: list[_Job]) -> deque[_Job]:
    """Architectures by their dearest net, and within one the dearest first."""
    dearest = {id(job.signature): (-job.cost, job.number) for job in sorted(jobs, key=lambda job: job.cost)}
    return deque(sorted(jobs, key=lambda job: (dearest[id(job.signature)], -job.cost)))


class _Preparation:
    """Checks, builds and signs one net after the other."""

    def __init__(self, x: Any, y: Any, common: dict[str, Any]):
        self.x, self.y, self.common = x, y, common
        self.data: dict[Any, Any] = {}  # checked already
        self.signatures: dict[Any, Any] = {}
        self.twins: dict[Any, Module] = {}  # the first of each structure, which is traced
        self.owner: dict[int, int] = {}  # id of a layer -> its net
        self.nets = 0

    def job(self, net: Any) -> _Job:
        try:
            return self._job(net)
        except HawfinchError as error:
            error.args = (f"net {self.nets}: {error}",)
            raise
        finally:
            self.nets += 1

    def _job(self, net: Any) -> _Job:
        if not isinstance(net, tuple | list) or len(net) != 2 or not isinstance(net[1], Mapping):
            raise ArgumentError(f"expected a pair (model, options), got {net!r:.100}")
        model, options = net
        for name in options:
            if name not in OF_NET:
                raise unknown_name("option", name, OF_NET)
        if "loss" not in options:
            raise ArgumentError("the options name no loss, such as loss='softmax_cross_entropy'")
        trainer = Trainer(model, **{k: v for k, v in options.items() if k in OF_TRAINER})
        for path, module in model.modules():
            other = self.owner.setdefault(id(module), self.nets)
            if other != self.nets:
                what = f"layer {path!r}" if path else "model"
                raise ArgumentError(f"its {what} is part of net {other} too; each net needs layers of its own")
        structure, x = model.structure(), self.x
        if "x" in options:
            own = as_inputs(options["x"])
            x = own if len(own) > 1 else own[0]
            structure = structure and (*structure, *[(a.shape[1:], a.dtype.kind) for a in own])
        if structure in self.twins:
            model.build_like(self.twins[structure], seed=trainer.seed)
        mine = {k: v for k, v in options.items() if k in OF_FIT and k != "resume"}
        y = _targets(options["y"]) if "y" in options else self.y
        call = trainer._prepare(x, y, threads=1, checked=self.data, **{**self.common, **mine})
        if structure is not None:
            self.twins.setdefault(structure, model)
        data = call.source.data
        assert data is not None
        batch = min(call.batch or data.rows, data.rows)
        plans = SharedPlans()
        trainer._plans = plans
        signature = plans.sign(model, trainer._key(data, True), batch, structure, self.signatures)
        cost = model.store().params.size * data.rows * call.epochs
        resume = options.get("resume")
        if resume is not None and (state := read(resume, call)) is not None:
            check(trainer, state, call)
        return _Job(self.nets, trainer, call, resume, signature, cost)


class PlanPool:
    """Plans of one worker, for nets that take turns. ``stop``, an Event, ends their runs when it is set."""

    def __init__(self, stop: threading.Event):
        self.stop = stop
        self.free: dict[Any, BatchPlan] = {}


class SharedPlans(Plans):
    """A trainer's plans while it is one of many: those of the worker's pool, by what was traced.

    A trace is made once per key and batch; ``sign`` makes it beforehand, or takes it from a net of equal structure.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool: PlanPool | None = None
        self.signed: tuple[Any, ...] = ()  # model's buffers, key, batch; signature
        self.held: dict[Any, BatchPlan] = {}  # from the pool

    def sign(
        self, model: Module, key: StepKey, batch: int, structure: Any, signatures: dict[Any, Any]
    ) -> tuple[Any, ...]:
        """The signature of the plan for this key; one object for all nets with the same ``signatures``.

        structure: the model's, before it was built; None if it must be traced.
        """
        settings = (structure, key, batch)
        if structure is None or settings not in signatures:
            signature = self._signature(model, key, batch)
            signatures[settings] = signatures.setdefault(signature, signature)
        self.signed = (model.store(), key, batch, signatures[settings])
        return self.signed[3]

    def _signature(self, model: Module, key: StepKey, batch: int) -> Any:
        """All that a plan is made for: other nets' plans of the same signature do for this one."""
        if self.signed[:3] != (model.store(), key, batch):
            trace = BatchTrace(model, key).signature()
            self.signed = (model.store(), key, batch, (trace, batch, key.precision, key.update))
        return self.signed[3]

    def compile(
        self, model: Module, key: StepKey, batch: int, update: Update | None, buffers: tuple[Array, ...]
    ) -> BatchPlan:
        assert self.pool is not None
        signature = self._signature(model, key, batch)
        plan = self.pool.free.pop(signature, None)
        if plan is None:
            plan = super().compile(model, key, batch, update, buffers)
            plan.core.stop_event = self.pool.stop
        self.held[signature] = plan
        return plan

    def give_back(self) -> None:
        """For the nets after this one."""
        assert self.pool is not None
        for plan in self.held.values():
            plan.buffers = ()
        self.pool.free |= self.held


def _train(job: _Job, pool: PlanPool) -> None:
    """The net's training, with plans from the pool; after it the trainer has plans of its own."""
    trainer = job.trainer
    plans = trainer._plans
    assert isinstance(plans, SharedPlans)
    with trainer._alone():
        plans.pool = pool
        try:
            run_fit(trainer, job.call, job.resume is not None and take(trainer, job.resume, job.call))
        finally:
            plans.give_back()
            trainer._plans = Plans()
            trainer._forget()


def _run(jobs: deque[_Job], workers: int, bar: Any = None) -> None:
    """Trains the nets on this many threads; this one waits, so that it sees Ctrl-C at once."""
    stop = threading.Event()
    ended = [threading.Event() for _ in range(workers)]
    failed: list[BaseException] = []
    finished: list[int] = []

    def work(over: threading.Event) -> None:
        pool, last = PlanPool(stop), None
        while not stop.is_set():
            try:
                job = jobs.popleft()
            except IndexError:
                break
            if job.signature is not last:
                pool.free.clear()
                last = job.signature
            try:
                _train(job, pool)
            except NonFiniteError as error:
                job.trainer.history.error = error.with_traceback(None)  # which holds the trainer and its arrays
            except BaseException as error:  # a callback's, or what stop makes of the others
                error.add_note(f"in the training of net {job.number}")
                failed.append(error)
                stop.set()
            finished.append(job.number)
            del job
        over.set()

    team = [threading.Thread(target=work, args=(over,), daemon=True) for over in ended]
    try:
        for thread in team:
            thread.start()
        for over in ended:  # not Thread.join, which an exception in it leaves broken
            while not over.wait(POLL):
                if bar is not None:
                    bar.update(len(finished) - bar.n)
        if bar is not None:
            bar.update(len(finished) - bar.n)
    finally:
        stop.set()
        for thread, over in zip(team, ended, strict=True):
            if thread.ident is not None:
                over.wait()
                thread.join()
    if failed:
        raise failed[0]
