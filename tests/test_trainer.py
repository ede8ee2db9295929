"""hawfinch.train: fit, step, evaluate, predict. Same bits everywhere, exact failure, any form of data, threads."""

import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import BusyError, NonFiniteError, ShapeError

RNG = np.random.default_rng(7)
X = RNG.normal(size=(203, 12)).astype(np.float32)
LABELS = ((X[:, 0] > 0).astype(np.int64) + (X[:, 1] + X[:, 2] > 0)).astype(np.int64)  # 3 classes
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], 1).astype(np.float32)


def net(*, dtype: str = "float32", out: int = 3) -> hf.Sequential:
    model = hf.Sequential(hf.Linear(16), hf.Tanh(), hf.Linear(out))
    model.dtype = dtype
    return model


def full_net(width: int = 24) -> hf.Sequential:
    """Everything that could depend on how work is split."""
    return hf.Sequential(
        hf.Linear(width), hf.BatchNorm(), hf.ReLU(), hf.Dropout(0.3),
        hf.Linear(width), hf.LayerNorm(), hf.GELU(), hf.Dropout(0.1),
        hf.Linear(3),
    )  # fmt: skip


def make(
    model: hf.Module | None = None, loss: Any = "softmax_cross_entropy", optimizer: Any = None, **more: Any
) -> Any:
    return hf.Trainer(net() if model is None else model, loss, optimizer or hf.Adam(lr=0.01), **more)


def state(trainer: hf.Trainer) -> dict[str, Any]:
    """Everything that a step may change, copied."""
    arrays = {**trainer.model.parameters(), **trainer.model.buffers(), **trainer.slots}
    return {
        **{k: v.copy() for k, v in arrays.items()},
        "steps": trainer.steps,
        "epochs": trainer.epochs,
        "history": trainer.history.to_dict(),
    }


