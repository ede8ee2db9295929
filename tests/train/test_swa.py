"""SWA: the mean of the parameters from a point of the fit on, and running statistics that are made for it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import LABELS, X, assert_same_state, full_net, make, state

import hawfinch as hf
from hawfinch.errors import ArgumentError

FIT: dict[str, Any] = dict(epochs=4, batch_size=50)  # 5 steps an epoch, the last of 3 rows


class Record:
    """The parameters after each step."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        self.seen.append(trainer.model.store().params.astype(np.float64))


def normed(dtype: str = "float64") -> hf.Sequential:
    layers = (hf.BatchNorm(momentum=0.3), hf.Linear(6), hf.BatchNorm(), hf.Tanh(), hf.Linear(3))
    return hf.Sequential(*layers).astype(dtype).build((12,), seed=1)


@pytest.mark.parametrize(
    ("swa", "first", "every"),
    [(hf.SWA(0.5), 10, 1), (hf.SWA(13), 13, 1), (hf.SWA(0.6, every=3), 12, 3), (hf.SWA(0), 0, 1), (hf.SWA(19), 19, 1)],
)
def test_the_model_ends_as_the_mean_of_its_parameters(swa: hf.SWA, first: int, every: int) -> None:
    record = Record()
    raw = make(normed(), seed=3)
    averaged = make(normed(), seed=3, average=swa)
    for _ in range(2):  # the second fit averages anew, from the raw weights
        record.seen.clear()
        raw.fit(X, LABELS, callbacks=[record], **FIT)
        averaged.fit(X, LABELS, **FIT)
        mean = np.mean(record.seen[first::every], 0)
        np.testing.assert_allclose(averaged.model.store().params, mean, rtol=1e-12, atol=1e-14)
        assert averaged.slots["average"].tobytes() == raw.model.store().params.tobytes()


def test_with_accumulation_updates_are_counted() -> None:
    record, raw, averaged = Record(), make(normed(), accumulate=2), make(normed(), accumulate=2, average=hf.SWA(0.5))
    raw.fit(X, LABELS, callbacks=[record], **FIT)  # 3 updates an epoch, after steps 2, 4 and 5
    averaged.fit(X, LABELS, **FIT)
    mean = np.mean([record.seen[5 * epoch + step] for epoch in (2, 3) for step in (1, 3, 4)], 0)
    np.testing.assert_allclose(averaged.model.store().params, mean, rtol=1e-12, atol=1e-14)


