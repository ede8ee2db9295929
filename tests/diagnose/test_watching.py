"""Watch: warns of what is wrong, once, by name; says nothing of healthy fits, whose bits stay as they are."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.diagnose.catalogue import CAUSES
from hawfinch.errors import ArgumentError, HawfinchWarning

Array = np.ndarray
DOCS = Path(__file__).parents[2] / "docs"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(640, 8)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)
XV = RNG.normal(size=(200, 8)).astype(np.float32)
YV = (XV[:, 0] * XV[:, 1] > 0).astype(int)
NOISE = RNG.integers(0, 2, 640)
LEAKY = hf.LeakyReLU(0.2)


def net(*hidden: Any) -> hf.Sequential:
    return hf.Sequential(*(hidden or (hf.Linear(32), "relu")), hf.Linear(2))


def watched(
    model: hf.Module | None = None, optimizer: Any = None, *, epochs: int = 20, batch_size: int = 16, **options: Any
) -> tuple[hf.Watch, hf.History | None, list[str]]:
    """What Watch has found, the History, and the warnings' texts."""
    of_fit = {k: options.pop(k) for k in ("x", "y", "validation_data") if k in options}
    x, y = of_fit.pop("x", X), of_fit.pop("y", Y)
    trainer = hf.Trainer(model or net(), "softmax_cross_entropy", optimizer or hf.Adam(3e-3), **options)
    watch, history = hf.Watch(), None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            history = trainer.fit(x, y, epochs=epochs, batch_size=batch_size, callbacks=[watch], **of_fit)
        except hf.NonFiniteError:
            pass
    assert all(issubclass(w.category, HawfinchWarning) for w in said)
    assert len(said) == len(watch.found)
    return watch, history, [str(w.message) for w in said]


def zeros() -> hf.Sequential:
    return hf.Sequential(hf.Linear(16, init="zeros"), "relu", hf.Linear(2, init="zeros"))


def deep_sigmoids() -> hf.Sequential:
    return net(*[layer for _ in range(8) for layer in (hf.Linear(16), "sigmoid")])


def born_dead() -> hf.Sequential:
    model = net().build((8,))
    model.parameters()["0.bias"][...] = -100
    return model


def half_frozen() -> hf.Sequential:
    model = hf.Sequential(hf.Linear(8), "tanh", hf.Linear(2)).build((8,))
    model.parameters()["0.weight"][...] *= 1e-2
    return model.freeze("0.*", "2.weight")


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "rate down": (lambda: watched(optimizer=hf.Adam(1e-7)), "learning_rate_too_low"),
    "falls slowly": (lambda: watched(optimizer=hf.Adam(6e-6), y=(X[:, 0] > 0).astype(int)), "learning_rate_too_low"),
    "rate up": (
        lambda: watched(net(hf.Linear(32), hf.LeakyReLU(0.2)), hf.Adam(0.3), y=NOISE),
        "learning_rate_too_high",
    ),
    "not finite": (lambda: watched(optimizer=hf.SGD(1e30)), "learning_rate_too_high"),
    "sigmoids": (lambda: watched(deep_sigmoids(), hf.SGD(0.01)), "vanishing_gradient"),
    "dead": (lambda: watched(born_dead()), "dead_units"),
    "zeros": (lambda: watched(zeros()), "bad_initialisation"),
    "frozen": (lambda: watched(half_frozen()), "frozen"),
    "by heart": (
        lambda: watched(net(hf.Linear(128), "relu"), epochs=120, x=X[:60], y=NOISE[:60], validation_data=(XV, YV)),
        "overfitting",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_by_name_with_the_page_that_explains_it(name: str) -> None:
    make, cause = BROKEN[name]
    watch, _, said = make()
    assert watch.found[0].name == cause
    assert said[0].startswith(f"{cause}: ")
    assert CAUSES[cause].cure in said[0]
    page, _, anchor = said[0].rpartition("See docs/")[2].partition("#")
    assert f"\n## {anchor}\n" in (DOCS / page).read_text()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": net(hf.Linear(64), hf.BatchNorm(), "relu", hf.Dropout(0.2))},
        {"model": net(hf.Linear(32), "tanh"), "optimizer": hf.SGD(0.05, momentum=0.9)},
        {"optimizer": hf.AdamW(hf.schedules.Cosine(5e-3, warmup=0.1)), "epochs": 30},
        {"optimizer": hf.Muon(1e-2), "average": hf.EMA(0.99)},
    ],
    ids=["adam", "norm and dropout", "tanh and SGD", "schedule", "muon"],
)
def test_a_healthy_fit_is_left_alone(options: dict[str, Any]) -> None:
    watch, history, _ = watched(validation_data=(XV, YV), **options)
    assert watch.found == []
    assert history is not None
    assert history["loss"][-1] < 0.7 * history["loss"][0]


