"""L-BFGS: PyTorch's numbers, closed forms, threads, resume, what it refuses."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, NonFiniteError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(30, 4))
Y = RNG.normal(size=(30, 3))
START = np.linspace(-1, 1, 12).reshape(4, 3)
LABELS = RNG.integers(0, 3, 30)
# tests/fixtures/torch_lbfgs.py
WITHOUT_SEARCH = [
    -1.048747684365,
    -0.236351932676,
    -0.835199638184,
    0.033497685576,
    0.055165093106,
    -0.73410378356,
    -0.495165886187,
    0.196817985943,
    -0.909748078021,
    0.310622759733,
    -0.248655878265,
    -0.027830482509,
]
LEAST = [
    0.2262848808,
    -0.3331648815,
    0.1068800007,
    0.1679276112,
    0.3008325418,
    -0.468760153,
    0.2799414089,
    0.0579829972,
    -0.3379244061,
    -0.0064321802,
    0.1256543312,
    -0.119222151,
]


def linear(bias: bool = True) -> hf.Sequential:
    return hf.Sequential(hf.Linear(3, bias=bias)).astype("float64").build((4,), seed=1)


def deep() -> hf.Sequential:
    return hf.Sequential(hf.Linear(20), hf.Tanh(), hf.Linear(3)).build((4,), seed=1)


def test_pytorchs_numbers_without_a_search() -> None:
    model = hf.Sequential(hf.Linear(3, bias=False), hf.Tanh()).astype("float64").build((4,))
    model.parameters()["0.weight"][...] = START
    trainer = hf.Trainer(model, "mse", hf.LBFGS(0.3, max_iter=3, history_size=2, line_search=None))
    trainer.fit(X, Y, epochs=3, batch_size="full")
    np.testing.assert_allclose(model.parameters()["0.weight"].ravel(), WITHOUT_SEARCH, rtol=0, atol=1e-10)


def test_the_minimum_of_a_softmax_regression() -> None:
    model = linear(bias=False)
    trainer = hf.Trainer(
        model,
        "softmax_cross_entropy",
        hf.LBFGS(max_iter=100, tolerance_grad=1e-10, tolerance_change=0.0),
        regularizers={"*": hf.L2(0.01)},
    )
    trainer.fit(X, LABELS, batch_size="full")
    np.testing.assert_allclose(model.parameters()["0.weight"].ravel(), LEAST, rtol=0, atol=1e-6)
    before = model.store().params.copy()
    trainer.fit(X, LABELS, batch_size="full")
    np.testing.assert_allclose(model.store().params, before, rtol=0, atol=1e-7)


def test_least_squares() -> None:
    """The closed form, weighted, and the history's loss is that before the step."""
    model, weight = linear(), np.linspace(0.1, 2.0, 30)
    start = hf.Trainer(model, "mse").evaluate(X, Y, sample_weight=weight)["loss"]
    trainer = hf.Trainer(
        model, "mse", hf.LBFGS(max_iter=100, tolerance_grad=1e-10, tolerance_change=0.0), metrics=["mae"]
    )
    history = trainer.fit(X, Y, epochs=2, batch_size="full", sample_weight=weight, validation_data=(X, Y))
    design, root = np.hstack([X, np.ones((30, 1))]), np.sqrt(weight)[:, None]
    want = np.linalg.lstsq(root * design, root * Y, rcond=None)[0]
    np.testing.assert_allclose(model.parameters()["0.weight"], want[:-1], atol=1e-6)
    np.testing.assert_allclose(model.parameters()["0.bias"], want[-1], atol=1e-6)
    assert history["loss"][0] == pytest.approx(start, rel=1e-12) and trainer.steps == 2
    assert history["loss"][1] < history["loss"][0] and history["mae"][1] < history["mae"][0]


def test_it_finds_more_than_adam_in_as_many_passes() -> None:
    losses = []
    for optimizer, epochs in ((hf.LBFGS(history_size=10), 20), (hf.Adam(0.01), 500)):
        trainer = hf.Trainer(deep(), "mse", optimizer)
        trainer.fit(X, Y, epochs=epochs, batch_size="full")
        losses.append(trainer.evaluate(X, Y)["loss"])
    assert losses[0] < 0.5 * losses[1]