def assert_same_state(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Equal, bit for bit."""
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, np.ndarray):
            assert value.tobytes() == b[name].tobytes(), name
        else:
            assert value == b[name], name


# ---- same bits ----


def test_any_number_of_threads_gives_the_same_bits() -> None:
    """Wide layers, every kind of layer, weights, metrics, a short last batch: threads=1 to 4."""
    results = []
    for threads in (1, 2, 3, 4):
        trainer = make(full_net(150), optimizer=hf.AdamW(clip_norm=1.0), metrics=["accuracy"], threads=threads, seed=3)
        weight = np.linspace(0.5, 2, len(X))
        trainer.fit(X, LABELS, epochs=3, batch_size=64, validation_data=(X, LABELS), sample_weight=weight)
        results.append((state(trainer), trainer.model.predict(X, threads=threads).tobytes()))
    for other, prediction in results[1:]:
        assert_same_state(results[0][0], other)
        assert prediction == results[0][1]


def test_threads_chosen_by_cost() -> None:
    """Work that is worth a team, in fit, validation, step, evaluate and predict: the same bits as on one thread."""
    outcome = []
    for threads in (None, 1):
        trainer = make(full_net(256), threads=threads)
        trainer.fit(X, LABELS, epochs=8, batch_size=128, validation_data=(X, LABELS))
        loss = trainer.step(X, LABELS)
        got = trainer.evaluate(X, LABELS, batch_size=203)
        outcome.append((state(trainer), loss, got, trainer.model.predict(X, threads=threads).tobytes()))
    assert_same_state(outcome[0][0], outcome[1][0])
    assert outcome[0][1:] == outcome[1][1:]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_more_rows_than_columns_and_more_columns_than_rows(threads: int) -> None:
    """Splits by rows and by columns; 700 wide is more than one tile, a batch of 3 less than one."""
    x = RNG.normal(size=(7, 700)).astype(np.float32)
    outcome = []
    for team in (1, threads):
        trainer = make(hf.Sequential(hf.Linear(300), hf.BatchNorm(), hf.SiLU(), hf.Linear(2)), "mse", seed=1)
        trainer.fit(x, Y[:7], epochs=3, batch_size=3, threads=team)
        outcome.append(state(trainer))
    assert_same_state(*outcome)


def test_two_runs_are_equal_and_seeds_differ() -> None:
    def run(seed: int) -> dict[str, Any]:
        trainer = make(full_net(), seed=seed)
        trainer.fit(X, LABELS, epochs=2, batch_size=50)
        return state(trainer)

    assert_same_state(run(5), run(5))
    assert run(5)["0.weight"].tobytes() != run(6)["0.weight"].tobytes()
    first, last = run(2**64 - 1), run(0)
    assert first["0.weight"].tobytes() != last["0.weight"].tobytes()


def test_two_epochs_are_one_and_one() -> None:
    once, twice = make(full_net()), make(full_net())
    once.fit(X, LABELS, epochs=2, batch_size=50)
    twice.fit(X, LABELS, batch_size=50)
    twice.fit(X, LABELS, batch_size=50)
    assert_same_state(state(once), state(twice))


@pytest.mark.parametrize("weighted", [False, True])
def test_fit_without_shuffling_is_step_by_hand(weighted: bool) -> None:
    """The same bits, dropout and batch norm included; also the history: the mean of the losses by rows."""
    weight = RNG.uniform(0.5, 2, len(X)) if weighted else None
    fitted, stepped = make(full_net()), make(full_net())
    fitted.fit(X, LABELS, epochs=2, batch_size=50, shuffle=False, sample_weight=weight)
    for epoch in range(2):
        total = share = 0.0
        for i in range(0, len(X), 50):
            w = None if weight is None else weight[i : i + 50]
            n = len(X[i : i + 50]) if w is None else w.sum()
            total += n * stepped.step(X[i : i + 50], LABELS[i : i + 50], sample_weight=w)
            share += n
        assert fitted.history["loss"][epoch] == pytest.approx(total / share, rel=1e-6)
    a, b = state(fitted), state(stepped)
    for s in (a, b):
        del s["epochs"], s["history"]
    assert_same_state(a, b)


def test_repeated_steps_of_changing_sizes() -> None:
    """The short way for steps that repeat gives what the long way gives, for every batch size."""
    a, b = make(full_net()), make(full_net())
    for n in (10, 10, 10, 64, 64, 7, 10, 10, 1, 1, 200):
        loss = a.step(X[:n], LABELS[:n])
        assert loss == b.step(X[:n].astype(np.float64), LABELS[:n].astype(np.uint8).tolist())  # the long way: a list
    assert_same_state(state(a), state(b))


def test_shuffling_visits_every_row_once() -> None:
    """With lr 0 and batches that split evenly, the epoch's loss is the loss over all rows; the order changes."""
    seen: list[float] = []

    class Steps:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            seen.append(loss)

    trainer = make(net(dtype="float64", out=2), "mse", hf.SGD(lr=0.0))
    trainer.fit(X[:200], Y[:200], epochs=3, batch_size=20, callbacks=[Steps()])
    full = trainer.evaluate(X[:200], Y[:200])["loss"]
    epochs = np.reshape(seen, (3, 10))
    np.testing.assert_allclose(epochs.mean(1), full, rtol=1e-12)
    assert len(np.unique(epochs)) == 30


# ---- weights, metrics, evaluation ----


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse", "mae", "huber"])
def test_weight_zero_is_a_removed_row(loss: str) -> None:
    """In float64 to rounding, which follows the number of rows in a sum."""
    y = LABELS if loss == "softmax_cross_entropy" else Y
    keep = np.arange(len(X)) % 3 > 0
    a, b = (make(net(dtype="float64", out=3 if y.ndim == 1 else 2), loss, hf.SGD(lr=0.1)) for _ in range(2))
    a.fit(X, y, epochs=5, batch_size=len(X), sample_weight=keep, shuffle=False)
    b.fit(X[keep], y[keep], epochs=5, batch_size=len(X), shuffle=False)
    np.testing.assert_allclose(a.history["loss"], b.history["loss"], rtol=1e-13)
    for name, p in a.model.parameters().items():
        np.testing.assert_allclose(p, b.model.parameters()[name], rtol=1e-11, atol=1e-14)
    weighted = a.evaluate(X, y, sample_weight=keep)["loss"]
    assert weighted == pytest.approx(b.evaluate(X[keep], y[keep])["loss"], rel=1e-12)


def test_whole_weights_are_repetitions() -> None:
    times = np.arange(len(X)) % 4
    a, b = (make(net(dtype="float64", out=2), "mse", hf.SGD(lr=0.1, momentum=0.9)) for _ in range(2))
    rows = np.repeat(np.arange(len(X)), times)
    a.fit(X, Y, epochs=5, batch_size=10_000, sample_weight=times.astype(np.uint8), shuffle=False)
    b.fit(X[rows], Y[rows], epochs=5, batch_size=10_000, shuffle=False)
    np.testing.assert_allclose(a.history["loss"], b.history["loss"], rtol=1e-13)
    for name, p in a.model.parameters().items():
        np.testing.assert_allclose(p, b.model.parameters()[name], rtol=1e-11, atol=1e-14)


def test_equal_weights_change_nothing_and_their_scale_does_not_matter() -> None:
    histories = []
    for weight in (None, np.ones(len(X)), np.full(len(X), 8.0)):
        trainer = make(net(dtype="float64"), optimizer=hf.SGD(lr=0.1))
        histories.append(trainer.fit(X, LABELS, epochs=3, sample_weight=weight)["loss"])
    np.testing.assert_allclose(histories[1], histories[0], rtol=1e-13)
    np.testing.assert_allclose(histories[2], histories[0], rtol=1e-13)


@pytest.mark.parametrize("form", ["mapping", "sequence", "array", "balanced"])
def test_class_weight_is_the_weight_of_each_row(form: str) -> None:
    counts = np.bincount(LABELS)
    table = len(LABELS) / (3 * counts) if form == "balanced" else np.array([1.0, 0.25, 3.0])
    given: Any = {"mapping": {1: 0.25, 2: 3.0}, "sequence": table.tolist(), "array": table, "balanced": "balanced"}[
        form
    ]
    by_class, by_loss, by_row = (make(net(dtype="float64")) for _ in range(3))
    by_loss.loss = hf.SoftmaxCrossEntropy(class_weight=given)
    a = by_class.fit(X, LABELS, epochs=2, class_weight=given)["loss"]
    b = by_loss.fit(X, LABELS, epochs=2)["loss"]
    c = by_row.fit(X, LABELS, epochs=2, sample_weight=table[LABELS])["loss"]
    assert a == b == c
    both = make(net(dtype="float64"))
    weight = RNG.uniform(size=len(X))
    product = make(net(dtype="float64"))
    d = both.fit(X, LABELS, class_weight=given, sample_weight=weight)["loss"]
    assert d == product.fit(X, LABELS, sample_weight=weight * table[LABELS])["loss"]


def test_class_weight_for_a_class_that_the_data_lack() -> None:
    loss = hf.SoftmaxCrossEntropy(class_weight={2: 5.0})
    few = LABELS < 2
    history = make(loss=loss).fit(X, LABELS, validation_data=(X[few], LABELS[few]))
    assert np.isfinite(history["val_loss"]).all()


def test_validation_is_evaluate() -> None:
    weight = RNG.uniform(size=len(X))
    for extra in ((), (weight,)):
        trainer = make(full_net(), metrics=["accuracy"])
        history = trainer.fit(X, LABELS, epochs=3, batch_size=40, validation_data=(X[::-1], LABELS[::-1], *extra))
        w = extra[0] if extra else None
        got = trainer.evaluate(X[::-1], LABELS[::-1], sample_weight=w, batch_size=40)
        assert got == {"loss": history["val_loss"][-1], "accuracy": history["val_accuracy"][-1]}


@pytest.mark.parametrize("batch_size", [1, 7, 64, 202, 203, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_evaluate_is_numpy(batch_size: int, weighted: bool) -> None:
    """Loss and metrics in float64 against their definitions, for any batch size."""
    w = RNG.uniform(size=len(X)) if weighted else np.ones(len(X))
    given = w if weighted else None
    trainer = make(net(dtype="float64"), metrics=["accuracy"])
    got = trainer.evaluate(X, LABELS, batch_size=batch_size, sample_weight=given)
    z = trainer.model.predict(X)
    loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), LABELS]
    assert got["loss"] == pytest.approx((w * loss).sum() / w.sum(), rel=1e-12)
    assert got["accuracy"] == pytest.approx((w * (z.argmax(1) == LABELS)).sum() / w.sum(), rel=1e-12)

    regression = make(net(dtype="float64", out=2), "huber", metrics=["mse", "mae"])
    got = regression.evaluate(X, Y, batch_size=batch_size, sample_weight=given)
    d = np.abs(regression.model.predict(X) - Y)
    huber = np.where(d <= 1, d * d / 2, d - 0.5)
    for name, rows in (("loss", huber), ("mse", d * d), ("mae", d)):
        assert got[name] == pytest.approx((w * rows.mean(1)).sum() / w.sum(), rel=1e-12)


def test_accuracy_of_float32_is_an_exact_count() -> None:
    trainer = make(metrics=["accuracy"])
    got = trainer.evaluate(X, LABELS)["accuracy"]
    assert got == (trainer.model.predict(X).argmax(1) == LABELS).mean()


def test_metrics_of_training_are_those_before_each_update() -> None:
    trainer = make(net(dtype="float64", out=2), "mse", hf.SGD(lr=0.0), metrics=["mae"])
    history = trainer.fit(X, Y, batch_size=16)
    assert history["mae"][0] == pytest.approx(trainer.evaluate(X, Y)["mae"], rel=1e-12)


def test_a_metric_of_ones_own() -> None:
    def bias(prediction: Any, target: Any) -> Any:
        return prediction - target

    trainer = make(net(dtype="float64", out=2), "mse", metrics=["mae", bias])
    got = trainer.evaluate(X, Y)
    assert got["bias"] == pytest.approx((trainer.model.predict(X) - Y).mean(), rel=1e-10)
    assert list(got) == ["loss", "mae", "bias"]


@pytest.mark.parametrize("lr", [0.05, np.float32(0.05)])
def test_learning_rate_function_is_asked_for_every_step(lr: float) -> None:
    asked: list[int] = []

    def schedule(step: int) -> float:
        asked.append(step)
        return lr / (1 + step)

    by_function = make(net(out=2), "mse", hf.SGD(lr=schedule))
    by_function.fit(X, Y, epochs=2, batch_size=50, shuffle=False)
    assert asked == list(range(10))
    by_hand = make(net(out=2), "mse", hf.SGD(lr=lr))
    for step in range(10):
        by_hand.optimizer.lr = lr / (1 + step)
        i = step % 5 * 50
        by_hand.step(X[i : i + 50], Y[i : i + 50])
    for name, p in by_function.model.parameters().items():
        assert p.tobytes() == by_hand.model.parameters()[name].tobytes()


def test_a_bad_learning_rate_from_a_function_is_refused_before_the_epoch() -> None:
    trainer = make(optimizer=hf.SGD(lr=lambda step: 0.1 if step < 7 else -1.0))
    trainer.fit(X, LABELS, batch_size=50)
    before = state(trainer)
    with pytest.raises(hf.errors.ArgumentError, match="learning rate at step 7 is -1"):
        trainer.fit(X, LABELS, batch_size=50)
    assert_same_state(before, state(trainer))


# ---- callbacks ----


def test_order_of_callbacks() -> None:
    seen: list[Any] = []

    class Watch:
        def __init__(self, name: str):
            self.name = name

        def on_fit_begin(self, trainer: Any) -> None:
            seen.append((self.name, "begin", trainer.epochs_planned))

        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            assert trainer.steps == step + 1
            seen.append((self.name, "step", step))

        def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
            assert logs["loss"] == trainer.history["loss"][epoch]
            seen.append((self.name, "epoch", epoch))

        def on_fit_end(self, trainer: Any) -> None:
            seen.append((self.name, "end"))

    trainer = make()
    trainer.fit(X, LABELS, epochs=2, batch_size=150, callbacks=[Watch("a"), Watch("b")])
    both = [[(n, *what) for n in "ab"] for what in (("begin", 2), ("step", 0), ("step", 1), ("epoch", 0))]
    both += [[(n, *what) for n in "ab"] for what in (("step", 2), ("step", 3), ("epoch", 1), ("end",))]
    assert seen == [event for pair in both for event in pair]


def test_step_callbacks_change_no_bits() -> None:
    class Idle:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            pass

    a, b = make(full_net()), make(full_net())
    a.fit(X, LABELS, epochs=2, batch_size=30)
    b.fit(X, LABELS, epochs=2, batch_size=30, callbacks=[Idle()])
    assert_same_state(state(a), state(b))


def test_stop_ends_after_the_epoch_and_not_the_next_fit() -> None:
    trainer = make()

    def stop(t: Any, epoch: int, logs: Any) -> None:
        t.stop = epoch == 1

    trainer.fit(X, LABELS, epochs=9, callbacks=[stop])
    assert trainer.epochs == len(trainer.history) == len(trainer.history["loss"]) == 2
    trainer.fit(X, LABELS, epochs=3)
    assert trainer.epochs == 5


def test_an_error_in_a_callback_still_ends_the_fit() -> None:
    ended = []

    class Fails:
        def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
            raise KeyError("mine")

        def on_fit_end(self, trainer: Any) -> None:
            ended.append(trainer.epochs)

    trainer = make()
    with pytest.raises(KeyError, match="mine"):
        trainer.fit(X, LABELS, epochs=3, callbacks=[Fails()])
    assert ended == [1]
    trainer.fit(X, LABELS)
    assert trainer.epochs == 2


def test_callbacks_may_use_the_model_and_the_trainer() -> None:
    """Predicting with a layer moves its arrays; a step of other rows uses the same plan. Neither loses the training."""
    plain, watched = make(), make()
    plain.fit(X, LABELS, epochs=3)

    def look(trainer: Any, epoch: int, logs: Any) -> None:
        trainer.model.layers[0].predict(X[:5])
        trainer.model.predict(X)
        trainer.evaluate(X, LABELS)

    watched.fit(X, LABELS, epochs=3, callbacks=[look])
    assert_same_state(state(plain), state(watched))

    class Steps:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == 1:
                trainer.step(X[:2].copy(), LABELS[:2].copy())

    big = np.repeat(X, 50, 0)
    trainer = make()
    history = trainer.fit(big, np.repeat(LABELS, 50), batch_size=1000, callbacks=[Steps()])
    assert trainer.steps == 12
    assert np.isfinite(history["loss"]).all()


# ---- forms of data ----

FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "float64": lambda a: a.astype(np.float64),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "list": lambda a: a.tolist(),
    "fortran": np.asfortranarray,
    "strided": lambda a: strided(a),
    "negative": lambda a: np.flip(np.ascontiguousarray(np.flip(a))),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "byteswapped": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": lambda a: unaligned(a),
    "field": lambda a: np.rec.fromarrays([a, a])["f0"],
    **{f"int{8 * n}": lambda a, n=n: a.astype(f"i{n}") for n in (1, 2, 4, 8)},
    **{f"uint{8 * n}": lambda a, n=n: a.astype(f"u{n}") for n in (1, 2, 4, 8)},
}


