"""hawfinch.fit_many: each net as trained alone, on shared plans; nets that fail, stop, or are wrongly given."""

import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from training import LABELS, Branches, X, Y, both_outputs, full_net, in_threads, net

import hawfinch as hf
from hawfinch.errors import ArgumentError, LabelError, NonFiniteError, ShapeError

CE = "softmax_cross_entropy"
Net = tuple[Callable[[], hf.Module], Callable[[], dict[str, Any]]]


def fitted(history: hf.History, model: hf.Module) -> tuple[Any, ...]:
    """All that is left of a net's training, comparable."""
    arrays = {**model.parameters(), **model.buffers()}
    return {k: v.tobytes() for k, v in arrays.items()}, history.to_dict(), str(history.error)


def alone(model: hf.Module, options: dict[str, Any], x: Any, y: Any, **more: Any) -> tuple[Any, ...]:
    """The same by ``Trainer.fit``."""
    of_trainer = {k: options[k] for k in ("loss", "optimizer", "metrics", "seed") if k in options}
    of_fit = {k: v for k, v in options.items() if k not in of_trainer}
    trainer = hf.Trainer(model, **of_trainer)
    try:
        trainer.fit(x, y, threads=1, **{**more, **of_fit})
    except NonFiniteError as error:
        trainer.history.error = error
    return fitted(trainer.history, model)


def assert_as_alone(nets: list[Net], x: Any, y: Any, threads: int | None = None, **more: Any) -> list[hf.History]:
    models = [make() for make, _ in nets]
    given = [(model, options()) for model, (_, options) in zip(models, nets, strict=True)]
    histories = hf.fit_many(given, x, y, threads=threads, **more)
    for i, ((make, options), history, model) in enumerate(zip(nets, histories, models, strict=True)):
        assert fitted(history, model) == alone(make(), options(), x, y, **more), i
    return histories


class Scaled(hf.Module):
    """A number, an array and a function that the trace catches: nothing in its layers tells two of them apart."""

    def __init__(self, factor: float, table: Any, act: Callable[[Any], Any]):
        self.inner, self.factor, self.table, self.act = hf.Linear(3), factor, table, act

    def forward(self, x: Any) -> Any:
        return self.act(self.inner(x) * self.factor) + self.table


class Times(hf.SoftmaxCrossEntropy):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def __call__(self, prediction: Any, target: Any) -> Any:
        return super().__call__(prediction, target) * self.factor


class Wrong(hf.SoftmaxCrossEntropy):
    def __call__(self, prediction: Any, target: Any) -> Any:
        return 1


def twice(same: bool) -> hf.Sequential:
    """One layer twice, or two of the same size."""
    layer = hf.Linear(12)
    return hf.Sequential(layer, hf.Tanh(), layer if same else hf.Linear(12), hf.Linear(3))


def metric(factor: float) -> Callable[[Any, Any], Any]:
    def named_alike(prediction: Any, target: Any) -> Any:
        return hf.ops.sum(prediction, 1) * factor

    return named_alike


