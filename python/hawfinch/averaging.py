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
from .schedules.base import check_steps, steps_of
from .values import Value, check_real, check_whole, names_of

__all__ = ["EMA", "SWA", "Average", "PolynomialAverage"]


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

    def factors_in_fit(self, updates: Array, begin: int, total: int | None) -> tuple[Array, Array]:
        """The same, for one that depends on the fit: it began at update ``begin``, and has ``total`` of them, or None
        where that is not known."""
        return self.factors(updates)

    @property
    def recomputes(self) -> bool:
        """Whether running statistics are worked out anew for the averaged parameters, at the end of a fit."""
        return False


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


class PolynomialAverage(Average):
    """The mean of the parameters after each update from number ``start`` on, in which later ones weigh more: the t-th
    of them (t = 1, 2, ..) by about t**eta.

    average = (1 - a) average + a p with a = (eta + 1) / (t + eta). It needs no decay to be chosen and no length of the
    run to be known, as its window grows with the run: about 1 / (eta + 1) of it. eta: a number >= 0, default 3; 0 is
    the plain mean (Polyak, Juditsky, 1992), 1 weighs by t. start: updates that are left out, default 0; until then the
    average is the parameters themselves. Running statistics are averaged likewise. Shamir, Zhang, ICML 2013.

    >>> import hawfinch as hf
    >>> hf.PolynomialAverage(eta=0).factors(np.arange(3))[1].round(3).tolist()
    [1.0, 0.5, 0.333]
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", average=hf.PolynomialAverage())
    >>> history = trainer.fit([[0.0], [1.0]], [[0.0], [1.0]], epochs=20)
    """

    def __init__(self, eta: float = 3.0, start: int = 0):
        self.eta = check_real(eta, "PolynomialAverage: eta", ">= 0", lambda v: 0 <= v < np.inf)
        self.start = check_whole(start, "PolynomialAverage: start")

    def factors(self, updates: Array) -> tuple[Array, Array]:
        t = np.maximum(updates - self.start, 0) + 1.0
        gain = (self.eta + 1.0) / (t + self.eta)
        return 1.0 - gain, gain


class SWA(Average):
    """The mean of the parameters after each ``every``-th update of a fit, from ``start`` on; before it, they.

    start: a number of updates, or below 1 a part of the fit (default 0.75), counted anew in each fit. every: default 1;
    the number of updates in an epoch is the paper's. At the end of a fit the running statistics of batch norms are
    worked out anew, by one pass over the training data (means over its batches, by rows); until then their own averages
    stand in, in validation too. PyTorch's ``torch.optim.swa_utils``, whose SWALR is
    ``schedule.then(hf.schedules.Constant(lr), at=0.75)``. ``fit`` raises ArgumentError for a start that it does not
    reach, for an ``every`` that leaves it one update, and for a part of a fit whose length is not known. Izmailov,
    Podoprikhin, Garipov, Vetrov, Wilson, UAI 2018.

    >>> import hawfinch as hf
    >>> keep, gain = hf.SWA(start=0.5).factors_in_fit(np.arange(6), 0, 6)
    >>> gain.round(2)
    array([1.  , 1.  , 1.  , 1.  , 0.5 , 0.33])
    """

    def __init__(self, start: float = 0.75, every: int = 1):
        self.start = check_steps("SWA", "start", start)
        self.every = check_whole(every, "SWA: every", 1)

    def factors(self, updates: Array) -> tuple[Array, Array]:
        return self.factors_in_fit(updates, 0, None)

    def factors_in_fit(self, updates: Array, begin: int, total: int | None) -> tuple[Array, Array]:
        start = steps_of(self.start, total)
        if start is None:
            raise ArgumentError(
                f"{self!r} needs to know how long the fit is: give start= as a number of updates, call fit with "
                "arrays, or make the Trainer with total_steps="
            )
        if total is not None and start >= total:
            raise ArgumentError(f"{self!r} starts after {start} updates, but the fit has {total}")
        if total is not None and self.every >= total - start > 1:
            raise ArgumentError(f"{self!r} would take the first of the fit's last {total - start} updates alone")
        n = updates - begin - start
        taken = n // self.every  # before this one
        gain = np.where(n < 0, 1.0, np.where(n % self.every == 0, 1.0 / (np.maximum(taken, 0) + 1.0), 0.0))
        return 1.0 - gain, gain

    @property
    def recomputes(self) -> bool:
        return True


def __dir__() -> list[str]:
    return names_of(globals())
