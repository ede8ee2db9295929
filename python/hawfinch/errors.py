"""Every error that hawfinch raises on purpose, all under ``HawfinchError`` and the built-in type that fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [  # the rest is for the rooms of hawfinch
    "ArgumentError",
    "BusyError",
    "DTypeError",
    "DecodeError",
    "FormatError",
    "HawfinchError",
    "HawfinchWarning",
    "LabelError",
    "MissingExtraError",
    "MissingFileError",
    "NonFiniteError",
    "NonFiniteInputError",
    "NotBuiltError",
    "ShapeError",
    "TraceError",
]


class HawfinchError(Exception):
    """Base of all errors raised by hawfinch. Each is of the built-in kind that fits, too.

    >>> try:
    ...     hf.Dropout(1.5)
    ... except hf.HawfinchError as error:
    ...     print(type(error).__name__, isinstance(error, ValueError))
    ArgumentError True
    """


class HawfinchWarning(UserWarning):
    """What works, and is likely not meant: says what was taken for what, and what to write instead.

    >>> import warnings
    >>> warnings.simplefilter("ignore", hf.errors.HawfinchWarning)  # not to hear of it
    """


class ShapeError(HawfinchError, ValueError):
    """An array's shape does not fit: says what was given, what was expected and what to do.

    >>> hf.Sequential(hf.Linear(2)).build((3,)).predict(np.zeros((5, 4)))
    Traceback (most recent call last):
    hawfinch.errors.ShapeError: x: expected (rows, 3), the shape that the model was built for; got (5, 4) ...
    """


class DTypeError(HawfinchError, TypeError):
    """An array's dtype is not supported where it was given.

    >>> hf.data.StandardScaler().fit([["a"]])
    Traceback (most recent call last):
    hawfinch.errors.DTypeError: x: text of dtype <U1 is not supported; expected float, int or bool numbers
    """


class ArgumentError(HawfinchError, ValueError):
    """An argument is outside its range, not one of the known names, or none that the call takes.

    >>> hf.Adam(learning_rate=0.1)
    Traceback (most recent call last):
    hawfinch.errors.ArgumentError: ... There is no argument 'learning_rate'. Did you mean 'lr'? ...
    """


class TraceError(HawfinchError, TypeError):
    """A traced value is used where it has no meaning: outside of its trace, as an array, or where no gradient is.

    >>> hf.compile(lambda x: np.asarray(x) + 1)(np.ones(2))
    Traceback (most recent call last):
    hawfinch.errors.TraceError: a traced value is not an array: use hf.ops functions instead of numpy's ...
    """


class LabelError(HawfinchError, ValueError):
    """A class label is outside [0, classes) or not a whole number.

    >>> hf.Trainer(hf.Sequential(hf.Linear(2)), "softmax_cross_entropy").fit(np.zeros((1, 3)), [2])
    Traceback (most recent call last):
    hawfinch.errors.LabelError: label 2 in row 0 is outside [0, 2): the model has 2 outputs
    """


class FormatError(HawfinchError, ValueError):
    """A file is damaged, truncated or of another format.

    >>> with open("net.safetensors", "wb") as file:
    ...     _ = file.write(b"no net")
    >>> hf.load("net.safetensors")
    Traceback (most recent call last):
    hawfinch.errors.FormatError: net.safetensors: 6 bytes, expected at least the 8 of a header length
    """


class DecodeError(HawfinchError, RuntimeError):
    """An item of ``hf.data.Decoded`` could not be decoded: ``item`` is its number, ``__cause__`` what was raised.

    >>> np.asarray(hf.data.Decoded(["1", "two"], float))
    Traceback (most recent call last):
    hawfinch.errors.DecodeError: item 1, 'two': ValueError: could not convert string to float: 'two'
    """

    def __init__(self, message: str, *, item: int):
        super().__init__(message)
        self.item = item


class MissingFileError(HawfinchError, FileNotFoundError):
    """There is no such file to go on with.

    >>> hf.Trainer(hf.Sequential(hf.Linear(2)), "mse").fit(np.zeros((1, 3)), np.zeros((1, 2)), resume="run")
    Traceback (most recent call last):
    hawfinch.errors.MissingFileError: resume: no file 'run'; to begin anew, pass callbacks=[hf.Checkpoint('run')]
    """


class NotBuiltError(HawfinchError, RuntimeError):
    """The model has no parameters yet: call ``build``, ``fit`` or ``predict`` first.

    >>> hf.data.StandardScaler().transform([[1.0]])
    Traceback (most recent call last):
    hawfinch.errors.NotBuiltError: this StandardScaler has not been fitted: call fit first
    """


class BusyError(HawfinchError, RuntimeError):
    """A trainer is at work in another thread.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> def meddle(trainer, epoch, logs):
    ...     with ThreadPoolExecutor() as pool:
    ...         print(repr(pool.submit(trainer.step, [[1.0]], [[1.0]]).exception())[:10])
    >>> history = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse").fit([[1.0]], [[1.0]], callbacks=[meddle])
    BusyError(
    """


class MissingExtraError(HawfinchError, ImportError):
    """An optional package is not installed: says which extra of hawfinch brings it.

    >>> hf.errors.import_extra("no_such_package", "plot")
    Traceback (most recent call last):
    hawfinch.errors.MissingExtraError: no_such_package is not installed; pip install 'hawfinch[plot]'
    """


class NonFiniteError(HawfinchError, FloatingPointError):
    """A NaN or infinity, with the place where it was first seen: raised as such where a training run diverges.

    Attributes: ``tensor`` (str or None), ``epoch`` and ``step`` (int or None).

    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(lr=1e30))
    >>> try:
    ...     trainer.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=9)
    ... except hf.NonFiniteError as error:
    ...     print(error.step, np.isfinite(trainer.model.parameters()["0.bias"]).all())
    0 True
    """

    def __init__(self, message: str, *, tensor: str | None = None, epoch: int | None = None, step: int | None = None):
        super().__init__(message)
        self.tensor, self.epoch, self.step = tensor, epoch, step


class NonFiniteInputError(NonFiniteError, ValueError):
    """The user's own data hold a NaN or infinity: a ValueError, as in scikit-learn.

    >>> hf.data.StandardScaler().fit([[1.0], [float("nan")]])
    Traceback (most recent call last):
    hawfinch.errors.NonFiniteInputError: row 1, column 0 (counted from 0) is nan: scaling needs finite numbers
    """


def warn(text: str, kind: type[Warning] = UserWarning) -> None:
    """A warning that points at the line of the user's that led into the package."""
    import sys
    import warnings

    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "hawfinch":
        frame, level = frame.f_back, level + 1
    warnings.warn(text, kind, stacklevel=level)


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


def unknown_name(
    kind: str, name: object, known: Iterable[str], elsewhere: Mapping[str, str] | None = None
) -> ArgumentError:
    """The error for an unknown name, with near matches. elsewhere: what others call some of the known ones."""
    names = sorted(known)
    lower = str(name).lower()
    meant = lower if lower in names else (elsewhere or {}).get(lower)
    meant = meant if meant in names else None
    near = near_names(name, names) if meant is None else [meant]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    where, _, what = kind.rpartition(": ")  # "Hinge: multi_class" is the option of a class
    return ArgumentError(f"{where}{': ' if where else ''}unknown {what} {name!r:.80}.{hint} Known: {', '.join(names)}.")


def __dir__() -> list[str]:
    return __all__