def options(**more: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {"loss": CE, **more}


KINDS: list[Net] = [
    (net, options()),
    (net, options(seed=3)),
    (net, options(optimizer=hf.SGD(0.1, momentum=0.9, nesterov=True), metrics=["accuracy"])),
    (net, options(optimizer=hf.SGD(0.1, momentum=0.5), metrics=["accuracy"])),
    (net, options(optimizer=hf.SGD(0.05))),
    (net, options(optimizer=hf.SGD(lr=lambda step: 0.1 / (1 + step)), seed=2**64 - 1)),
    (full_net, options(optimizer=hf.AdamW(clip_norm=0.5), seed=5)),
    (full_net, options(optimizer=hf.AdamW(clip_norm=0.5), seed=6, epochs=1)),
    (full_net, options(optimizer=hf.RMSprop(momentum=0.3, clip_value=0.1), batch_size=7)),
    (lambda: full_net(150), options(optimizer=hf.Adagrad(), batch_size=203)),
    (lambda: full_net().astype("float64"), options(seed=5)),
    (lambda: hf.Sequential(hf.Linear(16), hf.ReLU(), hf.Linear(3)), options()),
    (lambda: hf.Sequential(hf.Linear(16), hf.Dropout(0.2), hf.Linear(3)), options(shuffle=False)),
    (lambda: hf.Sequential(hf.Linear(16), hf.Dropout(0.4), hf.Linear(3)), options(shuffle=False)),
    (lambda: hf.Sequential(hf.Linear(3, bias=False)), options(loss=hf.SoftmaxCrossEntropy(label_smoothing=0.1))),
    (lambda: hf.Sequential(hf.Linear(3, bias=False)), options(class_weight="balanced")),
    (lambda: hf.Sequential(hf.Linear(3, bias=False)), options(sample_weight=np.linspace(0, 1, 203))),
    (lambda: Scaled(2.0, np.arange(3.0), hf.ops.tanh), options()),
    (lambda: Scaled(3.0, np.arange(3.0), hf.ops.tanh), options()),
    (lambda: Scaled(2.0, np.ones(3), hf.ops.tanh), options()),
    (lambda: Scaled(2.0, np.arange(3.0), hf.ops.relu), options()),
    (net, lambda: {"loss": Times(2.0)}),
    (net, lambda: {"loss": Times(3.0)}),
    (lambda: twice(True), options()),
    (lambda: twice(False), options()),
    (lambda: hf.Sequential(hf.Linear(8), hf.LeakyReLU(0.1), hf.Linear(3)), options(seed=1)),
    (lambda: hf.Sequential(hf.Linear(8), hf.LeakyReLU(0.2), hf.Linear(3)), options(seed=1)),
    (lambda: hf.Sequential(hf.Linear(8, init="zeros"), hf.LeakyReLU(0.2), hf.Linear(3)), options(seed=1)),
    (net, options(metrics=[metric(1.0)])),
    (net, options(metrics=[metric(2.0)])),
    (lambda: net().astype("float64"), options(metrics=["accuracy"])),
    (net, options(epochs=0)),
]


@pytest.mark.parametrize("threads", [None, 1, 2, 5])
def test_each_net_has_the_bits_of_training_alone(threads: int | None) -> None:
    """All kinds in one call, each twice, with validation data; the last batch is short."""
    nets = [*KINDS, *KINDS[::-1]]
    histories = assert_as_alone(
        nets, X, LABELS, threads, epochs=2, batch_size=32, validation_data=(X[::2], LABELS[::2])
    )
    assert [len(h) for h in histories] == [o().get("epochs", 2) for _, o in nets]
    assert "val_loss" in histories[0]


def test_nets_of_one_architecture_by_the_dozen() -> None:
    """Only seed, rate and row weights differ: they take turns on as many plans as there are threads."""
    rng = np.random.default_rng(0)
    weights = [rng.integers(0, 3, len(X)) for _ in range(40)]  # bagging

    def kind(i: int) -> Net:
        return full_net, options(seed=i, optimizer=hf.Adam(lr=0.001 * (i + 1)), sample_weight=weights[i])

    histories = assert_as_alone([kind(i) for i in range(40)], X, LABELS, 3, epochs=3, batch_size=50)
    assert len({h["loss"][-1] for h in histories}) == 40


def test_regression_and_weights_for_all() -> None:
    weight = np.linspace(0.5, 2, len(X))
    nets: list[Net] = [(lambda: net(out=2), options(loss=loss, metrics=["mae"])) for loss in ("mse", "huber", "mae")]
    validation = (X[:50], Y[:50], weight[:50])
    assert_as_alone(nets * 2, X, Y, epochs=2, sample_weight=weight, validation_data=validation)


def test_several_inputs() -> None:
    nets: list[Net] = [(Branches, options(loss=both_outputs, seed=i)) for i in range(3)]
    assert_as_alone(nets, (X, X[::-1]), Y, epochs=2, validation_data=((X, X), Y))


def test_lists_and_other_dtypes() -> None:
    nets: list[Net] = [(net, options(seed=i)) for i in range(3)]
    x, y = X.round(), LABELS.astype(np.uint8)
    first = hf.fit_many([(m(), o()) for m, o in nets], x.tolist(), y.tolist(), epochs=2)
    second = hf.fit_many([(m(), o()) for m, o in nets], x.astype(np.float16), y, epochs=2)
    histories = assert_as_alone(nets, x, LABELS, epochs=2)
    assert [h.to_dict() for h in first] == [h.to_dict() for h in second] == [h.to_dict() for h in histories]


def test_data_of_ones_own() -> None:
    """A net may bring its own validation data and weights; they are not taken for another's."""
    nets: list[Net] = [
        (net, lambda i=i: {"loss": CE, "validation_data": (X[i:].copy(), LABELS[i:].copy())})  # type: ignore[misc]
        for i in range(6)
    ]
    assert len({h["val_loss"][-1] for h in assert_as_alone(nets, X, LABELS, epochs=2)}) == 6


def test_models_that_are_built_already_go_on_from_where_they_are() -> None:
    def built(seed: int) -> Callable[[], hf.Module]:
        def make() -> hf.Module:
            model = net().build((12,), seed=seed)
            model.parameters()["2.bias"][...] = seed
            return model

        return make

    assert_as_alone([(built(i), options(seed=9)) for i in range(4)], X, LABELS, epochs=2)


def test_nothing_to_do() -> None:
    assert hf.fit_many([], X, LABELS) == []
    (history,) = hf.fit_many([(net(), {"loss": CE})], X, LABELS, epochs=0)
    assert len(history) == 0


def test_from_several_python_threads() -> None:
    expected = alone(full_net(), {"loss": CE}, X, LABELS, epochs=3)

    def work() -> None:
        models = [full_net() for _ in range(5)]
        histories = hf.fit_many([(m, {"loss": CE}) for m in models], X, LABELS, epochs=3, threads=2)
        assert all(fitted(h, m) == expected for h, m in zip(histories, models, strict=True))

    assert in_threads([work] * 4) == []


# ---- callbacks ----


class Patience:
    """A stop rule with a memory, and a log of all that a callback sees."""

    def __init__(self, target: float):
        self.target, self.seen = target, []

    def on_fit_begin(self, trainer: Any) -> None:
        self.seen.append(("begin", trainer.epochs_planned))

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        self.seen.append((epoch, logs["loss"], trainer.model.parameters()["0.weight"].sum()))
        trainer.stop = logs["loss"] < self.target

    def on_fit_end(self, trainer: Any) -> None:
        self.seen.append(("end", trainer.steps, trainer.epochs))


def test_each_net_stops_by_its_own_rule() -> None:
    rules: list[list[Patience]] = [[], []]
    for seen in rules:
        seen += [Patience(target) for target in np.linspace(0.3, 1.1, 9)]
    models = [net() for _ in range(9)]
    given = [
        (m, {"loss": CE, "optimizer": hf.Adam(0.02), "callbacks": [r]}) for m, r in zip(models, rules[0], strict=True)
    ]
    histories = hf.fit_many(given, X, LABELS, epochs=12, threads=3)
    for model, history, mine, twin in zip(models, histories, *rules, strict=True):
        again = {"loss": CE, "optimizer": hf.Adam(0.02), "callbacks": [twin]}
        assert fitted(history, model) == alone(net(), again, X, LABELS, epochs=12)
        assert mine.seen == twin.seen and mine.seen[-1][0] == "end"
    assert len({len(h) for h in histories}) > 3


def test_callbacks_may_use_and_change_the_model_and_the_trainer() -> None:
    """Predicting moves arrays, steps of other rows use the plan, an option set anew asks for another plan."""

    def look(trainer: Any, epoch: int, logs: Any) -> None:
        trainer.model.layers[0].predict(X[:5])
        trainer.model.predict(X)
        trainer.evaluate(X, LABELS)
        trainer.step(X[:9], LABELS[:9])
        if epoch == 1 and trainer.seed % 2:
            trainer.model.layers[3].p = 0.6
            trainer.model.parameters()["0.bias"][...] = 0
            trainer.optimizer = hf.SGD(0.01, momentum=0.9)

    assert_as_alone([(full_net, options(seed=i, callbacks=[look])) for i in range(12)], X, LABELS, 3, epochs=4)


def test_a_callback_that_changes_another_net() -> None:
    """Before its turn: it gets a plan of its own, not the one that was foreseen."""
    models = [full_net() for _ in range(4)]

    def change(trainer: Any, epoch: int, logs: Any) -> None:
        if trainer.seed == 0:
            models[3].layers[0] = hf.Linear(7)  # type: ignore[attr-defined,index]

    for model in models:
        model.layers = list(model.layers)  # type: ignore[attr-defined]
    nets = [(m, {"loss": CE, "seed": i, "callbacks": [change]}) for i, m in enumerate(models)]
    with pytest.raises((ShapeError, hf.HawfinchError)) as caught:
        hf.fit_many(nets, X, LABELS, epochs=2, threads=1)
    assert caught.value.__notes__ == ["in the training of net 3"]


def test_a_trainer_that_a_callback_kept_goes_on() -> None:
    kept: dict[int, hf.Trainer] = {}

    def keep(trainer: Any, epoch: int, logs: Any) -> None:
        kept[trainer.seed] = trainer

    hf.fit_many([(full_net(), {"loss": CE, "seed": i, "callbacks": [keep]}) for i in range(6)], X, LABELS, epochs=2)
    for seed, trainer in kept.items():
        trainer.fit(X, LABELS, epochs=2)
        assert fitted(trainer.history, trainer.model) == alone(
            full_net(), {"loss": CE, "seed": seed}, X, LABELS, epochs=4
        )


@pytest.mark.parametrize("event", ["on_fit_begin", "on_step_end", "on_epoch_end", "on_fit_end"])
def test_an_error_in_a_callback_stops_all_and_is_raised(event: str) -> None:
    class Fails:
        pass

    def fail(self: Any, *args: Any) -> None:
        raise KeyError("mine")

    setattr(Fails, event, fail)
    models = [full_net() for _ in range(20)]
    nets = [(m, {"loss": CE, "callbacks": [Fails()] if i == 5 else []}) for i, m in enumerate(models)]
    with pytest.raises(KeyError, match="mine") as caught:
        hf.fit_many(nets, np.repeat(X, 50, 0), np.repeat(LABELS, 50), epochs=20, threads=2)
    assert caught.value.__notes__ == ["in the training of net 5"]
    first = alone(full_net(), {"loss": CE, "epochs": 0}, X, LABELS)
    untouched = [fitted(hf.History(), m) == first for m in models]
    assert untouched[-1] and all(np.isfinite(m.predict(X)).all() for m in models)


# ---- what is not finite ----


def test_a_net_that_fails_does_not_stop_the_others() -> None:
    """Its history ends there and says why; its parameters are those before the step, as alone."""

    def schedule(step: int) -> float:
        return 3e38 if step == 6 else 0.01

    nets: list[Net] = [
        (full_net, options(seed=i, optimizer=hf.Adam(lr=schedule if i % 3 == 1 else 0.01))) for i in range(9)
    ]
    histories = assert_as_alone(nets, X, LABELS, 2, epochs=4, batch_size=50)
    for i, history in enumerate(histories):
        if i % 3 == 1:
            assert isinstance(history.error, NonFiniteError)
            assert (history.error.epoch, history.error.step) == (1, 2) and "'0" in str(history.error.tensor)
            assert len(history) == 1 and "not finite" in repr(history)
        else:
            assert history.error is None and len(history) == 4


def test_failed_nets_hold_no_trainers() -> None:
    """200 of them: what is left is their parameters, not their optimisers' 30 MB."""

    def run(n: int) -> Any:
        nets = [
            (hf.Sequential(hf.Linear(1000), hf.Linear(3)), {"loss": CE, "optimizer": hf.Adam(lr=1e38)})
            for _ in range(n)
        ]
        histories = hf.fit_many(nets, X, LABELS, epochs=2, threads=2)
        assert all(h.error is not None for h in histories)
        return nets, histories

    tracemalloc.start()
    kept = run(200)
    now = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    parameters = sum(p.nbytes for model, _ in kept[0] for p in model.parameters().values())
    assert parameters > 12e6 and now < 1.3 * parameters + 4e6


# ---- memory ----


def test_memory_is_by_thread_not_by_net() -> None:
    """60 nets of six architectures on two threads: twice the arenas of 6 nets on one, and the parameters of all."""

    def peak(n: int, threads: int) -> int:
        activations = [hf.ReLU, hf.Tanh, hf.Sigmoid, hf.GELU, hf.SiLU, hf.ELU]
        nets = [
            (hf.Sequential(hf.Linear(1000), activations[i % 6](), hf.Linear(3)), {"loss": CE, "seed": i})
            for i in range(n)
        ]
        x, y = np.repeat(X, 4, 0), np.repeat(LABELS, 4)
        tracemalloc.start()
        hf.fit_many(nets, x, y, epochs=1, batch_size=812, threads=threads, validation_data=(x, y))
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(2, 1)
    one = peak(6, 1)
    assert one > 10e6  # an arena is 812 x 1000 activations and more
    assert peak(60, 2) < 2 * one + 60 * 100_000  # parameters of 64 kB each


# ---- wrong input ----


def test_wrong_input_is_refused_before_any_training() -> None:
    shared = hf.Linear(3)
    good: Any = (net(), {"loss": CE})
    bad_x, bad_y = X.copy(), LABELS.copy()
    bad_x[101, 7], bad_y[3] = np.nan, 3
    one, other = (hf.Sequential(shared), {"loss": CE}), (hf.Sequential(hf.Tanh(), shared), {"loss": CE})

    def with_options(**more: Any) -> Any:
        return [good, (net(), {"loss": CE, **more})]

    cases: list[tuple[type[Exception], str, Any, Any, Any, dict[str, Any]]] = [
        (ArgumentError, "net 1: expected a pair", [good, net()], X, LABELS, {}),
        (ArgumentError, "net 1: expected a pair", [good, (net(), CE)], X, LABELS, {}),
        (ArgumentError, "nets: expected a list", 7, X, LABELS, {}),
        (ArgumentError, "net 1: .*no loss", [good, (net(), {})], X, LABELS, {}),
        (ArgumentError, "net 1: .*Module", [good, ("net", {"loss": CE})], X, LABELS, {}),
        (ArgumentError, "net 1: .*'optimiser'.*optimizer", with_options(optimiser="sgd"), X, LABELS, {}),
        (ArgumentError, "net 1: .*'threads'", with_options(threads=2), X, LABELS, {}),
        (ArgumentError, "net 1: resume: expected a path", with_options(resume=3), X, LABELS, {}),
        (ArgumentError, "net 1: .*seed", with_options(seed=-1), X, LABELS, {}),
        (ArgumentError, "net 1: epochs", with_options(epochs=1.5), X, LABELS, {}),
        (ArgumentError, "net 1: its model is part of net 0", [good, good], X, LABELS, {}),
        (ArgumentError, "net 2: its layer '1' is part of net 0", [one, good, other], X, LABELS, {}),
        (ShapeError, "net 1: .*targets", with_options(loss="mse"), X, LABELS, {}),
        (LabelError, "net 1: label 2 in row", [good, (net(out=2), {"loss": CE})], X, LABELS, {}),
        (LabelError, "net 0: label 3 in row 3", [good], X, bad_y, {}),
        (NonFiniteError, "net 0: x holds nan in row 101, column 7", [good], bad_x, LABELS, {}),
        (NonFiniteError, "x holds nan", [good], X, LABELS, {"validation_data": (bad_x, LABELS)}),
        (ShapeError, "x has 203 rows, y has 100", [good], X, LABELS[:100], {}),
        (ArgumentError, "validation_data", [good], X, LABELS, {"validation_data": X}),
        (ArgumentError, "threads", [good], X, LABELS, {"threads": 0}),
        (TypeError, "gave int", with_options(loss=Wrong()), X, LABELS, {}),
    ]
    first = {k: v.tobytes() for k, v in good[0].build((12,)).parameters().items()}
    for kind, message, nets, x, y, more in cases:
        with pytest.raises(kind, match=message):
            hf.fit_many(nets, x, y, **more)
        assert {k: v.tobytes() for k, v in good[0].parameters().items()} == first


# ---- progress, Ctrl-C ----


def test_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    hf.fit_many([(net(), {"loss": CE}) for _ in range(7)], X, LABELS, progress=True)
    err = capsys.readouterr().err
    assert "7/7" in err and "net/s" in err
    hf.fit_many([(net(), {"loss": CE})], X, LABELS)
    assert capsys.readouterr().err == ""


INTERRUPTED = """
import sys, threading
import numpy as np, hawfinch as hf
rng = np.random.default_rng(0)
x = rng.normal(size=(ROWS, 32)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
models = [hf.Sequential(hf.Linear(8), hf.BatchNorm(), hf.Linear(2)) for _ in range(6)]
ended = []
class Watch:
    def on_fit_end(self, trainer):
        ended.append(trainer.steps)
print("ready", flush=True)
try:
    nets = [(m, dict(loss="softmax_cross_entropy", callbacks=[Watch()] )) for m in models]
    hf.fit_many(nets, x, y, epochs=10**6, batch_size=16, threads=2)
except KeyboardInterrupt:
    print("stopped", flush=True)
assert threading.active_count() == 1
assert len(ended) == 2 and min(ended) > 0
for model in models:
    assert np.isfinite(model.predict(x[:50])).all()
hf.fit_many([(m, dict(loss="softmax_cross_entropy")) for m in models], x, y)
"""


@pytest.mark.parametrize("rows", [200, 500_000])
def test_ctrl_c(rows: int) -> None:
    """Short epochs, and epochs of half a second. The bound finds hangs and waiting for the end of an epoch or a net."""
    code = INTERRUPTED.replace("ROWS", str(rows))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.stdout.readline() == "stopped\n"
        assert time.monotonic() - start < 2
        err = process.communicate(timeout=60)[1]
        assert process.returncode == 0, err
    finally:
        process.kill()
        process.communicate()


def test_nets_may_have_rows_of_their_own() -> None:
    """Each with the bits of a fit alone, also where their inputs have other widths."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(60, 4)), rng.normal(size=(60, 1))
    own = [(x[:40], y[:40]), (x[20:], y[20:]), (x[:, :3], y)]
    nets = [hf.Sequential(hf.Standardize(), hf.Linear(3), hf.Tanh(), hf.Linear(1)) for _ in own]
    options = [dict(loss="mse", x=a, y=b, validation_data=(a[:9], b[:9]), seed=1) for a, b in own]
    histories = hf.fit_many(list(zip(nets, options, strict=True)), x, y, epochs=3, batch_size=16)
    for model, history, (a, b) in zip(nets, histories, own, strict=True):
        alone = hf.Sequential(hf.Standardize(), hf.Linear(3), hf.Tanh(), hf.Linear(1))
        expected = hf.Trainer(alone, "mse", seed=1).fit(a, b, epochs=3, batch_size=16, validation_data=(a[:9], b[:9]))
        assert history.to_dict() == expected.to_dict()
        assert all(np.array_equal(v, alone.parameters()[k]) for k, v in model.parameters().items())
    with pytest.raises(ShapeError, match=r"net 0: .*rows"):
        hf.fit_many([(hf.Sequential(hf.Linear(1)), dict(loss="mse", x=x[:5]))], x, y)
