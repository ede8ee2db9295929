"""hawfinch.train: any form of data, models of one's own, exact failure where something is not finite."""

import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import LABELS, RNG, Branches, X, Y, assert_same_state, both_outputs, full_net, make, net, state

import hawfinch as hf
from hawfinch.errors import ArgumentError, DTypeError, NonFiniteError, ShapeError

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
    trainer.set(lr=0.02)
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


def test_a_loss_that_gives_one_number_takes_no_weights() -> None:
    x, y = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32)
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), lambda p, t: hf.ops.mean((p - t) ** 2), "sgd")
    assert trainer.step(x, y) >= 0
    with pytest.raises(ShapeError, match="one value per row"):
        trainer.step(x, y, sample_weight=np.array([1.0, 0, 0, 0]))
    assert trainer.steps == 1


# ---- what is said about wrong input ----


class Idle:
    def on_epoch_end(self, trainer: Any, epoch: int, logs: Any) -> None:
        pass


SAID: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"validation_data": (X[:, :2], Y)}, ShapeError, r"validation_data: x: expected \(rows, 12\)"),
    ({"validation_data": (X, Y[:5])}, ShapeError, "validation_data: x has 203 rows, y has 5"),
    ({"validation_data": (X * np.nan, Y)}, hf.HawfinchError, "validation_data: x holds nan in row 0"),
    ({"validation_data": (X, Y, -np.ones(203))}, ArgumentError, "validation_data: sample_weight must not be neg"),
    ({"validation_data": X}, ArgumentError, r"validation_data: expected \(x, y\)"),
    ({"shuffle": "no"}, ArgumentError, "shuffle must be True or False, got 'no'"),
    ({"shuffle": 1}, ArgumentError, "shuffle"),
    ({"batch_size": "ful"}, ArgumentError, "batch_size must be a whole number from 1, not 'ful'"),
    ({"batch_size": 2.0}, ArgumentError, "batch_size"),
    ({"epochs": -1}, ArgumentError, "epochs"),
    ({"callbacks": [Idle]}, ArgumentError, r"Idle is a class; pass an object of it, Idle\(...\)"),
    ({"callbacks": Idle}, ArgumentError, r"expected a list such as \[hf.Progress\(\)\], got the class Idle"),
    ({"callbacks": Idle()}, ArgumentError, "expected a list"),
    ({"callbacks": "Idle"}, ArgumentError, "expected a list"),
    ({"callbacks": [3]}, ArgumentError, "on_epoch_end"),
    ({"sample_weight": np.zeros(203)}, ArgumentError, "sample_weight: all are 0"),
    ({"y": np.full((203, 2), 2**53 + 2)}, ArgumentError, r"y: 9007199254740994 is beyond 2\*\*53"),
    ({"y": np.full((203, 2), -(2**60))}, ArgumentError, r"beyond 2\*\*53"),
    ({"y": [[10**400, 0]] * 203}, DTypeError, "too large for 64 bits"),
    ({"y": [[1.0, "a"]] * 203}, DTypeError, "y: text"),
    ({"y": [[1.0, None]] * 203}, DTypeError, r"y: NoneType None at \[0, 1\]"),
    ({"y": (Y, Y)}, ArgumentError, "2 arrays, but there is one loss"),
    ({"y": None}, ArgumentError, "y is missing"),
    ({"x": None}, ArgumentError, "x is missing"),
    ({"x": "abc"}, DTypeError, "x: text"),
    ({"x": [[1.0] * 12, [1.0]]}, ShapeError, "x: rows of different lengths"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), SAID)
def test_what_is_said_about_wrong_input(changes: dict[str, Any], kind: type[Exception], message: str) -> None:
    trainer = make(net(out=2), "mse")
    with pytest.raises(kind, match=message):
        trainer.fit(**{"x": X, "y": Y, **changes})
    assert trainer.steps == 0


def test_a_frame_of_floats_and_booleans_is_numbers() -> None:
    mixed = np.empty((203, 12), object)
    mixed[...] = X.tolist()
    mixed[:, 3] = X[:, 3] > 0
    numbers = X.copy()
    numbers[:, 3] = X[:, 3] > 0
    a, b = (make(net(out=2), "mse").fit(x, Y)["loss"] for x in (mixed, numbers))
    assert a == b


@pytest.mark.parametrize("scale", [1e300, 1e-300, 5e-324, 2.0**1000])
def test_only_ratios_of_weights_matter(scale: float) -> None:
    """Also where the weights are beyond float32, or no normal numbers."""
    w = np.array([1.0, 2.0, 4.0])[np.arange(len(X)) % 3]
    plain, scaled = (make(net(dtype="float64", out=2), "mse", hf.SGD(lr=0.1)) for _ in range(2))
    a = plain.fit(X, Y, epochs=2, sample_weight=w)["loss"]
    b = scaled.fit(X, Y, epochs=2, sample_weight=w * scale)["loss"]
    np.testing.assert_allclose(a, b, rtol=1e-12)
    assert scaled.evaluate(X, Y, sample_weight=w * scale)["loss"] == pytest.approx(
        plain.evaluate(X, Y, sample_weight=w)["loss"], rel=1e-12
    )


def test_the_full_batch() -> None:
    a, b = make(net(out=2), "mse"), make(net(out=2), "mse")
    a.fit(X, Y, batch_size="full")
    b.fit(X, Y, batch_size=len(X))
    assert_same_state(state(a), state(b))
    assert a.steps == 1 and a.evaluate(X, Y, batch_size="full") == b.evaluate(X, Y, batch_size=1000)


@pytest.mark.parametrize(
    ("loss", "layer", "y"),
    [("softmax_cross_entropy", hf.Softmax, LABELS), ("bce_with_logits", hf.Sigmoid, X[:, :3] > 0)],
)
def test_softmax_twice_is_told_once(loss: str, layer: Any, y: Any) -> None:
    trainer = make(hf.Sequential(hf.Linear(3), layer()), loss)
    with pytest.warns(UserWarning, match="logits") as caught:
        trainer.fit(X, y, validation_data=(X, y))
        trainer.fit(X[:9], y[:9])
    assert len(caught) == 1 and caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(hf.Sequential(hf.Linear(3), hf.LogSoftmax()), "softmax_cross_entropy").fit(X, LABELS)


def test_wrong_calls_of_the_constructor_and_short_reprs() -> None:
    for call, message in (
        (lambda: hf.Trainer(net()), "missing a required argument: 'loss'"),
        (lambda: hf.Trainer(net(), "mse", optimiser="adam"), "Did you mean 'optimizer'"),
        (lambda: hf.Trainer(hf.Linear, "mse"), "expected a hawfinch Module"),
        (lambda: hf.Huber("a"), "delta must be a number"),
        (lambda: hf.SoftmaxCrossEntropy(label_smoothing="a"), "label_smoothing must be a number"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()
    trainer = make(loss=hf.SoftmaxCrossEntropy(class_weight=list(range(1000))))
    assert len(repr(trainer)) < 250 and len(repr(trainer.loss)) < 180
    with pytest.raises(KeyError, match="no 'mae' in the history; it has loss"):
        make(net(out=2), "mse").fit(X, Y)["mae"]


def test_targets_in_a_tuple_of_one_are_the_targets() -> None:
    assert make(net()).step((X,), (LABELS,)) == make(net()).step(X, LABELS)
    with pytest.raises(ShapeError, match="a tuple of 2 arrays, taken as one"):
        make(net()).step(X, (LABELS, LABELS))
