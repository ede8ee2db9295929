"""Trainer: fit, evaluate, step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NoReturn

import numpy as np

from .. import _core
from ..augment import Mixup
from ..averaging import Average
from ..constraints import Constraint
from ..data.arrays import reads_as_is
from ..errors import ArgumentError, BusyError
from ..initializers import Data as DataInit, InitLike
from ..ir import Array
from ..losses import ClassWeight
from ..nn.module import Module
from ..optim import Optimizer
from ..regularizers import Regularizer
from ..runtime.buffers import Memory
from ..runtime.plan import Plan, check_threads
from ..values import check_whole, is_word, items_of, no_argument, short
from .bound import Bound, FitCall
from .callbacks import collect, state_of, stride_of
from .history import History
from .loop import run_fit
from .resume import settings_of, take
from .search import search_step
from .settings import LossLike
from .sources import Arrays, Chunks, Source, check_augment, is_chunks, split_pair
from .state import TrainState
from .steps import Steps, run_steps
from .update import Update
from .update.constraints import check_limited

NOT_COPIED = (
    "_fitted",
    "gradient",
    "_update",
    "_plans",
    "_output_shapes",
    "_repeated",
    "_watched",
    "_params",
    "_training",
    "_evaluating",
)


class Trainer(Bound):
    """Trains a model: one C call per epoch.

    model: a Module. loss: a Loss, its name ("softmax_cross_entropy", "mse", "huber", ...: ``hf.losses.LOSSES``), a sum
    of losses (``0.5 * hf.MSE() + hf.MAE()``) or a function of traced (prediction, target); for a model with several
    outputs a tuple or a dict of them, one for each output, weighted by ``loss_weights`` (default 1 each). optimizer: an
    Optimizer or its name; default Adam. metrics: names ("accuracy", "f1", "roc_auc", ...: ``hf.metrics.METRICS``),
    Metrics (``hf.metrics.F1("micro")``) or functions of traced (prediction, target) that give (rows,);
    for several outputs a list for all of them, or a tuple or dict of lists. seed: initial parameters, row order and
    dropout follow from it alone. init: how weights start whose layers name no initializer: a name such as "auto" or
    "data", or an initializer (see ``hf.initializers``); default PyTorch's; of a model that isn't built yet.
    threads: default None chooses by cost; the result is the same bits for any number. device: "cpu". precision:
    default "f32"; "bf16": products of a training step that are large enough to gain round their operands to
    bfloat16 and sum in float32; all else, ``evaluate`` and ``predict`` stay float32. Raises ArgumentError for what
    is none of these, where the processor has no AVX512-BF16, or the model is float64.

    What follows the gradient, by patterns of parameter names such as "*.bias" (``fnmatch``; later rows win, a pattern
    that matches nothing is an error). groups: other settings of the optimiser, ``{"*.bias": dict(weight_decay=0.0)}``;
    ``hf.schedules.Scaled(0.1)`` is a part of the trainer's own; ``sparse=True``: of a table that one ``hf.ops.gather``
    reads, the update (moments, decay, penalties, clipping) sees the rows that the batch has touched and costs no more,
    as PyTorch's SparseAdam; no effect with average, accumulate, reduce or a constraint on it. regularizers: penalties,
    ``{"0.weight": hf.L2(1e-4)}``; the History has their sum as "penalty". constraints: ``{"*.weight":
    hf.MaxNorm(3.0)}``. average: ``hf.EMA(0.999)``: what validation sees, and the model after ``fit``. accumulate:
    batches whose gradients, weighted by what their losses are divided by (rows, sample weights, targets that are not
    missing), make one update; what is left at the end of an epoch or a chunk makes one too, and ``step`` always does.
    total_steps: for ``step`` with a schedule that spans a run. watch: a pattern or several, "*" for all parameters: the
    History has "grad_norm/0.weight", "param_norm/0.weight", "update_norm/0.weight" and so on, the root mean square over
    the epoch's updates of the Euclidean norms of the gradient (as it comes from the batch, or from all that are
    accumulated: before clip_norm, clip_value, decay and penalties, after clip_adaptive), the parameter after the
    update, and its change (before constraints). ``norms()`` has those of the last update.

    reduce: (function, n), or a function alone, to train one model on the batches of n trainers (in processes, on
    machines) as on their joined batch. The function gets one array after another and replaces it in place by its
    average over the trainers. In each batch, in the same order everywhere: for each BatchNorm its mean and then its
    variance, which become those of the joined batch, later their two gradients (none where nothing below is trained);
    the loss, an array of one number; the flat gradient. So what is not finite in one trainer is so for all of them, and
    all raise NonFiniteError, none updates. The norm that is clipped is that of the averaged gradient. Batches are of
    equal size (and sum of sample weights) in all trainers; models and settings are the same. History and metrics
    are of the trainer's own rows. n corrects the running variance of a BatchNorm by the rows of all; default 1, by its
    own. A trainer that raises another error calls no more: let the function time out; what it raises ends the step
    without an update.

    ``loss``, ``optimizer``, ``metrics``, ``seed``, ``threads`` and ``precision`` may be set later, to what the
    constructor takes; the next step sees it. A trainer can be copied and pickled, with its model and its state.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = hf.Sequential(hf.Linear(16), hf.Tanh(), hf.Linear(2))
    >>> trainer = hf.Trainer(model, hf.SoftmaxCrossEntropy(), hf.Adam(lr=0.02), metrics=["accuracy"], seed=0)
    >>> history = trainer.fit(x, y, epochs=60, batch_size=32)
    >>> trainer.evaluate(x, y)["accuracy"] > 0.95
    True
    """

    uses: ClassVar[dict[str, Callable[..., Any]]] = {}  # of the rooms above, see Module.uses

    def __init__(
        self,
        model: Module,
        loss: LossLike | Sequence[LossLike] | Mapping[str, LossLike],
        optimizer: str | Optimizer = "adam",
        *,
        metrics: Any = (),
        loss_weights: Sequence[float] | Mapping[str, float] | None = None,
        seed: int = 0,
        init: InitLike = None,
        threads: int | None = None,
        device: str = "cpu",
        precision: str = "f32",
        groups: Mapping[str, Mapping[str, Any]] | None = None,
        regularizers: Mapping[str, Regularizer] | None = None,
        constraints: Mapping[str, Constraint] | None = None,
        average: Average | None = None,
        accumulate: int = 1,
        total_steps: int | None = None,
        reduce: Callable[[Array], Any] | tuple[Callable[[Array], Any], int] | None = None,
        watch: str | Iterable[str] | None = None,
    ):
        if not isinstance(model, Module):
            raise ArgumentError(f"Trainer: expected a hawfinch Module, got {type(model).__name__}")
        if not is_word(device, "cpu"):
            known = "this build has no CUDA backend" if is_word(device, "cuda") else 'known: "cpu"'
            raise ArgumentError(f"device {device!r} is not available: {known}")
        self._model = model
        if init is not None:
            model._start_with(init)
        self._scales_weights = isinstance(model._hf.init, DataInit)  # at the first data
        self.state = TrainState()
        self._start()
        self._metrics_given, self._weights_given = (), None
        self._update_options: dict[str, Any] = dict(
            groups=groups,
            regularizers=regularizers,
            constraints=constraints,
            average=average,
            accumulate=accumulate,
            reduce=reduce,
            watch=watch,
        )
        self._total_steps = None if total_steps is None else check_whole(total_steps, "total_steps", 1)
        self.loss = loss
        self._set_objective(self._losses, loss_weights, metrics)
        self.optimizer, self.seed, self.threads, self.precision = optimizer, seed, threads, precision
        self.epochs_planned = 0
        self.stop = False

    def __getstate__(self) -> dict[str, Any]:
        """For copy and pickle: values and arrays; plans are made anew."""
        kept = {k: v for k, v in self.__dict__.items() if k not in NOT_COPIED}
        return {**kept, "_call": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._update = Update(self._optimizer, **self._update_options)
        self._start()

    def __repr__(self) -> str:
        settings = f"{short(self.loss)}, {short(self._optimizer)}"
        return f"Trainer({type(self._model).__name__}, {settings}, {self.state.epoch} epochs)"

    # ---- what has come of it ----
    @property
    def history(self) -> History:
        """Loss and metrics of every epoch so far."""
        return self.state.history

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return self.state.step

    @property
    def epochs(self) -> int:
        """Whole epochs so far."""
        return self.state.epoch

    @property
    def slots(self) -> dict[str, Array]:
        """The optimiser's state, flat arrays of the layout of the parameters."""
        return self.state.slots

    # ---- training ----
    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | str = 32,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        shuffle: bool = True,
        augment: Mixup | None = None,
        prefetch: bool = True,
        callbacks: Iterable[Any] = (),
        resume: str | os.PathLike[str] | TrainState | None = None,
        threads: int | None = None,
        **unknown: NoReturn,
    ) -> History:
        """Trains for ``epochs`` more epochs; returns the trainer's History.

        x: array (rows, ...) or a tuple of arrays; float, int or bool of any strides, read-only or memory-mapped:
        batches are gathered from it in place; or ``hf.data.Decoded``, of which some rows are held at a time. y: as the
        loss wants it, None for one without targets; for several losses a tuple, or a dict by their names. Or x alone:
        an iterable, or a function that returns one anew for each epoch, of chunks (x, y) or (x, y, sample_weight); rows
        are shuffled within a chunk. While a chunk is trained on, a thread makes the next one; with ``prefetch=False``
        it is made when it is needed, by the thread that called ``fit``: for an iterable that looks at the model or at
        what callbacks change. validation_data: (x, y) or (x, y, sample_weight). sample_weight: (rows,), or of the shape
        of what the loss is a mean of, a weight for each output or position; only ratios matter. class_weight: by class,
        see SoftmaxCrossEntropy. batch_size: default 32; the last batch of an epoch may be short; "full": all rows.
        shuffle: a new row order each epoch. callbacks: see ``hawfinch.train.callbacks``. augment: what is made of the
        rows in training, ``hf.augment.Mixup(0.2)``.
        resume: the file of a ``Checkpoint`` or ``save_state``, or a state of ``get_state``, from when the same call was
        at work: it is gone on with, up to its ``epochs``, with the bits of a run that was never stopped. Where there is
        no such file the call begins, if its own ``Checkpoint`` writes that file; else MissingFileError.

        Raises ShapeError, DTypeError, LabelError, ArgumentError or NonFiniteError for bad input before anything is
        changed; NonFiniteError (with epoch, step and the first bad tensor) when the loss or a gradient stops being
        finite: the parameters are then those before that step. Ctrl-C is looked for every 50 ms and leaves the model
        usable.

        >>> import numpy as np, hawfinch as hf
        >>> x = np.linspace(-1, 1, 64)[:, None]
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(lr=0.1))
        >>> history = trainer.fit(x, 3 * x, epochs=20, batch_size=8, validation_data=(x, 3 * x))
        >>> history["val_loss"][-1] < 1e-3
        True
        """
        if unknown:
            raise no_argument(self.fit, next(iter(unknown)))
        with self._alone():
            call = self._prepare(
                x,
                y,
                epochs=epochs,
                batch_size=batch_size,
                validation_data=validation_data,
                sample_weight=sample_weight,
                class_weight=class_weight,
                shuffle=shuffle,
                augment=augment,
                prefetch=prefetch,
                callbacks=callbacks,
                threads=threads,
            )
            self._fitted = dict(
                x=x,
                y=y,
                sample_weight=sample_weight,
                validation_data=validation_data,
                epochs=epochs,
                batch_size=batch_size,
                class_weight=class_weight,
                shuffle=shuffle,
                augment=augment,
                callbacks=call.callbacks,
            )
            return run_fit(self, call, resume is not None and take(self, resume, call))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Two threads in one plan would read each other's arrays."""
        if not self._training.acquire(blocking=False):
            raise BusyError(
                "this trainer is at work in another thread; give each thread a Trainer and a model of its own"
            )
        try:
            self._repeated = None  # so that no short step of another thread slips in between
            yield
        finally:
            self._training.release()

    def _prepare(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int | str = 32,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        shuffle: bool = True,
        augment: Mixup | None = None,
        prefetch: bool = True,
        callbacks: Iterable[Any] = (),
        threads: int | None = None,
        checked: dict[Any, Any] | None = None,
    ) -> FitCall:
        """Checks what ``fit`` is given. checked: the data that calls before this one have checked."""
        full = type(batch_size) is str and batch_size == "full"
        batch = None if full else check_whole(batch_size, "batch_size", 1)
        epochs = check_whole(epochs, "epochs")
        for name, flag in (("shuffle", shuffle), ("prefetch", prefetch)):
            if not isinstance(flag, bool | np.bool_):
                raise ArgumentError(f"{name} must be True or False, got {flag!r}")
        if type(callbacks) is not tuple:
            callbacks = items_of(callbacks, "callbacks: expected a list such as [hf.Progress()]")
        events = collect(callbacks)
        threads = self._threads if threads is None else check_threads(threads)
        source: Source
        if y is None and is_chunks(x):
            if sample_weight is not None or class_weight is not None:
                raise ArgumentError("sample_weight and class_weight belong to the chunks: give (x, y, sample_weight)")
            if isinstance(x, Iterator) and epochs > 1:
                raise ArgumentError("a generator can be read once: for several epochs pass the function that makes it")
            source = Chunks(x, partial(self._check, learn=True), bool(prefetch))
        else:
            more: dict[str, Any] = dict(class_weight=class_weight, checked=checked, decoded=True)
            data = self._check(x, y, sample_weight, learn=True, **more)
            source = Arrays(data)
        validation = None
        if validation_data is not None:
            pair = split_pair(validation_data, "validation_data")
            validation = self._check(*pair, name="validation_data", checked=checked, decoded=True)
        callbacks = tuple(callbacks)
        if self._optimizer.searches:
            if batch is not None or type(source) is not Arrays:
                what = "chunks" if type(source) is not Arrays else f"batch_size={batch}"
                name = type(self._optimizer).__name__
                raise ArgumentError(f"{name} needs all rows at once: fit(x, y, batch_size='full'), got {what}")
            shuffle = False
        if augment is not None:
            check_augment(augment, source)
        how = (epochs, batch, bool(shuffle), events, threads, callbacks)
        return FitCall(
            source, validation, *how, texts={}, augment=augment, stride=stride_of(callbacks) if callbacks else 0
        )

    def step(self, x: Any, y: Any, *, sample_weight: Any = None, threads: int | None = None) -> float:
        """One training step on these rows; returns the loss before the update.

        Arguments and errors as in ``fit``. The rows are used as they are: one batch, no shuffling.

        >>> import hawfinch as hf
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
        >>> losses = [trainer.step([[1.0], [2.0]], [[1.0], [3.0]]) for _ in range(10)]
        >>> losses[-1] < losses[0]
        True
        """
        state = self.state
        if self._repeated is not None and sample_weight is None and threads is None:
            fixed = self._update.columns.fixed
            if fixed is not None and fixed[0] == state.update.skipped:
                scalars = fixed[1]
            else:
                scalars = self._update.columns.fill(self._clock(1))
            loss: float | None = self._repeated.step(x, y, scalars, state.seed, state.step)
            if loss is not None:
                state.step += 1
                return loss
        with self._alone():
            data = self._check(x, y, sample_weight)
            rows = data.rows
            self._take_back()
            plan = self._plan(data, rows, True)
            plan.kept = plan.new_kept(rows)
            team = plan.plan.team(self._threads if threads is None else threads, rows)
            steps = Steps(data, rows, None, self.scalars(1))
            run = partial(run_steps, plan, steps, state, 0, 1, team)
            if self._optimizer.searches:
                loss = float("nan")

                def first() -> None:
                    nonlocal loss
                    run()
                    loss = float(plan.value[0])

                search_step(self, plan, steps, team, first)
                return loss
            run()
            if self._update.limits:
                check_limited(self._update.limits, self._model.store())
            read_by_none = self._update.reduce is None and not self._update.watch
            short = read_by_none and len(data.arrays) == 2 and isinstance(y, np.ndarray)
            reads_all = self._model.inputs is not None and reads_as_is(self._model.inputs[0], data.x[0])
            if short and reads_all and not plan.watches and not plan.keeps_rows:
                target, loss_of_all = data.y[0], self._objective.heads[0].loss
                if target.dtype.kind == "i" or not loss_of_all.checks_values:  # C checks labels, but no other values
                    watch = self._model.watch()
                    self._repeated = _core.Quick(watch, [plan], (data.x[0], y), rows, rows, team, None, plan.value)
            return float(plan.value[0])

    # ---- what a training has come to, to be gone on with ----
    def get_state(self) -> TrainState:
        """A copy of all that the training has come to. May be called by a callback, at an epoch's or a step's end.

        >>> import hawfinch as hf
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
        >>> loss = trainer.step([[1.0]], [[2.0]])
        >>> state = trainer.get_state()
        >>> after = trainer.step([[1.0]], [[2.0]])
        >>> trainer.set_state(state)
        >>> trainer.step([[1.0]], [[2.0]]) == after
        True
        """
        return self._copy_state()

    def _copy_state(self, into: TrainState | None = None) -> TrainState:
        self._bind()
        if self._call is not None and "average" in self.state.slots:
            self._work_out_average()
        state = self.state.copy(into)
        store = self._model.store()
        for where, arrays in (("parameters", store.parameters), ("buffers", store.state)):
            state.layout |= {name: (where, p.offset, p.shape) for name, p in arrays.items()}
        state.settings = settings_of(self, self._call)
        if self._call is None:
            state.fit, state.position, state.sums, state.kept = None, 0, None, []
        else:
            state.callbacks = state_of(self._call.callbacks)
        return state

    def set_state(self, state: TrainState | str | os.PathLike[str]) -> None:
        """Goes on from a state, or from the file of one. The model must be built, with arrays of the same names.

        Raises ArgumentError, naming what differs, for the state of another model, loss, optimiser or seed.
        """
        with self._alone():
            take(self, state, None)
            self.state.fit, self.state.position, self.state.sums, self.state.kept = None, 0, None, []

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Writes ``get_state`` to a file (safetensors), atomically; ``fit(resume=path)`` and ``set_state`` read it.

        >>> import hawfinch as hf, tempfile, os
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
        >>> history = trainer.fit([[1.0]], [[2.0]], epochs=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.save_state(os.path.join(folder, "run.state"))
        ...     trainer.set_state(os.path.join(folder, "run.state"))
        """
        from .state_file import save_state  # json and zlib are slow to import

        save_state(self.get_state(), path)

    # ---- evaluation ----
    def evaluate(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        batch_size: int | str = 256,
        threads: int | None = None,
        **unknown: NoReturn,
    ) -> dict[str, Any]:
        """Loss and metrics of the model in inference mode, by the names that ``History`` has: over all rows, weighted.

        Arguments and errors as in ``fit``. A metric that is an array is one here, ``found["confusion_matrix"]``.

        >>> import hawfinch as hf, numpy as np
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", metrics=["mae"])
        >>> sorted(trainer.evaluate(np.ones((4, 2)), np.ones((4, 1))))
        ['loss', 'mae']
        """
        if unknown:
            raise no_argument(self.evaluate, next(iter(unknown)))
        data = self._check(x, y, sample_weight, decoded=True)
        batch = data.rows if is_word(batch_size, "full") else check_whole(batch_size, "batch_size", 1)
        return self._evaluate(data, batch, threads)

    # ---- looking inside ----
    def diagnose(self, x: Any = None, y: Any = None, *, budget: str | float = "30s", **settings: Any) -> Any:
        """Says why the training fails, or that it does not: ``hf.diagnose`` with this trainer's settings.

        x, y: default: those of the last ``fit``, which the trainer holds on to, with its validation_data, epochs and
        all else. settings: as ``hf.diagnose`` takes them, in the place of the trainer's. The model is not changed;
        copies begin anew. Raises ArgumentError where there was no ``fit`` and no x is given.

        >>> import numpy as np, hawfinch as hf
        >>> x = np.random.default_rng(0).normal(size=(300, 3))
        >>> y = x @ [[1.0], [2.0], [-1.0]]
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.Adam(lr=1e-6))
        >>> _ = trainer.fit(x[:200], y[:200], epochs=99, validation_data=(x[200:], y[200:]))
        >>> trainer.diagnose(budget="5s").verdict
        'learning_rate_too_low'
        """
        return self.uses["diagnose"](self, x, y, budget, settings)

    def norms(self) -> dict[str, float]:
        """Of the last update, for what ``watch`` names: "grad_norm/0.weight" and so on.

        A callback may ask at each step. Raises ArgumentError where nothing is watched, or nothing was updated yet.

        >>> import hawfinch as hf
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1, bias=False)), "mse", hf.SGD(0.1), watch="*")
        >>> loss = trainer.step([[2.0]], [[0.0]])
        >>> norms = trainer.norms()
        >>> list(norms), round(norms["update_norm/0.weight"] / norms["grad_norm/0.weight"], 6)
        (['grad_norm/0.weight', 'param_norm/0.weight', 'update_norm/0.weight'], 0.1)
        """
        if not self._update.watch:
            raise ArgumentError("norms: nothing is watched; make the Trainer with watch='*', or a pattern of names")
        plan = self._watched
        found = self._update.norms(plan.norms) if plan is not None and plan.update is self._update else {}
        if plan is None or np.isnan(list(found.values())).any():
            raise ArgumentError("norms: there was no update yet")
        return found

    def scalars(self, n_steps: int) -> Array:
        """The numbers of the update for the next steps of ``step``: float64 (n_steps, k), or (1, k) if all are equal.

        >>> import hawfinch as hf
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(0.5))
        >>> _ = trainer.step([[1.0]], [[2.0]])
        >>> trainer.scalars(3)[0, -1]
        np.float64(0.5)
        """
        self._arrange()
        return self._update.columns.fill(self._clock(n_steps))

    def plan(self, x: Any, y: Any, *, batch_size: int = 32) -> Plan:
        """The plan of the training step for such data.

        >>> import hawfinch as hf, numpy as np
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
        >>> "sweep" in trainer.plan(np.ones((4, 2)), np.ones((4, 1))).describe()
        True
        """
        data = self._check(x, y)
        return self._plan(data, min(check_whole(batch_size, "batch_size", 1), data.rows), True).plan

    def memory(self, x: Any, y: Any, *, batch_size: int = 32) -> Memory:
        """Bytes that the training step uses, by kind.

        >>> import hawfinch as hf, numpy as np
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
        >>> memory = trainer.memory(np.ones((4, 2)), np.ones((4, 1)))
        >>> memory.optimizer == 2 * memory.parameters
        True
        """
        return self.plan(x, y, batch_size=batch_size).memory
