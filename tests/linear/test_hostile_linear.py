"""Anything at all as data, labels, weights and options of the linear models: a result, or an error of ours."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hostile import HOSTILE, LABELS, X

import hawfinch as hf
from hawfinch.errors import HawfinchError

ROWS, Y = np.asarray(X, float), np.asarray(LABELS)
TOO_LARGE = ("huge by strides", "rows of nothing")  # for any memory
VALUES = {name: value for name, value in HOSTILE.items() if name not in TOO_LARGE}


def survives(call: Callable[[], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except HawfinchError as error:
            assert str(error)
        except KeyError as error:
            assert error.args == ("from __array__",)  # what the value itself raises


@pytest.mark.parametrize("name", hf.linear.__all__)
def test_hostile_values(name: str) -> None:
    make = getattr(hf.linear, name)
    model = make().fit(ROWS, Y)
    for value in VALUES.values():
        survives(lambda v=value: make().fit(v, Y))
        survives(lambda v=value: make().fit(ROWS, v))
        survives(lambda v=value: make().fit(ROWS, Y, v))
        survives(lambda v=value: model.predict(v))
        survives(lambda v=value: model.score(ROWS, v))
        for option in make.options:
            survives(lambda v=value, o=option: make(**{o: v}))


@pytest.mark.parametrize("layer", [hf.Standardize, hf.MinMaxScale, hf.RobustScale, hf.QuantileScale, hf.TargetScale])
def test_hostile_rows_and_options_of_scalings(layer: Any) -> None:
    for value in VALUES.values():
        survives(lambda v=value: layer().learn(v))
        survives(lambda v=value: layer(v) if not isinstance(v, int) or v < 2**31 else None)
