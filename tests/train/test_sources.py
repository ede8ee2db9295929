"""Where the rows of a fit come from: chunks that are read ahead, rows that are decoded."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import LABELS, RNG, X, Y, assert_same_state, full_net, make, state, threads_left

import hawfinch as hf
from hawfinch.errors import ArgumentError, BusyError, DecodeError, LabelError, NonFiniteError, ShapeError
from hawfinch.train.sources import ReadAhead

W = RNG.uniform(size=len(X))


class Stop(Exception):
    pass


def decoded(x: np.ndarray = X, memory: int = 4096, **more: Any) -> Any:
    """Four chunks of the rows at least."""
    return hf.data.Decoded([row.tobytes() for row in x], lambda b: np.frombuffer(b, x.dtype), memory=memory, **more)


def chunks() -> Iterator[Any]:
    for i in range(0, len(X), 50):
        yield X[i : i + 50], LABELS[i : i + 50]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert threads_left() == []


# ---- reading ahead ----


def test_the_bits_are_those_of_chunks_made_when_they_are_needed() -> None:
    one, other = make(full_net()), make(full_net())
    one.fit(chunks, epochs=3, batch_size=16)
    other.fit(chunks, epochs=3, batch_size=16, prefetch=False)
    assert_same_state(state(one), state(other))


@pytest.mark.parametrize("prefetch", [True, False])
def test_one_chunk_is_made_ahead_and_no_more(prefetch: bool) -> None:
    made: list[int] = []

    def five() -> Iterator[Any]:
        for i in range(5):
            made.append(i)
            yield X[:32], LABELS[:32]

    class Look:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            expected = min(step + 1 + prefetch, 5)
            wait_for(lambda: len(made) >= expected)
            time.sleep(0.005)
            assert len(made) == expected

    make().fit(five, batch_size=32, callbacks=[Look()], prefetch=prefetch)
    assert len(made) == 5


def test_without_prefetch_the_iterable_runs_in_the_callers_thread_and_sees_the_model() -> None:
    trainer = make()
    trainer.step(X, LABELS)
    seen: list[Any] = []

    def look() -> Iterator[Any]:
        for _ in range(3):
            seen.append((threading.current_thread(), trainer.steps, trainer.model.predict(X[:1])[0, 0]))
            yield X[:32], LABELS[:32]

    trainer.fit(look, batch_size=32, prefetch=False)
    assert [s[:2] for s in seen] == [(threading.main_thread(), i) for i in (1, 2, 3)]
    assert len({s[2] for s in seen}) == 3


def test_the_callers_floating_point_settings_hold_in_the_thread() -> None:
    def divides() -> Iterator[Any]:
        np.float32(1) / np.float32(0)
        yield X, LABELS

    with np.errstate(divide="ignore"):
        make().fit(divides)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        make().fit(divides)


def test_what_the_iterable_raises_is_raised_with_its_place() -> None:
    def broken() -> Iterator[Any]:
        yield X, LABELS
        raise Stop("in the iterable")

    trainer = make()
    with pytest.raises(Stop, match="in the iterable") as caught:
        trainer.fit(broken, batch_size=50)
    assert "broken" in [entry.name for entry in caught.traceback]
    assert trainer.steps == 5
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    trainer.fit(chunks)


def test_an_early_end_closes_the_generator() -> None:
    closed: list[bool] = []

    def endless() -> Iterator[Any]:
        try:
            while True:
                yield X, LABELS
        finally:
            closed.append(True)

    class End:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            raise Stop

    with pytest.raises(Stop):
        make().fit(endless, callbacks=[End()])
    assert closed == [True] and threads_left() == []
    with pytest.raises(NonFiniteError):
        make(optimizer=hf.SGD(1e38)).fit(lambda: ((X * 1e30, LABELS) for _ in range(9)))
    with pytest.raises(ShapeError, match="chunk 1: x"):
        make().fit(lambda: ((X[:, : 12 - i], LABELS) for i in range(9)))


def test_ctrl_c_does_not_wait_for_a_slow_chunk() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow() -> Iterator[Any]:
        yield X, LABELS
        reached.set()
        go_on.wait(60)
        yield X, LABELS

    class Interrupt:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == 3 and reached.wait(60):
                os.kill(os.getpid(), signal.SIGINT)

    trainer = make()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(slow, batch_size=50, callbacks=[Interrupt()])
    assert threads_left() == ["hawfinch-read"]  # in the middle of its chunk
    go_on.set()
    wait_for(lambda: not threads_left())
    trainer.fit(chunks)


def test_a_reader_that_is_dropped_ends_its_thread() -> None:
    """Where Ctrl-C comes between its beginning and the block that it is for, nobody ends it."""
    read = ReadAhead(iter(range(5)))
    read.__enter__()
    assert next(read) == 0 and threads_left()
    del read
    wait_for(lambda: not threads_left())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking while there are threads
def test_a_forked_child_is_told_and_the_parent_goes_on() -> None:
    statuses: list[int] = []

    class Fork:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == 2:
                if (child := os.fork()) == 0:
                    self.in_child = True
                else:
                    statuses.append(os.waitpid(child, 0)[1])

    trainer, fork = make(threads=1), Fork()
    try:
        trainer.fit(chunks, batch_size=25, callbacks=[fork])
    except BusyError:
        os._exit(0 if hasattr(fork, "in_child") else 1)
    except BaseException:
        os._exit(2)
    assert not hasattr(fork, "in_child") and statuses == [0] and trainer.steps == 9


# ---- decoded rows ----

HOW: list[dict[str, Any]] = [
    {},
    {"shuffle": False, "batch_size": 25},
    {"sample_weight": W, "batch_size": 7},
    {"class_weight": "balanced", "batch_size": 1000},
    {"batch_size": "full"},
]


@pytest.mark.parametrize("how", HOW)
def test_the_bits_are_those_of_the_array(how: dict[str, Any]) -> None:
    recipe: dict[str, Any] = dict(
        optimizer=hf.AdamW(lr=hf.schedules.Cosine(1e-2, warmup=0.1)), accumulate=3, metrics=["accuracy"]
    )
    one, other = make(full_net(), **recipe), make(full_net(), **recipe)
    one.fit(X, LABELS, epochs=3, validation_data=(X, LABELS), **how)
    other.fit(decoded(), LABELS, epochs=3, validation_data=(decoded(), LABELS), **how)
    assert_same_state(state(one), state(other))
    assert one.evaluate(X, LABELS, batch_size=20) == other.evaluate(decoded(), LABELS, batch_size=20)


def test_weights_scaled_by_the_data_are_those_of_the_array() -> None:
    one, other = make(init="data"), make(init="data")
    one.fit(X, LABELS)
    other.fit(decoded(), LABELS)
    assert_same_state(state(one), state(other))


def test_rows_of_one_of_several_inputs() -> None:
    class Two(hf.Module):
        def __init__(self) -> None:
            self.a, self.b = hf.Linear(4), hf.Linear(4)

        def forward(self, x: Any, z: Any) -> Any:
            return self.a(x) * self.b(z)

    whole = (X[:, :5].copy(), X[:, 5:].copy())
    one, other = (hf.Trainer(Two(), "mse") for _ in range(2))
    one.fit(whole, X[:, :4], epochs=2)
    other.fit((whole[0], decoded(whole[1], 2048)), X[:, :4], epochs=2)
    assert_same_state(state(one), state(other))


def test_decoded_indices() -> None:
    table = RNG.normal(size=(10, 3)).astype(np.float32)

    class Look(hf.Module):
        def forward(self, i: Any) -> Any:
            return hf.ops.gather(self.param("table", (10, 3), lambda *_: table), i)

    trainer = hf.Trainer(Look(), "mse")
    trainer.fit(hf.data.Decoded([1.0, 3.0] * 10, np.float32), np.zeros((20, 3)))
    with pytest.raises(LabelError, match=r"1\.5"):
        trainer.fit(hf.data.Decoded([1.0, 1.5] * 10, np.float32), np.zeros((20, 3)))


def test_a_row_that_fails_ends_the_fit_at_a_whole_step() -> None:
    def decode(i: int) -> Any:
        if i == 200:
            raise OSError("damaged")
        return X[i]

    trainer = make()
    with pytest.raises(DecodeError, match="item 200, 200: OSError: damaged"):
        trainer.fit(hf.data.Decoded(range(len(X)), decode, memory=2048), LABELS, shuffle=False, batch_size=20, epochs=2)
    assert 0 < trainer.steps <= 10 and threads_left() == []
    before = state(make(trainer.model))
    assert all(np.isfinite(v).all() for v in before.values() if isinstance(v, np.ndarray))
    trainer.fit(decoded(), LABELS)


def test_targets_are_checked_before_anything_is_decoded() -> None:
    seen: list[int] = []

    def decode(i: int) -> Any:
        seen.append(i)
        return X[i]

    x = hf.data.Decoded(range(len(X)), decode)
    for y, error in ((LABELS[:-1], ShapeError), (LABELS + 7, LabelError)):
        with pytest.raises(error):
            make().fit(x, y)
    with pytest.raises(ArgumentError, match="y is missing"):
        make().fit(x)
    with pytest.raises(ShapeError, match="x: expected"):
        make(full_net().build((5,))).fit(x, LABELS)
    assert seen == [0]


class SaveAndDie:
    def __init__(self, step: int, path: Path):
        self.step, self.path = step, path

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        if step == self.step:
            trainer.save_state(self.path)
            raise Stop


def test_resumed_in_the_middle_without_decoding_what_is_done(tmp_path: Path) -> None:
    how: dict[str, Any] = dict(epochs=2, batch_size=10)
    plain = make(full_net())
    plain.fit(X, LABELS, **how)
    for step in (0, 2, 19, 20, 21, 33, 41):
        with contextlib.suppress(Stop):
            make(full_net()).fit(decoded(), LABELS, **how, callbacks=[SaveAndDie(step, tmp_path / "s")])
        seen: list[int] = []
        x = decoded()
        x.decode = lambda b, decode=x.decode, seen=seen: (seen.append(1), decode(b))[1]
        resumed = make(full_net())
        resumed.fit(x, LABELS, **how, callbacks=[SaveAndDie(-1, tmp_path / "s")], resume=tmp_path / "s")
        assert_same_state(state(plain), state(resumed))
        assert len(seen) <= 1 + 406 - 10 * (step - 3)
    with pytest.raises(ArgumentError, match="resume: data is not that of the run"):
        make(full_net()).fit(
            decoded(X[::-1].copy()), LABELS, **how, callbacks=[SaveAndDie(-1, tmp_path / "s")], resume=tmp_path / "s"
        )


def test_many_nets_decode_once() -> None:
    seen: list[int] = []

    def decode(i: int) -> Any:
        seen.append(i)
        return X[i]

    nets = [(hf.Sequential(hf.Linear(2)), {"loss": "mse", "seed": i}) for i in range(3)]
    histories = hf.fit_many(nets, hf.data.Decoded(range(len(X)), decode), Y)
    alone = hf.Trainer(hf.Sequential(hf.Linear(2)), "mse", seed=1)
    assert alone.fit(X, Y).to_dict() == histories[1].to_dict()
    assert len(seen) == len(X) + 1  # the first, for the shape
