"""Bad input: what was given, what was expected, what to do. Hostile input: an error or the right result, no crash."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hostile import HOSTILE, LABELS, X, Y

import hawfinch as hf
from hawfinch import errors
from hawfinch.errors import ArgumentError, DTypeError, HawfinchError, LabelError, NonFiniteError, ShapeError


def classifier(**more: Any) -> hf.Trainer:
    model = hf.Sequential(hf.Linear(8), hf.ReLU(), hf.Linear(3)).build((4,))
    return hf.Trainer(model, "softmax_cross_entropy", **more)


def regressor(out: int = 3) -> hf.Trainer:
    return hf.Trainer(hf.Sequential(hf.Linear(8), hf.ReLU(), hf.Linear(out)).build((4,)), "mse")


def put(a: np.ndarray, at: tuple[int, ...], value: float) -> np.ndarray:
    a = a.copy()
    a[at] = value
    return a


Call = Callable[[hf.Trainer], Any]
CASES: dict[str, tuple[Call, type[Exception], str]] = {
    # shapes
    "features": (lambda t: t.fit(X[:, :3], LABELS), ShapeError, r"x: expected \(rows, 4\).*built for; got \(20, 3\)"),
    "features of predict": (lambda t: t.model.predict(X[:, :3]), ShapeError, r"x: expected \(rows, 4\).*got \(20, 3\)"),
    "a row": (lambda t: t.model.predict(X[0]), ShapeError, r"got \(4,\); for one row use x\[None, :\]"),
    "a feature": (lambda t: t.fit(X[:, 0], LABELS), ShapeError, r"for one feature x\[:, None\]"),
    "rank": (lambda t: t.fit(X[None], LABELS), ShapeError, r"expected \(rows, 4\).*got \(1, 20, 4\)"),
    "a number": (lambda t: t.model.predict(3.0), ShapeError, r"row axis.*got shape \(\)"),
    "eight axes": (lambda t: t.model.predict(np.zeros((1,) * 8)), ShapeError, "at most 6 more"),
    "lengths": (lambda t: t.fit(X, LABELS[:7]), ShapeError, "x has 20 rows, y has 7"),
    "lengths of step": (lambda t: t.step(X[:7], LABELS), ShapeError, "x has 7 rows, y has 20"),
    "lengths of evaluate": (lambda t: t.evaluate(X, LABELS[:7]), ShapeError, "x has 20 rows, y has 7"),
    "labels in a column": (lambda t: t.fit(X, LABELS[:, None]), ShapeError, r"labels \(rows,\).*pass y\[:, 0\]"),
    "ragged": (lambda t: t.fit([[1.0, 2.0], [3.0]], [0, 1]), ShapeError, "rows of different lengths"),
    "no rows": (lambda t: t.fit(X[:0], LABELS[:0]), ShapeError, "no rows: there is nothing to fit"),
    "no rows in step": (lambda t: t.step(X[:0], LABELS[:0]), ShapeError, "no rows"),
    "no rows in evaluate": (lambda t: t.evaluate(X[:0], LABELS[:0]), ShapeError, "no rows"),
    "no inputs": (lambda t: t.fit((), LABELS), ShapeError, r"takes 1 input\(s\), got 0"),
    "two inputs": (lambda t: t.fit((X, X), LABELS), ShapeError, r"takes 1 input\(s\), got 2"),
    # labels
    "label too large": (lambda t: t.fit(X, put(LABELS, (5,), 3)), LabelError, r"label 3 in row 5 is outside \[0, 3\)"),
    "label negative": (lambda t: t.fit(X, put(LABELS, (5,), -1)), LabelError, r"label -1 in row 5 is outside \[0, 3\)"),
    "float labels": (
        lambda t: t.fit(X, LABELS * 1.0),
        DTypeError,
        r"must be integers, got float64; pass y.astype\(int\)",
    ),
    # dtypes
    "object": (
        lambda t: t.fit(np.full(X.shape, object()), LABELS),
        DTypeError,
        r"x: object .* at \[0, 0\]; expected numbers",
    ),
    "object y": (lambda t: t.fit(X, np.where(LABELS, None, 1)), DTypeError, "y: NoneType None at"),
    "complex": (lambda t: t.fit(X * 1j, LABELS), DTypeError, "x: dtype complex64 is not supported"),
    "text": (lambda t: t.fit(X.astype(str), LABELS), DTypeError, "x: text"),
    "bytes": (lambda t: t.model.predict(b"abc"), DTypeError, "x: text"),
    "dates": (lambda t: t.model.predict(np.zeros((2, 4), "M8[D]")), DTypeError, "datetime64"),
    "durations": (lambda t: t.model.predict(np.zeros((2, 4), "m8[s]")), DTypeError, "timedelta64"),
    "fields": (lambda t: t.model.predict(np.zeros((2, 4), [("a", "f4")])), DTypeError, "x: dtype"),
    "None": (lambda t: t.model.predict(None), DTypeError, "got NoneType"),
    "dict": (lambda t: t.model.predict({"a": [1]}), ArgumentError, "forward takes x"),
    "huge whole numbers": (lambda t: t.model.predict([[2**80] * 4]), DTypeError, "too large for 64 bits"),
    "masked": (lambda t: t.model.predict(np.ma.masked_greater(X, 0)), DTypeError, r"x: masked.*filled"),
    "masked y": (lambda t: t.fit(X, np.ma.masked_greater(LABELS, 0)), DTypeError, "y: masked"),
    # what is not finite
    "nan in x": (lambda t: t.fit(put(X, (7, 2), np.nan), LABELS), NonFiniteError, "x holds nan in row 7, column 2"),
    "inf in x": (lambda t: t.fit(put(X, (0, 3), np.inf), LABELS), NonFiniteError, "x holds inf in row 0, column 3"),
    "nan in predict": (
        lambda t: t.model.predict(put(X, (19, 0), np.nan)),
        NonFiniteError,
        "x holds nan in row 19, column 0; remove or fill",
    ),
    "beyond float64": (
        lambda t: t.model.predict(np.full((2, 4), np.longdouble("1e4000"))),
        NonFiniteError,
        "row 0, column 0",
    ),
    # numbers
    "batch size 0": (
        lambda t: t.fit(X, LABELS, batch_size=0),
        ArgumentError,
        "batch_size must be a whole number from 1, not 0",
    ),
    "batch size -5": (lambda t: t.fit(X, LABELS, batch_size=-5), ArgumentError, "not -5"),
    "batch size 2.5": (lambda t: t.fit(X, LABELS, batch_size=2.5), ArgumentError, "not 2.5"),
    "batch size text": (lambda t: t.fit(X, LABELS, batch_size="32"), ArgumentError, "not '32'"),
    "batch size of evaluate": (lambda t: t.evaluate(X, LABELS, batch_size=0), ArgumentError, "batch_size"),
    "epochs -1": (lambda t: t.fit(X, LABELS, epochs=-1), ArgumentError, "epochs must be a whole number from 0, not -1"),
    "epochs 1.0": (lambda t: t.fit(X, LABELS, epochs=1.0), ArgumentError, "epochs"),
    "threads 0": (lambda t: t.fit(X, LABELS, threads=0), ArgumentError, "threads must be a whole number >= 1, got 0"),
    "threads of step": (lambda t: t.step(X, LABELS, threads=-1), ArgumentError, "threads"),
    "threads of evaluate": (lambda t: t.evaluate(X, LABELS, threads=0), ArgumentError, "threads"),
    "threads of predict": (lambda t: t.model.predict(X, threads=0), ArgumentError, "threads"),
    # weights
    "weights too few": (lambda t: t.fit(X, LABELS, sample_weight=np.ones(3)), ShapeError, r"\(20,\), got shape \(3,\)"),
    "weights in a column": (lambda t: t.fit(X, LABELS, sample_weight=np.ones((20, 1))), ShapeError, r"\(rows, 1\)"),
    "weights negative": (lambda t: t.fit(X, LABELS, sample_weight=-np.ones(20)), ArgumentError, "negative"),
    "weights nan": (
        lambda t: t.fit(X, LABELS, sample_weight=np.full(20, np.nan)),
        NonFiniteError,
        "sample_weight.*row 0",
    ),
    "weights text": (lambda t: t.fit(X, LABELS, sample_weight=["a"] * 20), DTypeError, "sample_weight"),
    "class too high": (lambda t: t.fit(X, LABELS, class_weight={3: 1.0}), LabelError, "class 3.*classes 0 to 2"),
    # validation data
    "validation alone": (lambda t: t.fit(X, LABELS, validation_data=X), ArgumentError, r"expected \(x, y\)"),
    "validation of one": (lambda t: t.fit(X, LABELS, validation_data=(X,)), ArgumentError, r"expected \(x, y\)"),
    "validation split": (lambda t: t.fit(X, LABELS, validation_data=0.2), ArgumentError, r"expected \(x, y\)"),
    "validation features": (lambda t: t.fit(X, LABELS, validation_data=(X[:, :2], LABELS)), ShapeError, r"\(20, 2\)"),
    "validation lengths": (lambda t: t.fit(X, LABELS, validation_data=(X, LABELS[:3])), ShapeError, "y has 3"),
    "validation empty": (lambda t: t.fit(X, LABELS, validation_data=(X[:0], LABELS[:0])), ShapeError, "no rows"),
    "validation labels": (lambda t: t.fit(X, LABELS, validation_data=(X, LABELS + 2)), LabelError, r"\[0, 3\)"),
    "validation nan": (
        lambda t: t.fit(X, LABELS, validation_data=(put(X, (1, 1), np.nan), LABELS)),
        NonFiniteError,
        "row 1, column 1",
    ),
    # names
    "loss": (
        lambda t: hf.Trainer(t.model, "mes"),
        ArgumentError,
        "unknown loss 'mes'. Did you mean 'mse'.*Known: .*huber",
    ),
    "optimizer": (
        lambda t: hf.Trainer(t.model, "mse", "adem"),
        ArgumentError,
        "unknown optimizer 'adem'. Did you mean 'adam'",
    ),
    "metric": (
        lambda t: classifier(metrics=["acuracy"]),
        ArgumentError,
        "unknown metric 'acuracy'. Did you mean 'accuracy'",
    ),
    "activation": (lambda t: hf.Sequential("rellu"), ArgumentError, "unknown activation 'rellu'. Did you mean 'relu'"),
    "initializer": (
        lambda t: hf.Linear(3, init="xavier"),
        ArgumentError,
        "unknown initializer 'xavier'. Did you mean 'xavier_",
    ),
    "class weight": (lambda t: t.fit(X, LABELS, class_weight="balance"), ArgumentError, "Did you mean 'balanced'"),
    "a name without a near one": (
        lambda t: hf.Sequential("zzz"),
        ArgumentError,
        "unknown activation 'zzz'. Known: elu",
    ),
    # the rest
    "lr": (lambda t: hf.Adam(lr=-1.0), ArgumentError, "Adam: lr must be finite and not negative, got -1.0"),
    "seed -1": (lambda t: classifier(seed=-1), ArgumentError, r"seed must be an integer in \[0, 2\*\*64\), got -1"),
    "seed 2**64": (lambda t: classifier(seed=2**64), ArgumentError, "seed"),
    "seed 1.5": (lambda t: classifier(seed=1.5), ArgumentError, "got 1.5"),
    "seed None": (lambda t: classifier(seed=None), ArgumentError, "got None"),
    "threads of Trainer": (lambda t: classifier(threads=0), ArgumentError, "threads"),
    "device cuda": (
        lambda t: classifier(device="cuda"),
        ArgumentError,
        "'cuda' is not available: this build has no CUDA",
    ),
    "device": (lambda t: classifier(device="tpu"), ArgumentError, "'tpu' is not available"),
    "model": (lambda t: hf.Trainer(np.zeros(3), "mse"), ArgumentError, "expected a hawfinch Module, got ndarray"),
    "callback": (lambda t: t.fit(X, LABELS, callbacks=[3]), ArgumentError, "on_epoch_end.*got int"),
    "callbacks": (lambda t: t.fit(X, LABELS, callbacks=print), ArgumentError, "expected a list"),
    "accuracy of numbers": (
        lambda t: hf.Trainer(t.model, "mse", metrics=["accuracy"]).fit(X, Y),
        ArgumentError,
        "accuracy.*MSE.*needs a loss of classes",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str) -> None:
    """The error's type and message; and nothing has changed."""
    call, kind, message = CASES[name]
    trainer = classifier()
    trainer.fit(X, LABELS)
    parameters = {k: v.copy() for k, v in trainer.model.parameters().items()}
    history = trainer.history.to_dict()
    with pytest.raises(kind, match=message) as caught:
        call(trainer)
    assert isinstance(caught.value, HawfinchError)
    assert trainer.steps == 1 and trainer.epochs == 1 and trainer.history.to_dict() == history
    assert all(np.array_equal(parameters[k], v) for k, v in trainer.model.parameters().items())
    trainer.fit(X, LABELS)


