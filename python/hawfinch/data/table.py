"""Reading the user's table: CSV, NPZ or NPY, into named or numbered columns.

Design
(a) A table is a list of columns. The cells of a CSV file stay text until a column is asked for as numbers or as texts,
    so a bad cell matters only where it is used, and its error can name line, column and cell.
(b) Nothing is guessed silently: an empty cell, a stray word among numbers, NaN and infinity are errors, not fill-ins.
Rejected: numpy.genfromtxt (a bad cell becomes NaN, quoted cells are cut at the delimiter, no line in the error), pandas
(15 times our size, for this one file) and csv.Sniffer (takes letters for delimiters).
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DTypeError, FormatError, NonFiniteInputError, ShapeError
from ..values import CheckedCall, short
from .arrays import as_path
from .npy import MAGIC, read_npy, read_npz

Cells = list[str] | NDArray[Any]  # texts as they stand in the file, or a 1-D array of numbers

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-"})  # lower case
DELIMITERS = "\t;|,"  # where several fit, the earlier: a comma is the likeliest to stand inside numbers and texts
MISTAKES = 0.2  # a column of numbers with at most this share of other cells has mistakes in it, not categories
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
MOST_COLUMNS = 1_000_000  # each is an object of its own
EXACT = 2**53  # float64 tells whole numbers apart up to here

# Texts that stand for numbers, which a net would learn more from: what they are, and what to write instead.
NUMBERS_IN_WORDS = (
    (re.compile(r"[+-]?\d+([.,]\d+)*\s*[%‰]"), "percentages", "the number without its sign"),
    (re.compile(r"[+-]?0x[0-9a-fA-F]+"), "hexadecimal numbers", "decimal numbers"),
    (
        re.compile(r"[+-]?\d{1,3}(([ _'’.\u00a0\u2009\u202f])\d{3})(\2\d{3})*(,\d+)?"),
        "numbers in groups of digits",
        "1000",
    ),
    (re.compile(r"[\u2212\u2013]\s?\d+([.,]\d+)*"), "negative numbers", "the minus sign of the keyboard"),
    (re.compile(r"[+-]?[$€£¥]\s*\d+([.,]\d+)*|[+-]?\d+([.,]\d+)*\s*[$€£¥]"), "amounts of money", "the number alone"),
    (
        re.compile(r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([ T]\d.*)?|\d{1,2}:\d{2}(:\d{2}.*)?"),
        "dates or times",
        "numbers, such as days since a first day, or the month and the weekday as columns of their own",
    ),
)


def parse_number(cell: str) -> float | None:
    """The number in a cell, NaN and infinity included, or None. Python's 1_000 is not a number in a data file."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def format_number(value: float) -> str:
    """A number as text; whole numbers without a decimal point."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


@dataclass(frozen=True, slots=True, repr=False)
class Table(metaclass=CheckedCall):
    """Columns of equal length, and where they came from.

    >>> table = Table("t.csv", ("size", "fruit"), (["1", "2"], ["apple", "pear"]), named=True)
    >>> table
    Table('t.csv', 2 rows, 2 columns: 'size', 'fruit')
    >>> table.numbers(table.find("size")), table.texts(-1)
    (array([1., 2.]), ['apple', 'pear'])

    Attributes:
        source: the file's name, for messages.
        names: one name per column; "0", "1", ... where the file has none.
        columns: the cells.
        named: whether the names came from the file; if not, columns are known by position.
        lines: the line on which each row begins (CSV), else None.
        default_target: position of ``y`` in an NPZ file of ``x`` and ``y``, else None.
        notes: what the reader decided that the user may want to know.
    """

    source: str
    names: tuple[str, ...]
    columns: tuple[Cells, ...]
    named: bool
    lines: Sequence[int] | None = None
    default_target: int | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """How many rows there are, a header line not counted."""
        return len(self.columns[0]) if self.columns else 0

    def __repr__(self) -> str:
        names = f": {listed(self.names, 6)}" if self.named and self.names else ""
        return f"Table({self.source!r}, {self.rows} rows, {len(self.columns)} columns{names})"

    def label(self, column: int) -> str:
        """How messages name a column: ``column 'age'`` or ``column 3 (counted from 0)``."""
        return f"column {self.names[column]!r}" if self.named else f"column {column} (counted from 0)"

    def place(self, row: int, column: int) -> str:
        """How messages name a cell: ``data.csv, line 7, column 'age'``. Rows of arrays are counted from 0."""
        return (
            f"{self.source}, {f'row {row}' if self.lines is None else f'line {self.lines[row]}'}, {self.label(column)}"
        )

    def find(self, column: str | int) -> int:
        """The position of a column given by name, or by number (negative: from the end).

        Raises ``ArgumentError`` with near matches when there is none.
        """
        if not isinstance(column, str | int | np.integer):
            raise ArgumentError(f"a column is known by its name or number, not {short(column)}")
        text, n = str(column).strip(), len(self.names)
        if self.named and text in self.names:
            return self.names.index(text)
        if re.fullmatch(r"[+-]?\d+", text):
            if -n <= int(text) < n:
                return int(text) % n
            raise ArgumentError(f"{self.source} has no column {text}: its {n} columns are numbered 0 to {n - 1}")
        if not self.named:
            first = [str(cells[0]).strip() for cells in self.columns if len(cells)]
            hint = "; its first line has that text: read it with header=True" if text in first else ""
            raise ArgumentError(
                f"{self.source} has no column {text!r}: give its number, 0 to {n - 1}, or -1 for the last{hint}"
            )
        folded = {name.casefold(): name for name in self.names}
        near = [folded[m] for m in difflib.get_close_matches(text.casefold(), folded, n=3)]
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ArgumentError(f"{self.source} has no column {text!r}.{hint} Columns: {listed(self.names)}.")

    def is_text(self, column: int, *, categories: bool = False) -> bool:
        """Whether a column is to be taken as texts (categories) rather than numbers.

        Raises ``FormatError`` when it is neither: numbers with a few other cells among them, or with decimal commas.
        With ``categories`` any cell that is not a number makes it texts.
        """
        cells = self.columns[column]
        if isinstance(cells, np.ndarray):
            return False
        filled = [row for row, cell in enumerate(cells) if cell.lower() not in MISSING]
        odd = [row for row in filled if parse_number(cells[row]) is None]
        if not odd or categories:
            return bool(odd)
        first = f"{self.place(odd[0], column)}: {cells[odd[0]]!r}"
        if all(THOUSANDS.fullmatch(cells[row]) for row in odd):
            plain = cells[odd[0]].replace(",", "")
            raise FormatError(
                f"{first} has a comma: between thousands, write {plain}; before decimals, write a decimal point"
            )
        if len(odd) <= MISTAKES * len(filled):
            guess = "a header line" if odd[0] == 0 and not self.named else "a typing error"
            raise FormatError(
                f"{first} is not a number, but {len(filled) - len(odd)} of the column's {len(filled)} cells are: "
                f"{guess}? If the column holds categories, list it as categorical (a target: the task is classify)"
            )
        if all(DECIMAL_COMMA.fullmatch(cells[row]) for row in odd):
            raise FormatError(f"{first} has a decimal comma; write numbers with a decimal point")
        return True

    def numbers_in_words(self, column: int) -> str | None:
        """What a column of texts stands for, where that is numbers: percentages, dates, ...; with an example."""
        cells = self.columns[column]
        filled = [
            (row, cell) for row, cell in enumerate(cells) if isinstance(cell, str) and cell.lower() not in MISSING
        ]
        for pattern, kind, instead in NUMBERS_IN_WORDS:
            rows = [row for row, cell in filled if pattern.fullmatch(cell)]
            if len(rows) > len(filled) / 2:
                return f"{self.place(rows[0], column)}: {cells[rows[0]]!r}: {kind}? Write {instead}"
        return None

    def numbers(self, column: int) -> NDArray[np.float64]:
        """A column as finite float64 (N,).

        Raises ``FormatError`` or ``NonFiniteInputError`` naming the first bad cell.
        """
        cells = self.columns[column]
        if isinstance(cells, np.ndarray):
            with np.errstate(all="ignore"):  # what is not finite is named below
                values = cells.astype(np.float64)
        else:
            parsed = [parse_number(cell) for cell in cells]
            for row, value in enumerate(parsed):
                if value is None or value != value:
                    self._reject(row, column, "is not a number")
            values = np.array(parsed, np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise NonFiniteInputError(f"{self.place(int(bad[0]), column)}: {cells[bad[0]]} is not a finite number")
        return values

    def texts(self, column: int) -> list[str]:
        """A column as texts, numbers too. Raises ``FormatError`` for an empty cell."""
        cells = self.columns[column]
        if isinstance(cells, np.ndarray):
            if cells.dtype.kind in "iu":
                return [str(value) for value in cells.tolist()]
            return [format_number(value) for value in self.numbers(column).tolist()]
        cells = list(cells)
        for row, cell in enumerate(cells):
            if not cell:
                self._reject(row, column, "is empty")
        return cells

    def _reject(self, row: int, column: int, complaint: str) -> None:
        cell = str(self.columns[column][row])
        if cell.lower() in MISSING:
            what = f" ({cell!r})" if cell else ""
            raise FormatError(f"{self.place(row, column)}: missing value{what}; fill it in or remove the row")
        raise FormatError(f"{self.place(row, column)}: {cell!r} {complaint}")


def listed(names: Sequence[str], most: int = 20) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def read_table(path: str | Path, *, delimiter: str | None = None, header: bool | None = None) -> Table:
    """Read a table from a ``.npz``, ``.npy`` or delimited text file (any other name).

    Arguments:
        path: CSV: UTF-8 with or without a byte-order mark, cells quoted with ``"`` where needed, blank lines skipped.
            NPZ: ``x`` (N, F) with an optional ``y`` (N,), or 1-D arrays of one length that name the columns.
            NPY: (N, F), or 1-D with named fields.
        delimiter: of a text file; None finds it among comma, semicolon, tab and ``|``.
        header: whether the first line of a text file names the columns; None decides it from the cells.

    Raises ``FormatError`` for a damaged, empty or ragged file (naming the line), ``ShapeError`` or ``DTypeError`` for
    arrays that are no table, ``OSError`` when the file cannot be read.

    >>> np.save("t.npy", np.zeros((3, 2)))
    >>> read_table("t.npy")
    Table('t.npy', 3 rows, 2 columns)
    """
    path = as_path(path)
    if delimiter is not None and not (isinstance(delimiter, str) and len(delimiter) == 1 and delimiter not in '"\r\n'):
        raise ArgumentError(f"delimiter must be one character, not {short(delimiter)}")
    if header is not None and not isinstance(header, bool):
        raise ArgumentError(f"header must be True, False or None, not {short(header)}")
    if path.suffix.lower() in (".npz", ".npy"):
        return _read_arrays(path)
    data = path.read_bytes()
    if data[:4] in (b"PK\x03\x04", b"\x93NUM", b"\x1f\x8b\x08\x08") or b"\0" in data[:4096]:
        raise FormatError(f"{path.name} is not a text file; tables are read from .csv, .npz and .npy")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise FormatError(
            f"{path.name}, line {line}: byte 0x{data[e.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from e
    return _read_csv(path.name, text, delimiter, header)


def _records(source: str, text: str, delimiter: str, most: int | None = None) -> list[tuple[int, list[str]]]:
    """(first line, cells) of each row that is not blank."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t"
    )
    records, line = [], 1
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells) or len(cells) > 1:
                records.append((line, cells))
                if len(records) == most:
                    break
            line = reader.line_num + 1
    except csv.Error as e:
        hint = str(e)
        if "unexpected end" in hint:
            hint = "a quote is not closed"
        elif "field limit" in hint:
            hint = f"a cell of more than {csv.field_size_limit():,} characters: is a quote not closed?"
        raise FormatError(f"{source}, line {line}: {hint}") from e
    return records


