"""Callbacks: called between epochs or steps. What is absent costs nothing.

A callback is an object with any of ``on_fit_begin(trainer)``, ``on_epoch_end(trainer, epoch, logs)``,
``on_step_end(trainer, step, loss)``, ``on_fit_end(trainer)``; or a function, taken as ``on_epoch_end``. One that has
``on_step_end`` makes the trainer come back to Python after every step, or after each ``step_stride`` steps of the
trainer, if it has such a number (0: never); it may still be asked at others. Setting ``trainer.stop = True`` ends the
fit after the epoch. A callback with ``get_state()``, plain values that JSON can hold, and ``set_state(values)`` goes on
where it was when a fit is resumed. ``monitors``: names that it needs in the History, looked for before the fit begins.
``comes_last``: it is called after the others.

Design: events are looked up once per fit. Rejected: a base class of empty methods, which would be called at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ArgumentError, import_extra
from ..values import CheckedCall

EVENTS = ("on_fit_begin", "on_epoch_end", "on_step_end", "on_fit_end")


class Progress(metaclass=CheckedCall):
    """A tqdm bar over epochs (``pip install hawfinch[progress]``).

    >>> import hawfinch as hf
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
    >>> history = trainer.fit([[0.0]], [[1.0]], epochs=2, callbacks=[hf.Progress()])
    """

    def __init__(self) -> None:
        self._tqdm = import_extra("tqdm.auto", "progress").tqdm
        self._bar: Any = None

    def on_fit_begin(self, trainer: Any) -> None:
        """Shows the bar."""
        self._bar = self._tqdm(total=trainer.epochs_planned, unit="epoch")

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Moves the bar on, with the epoch's loss and metrics beside it."""
        shown = {k: f"{v:.4g}" for k, v in logs.items() if isinstance(v, float) and "/" not in k}  # no norms
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update()

    def on_fit_end(self, trainer: Any) -> None:
        """Ends the bar."""
        self._bar.close()


NONE: dict[str, list[Callable[..., Any]]] = {e: [] for e in EVENTS}


def collect(callbacks: tuple[Any, ...]) -> dict[str, list[Callable[..., Any]]]:
    """Event -> functions to call."""
    if callbacks == ():
        return NONE
    found: dict[str, list[Callable[..., Any]]] = {e: [] for e in EVENTS}
    for c in sorted(callbacks, key=lambda c: getattr(c, "comes_last", False) is True):
        if isinstance(c, type):
            raise ArgumentError(f"callbacks: {c.__name__} is a class; pass an object of it, {c.__name__}(...)")
        methods = [e for e in EVENTS if callable(getattr(c, e, None))]
        if methods:
            for e in methods:
                if e != "on_step_end" or _stride(c):
                    found[e].append(getattr(c, e))
        elif callable(c):
            found["on_epoch_end"].append(c)
        else:
            raise ArgumentError(
                f"a callback needs one of {', '.join(EVENTS)} or to be a function, got {type(c).__name__}"
            )
    return found


def _stride(callback: Any) -> int:
    return int(getattr(callback, "step_stride", 1))


def stride_of(callbacks: Iterable[Any]) -> int:
    """The trainer comes back to Python after each so many steps; 0: after none."""
    return math.gcd(*[_stride(c) for c in callbacks if callable(getattr(c, "on_step_end", None))])


def state_of(callbacks: Iterable[Any]) -> dict[str, Any]:
    """What the callbacks keep, by class."""
    return {name: c.get_state() for name, c in _named(callbacks) if callable(getattr(c, "get_state", None))}


def restore(callbacks: Iterable[Any], kept: dict[str, Any]) -> None:
    """Gives the callbacks what ``state_of`` gave. Raises ArgumentError where they are not the same."""
    found = {name: c for name, c in _named(callbacks) if callable(getattr(c, "set_state", None))}
    if found.keys() != kept.keys():
        raise ArgumentError(
            f"resume: the state was saved with callbacks {sorted(kept)}, this call has {sorted(found)}; give the same"
        )
    for name, c in found.items():
        try:
            c.set_state(kept[name])
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ArgumentError(f"resume: {name} does not take the state that was saved for it: {error}") from error


def _named(callbacks: Iterable[Any]) -> list[tuple[str, Any]]:
    """By class, and the second of one class by that and a number."""
    found: dict[str, Any] = {}
    for c in callbacks:
        name, n = type(c).__name__, 1
        while name in found:
            name = f"{type(c).__name__} {(n := n + 1)}"
        found[name] = c
    return list(found.items())
