"""ScheduleFreeAdamW against NumPy and the reference implementation's numbers, and which weights are seen when."""

from typing import Any

import numpy as np
import pytest
from optim_cases import AVERAGED

import hawfinch as hf
from hawfinch.errors import ArgumentError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(30, 4))
Y = RNG.normal(size=(30, 3))
START = np.linspace(-1, 1, 12).reshape(4, 3)
# tests/fixtures/schedule_free.py: the weight, evaluated after 6 steps
REFERENCE: list[tuple[hf.Optimizer, list[float]]] = [
    (
        hf.ScheduleFreeAdamW(0.05, weight_decay=0.1, warmup_steps=3),
        [
            -0.84143629419,
            -0.661728296212,
            -0.672465976404,
            -0.301680726232,
            -0.124022970799,
            -0.124619800733,
            -0.030877789305,
            0.261172821729,
            0.295764879157,
            0.48089220054,
            0.651732136413,
            0.833021728849,
        ],
    ),
    (
        hf.ScheduleFreeAdamW(0.1, betas=(0.8, 0.9), r=1.0, weight_lr_power=0.0),
        [
            -0.673603955865,
            -0.485017755819,
            -0.57791588745,
            -0.108220698506,
            0.059841117063,
            -0.165480649403,
            -0.073659928432,
            0.244798697096,
            0.064163321362,
            0.298034141232,
            0.413989464913,
            0.602655287197,
        ],
    ),
]


def linear(dtype: str = "float64", bias: bool = True) -> hf.Sequential:
    return hf.Sequential(hf.Linear(3, bias=bias)).astype(dtype).build((4,), seed=1)


def gradients(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    d = 2 * (X @ p["0.weight"] + p["0.bias"] - Y) / Y.size
    return {"0.weight": X.T @ d, "0.bias": d.sum(0)}


@pytest.mark.parametrize(("optimizer", "want"), REFERENCE, ids=["decay", "r"])
def test_the_references_numbers(optimizer: hf.Optimizer, want: list[float]) -> None:
    model = linear(bias=False)
    model.parameters()["0.weight"][...] = START
    hf.Trainer(model, "mse", optimizer).fit(X, Y, epochs=6, batch_size="full")
    np.testing.assert_allclose(model.parameters()["0.weight"].ravel(), want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", AVERAGED)
def test_formula(name: str, accumulate: int, decay: float) -> None:
    """Trained at y, validated and left at x; a second fit goes on from y."""
    case, model = AVERAGED[name], linear()
    p = {k: v.copy() for k, v in model.parameters().items()}
    trainer = hf.Trainer(model, "mse", case.optimizer(weight_decay=decay), accumulate=accumulate)
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    t = 0
    for epochs in (4, 5):
        how: dict[str, Any] = dict(batch_size=30 // accumulate, shuffle=False, validation_data=(X, Y))
        history = trainer.fit(X, Y, epochs=epochs, **how)
        for _ in range(epochs):
            t += 1
            g = gradients(p)
            p = {k: case.update(v, g[k], slots[k], t, weight_decay=decay, **case.options) for k, v in p.items()}
            x = {k: slots[k]["x"] for k in p}
            seen = ((X @ x["0.weight"] + x["0.bias"] - Y) ** 2).mean()
            assert history["val_loss"][t - 1] == pytest.approx(seen, rel=1e-9)
        for k, v in model.parameters().items():
            np.testing.assert_allclose(v, x[k], rtol=1e-9, atol=1e-12)
        assert trainer.evaluate(X, Y)["loss"] == pytest.approx(history["val_loss"][-1], rel=1e-12)


def test_settings_of_groups() -> None:
    case, model = AVERAGED["schedule free"], linear()
    p = {k: v.copy() for k, v in model.parameters().items()}
    own = {"0.weight": {"lr": 0.02}, "0.bias": {"lr": 0.05, "betas": (0.5, 0.9), "warmup_steps": 4}}
    trainer = hf.Trainer(model, "mse", case.optimizer(), groups={k: {**v} for k, v in own.items()})
    trainer.fit(X, Y, epochs=6, batch_size=30, shuffle=False)
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    for t in range(1, 7):
        g = gradients(p)
        p = {k: case.update(v, g[k], slots[k], t, **own[k]) for k, v in p.items()}  # type: ignore[arg-type]
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, slots[k]["x"], rtol=1e-9, atol=1e-12)


def test_same_bits_for_threads_and_after_a_resume(tmp_path: Any) -> None:
    def run(threads: int, cut: bool) -> bytes:
        def make() -> hf.Trainer:
            model = hf.Sequential(hf.Linear(200), hf.Tanh(), hf.Linear(3)).build((4,), seed=1)
            return hf.Trainer(model, "mse", hf.ScheduleFreeAdamW(0.01, warmup_steps=7, r=0.5), threads=threads)

        trainer = make()
        if cut:
            trainer.fit(X, Y, epochs=2, batch_size=8)
            trainer.save_state(tmp_path / "state")
            trainer = make()
            trainer.set_state(tmp_path / "state")
        trainer.fit(X, Y, epochs=1 if cut else 3, batch_size=8)
        return trainer.model.store().params.tobytes() + b"".join(s.tobytes() for s in trainer.slots.values())

    assert run(1, False) == run(3, False) == run(2, True)


def test_the_best_epoch_is_of_the_average() -> None:
    trainer = hf.Trainer(linear(), "mse", hf.ScheduleFreeAdamW(0.5))
    stop = hf.EarlyStopping("val_loss", patience=100)
    history = trainer.fit(X, Y, epochs=12, batch_size=8, validation_data=(X, -Y), callbacks=[stop])
    assert trainer.evaluate(X, -Y, batch_size=8)["loss"] == min(history["val_loss"]) < history["val_loss"][-1]


def test_who_writes_to_the_model_begins_a_new_average() -> None:
    trainer = hf.Trainer(linear(), "mse", hf.ScheduleFreeAdamW(0.1))
    trainer.fit(X, Y, epochs=3)
    trainer.model.parameters()["0.weight"][...] = 0.0
    trainer.set(lr=0.0)
    trainer.fit(X, Y, epochs=2)
    assert not trainer.model.parameters()["0.weight"].any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hf.ScheduleFreeAdamW(hf.schedules.Constant(0.1)), "not a schedule"),
        (lambda: hf.ScheduleFreeAdamW(betas=(0.0, 0.9)), "beta1 must be > 0"),
        (lambda: hf.ScheduleFreeAdamW(warmup_steps=1.5), "whole"),
        (lambda: hf.Trainer(linear(), "mse", hf.ScheduleFreeAdamW(), average=hf.EMA()), "averages by itself"),
        (lambda: hf.Trainer(linear(), "mse", hf.ScheduleFreeAdamW()).set(lr=lambda step: 0.1), "not a schedule"),
    ],
)
def test_bad_settings(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()
