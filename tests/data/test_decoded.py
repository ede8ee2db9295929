"""Decoded: rows made from items by threads."""

import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from training import X, threads_left

import hawfinch as hf
from hawfinch.errors import ArgumentError, DecodeError

ITEMS = [x.tobytes() for x in X]


def decode(item: bytes) -> Any:
    return np.frombuffer(item, np.float32)


@pytest.mark.parametrize("workers", [None, 1, 2, 7])
def test_the_rows_are_those_of_the_items_in_their_order(workers: int | None) -> None:
    x = hf.data.Decoded(ITEMS, decode, workers=workers)
    assert (x.shape, x.dtype, x.ndim, len(x)) == (X.shape, X.dtype, 2, len(X))
    np.testing.assert_array_equal(np.asarray(x), X)
    np.testing.assert_array_equal(x.take([5, 0, 5]), X[[5, 0, 5]])
    np.testing.assert_array_equal(np.asarray(x, np.float64), X.astype(np.float64))
    assert x.take([]).shape == (0, 12) and not threads_left()
    assert repr(x).startswith("Decoded(203 items, ")


def test_items_are_whatever_can_be_listed_and_rows_any_numbers() -> None:
    np.testing.assert_array_equal(hf.data.Decoded(iter("123"), int), [1, 2, 3])
    np.testing.assert_array_equal(hf.data.Decoded(X, lambda row: row > 0), X > 0)
    assert np.asarray(hf.data.Decoded(range(3), lambda i: [[i]])).shape == (3, 1, 1)


def test_what_takes_arrays_takes_decoded_rows() -> None:
    x = hf.data.Decoded(ITEMS, decode)
    model = hf.Sequential(hf.Linear(2)).build((12,))
    assert model.predict(x).tobytes() == model.predict(X).tobytes()
    assert hf.data.StandardScaler().fit(x).mean.tobytes() == hf.data.StandardScaler().fit(X).mean.tobytes()
    trainers = [hf.Trainer(hf.Sequential(hf.Linear(1)), "mse") for _ in range(2)]
    assert trainers[0].step(x, X[:, :1]) == trainers[1].step(X, X[:, :1])


@pytest.mark.parametrize("memory", [1, 1000, 1 << 20])
def test_predict_takes_the_rows_part_by_part(memory: int) -> None:
    x = hf.data.Decoded(ITEMS, decode, memory=memory)
    held = max(memory // X[0].nbytes, 1)
    assert [len(part) for part in x.parts()][:-1] == [held] * ((len(X) - 1) // held)

    class Net(hf.Module):
        def __init__(self, form: Any):
            self.form, self.layer = form, hf.Linear(2)

        def forward(self, x: Any) -> Any:
            return self.form(self.layer(x))

    for form in (lambda y: y, lambda y: (y, y[:, 0]), lambda y: {"a": y, "b": y * 2.0}):
        model = Net(form).build((12,))
        got, want = model.predict(x), model.predict(X)
        assert type(got) is type(want)
        for a, b in zip(*(v.values() if isinstance(v, dict) else v for v in (got, want)), strict=True):
            assert a.tobytes() == b.tobytes()


def fails_at(*bad: int) -> Any:
    def decode(i: int) -> Any:
        if i in bad:
            raise KeyError(f"no {i}")
        return np.zeros(2)

    return decode


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_names_the_first_item_that_failed(workers: int) -> None:
    for _ in range(20):
        with pytest.raises(DecodeError, match=r"item 61, 61: KeyError: 'no 61'") as caught:
            np.asarray(hf.data.Decoded(range(200), fails_at(190, 62, 61, 64), workers=workers))
        assert caught.value.item == 61 and isinstance(caught.value.__cause__, KeyError)
        assert not threads_left()


def test_nothing_is_decoded_after_an_error() -> None:
    seen: list[int] = []

    def decode(i: int) -> float:
        seen.append(i)
        return float("nan") if i == 3 else 1.0 * i

    with pytest.raises(DecodeError, match=r"item 3, 3: decode gave nan at \(\)"):
        np.asarray(hf.data.Decoded(range(1000), decode, workers=3))
    assert max(seen) < 10


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (lambda i: "text", "item 0, 0: decode gave <U4, expected numbers"),
        (lambda i: None, "item 0, 0: decode gave object"),
        (lambda i: [[1], [2, 3]], "item 0, 0: ValueError"),
        (lambda i: np.zeros(i // 2), r"item 2, 2: decode gave float64 \(1,\), for item 0 float64 \(0,\)"),
        (lambda i: np.zeros(2, "f4" if i < 3 else "f8"), r"item 3, 3: decode gave float64 \(2,\), for item 0 float32"),
        (lambda i: [[0.0, float("inf") if i == 2 else 1]], r"item 2, 2: decode gave inf at \(0, 1\)"),
    ],
)
def test_a_row_that_does_not_fit_is_told(decode: Any, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        np.asarray(hf.data.Decoded(range(5), decode))


@pytest.mark.parametrize(
    ("items", "more", "message"),
    [
        ("path", {}, "items: expected a list of what is decoded, got str"),
        ({"a": 1}, {}, "got dict"),
        (3, {}, "got int"),
        ([], {}, "there are none"),
        ([1], {"decode": 3}, "decode: expected a function"),
        ([1], {"workers": 0}, "workers must be a whole number from 1"),
        ([1], {"memory": -1}, "memory must be a whole number from 1"),
    ],
)
def test_wrong_arguments(items: Any, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        hf.data.Decoded(items, **{"decode": float, **more})


def test_ctrl_c_in_the_callers_thread_ends_all_threads() -> None:
    def decode(i: int) -> int:
        if threading.current_thread() is threading.main_thread() and i > 5:
            raise KeyboardInterrupt
        return i

    with pytest.raises(KeyboardInterrupt):
        np.asarray(hf.data.Decoded(range(10**6), decode, workers=2))
    assert not threads_left()


def test_a_fit_holds_as_many_rows_as_memory_allows() -> None:
    """2,000 rows of 8 KB, of which 1 MB may be held."""
    rows, row_bytes, allowed = 2000, 8 << 10, 1 << 20
    x = hf.data.Decoded(range(rows), lambda i: np.full(row_bytes // 8, i / rows), memory=allowed)
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
    y = np.ones((rows, 1), np.float32)
    trainer.fit(x, y, batch_size=16)
    tracemalloc.start()
    trainer.fit(x, y, batch_size=16)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert allowed / 2 < most < 1.7 * allowed < rows * row_bytes / 8
