"""Trainer: fit, evaluate, step."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from ..data.arrays import as_data, as_inputs, check_features, check_finite, check_lengths
from ..errors import ArgumentError, BusyError, LabelError, NonFiniteError, ShapeError
from ..ir import BATCH, Array, Shape, collector_paused
from ..losses import ClassWeight, Loss, get_loss, weights_of_labels
from ..metrics import Metric, get_metrics
from ..nn.module import Module
from ..ops.matmul import check_precision
from ..optim import Optimizer, get_optimizer
from ..runtime.buffers import Memory, aligned_zeros
from ..runtime.plan import Plan, check_threads
from .callbacks import collect
from .engine import BatchGraph, BatchPlan, PlanPool
from .history import History

FEW_PLANS = 3  # of training, evaluation and one more shape
PLAN_BYTES = 1 << 24  # of activations


class _Data(NamedTuple):
    """Checked arrays, as a plan reads them."""

    x: tuple[Array, ...]
    y: Array
    weight: Array | None


class _Fit(NamedTuple):
    """A call of ``fit``, checked."""

    data: _Data
    validation: _Data | None
    epochs: int
    batch: int
    shuffle: bool
    events: dict[str, list[Callable[..., Any]]]
    threads: int | None


class Trainer:
    """Trains a model: one C call per epoch.

    model: a Module. loss: a Loss, a name ("softmax_cross_entropy", "bce_with_logits", "mse", "mae", "huber") or a
    function. optimizer: an Optimizer or its name; default Adam. metrics: names ("accuracy", "mse", "mae") or
    functions of traced (prediction, target) that give (rows,). seed: initial parameters, row order and dropout follow
    from it alone. threads: default None chooses by cost; the result is the same bits for any number. device: "cpu".
    precision: default "f32"; "bf16": products of a training step that are large enough to gain round their operands to
    bfloat16 and sum in float32; all else, ``evaluate`` and ``predict`` stay float32. ArgumentError where the processor
    has no AVX512-BF16, or the model is float64.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = hf.Sequential(hf.Linear(16), hf.Tanh(), hf.Linear(2))
    >>> trainer = hf.Trainer(model, hf.SoftmaxCrossEntropy(), hf.Adam(lr=0.02), metrics=["accuracy"], seed=0)
    >>> history = trainer.fit(x, y, epochs=60, batch_size=32)
    >>> trainer.evaluate(x, y)["accuracy"] > 0.95
    True
    """

    def __init__(
        self,
        model: Module,
        loss: str | Loss | Callable[..., Any],
        optimizer: str | Optimizer = "adam",
        *,
        metrics: Sequence[Any] = (),
        seed: int = 0,
        threads: int | None = None,
        device: str = "cpu",
        precision: str = "f32",
    ):
        if not isinstance(model, Module):
            raise ArgumentError(f"Trainer: expected a hawfinch Module, got {type(model).__name__}")
        if device != "cpu":
            known = "this build has no CUDA backend" if device == "cuda" else 'known: "cpu"'
            raise ArgumentError(f"device {device!r} is not available: {known}")
        self._model = model
        self._start()
        self.loss, self.optimizer, self.metrics = loss, optimizer, metrics
        self.seed, self.threads, self.precision = seed, threads, precision
        self.steps = 0
        self.epochs = 0
        self.epochs_planned = 0
        self.stop = False
        self.history = History()
        self.slots: dict[str, Array] = {}
        self._optimized_by: tuple[str, list[str]] = ("", [])

    # ---- settings: checked whenever they are set, and seen by the next step ----
    @property
    def model(self) -> Module:
        """The model; another one needs another Trainer."""
        return self._model

    @property
    def loss(self) -> Loss:
        """The loss. May be set to what the constructor takes."""
        return self._loss

    @loss.setter
    def loss(self, loss: str | Loss | Callable[..., Any]) -> None:
        self._loss = get_loss(loss)
        self._forget()

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser. May be set to what the constructor takes; one of another kind begins with empty slots."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: str | Optimizer) -> None:
        self._optimizer = get_optimizer(optimizer)
        self._forget()

    @property
    def metrics(self) -> dict[str, Metric]:
        """Name -> metric. May be set to what the constructor takes."""
        return dict(self._metrics)

    @metrics.setter
    def metrics(self, metrics: Any) -> None:
        given = list(metrics.values()) if isinstance(metrics, dict) else metrics
        self._metrics = get_metrics(given)
        self._forget()

    @property
    def seed(self) -> int:
        """Row order and dropout follow from it, and the parameters of a model that isn't built yet."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
            raise ArgumentError(f"seed must be an integer in [0, 2**64), got {seed!r}")
        self._seed = int(seed)

    @property
    def threads(self) -> int | None:
        """Threads of a call that does not say; None: chosen by cost."""
        return self._threads

    @threads.setter
    def threads(self, threads: int | None) -> None:
        self._threads = check_threads(threads)
        self._forget()

    @property
    def precision(self) -> str:
        """Of the products of a training step: "f32" or "bf16"."""
        return self._precision

    @precision.setter
    def precision(self, precision: str) -> None:
        self._precision = check_precision(precision)
        self._forget()

    def _forget(self) -> None:
        """The short way of a repeated step has the settings in it."""
        self._quick: _core.Quick | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: values and arrays; plans are made anew."""
        left_out = ("_plans", "_quick", "_pool", "_signed", "_params", "_training", "_evaluating", "gradient")
        return {k: v for k, v in self.__dict__.items() if k not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def _start(self) -> None:
        """What is made anew in a copy."""
        self.gradient: Array | None = None  # flat; not written where the optimiser takes it from a product (update.py)
        self._plans: OrderedDict[Any, BatchPlan] = OrderedDict()
        self._forget()
        self._pool: PlanPool | None = None  # where plans come from, when nets take turns on them
        self._signed: tuple[Any, ...] = ()
        self._params: Array | None = None
        self._training = threading.RLock()  # whoever trains; a callback may call step
        self._evaluating = threading.RLock()

    # ---- preparation ----
    def _inputs(self, x: Any) -> tuple[Array, ...]:
        arrays = as_inputs(x)
        if self.model.inputs is None:
            self.model.build(*[a.shape[1:] for a in arrays], seed=self.seed)
        else:
            self.model.store()
        assert self.model.inputs is not None
        check_features(arrays, self.model.inputs)
        return arrays

    @property
    def _output(self) -> Shape:
        return self.model.outputs[0].shape

    def _home(self) -> None:
        """Buffers of gradient and optimiser for the model's parameter buffer; kept as long as that stays."""
        params = self.model.store().params
        if self._params is params and self._optimized_by == (self.optimizer.op, self.optimizer.slots):
            return
        if self._params is not None and params.size != self._params.size:
            raise ShapeError("the model's parameters have changed since this trainer began; make a new Trainer")
        dtype, nbytes = params.dtype, params.nbytes
        self.gradient = aligned_zeros(nbytes).view(dtype)
        old = self.slots if self._optimized_by[0] == self.optimizer.op else {}
        self._optimized_by = (self.optimizer.op, self.optimizer.slots)
        self.slots = {name: aligned_zeros(nbytes).view(dtype) for name in self.optimizer.slots}
        for name, slot in self.slots.items():
            slot[...] = old.get(name, 0)  # zeros too: a page that is read before it is written is mapped twice
        self._plans.clear()
        self._quick = None
        self._params = params

    def _targets(self, y: Any, x: Array) -> Array:
        array = as_data(y, "y")
        check_lengths(x, array)
        return self.loss.check(array, self._output)

    def _weights(self, y: Array, sample_weight: Any, class_weight: ClassWeight) -> Array | None:
        weights = self.loss.row_weights(y, self._output)
        if class_weight is not None:
            if y.ndim != 1 or y.dtype.kind not in "iu":
                raise ArgumentError("class_weight needs integer labels")
            classes = int(self._output[-1]) if isinstance(self._output[-1], int) else 0
            weights = weights_of_labels(class_weight, y, classes)
        if sample_weight is not None:
            given = as_data(sample_weight, "sample_weight")
            if given.shape != y.shape[:1]:
                raise ShapeError(f"sample_weight: expected one number per row ({len(y)},), got shape {given.shape}")
            given = given.astype(np.float64)
            check_finite(given, "sample_weight")
            if (given < 0).any():
                raise ArgumentError("sample_weight must not be negative")
            weights = given if weights is None else weights * given
        return None if weights is None else np.ascontiguousarray(weights, dtype=np.float64)

    def _key(self, y: Array, weighted: bool, training: bool) -> tuple[Any, ...]:
        """What this trainer's plans differ in: target, weighted, training, precision, then its settings."""
        dtype = "int" if y.dtype == np.int64 and y.ndim == 1 and self._output[1:] != () else "real"
        target = ((BATCH, *y.shape[1:]), dtype)
        precision = self.precision if training else "f32"
        settings = (self.loss, tuple(self._metrics.items()), self.optimizer.signature if training else None)
        return (target, weighted, training, precision, self.model.version, *settings)

    def _plan(self, y: Array, weighted: bool, batch: int, training: bool) -> BatchPlan:
        self._home()
        key = self._key(y, weighted, training)
        found = self._plans.get(key)
        if found is None or found.capacity < batch:
            self._make_room()
            with collector_paused():
                found = self._plans[key] = self._compile(key, batch)
        self._plans.move_to_end(key)
        return found

    def _make_room(self) -> None:
        """Lets go of the plans that were used least lately: a few are kept, or what fits into PLAN_BYTES."""
        kept = [plan.plan.memory.activations for plan in self._plans.values()]
        while len(kept) > FEW_PLANS and sum(kept) > PLAN_BYTES:
            _, plan = self._plans.popitem(last=False)
            kept.pop(0)
            if self._pool is not None:
                self._pool.give([plan])

    def _compile(self, key: tuple[Any, ...], batch: int) -> BatchPlan:
        store, optimizer = self.model.store(), self.optimizer if key[2] else None
        buffers: tuple[Any, ...] = (store.params, store.buffers)
        if optimizer is not None:
            buffers += (self.gradient, *(self.slots[name] for name in optimizer.slots))
        if self._pool is None:
            return BatchPlan(self._graph(key), batch, optimizer, buffers, key[3])
        signature = self._signature(key, batch)
        plan = self._pool.take(signature)
        if plan is None:
            plan = BatchPlan(self._graph(key), batch, optimizer, buffers, key[3], signature)
            plan.core.halt = self._pool.halt
        plan.buffers = buffers
        return plan

    def _graph(self, key: tuple[Any, ...]) -> BatchGraph:
        metrics = {name: metric.for_loss(self.loss) for name, metric in self._metrics.items()}
        return BatchGraph(self.model, self.loss, metrics, *key[:3])

    def _signature(self, key: tuple[Any, ...], batch: int) -> tuple[Any, ...]:
        """All that a plan is made for: other trainers' plans of the same signature do for this one."""
        what = (key, batch, self.model.store())
        if self._signed[:3] != what:
            graph = self._graph(key).signature()
            self._signed = (*what, (graph, batch, key[3], self.optimizer.signature if key[2] else None))
        return self._signed[3]

    def _sign(self, fit: _Fit, known: dict[Any, Any], structure: Any) -> tuple[Any, ...]:
        """The signature of the plan for this fit; one object for all trainers with the same ``known``.

        structure: the model's, before it was built; None if the model or a metric is one's own and must be traced.
        """
        key = self._key(fit.data.y, fit.data.weight is not None, True)
        settings = (structure, key, fit.batch)
        if structure is None or settings not in known:
            signature = self._signature(key, fit.batch)
            known[settings] = known.setdefault(signature, signature)
        self._signed = key, fit.batch, self.model.store(), known[settings]
        return self._signed[3]

    def _train_on(self, pool: PlanPool, fit: _Fit) -> None:
        """The training of ``fit``, with plans from the pool."""
        with self._alone():
            self._pool = pool
            try:
                self._train(fit)
            finally:
                pool.give(self._plans.values())
                self._plans.clear()
                self._pool, self._quick, self._signed = None, None, ()

    def _data(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        class_weight: ClassWeight = None,
        name: str = "x",
        known: dict[Any, Any] | None = None,
    ) -> _Data:
        """Everything that is checked of a user's arrays before anything is changed. known: what has been checked."""
        arrays = self._inputs(x)
        known = {} if known is None else known
        given = (*arrays, y, sample_weight, class_weight)
        key = (*map(id, given), self.loss, self._output)
        if key in known:
            return known[key][0]
        if len(arrays[0]) == 0:
            raise ShapeError(f"{name} has no rows: there is nothing to fit or evaluate")
        target = self._targets(y, arrays[0])
        weight = self._weights(target, sample_weight, class_weight)
        for i, a in enumerate(arrays):
            check_finite(a, "x" if len(arrays) == 1 else f"x[{i}]")
        check_finite(target, "y")
        data = _Data(arrays, target, weight)
        known[key] = data, given  # held, so that their ids stay theirs
        return data

    # ---- training ----
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        shuffle: bool = True,
        callbacks: Iterable[Any] = (),
        threads: int | None = None,
    ) -> History:
        """Trains for ``epochs`` more epochs; gives the trainer's History.

        x: array (rows, ...) or a tuple of arrays; float, int or bool of any strides, read-only or memory-mapped:
        batches are gathered from it in place. y: as the loss wants it. validation_data: (x, y) or (x, y,
        sample_weight). sample_weight: (rows,), class_weight: see SoftmaxCrossEntropy. batch_size: default 32; the
        last batch of an epoch may be short. shuffle: a new row order each epoch. callbacks: see
        ``hawfinch.train.callbacks``.

        Raises ShapeError, DTypeError, LabelError, ArgumentError or NonFiniteError for bad input before anything is
        changed; NonFiniteError (with epoch, step and the first bad tensor) when the loss or a gradient stops being
        finite: the parameters are then those before that step. Ctrl-C is looked for every 50 ms and leaves the model
        usable.
        """
        with self._alone():
            return self._train(
                self._prepare(
                    x,
                    y,
                    epochs=epochs,
                    batch_size=batch_size,
                    validation_data=validation_data,
                    sample_weight=sample_weight,
                    class_weight=class_weight,
                    shuffle=shuffle,
                    callbacks=callbacks,
                    threads=threads,
                )
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two threads in one plan would read each other's arrays."""
        if not self._training.acquire(blocking=False):
            raise BusyError(
                "this trainer is at work in another thread; give each thread a Trainer and a model of its own"
            )
        try:
            self._quick = None  # so that no short step of another thread slips in between
            yield
        finally:
            self._training.release()

    def _prepare(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        shuffle: bool = True,
        callbacks: Iterable[Any] = (),
        threads: int | None = None,
        known: dict[Any, Any] | None = None,
    ) -> _Fit:
        """Checks what ``fit`` is given."""
        batch_size, epochs = _whole("batch_size", batch_size, 1), _whole("epochs", epochs, 0)
        events = collect(callbacks)
        data = self._data(x, y, sample_weight, class_weight, known=known)
        validation = self._validation(validation_data, known)
        threads = self.threads if threads is None else check_threads(threads)
        return _Fit(data, validation, epochs, min(batch_size, len(data.y)), shuffle, events, threads)

    def _train(self, fit: _Fit) -> History:
        data, validation, epochs, batch, shuffle, events, threads = fit
        weighted, n_steps = data.weight is not None, -(-len(data.y) // batch)
        engine = self._plan(data.y, weighted, batch, True)
        team = engine.plan.team(threads, batch, n_steps)
        self.stop, self.epochs_planned = False, epochs
        for call in events["on_fit_begin"]:
            call(self)
        try:
            for _ in range(epochs):
                if any(events.values()):  # a callback that predicts with a part of the model moves the parameters
                    self.model.store()
                    engine = self._plan(data.y, weighted, batch, True)
                self._epoch(engine, data, batch, n_steps, shuffle, team, events["on_step_end"])
                logs = engine.results()
                if validation is not None:
                    logs |= {f"val_{k}": v for k, v in self._evaluate(validation, batch, threads).items()}
                self.epochs += 1
                self.history.add(logs)
                for call in events["on_epoch_end"]:
                    call(self, self.epochs - 1, logs)
                if self.stop:
                    break
        finally:
            for call in events["on_fit_end"]:
                call(self)
        return self.history

    def _validation(self, data: Any, known: dict[Any, Any] | None) -> _Data | None:
        if data is None:
            return None
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise ArgumentError("validation_data: expected (x, y) or (x, y, sample_weight)")
        weight = data[2] if len(data) == 3 else None
        return self._data(data[0], data[1], weight, name="validation_data", known=known)

    def _epoch(
        self,
        engine: BatchPlan,
        data: _Data,
        batch: int,
        n_steps: int,
        shuffle: bool,
        team: int,
        on_step_end: Sequence[Callable[..., Any]],
    ) -> None:
        rows = len(data.y)
        index = _core.permutation(rows, self.seed, self.epochs) if shuffle else None
        lr = self.optimizer.lr
        rates = (
            np.array([self.optimizer.lr_at(self.steps + i) for i in range(n_steps)])
            if callable(lr)
            else np.full(n_steps, float(lr))
        )
        engine.sums[:] = 0
        first = 0
        while first < n_steps:
            stop = first + 1 if on_step_end else n_steps
            self._run(engine, data, batch, stop, index, rates, team, first)
            for call in on_step_end:
                call(self, self.steps - 1, float(engine.value[0]))
            first = stop

    def _run(
        self,
        engine: BatchPlan,
        data: _Data,
        batch: int,
        n_steps: int,
        index: Array | None,
        rates: Array,
        team: int,
        first: int = 0,
    ) -> None:
        """Steps [first, n_steps) of an epoch over data."""
        if engine.core.busy:  # a short step in another thread
            raise BusyError("this trainer is at work in another thread")
        rows = len(data.y)
        engine.set_data(*data)
        step0 = self.steps - first
        done = first
        try:
            try:
                status, done = engine.run(n_steps, batch, rows, index, rates, self.seed, step0, team, -1, first)
            except BaseException:  # Ctrl-C, or what another signal's handler raised
                done = engine.core.last_step
                raise
            finally:
                self.steps = step0 + done
            if status != _core.OK:
                run = dict(batch=batch, rows=rows, index=index, lr=rates, seed=self.seed, step0=step0)
                self._fail(engine, status, run, done)
        finally:
            engine.core.drop_sources()

    def _fail(self, engine: BatchPlan, status: int, run: dict[str, Any], step: int) -> None:
        if status == _core.BAD_INDEX:
            raise LabelError(f"epoch {self.epochs}, step {step}: an index or label is out of range")
        value = float(engine.value[0])
        culprit = engine.first_nonfinite(run, step)
        what = f"the loss is {value}" if not np.isfinite(value) else "the gradient overflowed or came near to it"
        raise NonFiniteError(
            f"epoch {self.epochs}, step {step}: {what}; first non-finite: {culprit or 'the norm of the gradient'}. "
            "The parameters are those before this step. A smaller learning rate or clip_norm often helps.",
            tensor=culprit,
            epoch=self.epochs,
            step=step,
        )

    def step(self, x: Any, y: Any, *, sample_weight: Any = None, threads: int | None = None) -> float:
        """One training step on these rows; gives the loss before the update.

        Arguments and errors as in ``fit``. The rows are used as they are: one batch, no shuffling.
        """
        lr = self.optimizer.lr_at(self.steps)
        if self._quick is not None and sample_weight is None and threads is None:
            loss: float | None = self._quick.step(x, y, lr, self.seed, self.steps)
            if loss is not None:
                self.steps += 1
                return loss
        with self._alone():
            return self._step(x, y, lr, sample_weight, threads)

    def _step(self, x: Any, y: Any, lr: float, sample_weight: Any, threads: int | None) -> float:
        data = self._data(x, y, sample_weight)
        arrays, target, weight = data
        rows = len(target)
        engine = self._plan(target, weight is not None, rows, True)
        team = engine.plan.team(self.threads if threads is None else threads, rows)
        self._run(engine, data, rows, 1, None, np.array([lr]), team)
        looks_safe = target.dtype.kind == "i" or not self.loss.checks_values  # C checks labels, but no other values
        if weight is None and len(arrays) == 1 and isinstance(y, np.ndarray) and looks_safe:
            watch = self.model._hf.watch
            assert watch is not None
            self._quick = _core.Quick(watch, [engine], (arrays[0], y), rows, rows, team, None, engine.value)
        return float(engine.value[0])

    # ---- evaluation ----
    def evaluate(
        self, x: Any, y: Any, *, sample_weight: Any = None, batch_size: int = 256, threads: int | None = None
    ) -> dict[str, float]:
        """Loss and metrics of the model in inference mode: (weighted) means over all rows."""
        data = self._data(x, y, sample_weight)
        return self._evaluate(data, _whole("batch_size", batch_size, 1), threads)

    def _evaluate(self, data: _Data, batch: int, threads: int | None) -> dict[str, float]:
        rows = len(data.y)
        batch = min(batch, rows)
        with self._evaluating:
            engine = self._plan(data.y, data.weight is not None, batch, False)
            engine.set_data(*data)
            engine.sums[:] = 0
            n_steps = -(-rows // batch)
            team = engine.plan.team(self.threads if threads is None else threads, batch, n_steps)
            status, step = engine.run(n_steps, batch, rows, None, None, self.seed, 0, team)
            engine.core.drop_sources()
            if status == _core.BAD_INDEX:
                last = min((step + 1) * batch, rows)
                raise LabelError(f"rows {step * batch} to {last}: an index or label is out of range")
            return engine.results()

    # ---- looking inside ----
    def plan(self, x: Any, y: Any, *, batch_size: int = 32) -> Plan:
        """The plan of the training step for such data: ``print(trainer.plan(x, y).describe())``."""
        arrays = self._inputs(x)
        target = self._targets(y, arrays[0])
        weighted = self._weights(target, None, None) is not None
        return self._plan(target, weighted, min(_whole("batch_size", batch_size, 1), max(len(target), 1)), True).plan

    def memory(self, x: Any, y: Any, *, batch_size: int = 32) -> Memory:
        """Bytes that the training step uses, by kind."""
        return self.plan(x, y, batch_size=batch_size).memory


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(value)