def strided(a: np.ndarray) -> np.ndarray:
    view = np.zeros([3 * n for n in a.shape], a.dtype)[(slice(1, None, 3),) * a.ndim]
    view[...] = a
    return view


def unaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:]
    view = raw.view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_x_gives_the_same_bits(form: str) -> None:
    """Small whole numbers are exact in every dtype."""
    whole = RNG.integers(0, 100, (70, 5)).astype(np.float32)
    given = FORMS[form](whole)
    copy = np.array(given)
    a, b = (make(full_net(), seed=2) for _ in range(2))
    a.fit(whole, LABELS[:70], epochs=2, batch_size=16, validation_data=(whole, LABELS[:70]))
    b.fit(given, LABELS[:70], epochs=2, batch_size=16, validation_data=(given, LABELS[:70]))
    assert_same_state(state(a), state(b))
    for n in (1, 33, 70):
        assert b.model.predict(given[:n]).tobytes() == a.model.predict(whole[:n]).tobytes()
    assert a.step(whole, LABELS[:70]) == b.step(given, LABELS[:70])
    assert a.step(whole, LABELS[:70]) == b.step(given, LABELS[:70])  # the short way
    assert np.array_equal(np.array(given), copy)


@pytest.mark.parametrize("form", [*(f for f in FORMS if "int" in f), "list", "strided", "byteswapped", "unaligned"])
def test_every_form_of_labels(form: str) -> None:
    given = FORMS[form](LABELS)
    assert make().fit(X, given)["loss"] == make().fit(X, LABELS)["loss"]


