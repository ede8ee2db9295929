"""From a table to what a net takes, and from its outputs back to the words and units of the table.

Design
(a) All that was learnt from the training table (names, means, categories, classes) is one dict fit for JSON, stored
    inside the net's file: prediction needs that file and nothing else.
(b) A category never seen in training is an error. Rejected: encoding it as all zeros, since the net then answers with
    confidence about an input of a kind that it has never met, and a changed spelling goes unnoticed.
(c) Categories and classes are taken from every row, means and scales from the training rows alone: a category that only
    the validation part has is not an error, and no statistic of that part leaks into training.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import (
    ArgumentError,
    FormatError,
    HawfinchWarning,
    LabelError,
    NonFiniteInputError,
    NotBuiltError,
    ShapeError,
    warn,
)
from ..values import CheckedCall, short
from .arrays import as_array, as_data
from .scaling import StandardScaler
from .table import EXACT, Table, format_number, listed, parse_number

Task = Literal["classify", "regress"]
FORMAT = 1
FEW = 20  # whole numbers with at most this many distinct values are classes
MANY = 50  # more categories than this, and more than half as many as rows, are an identifier


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column: its name and position in the training table; categories sorted, or None where it is numeric."""

    name: str
    position: int
    categories: tuple[str, ...] | None = None


def _as_table(table: object) -> Table:
    if isinstance(table, Table):
        return table
    raise ArgumentError(f"table must be a Table, such as hf.data.read_table gives, not {short(table)}")


def _columns(table: Table, columns: Any, name: str) -> set[int]:
    """Positions of the columns listed."""
    if not isinstance(columns, list | tuple | set | frozenset) and getattr(columns, "ndim", 0) != 1:
        raise ArgumentError(f"{name} must be a list of columns, by name or number, not {short(columns)}")
    return {table.find(c) for c in columns}


def _row_numbers(table: Table, rows: object) -> NDArray[np.int64] | None:
    if rows is None:
        return None
    numbers = as_array(rows, "rows")
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
        raise ArgumentError(f"rows must be a list of row numbers, not {short(rows)}")
    if not 0 <= numbers.min() <= numbers.max() < table.rows:
        raise ArgumentError(f"rows must be from 0 to {table.rows - 1}, not {numbers.min()} to {numbers.max()}")
    return numbers.astype(np.int64)


