"""Data: digits, splits, scaling, shifted images, tables and their encoder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hawfinch.data import (
    StandardScaler,
    Table,
    TableEncoder,
    load_digits,
    read_table,
    shift_images,
    split_rows,
    train_test_split,
)
from hawfinch.errors import (
    ArgumentError,
    DTypeError,
    FormatError,
    LabelError,
    NonFiniteError,
    NotBuiltError,
    ShapeError,
)

PETS = "weight,colour,pet\n4.5,red,cat\n30,black,dog\n5,black,cat\n22,red,dog\n"


@pytest.fixture
def write(tmp_path):
    """write(text, name) -> path of a new file."""

    def write(text: str | bytes, name: str = "t.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def save(path, *arrays, **named):
    (np.save if path.suffix == ".npy" else np.savez)(path, *arrays, **named)
    return path


# ------------------------------------------------------------------------------------------------------------- digits


def test_digits_are_the_uci_test_set():
    x, y = load_digits()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 64), np.float32, (1797,), np.int64)
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (x[0, :8] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0] and y[:3].tolist() == [0, 1, 2]
    assert round(float(x.sum(dtype=np.float64) * 16)) == 561718


def test_digits_are_new_arrays_at_each_call():
    load_digits()[0][:] = 7
    assert load_digits()[0].max() == 1.0


# -------------------------------------------------------------------------------------------------------------- split


def test_split_keeps_rows_together_and_loses_none():
    x, y = np.arange(40).reshape(20, 2), np.arange(20)
    xa, xb, ya, yb = train_test_split(x, y, test_size=0.25, seed=3)
    assert len(ya) == 15 and len(yb) == 5
    assert sorted([*ya, *yb]) == list(range(20))
    assert (xa[:, 0] == 2 * ya).all() and (xb[:, 0] == 2 * yb).all()


def test_split_is_the_same_with_every_numpy():
    train, test = split_rows(10, seed=0, test_size=0.3)
    assert train.tolist() == [3, 7, 5, 1, 2, 6, 4] and test.tolist() == [0, 8, 9]
    assert split_rows(10, seed=1, test_size=0.3)[1].tolist() != test.tolist()


@pytest.mark.parametrize("test_size", [0.1, 0.2, 0.5, 37])
def test_stratified_split_keeps_proportions(test_size):
    y = np.repeat(["a", "b", "c"], [100, 50, 10])
    train, test = split_rows(160, test_size=test_size, stratify=y)
    n = test_size if isinstance(test_size, int) else round(160 * test_size)
    assert len(test) == n and len(train) == 160 - n
    for name, count in (("a", 100), ("b", 50), ("c", 10)):
        assert abs((y[test] == name).sum() - count * n / 160) < 1
    assert not (np.diff(train) > 0).all()  # still shuffled


def test_stratified_split_never_tests_all_of_a_class():
    y = np.array([0] * 8 + [1, 2])
    train, test = split_rows(10, test_size=8, stratify=y)
    assert set(y[train]) == {0, 1, 2} and len(test) == 7


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"test_size": 0.0}, ArgumentError, r"test_size=0.0: give a fraction between 0 and 1, or a count from 1 to 3"),
        ({"test_size": 4}, ArgumentError, "or a count from 1 to 3"),
        ({"test_size": True}, ArgumentError, "test_size must be a number, not True"),
        ({"test_size": "half"}, ArgumentError, "test_size must be a number, not 'half'"),
        ({"seed": -1}, ArgumentError, "seed must be a whole number from 0, not -1"),
        ({"stratify": [0, 1]}, ShapeError, r"stratify must have shape \(4,\)"),
        ({"stratify": [0, 1, 2, 3]}, ArgumentError, "each class has only one row"),
    ],
)
def test_split_errors(kwargs, error, message):
    with pytest.raises(error, match=message):
        train_test_split(np.zeros(4), **kwargs)


def test_split_needs_equal_lengths_and_two_rows():
    with pytest.raises(ShapeError, match=r"argument 1 has shape \(3,\), but argument 0 has \(4, 2\)"):
        train_test_split(np.zeros((4, 2)), np.zeros(3))
    with pytest.raises(ArgumentError, match="at least one array"):
        train_test_split()
    with pytest.raises(ArgumentError, match="at least 2 rows, not 1"):
        train_test_split(np.zeros(1))


# ------------------------------------------------------------------------------------------------------------ scaling


def test_scaler_gives_mean_0_and_deviation_1_and_back():
    x = np.random.default_rng(0).normal(5, 3, (200, 4))
    scaler = StandardScaler().fit(x)
    z = scaler.transform(x)
    assert z.dtype == np.float64
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-14)
    np.testing.assert_allclose(scaler.inverse(z), x, rtol=1e-14)
    assert scaler.transform(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 1e-320])
def test_constant_column_becomes_0(value):
    x = np.full((7, 1), value)
    scaler = StandardScaler().fit(x)
    assert scaler.scale is not None and scaler.scale.tolist() == [1.0]
    assert (scaler.transform(x) == 0).all() and (scaler.inverse(np.zeros((1, 1))) == value).all()


def test_scaler_state_survives_json_exactly():
    x = np.random.default_rng(1).normal(size=(30, 3)) / 3
    a = StandardScaler().fit(x)
    b = StandardScaler.from_dict(json.loads(json.dumps(a.to_dict())))
    assert (a.transform(x) == b.transform(x)).all()


def test_scaler_errors():
    scaler = StandardScaler()
    with pytest.raises(NotBuiltError, match="call fit first"):
        scaler.transform(np.zeros((2, 2)))
    with pytest.raises(NotBuiltError, match="call fit first"):
        scaler.to_dict()
    with pytest.raises(NonFiniteError, match=r"row 1, column 0 \(counted from 0\) is nan"):
        scaler.fit(np.array([[1.0, 2.0], [np.nan, 3.0]]))
    with pytest.raises(ShapeError, match="at least one row"):
        scaler.fit(np.zeros((0, 2)))
    with pytest.raises(ShapeError, match=r"a row axis.*got shape \(\)"):
        scaler.fit(1.0)
    with pytest.raises(DTypeError, match="dtype <U1 is not supported; expected float, int or bool numbers"):
        scaler.fit(np.array(["a"]))
    with pytest.raises(NonFiniteError, match="overflows float64"):
        scaler.fit(np.array([[1e200], [-1e200]]))
    scaler.fit(np.array([[0.0, 1e-3], [1.0, 2e-3]]))
    with pytest.raises(ShapeError, match=r"rows of shape \(3,\), but the scaler was fitted on rows of shape \(2,\)"):
        scaler.transform(np.zeros((1, 3)))
    with pytest.raises(NonFiniteError, match=r"row 0, column \(1,\) \(counted from 0\) overflows"):
        scaler.transform([[0.0, 1e38]])


@pytest.mark.parametrize(
    "state", [{}, {"mean": [0], "scale": [0]}, {"mean": [0], "scale": [1, 1]}, {"mean": "x", "scale": 1}]
)
def test_scaler_rejects_a_damaged_state(state):
    with pytest.raises(FormatError, match="StandardScaler is damaged"):
        StandardScaler.from_dict(state)


# ------------------------------------------------------------------------------------------------------ shifted images


def test_shifted_images_move_by_parts_of_a_pixel():
    image = np.zeros((1, 9, 9))
    image[0, 4, 4] = 1
    for seed in range(20):
        out = shift_images(image, 2.0, seed=seed)[0]
        assert out.dtype == np.float32 and out.sum() == pytest.approx(1)
        centre = [(out.sum(axis=1 - axis) * np.arange(9)).sum() for axis in (0, 1)]
        words = np.random.Philox(seed).random_raw(2)
        expected = [4 + 2 * (float(w >> np.uint64(11)) / 2**52 - 1) for w in words]
        np.testing.assert_allclose(centre, expected, atol=1e-5)


def test_shifted_images_lose_what_leaves_and_gain_zeros():
    edge = np.ones((50, 3, 3, 2))
    out = shift_images(edge, 1.0, seed=1)
    assert out.shape == edge.shape and out.min() >= 0 and out.max() <= 1 and out.mean() < 0.9
    assert (shift_images(edge, 0.0) == edge).all()


def test_shift_errors():
    with pytest.raises(ShapeError, match=r"not shape \(2, 64\)"):
        shift_images(np.zeros((2, 64)))
    with pytest.raises(ArgumentError, match="not 8"):
        shift_images(np.zeros((2, 8, 8)), 8)
    with pytest.raises(DTypeError, match="expected float, int or bool numbers"):
        shift_images(np.full((2, 8, 8), "a"))


# --------------------------------------------------------------------------------------------------------- reading CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_delimiters_and_byte_order_mark(write, delimiter, bom):
    table = read_table(write(bom + PETS.replace(",", delimiter).encode()))
    assert table.named and table.names == ("weight", "colour", "pet") and table.rows == 4
    assert table.numbers(0).tolist() == [4.5, 30, 5, 22]
    assert table.texts(1) == ["red", "black", "black", "red"]


def test_quoted_cells_may_hold_delimiters_quotes_and_line_ends(write):
    table = read_table(write('name, n\r\n"Smith, ""Jo""",1\r\n\r\n"two\r\nlines", 2\r\nplain,3\r\n'))
    assert table.texts(0) == ['Smith, "Jo"', "two\r\nlines", "plain"]
    assert table.lines is not None and list(table.lines) == [2, 4, 6]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (PETS, True),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", False),  # numbers in the first row
        ("a,b\nred,big\nred,small\n", True),  # texts only, and the first row is unlike the others
        ("red,big\nred,small\n", False),
    ],
)
def test_header_is_detected(write, text, named):
    assert read_table(write(text)).named is named


