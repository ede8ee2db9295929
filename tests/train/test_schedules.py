"""hawfinch.schedules: every schedule against its formula, and in a fit."""

import copy
import json
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

import hawfinch as hf
from hawfinch import schedules
from hawfinch.errors import ArgumentError
from hawfinch.schedules import (
    Chain,
    Constant,
    Cosine,
    CosineRestarts,
    CosLog4,
    Exponential,
    FlatCosine,
    InverseTime,
    MultiStep,
    OneCycle,
    Plateau,
    Polynomial,
    Scaled,
    Schedule,
    Step,
    exact,
)

TORCH = json.loads((Path(__file__).parents[1] / "fixtures" / "torch_schedules.json").read_text())
X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(1, keepdims=True)
TOTAL = 50


def cosine(step: int, warmup: int, end: float) -> float:
    if step < warmup:
        return 0.3 * (step + 1) / warmup
    return end + (0.3 - end) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (TOTAL - warmup)))


def flat(step: int) -> float:
    return 0.3 if step < 30 else 0.1 + 0.2 * 0.5 * (1 + math.cos(math.pi * (step - 30) / 20))


# name -> schedule, and what it is at a step of a run of TOTAL steps, or the name of PyTorch's numbers
CASES: dict[str, tuple[Schedule, Callable[[int], float] | str]] = {
    "constant": (Constant(0.3), lambda s: 0.3),
    "constant after a warm-up": (Constant(0.3, warmup=0.1), lambda s: 0.3 * min(s + 1, 5) / 5),
    "cosine": (Cosine(0.3), lambda s: cosine(s, 0, 0.0)),
    "cosine with steps of warmup": (Cosine(0.3, warmup=5, end=0.1), lambda s: cosine(s, 5, 0.1)),
    "cosine with a part of warmup": (Cosine(0.3, warmup=0.2), lambda s: cosine(s, 10, 0.0)),
    "step": (Step(0.3, every=7, factor=0.5), "step"),
    "multi step": (MultiStep(0.3, milestones=[4, 5, 20]), "multi step"),
    "multi step by parts": (MultiStep(0.3, milestones=[0.5, 0.9]), lambda s: 0.3 * 0.1 ** ((s >= 25) + (s >= 45))),
    "exponential": (Exponential(0.3, factor=0.9), "exponential"),
    "exponential in Keras": (Exponential(0.3, factor=0.5, every=7), lambda s: 0.3 * 0.5 ** (s / 7)),
    "exponential of some steps": (Exponential(0.3, factor=0.5, steps=9), lambda s: 0.3 * 0.5 ** min(s, 9)),
    "inverse time": (InverseTime(0.3, rate=0.1), lambda s: 0.3 / (1 + 0.1 * s)),
    "polynomial": (Polynomial(0.3, steps=20), "polynomial"),
    "polynomial of power 2": (Polynomial(0.3, power=2, steps=30), "polynomial of power 2"),
    "polynomial of power 0.9": (Polynomial(0.3, power=0.9, steps=30), "polynomial of power 0.9"),
    "polynomial that rises": (Polynomial(0.1, end=0.4), lambda s: 0.1 + 0.3 * s / TOTAL),
    "cosine of some steps": (Cosine(0.3, end=0.01, steps=30), "cosine"),
    "cosine after PyTorch's warm-up": (Cosine(0.3, warmup=5, steps=30), "cosine after a warm-up"),
    "cosine restarts": (CosineRestarts(0.3, every=7, end=0.02), "cosine restarts"),
    "cosine restarts that grow": (CosineRestarts(0.3, every=4, times=2), "cosine restarts that grow"),
    "cosine restarts by a part": (CosineRestarts(0.3, every=0.5), lambda s: cosine(2 * (s % 25), 0, 0.0)),
    "one cycle": (OneCycle(0.3, steps=30), "one cycle"),
    "one cycle in three phases": (
        OneCycle(0.3, pct_start=0.4, three_phase=True, div_factor=10, steps=30),
        "one cycle in three phases",
    ),
    "one cycle of lines": (
        OneCycle(0.3, anneal_strategy="linear", final_div_factor=100, steps=30),
        "one cycle of lines",
    ),
    "momentum of one cycle": (
        OneCycle(0.85, div_factor=0.85 / 0.95, final_div_factor=1, steps=30),
        "momentum of one cycle",
    ),
    "flat cosine": (FlatCosine(0.3, flat=0.6, end=0.1), flat),
    "coslog4": (CosLog4(0.3), lambda s: 0.3 * 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * s / TOTAL)))),
    "scaled": (Scaled(0.5).scaled(Step(0.3, every=7)), lambda s: 0.15 * 0.1 ** (s // 7)),
    "plateau": (Plateau(0.3), lambda s: 0.3),
    "plateau after a warm-up": (Plateau(0.3, warmup=5), lambda s: 0.3 * min(s + 1, 5) / 5),
    "chain": (
        Constant(0.3).then(Step(0.2, every=4, factor=0.5), at=5).then(0.1, at=0.8),
        lambda s: 0.3 if s < 5 else 0.2 * 0.5 ** ((s - 5) // 4) if s < 40 else 0.1,
    ),
    "product": (2 * Cosine(0.3) * Exponential(1.0, factor=0.9), lambda s: 2 * cosine(s, 0, 0.0) * 0.9**s),
}


@pytest.mark.parametrize("name", CASES)
def test_formula(name: str) -> None:
    schedule, formula = CASES[name]
    expected = TORCH[formula] if isinstance(formula, str) else [formula(s) for s in range(TOTAL)]
    steps = np.arange(len(expected))
    values = schedule.at(steps, TOTAL)
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-16)
    np.testing.assert_array_equal(schedule.at(steps[7:9], TOTAL), values[7:9])
    if not schedule.needs_total:
        np.testing.assert_array_equal(schedule.at(steps, None), values)
    schedule.check(TOTAL)
    assert pickle.loads(pickle.dumps(schedule)) == schedule == copy.deepcopy(schedule)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("plateau", Plateau(0.3, patience=2, factor=0.5)),
        ("plateau with a rest", Plateau(0.3, patience=1, cooldown=2, least=0.001, threshold=0.05)),
        ("plateau of what grows", Plateau(0.3, patience=3, mode="max")),
        ("plateau", 1.0 * (Plateau(0.3, patience=2, factor=0.5) * Constant(1.0)).then(Constant(1.0), at=0.9)),
    ],
)
def test_plateau_falls_where_pytorch_does(name: str, schedule: Schedule) -> None:
    state, found = None, []
    for score in TORCH["scores"]:
        state = schedule.after_epoch(state, {"val_loss": score})
        state = json.loads(json.dumps(state))  # as it lies in a checkpoint
        found.append(schedule.with_state(state).at(np.arange(1), 100)[0])
    assert schedule.monitors == ("val_loss",)
    np.testing.assert_allclose(found, TORCH[name], rtol=1e-12)


