"""hawfinch.schedules: every schedule against its formula, and in a fit."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch import schedules
from hawfinch.errors import ArgumentError
from hawfinch.schedules import Constant, Cosine, Exponential, InverseTime, Plateau, Scaled, Schedule, Step

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(1, keepdims=True)
TOTAL = 50


def cosine(step: int, warmup: int, end: float) -> float:
    if step < warmup:
        return 0.3 * (step + 1) / warmup
    return end + (0.3 - end) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (TOTAL - warmup)))


CASES: dict[str, tuple[Schedule, Callable[[int], float]]] = {
    "constant": (Constant(0.3), lambda s: 0.3),
    "cosine": (Cosine(0.3), lambda s: cosine(s, 0, 0.0)),
    "cosine with steps of warmup": (Cosine(0.3, warmup=5, end=0.1), lambda s: cosine(s, 5, 0.1)),
    "cosine with a part of warmup": (Cosine(0.3, warmup=0.2), lambda s: cosine(s, 10, 0.0)),
    "step": (Step(0.3, every=7, factor=0.5), lambda s: 0.3 * 0.5 ** (s // 7)),
    "exponential": (Exponential(0.3, factor=0.97), lambda s: 0.3 * 0.97**s),
    "inverse time": (InverseTime(0.3, rate=0.1), lambda s: 0.3 / (1 + 0.1 * s)),
    "scaled": (Scaled(0.5).scaled(Step(0.3, every=7)), lambda s: 0.15 * 0.1 ** (s // 7)),
    "plateau": (Plateau(0.3), lambda s: 0.3),
}


@pytest.mark.parametrize("name", CASES)
def test_formula(name: str) -> None:
    schedule, formula = CASES[name]
    steps = np.arange(TOTAL)
    expected = [formula(s) for s in range(TOTAL)]
    np.testing.assert_allclose(schedule.at(steps, TOTAL), expected, rtol=1e-13, atol=1e-16)
    np.testing.assert_array_equal(schedule.at(steps[7:9], TOTAL), schedule.at(steps, TOTAL)[7:9])
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)


def test_every_schedule_has_a_row() -> None:
    kinds = {v for v in vars(schedules).values() if isinstance(v, type) and issubclass(v, Schedule)} - {Schedule}
    assert {type(schedule) for schedule, _ in CASES.values()} == kinds


def test_a_schedule_spans_its_fit_whatever_came_before() -> None:
    """The same as the numbers one by one, also in a second fit and on several threads."""

    def trained(lr: Any) -> bytes:
        trainer = hf.Trainer(hf.Sequential(hf.Linear(1)).build((3,), seed=1), "mse", hf.Adam(lr), seed=2)
        for epochs in (2, 3):
            trainer.fit(X, Y, epochs=epochs, batch_size=8)
        return trainer.model.store().params.tobytes()

    rates = [*Cosine(0.1, warmup=0.1).at(np.arange(10), 10), *Cosine(0.1, warmup=0.1).at(np.arange(15), 15)]
    assert trained(Cosine(0.1, warmup=0.1)) == trained(lambda step: float(rates[step]))
    assert trained(Constant(0.1)) == trained(0.1)


def test_steps_alone_have_no_length() -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(Cosine(0.1)))
    with pytest.raises(ArgumentError, match=r"Cosine.*total_steps="):
        trainer.step(X, Y)
    with pytest.raises(ArgumentError, match=r"how long the run is"):
        trainer.fit(lambda: iter([(X, Y)]), epochs=2)
    assert trainer.steps == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cosine("a"),
        lambda: Cosine(0.1, warmup=-1),
        lambda: Cosine(0.1, warmup=1.5),
        lambda: Constant(float("nan")),
        lambda: Step(0.1, every=0),
        lambda: Step(0.1, every=2.5),
        lambda: Plateau(0.1, patience=0),
        lambda: Exponential(0.1),
        lambda: Scaled(0.1).at(np.arange(2), 2),
        lambda: setattr(Constant(1.0), "value", 2.0),
    ],
)
def test_bad_arguments(make: Callable[[], Any]) -> None:
    with pytest.raises(ArgumentError):
        make()


@pytest.mark.parametrize("make", [hf.Adam, hf.L2, hf.MaxNorm])
def test_a_class_in_place_of_a_schedule_is_an_error_that_says_what_to_pass(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"is the class Cosine; pass an object of it, Cosine\(\.\.\.\)"):
        make(Cosine)


def test_plateau_without_validation_data_says_what_to_pass() -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.Adam(Plateau(0.1)))
    with pytest.raises(ArgumentError, match="no 'val_loss' in the history, only loss; pass validation_data to fit"):
        trainer.fit(X, Y)
