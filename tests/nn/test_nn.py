"""hawfinch.nn: building, names, sharing, copies, summaries."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, DTypeError, NotBuiltError, ShapeError

RNG = np.random.default_rng(3)
X = RNG.normal(size=(30, 6)) * 2
ERF = np.vectorize(math.erf)


class Tree(hf.Module):
    """Submodules as attributes, in lists, tuples and dicts; one of them twice."""

    def __init__(self) -> None:
        self.one = hf.Linear(3)
        self.many = [hf.Linear(3), [1, 2], hf.ReLU()]
        self.pair = (hf.Linear(3), self.one)
        self.named = {"x": hf.Linear(3), "y": "no module"}

    def forward(self, x: Any) -> Any:
        for layer in (self.one, self.many[0], self.pair[0], self.pair[1], self.named["x"]):
            x = layer(x)  # type: ignore[operator]
        return x


def test_names_follow_the_structure() -> None:
    model = Tree().build((3,))
    names = [f"{path}.{kind}" for path in ("one", "many.0", "pair.0", "named.x") for kind in ("weight", "bias")]
    assert list(model.parameters()) == names
    assert [path for path, _ in model.modules()] == ["", "one", "many.0", "many.2", "pair.0", "named.x"]
    assert model.n_parameters == 4 * 12


def module(init: Callable[[Any], None], forward: Callable[[Any, Any], Any]) -> hf.Module:
    return type("Mine", (hf.Module,), {"__init__": init, "forward": forward})()


def test_layers_at_any_depth_and_under_any_name_are_found() -> None:
    """One that was not found kept offset 0, and wrote its 80,000 numbers over the end of the buffers."""

    def init(self: Any) -> None:
        self.stages = [[hf.Linear(4000), hf.BatchNorm()], {"a": (hf.Linear(2), [hf.Linear(3)])}]
        self._last = hf.Linear(4)
        self.itself, self.parents = self, [self]
        self.parents.append(self.parents)

    def forward(self: Any, x: Any) -> Any:
        one, two = self.stages[1]["a"]
        for layer in (*self.stages[0], one, *two, self._last):
            x = layer(x)
        return x

    model = module(init, forward)
    x = RNG.normal(size=(9, 20)).astype(np.float32)
    history = hf.Trainer(model, "mse").fit(x, np.zeros((9, 4)), epochs=3)
    assert np.isfinite(history["loss"]).all()
    p, b = model.parameters(), model.buffers()
    paths = ["stages.0.0", "stages.0.1", "stages.1.a.0", "stages.1.a.1.0", "_last"]
    assert list(p) == [f"{path}.{kind}" for path in paths for kind in ("weight", "bias")]
    assert list(b) == ["stages.0.1.running_mean", "stages.0.1.running_var"]
    h = x @ p["stages.0.0.weight"] + p["stages.0.0.bias"]
    scale = p["stages.0.1.weight"] / np.sqrt(b["stages.0.1.running_var"] + 1e-5)
    h = (h - b["stages.0.1.running_mean"]) * scale + p["stages.0.1.bias"]
    for path in paths[2:]:
        h = h @ p[f"{path}.weight"] + p[f"{path}.bias"]
    np.testing.assert_allclose(model.predict(x), h, rtol=1e-3, atol=1e-4)


def test_a_layer_that_the_model_does_not_hold() -> None:
    """Made inside forward, or part of another model: an error that names it, and the model is as before."""
    foreign = hf.Linear(3).build((6,))
    held = hf.Linear(3)
    cases: list[Callable[[Any, Any], Any]] = [
        lambda self, x: hf.Linear(3)(x),
        lambda self, x: foreign(x),
        lambda self, x: held(x) if self.training else held(x) + foreign(x),
    ]
    for forward in cases:
        model = hf.Sequential(module(lambda self: None, forward))
        for run in (model.predict, lambda x, m=model: hf.Trainer(m, "mse").fit(x, x[:, :3])):
            with pytest.raises(ArgumentError, match=r"forward of layer '0' uses Linear \('weight'.*not a layer of"):
                run(X)
    late = module(
        lambda self: setattr(self, "late", None),
        lambda self, x: (self.late or setattr(self, "late", hf.Linear(3)) or self.late)(x),
    )
    assert late.predict(X).shape == (30, 3) and list(late.parameters()) == ["late.weight", "late.bias"]
    other = module(
        lambda self: setattr(self, "more", hf.Linear(6)), lambda self, x: x if self.training else self.more(x)
    )
    with pytest.raises(ArgumentError, match="did not use in training"):
        other.predict(X)


def test_names_that_collide() -> None:
    def two_keys(self: Any) -> None:
        self.d = {1: hf.Linear(3), "1": hf.Linear(3)}

    with pytest.raises(ArgumentError, match=r"two arrays are named 'd\.1\.weight'.*a Linear and.*a Linear: keys"):
        module(two_keys, lambda self, x: self.d[1](x) + self.d["1"](x)).predict(X)

    def one(self: Any) -> None:
        self.a = hf.Linear(3)

    with pytest.raises(ArgumentError, match=r"'a\.bias', 'a\.bias' of a Mine and 'bias' of a Linear"):
        module(one, lambda self, x: self.a(x) + self.param("a.bias", (3,), "zeros")).predict(X)


def test_a_layer_that_calls_itself() -> None:
    model = module(lambda self: setattr(self, "me", self), lambda self, x: self.me(x))
    with pytest.raises(ArgumentError, match="without end"):
        model.predict(X)


def test_parameters_are_views_of_one_buffer() -> None:
    model = hf.Sequential(hf.Linear(3), hf.BatchNorm(), hf.Linear(2)).build((5,))
    views = list(model.parameters().values())
    start = min(v.__array_interface__["data"][0] for v in views)
    end = max(v.__array_interface__["data"][0] + v.nbytes for v in views)
    assert end - start <= sum(v.nbytes for v in views) + 64 * len(views)
    assert all(v.__array_interface__["data"][0] % 64 == 0 and v.flags.c_contiguous for v in views)


def test_initial_values_follow_from_the_seed_alone() -> None:
    def values(seed: int, dtype: str = "float32") -> dict[str, np.ndarray]:
        model = hf.Sequential(hf.Linear(40), hf.BatchNorm(), hf.Linear(30))
        model.dtype = dtype
        return model.build((50,), seed=seed).parameters()

    a, b, c, d = values(1), values(1), values(2), values(1, "float64")
    for name in a:
        assert np.array_equal(a[name], b[name])
        assert np.array_equal(a[name], d[name].astype(np.float32))
        assert name.startswith("1.") or not np.array_equal(a[name], c[name])
    bound = 1 / math.sqrt(50)
    assert np.abs(a["0.weight"]).max() <= bound and a["0.weight"].std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert (a["1.weight"] == 1).all() and (a["1.bias"] == 0).all()


def test_an_initializer_of_ones_own() -> None:
    def ramp(shape: tuple[int, ...], fan_in: int, fan_out: int, draw: Any) -> np.ndarray:
        return np.arange(math.prod(shape)) + 100.0 * fan_in + fan_out

    w = hf.Sequential(hf.Linear(2, init=ramp)).build((3,)).parameters()["0.weight"]
    assert np.array_equal(w, np.arange(6).reshape(3, 2) + 302.0)


def test_parameters_of_ones_own() -> None:
    class Scale(hf.Module):
        def forward(self, x: Any) -> Any:
            count = self.state("count", (1,), "zeros")
            if self.training:
                self.update_state("count", count + 1.0)
            return x * self.param("scale", (6,), "ones") + 0.0 * count

    model = Scale()
    trainer = hf.Trainer(model, "mse", hf.SGD(lr=0.5))
    trainer.fit(X, 2 * X, batch_size=10, epochs=200)
    np.testing.assert_allclose(model.parameters()["scale"], 2, rtol=1e-4)
    assert model.buffers()["count"] == 600
    assert np.allclose(model.predict(X), 2 * X, rtol=1e-3)


def test_a_state_with_many_values_is_updated_in_full() -> None:
    class Seen(hf.Module):
        def forward(self, x: Any) -> Any:
            total = self.state("total", (37,), "zeros")
            if self.training:
                self.update_state("total", total + hf.ops.sum(x, 0))
            return x * self.param("scale", (37,), "ones")

    x = RNG.normal(size=(50, 37)).astype(np.float32)
    model = Seen()
    hf.Trainer(model, "mse", hf.SGD(lr=0.0)).fit(x, x, batch_size=8)
    np.testing.assert_allclose(model.buffers()["total"], x.sum(0), rtol=1e-4, atol=1e-5)


def test_build() -> None:
    model = hf.Sequential(hf.Linear(3))
    for call in (model.parameters, model.buffers, model.summary, lambda: model.n_parameters, lambda: model.save("x")):
        with pytest.raises(NotBuiltError, match="build"):
            call()  # type: ignore[operator]
    assert model.build((4,)) is model
    first = model.parameters()["0.weight"].copy()
    model.build((4,), seed=99)  # built already: no change
    assert np.array_equal(first, model.parameters()["0.weight"])
    with pytest.raises(ShapeError, match=r"built for inputs \(rows, 4\), got \(rows, 5\)"):
        model.build((5,))
    with pytest.raises(ShapeError, match="expected"):
        model.predict(np.zeros((2, 5)))


def test_a_failed_build_leaves_no_trace() -> None:
    """The wrong width first, then the right one."""

    class Residual(hf.Module):
        def __init__(self) -> None:
            self.a = hf.Linear(4)

        def forward(self, x: Any) -> Any:
            return self.a(x) + x

    model = Residual()
    with pytest.raises(ShapeError):
        model.predict(np.zeros((2, 3)))
    assert model.predict(np.zeros((2, 4))).shape == (2, 4)


@pytest.mark.parametrize("shape", [4, (4.0,), (-1,), ("4",), (None,), None, "ab", (True,), ((4,),)])
def test_bad_shapes_of_build(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"build\(\(4,\)\)"):
        hf.Sequential(hf.Linear(3)).build(shape)


def test_errors_name_the_layer() -> None:
    class Bad(hf.Module):
        def forward(self, x: Any) -> Any:
            return hf.ops.matmul(x, np.zeros((7, 7)))

    with pytest.raises(ShapeError, match=r"layer '1' \(Bad\)"):
        hf.Sequential(hf.Linear(3), Bad()).predict(X)
    with pytest.raises(ShapeError, match=r"layer '1\.0' \(Bad\)"):
        hf.Sequential(hf.Linear(3), hf.Sequential(Bad())).predict(X)


def test_what_forward_may_not_do() -> None:
    def model(forward: Callable[[Any], Any]) -> hf.Module:
        return type("Mine", (hf.Module,), {"forward": lambda self, x: forward(x)})()

    cases: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
        (lambda x: 3.0, TypeError, "forward gave float"),
        (lambda x: None, TypeError, "forward gave NoneType"),
        (lambda x: hf.ops.mean(x), ShapeError, "first axis"),
        (lambda x: hf.ops.sum(x, 0), ShapeError, "first axis"),
        (lambda x: x if x else -x, TypeError, "hf.ops.where"),
        (lambda x: np.tanh(x), TypeError, "hf.ops instead"),
        (lambda x: x + "a", TypeError, "numbers"),
        (lambda x: [x[i] for i in range(len(x))], TypeError, "batch size"),
        (lambda x: hf.ops.reshape(x, (5, -1)), ShapeError, "divisible"),
    ]
    for forward, kind, message in cases:
        with pytest.raises(kind, match=message):
            model(forward).predict(X)


def test_layers_are_callable_on_arrays() -> None:
    layer = hf.Linear(3)
    assert np.array_equal(layer(X), layer.predict(X))


@pytest.mark.parametrize(
    "make",
    [
        lambda: hf.Linear(0),
        lambda: hf.Linear(-1),
        lambda: hf.Linear(2.0),
        lambda: hf.Linear("3"),
        lambda: hf.Linear(True),
        lambda: hf.Linear(None),
        lambda: hf.Linear(3, init="kaiming"),
        lambda: hf.Dropout(1.0),
        lambda: hf.Dropout(-0.1),
        lambda: hf.Dropout(float("nan")),
        lambda: hf.BatchNorm(eps=0),
        lambda: hf.BatchNorm(eps=float("nan")),
        lambda: hf.BatchNorm(momentum=1.1),
        lambda: hf.LayerNorm(eps=-1),
        lambda: hf.LayerNorm(eps=float("nan")),
        lambda: hf.Sequential("rellu"),
        lambda: hf.Sequential(3),
        lambda: hf.Sequential(hf.Linear),
    ],
)
def test_bad_arguments_of_layers(make: Callable[[], Any]) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_sizes_from_numpy() -> None:
    assert hf.Sequential(hf.Linear(np.int64(3))).build((np.int32(4),)).n_parameters == 15


@pytest.mark.parametrize("out", [2**45, 2**62, 2**64, 10**30])
def test_sizes_beyond_memory(out: int) -> None:
    with pytest.raises((ShapeError, MemoryError)):
        hf.Sequential(hf.Linear(out)).build((4,))


def test_dtype() -> None:
    for bad in ("float16", "int64", None, np.float32):
        with pytest.raises(DTypeError, match="float32"):
            hf.Sequential(hf.Linear(2)).astype(bad)  # type: ignore[arg-type]
    model = hf.Sequential(hf.Linear(2)).build((6,))
    before = model.predict(X)
    model.astype("float64")
    assert model.predict(X).dtype == np.float64
    np.testing.assert_allclose(model.predict(X), before, rtol=1e-5, atol=1e-6)
    model.astype("float32")
    assert np.array_equal(model.predict(X), before)


def test_a_model_inside_another_shares_its_values() -> None:
    """Training the whole trains the part, and a part used by itself stays part of the whole."""
    encoder = hf.Sequential(hf.Linear(4), hf.Tanh())
    encoder.predict(X)
    whole = hf.Sequential(encoder, hf.Linear(1))
    trainer = hf.Trainer(whole, "mse", hf.SGD(lr=0.1))
    y = X[:, :1] - X[:, 1:2]
    trainer.fit(X, y, epochs=2)
    hidden = encoder.predict(X)
    p = whole.parameters()
    np.testing.assert_allclose(whole.predict(X), hidden @ p["1.weight"] + p["1.bias"], rtol=1e-4, atol=1e-5)
    encoder.parameters()["0.weight"][...] = 0
    assert (whole.parameters()["0.0.weight"] == 0).all()
    before = trainer.steps
    trainer.fit(X, y, epochs=2)
    assert trainer.steps == before + 2
    assert np.array_equal(encoder.parameters()["0.weight"], whole.parameters()["0.0.weight"])
    assert not (encoder.parameters()["0.weight"] == 0).all()


class Two(hf.Module):
    def __init__(self, out: int = 2) -> None:
        self.body, self.head, self.end = hf.Linear(40), hf.Linear(out), hf.ReLU()

    def forward(self, x: Any) -> Any:
        return self.end(self.head(self.body(x)))


def test_an_exchanged_layer_is_used() -> None:
    """A new head on a trained body, wider than the old buffers: new values for it alone."""
    model = Two()
    trainer = hf.Trainer(model, "mse")
    trainer.fit(X, X[:, :2])
    for _ in range(3):
        model.predict(X[:4])
    body = model.parameters()["body.weight"].copy()
    model.head = hf.Linear(3000)
    y = model.predict(X[:4])
    p = model.parameters()
    assert y.shape == (4, 3000) and p["head.weight"].shape == (40, 3000) and np.array_equal(p["body.weight"], body)
    hidden = X[:4] @ p["body.weight"] + p["body.bias"]
    np.testing.assert_allclose(y, np.maximum(hidden @ p["head.weight"] + p["head.bias"], 0), rtol=1e-3, atol=1e-4)
    with pytest.raises(ShapeError, match="new Trainer"):
        trainer.fit(X, np.zeros((30, 3000)))
    history = hf.Trainer(model, "mse").fit(X, np.ones((30, 3000)), epochs=5)
    assert history["loss"][-1] < history["loss"][0]


def test_exchanged_layers_without_parameters_and_options() -> None:
    """Also through calls that repeat: predict, step, fit."""
    model = Two()
    trainer = hf.Trainer(model, "mse", hf.SGD(lr=0.0))
    y = np.zeros((30, 2), np.float32)
    for _ in range(3):
        before = model.predict(X[:4])
        trainer.step(X, y)
    model.end = hf.Tanh()
    p = model.parameters()
    linear = (X @ p["body.weight"] + p["body.bias"]) @ p["head.weight"] + p["head.bias"]
    np.testing.assert_allclose(model.predict(X[:4]), np.tanh(linear[:4]), rtol=1e-4, atol=1e-5)
    assert not np.array_equal(model.predict(X[:4]), before)
    assert trainer.step(X, y) == pytest.approx((np.tanh(linear) ** 2).mean(), rel=1e-4)
    model.end = hf.LeakyReLU(0.5)
    assert trainer.fit(X, y, batch_size=30)["loss"][-1] == pytest.approx(
        (np.where(linear > 0, linear, linear / 2) ** 2).mean(), rel=1e-4
    )
    model.end.negative_slope = -1.0
    np.testing.assert_allclose(model.predict(X[:4]), np.abs(linear[:4]), rtol=1e-4, atol=1e-5)
    assert trainer.step(X, y) == pytest.approx((linear**2).mean(), rel=1e-4)


def test_an_exchanged_item_of_a_list() -> None:
    """No attribute is set, so it is seen when the next plan is made, by a trainer at once; never half seen."""

    class Many(hf.Module):
        def __init__(self) -> None:
            self.many = [hf.Linear(40), hf.Linear(2)]

        def forward(self, x: Any) -> Any:
            return self.many[1](self.many[0](x))

    model, new = Many(), hf.Linear(3000)
    trainer = hf.Trainer(model, "mse")
    for _ in range(3):
        trainer.step(X, X[:, :2])
        model.predict(X[:4])
    model.many[1] = new
    assert model.predict(np.repeat(X, 100, 0)).shape == (3000, 3000)
    p = model.parameters()
    hidden = X[:4] @ p["many.0.weight"] + p["many.0.bias"]
    expected = hidden @ p["many.1.weight"] + p["many.1.bias"]
    np.testing.assert_allclose(model.predict(X[:4]), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ShapeError, match="new Trainer"):
        trainer.fit(X, np.zeros((30, 3000)))
    model.many[1] = hf.Linear(5)
    assert np.isfinite(hf.Trainer(model, "mse").fit(X, np.zeros((30, 5)))["loss"]).all()


def test_a_dtype_set_on_a_built_model() -> None:
    model = Two()
    before = model.predict(X)
    model.dtype = "float64"
    after = model.predict(X)
    assert after.dtype == np.float64
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_training_drops_no_plans_that_still_fit() -> None:
    """Building other models, reading parameters, predicting: none of it makes a model's plans anew."""
    model = Two()
    trainer = hf.Trainer(model, "mse")
    trainer.fit(X, X[:, :2])
    model.predict(X)
    plans, predictor = dict(trainer._plans.cache._values), model._hf.predictor
    pools = dict(predictor.pools._values)
    hf.Sequential(hf.Linear(3)).build((2,))
    model.metadata = {"a": "b"}
    model.parameters()["head.bias"][...] = 1
    trainer.fit(X, X[:, :2])
    model.predict(X)
    assert plans == trainer._plans.cache._values
    assert model._hf.predictor is predictor and pools == predictor.pools._values