def test_header_can_be_said(write):
    path = write("2019,2020\n1,2\n3,4\n")
    assert read_table(path).rows == 3
    assert read_table(path, header=True).names == ("2019", "2020")
    assert read_table(write(PETS), header=False).rows == 5


def test_semicolons_win_over_commas_inside_numbers(write):
    table = read_table(write("1,5;2,5\n2,5;3,5\n"))
    assert len(table.names) == 2
    with pytest.raises(FormatError, match=r"t.csv, line 1, column 0 \(counted from 0\): '1,5' has a decimal comma"):
        table.is_text(0)


def test_row_numbers_without_a_name_are_left_out(write):
    table = read_table(write(",a,b\n0,1.5,x\n1,2.5,y\n"))
    assert table.names == ("a", "b") and table.notes == ("the first column has no name and counts the rows: left out",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv is empty"),
        ("\n\n \n", "t.csv is empty"),
        ("a,b\n", "t.csv has a header line and no rows below it"),
        ("a,b,c\n1,2,3\n4,5\n", r"t.csv, line 3: 2 cells, but line 1 has 3 \(delimiter ','\); .* needs quotes"),
        ('a,b\n1,"2\n3,4\n', "t.csv, line 2: a quote is not closed"),
        ('a,b\n"1"2,3\n', "t.csv, line 2: ',' expected after '\"'"),
        ("a,a\n1,2\n", "t.csv: 2 columns are named 'a'; names must differ"),
        ("a,,c\n1,2,3\n", r"t.csv: column 1 \(counted from 0\) has no name in the header line"),
        (b"a,b\n1,caf\xe9\n", "t.csv, line 2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"PK\x03\x04....", "t.csv is not a text file"),
        (b"a,b\n1,\0\n", "t.csv is not a text file"),
    ],
)
def test_damaged_text(write, text, message):
    with pytest.raises(FormatError, match=message):
        read_table(write(text))


