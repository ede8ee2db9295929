"""hawfinch.train: fit, step, evaluate. Same bits everywhere, weights, metrics, callbacks, what a trainer tells."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from training import LABELS, RNG, Branches, X, Y, assert_same_state, both_outputs, full_net, make, net, state

import hawfinch as hf
from hawfinch.errors import ArgumentError, ShapeError

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
        by_hand.set(lr=lr / (1 + step))
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


# ---- identity ----


def test_settings_set_later_never_train_on_an_old_plan() -> None:
    """Functions made one after the other may get each other's address, and long arrays have each other's repr."""
    x, y = X, X[:, :1]
    table = np.ones(3000, np.float32)

    class Scaled(hf.Loss):
        def __init__(self, table: np.ndarray) -> None:
            self.table = table

        def __call__(self, prediction: Any, target: Any) -> Any:
            return hf.ops.square(prediction - target) * hf.ops.max(self.table)

    def move(trainer: hf.Trainer, loss: Any) -> np.ndarray:
        trainer.loss = loss
        parameters = list(trainer.model.parameters().values())
        before = [p.copy() for p in parameters]
        trainer.step(x, y)
        step = np.concatenate([(p - b).ravel() for p, b in zip(parameters, before, strict=True)])
        for p, b in zip(parameters, before, strict=True):
            p[...] = b
        return step

    trainer = make(net(dtype="float64", out=1), "mse", hf.SGD(lr=0.1))
    trainer.model.build((12,))
    first = move(trainer, lambda p, t: hf.ops.square(p - t))
    for scale in (1.0, 3.0, 1.0, 2.0, 4.0):
        step = move(trainer, lambda p, t, k=scale: k * hf.ops.square(p - t))
        np.testing.assert_allclose(step, scale * first, rtol=1e-12, atol=1e-18)
        table[1500] = scale
        np.testing.assert_allclose(move(trainer, Scaled(table)), scale * first, rtol=1e-12, atol=1e-18)


def test_settings_are_checked_when_they_are_set() -> None:
    trainer = make(metrics=["accuracy"])
    trainer.loss = "mse"
    assert trainer.loss == hf.MSE()
    trainer.loss = hf.MAE
    assert trainer.loss == hf.MAE()
    trainer.optimizer = "sgd"
    assert isinstance(trainer.optimizer, hf.SGD)
    trainer.metrics = "mse"
    assert list(trainer.metrics) == ["mse"]
    wrong: list[tuple[str, Any]] = [("loss", "msse"), ("loss", 3), ("optimizer", "addam"), ("optimizer", hf.Adam)]
    wrong += [("metrics", ["acuracy"]), ("metrics", 3), ("seed", -1), ("seed", 1.5), ("seed", True), ("threads", 0)]
    for name, value in [*wrong, ("precision", "f16")]:
        before = getattr(trainer, name)
        with pytest.raises(hf.HawfinchError):
            setattr(trainer, name, value)
        assert getattr(trainer, name) == before
    trainer.fit(X, X[:, :3])


def test_plans_of_old_settings_are_let_go() -> None:
    """Twenty losses, one after the other, as the kernel counts their memory: a few plans are kept, not all."""
    code = """
import resource
import numpy as np, hawfinch as hf
x = np.zeros((1024, 512), np.float32)
trainer = hf.Trainer(hf.Sequential(hf.Linear(512), hf.ReLU(), hf.Linear(10)), "mse")
def resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trainer.fit(x, x[:, :10], batch_size=1024, threads=1)
before = resident()
one = trainer.memory(x, x[:, :10], batch_size=1024).activations // 1024
for k in range(20):
    trainer.loss = hf.Huber(1.0 + k)
    trainer.fit(x, x[:, :10], batch_size=1024, threads=1)
print(one, resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    one, all_of_them = map(int, done.stdout.split())
    assert one > 2000 and all_of_them < 5 * one  # KiB


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


def test_an_argument_that_fit_does_not_take_is_named() -> None:
    trainer = hf.Trainer(net(), "softmax_cross_entropy")
    with pytest.raises(ArgumentError, match=r"unknown argument of fit 'epoch'\. Did you mean 'epochs'"):
        trainer.fit(X, LABELS, epoch=3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"unknown argument of evaluate 'batchsize'\. Did you mean 'batch_size'"):
        trainer.evaluate(X, LABELS, batchsize=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["mse", "mae", "bce_with_logits"])
def test_a_callback_that_changes_the_outputs_width_ends_the_fit(loss: str) -> None:
    model = hf.Sequential(hf.Linear(4), hf.Tanh(), hf.Linear(3)).build((X.shape[1],))

    def narrow(trainer: hf.Trainer, epoch: int, logs: dict[str, float]) -> None:
        hf.transfer.replace(model, 2, hf.Linear(1))

    trainer = hf.Trainer(model, loss)
    with pytest.raises(ShapeError, match="do not match"):
        trainer.fit(X, np.ones((len(X), 3)), epochs=2, callbacks=[narrow])
    assert trainer.epochs == 1


def test_reprs_of_callbacks_and_optimisers() -> None:
    early = hf.EarlyStopping("val_mae", patience=3)
    assert repr(early) == "EarlyStopping('val_mae', patience=3, min_delta=0.0, mode='auto')"
    want = "Checkpoint('run.ckpt', every=2, every_steps=None, keep=0, best=None, mode='auto')"
    assert repr(hf.Checkpoint("run.ckpt", every=2)) == want
    adam = hf.Adam(0.1, clip_norm=1.0)
    assert repr(adam) == "Adam(lr=0.1, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, clip_norm=1.0)"
    assert eval(repr(adam), {"Adam": hf.Adam}) == adam
