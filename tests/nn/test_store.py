"""hawfinch.nn: where arrays live, what is frozen, and what is seen of a change."""

import copy
import gc
import pickle
import sys
import weakref
from typing import Any

import numpy as np
import pytest
from training import in_threads

import hawfinch as hf
from hawfinch.errors import ArgumentError, NotBuiltError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(30, 6))
Y = np.stack([X[:, 0] * X[:, 1], X[:, 2]], 1)


def values(model: hf.Module) -> dict[str, bytes]:
    return {k: v.tobytes() for k, v in (*model.parameters().items(), *model.buffers().items())}


# ---- a part of a model ----
def test_a_part_predicts_with_the_memory_of_the_whole() -> None:
    """Once it rounded a float64 model's weights to float32 for good, and left dead views behind."""
    model = hf.Sequential(hf.Linear(5), hf.Tanh(), hf.Linear(2)).astype("float64").build((6,))
    views, before = model.parameters(), values(model)
    part = model[0]
    y = part.predict(X)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, X @ views["0.weight"] + views["0.bias"], rtol=1e-13)
    assert values(model) == before
    assert np.shares_memory(part.parameters()["weight"], views["0.weight"])
    views["0.bias"][:] = 7.0
    np.testing.assert_allclose(part.predict(X), X @ views["0.weight"] + 7.0, rtol=1e-13)
    np.testing.assert_allclose(
        model.predict(X), np.tanh(part.predict(X)) @ views["2.weight"] + views["2.bias"], rtol=1e-12
    )
    assert part.n_parameters == 35 and part.dtype == "float64"


def test_a_part_is_trained_alone() -> None:
    """Its optimiser touches no other layer's numbers, and the whole sees the result."""
    model = hf.Sequential(hf.Linear(2), hf.Linear(3)).build((6,))
    head = model.parameters()["1.weight"].copy()
    hf.Trainer(model[0], "mse", hf.AdamW(lr=0.1, weight_decay=0.5)).fit(X, Y, epochs=3)
    p = model.parameters()
    assert np.array_equal(p["1.weight"], head)
    assert np.array_equal(p["0.weight"], model[0].parameters()["weight"])
    expected = model[0].predict(X) @ p["1.weight"] + p["1.bias"]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by", ["copy", "deepcopy", "pickle"])
