"""hawfinch.train: predict, and training and predicting from several Python threads at once."""

import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from training import LABELS, RNG, Branches, X, assert_same_state, full_net, in_threads, make, net, state

import hawfinch as hf
from hawfinch.errors import BusyError

# ---- predict ----


def test_a_row_does_not_depend_on_its_batch() -> None:
    """The same bits alone and in company, in every batch size around the chunks and tiles."""
    x = RNG.normal(size=(700, 12)).astype(np.float32)
    trainer = make(full_net())
    trainer.fit(X, LABELS)
    model = trainer.model
    whole = model.predict(x)
    alone = np.concatenate([model.predict(x[i : i + 1]) for i in range(len(x))])
    assert whole.tobytes() == alone.tobytes()
    for n in (2, 3, 7, 13, 14, 15, 16, 17, 63, 64, 65, 127, 128, 129, 256, 511, 699):
        parts = np.concatenate([model.predict(x[i : i + n]) for i in range(0, len(x), n)])
        assert whole.tobytes() == parts.tobytes(), n


@pytest.mark.parametrize("k", [3, 40, 784])
@pytest.mark.parametrize("n", [1, 2, 5, 33, 40, 47])
def test_a_row_does_not_depend_on_its_batch_at_any_width(k: int, n: int) -> None:
    """33 to 47 columns and few rows: here whole vectors once went over the end of the result."""
    x = RNG.normal(size=(30, k)).astype(np.float32)
    model = hf.Sequential(hf.Linear(n))
    whole = model.predict(x)
    for rows in (1, 3, 6, 7, 29):
        guarded = np.full(rows * n + 64, 7, np.float32)
        out = guarded[: rows * n].reshape(rows, n)
        model.predict(x[:rows], out=out)
        assert out.tobytes() == whole[:rows].tobytes()
        assert (guarded[rows * n :] == 7).all()
    p = model.parameters()
    expected = x.astype(np.float64) @ p["0.weight"] + p["0.bias"]
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)


def test_out() -> None:
    model = net()
    expected = model.predict(X)
    out = np.full((203, 3), 7, np.float32)
    assert model.predict(X, out=out) is out
    assert out.tobytes() == expected.tobytes()
    bad: list[Any] = [
        np.zeros((202, 3), np.float32),
        np.zeros((203, 3)),
        np.zeros((203, 6), np.float32)[:, ::2],
        np.zeros((203, 3), ">f4"),
        [[0.0] * 3] * 203,
        np.broadcast_to(np.float32(0), (203, 3)),
    ]
    for value in bad:
        with pytest.raises((hf.HawfinchError), match="out"):
            model.predict(X, out=value)
    square = hf.Sequential(hf.Linear(12))
    square.predict(X)
    own = X.copy()
    with pytest.raises(hf.HawfinchError, match="share memory"):
        square.predict(own, out=own)