TARGETS: dict[str, tuple[int, Any, type[Exception], str]] = {
    "flat for a column": (1, Y[:, 0], ShapeError, r"targets \(rows,\).*output \(rows, 1\); pass y\[:, None\]"),
    "one for three": (3, Y[:, :1], ShapeError, r"targets \(rows, 1\).*output \(rows, 3\)"),
    "three for one": (1, Y, ShapeError, r"targets \(rows, 3\).*output \(rows, 1\)"),
    "transposed": (3, Y.T, ShapeError, "x has 20 rows, y has 3"),
    "nan": (3, put(Y, (4, 1), np.nan), NonFiniteError, "y holds nan in row 4, column 1"),
    "-inf": (3, put(Y, (4, 1), -np.inf), NonFiniteError, "y holds -inf in row 4, column 1"),
    "complex": (3, Y * 1j, DTypeError, "y: dtype complex"),
    "None": (3, None, ArgumentError, "y is missing"),
}


@pytest.mark.parametrize("name", TARGETS)
def test_bad_targets(name: str) -> None:
    out, y, kind, message = TARGETS[name]
    trainer = regressor(out)
    for call in (trainer.fit, trainer.step, trainer.evaluate):
        with pytest.raises(kind, match=message):
            call(X, y)
    assert trainer.steps == 0