def test_delimiter_is_one_character(write):
    with pytest.raises(ArgumentError, match="one character, not '::'"):
        read_table(write(PETS), delimiter="::")


@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        ("", FormatError, "t.csv, line 3, column 'b': missing value; fill it in or remove the row"),
        ("NA", FormatError, r"t.csv, line 3, column 'b': missing value \('NA'\)"),
        ("nan", FormatError, r"line 3, column 'b': missing value \('nan'\)"),
        ("inf", NonFiniteError, "t.csv, line 3, column 'b': inf is not a finite number"),
        ("-Infinity", NonFiniteError, "t.csv, line 3, column 'b': -Infinity is not a finite number"),
        ("1_000", FormatError, "t.csv, line 3, column 'b': '1_000' is not a number"),
        ("x", FormatError, "t.csv, line 3, column 'b': 'x' is not a number"),
    ],
)
def test_bad_number(write, cell, error, message):
    table = read_table(write(f"a,b\n1,2\n3,{cell}\n"))
    with pytest.raises(error, match=message):
        table.numbers(1)
    assert table.numbers(0).tolist() == [1, 3]  # other columns are not affected


def test_column_of_numbers_with_a_typing_error_is_not_taken_for_categories(write):
    table = read_table(write("a,b\n" + "1,2\n" * 9 + "1,2o\n"))
    with pytest.raises(
        FormatError, match=r"line 11, column 'b': '2o' is not a number, but 9 of the column's 10 cells are"
    ):
        table.is_text(1)
    assert table.is_text(1, categories=True)