def test_out_with_several_outputs_is_refused() -> None:
    model = Branches()
    expected = model.predict((X, X))
    with pytest.raises(hf.HawfinchError, match="out"):
        model.predict((X, X), out=np.zeros((203, 2), np.float32))
    assert model.predict((X, X))[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2", True])
def test_bad_threads_of_predict(threads: Any) -> None:
    model = net()
    expected = model.predict(X)
    with pytest.raises(hf.errors.ArgumentError, match="threads"):
        model.predict(X, threads=threads)
    assert model.predict(X, threads=1000).tobytes() == expected.tobytes()


def test_no_rows() -> None:
    model = full_net()
    empty = model.predict(X[:0])
    assert empty.shape == (0, 3) and empty.dtype == np.float32
    assert [a.shape for a in Branches().predict((X[:0], X[:0]))] == [(0, 2), (0, 1)]


def test_memory_of_predict_does_not_grow_with_the_rows() -> None:
    """2 million rows, all the same one in memory: only the result is allocated, and with out= nothing."""
    model = full_net(64)
    model.predict(X)
    row = X[:1]
    x = np.broadcast_to(row, (2_000_000, 12))
    out = np.empty((2_000_000, 3), np.float32)
    out[...] = 0
    tracemalloc.start()
    model.predict(np.broadcast_to(row, (5000, 12)), out=out[:5000])
    few = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    model.predict(x, out=out)
    many = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert many < few + 100_000
    assert (out == model.predict(row)).all()


def test_resident_memory_of_predict() -> None:
    """The same, as the kernel counts it."""
    code = """
import resource
import numpy as np, hawfinch as hf
model = hf.Sequential(hf.Linear(64), hf.ReLU(), hf.Linear(64), hf.ReLU(), hf.Linear(1))
x = np.broadcast_to(np.ones((1, 12), np.float32), (2_000_000, 12))
out = np.zeros((2_000_000, 1), np.float32)
out[...] = 1
model.predict(x[:10_000], out=out[:10_000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model.predict(x, out=out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert int(done.stdout) < 4096  # KiB; one activation of all rows would be 500,000


# ---- Python threads ----


def test_eight_threads_predict_at_once() -> None:
    """Few rows and many, each thread its own data, on one model: all right."""
    model = full_net(64)
    sets = [RNG.normal(size=(n, 12)).astype(np.float32) for n in (1, 5, 64, 65, 300, 1000, 3000, 9000)]
    expected = [model.predict(x).tobytes() for x in sets]

    def work(i: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(20):
                assert model.predict(sets[i], threads=1 + i % 2).tobytes() == expected[i]
                assert model.predict(sets[i]).tobytes() == expected[i]

        return run

    assert in_threads([work(i) for i in range(8)]) == []


def test_many_trainers_at_once() -> None:
    """One per thread, some with a team: the same bits as one after the other."""

    def train(seed: int) -> dict[str, Any]:
        trainer = make(full_net(), seed=seed, threads=1 + seed % 3)
        trainer.fit(X, LABELS, epochs=5, batch_size=20)
        return state(trainer)

    expected = [train(seed) for seed in range(6)]
    got: dict[int, Any] = {}

    def work(seed: int) -> Callable[[], None]:
        return lambda: got.__setitem__(seed, train(seed))

    assert in_threads([work(seed) for seed in range(6)]) == []
    for seed in range(6):
        assert_same_state(expected[seed], got[seed])


def test_predict_and_evaluate_while_another_thread_fits() -> None:
    """Values of a net in training are between two steps' values: finite, of the right shape, and no crash."""
    trainer = make(net())
    trainer.fit(X, LABELS)
    done = threading.Event()

    def fit() -> None:
        try:
            trainer.fit(X, LABELS, epochs=300, batch_size=10)
        finally:
            done.set()

    def watch() -> None:
        while not done.is_set():
            for n in (1, 50, 203):
                assert np.isfinite(trainer.model.predict(X[:n])).all()
            assert np.isfinite(trainer.evaluate(X, LABELS)["loss"])

    assert in_threads([fit, watch, watch]) == []
    assert trainer.epochs == 301


def test_one_trainer_in_two_threads_is_refused() -> None:
    """With data of other lengths, which must not be read out of bounds. Whoever is refused is told so; others go on."""
    trainer = make()
    big = np.repeat(X, 500, 0)
    labels = np.repeat(LABELS, 500)
    trainer.step(X, LABELS)
    results: list[str] = []

    def fit(n: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(20):
                try:
                    trainer.fit(big[:n].copy(), labels[:n].copy(), batch_size=203)
                    results.append("fit")
                except BusyError as error:
                    assert "thread" in str(error)
                    results.append("refused")

        return run

    def step() -> None:
        for _ in range(200):
            try:
                trainer.step(X, LABELS)
            except BusyError:
                results.append("refused")

    assert in_threads([fit(len(big)), fit(100), fit(3000), step]) == []
    assert "fit" in results

    def other_thread(t: Any, epoch: int, logs: Any) -> None:  # while this one is in fit for certain
        calls = [lambda: t.fit(X, LABELS), lambda: t.step(X, LABELS), lambda: t.evaluate(X, LABELS)]
        failures = [in_threads([call]) for call in calls]
        assert [[type(e) for e in errors] for errors in failures] == [[BusyError], [BusyError], []]
        results.append("seen")

    trainer.fit(X, LABELS, callbacks=[other_thread])
    assert results[-1] == "seen"
    trainer.fit(X, LABELS)
    assert all(np.isfinite(p).all() for p in trainer.model.parameters().values())
