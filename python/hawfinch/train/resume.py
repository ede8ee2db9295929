"""A call of ``fit`` that is gone on with: what a state was saved under, and how a trainer takes it.

Design: a state says in words what it was made of (fingerprint.py), so a call that is another one is told which setting
differs, before anything is changed. A file that is not there yet is a beginning where this call is the one that writes
it, so that a script can be started again and again as it stands; else it is a mistyped name, and an error.
"""

from __future__ import annotations

import os
from typing import Any

from .. import _core
from ..errors import ArgumentError, MissingFileError
from .bound import Bound, FitCall
from .callbacks import restore
from .checkpoint import Checkpoint
from .fingerprint import check_same, data_text, model_text, source_text, value_text
from .sources import EpochRows
from .state import TrainState


def settings_of(trainer: Bound, call: FitCall | None) -> dict[str, str]:
    """What a run is made of, as text by name."""
    settings = {
        "hawfinch": _core.VERSION,
        "model": model_text(trainer._model),
        "loss": value_text(trainer._objective),
        "optimizer": value_text(trainer._optimizer),
        "update": value_text(trainer._update_options),
        "precision": trainer._precision,
        "seed": str(trainer.state.seed),
    }
    if call is not None:
        if not call.texts:  # the data's digests, once a call
            call.texts.update(data=source_text(call.source), validation_data=data_text(call.validation))
        settings |= {"epochs": str(call.epochs), "batch_size": str(call.batch), "shuffle": str(call.shuffle)}
        settings |= call.texts
        settings["augment"] = value_text(call.augment)
    return settings


def read(given: Any, call: FitCall | None) -> TrainState | None:
    """The state, or that in a file; None where there is no file, and the call has a Checkpoint that is to write it.

    Raises MissingFileError where it has none.
    """
    if isinstance(given, TrainState):
        return given
    if not isinstance(given, str | os.PathLike):
        raise ArgumentError(f"resume: expected a path or a TrainState, got {type(given).__name__}")
    if call is not None and not os.path.exists(given):
        path = os.path.abspath(given)
        if any([isinstance(c, Checkpoint) and os.path.abspath(c.path) == path for c in call.callbacks]):
            return None
    from .state_file import load_state  # json and zlib are slow to import

    try:
        return load_state(given)
    except FileNotFoundError as error:
        name = str(given)
        how = f"; to begin anew, pass callbacks=[hf.Checkpoint({name!r})]" if call is not None else ""
        raise MissingFileError(f"resume: no file {name!r}{how}") from error


def check(trainer: Bound, state: TrainState, call: FitCall | None) -> None:
    """Raises ArgumentError for the state of another run."""
    if trainer._model.inputs is None and call is not None:
        with call.source.open(EpochRows(trainer.state.seed, 0, False, None)) as chunks:
            next(chunks, None)  # builds the model
    check_same(state.settings, settings_of(trainer, call), () if call else ("hawfinch",))


def take(trainer: Bound, given: Any, call: FitCall | None) -> bool:
    """Goes on from a state, or from that in a file; whether there is one. Raises ArgumentError for another run's."""
    state = read(given, call)
    if state is None:
        return False
    check(trainer, state, call)
    trainer._bind()
    if call is not None:
        restore(call.callbacks, state.callbacks)
    trainer.state.take(state)
    return True