def test_copies_of_parts_and_frozen_models(by: str) -> None:
    model = hf.Sequential(hf.Linear(5), hf.BatchNorm(), hf.Linear(2)).build((6,)).freeze("1.*")
    how = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda m: pickle.loads(pickle.dumps(m))}[by]
    other, part = how(model), how(model[0])
    assert np.array_equal(other.predict(X), model.predict(X)) and np.array_equal(part.predict(X), model[0].predict(X))
    assert list(other.trainable()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


# ---- changes ----
class Powers(hf.Module):
    """An option under a private name, layers in a list, an array as a constant."""

    def __init__(self) -> None:
        self._power, self.layers, self.named, self.shift = 1.0, [hf.ReLU()], {"a": hf.ReLU()}, np.zeros(6)
        self.empty: list[hf.Module] = []
        self.factors = {"all": [1.0]}

    def forward(self, x: Any) -> Any:
        for layer in (*self.layers, *self.named.values(), *self.empty):
            x = layer(x)
        return x * (self._power * self.factors["all"][0]) + self.shift


def test_every_change_is_seen_by_the_next_predict() -> None:
    model, x = Powers(), X[:3].astype(np.float32)

    def check(expected: Any) -> None:
        for _ in range(3):  # the long way, and the short one
            np.testing.assert_allclose(model.predict(x), expected, rtol=1e-6)

    check(np.maximum(x, 0))
    model._power = 2.0
    check(2 * np.maximum(x, 0))
    model.layers[0] = hf.LeakyReLU(1.0)
    model.named["a"] = hf.LeakyReLU(1.0)
    check(2 * x)
    model.empty.append(hf.ReLU())
    check(2 * np.maximum(x, 0))
    model.empty.clear()
    check(2 * x)
    model.layers[0].negative_slope = 0.5
    check(2 * np.where(x > 0, x, x / 2))
    model.shift[:] = 3
    model.changed()
    check(2 * np.where(x > 0, x, x / 2) + 3)
    del model.layers[0]
    check(2 * x + 3)
    model.factors["all"][0] = 2.0
    check(4 * x + 3)
    model.factors["all"] = [3.0]
    check(6 * x + 3)


def test_views_stay_live_when_an_option_changes() -> None:
    model = hf.Sequential(hf.Linear(5), hf.LeakyReLU()).build((6,))
    view = model.parameters()["0.weight"]
    model[1].negative_slope = 0.3
    model.predict(X)
    assert np.shares_memory(view, model.parameters()["0.weight"])


def test_a_layer_made_elsewhere_leaves_the_short_way_alone() -> None:
    model, other = hf.Sequential(hf.Linear(5), "relu"), hf.Sequential(hf.Linear(2))
    x = X[:1].astype(np.float32)
    model.predict(x)
    quick: Any = model._hf.quick
    other.predict(X)
    other[0].bias = False
    hf.Linear(3)
    hf.Trainer(other, hf.MSE(), hf.SGD(lr=0.5)).fit(X, Y)
    assert quick.predict(x) is not None and model._hf.quick is quick
    model[0].bias = True
    assert quick.predict(x) is None


def test_models_that_share_a_layer_see_each_other() -> None:
    shared = hf.Linear(6)
    a, b = hf.Sequential(shared, hf.ReLU()), hf.Sequential(shared, hf.Linear(2))
    for _ in range(3):
        ya, yb = a.predict(X), b.predict(X)
    hf.Trainer(b, "mse", hf.SGD(lr=0.5)).fit(X, Y)
    assert not np.array_equal(a.predict(X), ya) and not np.array_equal(b.predict(X), yb)
    p = shared.parameters()
    expected = np.maximum(X @ p["weight"] + p["bias"], 0)
    for _ in range(3):
        np.testing.assert_allclose(a.predict(X), expected, rtol=1e-4, atol=1e-5)
    assert np.array_equal(a.parameters()["0.weight"], b.parameters()["0.weight"])


# ---- running statistics of a shared layer ----
def test_a_norm_that_is_called_twice_keeps_both_updates() -> None:
    """PyTorch's rule: the second update goes on from the first."""

    class Twice(hf.Module):
        def __init__(self) -> None:
            self.norm = hf.BatchNorm(momentum=0.5)

        def forward(self, x: Any) -> Any:
            return self.norm(x) + self.norm(x * 2.0 + 1.0)

    x = RNG.normal(size=(16, 3)).astype(np.float32) + 4
    model = Twice()
    hf.Trainer(model, "mse", hf.SGD(lr=0.0)).fit(x, x, batch_size=16)
    mean, var = np.zeros(3), np.ones(3)
    for given in (x.astype(np.float64), x.astype(np.float64) * 2 + 1):
        mean, var = 0.5 * mean + 0.5 * given.mean(0), 0.5 * var + 0.5 * given.var(0, ddof=1)
    b = model.buffers()
    np.testing.assert_allclose(b["norm.running_mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(b["norm.running_var"], var, rtol=1e-5)


# ---- freezing ----
def net() -> hf.Module:
    return hf.Sequential(hf.Linear(8), hf.BatchNorm(), hf.ReLU(), hf.Linear(4), hf.LayerNorm(), hf.Linear(2)).build(
        (6,)
    )


@pytest.mark.parametrize("optimizer", [hf.SGD(lr=0.1, momentum=0.9), hf.AdamW(lr=0.1, weight_decay=0.5)])
@pytest.mark.parametrize("started", [False, True])
def test_what_is_frozen_stays(optimizer: Any, started: bool) -> None:
    """Also after training has given it momentum; and views stay live."""
    model = net()
    trainer = hf.Trainer(model, "mse", optimizer)
    if started:
        trainer.fit(X, Y, epochs=2)
    views, before = {**model.parameters(), **model.buffers()}, values(model)
    model.freeze("1.*", "3.weight")
    assert model.trainable().keys() == model.parameters().keys() - {"1.weight", "1.bias", "3.weight"}
    trainer.fit(X, Y, epochs=2)
    after = values(model)
    fixed = {"1.weight", "1.bias", "3.weight", "1.running_mean", "1.running_var"}
    assert {k for k in before if before[k] == after[k]} == fixed
    model.unfreeze()
    trainer.fit(X, Y)
    assert not any(before[k] == v for k, v in values(model).items())
    assert all(np.array_equal(v, {**model.parameters(), **model.buffers()}[k]) for k, v in views.items())


def test_a_frozen_norm_uses_its_running_statistics() -> None:
    model = hf.Sequential(hf.BatchNorm()).build((6,))
    model.buffers()["0.running_mean"][:] = 1.0
    model.buffers()["0.running_var"][:] = 4.0
    x = X.astype(np.float32)
    expected = ((x - 1) / np.sqrt(4 + 1e-5)) ** 2
    model.freeze("0.running_*")
    assert hf.Trainer(model, "mse", hf.SGD(lr=0.0)).step(x, 0 * x) == pytest.approx(expected.mean(), rel=1e-5)
    assert list(model.trainable()) == ["0.weight", "0.bias"]


def test_no_work_below_the_lowest_trainable_parameter() -> None:
    def products(*patterns: str) -> int:
        model = net()
        if patterns:
            model.freeze(*patterns)
        plan = hf.Trainer(model, "mse").plan(X, Y)
        return sum(step.op.startswith("matmul") for step in plan.steps)

    assert products() == 3 + 3 + 2  # forward, by the weights, by the inputs of all but the first
    assert products("0.*", "1.*", "3.*", "4.*") == 3 + 1
    assert products("0.*") == 3 + 2 + 2  # the norm's weight is above it, and gets its gradient


def test_patterns_of_names() -> None:
    model = hf.Sequential(hf.Linear(2), hf.Linear(2))
    with pytest.raises(NotBuiltError):
        model.freeze("*")
    model.build((3,))
    for pattern, hint in (("0.wieght", "Did you mean '0.weight'"), ("2.*", r"freeze: no array matches '2\.\*'")):
        with pytest.raises(ArgumentError, match=hint):
            model.freeze("0.*", pattern)
    for bad in ((), (3,), (["0.*"],)):
        with pytest.raises(ArgumentError, match="patterns"):
            model.freeze(*bad)
    assert len(model.trainable()) == 4
    assert list(model.freeze("*.bias").trainable()) == ["0.weight", "1.weight"]
    assert list(model.freeze("?.w[e]ight").unfreeze("1.bias").trainable()) == ["1.bias"]
    model[0].unfreeze("weight")
    assert list(model.trainable()) == ["0.weight", "1.bias"]
    assert list(model.unfreeze().trainable()) == list(model.parameters())


# ---- initial values ----
@pytest.mark.parametrize("wrong", [np.zeros(5), np.zeros((3, 3)), 1.0, "a", None])
def test_an_initializer_of_the_wrong_size(wrong: Any) -> None:
    model = hf.Sequential(hf.Linear(2, init=lambda shape, fan_in, fan_out, draw: wrong))
    with pytest.raises(ArgumentError, match=r"initializer of '0\.weight'.*expected 6 numbers for shape \(3, 2\)"):
        model.build((3,))
    assert model.inputs is None


# ---- models inside functions and losses ----
def test_a_function_sees_that_a_model_changes() -> None:
    model = hf.Sequential(hf.Linear(4), hf.LeakyReLU(0.5)).build((6,))
    f, x = hf.compile(lambda x: model(x) * 2.0), X.astype(np.float32)
    for change in (lambda: None, lambda: setattr(model[1], "negative_slope", 0.1), lambda: model.freeze("0.*")):
        change()
        for _ in range(2):
            np.testing.assert_allclose(f(x), 2 * model.predict(x), rtol=1e-6)
        quick: Any = f._quick[1]
        assert quick.run((x,), None) is not None
    model.astype("float64")
    assert quick.run((x,), None) is None
    np.testing.assert_allclose(f(x), 2 * model.predict(x), rtol=1e-12)
    part = hf.compile(lambda x: model[0](x))
    for _ in range(2):
        assert np.array_equal(part(X), model[0].predict(X))
        model[0].parameters()["weight"][:] += 1


def test_a_model_that_is_not_built_in_a_function() -> None:
    model = hf.Sequential(hf.Linear(4))
    with pytest.raises(NotBuiltError, match="Linear has no values for its array 'weight'"):
        hf.compile(model)(X)
    assert model.build((3,)).n_parameters == 16  # the sizes of the call have not stayed
    assert np.array_equal(hf.compile(hf.Sequential("relu"))(X), np.maximum(X, 0))


def test_a_loss_that_calls_another_model() -> None:
    """A teacher: in inference mode, not trained, read where its arrays are."""
    teacher = hf.Sequential(hf.BatchNorm(), hf.Linear(2)).build((2,))
    teacher.buffers()["0.running_mean"][:] = 3.0
    before = values(teacher)
    student = hf.Sequential(hf.Linear(2)).build((6,))

    def loss(y: Any, target: Any) -> Any:
        return hf.ops.mean((y - teacher(target)) ** 2, -1)

    trainer = hf.Trainer(student, loss, hf.SGD(lr=0.0))
    for scale in (1.0, 5.0):
        teacher.parameters()["1.weight"][...] *= scale
        before = values(teacher)
        expected = ((student.predict(X) - teacher.predict(Y)) ** 2).mean()
        assert trainer.fit(X, Y, batch_size=30)["loss"][-1] == pytest.approx(expected, rel=1e-5)
        assert trainer.step(X, Y) == pytest.approx(expected, rel=1e-5)
    assert values(teacher) == before
    teacher[0].eps = 1.0
    expected = ((student.predict(X) - teacher.predict(Y)) ** 2).mean()
    assert trainer.step(X, Y) == pytest.approx(expected, rel=1e-5)
    teacher.astype("float64")
    with pytest.raises(hf.errors.DTypeError, match="float64 model is called in the trace of a float32"):
        trainer.step(X, Y)


# ---- lifetimes and threads ----
def test_a_part_outlives_the_whole() -> None:
    model = hf.Sequential(hf.Linear(3), hf.Linear(2)).build((6,))
    part, view = model[0], model.parameters()["0.weight"]
    del model
    view[:] = 0
    assert np.array_equal(part.predict(X), np.broadcast_to(part.parameters()["bias"], (30, 3)))
    assert np.shares_memory(view, part.parameters()["weight"])


def test_memory_is_given_back_at_once() -> None:
    """No circle that waits for the cyclic collector: after building, predicting, training, freezing."""
    model = hf.Sequential(hf.Linear(3), hf.BatchNorm(), hf.Linear(2))
    trainer = hf.Trainer(model, "mse")
    trainer.fit(X, Y)
    model.freeze("0.*")
    trainer.fit(X, Y)
    model.predict(X)
    model.predict(X)
    gone = weakref.ref(model.store()), weakref.ref(model)
    gc.collect()
    gc.disable()
    try:
        del trainer, model
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()


def test_threads_that_predict_with_a_new_model_at_once() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            model = hf.Sequential(hf.Linear(50), hf.BatchNorm(), hf.Linear(2))
            got: list[bytes] = []
            calls = [lambda m=model, got=got: got.append(m.predict(X[:3]).tobytes()) for _ in range(8)]
            assert in_threads(calls) == []
            assert len(got) == 8 and len(set(got)) == 1
    finally:
        sys.setswitchinterval(interval)


def test_names_of_attributes() -> None:
    """What Module defines is no name for an attribute; a traced value that is kept does not stop a copy."""
    for name in ("training", "inputs", "state", "children", "build", "_hf"):
        with pytest.raises(ArgumentError, match=f"Linear.{name}: this name is Module's own"):
            setattr(hf.Linear(2), name, 3)

    class Kept(hf.Module):
        def __init__(self) -> None:
            self.linear = hf.Linear(2)

        def forward(self, x: Any) -> Any:
            self.hidden = self.linear(x)
            return self.hidden * 2.0

    model = Kept()
    y = model.predict(X)
    assert np.array_equal(copy.deepcopy(model).predict(X), y)
    with pytest.raises(ArgumentError, match="metadata must be a dict"):
        model.metadata = "text"


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_a_parameter_and_a_state_need_names_of_their_own(order: tuple[bool, bool]) -> None:
    class Both(hf.Module):
        def forward(self, x: Any) -> Any:
            first, second = [self.param("w", (4,), "ones", trainable=trainable) for trainable in order]
            return x * first + second

    with pytest.raises(ArgumentError, match="'w' is the name of a parameter and of a state"):
        Both().build((4,))


def test_a_layer_that_forward_makes_anew_does_not_replace_the_trained_one() -> None:
    class Anew(hf.Module):
        def forward(self, x: Any) -> Any:
            self.a = hf.Linear(2)
            return self.a(x)

    model, x = Anew(), np.ones((3, 4), np.float32)
    hf.Trainer(model, "mse").fit(x, x[:, :2])
    trained = model.parameters()["a.weight"].copy()
    with pytest.raises(ArgumentError, match="forward sets 'a' to a new Linear"):
        model.predict(x)
    assert np.array_equal(model.parameters()["a.weight"], trained)


def test_an_option_that_is_set_to_what_the_layer_can_not_use_is_named() -> None:
    model = hf.Sequential(hf.Linear(3), hf.BatchNorm()).build((4,))
    model.layers[1].momentum = None
    with pytest.raises(ArgumentError, match=r"layer '1' \(BatchNorm\).*momentum=None"):
        hf.Trainer(model, "mse").step(np.ones((2, 4)), np.ones((2, 3)))


@pytest.mark.parametrize("init", [lambda: 1, lambda shape, *rest: np.ones(shape[::-1])])
def test_an_initializer_that_can_not_be_right(init: Any) -> None:
    with pytest.raises(ArgumentError, match="the initializer of 'weight'"):
        hf.Linear(3, init=init).build((4,))


def test_a_function_sees_that_a_layer_of_a_model_it_closes_over_is_exchanged() -> None:
    class Two(hf.Module):
        def __init__(self) -> None:
            self.a, self.b = hf.Linear(3), hf.Linear(2)

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    model, other, x = Two().build((4,)), Two().build((4,), seed=5), np.ones((3, 4), np.float32)
    f = hf.compile(lambda x: model.b(model.a(x)))
    assert np.array_equal(f(x), model.predict(x)) and np.array_equal(f(x), model.predict(x))
    model.a = other.a
    assert np.array_equal(f(x), model.predict(x))


def test_a_model_takes_arrays_as_constants_in_a_function() -> None:
    model, x = hf.Sequential(hf.Linear(2)).build((4,)), np.ones((3, 4), np.float32)
    assert np.array_equal(hf.compile(lambda y: y + model(x))(np.zeros((3, 2))), model.predict(x))


@pytest.mark.parametrize("by", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_what_a_layer_keeps_of_a_trace_is_not_copied(by: Any) -> None:
    model, x = Keeps(), np.ones((3, 4), np.float32)
    expected = model.predict(x)
    other = by(model)
    assert not {"seen", "by_name"} & vars(other).keys()
    assert np.array_equal(other.predict(x), expected)


class Keeps(hf.Module):
    def __init__(self) -> None:
        self.layer = hf.Linear(2)

    def forward(self, x: Any) -> Any:
        self.seen, self.by_name = [x], {"x": (x, 1)}
        return self.layer(x)