class TableEncoder(metaclass=CheckedCall):
    """Encodes the columns of a table: numbers scaled, categories one-hot, and one target column.

    Attributes, after ``fit``: ``task`` ("classify" or "regress"), ``reason`` (why that task, in words), ``target`` (its
    name), ``classes`` (tuple of str in the order of the net's outputs; empty for a regression), ``features``, ``width``
    (the number of columns of ``transform``'s result), ``named`` (whether columns are matched by name or by position).

    >>> table = Table("t.csv", ("size", "colour", "fruit"),
    ...               (["1", "2", "3"], ["red", "green", "red"], ["apple", "pear", "apple"]), named=True)
    >>> encoder = TableEncoder().fit(table, "fruit")
    >>> encoder.task, encoder.classes, encoder.width
    ('classify', ('apple', 'pear'), 3)
    >>> encoder.transform(table)[1].tolist(), encoder.transform_target(table).tolist()
    ([0.0, 1.0, 0.0], [0, 1, 0])
    """

    def __init__(self) -> None:
        self.task: Task = "classify"
        self.reason = ""
        self.target = ""
        self.classes: tuple[str, ...] = ()
        self.features: tuple[Feature, ...] = ()
        self.named = True
        self._target_position = 0
        self._total = 0  # columns of the training table, the target and the ignored ones included
        self._scaler = StandardScaler()
        self._target_scaler = StandardScaler()

    # ------------------------------------------------------------------------------------------------------------ fit

    def fit(
        self,
        table: Table,
        target: str | int,
        *,
        task: Task | None = None,
        rows: NDArray[np.int64] | None = None,
        ignore: Collection[str | int] = (),
        categorical: Collection[str | int] = (),
    ) -> TableEncoder:
        """Learn names, scales, categories and classes from ``table``. Returns self.

        Arguments:
            target: the column to predict, by name or number.
            task: None infers it: text, or at most 20 distinct whole numbers, is a classification, else a regression.
            rows: the training rows, which the scales are taken from; None for all.
            ignore, categorical: columns to leave out; columns to take as categories although they hold numbers.

        Raises ``ArgumentError`` for an unknown column, ``LabelError`` for a target that cannot be learnt (constant, or
        not of the task), ``FormatError`` and ``NonFiniteInputError`` for bad cells, naming the place.
        """
        goal = _as_table(table).find(target)
        ignored, categories = _columns(table, ignore, "ignore"), _columns(table, categorical, "categorical")
        rows = _row_numbers(table, rows)
        if goal in ignored or goal in categories or ignored & categories:
            both = goal if goal in ignored | categories else min(ignored & categories)
            raise ArgumentError(f"{table.label(both)} can have one role only: target, ignored or categorical")
        if task is not None and not (isinstance(task, str) and task in ("classify", "regress")):
            raise ArgumentError(f"task must be 'classify', 'regress' or None, not {short(task)}")
        self.named, self.target, self._target_position = table.named, table.names[goal], goal
        self._total = len(table.names)
        self._fit_target(table, goal, task, rows)
        features = []
        for column, name in enumerate(table.names):
            if column == goal or column in ignored:
                continue
            if column in categories or table.is_text(column):
                if column not in categories:
                    self._warn_of_numbers(table, column)
                features.append(Feature(name, column, self._categories(table, column, column in categories)))
            else:
                features.append(Feature(name, column))
        if not features:
            raise ArgumentError(f"{table.source} has no column left to predict {self.target!r} from")
        self.features = tuple(features)
        numeric = self._numeric(table, [f.position for f in self.features])
        self._scaler.fit(numeric if rows is None else numeric[rows])
        return self

    def _fit_target(self, table: Table, goal: int, task: Task | None, rows: NDArray[np.int64] | None) -> None:
        label, text = f"the target {table.label(goal)}", False
        if task != "regress":
            text = table.is_text(goal, categories=task == "classify")
        values = np.zeros(0) if text else table.numbers(goal)
        names = sorted(set(table.texts(goal))) if text else [format_number(v) for v in np.unique(values).tolist()]
        whole = not text and bool((values == np.rint(values)).all())
        self.task = task or ("classify" if text or (whole and len(names) <= FEW) else "regress")
        kind = "texts" if text else "whole numbers" if whole else "distinct numbers, not all whole"
        self.reason = f"it holds {len(names)} {'different ' if text or whole else ''}{kind}"
        if self.task == "classify" and (np.abs(values) > EXACT).any():
            row = int((np.abs(values) > EXACT).argmax())
            raise LabelError(
                f"{table.place(row, goal)}: {table.columns[goal][row]} is beyond 2**53, where numbers are too "
                "coarse to be classes; store them as texts (for a regression, say so as the task)"
            )
        if len(names) == 1:
            raise LabelError(f"{label} is {names[0]!r} in every row: there is nothing to learn")
        if text and task is None:
            self._warn_of_numbers(table, goal)
        self.classes = ()
        if self.task == "regress":
            self._target_scaler.fit(values[:, None] if rows is None else values[rows, None])
            return
        if not text and not whole:
            row = int(np.flatnonzero(values != np.rint(values))[0])
            raise LabelError(
                f"{table.place(row, goal)}: {values[row]:g} is no class; classes are texts or whole numbers"
            )
        if len(names) > max(FEW, table.rows // 2):
            raise LabelError(
                f"{label} has {len(names)} classes in {table.rows} rows; too few rows of each to learn from"
            )
        self.classes = tuple(names)

    @staticmethod
    def _warn_of_numbers(table: Table, column: int) -> None:
        found = table.numbers_in_words(column)
        if found is not None:
            text = (
                f"{found}. Now taken as categories; to keep that without a warning, say so (categorical, or the task)"
            )
            warn(text, HawfinchWarning)

    @staticmethod
    def _categories(table: Table, column: int, wanted: bool) -> tuple[str, ...]:
        found = tuple(sorted(set(table.texts(column))))
        if not wanted and len(found) > max(MANY, table.rows // 2):
            raise FormatError(
                f"{table.source}: {table.label(column)} holds {len(found)} different texts in {table.rows} rows, such "
                f"as {found[0]!r}: an identifier or free text? Leave it out with ignore, or list it as categorical"
            )
        return found

    # ------------------------------------------------------------------------------------------------------ transform

    @property
    def width(self) -> int:
        """Columns of ``transform``'s result: one per numeric column, one per category."""
        return sum(1 if f.categories is None else len(f.categories) for f in self.features)

    def _numeric(self, table: Table, positions: Sequence[int]) -> NDArray[np.float64]:
        columns = [table.numbers(p) for f, p in zip(self.features, positions, strict=True) if f.categories is None]
        return np.stack(columns, axis=1) if columns else np.empty((table.rows, 0))

    def transform(self, table: Table) -> NDArray[np.float32]:
        """The inputs: float32 (N, width), columns in the order of training.

        The table may have its columns in another order or more of them (where they have names); the target may be
        absent. Raises ``FormatError``, ``NonFiniteInputError`` or ``ShapeError`` for what does not fit, naming the
        place.
        """
        positions = self._positions(table)
        with np.errstate(over="ignore"):
            values = self._scaler.transform(self._numeric(table, positions)).astype(np.float32)
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0].tolist()
            position = [p for f, p in zip(self.features, positions, strict=True) if f.categories is None][column]
            cell = table.columns[position][row]
            raise NonFiniteInputError(
                f"{table.place(row, position)}: {cell} is too far from the values of the training data"
            )
        scaled = iter(values.T)
        blocks: list[NDArray[np.float32]] = []
        for feature, position in zip(self.features, positions, strict=True):
            if feature.categories is None:
                blocks.append(next(scaled)[:, None])
            else:
                codes = self._codes(table, position, feature.categories, "category")
                blocks.append((codes[:, None] == np.arange(len(feature.categories))).astype(np.float32))
        return np.concatenate(blocks, axis=1)

    def transform_target(self, table: Table) -> NDArray[np.int64] | NDArray[np.float32]:
        """The target: int64 (N,) class numbers, or float32 (N, 1) at mean 0 and standard deviation 1."""
        position = self._need_target(table)
        if self.task == "classify":
            return self._codes(table, position, self.classes, "class")
        return self._target_scaler.transform(table.numbers(position)[:, None]).astype(np.float32)

    @staticmethod
    def _codes(table: Table, position: int, known: Sequence[str], kind: str) -> NDArray[np.int64]:
        code = {name: i for i, name in enumerate(known)}
        cells = table.texts(position)
        for row, cell in enumerate(cells):
            if cell not in code:
                number = parse_number(cell)
                if number is not None and format_number(number) in code:  # 1.0 is class 1
                    cells[row] = format_number(number)
                    continue
                near = difflib.get_close_matches(cell, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise FormatError(
                    f"{table.place(row, position)}: {kind} {cell!r} was not in the training data.{hint} "
                    f"Known: {listed(known)}"
                )
        return np.array([code[cell] for cell in cells], np.int64)

    def _need_target(self, table: Table) -> int:
        position = self.target_position(table)
        if position is None:
            raise ArgumentError(f"{table.source} has no target column {self.target!r}")
        return position

    def target_position(self, table: Table) -> int | None:
        """Where ``table`` has the target column, or None where it has none."""
        _as_table(table)
        if self.named:
            return table.names.index(self.target) if self.target in table.names else None
        return self._target_position if len(table.names) == self._total else None

    def _positions(self, table: Table) -> list[int]:
        if not self.features:
            raise NotBuiltError("this TableEncoder has not been fitted: call fit first")
        n = len(_as_table(table).names)
        if self.named and table.named:
            at = {name: i for i, name in enumerate(table.names)}
            lost = [f.name for f in self.features if f.name not in at]
            if lost:
                near = difflib.get_close_matches(lost[0], table.names, n=1)
                hint = f" Did you mean {near[0]!r} for {lost[0]!r}?" if near else ""
                raise ShapeError(
                    f"{table.source} lacks column{'s' * (len(lost) > 1)} {listed(lost)} of the training data.{hint} "
                    f"Its columns: {listed(table.names)}"
                )
            return [at[f.name] for f in self.features]
        if self.named != table.named:
            what = ("names", "none") if self.named else ("no names", "them")
            raise ShapeError(f"the training data's columns had {what[0]}, but {table.source} has {what[1]}")
        if n not in (self._total, self._total - 1):
            raise ShapeError(
                f"{table.source} has {n} columns, but the training data had {self._total}; expected are all of them, "
                "or all but the target, in the same order"
            )
        before = n == self._total - 1
        return [f.position - (before and f.position > self._target_position) for f in self.features]

    # ---------------------------------------------------------------------------------------------------------- decode

    def decode(self, outputs: ArrayLike) -> NDArray[Any]:
        """What the net's outputs mean: classes (N,) of dtype str from logits (N, classes), or float64 (N,) in the
        target's own units from (N, 1)."""
        a = as_data(outputs, "outputs")
        expected = len(self.classes) if self.task == "classify" else 1
        if a.ndim != 2 or a.shape[1] != expected:
            raise ShapeError(f"outputs of shape {a.shape}; (N, {expected}) is expected")
        if self.task == "classify":
            names: NDArray[Any] = np.array(self.classes)[a.argmax(axis=1)]
            return names
        values: NDArray[np.float64] = self._target_scaler.inverse(a)[:, 0]
        return values

    def decode_target(self, table: Table) -> NDArray[Any]:
        """The target column as ``decode`` would give it, for comparison: str (N,) or float64 (N,)."""
        position = self._need_target(table)
        if self.task == "regress":
            return table.numbers(position)
        names: NDArray[Any] = np.array(self.classes)[self._codes(table, position, self.classes, "class")]
        return names

    # ------------------------------------------------------------------------------------------------------------ JSON

    def to_dict(self) -> dict[str, Any]:
        """The state, fit for JSON. ``from_dict`` gives an encoder of equal results."""
        target: dict[str, Any] = {"name": self.target, "position": self._target_position, "task": self.task}
        if self.task == "classify":
            target["classes"] = list(self.classes)
        else:
            target["scaler"] = self._target_scaler.to_dict()
        return {
            "format": FORMAT,
            "named": self.named,
            "columns": self._total,
            "target": target,
            "features": [
                {"name": f.name, "position": f.position}
                | ({} if f.categories is None else {"categories": list(f.categories)})
                for f in self.features
            ],
            "scaler": self._scaler.to_dict(),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> TableEncoder:
        """The encoder that ``to_dict`` described. Raises ``FormatError`` when the state is damaged or too new."""
        encoder = cls()
        try:
            if state["format"] != FORMAT:
                raise FormatError(f"table encoder of format {state['format']}; this hawfinch reads format {FORMAT}")
            target = state["target"]
            encoder.named, encoder._total = bool(state["named"]), int(state["columns"])
            encoder.target, encoder._target_position = str(target["name"]), int(target["position"])
            encoder.task = target["task"]
            if encoder.task == "classify":
                encoder.classes = tuple(map(str, target["classes"]))
            else:
                encoder._target_scaler = StandardScaler.from_dict(target["scaler"])
            encoder.features = tuple(
                Feature(
                    str(f["name"]), int(f["position"]), tuple(map(str, f["categories"])) if "categories" in f else None
                )
                for f in state["features"]
            )
            encoder._scaler = StandardScaler.from_dict(state["scaler"])
            encoder._check()
        except FormatError:
            raise
        except (KeyError, TypeError, IndexError, ValueError, AttributeError, OverflowError) as e:
            raise FormatError(f"the stored table encoder is damaged: {e!r}") from e
        return encoder

    def _check(self) -> None:
        """Raises ValueError where the parts of a stored state contradict each other."""
        positions = [self._target_position, *(f.position for f in self.features)]
        if not all(0 <= p < self._total for p in positions) or len(set(positions)) != len(positions):
            raise ValueError(f"columns {positions} of {self._total}")
        names = [f.name for f in self.features]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"features {listed(names)}")
        lists = [f.categories for f in self.features if f.categories is not None]
        if any(not c or len(set(c)) != len(c) for c in lists):
            raise ValueError("categories")
        numeric = len(names) - len(lists)
        if self._scaler.mean is None or self._scaler.mean.shape != (numeric,):
            raise ValueError(f"scales for {numeric} columns")
        if self.task == "regress":
            if self._target_scaler.mean is None or self._target_scaler.mean.shape != (1,):
                raise ValueError("the scale of the target")
        elif self.task != "classify" or len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ValueError(f"task {self.task!r} with {len(self.classes)} classes")
