"""Cells that stand for numbers and are written as something else: said, with column and example, and never guessed."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from hawfinch import cli
from hawfinch.data import Table, TableEncoder, read_table
from hawfinch.errors import FormatError, HawfinchWarning, LabelError


def table(cells: list[str], name: str = "v") -> Table:
    return Table("t.csv", (name, "y"), (cells, ["a", "b"] * (len(cells) // 2)), True, range(2, 2 + len(cells)))


@pytest.mark.parametrize(
    ("cell", "kind", "instead"),
    [
        ("5 %", "percentages", "the number without its sign"),
        ("12.5%", "percentages", "the number without its sign"),
        ("0x1F", "hexadecimal numbers", "decimal numbers"),
        ("1 000", "numbers in groups of digits", "1000"),
        ("1'000'000", "numbers in groups of digits", "1000"),
        ("1.000.000,5", "numbers in groups of digits", "1000"),
        ("1_000", "numbers in groups of digits", "1000"),
        ("\u22125.5", "negative numbers", "the minus sign of the keyboard"),
        ("$5", "amounts of money", "the number alone"),
        ("1,200.50 €", "amounts of money", "the number alone"),
        ("2024-01-31", "dates or times", "numbers, such as days since a first day"),
        ("31.1.2024", "dates or times", "numbers, such as days since a first day"),
        ("1/31/24", "dates or times", "numbers, such as days since a first day"),
        ("2024-01-31T10:30:00", "dates or times", "numbers, such as days since a first day"),
        ("10:30", "dates or times", "numbers, such as days since a first day"),
    ],
)
def test_numbers_in_words_are_categories_with_a_warning(cell: str, kind: str, instead: str) -> None:
    one = table([cell, cell.replace("1", "2").replace("5", "6")] * 4)
    with pytest.warns(HawfinchWarning) as caught:
        encoder = TableEncoder().fit(one, "y")
    assert len(encoder.features[0].categories or ()) == 2 and len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith(f"t.csv, line 2, column 'v': {cell!r}: {kind}? Write {instead}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TableEncoder().fit(one, "y", categorical=["v"])


@pytest.mark.parametrize("cell", ["red", "5a", "A-1", "3-4", "room 5", "1.2.3.4", "10-20-30-40", "half %"])
def test_words_are_categories_without_a_warning(cell: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = TableEncoder().fit(table([cell, "other"] * 4), "y")
    assert encoder.features[0].categories == tuple(sorted([cell, "other"]))


def test_a_target_of_dates_is_said_too() -> None:
    dates = Table("t.csv", ("v", "y"), (["1", "2", "3", "4"], ["2024-01-01", "2024-01-02"] * 2), True, [2, 3, 4, 5])
    with pytest.warns(HawfinchWarning, match="column 'y': '2024-01-01': dates or times"):
        TableEncoder().fit(dates, "y")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TableEncoder().fit(dates, "y", task="classify")


def test_the_command_says_it_once_as_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"{5 + i % 2} %,{'ab'[i % 2]}" for i in range(20))
    (tmp_path / "t.csv").write_text(f"rate,y\n{rows}\n")
    status = cli.main(
        ["train", str(tmp_path / "t.csv"), "--target", "y", "--epochs", "1", "--out", str(tmp_path / "n")]
    )
    out, err = capsys.readouterr()
    assert status == 0 and err == ""
    assert out.count("note: t.csv, line 2, column 'rate': '5 %': percentages? Write the number without its sign") == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1,000", "250", "3,500", "12"],
            "line 2, column 'v': '1,000' has a comma: between thousands, write 1000; before",
        ),
        (["-1,234,567.5", "2"] * 2, "between thousands, write -1234567.5; before decimals, write a decimal point"),
        (["1", "2", "3", "4", "5", "6,001"], "'6,001' has a comma: between thousands, write 6001"),
        (["1,5", "2,25"] * 2, "line 2, column 'v': '1,5' has a decimal comma; write numbers with a decimal point"),
    ],
)
def test_commas_in_numbers(cells: list[str], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        TableEncoder().fit(table(cells), "y")


def test_whole_numbers_too_large_for_float64_stay_apart(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([[1, 2**60], [2, 2**60 + 1], [3, 2**60], [4, 2**60 + 1]]))
    ids = read_table(tmp_path / "t.npy")
    with pytest.raises(
        LabelError, match=r"row 0, column 1 .*: 1152921504606846976 is beyond 2\*\*53.*store them as texts"
    ):
        TableEncoder().fit(ids, 1, task="classify")
    assert TableEncoder().fit(ids, 0, task="regress", categorical=[1]).features[0].categories == (
        "1152921504606846976",
        "1152921504606846977",
    )
    big = Table("t.csv", ("v", "y"), (["1", "2", "3"], ["1e17", "2e17", "3e17"]), True, [2, 3, 4])
    assert TableEncoder().fit(big, "y", task="regress").task == "regress"


def test_a_cell_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f'a,b\n1,"{"x" * 200_000}"\n')
    with pytest.raises(FormatError, match=r"line 2: a cell of more than 131,072 characters: is a quote not closed\?"):
        read_table(tmp_path / "t.csv")


def test_repr_is_short() -> None:
    wide = Table("t.csv", tuple(f"c{i}" for i in range(100)), (["1"] * 10_000,) * 100, True)
    assert repr(wide) == (
        "Table('t.csv', 10000 rows, 100 columns: 'c0', 'c1', 'c2', 'c3', 'c4', 'c5', ... (100 in all))"
    )
    assert repr(Table("t.npy", ("0",), (np.zeros(3),), False)) == "Table('t.npy', 3 rows, 1 columns)"