def test_bool_inputs_and_labels() -> None:
    bits = X > 0
    a, b = make(), make()
    assert a.fit(bits, bits[:, 0])["loss"] == b.fit(bits.astype(np.float32), bits[:, 0].astype(int))["loss"]
    target = bits[:, :3]
    c = make(loss="bce_with_logits").fit(X, target)["loss"]
    assert c == make(loss="bce_with_logits").fit(X, target.astype(np.float64))["loss"]


@pytest.mark.parametrize("form", [f for f in FORMS if f not in ("float16", "longdouble")])
def test_every_form_of_real_targets(form: str) -> None:
    whole = RNG.integers(0, 9, (203, 2)).astype(np.float32)
    a = make(net(out=2), "mse").fit(X, whole)["loss"]
    assert make(net(out=2), "mse").fit(X, FORMS[form](whole))["loss"] == a


def test_read_only_and_memory_mapped_data_are_never_copied(tmp_path: Path) -> None:
    """96 MB on disk: neither Python's memory nor the process grows by more than a little of it."""
    path = tmp_path / "x.npy"
    x = np.lib.format.open_memmap(path, "w+", np.float32, (1_200_000, 20))
    x[:] = np.arange(1_200_000, dtype=np.float32)[:, None] % 17 - 8
    x.flush()
    del x
    mapped = np.load(path, mmap_mode="r")
    assert not mapped.flags.writeable
    labels = np.zeros(len(mapped), np.uint8)
    labels.flags.writeable = False
    trainer = make(hf.Sequential(hf.Linear(4), hf.ReLU(), hf.Linear(2)))
    trainer.fit(mapped[:5000], labels[:5000], batch_size=4096)
    trainer.evaluate(mapped[:5000], labels[:5000], batch_size=4096)
    tracemalloc.start()
    trainer.fit(mapped, labels, batch_size=4096, shuffle=False)
    trainer.evaluate(mapped, labels, batch_size=4096)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # the labels as int64 are 9.6 MB, the data 96 MB
    assert np.isfinite(trainer.history["loss"]).all()


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65])
@pytest.mark.parametrize("batch_size", [1, 2, 64, 10**9])
def test_any_rows_and_batch_size(rows: int, batch_size: int) -> None:
    """One row, a last batch of one row, more in a batch than there is: batch norm gives numbers throughout."""
    trainer = make(full_net(), metrics=["accuracy"])
    history = trainer.fit(X[:rows], LABELS[:rows], epochs=2, batch_size=batch_size)
    assert trainer.steps == 2 * -(-rows // batch_size)
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(v).all() for v in {**trainer.model.parameters(), **trainer.model.buffers()}.values())