def test_errors_are_builtin_errors_too() -> None:
    kinds = {
        ShapeError: ValueError,
        DTypeError: TypeError,
        errors.TraceError: TypeError,
        ArgumentError: ValueError,
        LabelError: ValueError,
        errors.FormatError: ValueError,
        errors.NotBuiltError: RuntimeError,
        errors.BusyError: RuntimeError,
        errors.DecodeError: RuntimeError,
        NonFiniteError: FloatingPointError,
        errors.NonFiniteInputError: ValueError,
        errors.MissingExtraError: ImportError,
        errors.MissingFileError: FileNotFoundError,
    }
    for kind, builtin in kinds.items():
        assert issubclass(kind, builtin) and issubclass(kind, HawfinchError)
    defined = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, HawfinchError)}
    assert defined == {*kinds, HawfinchError}
    error = NonFiniteError("text", tensor="t", epoch=1, step=2)
    assert (error.tensor, error.epoch, error.step) == ("t", 1, 2)
    with pytest.raises(NonFiniteError) as caught:
        regressor().fit(put(X, (0, 0), np.nan), Y)
    assert (caught.value.tensor, caught.value.epoch) == ("x", None)


def test_bad_input_is_a_value_error_and_divergence_is_none() -> None:
    with pytest.raises(ValueError, match="x holds nan"):
        regressor().fit(put(X, (0, 0), np.nan), Y)
    with pytest.raises(ValueError, match="is nan"):
        hf.data.StandardScaler().fit([[np.nan]])
    with pytest.raises(NonFiniteError) as caught:
        regressor().fit(X, np.full((20, 3), 1e30))
    assert type(caught.value) is NonFiniteError and not isinstance(caught.value, ValueError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.args, again.step) == (caught.value.args, 0)


