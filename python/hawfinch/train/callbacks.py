"""Callbacks: called between epochs or steps. What is absent costs nothing.

A callback is an object with any of ``on_fit_begin(trainer)``, ``on_epoch_end(trainer, epoch, logs)``,
``on_step_end(trainer, step, loss)``, ``on_fit_end(trainer)``; or a function, taken as ``on_epoch_end``. One that has
``on_step_end`` makes the trainer come back to Python after every step. Setting ``trainer.stop = True`` ends the fit
after the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ArgumentError, import_extra

EVENTS = ("on_fit_begin", "on_epoch_end", "on_step_end", "on_fit_end")


class Progress:
    """A tqdm bar over epochs (``pip install hawfinch[progress]``)."""

    def __init__(self) -> None:
        self._tqdm = import_extra("tqdm.auto", "progress").tqdm
        self._bar: Any = None

    def on_fit_begin(self, trainer: Any) -> None:
        self._bar = self._tqdm(total=trainer.epochs_planned, unit="epoch")

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        self._bar.set_postfix({k: f"{v:.4g}" for k, v in logs.items()}, refresh=False)
        self._bar.update()

    def on_fit_end(self, trainer: Any) -> None:
        self._bar.close()


def collect(callbacks: Iterable[Any]) -> dict[str, list[Callable[..., Any]]]:
    """Event -> functions to call."""
    if not isinstance(callbacks, Iterable):
        raise ArgumentError(f"callbacks: expected a list of them, got {type(callbacks).__name__}")
    found: dict[str, list[Callable[..., Any]]] = {e: [] for e in EVENTS}
    for c in callbacks:
        methods = [e for e in EVENTS if callable(getattr(c, e, None))]
        if methods:
            for e in methods:
                found[e].append(getattr(c, e))
        elif callable(c):
            found["on_epoch_end"].append(c)
        else:
            raise ArgumentError(
                f"a callback needs one of {', '.join(EVENTS)} or to be a function, got {type(c).__name__}"
            )
    return found
