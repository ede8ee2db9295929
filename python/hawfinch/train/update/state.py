"""What an update keeps between calls, besides its slots: plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class UpdateState:
    """``skipped``: steps of the trainer that updated nothing. ``lags``: for each trained parameter, the updates that it
    did not take part in; ``counts``: for each frozen one, how many it has had. ``averaged_from``: the number of the
    average's first update. ``shown``: a digest of the averaged parameters, while these and not those that are trained
    are in the model; else "". ``schedules``: what these keep, by their text.
    ``search``: what L-BFGS keeps besides its slots.
    """

    def __init__(self) -> None:
        self.skipped = self.averaged_from = 0
        self.lags: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self.shown = ""
        self.schedules: dict[str, Any] = {}
        self.search: dict[str, Any] = {}
        self.updates = 0  # so far; set by the trainer from its steps

    def begin_anew(self) -> None:
        """The slots are empty: bias corrections and averages begin again."""
        self.lags, self.counts, self.averaged_from, self.search = {}, {}, self.updates, {}

    def follow(self, trained: Iterable[str]) -> None:
        """What is trained from now on."""
        for name in [k for k in self.lags if k not in trained]:
            self.counts[name] = self.updates - self.lags.pop(name)
        for name in trained:
            if name not in self.lags:
                self.lags[name] = self.updates - self.counts.pop(name, 0)

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> UpdateState:
        """The inverse of ``to_dict``. Raises ValueError, TypeError or KeyError for what it did not give."""
        self = cls()
        for name, value in vars(self).items():
            if type(given[name]) is not type(value):
                raise ValueError(f"{name} is {given[name]!r}")
        vars(self).update({name: given[name] for name in vars(self)})
        if not all(isinstance(n, int) for n in (*self.lags.values(), *self.counts.values())):
            raise ValueError("counts of updates must be whole numbers")
        return self