def test_running_statistics_are_pytorchs() -> None:
    """After batches of 64, 64, 64 and 11 rows, in order; every feature."""
    trainer = make(hf.Sequential(hf.BatchNorm(momentum=0.3), hf.Linear(3)).astype("float64"))
    trainer.fit(X, LABELS, batch_size=64, shuffle=False)
    mean, var = np.zeros(12), np.ones(12)
    for i in range(0, len(X), 64):
        rows = X[i : i + 64].astype(np.float64)
        mean, var = 0.7 * mean + 0.3 * rows.mean(0), 0.7 * var + 0.3 * rows.var(0, ddof=1)
    np.testing.assert_allclose(trainer.model.buffers()["0.running_mean"], mean, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(trainer.model.buffers()["0.running_var"], var, rtol=1e-11)


def test_zero_epochs_change_nothing() -> None:
    trainer = make()
    trainer.fit(X, LABELS)
    before = state(trainer)
    assert trainer.fit(X, LABELS, epochs=0) is trainer.history
    assert_same_state(before, state(trainer))


# ---- models of one's own ----


class Branches(hf.Module):
    """Two inputs, a shared layer, two outputs."""

    def __init__(self) -> None:
        self.shared, self.head = hf.Linear(6), {"a": hf.Linear(2), "b": hf.Linear(1)}

    def forward(self, x: Any, z: Any) -> tuple[Any, Any]:
        both = hf.ops.tanh(self.shared(x)) + hf.ops.tanh(self.shared(z))
        return self.head["a"](both), self.head["b"](both)


def both_outputs(prediction: Any, target: Any) -> Any:
    first, second = prediction
    return hf.ops.sum(hf.ops.square(first - target), 1) + hf.ops.square(second)[:, 0]


def test_several_inputs_and_outputs_and_shared_weights() -> None:
    """The first step's gradient against NumPy's."""
    model = Branches()
    model.dtype = "float64"
    trainer = make(model, both_outputs, hf.SGD(lr=0.5))
    x, z = X[:, :4].astype(np.float64), X[:, 4:8].astype(np.float64)
    a, b = model.predict((x, z))
    assert a.shape == (203, 2) and b.shape == (203, 1)
    assert list(model.parameters()) == [
        f"{layer}.{kind}" for layer in ("shared", "head.a", "head.b") for kind in ("weight", "bias")
    ]
    p = {k: v.copy() for k, v in model.parameters().items()}
    loss = trainer.step((x, z), Y)
    hx, hz = (np.tanh(v @ p["shared.weight"] + p["shared.bias"]) for v in (x, z))
    np.testing.assert_allclose(a, (hx + hz) @ p["head.a.weight"] + p["head.a.bias"], rtol=1e-12, atol=1e-14)
    assert loss == pytest.approx((((a - Y) ** 2).sum(1) + b[:, 0] ** 2).mean(), rel=1e-12)
    da, db = 2 * (a - Y) / len(x), 2 * b / len(x)
    dh = da @ p["head.a.weight"].T + db @ p["head.b.weight"].T
    gradient = x.T @ (dh * (1 - hx**2)) + z.T @ (dh * (1 - hz**2))
    moved = p["shared.weight"] - model.parameters()["shared.weight"]
    np.testing.assert_allclose(moved, 0.5 * gradient, rtol=1e-10, atol=1e-13)
    trainer.optimizer.lr = 0.02
    history = trainer.fit((x, z), Y, epochs=60, validation_data=((x, z), Y))
    assert history["val_loss"][-1] < 0.7 * loss


class Block(hf.Module):
    """The README's."""

    def __init__(self, n: int):
        self.a, self.b = hf.Linear(n), hf.Linear(n)

    def forward(self, x: Any) -> Any:
        return hf.ops.relu(self.b(hf.ops.relu(self.a(x))) + x)


def test_residual_block() -> None:
    model = hf.Sequential(hf.Linear(8), Block(8), Block(8), hf.Linear(3))
    trainer = make(model, metrics=["accuracy"])
    history = trainer.fit(X, LABELS, epochs=40)
    assert history["accuracy"][-1] > 0.9
    p = model.parameters()
    h = X @ p["0.weight"] + p["0.bias"]
    for i in (1, 2):
        inner = np.maximum(h @ p[f"{i}.a.weight"] + p[f"{i}.a.bias"], 0)
        h = np.maximum(inner @ p[f"{i}.b.weight"] + p[f"{i}.b.bias"] + h, 0)
    np.testing.assert_allclose(model.predict(X), h @ p["3.weight"] + p["3.bias"], rtol=1e-4, atol=1e-5)


def test_the_same_layer_twice_is_one_set_of_weights() -> None:
    layer = hf.Linear(12)
    model = hf.Sequential(layer, hf.Tanh(), layer, hf.Linear(3))
    make(model).fit(X, LABELS, epochs=2)
    assert list(model.parameters()) == ["0.weight", "0.bias", "3.weight", "3.bias"]


def test_float64_is_trained_in_float64() -> None:
    wide, narrow = make(net(dtype="float64"), seed=4), make(net(), seed=4)
    wide.fit(X, LABELS, epochs=3)
    narrow.fit(X, LABELS, epochs=3)
    assert all(p.dtype == np.float64 for p in wide.model.parameters().values())
    assert wide.model.predict(X).dtype == np.float64
    np.testing.assert_allclose(wide.history["loss"], narrow.history["loss"], rtol=1e-5)
    assert any((p != p.astype(np.float32)).any() for p in wide.model.parameters().values())


def test_training_goes_on_in_another_dtype() -> None:
    trainer = make()
    trainer.fit(X, LABELS, epochs=2)
    loss = trainer.evaluate(X, LABELS)["loss"]
    trainer.model.astype("float64")
    assert trainer.evaluate(X, LABELS)["loss"] == pytest.approx(loss, rel=1e-5)
    trainer.fit(X, LABELS, epochs=2)
    assert trainer.history["loss"][-1] < loss
    assert trainer.slots["m"].dtype == np.float64


def test_writing_to_a_view_changes_the_net() -> None:
    model = net()
    before = model.predict(X)
    model.parameters()["2.bias"][...] += 1
    np.testing.assert_allclose(model.predict(X), before + 1, rtol=1e-6, atol=1e-6)


def test_a_model_without_parameters() -> None:
    trainer = make(hf.Sequential(hf.Tanh()), "mse")
    assert trainer.fit(X, X)["loss"][0] == pytest.approx(((np.tanh(X) - X) ** 2).mean(), rel=1e-5)
    assert trainer.model.n_parameters == 0


# ---- what is not finite ----


def test_overflow_names_place_and_leaves_the_state_of_before_the_step() -> None:
    """Step 2 of epoch 1 overflows; a twin that makes the same steps by hand shows what the state must be."""

    def schedule(step: int) -> float:
        return 3e38 if step == 6 else 0.01

    def build() -> Any:
        return make(full_net(), optimizer=hf.Adam(lr=schedule), seed=9, metrics=["accuracy"])

    trainer, twin = build(), build()
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(X, LABELS, epochs=5, batch_size=50, shuffle=False)
    error = caught.value
    assert (error.epoch, error.step) == (1, 2)
    assert error.tensor is not None and ("layer '0'" in error.tensor or "'0.weight'" in error.tensor)
    assert str(error).startswith("epoch 1, step 2: ") and error.tensor in str(error) and "learning rate" in str(error)
    twin.fit(X, LABELS, batch_size=50, shuffle=False)
    for i in (0, 50):
        twin.step(X[i : i + 50], LABELS[i : i + 50])
    assert twin.steps == trainer.steps == 7
    assert_same_state(state(twin), state(trainer))
    with pytest.raises(NonFiniteError):
        trainer.step(X[:50], LABELS[:50])
    with pytest.raises(NonFiniteError):
        trainer.step(X[:50], LABELS[:50])
    assert_same_state(state(twin), state(trainer))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("optimizer", [hf.SGD(0.1, momentum=0.9), hf.Adam(), hf.RMSprop(momentum=0.5), hf.Adagrad()])
def test_nan_in_a_parameter_is_named(optimizer: hf.Optimizer, threads: int) -> None:
    trainer = make(full_net(), optimizer=optimizer, threads=threads)
    trainer.fit(X, LABELS)
    trainer.model.parameters()["4.weight"][3, 1] = np.nan
    before = state(trainer)
    with pytest.raises(NonFiniteError, match=r"epoch 1, step 0.*parameter '4\.weight'") as caught:
        trainer.fit(X, LABELS)
    assert caught.value.tensor == "parameter '4.weight'"
    assert_same_state(before, state(trainer))


def test_infinite_gradient_of_a_finite_loss() -> None:
    def root(prediction: Any, target: Any) -> Any:
        return hf.ops.sqrt(hf.ops.abs(prediction - target))  # slope infinite at 0

    model = hf.Sequential(hf.Linear(2))
    trainer = make(model, root)
    model.build((12,))
    for p in model.parameters().values():
        p[...] = 0
    with pytest.raises(NonFiniteError, match="gradient") as caught:
        trainer.fit(X, np.zeros((203, 2), np.float32))
    assert (caught.value.epoch, caught.value.step) == (0, 0)
    assert all((p == 0).all() for p in model.parameters().values()) and trainer.steps == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_bad_values_in_data_are_named_before_anything_changes(bad: float, dtype: Any) -> None:
    x, y = X.astype(dtype), Y.astype(dtype)
    trainer = make(net(out=2), "mse")
    trainer.fit(x, y)
    trainer.step(x, y)
    trainer.step(x, y)
    before = state(trainer)
    x_bad, y_bad = x.copy(), y.copy()
    x_bad[101, 7] = bad
    y_bad[11, 1] = bad
    w_bad = np.where(np.arange(203) == 5, bad, 1)
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("x holds .* row 101, column 7", lambda: trainer.fit(x_bad, y)),
        ("y holds .* row 11, column 1", lambda: trainer.fit(x, y_bad)),
        ("x holds .* row 101, column 7", lambda: trainer.fit(x, y, validation_data=(x_bad, y))),
        ("y holds .* row 11, column 1", lambda: trainer.fit(x, y, validation_data=(x, y_bad))),
        ("x holds .* row 101, column 7", lambda: trainer.step(x_bad, y)),
        ("y holds .* row 11, column 1", lambda: trainer.step(x, y_bad)),
        ("x holds .* row 101, column 7", lambda: trainer.evaluate(x_bad, y)),
        ("y holds .* row 11, column 1", lambda: trainer.evaluate(x, y_bad)),
        ("x holds .* row 101, column 7", lambda: trainer.model.predict(x_bad)),
        ("sample_weight holds .* row 5", lambda: trainer.fit(x, y, sample_weight=w_bad)),
    ]
    for message, call in calls:
        with pytest.raises(NonFiniteError, match=message):
            call()
        assert_same_state(before, state(trainer))