@pytest.mark.parametrize("by", ["deepcopy", "pickle"])
def test_copies(by: str) -> None:
    """Equal and apart: also after prediction and training, which leave plans behind."""
    model = hf.Sequential(hf.Linear(5), hf.BatchNorm(), hf.Sequential(hf.ReLU(), hf.Linear(2)))
    trainer = hf.Trainer(model, "mse")
    y = X[:, :2]
    trainer.fit(X, y)
    for _ in range(3):
        model.predict(X[:5])
    other = copy.deepcopy(model) if by == "deepcopy" else pickle.loads(pickle.dumps(model))
    expected = model.predict(X)
    assert np.array_equal(other.predict(X), expected)
    assert list(other.buffers()) == list(model.buffers())
    trainer.fit(X, y)
    assert np.array_equal(other.predict(X), expected)
    hf.Trainer(other, "mse", hf.SGD(lr=0.5)).fit(X, y)
    assert not np.array_equal(other.predict(X), expected)
    assert pickle.loads(pickle.dumps(hf.Sequential(hf.Linear(2)))).predict(X).shape == (30, 2)


def test_repr_and_structure_of_sequential() -> None:
    model = hf.Sequential(hf.Linear(3, bias=False), "relu", hf.LeakyReLU(0.2))
    assert repr(model) == "Sequential(Linear(3, bias=False), 'relu', LeakyReLU(0.2))"
    assert len(model) == 3 and isinstance(model[1], hf.ReLU)
    assert len(hf.Sequential([hf.Linear(3), hf.ReLU()])) == 2
    assert np.array_equal(hf.Sequential().predict(X.astype(np.float32)), X.astype(np.float32))


