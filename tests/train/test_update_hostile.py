"""Updates under odd settings: each of these was wrong once."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError
from hawfinch.schedules import Constant, Plateau, Scaled

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(8, 4)), RNG.normal(size=(8, 3))


def linear() -> hf.Sequential:
    return hf.Sequential(hf.Linear(3)).astype("float64").build((4,), seed=1)


def test_a_plateau_that_fills_several_columns_counts_each_epoch_once() -> None:
    kept = []
    for groups in (None, {"*.bias": {"weight_decay": 0.0}}):
        trainer = hf.Trainer(linear(), "mse", hf.SGD(Plateau(0.0, patience=4, monitor="loss")), groups=groups)
        trainer.fit(X, Y, epochs=4, shuffle=False)
        kept.append(trainer.state.update.schedules)
    assert [state[1:] for state in kept[0].values()] == [(3, 0, 0)]
    assert kept[0] == kept[1]


def test_a_batch_that_only_adds_to_a_gradient_leaves_parameters_beyond_a_constraint_alone() -> None:
    model = linear()
    w, b = (model.parameters()[k].copy() for k in ("0.weight", "0.bias"))
    limit = 0.1
    assert (np.linalg.norm(w, axis=0) > limit).all()
    trainer = hf.Trainer(model, "mse", hf.SGD(0.1), accumulate=2, constraints={"*.weight": hf.MaxNorm(limit)})
    trainer.fit(X, Y, batch_size=4, shuffle=False)
    d = 2 * (X @ w + b - Y) / Y.size
    w -= 0.1 * X.T @ d
    np.testing.assert_allclose(model.parameters()["0.weight"], w * limit / np.linalg.norm(w, axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.parameters()["0.bias"], b - 0.1 * d.sum(0), rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: hf.Trainer(linear(), "mse", groups={"*": {1: 2}}),  # type: ignore[dict-item]
        lambda: hf.Trainer(linear(), "mse", accumulate=10**30),
        lambda: hf.ElasticNet(0.1, l1_ratio=lambda step: 1.0),  # type: ignore[arg-type]
        lambda: hf.ElasticNet(lambda step: 1.0),  # type: ignore[arg-type]
        lambda: Scaled(1.0, 2.0),  # type: ignore[arg-type]
        lambda: hf.SGD(10**400),
        lambda: hf.L2(10**400),
        lambda: Constant(10**400),
        lambda: Plateau(0.1, monitor=3),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_told(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ArgumentError):
        make()


def test_accumulate_takes_a_numpy_integer() -> None:
    trainer = hf.Trainer(linear(), "mse", accumulate=np.int64(2))  # type: ignore[arg-type]
    trainer.fit(X, Y, batch_size=2)
    assert trainer.state.update.skipped == 2


def test_max_norm_of_a_scalar_limits_its_size() -> None:
    class Shifted(hf.Module):
        def __init__(self) -> None:
            self.linear = hf.Linear(3)

        def forward(self, x: Any) -> Any:
            return self.linear(x) + self.param("shift", (), "ones")

    model = Shifted().build((4,))
    hf.Trainer(model, "mse", hf.SGD(0.0), constraints={"shift": hf.MaxNorm(0.25)}).step(X, Y)
    assert model.parameters()["shift"] == 0.25


@pytest.mark.parametrize("given", [None, 5])
def test_a_function_that_gives_no_chunks_is_told(given: object) -> None:
    with pytest.raises(ArgumentError, match="iterable"):
        hf.Trainer(linear(), "mse").fit(lambda: given, epochs=1)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("result", [lambda p: None, lambda p: hf.ops.sum(p), lambda p: hf.ops.concat([p] * 9)])
def test_a_constraint_that_gives_another_shape_is_told_before_it_writes(result, accumulate) -> None:  # type: ignore[no-untyped-def]
    class Wrong(hf.Constraint):
        def apply(self, p: Any, *numbers: Any) -> Any:
            return result(p)

    trainer = hf.Trainer(linear(), "mse", constraints={"*.weight": Wrong()}, accumulate=accumulate)
    with pytest.raises(ArgumentError, match="apply must give"):
        trainer.step(X, Y)


@pytest.mark.parametrize(
    "apply",
    [
        lambda p: hf.ops.transpose(p, (1, 0)),
        lambda p: p[::-1],
        lambda p: p @ p,
        lambda p: (p @ p) * 0.5 + p,
        lambda p: hf.ops.concat([p[1:], p[:1]]),
        lambda p: hf.ops.softmax(p) + hf.ops.transpose(p),
        lambda p: p / (1.0 + hf.ops.sum(p * p, 0, True)),
        lambda p: hf.ops.cumsum(p) if hasattr(hf.ops, "cumsum") else p[:, ::-1] * p,
        lambda p: p,
    ],
)
def test_a_constraint_sees_the_parameter_as_it_was(apply: Any) -> None:
    class Own(hf.Constraint):
        def apply(self, p: Any, *numbers: Any) -> Any:
            return apply(p)

    model = hf.Sequential(hf.Linear(70, bias=False)).astype("float64").build((70,), seed=1)
    before = model.parameters()["0.weight"].copy()
    for threads in (1, 2):
        model.parameters()["0.weight"][...] = before
        trainer = hf.Trainer(model, "mse", hf.SGD(0.0), constraints={"0.weight": Own()}, threads=threads)
        trainer.step(np.ones((2, 70)), np.zeros((2, 70)))
        np.testing.assert_allclose(model.parameters()["0.weight"], hf.compile(apply)(before), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(regularizers={"*.weight": hf.L2(lambda step: -0.1)}), r"L2\(.*regularizers\['\*\.weight'\].*-0\.1"),
        (
            dict(regularizers={"*.weight": hf.L1(lambda step: -0.1, proximal=True)}),
            r"L1\(.*regularizers\['\*\.weight'\]",
        ),
        (
            dict(constraints={"*.bias": hf.MaxNorm(lambda step: float("nan"))}),
            r"limit of MaxNorm\(.*constraints\['\*\.bias'\]",
        ),
        (dict(groups={"*.bias": dict(lr=lambda step: 10**400)}), "learning rate is a number beyond"),
        (dict(groups={"*.bias": dict(lr=lambda: 0.1)}), "the function of the learning rate must take 1 argument"),
    ],
)
def test_a_number_that_is_wrong_at_a_step_is_told_by_its_place(options: dict[str, Any], words: str) -> None:
    model = linear()
    before = model.parameters()["0.weight"].copy()
    with pytest.raises(ArgumentError, match=words):
        hf.Trainer(model, "mse", **options).step(X, Y)
    assert np.array_equal(model.parameters()["0.weight"], before)


@pytest.mark.parametrize("factors", [None, (1.0,), (np.ones(3), np.ones(2)), ("a", "b"), (np.nan, 1.0), 5])
def test_an_average_with_wrong_factors_is_told(factors: Any) -> None:
    class Own(hf.Average):
        def factors(self, updates: Any) -> Any:
            return factors

    with pytest.raises(ArgumentError, match="factors"):
        hf.Trainer(linear(), "mse", average=Own()).step(X, Y)
    with pytest.raises(ArgumentError, match="defines no factors"):
        hf.Trainer(linear(), "mse", average=hf.Average()).step(X, Y)


def test_an_average_without_memory_follows_the_parameters() -> None:
    trainer = hf.Trainer(linear(), "mse", average=hf.EMA(np.int64(0)))
    trainer.step(X, Y)
    assert np.array_equal(trainer.slots["average"], trainer.state.parameters)


@pytest.mark.parametrize("train", [lambda t: t.step(X, Y), lambda t: t.fit(X, Y, epochs=1)])
def test_a_constraint_that_gives_nan_is_named_at_once(train: Any) -> None:
    class Own(hf.Constraint):
        def apply(self, p: Any, *numbers: Any) -> Any:
            return hf.ops.log(p * 0.0 - 1.0)

    with pytest.raises(hf.NonFiniteError, match=r"Own\(\) has given.*parameter '0.weight'"):
        train(hf.Trainer(linear(), "mse", constraints={"*.weight": Own()}))
