"""Every error that hawfinch raises on purpose, all under ``HawfinchError`` and the built-in type that fits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [  # the rest is for the rooms of hawfinch
    "ArgumentError",
    "BusyError",
    "DTypeError",
    "FormatError",
    "HawfinchError",
    "HawfinchWarning",
    "LabelError",
    "MissingExtraError",
    "NonFiniteError",
    "NonFiniteInputError",
    "NotBuiltError",
    "ShapeError",
    "TraceError",
]


class HawfinchError(Exception):
    """Base of all errors raised by hawfinch."""


class HawfinchWarning(UserWarning):
    """What works, and is likely not meant: says what was taken for what, and what to write instead."""


class ShapeError(HawfinchError, ValueError):
    """An array's shape does not fit: says what was given, what was expected and what to do."""


class DTypeError(HawfinchError, TypeError):
    """An array's dtype is not supported where it was given."""


class ArgumentError(HawfinchError, ValueError):
    """An argument is outside its range or not one of the known names."""


class TraceError(HawfinchError, TypeError):
    """A traced value is used where it has no meaning: outside of its trace, as an array, or where no gradient is."""


class LabelError(HawfinchError, ValueError):
    """A class label is outside [0, classes) or not a whole number."""


class FormatError(HawfinchError, ValueError):
    """A file is damaged, truncated or of another format."""


class NotBuiltError(HawfinchError, RuntimeError):
    """The model has no parameters yet: call ``build``, ``fit`` or ``predict`` first."""


class BusyError(HawfinchError, RuntimeError):
    """A trainer is at work in another thread."""


class MissingExtraError(HawfinchError, ImportError):
    """An optional package is not installed: says which extra of hawfinch brings it."""


class NonFiniteError(HawfinchError, FloatingPointError):
    """A NaN or infinity, with the place where it was first seen: raised as such where a training run diverges.

    Attributes: ``tensor`` (str or None), ``epoch`` and ``step`` (int or None).
    """

    def __init__(self, message: str, *, tensor: str | None = None, epoch: int | None = None, step: int | None = None):
        super().__init__(message)
        self.tensor, self.epoch, self.step = tensor, epoch, step


class NonFiniteInputError(NonFiniteError, ValueError):
    """The user's own data hold a NaN or infinity: a ValueError, as in scikit-learn."""


def import_extra(module: str, extra: str) -> Any:
    """The optional module, or MissingExtraError: ``pip install 'hawfinch[extra]'``."""
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there, and lacks something itself
        raise MissingExtraError(
            f"{package} is not installed; pip install 'hawfinch[{extra}]'", name=error.name
        ) from error


def near_names(name: object, known: Iterable[str]) -> list[str]:
    """The known names that name may have been meant for, at most three."""
    import difflib

    return difflib.get_close_matches(str(name), list(known), n=3)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> ArgumentError:
    """The error for an unknown name, with near matches."""
    names = sorted(known)
    near = near_names(name, names)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ArgumentError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")