def test_summary() -> None:
    model = hf.Sequential(hf.Linear(16), hf.BatchNorm(), hf.ReLU(), hf.Linear(3)).build((8,))
    lines = model.summary().splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line and line[0].isdigit()}
    assert rows["0"][1:] == ["(Linear)", "Bx16", "144", "576", "256"]
    assert rows["1"][1:] == ["(BatchNorm)", "Bx16", "32", "256", "0"]
    assert rows["3"][1:] == ["(Linear)", "Bx3", "51", "204", "96"]
    assert lines[-1].split() == ["total", "227", "1,036", "352"]


def test_what_forward_asks_for_wrongly() -> None:
    def model(forward: Callable[[Any, Any], Any]) -> hf.Module:
        return module(lambda self: None, forward)

    def updates(name: str, value: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
        def forward(self: Any, x: Any) -> Any:
            self.param("weight", (6,), "ones")
            self.state("mean", (6,), "zeros")
            self.update_state(name, value(x))
            return x

        return forward

    cases: list[tuple[Callable[[Any, Any], Any], type[Exception], str]] = [
        (lambda self, x: x * self.param("w", 6, "ones"), ShapeError, "whole numbers, got 6"),
        (lambda self, x: x * self.param("w", (6.0,), "ones"), ShapeError, "whole numbers"),
        (lambda self, x: x * self.param("w", (-6,), "ones"), ShapeError, "whole numbers"),
        (lambda self, x: x * self.param("w", (x.shape[0],), "ones"), ShapeError, "batch size"),
        (lambda self, x: x * self.param(3, (6,), "ones"), ArgumentError, "must be text, not 3"),
        (lambda self, x: x * self.param("w", (6,), "one"), ArgumentError, "Did you mean 'ones'"),
        (updates("maen", lambda x: hf.ops.mean(x, 0)), ArgumentError, "Did you mean 'mean'"),
        (updates("weight", lambda x: hf.ops.mean(x, 0)), ArgumentError, "unknown state 'weight'"),
        (updates("mean", lambda x: hf.ops.mean(x, 1)), ShapeError, "has shape \\(6,\\), the new value is of shape"),
        (updates("mean", lambda x: 3.0), ShapeError, "the new value is of float"),
    ]
    for forward, kind, message in cases:
        with pytest.raises(kind, match=message):
            model(forward).predict(X)
    with pytest.raises(TypeError, match="for use in forward"):
        hf.Linear(3).param("w", (3,), "ones")
    with pytest.raises(ArgumentError, match=r"Mine got 2 input\(s\): too many.*Mine.forward"):
        model(lambda self, x: x).predict((X, X))