def test_find_column(write):
    table = read_table(write(PETS))
    assert [table.find(c) for c in ("pet", -1, "0", 1)] == [2, 2, 0, 1]
    with pytest.raises(
        ArgumentError, match=r"no column 'Pets'. Did you mean 'pet'\? Columns: 'weight', 'colour', 'pet'"
    ):
        table.find("Pets")
    with pytest.raises(ArgumentError, match="no column 3: its 3 columns are numbered 0 to 2"):
        table.find(3)
    with pytest.raises(ArgumentError, match="no column 'pet': give its number, 0 to 2"):
        read_table(write(PETS), header=False).find("pet")


# -------------------------------------------------------------------------------------------------- reading NPZ and NPY


def test_npz_of_x_and_y(tmp_path):
    table = read_table(save(tmp_path / "t.npz", x=np.arange(6.0).reshape(3, 2), y=np.array([0, 1, 0])))
    assert not table.named and table.rows == 3 and table.default_target == 2
    assert table.numbers(1).tolist() == [1, 3, 5] and table.numbers(2).tolist() == [0, 1, 0]
    assert read_table(save(tmp_path / "t.npz", X=np.zeros((3, 2)))).default_target is None


def test_npz_of_columns_and_npy(tmp_path):
    table = read_table(save(tmp_path / "t.npz", size=[1, 2], kind=np.array(["a", "b"]), ok=[True, False]))
    assert table.named and table.names == ("size", "kind", "ok")
    assert table.is_text(1) and table.texts(1) == ["a", "b"] and table.numbers(2).tolist() == [1, 0]
    assert read_table(save(tmp_path / "t.npy", np.zeros((3, 2), np.int32))).names == ("0", "1")
    fields = np.array([(1.5, b"x"), (2.5, b"y")], [("v", "f4"), ("k", "S1")])
    table = read_table(save(tmp_path / "t.npy", fields))
    assert table.names == ("v", "k") and table.texts(1) == ["x", "y"] and table.texts(0) == ["1.5", "2.5"]


def test_array_cells_are_named_by_row(tmp_path):
    table = read_table(save(tmp_path / "t.npy", np.array([[1.0, 2.0], [3.0, np.nan]])))
    with pytest.raises(NonFiniteError, match=r"t.npy, row 1, column 1 \(counted from 0\): nan is not a finite number"):
        table.numbers(1)


@pytest.mark.parametrize(
    ("name", "array", "error", "message"),
    [
        ("t.npy", np.zeros((2, 2, 2)), ShapeError, r"the array has shape \(2, 2, 2\); \(N, columns\) is expected"),
        ("t.npy", np.zeros((0, 2)), FormatError, "t.npy has no rows"),
        ("t.npy", np.zeros((2, 2), complex), DTypeError, "dtype complex128; one number or text per row"),
        ("t.npy", np.zeros(2, "M8[s]"), ShapeError, "shape"),
    ],
)
def test_arrays_that_are_no_table(tmp_path, name, array, error, message):
    with pytest.raises(error, match=message):
        read_table(save(tmp_path / name, array))