def test_the_short_way_checks_targets_too() -> None:
    """Repeated steps and predictions skip Python's checks, never the checks."""
    x = X[:8]
    labels = make()
    binary = make(net(out=1), "bce_with_logits")
    shares = make()
    cases: list[tuple[Any, np.ndarray, np.ndarray]] = [
        (labels, LABELS[:8], LABELS[:8] + 3),
        (labels, LABELS[:8], LABELS[:8] - 5),
        (binary, np.ones((8, 1), np.float32), np.full((8, 1), 7, np.float32)),
        (shares, np.full((8, 3), 1 / 3, np.float32), np.full((8, 3), 2, np.float32)),
    ]
    for trainer, good, bad in cases:
        for _ in range(3):
            trainer.step(x, good)
        before = state(trainer)
        with pytest.raises(hf.errors.LabelError):
            trainer.step(x, bad)
        assert_same_state(before, state(trainer))


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


def in_threads(work: list[Callable[[], Any]]) -> list[BaseException]:
    """Runs each in its own thread, started together; what they raised."""
    errors: list[BaseException] = []
    gate = threading.Barrier(len(work))

    def run(function: Callable[[], Any]) -> None:
        try:
            gate.wait()
            function()
        except BaseException as error:
            errors.append(error)

    pool = [threading.Thread(target=run, args=(f,)) for f in work]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return errors


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