def _find_delimiter(source: str, text: str) -> str:
    """The delimiter that gives the most of the first rows one same number of cells, above 1."""
    best, found = 0, ","
    for delimiter in DELIMITERS:
        try:
            widths = Counter(len(cells) for _, cells in _records(source, text, delimiter, 50))
        except FormatError:
            continue
        width, times = max(widths.items(), key=lambda item: item[1], default=(1, 0))
        if width > 1 and times > best:
            best, found = times, delimiter
    return found


def _has_header(rows: Sequence[list[str]]) -> bool:
    """No number in the first row and numbers below it; in a table of texts, a first row that does not come again."""

    def number(cell: str) -> bool:
        return parse_number(cell) is not None or DECIMAL_COMMA.fullmatch(cell) is not None

    first, rest = rows[0], rows[1:200]
    if any(map(number, first)):
        return False
    if any(number(cell) for row in rest for cell in row):
        return True
    return all(cell not in {row[i] for row in rest} for i, cell in enumerate(first))


def _read_csv(source: str, text: str, delimiter: str | None, header: bool | None) -> Table:
    if not text.strip():
        raise FormatError(f"{source} is empty")
    delimiter = delimiter or _find_delimiter(source, text)
    records = _records(source, text, delimiter)
    if not records:
        raise FormatError(f"{source} holds no cells")
    start, width = records[0][0], len(records[0][1])
    for line, cells in records:
        if len(cells) != width:
            raise FormatError(
                f"{source}, line {line}: {len(cells)} cells, but line {start} has {width} (delimiter {delimiter!r}); "
                "a cell that contains the delimiter needs quotes"
            )
    if header is None:
        header = _has_header([cells for _, cells in records])
    names = [str(i) for i in range(width)]
    notes = []
    if header:
        names = records.pop(0)[1]
        if not records:
            raise FormatError(f"{source} has a header line and no rows below it")
    lines, rows = [line for line, _ in records], [cells for _, cells in records]
    columns = [list(column) for column in zip(*rows, strict=True)]
    if header and width > 1 and not names[0] and columns[0] == [str(i) for i in range(len(rows))]:
        notes.append("the first column has no name and counts the rows: left out")
        names, columns = names[1:], columns[1:]
    _check_names(source, names)
    return Table(source, tuple(names), tuple(columns), header, lines, notes=tuple(notes))