def test_functions_of_exact_arithmetic() -> None:
    x = np.concatenate([np.random.default_rng(0).uniform(1e-9, 20, 2000), [1.0, 2.0, 0.5, 1e-300, 1e300]])
    np.testing.assert_allclose(exact.log2(x), np.log2(x), rtol=2e-15, atol=1e-15)
    np.testing.assert_allclose(exact.exp2(np.log2(x)), x, rtol=4e-13)
    assert exact.exp2(np.array([-3.0, 0.0, 4.0])).tolist() == [0.125, 1.0, 16.0]
    assert exact.power(np.array([0.0, 0.0, 2.0]), np.array([0.0, 2.0, 3.0])).tolist() == [1.0, 0.0, 8.0]
    np.testing.assert_allclose(exact.cos_turns(x[:2000]), np.cos(2 * np.pi * x[:2000]), atol=1e-13)


def test_where_the_parts_of_a_chain_begin() -> None:
    """What says no number of steps shares what is left."""
    low = Constant(1e-5)
    for chain, begins in (
        (Cosine(2e-3, warmup=100).then(low), [0, 1000]),
        (Cosine(2e-3, steps=300).then(low), [0, 300]),
        (Cosine(2e-3).then(Polynomial(1e-4, steps=200)), [0, 1800]),
        (Cosine(2e-3).then(low, at=0.9), [0, 1800]),
        (Cosine(1e-3, steps=200).then(low).then(low).then(low, at=1000), [0, 200, 600, 1000]),
        (Chain([low, low, 0.5], [None, None, 0.5]), [0, 500, 1000]),
    ):
        assert isinstance(chain, Chain)
        assert chain._begins(2000) == begins
        for begin, part in zip(begins, chain.parts, strict=True):
            assert chain.at(np.array([begin]), 2000)[0] == part.at(np.zeros(1, int), 1000)[0]
    assert Cosine(1.0, steps=5).then(low).at(np.arange(7), None).tolist()[5:] == [1e-5, 1e-5], "needs no length"
    assert Cosine(1.0).then(low, at=5).needs_total is False and Cosine(1.0).then(low).needs_total
    assert Cosine(1.0, steps=4).then(Cosine(1.0, steps=4)).length == 8


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Cosine(0.1, warmup=10**6), r"Cosine.*its warm-up takes 1000000 steps, but it has 10 of the run"),
        (Cosine(0.1, steps=400), r"Cosine.*takes 400 steps, but it has 10 of the run"),
        (OneCycle(0.1, steps=11), r"OneCycle.*takes 11 steps, but it has 10"),
        (Constant(0.1, warmup=11), r"Constant.*warm-up takes 11 steps"),
        (MultiStep(0.1, milestones=[3, 10]), r"MultiStep.*milestone at step 10 is never reached in 10 steps"),
        (CosineRestarts(0.1, every=11), r"CosineRestarts.*takes 11 steps"),
        (Constant(0.1).then(0.2, at=10), r"Chain.*begin at steps 0, 10 of a run of 10 steps"),
        (Constant(0.1).then(Cosine(0.2, warmup=6), at=5), r"Cosine.*warm-up takes 6 steps, but it has 5"),
        (Constant(1.0) * Cosine(0.1, warmup=30), r"Cosine.*takes 30"),
        (0.5 * Cosine(0.1, warmup=30), r"Cosine.*takes 30"),
    ],
)
def test_a_schedule_that_is_longer_than_the_run_is_an_error_that_names_both(schedule: Schedule, words: str) -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)).build((3,)), "mse", hf.SGD(schedule))
    before = trainer.model.store().params.copy()
    with pytest.raises(ArgumentError, match=words):
        trainer.fit(X, Y, epochs=2, batch_size=8)
    with pytest.raises(ArgumentError, match=words):
        hf.Trainer(trainer.model, "mse", hf.SGD(schedule), total_steps=10).step(X, Y)
    assert trainer.model.store().params.tobytes() == before.tobytes() and trainer.steps == 0
    if "warm-up" not in words:
        return
    with pytest.raises(ArgumentError, match=words):
        grouped = hf.Trainer(trainer.model, "mse", hf.SGD(0.1), groups={"*.bias": {"lr": schedule}})
        grouped.fit(X, Y, epochs=2, batch_size=8)


