"""Values: immutable objects that compare by content, such as losses, optimisers and schedules; and calls that explain
themselves.

Design
(a) What a plan is made for is a tuple of values (a ``StepKey``), so that two objects with the same settings share a
    plan and a changed one can't train on an old one. Rejected: ``repr`` (it cuts long arrays short), addresses (they
    are given out again), and a counter of changes (it outlaws everybody's plans at once).
(b) Arrays inside are copied and made read-only. Functions, and objects of the user's own, compare by identity, and are
    held by the value, so that their identity stays theirs.
(c) A call with wrong arguments is a HawfinchError with the nearest right name. The arguments are looked at only after
    the call has failed: ``inspect`` takes longer to import than a small net to train.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError, near_names, unknown_name

__all__ = ["Value"]  # the rest is for the rooms of hawfinch

# Names that other libraries use for an argument of ours.
ALIASES = {
    "learning_rate": "lr",
    "l_rate": "lr",
    "units": "out",
    "out_features": "out",
    "rate": "p",
    "epsilon": "eps",
    "gamma": "factor",
    "step_size": "every",
    "decay_steps": "every",
    "decay_rate": "factor",
    "T_0": "every",
    "T_mult": "times",
    "T_max": "steps",
    "total_iters": "steps",
    "total_steps": "steps",
    "eta_min": "end",
    "min_lr": "least",
    "max_lr": "peak",
}


# What other libraries call a name of the package.
ELSEWHERE = {
    "BCELoss": "BCEWithLogits",
    "BCEWithLogitsLoss": "BCEWithLogits",
    "BatchNorm1d": "BatchNorm",
    "BatchNormalization": "BatchNorm",
    "CosineAnnealingLR": "schedules.Cosine",
    "CosineAnnealingWarmRestarts": "schedules.CosineRestarts",
    "CrossEntropyLoss": "SoftmaxCrossEntropy",
    "Dense": "Linear",
    "GaussianNLLLoss": "GaussianNLL",
    "HuberLoss": "Huber",
    "KLDivLoss": "KLDivergence",
    "L1Loss": "MAE",
    "LayerNormalization": "LayerNorm",
    "MSELoss": "MSE",
    "MeanSquaredError": "MSE",
    "ModelCheckpoint": "Checkpoint",
    "NLLLoss": "SoftmaxCrossEntropy",
    "OneCycleLR": "schedules.OneCycle",
    "ReduceLROnPlateau": "schedules.Plateau",
    "SmoothL1Loss": "Huber",
    "StandardScaler": "Standardize",
    "StepLR": "schedules.Step",
    "Swish": "SiLU",
    "TripletMarginLoss": "Triplet",
}


class CheckedCall(type):
    """Metaclass: a call of the class with arguments that its constructor does not take raises ArgumentError."""

    @property
    def __signature__(cls) -> Any:
        """That of the constructor, for ``help`` and editors, which would show the metaclass's."""
        import inspect

        if cls.__init__ is object.__init__:  # type: ignore[misc]
            return inspect.Signature()
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except TypeError as error:
            wrong = _wrong_call(cls, args, kwargs)
            if wrong is None:
                raise
            raise wrong from error


