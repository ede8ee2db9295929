"""A fit that is gone on with has the bits of one that was never stopped; states in memory, in files, in pickles."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import LABELS, X, Y, assert_same_state, full_net, make, net, state

import hawfinch as hf
from hawfinch.errors import ArgumentError, FormatError
from hawfinch.files.safetensors import load_file, save_file


class Stop(Exception):
    pass


class SaveAndDie:
    """Saves the state after some step, and stops the fit as a crash would."""

    def __init__(self, step: int, path: Path, count: int = 0):
        self.step, self.path, self.count = step, path, count

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        self.count += 1
        if step == self.step:
            trainer.save_state(self.path)
            raise Stop

    def get_state(self) -> dict[str, int]:
        return {"count": self.count}

    def set_state(self, values: dict[str, int]) -> None:
        self.count = values["count"]


FIT: dict[str, Any] = dict(epochs=4, batch_size=50, validation_data=(X[:40], LABELS[:40]))


def fresh(**more: Any) -> hf.Trainer:
    options: dict[str, Any] = dict(metrics=["accuracy"], seed=3)
    return make(full_net(), **(options | more))


@pytest.mark.parametrize("step", [0, 3, 4, 7, 18, 19])
def test_a_resumed_fit_has_the_bits_of_one_that_never_stopped(tmp_path: Path, step: int) -> None:
    """Stopped after every kind of step: the first, the last of an epoch (5 steps), in the middle, the very last."""
    plain = fresh()
    plain.fit(X, LABELS, **FIT)
    path = tmp_path / "run.state"
    with pytest.raises(Stop):
        fresh().fit(X, LABELS, **FIT, callbacks=[SaveAndDie(step, path)])
    resumed, watch = fresh(), SaveAndDie(-1, path)
    history = resumed.fit(X, LABELS, **FIT, callbacks=[watch], resume=path)
    assert_same_state(state(plain), state(resumed))
    assert history is resumed.history and watch.count == plain.steps == 20
    resumed.fit(X, LABELS)
    plain.fit(X, LABELS)
    assert_same_state(state(plain), state(resumed))


def test_resumed_from_memory_at_an_epochs_end() -> None:
    states: list[Any] = []

    def keep(trainer: Any, epoch: int, logs: Any) -> None:
        states.append(trainer.get_state())

    plain = fresh()
    plain.fit(X, LABELS, **FIT, callbacks=[keep])
    for kept in (*states, *(pickle.loads(pickle.dumps(s)) for s in states)):
        resumed = fresh()
        resumed.fit(X, LABELS, **FIT, resume=kept)
        assert_same_state(state(plain), state(resumed))
    # a used trainer takes it too, and goes back
    plain.fit(X, LABELS, **FIT, resume=states[0])
    assert_same_state(state(plain), state(resumed))


def test_resumed_in_the_middle_of_chunks(tmp_path: Path) -> None:
    def chunks() -> Any:
        return ((X[i : i + 60], LABELS[i : i + 60]) for i in range(0, 203, 60))

    how: dict[str, Any] = dict(epochs=2, batch_size=25)
    plain = fresh()
    plain.fit(chunks, **how)
    for step in (1, 2, 3, 9, 10, 13):
        with pytest.raises(Stop):
            fresh().fit(chunks, **how, callbacks=[SaveAndDie(step, tmp_path / "s")])
        resumed = fresh()
        resumed.fit(chunks, **how, callbacks=[SaveAndDie(-1, tmp_path / "s")], resume=tmp_path / "s")
        assert_same_state(state(plain), state(resumed))


def test_a_stop_by_ones_own_rule_is_gone_on_with() -> None:
    """A fit that failed goes on from the epoch's middle when asked to, and begins the epoch anew when not."""
    kept: list[Any] = []

    class Fail:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == 7:
                kept.append(trainer.get_state())
                raise Stop

    trainer = fresh()
    with pytest.raises(Stop):
        trainer.fit(X, LABELS, **FIT, callbacks=[Fail()])
    assert (kept[0].step, kept[0].epoch, kept[0].position) == (8, 1, 3)
    trainer.fit(X, LABELS, batch_size=50)
    assert trainer.epochs == 2 and trainer.steps == 13


@pytest.mark.parametrize(
    ("key", "trainer", "fit"),
    [
        ("model", lambda: make(net()), {}),
        ("model", lambda: make(full_net(25)), {}),
        ("loss", lambda: fresh(loss=hf.SoftmaxCrossEntropy(label_smoothing=0.1)), {}),
        ("loss", lambda: fresh(metrics=[]), {}),
        ("optimizer", lambda: fresh(optimizer=hf.Adam(lr=0.02)), {}),
        ("optimizer", lambda: fresh(optimizer=hf.SGD(lr=0.01)), {}),
        ("seed", lambda: fresh(seed=4), {}),
        ("epochs", fresh, {"epochs": 5}),
        ("batch_size", fresh, {"batch_size": 49}),
        ("shuffle", fresh, {"shuffle": False}),
        ("data", fresh, {"x": X + 1}),
        ("data", fresh, {"sample_weight": np.ones(len(X))}),
        ("data", fresh, {"y": (LABELS + 1) % 3}),
        ("validation_data", fresh, {"validation_data": None}),
    ],
)
def test_what_differs_is_named(key: str, trainer: Any, fit: dict[str, Any]) -> None:
    kept: list[Any] = []
    fresh().fit(X, LABELS, **FIT, callbacks=[lambda t, epoch, logs: kept.append(t.get_state())])
    other = trainer()
    call = {"x": X, "y": LABELS, **FIT, **fit}
    other.model.build((12,), seed=1)
    before = {k: p.copy() for k, p in other.model.parameters().items()}
    with pytest.raises(ArgumentError, match=f"resume: {key} is not that"):
        other.fit(**call, resume=kept[0])
    assert all(np.array_equal(p, before[k]) for k, p in other.model.parameters().items()) and other.steps == 0