@pytest.mark.parametrize("rate", [3e-3, 1e-7])
def test_numbers_are_those_of_a_fit_without_it(rate: float) -> None:
    found = []
    for callbacks in ([], [hf.Watch()]):
        model = net(hf.Linear(16), "relu", hf.Dropout(0.3))
        trainer = hf.Trainer(model, "softmax_cross_entropy", hf.Adam(rate), seed=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            history = trainer.fit(X, Y, epochs=30, callbacks=callbacks)
        found.append((history.to_dict(), model.parameters()["0.weight"].tobytes()))
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore::hawfinch.errors.HawfinchWarning")
def test_a_loss_that_will_soon_not_be_finite_is_seen_before() -> None:

    def explode(trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        trainer.model.parameters()["0.weight"][...] *= 10.0

    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse", hf.SGD(1e-12))
    watch = hf.Watch()
    trainer.fit(np.ones((1600, 8)), np.ones((1600, 1)), epochs=12, batch_size=16, callbacks=[watch, explode])
    alarm = next(a for a in watch.found if a.name == "learning_rate_too_high")
    assert alarm.text.startswith("the loss is rising fast")
    assert 300 <= alarm.step < 1200


def test_each_fit_begins_anew_and_each_cause_is_said_once() -> None:
    watch = hf.Watch()
    for _ in range(2):
        trainer = hf.Trainer(net(), "softmax_cross_entropy", hf.Adam(1e-7))
        with pytest.warns(HawfinchWarning) as said:
            trainer.fit(X, Y, epochs=40, batch_size=16, callbacks=[watch])
        assert len(said) == 1
        assert len(watch.found) == 1


def test_of_chunks_only_losses_are_looked_at() -> None:
    trainer = hf.Trainer(net(), "softmax_cross_entropy", hf.Adam(1e-7))
    watch = hf.Watch()
    trainer.fit(lambda: [(X, Y)], epochs=20, batch_size=16, callbacks=[watch])
    assert watch.found == []


def test_rows_that_are_decoded_are_left_alone() -> None:
    trainer = hf.Trainer(net(), "softmax_cross_entropy", hf.Adam(1e-7))
    watch = hf.Watch()
    trainer.fit(hf.data.Decoded(list(range(640)), X.__getitem__), Y, epochs=5, batch_size=16, callbacks=[watch])
    assert watch.found == []


def test_several_inputs_and_outputs_are_looked_at() -> None:
    class Two(hf.Module):
        def __init__(self) -> None:
            self.a, self.b = hf.Linear(1), hf.Linear(1)

        def forward(self, x: Any, z: Any) -> dict[str, Any]:
            return {"sum": self.a(x + z), "difference": self.b(x - z)}

    trainer = hf.Trainer(Two(), {"sum": "mse", "difference": "mse"}, hf.Adam(1e-8))
    y = X[:, :1]
    watch = hf.Watch()
    with pytest.warns(HawfinchWarning, match="learning_rate_too_low"):
        trainer.fit((X, 2 * X), {"sum": y, "difference": y}, epochs=10, batch_size=16, callbacks=[watch])


def test_bad_input_is_told() -> None:
    with pytest.raises(ArgumentError, match="patience"):
        hf.Watch(patience=0)
    with pytest.raises(ArgumentError, match="Did you mean 'patience'"):
        hf.Watch(patiense=3)  # type: ignore[call-arg]