def test_same_bits_for_threads_and_after_a_resume(tmp_path: Any) -> None:
    results = set()
    for threads, cut in ((1, False), (3, False), (2, True)):
        trainer = hf.Trainer(deep(), "mse", hf.LBFGS(max_iter=4, history_size=5), threads=threads)
        if cut:
            trainer.fit(X, Y, epochs=2, batch_size="full")
            trainer.save_state(tmp_path / "state")
            trainer = hf.Trainer(deep(), "mse", hf.LBFGS(max_iter=4, history_size=5), threads=threads)
            trainer.set_state(tmp_path / "state")
        trainer.fit(X, Y, epochs=2 if cut else 4, batch_size="full")
        results.add(trainer.model.store().params.tobytes() + b"".join(s.tobytes() for s in trainer.slots.values()))
    assert len(results) == 1


def test_step_frozen_parameters_and_callbacks() -> None:
    model, seen = deep(), []

    class Look:
        def on_step_end(self, trainer: hf.Trainer, step: int, loss: float) -> None:
            seen.append(step)

    trainer = hf.Trainer(model, "mse", hf.LBFGS(max_iter=3))
    first = trainer.evaluate(X, Y)["loss"]
    assert trainer.step(X, Y) == pytest.approx(first, rel=1e-6)
    assert [trainer.step(X, Y) for _ in range(3)][-1] < first and trainer.steps == 4
    model.freeze("0.*")
    before = model.parameters()["0.weight"].copy()
    trainer.fit(X, Y, epochs=2, batch_size="full", callbacks=[Look()])
    assert np.array_equal(before, model.parameters()["0.weight"]) and seen == [4, 5]


def test_a_step_too_far_is_halved() -> None:
    """exp overflows at the first try."""
    model = hf.Sequential(hf.Linear(1, bias=False)).astype("float64").build((1,))
    model.parameters()["0.weight"][...] = 0.0
    loss = lambda p, t: hf.ops.sum(hf.ops.exp(p) - t * p, 1)  # noqa: E731
    trainer = hf.Trainer(model, loss, hf.LBFGS(1e4))
    trainer.fit(np.ones((2, 1)), np.full((2, 1), 3.0), epochs=3, batch_size="full")
    assert float(model.parameters()["0.weight"][0, 0]) == pytest.approx(np.log(3.0), abs=1e-6)
    model.parameters()["0.weight"][...] = 1e4
    with pytest.raises(NonFiniteError):
        trainer.fit(np.ones((2, 1)), np.full((2, 1), 3.0), batch_size="full")
    assert model.parameters()["0.weight"][0, 0] == 1e4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"groups": {"*": dict(lr=0.1)}}, "groups"),
        ({"constraints": {"*": hf.MaxNorm(1.0)}}, "constraints"),
        ({"average": hf.EMA()}, "average"),
        ({"accumulate": 2}, "accumulate"),
        ({"regularizers": {"*": hf.ElasticNet(0.1)}}, "L1"),
    ],
)
def test_what_makes_no_sense_of_a_search(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=f"LBFGS.*leave out .*{words}"):
        hf.Trainer(linear(), "mse", hf.LBFGS(), **options)


def test_bad_settings() -> None:
    trainer = hf.Trainer(linear(), "mse", hf.LBFGS())
    with pytest.raises(ArgumentError, match=r"batch_size='full'\), got batch_size=32"):
        trainer.fit(X, Y)
    with pytest.raises(ArgumentError, match="got chunks"):
        trainer.fit([(X, Y)].__iter__, batch_size="full")
    for make in (
        lambda: hf.LBFGS(hf.schedules.Constant(0.1)),
        lambda: hf.LBFGS(max_iter=0),
        lambda: hf.LBFGS(history_size=1.5),  # type: ignore[arg-type]
        lambda: hf.LBFGS(line_search="wolfe"),
        lambda: hf.LBFGS().replace(clip_norm=1.0),
    ):
        with pytest.raises(ArgumentError, match="LBFGS"):
            make()