def _check_names(source: str, names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        if not name:
            raise FormatError(f"{source}: column {i} (counted from 0) has no name in the header line; name it")
    for name, times in Counter(names).items():
        if times > 1:
            raise FormatError(f"{source}: {times} columns are named {name!r}; names must differ")


def _read_arrays(path: Path) -> Table:
    source, data = path.name, path.read_bytes()
    if data.startswith(MAGIC):
        return _from_array(source, read_npy(source, data))
    arrays = read_npz(source, data)
    if not arrays:
        raise FormatError(f"{source} is empty")
    folded = {name.lower(): a for name, a in arrays.items()}
    if set(folded) in ({"x"}, {"x", "y"}) and folded["x"].ndim != 1:
        table = _from_array(source, folded["x"], "x")
        y = folded.get("y")
        if y is None:
            return table
        if y.shape != (table.rows,) and y.shape != (table.rows, 1):
            raise ShapeError(
                f"{source}: y has shape {y.shape}; x has {table.rows} rows, so ({table.rows},) is expected"
            )
        n = len(table.names)
        columns = (*table.columns, _column(source, "y", y.reshape(-1)))
        return Table(source, (*table.names, str(n)), columns, False, default_target=n)
    lengths = {name: a.shape for name, a in arrays.items()}
    if len(set(lengths.values())) != 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise ShapeError(
            f"{source}: arrays of shapes {', '.join(f'{n} {s}' for n, s in lengths.items())}; give x (N, F) and y (N,)"
            ", or 1-D arrays of one length, one per column"
        )
    return _checked_rows(Table(source, tuple(arrays), tuple(_column(source, n, a) for n, a in arrays.items()), True))


def _from_array(source: str, a: NDArray[Any], name: str = "the array") -> Table:
    if a.dtype.names is not None:
        if a.ndim != 1:
            raise ShapeError(f"{source}: {name} has named fields and shape {a.shape}; (N,) is expected")
        columns = [_column(source, n, a[n]) for n in a.dtype.names]
        return _checked_rows(Table(source, tuple(a.dtype.names), tuple(columns), True))
    if a.ndim != 2:
        raise ShapeError(f"{source}: {name} has shape {a.shape}; (N, columns) is expected: reshape it before saving")
    if 0 in a.shape:
        raise FormatError(f"{source} has no {'columns' if len(a) else 'rows'}")
    if a.shape[1] > MOST_COLUMNS:
        raise ShapeError(f"{source}: {name} has shape {a.shape}; at most {MOST_COLUMNS:,} columns are read")
    columns = [_column(source, f"{name}[:, {i}]", a[:, i]) for i in range(a.shape[1])]
    return _checked_rows(Table(source, tuple(str(i) for i in range(a.shape[1])), tuple(columns), False))


def _column(source: str, name: str, a: NDArray[Any]) -> Cells:
    if a.dtype.kind not in "biufUS" or a.ndim != 1:
        raise DTypeError(
            f"{source}: {name} has dtype {a.dtype}{a.shape[1:] or ''}; one number or text per row is expected"
        )
    if a.dtype.kind == "S":
        a = np.char.decode(a, "utf-8", "replace")
    if a.dtype.kind == "b" and a.view(np.uint8).max(initial=0) > 1:
        raise FormatError(f"{source}: {name} holds a byte other than 0 and 1 for a bool: damaged")
    if a.dtype.kind == "U":
        codes = np.ascontiguousarray(a).view(np.dtype(np.uint32).newbyteorder(a.dtype.byteorder))
        if codes.size and (codes.max() > 0x10FFFF or (codes >> 11 == 0xD800 >> 11).any()):
            raise FormatError(f"{source}: {name} holds a text that is no Unicode: damaged")
    return [str(cell).strip() for cell in a] if a.dtype.kind == "U" else a


def _checked_rows(table: Table) -> Table:
    if table.rows == 0:
        raise FormatError(f"{table.source} has no rows")
    return table