def test_plot_draws_the_value_at_each_step() -> None:
    matplotlib.use("agg")
    schedule = Cosine(2e-3, warmup=100).then(Constant(1e-5))
    ax = schedule.plot(total=2000)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_ydata(), schedule.at(np.arange(2000), 2000))
    assert Constant(0.5).plot(ax=ax) is ax and len(ax.lines) == 2
    with pytest.raises(ArgumentError, match="warm-up takes 100"):
        Cosine(1.0, warmup=100).plot(total=50)
    with pytest.raises(ArgumentError, match="total"):
        schedule.plot(total=0)


def test_every_schedule_has_a_row() -> None:
    kinds = {v for v in vars(schedules).values() if isinstance(v, type) and issubclass(v, Schedule)} - {Schedule}
    assert {type(schedule) for schedule, _ in CASES.values()} == kinds
    assert kinds | {Schedule} == {getattr(schedules, name) for name in schedules.__all__}


def test_names_of_other_libraries_lead_to_ours() -> None:
    for make, right in (
        (lambda: Step(0.1, step_size=3), "every"),
        (lambda: Exponential(0.1, gamma=0.9), "factor"),
        (lambda: Cosine(0.1, T_max=100), "steps"),
        (lambda: Cosine(0.1, eta_min=1e-3), "end"),
        (lambda: OneCycle(max_lr=0.1), "peak"),
        (lambda: Plateau(0.1, min_lr=1e-3), "least"),
        (lambda: CosineRestarts(0.1, T_0=3), "every"),
    ):
        with pytest.raises(ArgumentError, match=f"Did you mean '{right}'"):
            make()  # type: ignore[no-untyped-call]


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
        lambda: Plateau(0.1, patience=-1),
        lambda: Plateau(0.1, mode="low"),
        lambda: Plateau(0.1, factor=1.0),
        lambda: MultiStep(0.1, milestones=3),
        lambda: MultiStep(0.1, milestones=[-1]),
        lambda: Polynomial(0.1, power=0),
        lambda: Cosine(0.1, steps=0.5),
        lambda: CosineRestarts(0.1, every=0),
        lambda: CosineRestarts(0.1, every=3, times=1.5),
        lambda: OneCycle(0.1, anneal_strategy="line"),
        lambda: OneCycle(0.1, pct_start=0.6, three_phase=True),
        lambda: FlatCosine(0.1, flat=1.0),
        lambda: Constant(0.1).then("a"),
        lambda: Constant(0.1).then(0.1, at=-2),
        lambda: Constant(0.1) * "a",
        lambda: Chain([]),
        lambda: Chain([0.1, 0.2], [0, 1, 2]),
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