def test_npz_that_is_no_table(tmp_path, write):
    with pytest.raises(ShapeError, match=r"y has shape \(4,\); x has 3 rows, so \(3,\) is expected"):
        read_table(save(tmp_path / "t.npz", x=np.zeros((3, 2)), y=np.zeros(4)))
    with pytest.raises(
        ShapeError, match=r"arrays of shapes a \(2,\), b \(3,\); give x \(N, F\) and y \(N,\), or 1-D arrays"
    ):
        read_table(save(tmp_path / "t.npz", a=np.zeros(2), b=np.zeros(3)))
    with pytest.raises(DTypeError, match="holds Python objects, which are not loaded"):
        read_table(save(tmp_path / "t.npz", a=np.array([{}, []], object)))
    with pytest.raises(FormatError, match=r"t.npz is empty"):
        read_table(save(tmp_path / "t.npz"))
    for text in (b"", b"nonsense", b"PK\x03\x04broken"):
        with pytest.raises(FormatError, match=r"t.npz is (empty|damaged)"):
            read_table(write(text, "t.npz"))
    whole = save(tmp_path / "t.npy", np.zeros((4, 4))).read_bytes()
    with pytest.raises(FormatError, match=r"t.npy: .* cut short or damaged"):
        read_table(write(whole[:-9], "t.npy"))


# ------------------------------------------------------------------------------------------------------------- encoder


def test_encoder_scales_numbers_and_one_hot_encodes_texts(write):
    table = read_table(write(PETS))
    encoder = TableEncoder().fit(table, "pet")
    assert (encoder.task, encoder.classes, encoder.width) == ("classify", ("cat", "dog"), 3)
    assert encoder.reason == "it holds 2 different texts"
    x = encoder.transform(table)
    assert x.dtype == np.float32 and x[:, 1:].tolist() == [[0, 1], [1, 0], [1, 0], [0, 1]]
    np.testing.assert_allclose(x[:, 0], StandardScaler().fit(table.numbers(0)).transform(table.numbers(0)), rtol=1e-6)
    assert encoder.transform_target(table).tolist() == [0, 1, 0, 1]
    assert encoder.decode(np.array([[0.1, 0.9], [2.0, -1.0]])).tolist() == ["dog", "cat"]


def test_scales_come_from_the_training_rows_and_categories_from_all(write):
    table = read_table(write(PETS))
    encoder = TableEncoder().fit(table, "pet", rows=np.array([0, 3]))
    x = encoder.transform(table)
    np.testing.assert_allclose(x[[0, 3], 0], [-1, 1], rtol=1e-6)
    assert encoder.width == 3


def numbers(values) -> Table:
    values = np.asarray(values, float)
    return Table("t.npy", ("x", "y"), (np.arange(len(values)), values), True)


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (np.arange(40) % 20, "classify", "it holds 20 different whole numbers"),
        (np.arange(42) % 21, "regress", "it holds 21 different whole numbers"),
        (np.arange(40) % 2 / 2, "regress", "it holds 2 distinct numbers, not all whole"),
    ],
)
def test_task_is_inferred(values, task, reason):
    encoder = TableEncoder().fit(numbers(values), "y")
    assert (encoder.task, encoder.reason) == (task, reason)


def test_task_can_be_said():
    assert TableEncoder().fit(numbers(np.arange(50) % 5), "y", task="regress").task == "regress"
    encoder = TableEncoder().fit(numbers(np.arange(100) % 25), "y", task="classify")
    assert encoder.classes[:3] == ("0", "1", "2") and encoder.classes[-1] == "24"  # in the order of numbers
    with pytest.raises(ArgumentError, match="task must be 'classify', 'regress' or None, not 'rank'"):
        TableEncoder().fit(numbers([1, 2]), "y", task="rank")  # type: ignore[arg-type]