# ---- hostile ----


def allowed(name: str, error: BaseException) -> bool:
    """hawfinch's own errors, TypeError or ValueError; KeyError where the object itself raises it."""
    return isinstance(error, HawfinchError | TypeError | ValueError | (KeyError if name == "raises" else TypeError))


def attempt(name: str, call: Callable[[], Any]) -> Any:
    """The result, or None after an error that is allowed."""
    try:
        return call()
    except Exception as error:
        if not allowed(name, error):
            raise
        return None


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data(name: str) -> None:
    """As x, y, weight and validation data, the long way and the short: an error, or numbers of the right shape."""
    value = HOSTILE[name]
    trainer, real = classifier(), regressor()
    for t, y in ((trainer, LABELS), (real, Y)):
        for _ in range(2):
            t.step(X, y)
            t.model.predict(X)
        before = {k: v.copy() for k, v in t.model.parameters().items()}
        result = attempt(name, lambda t=t: t.model.predict(value))
        if result is not None:
            assert result.shape == (len(value), 3) and (np.isfinite(result).all() or name in ("1e300", "float32 max"))
        attempt(name, lambda t=t, y=y: t.evaluate(value, y))
        attempt(name, lambda t=t: t.evaluate(X, value))
        attempt(name, lambda t=t, y=y: t.evaluate(X, y, sample_weight=value))
        attempt(name, lambda t=t: t.model.predict(X, out=value) if name != "read-only" else None)
        assert all(np.array_equal(before[k], v) for k, v in t.model.parameters().items())
        for call in (
            lambda t=t, y=y: t.step(value, y),
            lambda t=t: t.step(X, value),
            lambda t=t, y=y: t.fit(value, y),
            lambda t=t: t.fit(X, value),
            lambda t=t, y=y: t.fit(X, y, sample_weight=value),
            lambda t=t, y=y: t.fit(X, y, class_weight=value),
            lambda t=t, y=y: t.fit(X, y, validation_data=value),
            lambda t=t, y=y: t.fit(X, y, validation_data=(value, y)),
            lambda t=t, y=y: t.fit(X, y, validation_data=(X, value)),
        ):
            attempt(name, call)
            assert all(np.isfinite(v).all() for v in t.model.parameters().values())
        t.fit(X, y)
        t.model.predict(X)