def test_other_callbacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        fresh().fit(X, LABELS, **FIT, callbacks=[SaveAndDie(3, tmp_path / "s")])
    with pytest.raises(ArgumentError, match="callbacks"):
        fresh().fit(X, LABELS, **FIT, resume=tmp_path / "s")
    with pytest.raises(ArgumentError, match="expected a path or a TrainState"):
        fresh().fit(X, LABELS, **FIT, resume=3)  # type: ignore[arg-type]


def test_states_between_steps() -> None:
    a, b = fresh(), fresh()
    for trainer in (a, b):
        trainer.model.build((12,), seed=3)
    for i in range(3):
        a.step(X[i::3], LABELS[i::3])
    b.set_state(a.get_state())
    assert_same_state(state(a), state(b))
    assert a.step(X, LABELS) == b.step(X, LABELS)
    b.fit(X, LABELS, epochs=2, resume=a.get_state())  # taken outside of a fit: a new one
    a.fit(X, LABELS, epochs=2)
    assert_same_state(state(a), state(b))
    assert "step=" in repr(a.get_state())


def test_copies_and_pickles_of_trainers_go_on_alike() -> None:
    trainer = fresh()
    trainer.fit(X, LABELS, epochs=2)
    twins = [copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))]
    for twin in twins:
        assert_same_state(state(trainer), state(twin))
    trainer.fit(X, LABELS, epochs=2)
    for twin in twins:
        twin.fit(X, LABELS, epochs=2)
        assert_same_state(state(trainer), state(twin))


def test_a_callback_that_does_not_take_its_state_is_named(tmp_path: Path) -> None:
    trainer = make(net(out=2), "mse")
    callbacks: list[Any] = [hf.Checkpoint(tmp_path / "run.ckpt", best="loss")]
    trainer.fit(X, Y, callbacks=callbacks)
    arrays, metadata = load_file(tmp_path / "run.ckpt")
    rest = json.loads(metadata["hawfinch.train_state"]) | {"callbacks": {"Checkpoint": "x"}}
    save_file(tmp_path / "run.ckpt", arrays, {"hawfinch.train_state": json.dumps(rest)})
    with pytest.raises(ArgumentError, match="Checkpoint does not take the state"):
        make(net(out=2), "mse").fit(X, Y, callbacks=callbacks, resume=tmp_path / "run.ckpt")


def test_damaged_files(tmp_path: Path) -> None:
    trainer = make(net(out=2), "mse")
    trainer.fit(X, Y)
    path = tmp_path / "run.state"
    trainer.save_state(path)
    arrays, metadata = load_file(path)
    rest = json.loads(metadata["hawfinch.train_state"])
    trainer.model.save(tmp_path / "model")
    with pytest.raises(FormatError, match="no saved training"):
        trainer.set_state(tmp_path / "model")
    wrong: list[dict[str, Any]] = [{**rest, "version": 99}, {**rest, "history": 3}, {**rest, "step": -1}]
    wrong += [{**rest, "fit": [1]}, {**rest, "step": "a"}, {k: v for k, v in rest.items() if k != "rule"}]
    wrong += [{**rest, "history": {"epochs": 1, "values": {"loss": ["a"]}}}, {**rest, "settings": 3}]
    wrong += [{**rest, "settings": {**rest["settings"], "loss": 3}}, {**rest, "layout": {"a": ["parameters", 0]}}]
    wrong += [{**rest, "layout": {"a": [where, n, [2]]}} for where, n in (("b", 0), ("parameters", 9**9), (3, -1))]
    for content in (json.dumps(w) for w in wrong):
        save_file(path, arrays, {"hawfinch.train_state": content})
        with pytest.raises(FormatError):
            trainer.set_state(path)
    for content in ("", "[]", "{", "[" * 5000):
        save_file(path, arrays, {"hawfinch.train_state": content})
        with pytest.raises(FormatError):
            trainer.set_state(path)
    for name in arrays:
        some = {k: a for k, a in arrays.items() if k != name}
        save_file(path, some, metadata)
        with pytest.raises((FormatError, ArgumentError)):
            trainer.set_state(path)
        save_file(path, some | {name: arrays[name][1:]}, metadata)
        if arrays[name].size:
            with pytest.raises(ArgumentError, match=name):
                trainer.set_state(path)
    save_file(path, arrays, metadata)
    trainer.set_state(path)
