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
    assert calls(lambda: other.fit(x, y)) <= 1480
    assert calls(lambda: other.fit(x, y)) <= 95
    other.step(x, y)
    assert calls(lambda: other.step(x, y)) <= 4


class Depth:
    """A plan asks whether it is to stop right before it goes into C: how many functions of the package led there?"""

    def __init__(self) -> None:
        self.found: list[int] = []

    def is_set(self) -> bool:
        frame, depth = sys._getframe(1), 0
        while frame is not None:
            depth += frame.f_code.co_filename.startswith(PACKAGE)
            frame = frame.f_back  # type: ignore[assignment]
        self.found.append(depth)
        return False


def test_at_most_four_calls_lead_to_c() -> None:
    x, y = np.zeros((8, 3), np.float32), np.zeros((8, 2), np.float32)
    trainer = hf.Trainer(hf.Sequential(hf.Linear(2)), "mse", threads=1)
    trainer.fit(x, y, validation_data=(x, y))
    for call in (lambda: trainer.fit(x, y), lambda: trainer.evaluate(x, y), lambda: trainer.step(x, y)):
        depth = Depth()
        for plan in trainer._plans.cache.values():
            plan.core.stop_event = depth
        call()
        assert depth.found and max(depth.found) <= 4