@pytest.mark.parametrize("name", [n for n, v in HOSTILE.items() if not isinstance(v, np.ndarray)])
def test_hostile_options(name: str) -> None:
    """Wherever a number, a name or a function is wanted."""
    value = HOSTILE[name]
    calls: list[Callable[[], Any]] = [
        lambda: hf.Linear(value),
        lambda: hf.Linear(3, init=value),
        lambda: hf.Dropout(value),
        lambda: hf.Huber(value),
        lambda: hf.BatchNorm(eps=value),
        lambda: hf.BatchNorm(momentum=value),
        lambda: hf.LayerNorm(eps=value),
        lambda: hf.LeakyReLU(value),
        lambda: hf.ELU(value),
        lambda: hf.Sequential(value),
        lambda: hf.SGD(value),
        lambda: hf.SGD(0.1, momentum=value),
        lambda: hf.Adam(betas=value),
        lambda: hf.Adam(clip_norm=value),
        lambda: hf.Adam(clip_value=value),
        lambda: hf.Adam(weight_decay=value),
        lambda: hf.SoftmaxCrossEntropy(label_smoothing=value),
        lambda: hf.Trainer(value, "mse"),
        lambda: hf.Trainer(hf.Sequential(), value),
        lambda: hf.Trainer(hf.Sequential(), "mse", value),
        lambda: hf.Trainer(hf.Sequential(), "mse", metrics=value),
        lambda: hf.Trainer(hf.Sequential(), "mse", seed=value),
        lambda: hf.Trainer(hf.Sequential(), "mse", threads=value),
        lambda: hf.Trainer(hf.Sequential(), "mse", device=value),
        lambda: hf.Sequential(hf.Linear(2)).build(value),
        lambda: hf.Sequential(hf.Linear(2)).build((4,), seed=value),
        lambda: hf.Sequential(hf.Linear(2)).build((value,)),
        lambda: hf.Sequential(hf.Linear(2)).astype(value),
        lambda: classifier().fit(X, LABELS, callbacks=value),
        lambda: classifier().fit(X, LABELS, batch_size=value),
        lambda: classifier().fit(X, LABELS, threads=value),
        lambda: classifier().model.predict(X, threads=value),
        lambda: classifier().evaluate(X, LABELS, batch_size=value),
        lambda: hf.load(value) if not isinstance(value, int | str | bytes) else None,
    ]
    if not isinstance(value, int):
        calls.append(lambda: classifier().fit(X, LABELS, epochs=value))
    for call in calls:
        attempt(name, call)


