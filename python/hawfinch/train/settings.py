"""The settings of a trainer.

Design: each is a property that checks and converts what it is given as the constructor does, so that an object that was
exchanged can't be seen by one part of the trainer and missed by another. Rejected: plain attributes, read by whoever
comes across them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..losses import Loss
from ..metrics import Metric
from ..nn.module import Module
from ..ops.matmul import check_precision
from ..optim import Optimizer, get_optimizer
from ..runtime.plan import check_threads
from ..values import CheckedCall
from .objective import Objective, get_losses, get_objective
from .state import TrainState
from .update import Update

LossLike = str | Loss | Callable[..., Any]


class Settings(metaclass=CheckedCall):
    """What a trainer is made of: checked whenever it is set, and seen by the next step."""

    state: TrainState
    _model: Module
    _optimizer: Optimizer
    _update: Update
    _update_options: dict[str, Any]
    _losses: dict[str, Loss]

    def _forget(self) -> None:
        """To be called when a setting has changed: a repeated step has them in it."""
        raise NotImplementedError

    @property
    def model(self) -> Module:
        """The model; another one needs another Trainer."""
        return self._model

    @property
    def loss(self) -> Any:
        """The loss; for several outputs name -> loss."""
        return self._losses[""] if "" in self._losses else dict(self._losses)

    @loss.setter
    def loss(self, loss: Any) -> None:
        losses = get_losses(loss)
        same = "_losses" in self.__dict__ and list(losses) == list(self._losses)
        self._set_objective(losses, self._weights_given if same else None, self._metrics_given)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Name in the history -> metric."""
        return {
            f"{head.name}_{name}" if head.name else name: metric
            for head in self._objective.heads
            for name, metric in head.metrics
        }

    @metrics.setter
    def metrics(self, metrics: Any) -> None:
        self._set_objective(self._losses, self._weights_given, metrics)

    def _set_objective(self, losses: dict[str, Loss], weights: Any, metrics: Any) -> None:
        if isinstance(metrics, Iterator):
            metrics = list(metrics)
        self._objective: Objective = get_objective(losses, weights, metrics)
        self._losses, self._weights_given, self._metrics_given = losses, weights, metrics
        self._forget()

    @property
    def optimizer(self) -> Optimizer:
        """The optimiser. One of another kind begins with empty slots. To change a number of it: ``set``."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: str | Optimizer) -> None:
        found = get_optimizer(optimizer)
        self._update = Update(found, **self._update_options)
        self._optimizer = found
        self._forget()

    def set(self, **changes: Any) -> None:
        """Goes on with other numbers of the optimiser: its constructor's arguments by name.

        >>> import hawfinch as hf
        >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(0.1))
        >>> trainer.set(lr=0.01)
        >>> trainer.optimizer.lr
        0.01
        """
        self.optimizer = self._optimizer.replace(**changes)

    @property
    def seed(self) -> int:
        """Row order and dropout follow from it, and the parameters of a model that isn't built yet."""
        return self.state.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 1 << 64:
            raise ArgumentError(f"seed must be an integer in [0, 2**64), got {seed!r}")
        self.state.seed = int(seed)

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