def _wrong_call(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ArgumentError | None:
    """What is wrong with the arguments; None if they fit the constructor."""
    import inspect

    try:
        signature = inspect.signature(cls)
    except (TypeError, ValueError):  # a constructor in C
        return None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        names = [n for n, p in signature.parameters.items() if p.kind is not p.VAR_POSITIONAL]
        hint = ""
        for name in kwargs:
            if name not in names:
                near = [ALIASES[name]] if ALIASES.get(name) in names else near_names(name, names)
                hint = f" There is no argument {name!r}."
                hint += f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
                break
        if "too many positional" in str(error) and hasattr(cls, "forward"):
            hint += " A layer's input sizes come from the data."
        plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        signature = inspect.Signature(plain)
        return ArgumentError(f"{cls.__name__}: {error}.{hint} It takes {cls.__name__}{signature}.")
    return None


def no_argument(function: Callable[..., Any], name: str) -> ArgumentError:
    """That a function, which ends in ``**unknown: NoReturn``, takes no such argument."""
    import inspect

    known = [n for n, p in inspect.signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD]
    return unknown_name(f"argument of {function.__name__}", name, known, ALIASES)


def content(value: Any) -> Any:
    """A hashable that is equal for values of equal content: 1, True and 1.0 differ, and so do 0.0 and -0.0."""
    if value is None or isinstance(value, str | bytes | Value):
        return value
    if isinstance(value, np.ndarray):
        return (np.ndarray, value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, float | np.floating):
        return (type(value), float(value).hex())
    if isinstance(value, bool | int | np.integer | np.bool_):
        return (type(value), int(value))
    if isinstance(value, list | tuple):
        return (type(value), *(content(v) for v in value))
    if isinstance(value, set | frozenset):
        return (type(value), frozenset(content(v) for v in value))
    if isinstance(value, Mapping):
        return (dict, *((content(k), content(v)) for k, v in value.items()))
    return ByIdentity(value)


class ByIdentity:
    """Equal for the same object only; holds it."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _frozen(value: Any) -> Any:
    """value with its arrays, lists and dicts copied, so that nobody else can change them."""
    if isinstance(value, np.ndarray):
        array = value.copy()
        array.flags.writeable = False
        return array
    if isinstance(value, list | tuple):
        items = [_frozen(v) for v in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, dict):
        return {k: _frozen(v) for k, v in value.items()}
    return value


class _ValueType(CheckedCall):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__call__(*args, **kwargs)
        self.__dict__["_frozen"] = True
        return self


class Value(metaclass=_ValueType):
    """Base of immutable values: equal, and of equal hash, where class and attributes are. Can be copied and pickled.

    Attributes are set in ``__init__``; after it, setting one raises ArgumentError.

    >>> import hawfinch as hf
    >>> hf.values.Value() == hf.values.Value()
    True
    """

    _frozen = False

    def __setattr__(self, name: str, value: object) -> None:
        if self._frozen:
            kind = type(self).__name__
            raise ArgumentError(f"{kind} is immutable: make a new one, {kind}({name}=...), instead of setting {name!r}")
        super().__setattr__(name, _frozen(value))

    def __delattr__(self, name: str) -> None:
        raise ArgumentError(f"{type(self).__name__} is immutable: {name!r} can't be deleted")

    def content(self) -> tuple[Any, ...]:
        """What two equal values have in common."""
        return (type(self), *[(k, content(v)) for k, v in vars(self).items() if k not in ("_frozen", "_key", "_hash")])

    def _content_key(self) -> tuple[Any, ...]:
        key: tuple[Any, ...] | None = self.__dict__.get("_key")
        if key is None:
            key = self.content()
            if self._frozen:
                self.__dict__["_key"] = key
        return key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Value) and self._content_key() == other._content_key())

    def __hash__(self) -> int:
        known: int | None = self.__dict__.get("_hash")
        if known is None:
            known = hash(self._content_key())
            if self._frozen:
                self.__dict__["_hash"] = known
        return known

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_key", "_hash")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({k: _frozen(v) for k, v in state.items()})

    def __copy__(self) -> Value:
        return self

    def __deepcopy__(self, memo: Any) -> Value:
        return self

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={short(v)}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({inner})"


def names_of(room: Mapping[str, Any]) -> list[str]:
    """What ``dir`` of a module of the user's shows, of its globals: its classes and functions; neither its files nor
    what they import."""
    home = room["__name__"]
    return sorted(
        [
            name
            for name, value in room.items()
            if not name.startswith("_") and (getattr(value, "__module__", None) or "").startswith(home)
        ]
    )


def check_whole(value: object, name: str, least: int = 0) -> int:
    """value as an int: a whole number of Python or NumPy from least to 2**63 - 1, else ArgumentError. No bool."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and least <= value < 2**63:
        return int(value)
    raise ArgumentError(f"{name} must be a whole number from {least}, not {short(value)}")


def check_real(value: object, name: str, wanted: str, fits: Callable[[float], bool]) -> float:
    """value as a float for which fits holds (``wanted`` says so in words), else ArgumentError. No bool, no text."""
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            if fits(float(value)):
                return float(value)
        except OverflowError:
            pass
    raise ArgumentError(f"{name} must be a number {wanted}, not {short(value)}")


def is_word(value: object, *words: str) -> bool:
    """Whether value is one of these texts; an array, which compares element by element, is none."""
    return isinstance(value, str) and value in words


def is_several(value: object) -> bool:
    """Whether value is a list of numbers, or an array of one axis, rather than a number."""
    return (isinstance(value, Sequence) and not isinstance(value, str | bytes)) or getattr(value, "ndim", 0) == 1


def items_of(value: Any, wanted: str) -> tuple[Any, ...]:
    """The items of a list or of what else can be gone through; ArgumentError, with what was wanted, for text and
    arrays of other than one axis."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        given = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise ArgumentError(f"{wanted}, got {given}")
    return tuple(value)


def check_flag(value: object, name: str) -> bool:
    """value as a bool: True or False, of Python or NumPy, else ArgumentError."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ArgumentError(f"{name} must be True or False, not {short(value)}")


def matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern: ``*``, ``?`` and ``[ab]`` as in ``fnmatch``."""
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern)


def matching(what: str, pattern: object, names: Iterable[str], kind: str = "parameter") -> list[str]:
    """The names that fit a pattern; ArgumentError, with near matches, where none does. kind: what is named."""
    names = list(names)
    if not isinstance(pattern, str):
        raise ArgumentError(f"{what}: expected patterns of {kind} names such as '*.bias', got {short(pattern)}")
    found = [name for name in names if matches(name, pattern)]
    if not names:
        raise ArgumentError(f"{what}: {pattern!r} matches nothing: the model has no {kind}s")
    if not found:
        layer = any(name.startswith(f"{pattern}.") for name in names)
        near = [f"{pattern}.*"] if layer else near_names(pattern, names) or names[:4]
        raise ArgumentError(f"{what}: no {kind} matches {pattern!r}. Did you mean {' or '.join(map(repr, near))}?")
    return found


def called(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """What a function of the user's gives; ArgumentError, saying what it is, where it does not take these arguments."""
    try:
        return function(*args)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # from within it
        raise ArgumentError(f"{what} must take {len(args)} argument(s): {error}") from error


def short(value: object) -> str:
    """The repr of anything, of one line at most."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
