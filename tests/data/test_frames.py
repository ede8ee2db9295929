"""Frames of pandas as data."""

import numpy as np
import pandas as pd
import pytest

import hawfinch as hf
from hawfinch.errors import DTypeError, NonFiniteInputError

FRAME = pd.DataFrame({"size": [1.5, 2.5, 3.0], "ripe": [True, False, True], "count": [3, 4, 5]})
ARRAY = np.array([[1.5, 1, 3], [2.5, 0, 4], [3, 1, 5]])


def net() -> hf.Module:
    return hf.Sequential(hf.Linear(4), hf.ReLU(), hf.Linear(1)).build((3,), seed=0)


@pytest.mark.parametrize(
    "frame", [FRAME, FRAME.convert_dtypes(), FRAME.rename(columns=dict.fromkeys(FRAME, "same"))], ids=str
)
def test_a_frame_of_several_dtypes_is_the_array_of_its_columns(frame: pd.DataFrame) -> None:
    expected = net().predict(ARRAY)
    assert (net().predict(frame) == expected).all()
    histories = [
        hf.Trainer(net(), "mse", seed=0).fit(x, y, epochs=3)
        for x, y in ((ARRAY, ARRAY[:, :1]), (frame, frame.iloc[:, :1]))
    ]
    assert histories[0].to_dict() == histories[1].to_dict()
    scaler = hf.data.StandardScaler().fit(frame)
    assert np.array_equal(scaler.transform(frame), hf.data.StandardScaler().fit(ARRAY).transform(ARRAY).astype("f4"))


def test_what_is_no_number_is_named_by_its_column() -> None:
    for column in (
        ["red", "green", "red"],
        pd.Series(["a", "b", "a"], dtype="category"),
        pd.date_range("2024", periods=3),
    ):
        with pytest.raises(
            DTypeError, match=r"column 'extra' has dtype .*; expected numbers: leave it out, or encode it"
        ):
            net().predict(FRAME.assign(extra=column))


def test_what_is_missing_is_named_by_its_place() -> None:
    frame = FRAME.convert_dtypes()
    frame.loc[1, "ripe"] = pd.NA
    with pytest.raises(NonFiniteInputError, match="x holds nan in row 1, column 1"):
        hf.Trainer(net(), "mse").fit(frame, ARRAY[:, :1])