def test_chunks_span_the_total_that_the_trainer_was_told() -> None:
    def trained(x: Any, y: Any, **more: Any) -> bytes:
        trainer = hf.Trainer(hf.Sequential(hf.Linear(1)).build((3,), seed=1), "mse", hf.SGD(Cosine(0.1)), **more)
        trainer.fit(x, y, epochs=2, batch_size=8, shuffle=False)
        return trainer.model.store().params.tobytes()

    assert trained(lambda: iter([(X, Y)]), None, total_steps=10) == trained(X, Y)


def test_plateaus_with_long_names_keep_apart() -> None:
    """What they keep is held by all of their content, not by the beginning of their text."""
    long = Constant(1.0) * Constant(1.0) * Constant(1.0)
    rates = [long * Plateau(0.3, patience=p, monitor="loss", factor=0.5) for p in (0, 100)]
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(0.0), groups={"*": {"weight_decay": rates[0]}})
    trainer.optimizer = hf.SGD(0.0 * rates[1])
    trainer.fit(X, Y, epochs=3)
    assert len(trainer.state.update.schedules) == 2


def test_plateau_without_validation_data_says_what_to_pass() -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.Adam(Plateau(0.1)))
    with pytest.raises(ArgumentError, match="no 'val_loss' in the history, only loss; pass validation_data to fit"):
        trainer.fit(X, Y)
    assert trainer.steps == 0, "seen before anything is trained"
    with pytest.raises(ArgumentError, match=r"no 'val_los' in the history.*Did you mean 'val_loss'"):
        hf.Trainer(trainer.model, "mse", hf.Adam(Plateau(0.1, monitor="val_los"))).fit(X, Y, validation_data=(X, Y))
    with pytest.raises(ArgumentError, match="no 'val_loss' in the history, only loss; pass validation_data to fit"):
        hf.Trainer(trainer.model, "mse", hf.Adam(Plateau(0.1))).fit(lambda: iter([(X, Y)]))


@pytest.mark.parametrize("optimizer, epochs", [(hf.SGD(0.1), 4), (hf.LBFGS(max_iter=2), 4)])
def test_a_penalty_by_a_schedule_that_spans_the_fit(optimizer: hf.Optimizer, epochs: int) -> None:
    """The History's penalty is that of the epoch's last step, and L-BFGS takes the strength of each step."""
    seen: list[float] = []

    def look(trainer: hf.Trainer, epoch: int, logs: dict[str, float]) -> None:
        seen.append(float((trainer.model.parameters()["0.weight"] ** 2).sum()))

    def fit(strength: Any) -> hf.Trainer:
        model = hf.Sequential(hf.Linear(1)).astype("float64")
        trainer = hf.Trainer(model, "mse", optimizer, regularizers={"*.weight": hf.L2(strength)}, seed=0)
        trainer.fit(X, Y, epochs=epochs, batch_size="full", callbacks=[look])
        return trainer

    history = fit(Polynomial(0.2)).history
    strengths = 0.2 * (1 - np.arange(epochs) / epochs)
    np.testing.assert_allclose(history["penalty"], strengths * seen, rtol=1e-12)
    alike = fit(lambda step: 0.2 * (1 - step / epochs)).history  # the same numbers by the trainer's step
    np.testing.assert_allclose(alike["loss"], history["loss"], rtol=1e-12)
    assert fit(0.2).history["loss"] != history["loss"]


def test_steps_that_never_come_and_milestones_out_of_order_are_errors() -> None:
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(Step(0.1, every=10)))
    with pytest.raises(ArgumentError, match="its first step, after 10, is never reached in 10 steps"):
        trainer.fit(X, Y, batch_size=4)
    assert len(trainer.fit(X, Y, batch_size=3)) == 1
    with pytest.raises(ArgumentError, match="milestones must be ascending"):
        MultiStep(0.1, milestones=[30, 20])
    MultiStep(0.1, milestones=[20, 20, 0.5])