def forward(p: dict[str, np.ndarray], x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and unbiased variance of each norm's inputs, in training."""
    found = []
    for i in (0, 2):
        if i == 2:
            x = x @ p["1.weight"] + p["1.bias"]
        found.append((x.mean(0), x.var(0, ddof=1)))
        x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * p[f"{i}.weight"] + p[f"{i}.bias"]
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_running_statistics_are_those_of_the_averaged_net(dtype: str) -> None:
    model = normed(dtype)
    trainer = make(model, average=hf.SWA(0.5))
    trainer.fit(X, LABELS, shuffle=False, **FIT)
    p = {k: v.astype(np.float64) for k, v in model.parameters().items()}
    batches = [X[i : i + 50].astype(np.float64) for i in range(0, len(X), 50)]
    weights = np.array([len(b) for b in batches]) / len(X)
    for i, layer in enumerate((0, 2)):
        for k, name in enumerate(("running_mean", "running_var")):
            expected = sum(w * forward(p, b)[i][k] for w, b in zip(weights, batches, strict=True))
            found = model.buffers()[f"{layer}.{name}"]
            np.testing.assert_allclose(found, expected, rtol=1e-11 if dtype == "float64" else 2e-5, atol=1e-6)
    np.testing.assert_allclose(model.buffers()["0.running_mean"], X.mean(0), atol=1e-6)
    raw = model.store().params.copy()
    trainer.fit(X, LABELS, **FIT)
    assert model.store().params.tobytes() != raw.tobytes(), "training goes on"
    assert {k for k, v in model.trainable().items()} == set(p), "nothing stays frozen"


def test_before_its_start_it_is_the_net_itself(tmp_path: Path) -> None:
    """Then its statistics are those of training too; validation sees the average from its start on."""
    scores: list[tuple[float, float]] = []

    def look(trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        raw = np.exp(trainer.model.predict(X))
        raw = -np.log(raw[np.arange(203), LABELS] / raw.sum(1))
        scores.append((logs["val_loss"], float(raw.mean())))

    trainer = make(full_net(), average=hf.SWA(11), seed=3)
    trainer.fit(X, LABELS, validation_data=(X, LABELS), callbacks=[look], **FIT)
    seen = [val == pytest.approx(raw, rel=1e-5) for val, raw in scores]
    assert seen == [True, True, False, False]
    plain = make(full_net(), seed=3)
    stopped = make(full_net(), average=hf.SWA(11), seed=3)

    def stop(trainer: Any, epoch: int, logs: Any) -> None:
        trainer.stop = epoch == 1

    for t in (plain, stopped):
        t.fit(X, LABELS, callbacks=[stop], **FIT)
    assert stopped.model.store().params.tobytes() == plain.model.store().params.tobytes()
    assert stopped.model.store().buffers.tobytes() == plain.model.store().buffers.tobytes()


def test_resumed_in_the_middle_of_the_average_it_has_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"

    def fit(trainer: Any, *callbacks: Any, **more: Any) -> None:
        trainer.fit(X, LABELS, callbacks=[hf.Checkpoint(path, every_steps=1), *callbacks], **FIT, **more)

    class Fail:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == 17:
                raise KeyboardInterrupt

    def fresh() -> Any:
        return make(full_net(), average=hf.SWA(0.5, every=2), seed=3)

    plain, resumed, broken = fresh(), fresh(), fresh()
    plain.fit(X, LABELS, **FIT)
    with pytest.raises(KeyboardInterrupt):
        fit(broken, Fail())
    assert np.isfinite(broken.model.predict(X)).all()
    fit(resumed, resume=path)
    assert_same_state(state(plain), state(resumed))


def test_in_fit_many_and_from_chunks() -> None:
    def net() -> Any:
        return full_net(), dict(loss="softmax_cross_entropy", average=hf.SWA(5), seed=3)

    many, (model, options) = [net(), net()], net()
    hf.fit_many(many, X, LABELS, **FIT)
    trainer = hf.Trainer(model, **options)
    trainer.fit(X, LABELS, **FIT)
    chunked = hf.Trainer(full_net(), **options)
    chunked.fit(lambda: iter([(X, LABELS)]), **FIT)
    for other in (many[0][0], many[1][0], chunked.model):
        assert other.store().params.tobytes() == model.store().params.tobytes()
        assert other.store().buffers.tobytes() == model.store().buffers.tobytes()
    used_up = hf.Trainer(full_net(), **options)
    used_up.fit(iter([(X, LABELS), (X, LABELS)]), batch_size=50)  # can't be gone over again
    assert np.isfinite(used_up.model.predict(X)).all()


def test_the_best_average_gets_its_own_statistics() -> None:
    trainer = make(normed(), average=hf.SWA(3), optimizer=hf.Adam(0.1))
    early = hf.EarlyStopping(patience=2)
    history = trainer.fit(X[:100], LABELS[:100], validation_data=(X[100:], LABELS[100:]), callbacks=[early], **FIT)
    assert history.best_epoch is not None and np.isfinite(trainer.evaluate(X, LABELS)["loss"])


@pytest.mark.parametrize(
    ("swa", "words"),
    [
        (hf.SWA(20), r"SWA\(start=20.*starts after 20 updates, but the fit has 20"),
        (hf.SWA(500), r"starts after 500 updates"),
    ],
)
def test_a_start_that_is_not_reached_is_an_error_that_names_both(swa: hf.SWA, words: str) -> None:
    trainer = make(full_net(), average=swa)
    with pytest.raises(ArgumentError, match=words):
        trainer.fit(X, LABELS, **FIT)
    assert trainer.steps == 0


def test_a_part_of_an_unknown_length_is_an_error() -> None:
    trainer = make(full_net(), average=hf.SWA(0.5))
    for call in (lambda: trainer.step(X, LABELS), lambda: trainer.fit(lambda: iter([(X, LABELS)]))):
        with pytest.raises(ArgumentError, match=r"SWA.*needs to know how long the fit is"):
            call()
    trainer = make(full_net(), average=hf.SWA(0.5), total_steps=2)
    trainer.step(X, LABELS)
    for bad in (lambda: hf.SWA(-1), lambda: hf.SWA(1.5), lambda: hf.SWA(every=0)):
        with pytest.raises(ArgumentError, match="SWA"):
            bad()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": hf.SGD(0.1, momentum=0.9, clip_norm=0.5)},
        {"accumulate": 2},
        {"constraints": {"0.weight": hf.MaxNorm(0.5)}},
        {"regularizers": {"0.weight": hf.L1(0.01)}},
        {"groups": {"2.*": {"lr": 0.1}}},
    ],
)
def test_an_average_follows_whatever_moves_the_parameters(options: dict[str, Any]) -> None:
    """Large layers, whose gradient the sweep takes from its product; odd ones; and a frozen one, that nothing moves."""

    def trained(**more: Any) -> Any:
        model = hf.Sequential(hf.Linear(300), hf.Tanh(), hf.Linear(301), hf.Tanh(), hf.Linear(3)).build((12,), seed=1)
        model.freeze("2.bias")
        return hf.Trainer(model, "softmax_cross_entropy", **({"optimizer": hf.Adam(0.01)} | options | more))

    expected: list[np.ndarray] = []

    class Follow:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            p = trainer.model.store().params.astype(np.float64)
            if trainer.steps % 5 % 2 == 0 or "accumulate" not in options:  # 5 steps an epoch; the last updates too
                expected[:] = [0.8 * expected[0] + 0.2 * p if expected else p]

    raw, averaged = trained(), trained(average=hf.EMA(0.8))
    raw.fit(X, LABELS, callbacks=[Follow()], **FIT)
    averaged.fit(X, LABELS, **FIT)
    np.testing.assert_allclose(averaged.model.store().params, expected[0], rtol=1e-5, atol=1e-7)
    assert averaged.slots["average"].tobytes() == raw.model.store().params.tobytes()
    bias = averaged.model.parameters()["2.bias"]
    assert bias.tobytes() == raw.model.parameters()["2.bias"].tobytes()


def test_an_every_that_leaves_one_update_is_an_error() -> None:
    trainer = hf.Trainer(net_of_one(), "mse", average=hf.SWA(start=2, every=5))
    x = np.ones((14, 2))
    with pytest.raises(ArgumentError, match="would take the first of the fit's last 5 updates alone"):
        trainer.fit(x, x[:, :1], batch_size=2)
    trainer.fit(x, x[:, :1], batch_size=2, epochs=2)


def net_of_one() -> hf.Sequential:
    return hf.Sequential(hf.Linear(1))