def test_regression_target_is_standardised_and_comes_back_in_its_units():
    table = numbers(np.linspace(1000, 3000, 50) + 0.5)
    encoder = TableEncoder().fit(table, "y")
    y = encoder.transform_target(table)
    assert y.shape == (50, 1) and y.dtype == np.float32
    assert y.mean() == pytest.approx(0, abs=1e-6) and y.std() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(encoder.decode(y), table.numbers(1), rtol=1e-6)
    np.testing.assert_allclose(encoder.decode_target(table), table.numbers(1), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "kwargs", "error", "message"),
    [
        ("a,y\n1,7\n2,7\n", {}, LabelError, "the target column 'y' is '7' in every row: there is nothing to learn"),
        ("a,y\n1,cat\n2,cat\n", {}, LabelError, "the target column 'y' is 'cat' in every row"),
        ("a,y\n1,0.5\n2,0.5\n", {}, LabelError, "is '0.5' in every row"),
        ("a,y\n1,0.5\n2,1\n", {"task": "classify"}, LabelError, "line 2, column 'y': 0.5 is no class"),
        ("a,y\n1,cat\n2,dog\n", {"task": "regress"}, FormatError, "line 2, column 'y': 'cat' is not a number"),
        ("a,y\n1,1\n2,\n", {}, FormatError, "line 3, column 'y': missing value"),
        ("a,y\n1,cat\n2,\n", {}, FormatError, "line 3, column 'y': missing value"),
        ("a,y\n1,1\ninf,2\n", {}, NonFiniteError, "line 3, column 'a': inf is not a finite number"),
        ("a,y\n1,1\n2,2\n", {"ignore": ["a"]}, ArgumentError, "no column left to predict 'y' from"),
        ("a,y\n1,1\n2,2\n", {"ignore": ["y"]}, ArgumentError, "column 'y' can have one role only"),
        ("a,y\n1,1\n2,2\n", {"ignore": ["b"]}, ArgumentError, "no column 'b'"),
        ("y\n1\n2\n", {}, ArgumentError, "no column left to predict 'y' from"),
    ],
)
def test_tables_that_cannot_be_learnt(write, text, kwargs, error, message):
    with pytest.raises(error, match=message):
        TableEncoder().fit(read_table(write(text)), "y", **kwargs)


def test_too_many_classes_and_identifiers(write):
    rows = "".join(f"n{i},{i},k{i}\n" for i in range(60))
    table = read_table(write("name,v,kind\n" + rows))
    with pytest.raises(LabelError, match="the target column 'kind' has 60 classes in 60 rows; too few rows of each"):
        TableEncoder().fit(table, "kind")
    with pytest.raises(FormatError, match="column 'name' holds 60 different texts in 60 rows, such as 'n0'"):
        TableEncoder().fit(table, "v", ignore=["kind"])
    assert TableEncoder().fit(table, "v", ignore=["kind"], categorical=["name"]).width == 60


def test_numbers_can_be_categories(write):
    table = read_table(write("zip,y\n01234,a\n99999,b\n01234,b\n"))
    encoder = TableEncoder().fit(table, "y", categorical=["zip"])
    assert encoder.features[0].categories == ("01234", "99999")
    assert encoder.transform(table).tolist() == [[1, 0], [0, 1], [1, 0]]


def test_encoder_state_survives_json(write):
    for target in ("pet", "weight"):
        table = read_table(write(PETS))
        a = TableEncoder().fit(table, target)
        b = TableEncoder.from_dict(json.loads(json.dumps(a.to_dict())))
        assert (a.transform(table) == b.transform(table)).all()
        assert (a.transform_target(table) == b.transform_target(table)).all()
        assert (b.task, b.classes, b.target, b.features, b.named) == (a.task, a.classes, a.target, a.features, a.named)