# ---- what a trainer tells ----


def test_history() -> None:
    trainer = make(metrics=["accuracy"])
    history = trainer.fit(X, LABELS, epochs=2, validation_data=(X, LABELS))
    assert history is trainer.history and len(history) == history.epochs == 2
    names = ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert list(history.to_dict()) == names and all(n in history for n in names) and "mse" not in history
    copy = history.to_dict()
    copy["loss"].append(1.0)
    assert len(history["loss"]) == 2
    assert repr(history).startswith("History(2 epochs: loss ")


def test_plan_and_memory() -> None:
    trainer = make(full_net())
    text = trainer.plan(X, LABELS, batch_size=50).describe()
    assert "adam" in text and "capacity 50" in text
    memory = trainer.memory(X, LABELS, batch_size=50)
    assert memory.optimizer == 2 * memory.gradients > 0
    assert memory.total >= trainer.model.n_parameters * 16


def test_wrong_number_of_inputs() -> None:
    trainer = make(Branches(), both_outputs)
    trainer.fit((X, X), Y)
    for wrong in (X, (X,), (X, X, X), (X, X[:, :5])):
        with pytest.raises(ShapeError):
            trainer.fit(wrong, Y)
    with pytest.raises(ShapeError, match=r"x\[1\]"):
        trainer.fit((X, X[:5]), Y)


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make()
    trainer.fit(X, LABELS, epochs=3, callbacks=[hf.Progress()])
    assert "3/3" in capsys.readouterr().err


def test_plot() -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    history = make(metrics=["accuracy"]).fit(X, LABELS, epochs=2, validation_data=(X, LABELS))
    ax = history.plot()
    assert {line.get_label() for a in ax.figure.axes for line in a.lines} == set(history.to_dict())
    plt.close(ax.figure)
