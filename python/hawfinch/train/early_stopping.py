"""EarlyStopping: ends a fit that no longer gets better, and leaves the best weights in the model."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..values import CheckedCall, check_real, check_whole
from .monitor import better, check_mode, direction, score_of


class EarlyStopping(metaclass=CheckedCall):
    """A callback that ends the fit when ``monitor`` has not become better in ``patience`` epochs.

    However the fit ends (this rule, all epochs done, Ctrl-C, a loss that is not finite), the model has the parameters
    and running statistics of its best epoch, ``history.best_epoch`` (counted from 0); with ``Trainer(average=)`` the
    averages of then, which the validation has seen. monitor: a name in the History, default "val_loss", for which
    ``fit`` needs validation_data. patience: default 10 epochs. min_delta: default 0; a gain must be larger to count for
    ``patience``; the best epoch is the best one whatever the gain, other than in Keras. mode: "min", "max", or "auto"
    (default): losses and errors are to be small, scores such as accuracy large. Raises ArgumentError for a name that
    the History will not have, and for "auto" with a metric that does not say which is better.

    >>> import numpy as np, hawfinch as hf
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(60, 8)), rng.normal(size=(60, 1))  # nothing to learn
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(32), hf.Tanh(), hf.Linear(1)), "mse", hf.Adam(0.01))
    >>> early = hf.EarlyStopping("val_loss", patience=5)
    >>> history = trainer.fit(x[:40], y[:40], epochs=500, validation_data=(x[40:], y[40:]), callbacks=[early])
    >>> len(history) == history.best_epoch + 6
    True
    >>> trainer.evaluate(x[40:], y[40:])["loss"] == min(history["val_loss"])
    True
    """

    def __init__(self, monitor: str = "val_loss", *, patience: int = 10, min_delta: float = 0.0, mode: str = "auto"):
        if not isinstance(monitor, str):
            raise ArgumentError(f"EarlyStopping: monitor must be a name in the History, got {monitor!r}")
        self.monitor, self.patience = monitor, check_whole(patience, "EarlyStopping: patience", 1)
        self.min_delta = check_real(min_delta, "EarlyStopping: min_delta", "from 0", lambda v: 0 <= v < math.inf)
        self.mode = check_mode("EarlyStopping", mode)
        self._sign = 1.0
        self._reference: float | None = None  # that a gain is counted from
        self._waited = 0

    def __repr__(self) -> str:
        settings = f"patience={self.patience}, min_delta={self.min_delta}, mode={self.mode!r}"
        return f"EarlyStopping({self.monitor!r}, {settings})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """Names in the History that it follows."""
        return (self.monitor,)

    def on_fit_begin(self, trainer: Any) -> None:
        """A fit that is gone on with may have come to its end."""
        self._sign = direction("EarlyStopping", self.monitor, self.mode, trainer._objective)
        if self._waited >= self.patience:
            trainer.stop = True

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Keeps the weights if they are the best, and says whether to go on."""
        score, best = score_of("EarlyStopping", self.monitor, logs), trainer.state.best
        if better(score, None if best is None else best.score, self._sign):
            trainer.state.keep_best(score)
        if better(score, self._reference, self._sign, self.min_delta):
            self._reference, self._waited = score, 0
        else:
            self._waited += 1
        if self._waited >= self.patience:
            trainer.stop = True

    def on_fit_end(self, trainer: Any) -> None:
        """The next fit counts anew."""
        self._reference, self._waited = None, 0

    def get_state(self) -> dict[str, Any]:
        """What it has counted, and its settings."""
        settings = {"monitor": self.monitor, "patience": self.patience, "min_delta": self.min_delta, "mode": self.mode}
        return {"settings": settings, "reference": self._reference, "waited": self._waited}

    def set_state(self, values: dict[str, Any]) -> None:
        """Goes on from ``get_state``. Raises ArgumentError where the settings were others."""
        mine = self.get_state()["settings"]
        for name, value in values["settings"].items():
            if mine.get(name) != value:
                raise ArgumentError(
                    f"resume: EarlyStopping had {name}={value!r}, here it has {mine.get(name)!r}; give the same"
                )
        self._reference, self._waited = values["reference"], int(values["waited"])