def test_encoder_rejects_a_damaged_state(write):
    state = TableEncoder().fit(read_table(write(PETS)), "pet").to_dict()
    for damaged in ({}, {"format": 1}, state | {"features": [1]}, state | {"scaler": {}}, state | {"target": None}):
        with pytest.raises(FormatError, match="damaged"):
            TableEncoder.from_dict(damaged)
    with pytest.raises(FormatError, match="format 9; this hawfinch reads format 1"):
        TableEncoder.from_dict(state | {"format": 9})


def test_columns_are_matched_by_name(write):
    table = read_table(write(PETS))
    encoder = TableEncoder().fit(table, "pet")
    other = read_table(write("extra,colour,weight\nz,red,4.5\nz,black,30\n"))
    assert (encoder.transform(other) == encoder.transform(table)[:2]).all()
    assert encoder.target_position(other) is None
    with pytest.raises(ArgumentError, match=r"t.csv has no target column 'pet'"):
        encoder.transform_target(other)


def test_columns_without_names_are_matched_by_position(write):
    text = PETS.split("\n", 1)[1]
    table = read_table(write(text))
    for target in (0, 2):
        encoder = TableEncoder().fit(table, target)
        cut = "\n".join(",".join(c for i, c in enumerate(row.split(",")) if i != target) for row in text.split())
        without = read_table(write(cut), header=False)
        assert (encoder.transform(without) == encoder.transform(table)).all()
        assert encoder.target_position(table) == target and encoder.target_position(without) is None
    with pytest.raises(
        ShapeError, match=r"t.csv has 1 columns, but the training data had 3; expected are all of them, or"
    ):
        encoder.transform(read_table(write("4.5\n"), header=False))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("weigth,colour\n1,red\n", ShapeError, r"lacks column 'weight' .* Did you mean 'weigth' for 'weight'\?"),
        ("a,b\n1,red\n", ShapeError, "lacks columns 'weight', 'colour' of the training data. Its columns: 'a', 'b'"),
        ("weight,colour\n1,red\nbig,red\n", FormatError, "t.csv, line 3, column 'weight': 'big' is not a number"),
        ("weight,colour\n1,red\n,red\n", FormatError, "t.csv, line 3, column 'weight': missing value"),
        ("weight,colour\n1,red\nnan,red\n", FormatError, "t.csv, line 3, column 'weight': missing value"),
        (
            "weight,colour\n1,red\n2,blak\n",
            FormatError,
            r"line 3, column 'colour': category 'blak' was not in the training data. Did you mean 'black'\? "
            "Known: 'black', 'red'",
        ),
        (
            "weight,colour\n1e60,red\n",
            NonFiniteError,
            r"line 2, column 'weight': 1e60 is too far from the values of the training",
        ),
    ],
)
def test_tables_that_do_not_fit(write, text, error, message):
    encoder = TableEncoder().fit(read_table(write(PETS)), "pet")
    with pytest.raises(error, match=message):
        encoder.transform(read_table(write(text), header=True))


def test_named_and_unnamed_tables_do_not_mix(write, tmp_path):
    encoder = TableEncoder().fit(read_table(write(PETS)), "pet")
    with pytest.raises(ShapeError, match=r"the training data's columns had names, but t.npy has none"):
        encoder.transform(read_table(save(tmp_path / "t.npy", np.zeros((2, 2)))))


def test_encoder_must_be_fitted_and_outputs_must_fit(write):
    table = read_table(write(PETS))
    with pytest.raises(NotBuiltError, match="call fit first"):
        TableEncoder().transform(table)
    with pytest.raises(ShapeError, match=r"outputs of shape \(4, 3\); \(N, 2\) is expected"):
        TableEncoder().fit(table, "pet").decode(np.zeros((4, 3)))


def test_whole_numbers_are_one_class_however_written(write):
    encoder = TableEncoder().fit(read_table(write("a,y\n1,0\n2,1\n3,0\n")), "y")
    assert encoder.transform_target(read_table(write("a,y\n1,1.0\n2,0\n"))).tolist() == [1, 0]
    with pytest.raises(
        FormatError, match=r"line 2, column 'y': class '2' was not in the training data. Known: '0', '1'"
    ):
        encoder.transform_target(read_table(write("a,y\n1,2\n")))
