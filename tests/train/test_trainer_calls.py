"""How much Python a fit runs: calls into the package, which are the same number on every machine."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import hawfinch as hf

PACKAGE = str(Path(hf.__file__).parent)


def calls(function: Callable[[], Any]) -> int:
    """Python functions of the package that are called; comprehensions too where the interpreter makes calls of them."""
    n = 0

    def count(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal n
        n += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return n


def test_calls_of_a_fit_and_of_a_step() -> None:
    x = np.random.default_rng(0).normal(size=(256, 32)).astype(np.float32)
    y = np.zeros(256, int)

    def trainer() -> hf.Trainer:
        net = hf.Sequential(hf.Linear(64), hf.ReLU(), hf.Linear(32), hf.ReLU(), hf.Linear(10))
        return hf.Trainer(net, "softmax_cross_entropy", "adam")

    trainer().fit(x, y)  # imports, tables that are made once
    other = trainer()
    assert calls(lambda: other.fit(x, y)) <= 1500
    assert calls(lambda: other.fit(x, y)) <= 100
    other.step(x, y)
    assert calls(lambda: other.step(x, y)) <= 4