def test_overflow_of_float32_is_an_error_or_infinite_and_never_a_crash() -> None:
    trainer = regressor()
    with pytest.raises(NonFiniteError, match="epoch 0, step 0"):
        trainer.fit(np.full((20, 4), 1e300), Y)
    with pytest.raises(NonFiniteError, match="epoch 0, step 0"):
        trainer.fit(X, np.full((20, 3), 1e30))
    assert trainer.steps == 0 and all(np.isfinite(v).all() for v in trainer.model.parameters().values())
    wide = hf.Sequential(hf.Linear(3)).astype("float64")
    assert np.isfinite(wide.predict(np.full((20, 4), 1e300))).all()


def test_an_array_that_changes_hands_while_in_use() -> None:
    """The short way keeps no reference too few: arrays dropped between calls, pools reused, shapes in turn."""
    trainer = classifier()
    for i in range(300):
        n = 1 + i % 5
        trainer.step(np.full((n, 4), 0.5, np.float32), np.zeros(n, np.int64))
        trainer.model.predict(np.full((n, 4), 0.5, np.float32))
    assert trainer.steps == 300


def test_names_of_other_libraries_lead_to_ours() -> None:
    for name, ours in hf.values.ELSEWHERE.items():
        thing: Any = hf
        for part in ours.split("."):
            thing = getattr(thing, part)
        with pytest.raises(AttributeError, match=f"here it is hf.{ours}$"):
            getattr(hf, name)
    trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
    with pytest.raises(ArgumentError, match="Did you mean 'lr'"):
        trainer.set(learning_rate=0.1)
    with pytest.raises(ArgumentError, match=r"squared_hinge'. Did you mean 'hinge'"):
        hf.Trainer(hf.Sequential(hf.Linear(1)), "squared_hinge")


def test_a_wrong_call_shows_what_the_class_takes() -> None:
    with pytest.raises(ArgumentError, match=r"sizes come from the data. It takes Linear\(out, \*, bias=True, init="):
        hf.Linear(6, 16)  # type: ignore[call-arg, misc]
    with pytest.raises(ArgumentError, match=r"^EarlyStopping: unknown mode 'maximise'"):
        hf.EarlyStopping(mode="maximise")
    with pytest.raises(ArgumentError, match=r"Did you mean '0.\*'"):
        hf.Sequential(hf.Linear(1)).build((1,)).freeze("0")


def test_a_transposed_weight_is_named_as_such() -> None:
    model = hf.Sequential(hf.Linear(3)).build((2,))
    given = {"0.weight": np.zeros((3, 2)), "0.bias": np.zeros(3)}
    with pytest.raises(ArgumentError, match="pass its transpose"):
        model.load_weights(given)


def test_an_index_outside_of_its_table_is_told_with_what_there_is() -> None:
    model = hf.Sequential(hf.Embedding(10, 2), hf.Flatten(), hf.Linear(1))
    ids = np.arange(11)[:, None]
    for call in (lambda: hf.Trainer(model, "mse").fit(ids, ids), lambda: hf.Trainer(model, "mse").evaluate(ids, ids)):
        with pytest.raises(LabelError, match="an index is outside of the table that it reads; x holds 0 to 10"):
            call()
    with pytest.raises(LabelError, match="x holds -1 to 3"):
        model.predict([[-1], [3]])

    class Mixed(hf.Module):
        def __init__(self) -> None:
            self.table = hf.Embedding(10, 2)

        def forward(self, x: Any) -> Any:
            return hf.ops.concat([self.table(x[:, 0]), x[:, 1:]], 1)

    with pytest.raises(ShapeError, match="pass indices and numbers as two inputs"):
        Mixed().build((3,))


def test_labels_for_one_output_lead_to_bce() -> None:
    with pytest.raises(LabelError, match="BCEWithLogits"):
        hf.Trainer(hf.Sequential(hf.Linear(1)), "softmax_cross_entropy").fit(X, np.ones(len(X), int))
