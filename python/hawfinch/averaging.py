"""Averages of the parameters over the steps of a training: ``Trainer(average=hf.EMA(0.999))``.

Validation and what follows its score see the average, and after ``fit`` so does the model; the next ``fit`` goes on
from the parameters that were trained, unless somebody has written to the model in between. ``step`` leaves the
parameters in the model that it trains; the average is ``trainer.slots["average"]``.

Design: an average is a recurrence, average = keep average + gain p, whose factors depend on the number of updates
before; they are columns, so that C needs to know none of them."""

from __future__ import annotations

import numpy as np

from .errors import ArgumentError
from .ir import Array
from .values import Value, check_real

__all__ = ["EMA", "Average"]


class Average(Value):
    """Base: ``factors`` gives (keep, gain), float64 (n,), for updates of these numbers; the first is 0.

    >>> import hawfinch as hf
    >>> class Mean(hf.Average):
    ...     def factors(self, updates):
    ...         return updates / (updates + 1.0), 1.0 / (updates + 1.0)
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", average=Mean())
    >>> history = trainer.fit([[0.0], [1.0]], [[0.0], [1.0]], epochs=2)
    """

    def factors(self, updates: Array) -> tuple[Array, Array]:
        """keep and gain, for updates of these numbers."""
        raise ArgumentError(f"{type(self).__name__} defines no factors(updates)")


class EMA(Average):
    """average = decay average + (1 - decay) p; it begins at the parameters after the first update, as in PyTorch's
    ``AveragedModel``. Running statistics are averaged likewise. decay: in [0, 1), default 0.999.

    >>> import hawfinch as hf
    >>> x = [[0.0], [1.0]]
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", average=hf.EMA(0.9))
    >>> history = trainer.fit(x, x, epochs=20, validation_data=(x, x))
    >>> history["val_loss"][-1] == trainer.evaluate(x, x)["loss"]
    True
    """

    def __init__(self, decay: float = 0.999):
        self.decay = check_real(decay, "EMA: decay", "in [0, 1)", lambda v: 0 <= v < 1)

    def factors(self, updates: Array) -> tuple[Array, Array]:
        keep = np.where(updates == 0, 0.0, self.decay)
        return keep, 1.0 - keep
