"""A TrainState in a file: safetensors for the arrays, JSON in its metadata for the rest. Nothing in it is executed."""

from __future__ import annotations

import json
from typing import Any

from ..errors import FormatError
from ..files.safetensors import load_file, save_file
from ..ir import Array
from .history import History
from .state import Best, FitProgress, TrainState
from .update.state import UpdateState

KEY, VERSION = "hawfinch.train_state", 3
NUMBERS = ("seed", "step", "epoch", "position")


def save_state(state: TrainState, path: Any) -> None:
    """Writes a state (a copy: ``Trainer.get_state``) to a file, atomically.

    Raises FormatError where a callback's state is not made of plain values, OSError as ``open`` does.
    """
    rest = {
        "version": VERSION,
        **{name: getattr(state, name) for name in NUMBERS},
        "rule": state.rule,
        "update": state.update.to_dict(),
        "fit": None if state.fit is None else list(state.fit),
        "history": {
            "epochs": state.history.epochs,
            "best_epoch": state.history.best_epoch,
            "values": state.history.to_dict(),
        },
        "best": None if state.best is None else [state.best.epoch, state.best.step, state.best.score],
        "settings": state.settings,
        "callbacks": state.callbacks,
        "layout": state.layout,
    }
    try:
        text = json.dumps(rest)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{path}: the state of a callback is not made of plain values: {error}") from None
    save_file(path, state.arrays(), {KEY: text})


def load_state(path: Any) -> TrainState:
    """The state in a file that ``save_state`` wrote. Raises FormatError for anything else, OSError as ``open`` does."""
    arrays, metadata = load_file(path)
    if KEY not in metadata:
        raise FormatError(f"{path}: no saved training in it; expected a file of Trainer.save_state")
    return state_in(path, arrays, metadata)


def state_in(path: Any, arrays: dict[str, Array], metadata: dict[str, str]) -> TrainState:
    """The state of which these are the arrays and metadata in a file."""
    try:
        rest = json.loads(metadata[KEY])
        if rest["version"] != VERSION:
            raise FormatError(f"{path}: version {rest['version']!r} of the format, expected {VERSION}")
        state = TrainState()
        for name in NUMBERS:
            setattr(state, name, _whole(rest[name]))
        state.rule, state.settings, state.callbacks = str(rest["rule"]), dict(rest["settings"]), dict(rest["callbacks"])
        state.fit = None if rest["fit"] is None else FitProgress(*map(_whole, rest["fit"]))
        if not all([isinstance(text, str) for text in state.settings.values()]):
            raise ValueError("settings must be texts")
        state.layout = {name: (str(a), _whole(b), tuple(map(_whole, c))) for name, (a, b, c) in rest["layout"].items()}
        history = rest["history"]
        state.history = History.from_dict(history["values"], _whole(history["epochs"]))
        state.history.best_epoch = None if history["best_epoch"] is None else _whole(history["best_epoch"])
        if rest["best"] is not None:
            epoch, step, score = rest["best"]
            state.best = Best(_whole(epoch), _whole(step), float(score), {})
        state.update = UpdateState.from_dict(rest["update"])
        state.set_arrays(arrays)
        state.model_arrays()  # the layout fits
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: damaged: {type(error).__name__}: {error}") from None
    return state


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a whole number, got {value!r}")
    return value
