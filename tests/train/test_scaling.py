"""Scaling layers: what they learn, from which rows, in which units what is told; scikit-learn's numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, HawfinchError, NonFiniteInputError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)) * [1.0, 1e4, 1e-3, 50.0] + [0.0, 5e5, 7.0, -300.0]
Y = 3e5 + 2e4 * ((X[:, :1] - X[:, 1:2] / 1e4) + 0.1 * RNG.normal(size=(200, 1)))


def net(*tail: hf.Module, scale: hf.Module | None = None) -> hf.Module:
    layers = [scale or hf.Standardize(), hf.Linear(8), hf.Tanh(), hf.Linear(1), *tail]
    return hf.Sequential(layers).astype("float64")


SMALL = [[1, 200, -3, 5], [2, 100, -3.5, 5], [4, 400, 9, 5], [8, -50, -2, 5], [16, 0, 1000, 5]]


@pytest.mark.parametrize(
    ("layer", "first", "last"),
    [
        # scikit-learn 1.9.1: StandardScaler, MinMaxScaler((-1, 1)), RobustScaler
        (
            hf.Standardize(),
            [-0.9532062476387962, 0.4375, -0.5077797694616276, 0.0],
            [1.7964271590115777, -0.8125, 1.9998672456541406, 0.0],
        ),
        (
            hf.MinMaxScale(-1, 1),
            [-1.0, 0.11111111111111105, -0.9990034877927254, -1.0],
            [1.0, -0.7777777777777778, 0.9999999999999999, -1.0],
        ),
        (hf.RobustScale(None), [-0.5, 0.5, -0.08333333333333333, 0.0], [2.0, -0.5, 83.5, 0.0]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_scaled_rows_are_scikit_learns(layer: hf.Module, first: list[float], last: list[float]) -> None:
    scaled = layer.astype("float64").learn(SMALL).predict(SMALL)
    assert np.allclose(scaled[[0, 4]], [first, last], rtol=1e-14)


def test_quantiles_are_scikit_learns() -> None:
    """QuantileTransformer's of version 1.9.1: 9 quantiles of 9 rows, 5 of them, rows between and outside of these."""
    x = np.array([[1, 7], [2, 7], [4, 7], [4, 8], [4, 9], [50, 9], [900, 9], [901, 10], [902, 11]], float)
    uniform = hf.QuantileScale(9, output="uniform").astype("float64").learn(x).predict(x)
    assert uniform[:, 0].tolist() == [0.0, 0.125, 0.375, 0.375, 0.375, 0.625, 0.75, 0.875, 1.0]
    assert uniform[:, 1].tolist() == [0.0, 0.0, 0.0, 0.375, 0.625, 0.625, 0.625, 0.875, 1.0]
    five = hf.QuantileScale(5, output="uniform").astype("float64").learn(x)
    new = five.predict([[3.0, 8.5], [60, 9.5], [0, 6], [1e9, 1e9]])
    assert np.allclose(new, [[1 / 6, 0.4375], [0.515625, 0.8125], [0.0, 0.0], [1.0, 1.0]], rtol=1e-14)
    normal = hf.QuantileScale(9).astype("float64").learn(x).predict(x)[[0, 1, 5, 6, 7, 8], 0]
    theirs = [-5.199337582605575, -1.1503493803760079, 0.31863936396437514, 0.6744897501960817, 1.1503493803760079]
    assert np.allclose(normal, [*theirs, 5.19933758270342], rtol=1e-9)


def test_quantiles_of_a_training() -> None:
    x = np.exp(3 * (X[:, :2] - X[:, :2].mean(0)) / X[:, :2].std(0))
    model = hf.Sequential(hf.QuantileScale(50), hf.Linear(1))
    hf.Trainer(model, "mse", hf.SGD(1e-9)).fit(x, Y / 1e6)
    inner = hf.Sequential(model[0]).predict(x)
    assert abs(inner.mean(0)).max() < 0.05 and np.allclose(inner.std(0), 1.0, atol=0.25)
    assert (np.diff(inner[np.argsort(x[:, 0]), 0]) > 0).all()
    images = RNG.integers(0, 256, (30, 4, 3)).astype(np.uint8)
    assert hf.QuantileScale(8).learn(images).predict(images).shape == (30, 4, 3)


def test_fit_learns_from_the_training_rows_alone_and_once(tmp_path: Path) -> None:
    model = net(hf.TargetScale())
    trainer = hf.Trainer(model, "mse", hf.Adam(0.01))
    trainer.fit(X[:150], Y[:150], epochs=2, validation_data=(X[150:], Y[150:]))
    numbers = {k: v.copy() for k, v in model.buffers().items()}
    assert np.allclose(numbers["0.center"], X[:150].mean(0)) and np.allclose(numbers["0.scale"], X[:150].std(0))
    assert np.allclose(numbers["4.center"], Y[:150].mean(0)) and np.allclose(numbers["4.scale"], Y[:150].std(0))
    assert numbers["0.rows"] == numbers["4.rows"] == 150
    trainer.fit(X[150:], Y[150:])
    hf.Trainer(model, "mse").fit(X[150:], Y[150:])
    model.save(tmp_path / "net")
    loaded = hf.load(tmp_path / "net")
    hf.Trainer(loaded, "mse").fit(X[150:], Y[150:])
    for m in (model, loaded):
        assert all(np.array_equal(v, numbers[k]) for k, v in m.buffers().items())
    model[0].learn(X[150:])
    assert np.allclose(model.buffers()["0.center"], X[150:].mean(0))


def test_step_and_evaluate_learn_nothing() -> None:
    model = net(hf.TargetScale())
    trainer = hf.Trainer(model, "mse")
    trainer.evaluate(X, Y)
    trainer.step(X, Y)
    assert not model.buffers()["0.rows"].any() and (model.buffers()["4.scale"] == 1).all()
    trainer.fit(X, Y)
    assert model.buffers()["0.rows"] == 200


def test_the_loss_is_of_scaled_targets_and_all_else_in_their_units() -> None:
    model = net(hf.TargetScale())
    trainer = hf.Trainer(model, "mse", hf.Adam(0.02), metrics=["mae", "r2"])
    history = trainer.fit(X, Y, epochs=80, validation_data=(X, Y))
    predicted = model.predict(X)
    result = trainer.evaluate(X, Y)
    assert np.isclose(result["loss"], ((predicted - Y) ** 2).mean() / Y.var(), rtol=1e-9)
    assert np.isclose(result["mae"], abs(predicted - Y).mean(), rtol=1e-9)
    assert history["val_loss"][-1] == result["loss"] and history["val_mae"][-1] == result["mae"]
    assert result["r2"] > 0.9 and history["mae"][-1] > 100


def test_it_is_training_on_scaled_arrays() -> None:
    x_scaler, y_scaler = hf.data.StandardScaler().fit(X), hf.data.StandardScaler().fit(Y)
    plain = hf.Sequential(hf.Linear(8), hf.Tanh(), hf.Linear(1)).astype("float64")
    model = hf.Sequential(hf.Standardize(), plain, hf.TargetScale()).astype("float64")
    first = hf.Sequential(hf.Linear(8), hf.Tanh(), hf.Linear(1)).astype("float64").build((4,), seed=5)
    model.build((4,))
    for (_, a), (_, b) in zip(sorted(plain.parameters().items()), sorted(first.parameters().items()), strict=True):
        a[...] = b
    a = hf.Trainer(model, "mse", hf.SGD(0.05), seed=1).fit(X, Y, epochs=5)
    b = hf.Trainer(first, "mse", hf.SGD(0.05), seed=1).fit(x_scaler.transform(X), y_scaler.transform(Y), epochs=5)
    assert np.allclose(a["loss"], b["loss"], rtol=1e-10)
    assert np.allclose(model.predict(X), y_scaler.inverse(first.predict(x_scaler.transform(X))), rtol=1e-10)


@pytest.mark.parametrize("kind", ["standard", "minmax", "robust", "log"])
def test_kinds_of_target_scaling(kind: str) -> None:
    y = np.exp(2 * RNG.normal(size=(200, 2)))
    model = hf.Sequential(hf.Standardize(), hf.Linear(2), hf.TargetScale(kind)).astype("float64")
    trainer = hf.Trainer(model, "mse", hf.SGD(1e-3))
    trainer.fit(X, y)
    inside = np.log1p(y) if kind == "log" else y
    center, scale = {
        "minmax": (y.min(0), np.ptp(y, 0)),
        "robust": (np.median(y, 0), np.subtract(*np.percentile(y, (75, 25), 0))),
    }.get(kind, (inside.mean(0), inside.std(0)))
    guess = model.predict(X)
    guess = np.log1p(guess) if kind == "log" else guess
    assert np.isclose(trainer.evaluate(X, y)["loss"], (((guess - inside) / scale) ** 2).mean(), rtol=1e-8)
    assert np.allclose(model.buffers()["2.center"], center) and np.allclose(model.buffers()["2.scale"], scale)
    if kind == "log":
        with pytest.raises(ArgumentError, match=r'TargetScale\("log"\) is for targets above -1, got -1'):
            hf.TargetScale("log").learn([[0.0], [-1.0]])


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 3)])
def test_targets_by_quantiles(shape: tuple[int, ...], tmp_path: Path) -> None:
    """The loss is of normal numbers, predictions are their places on the line of quantiles; kept in the file."""
    y = np.exp(3 * RNG.normal(size=(200, *shape)))
    flat = y.reshape(200, -1)

    class Net(hf.Module):
        def __init__(self) -> None:
            self.layer, self.back = hf.Linear(flat.shape[1]), hf.TargetScale("quantile")

        def forward(self, x: Any) -> Any:
            return self.back(hf.ops.reshape(self.layer(x), (x.shape[0], *shape)))

    model = Net().astype("float64")
    trainer = hf.Trainer(model, "mse", hf.Adam(0.02), metrics=["mae"])
    trainer.fit(X, y, epochs=2)
    line = model.buffers()["back.quantiles"]
    np.testing.assert_allclose(line, np.percentile(flat, np.linspace(0, 100, 1000), axis=0).T)
    normal = hf.QuantileScale().astype("float64").learn(flat)
    p = model.parameters()
    z = X @ p["layer.weight"] + p["layer.bias"]
    result = trainer.evaluate(X, y)
    assert result["loss"] == pytest.approx(((z - normal.predict(flat)) ** 2).mean(), rel=1e-9)
    knots = normal.predict(line.T)[:, 0]
    expected = np.stack([np.interp(z[:, i], knots, line[i]) for i in range(flat.shape[1])], 1).reshape(y.shape)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-9)
    assert result["mae"] == pytest.approx(abs(expected - y).mean(), rel=1e-9)
    p["layer.bias"][...] = 1e12
    np.testing.assert_array_equal(model.predict(X).reshape(200, -1), np.broadcast_to(flat.max(0), flat.shape))


def test_targets_by_quantiles_may_miss_and_are_kept_in_a_file(tmp_path: Path) -> None:
    y = np.exp(3 * RNG.normal(size=(200, 2)))
    gaps = np.where(RNG.random(y.shape) < 0.3, np.nan, y)
    model = hf.Sequential(hf.Linear(2), hf.TargetScale("quantile")).astype("float64")
    trainer = hf.Trainer(model, hf.MSE(ignore_nan=True), hf.Adam(0.02))
    trainer.fit(X, gaps, epochs=2)
    line = model.buffers()["1.quantiles"]
    np.testing.assert_allclose(line, np.nanpercentile(gaps, np.linspace(0, 100, 1000), axis=0).T)
    p, seen = model.parameters(), ~np.isnan(gaps)
    layer = hf.QuantileScale().astype("float64").learn(y)
    layer.buffers()["quantiles"][...] = line
    apart = X @ p["0.weight"] + p["0.bias"] - layer.predict(y)
    assert trainer.evaluate(X, gaps)["loss"] == pytest.approx((apart[seen] ** 2).mean(), rel=1e-9)
    model.save(tmp_path / "net")
    np.testing.assert_array_equal(hf.load(tmp_path / "net").predict(X), model.predict(X))


def test_a_column_of_outliers_is_clipped_smoothly() -> None:
    x = np.array([*range(9), 1e12, -1e30, 3e38])[:, None]
    y = hf.RobustScale().learn(x).predict(x)
    assert np.isfinite(y).all() and abs(y).max() <= 3.0000002
    assert np.allclose(y[[9, 10, 11], 0], [3, -3, 3], rtol=1e-6)
    z = np.linspace(-2, 2, 9)[:, None]
    layer = hf.RobustScale().astype("float64").build((1,))
    assert np.allclose(layer.predict(z), z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-14)
    rare = np.array([[0.0]] * 9 + [[8.0]])
    assert hf.RobustScale().learn(rare).buffers()["scale"] == 4.0  # no quartiles apart: half the range
    assert hf.RobustScale().learn(np.ones((5, 1))).buffers()["scale"] == 1.0


def test_images_of_bytes() -> None:
    images = RNG.integers(0, 256, (50, 6, 5, 3)).astype(np.uint8)
    flat = images.reshape(-1, 3).astype(float)
    for per, center in (("channel", flat.mean(0)), ("all", flat.mean()), ("feature", images.mean(0))):
        model = hf.Sequential(hf.Standardize(per), hf.Flatten(), hf.Linear(2))
        hf.Trainer(model, "softmax_cross_entropy").fit(images, images[:, 0, 0, 0].astype(int) % 2)
        assert model.buffers()["0.center"].shape == np.shape(center)
        assert np.allclose(model.buffers()["0.center"], center, rtol=1e-6)
    twice = hf.Sequential(hf.Rescale(1 / 255), hf.Standardize("channel"))
    hf.Trainer(twice, "mse").fit(images, images)
    assert np.allclose(twice.buffers()["1.center"], flat.mean(0) / 255, rtol=1e-5), "of what the layer before gives"


def test_what_the_layer_reads_may_come_from_other_layers_and_inputs() -> None:
    class Two(hf.Module):
        def __init__(self) -> None:
            self.a, self.b, self.c, self.out = hf.Standardize(), hf.MinMaxScale(), hf.Standardize(), hf.Linear(1)
            self.back = hf.TargetScale()

        def forward(self, x: Any, z: Any) -> Any:
            y = self.out(self.a(x) + self.c(self.b(z) * 3.0))
            return {"level": self.back(y), "sign": y}

    model, z = Two().astype("float64"), X**2
    losses = {"sign": "bce_with_logits", "level": "mse"}
    trainer = hf.Trainer(model, losses, hf.SGD(1e-3), metrics={"level": ["mae"], "sign": ["accuracy"]})
    y = {"sign": (X[:, :1] > 0) * 1.0, "level": Y}
    history = trainer.fit((X, z), y)
    numbers = model.buffers()
    assert np.allclose(numbers["a.center"], X.mean(0)) and np.allclose(numbers["b.center"], z.min(0))
    inner = 3 * (z - z.min(0)) / np.ptp(z, 0)
    assert np.allclose(numbers["c.center"], inner.mean(0)) and np.allclose(numbers["c.scale"], inner.std(0))
    assert np.allclose(numbers["back.center"], Y.mean(0))
    assert history["level_loss"][0] < 10 < history["level_mae"][0]


def test_outputs_without_a_column_and_whole_targets() -> None:
    class Flat(hf.Module):
        def __init__(self) -> None:
            self.line, self.back = hf.Linear(1), hf.TargetScale()

        def forward(self, x: Any) -> Any:
            return self.back(hf.ops.reshape(self.line(x / 1e6), (x.shape[0],)))

    model, y = Flat(), np.arange(200) * 1000
    hf.Trainer(model, "mse", hf.SGD(1e-9)).fit(X, y)
    assert model.buffers()["back.center"] == 99_500.0 and model.predict(X).shape == (200,)


def test_chunks_teach_the_first_of_them() -> None:
    model = net(hf.TargetScale())
    hf.Trainer(model, "mse").fit(lambda: iter([(X[:50], Y[:50]), (X[50:], Y[50:])]), epochs=2)
    assert model.buffers()["0.rows"] == 50 and np.allclose(model.buffers()["4.center"], Y[:50].mean(0))


def test_many_nets_learn_as_one_does() -> None:
    def make() -> hf.Module:
        return hf.Sequential(hf.Standardize(), hf.Linear(8), "tanh", hf.Linear(1), hf.TargetScale())

    nets = [(make(), dict(loss="mse", seed=i)) for i in range(5)]
    histories = hf.fit_many(nets, X, Y, epochs=3)
    for i, (model, _) in enumerate(nets):
        alone = make()
        history = hf.Trainer(alone, "mse", seed=i).fit(X, Y, epochs=3)
        assert history.to_dict() == histories[i].to_dict()
        assert all(np.array_equal(v, alone.buffers()[k]) for k, v in model.buffers().items())


def test_with_weights_scaled_by_data_the_scales_come_first() -> None:
    model = net(hf.TargetScale())
    hf.Trainer(model, "mse", hf.SGD(0.0), init="data").fit(X, Y)
    inner = hf.Sequential(*[model[i] for i in range(2)])
    assert np.isclose(inner.predict(X).std(), 1.0, rtol=1e-5)


def test_gone_on_with_in_a_new_trainer() -> None:
    whole, parts = net(hf.TargetScale()), net(hf.TargetScale())
    a = hf.Trainer(whole, "mse", hf.Adam(0.01)).fit(X, Y, epochs=6)
    states: list[Any] = []

    def stop(trainer: hf.Trainer, epoch: int, logs: Any) -> None:
        if epoch == 2:
            states.append(trainer.get_state())
            trainer.stop = True

    hf.Trainer(parts, "mse", hf.Adam(0.01)).fit(X, Y, epochs=6, callbacks=[stop])
    again = net(hf.TargetScale())
    b = hf.Trainer(again, "mse", hf.Adam(0.01)).fit(X, Y, epochs=6, resume=states[0])
    assert a.to_dict() == b.to_dict() and np.array_equal(whole.predict(X), again.predict(X))


def test_what_can_not_be_scaled_is_an_error_that_names_both_sides() -> None:
    labels = (X[:, 0] > 0).astype(int)
    for loss, y in (("softmax_cross_entropy", labels), ("bce_with_logits", labels[:, None] * 1.0)):
        model = hf.Sequential(hf.Linear(2 if y.ndim == 1 else 1), hf.TargetScale())
        with pytest.raises(ArgumentError, match="targets with a meaning of their own, which the model's last layer"):
            hf.Trainer(model, loss).fit(X, y)
    with pytest.raises(ArgumentError, match="must be an output of the model; put it last"):
        hf.Trainer(hf.Sequential(hf.Linear(1), hf.TargetScale(), hf.Linear(1)), "mse").fit(X, Y)
    model = net()
    with pytest.raises(ArgumentError, match="Standardize: with reduce each trainer would learn from its own rows"):
        hf.Trainer(model, "mse", reduce=(lambda a: None, 2)).fit(X, Y)
    model.build((4,))
    model[0].learn(X)
    hf.Trainer(model, "mse", reduce=(lambda a: None, 1)).fit(X, Y)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: hf.Standardize("chanel"), ArgumentError, "Did you mean 'channel'"),
        (lambda: hf.TargetScale("logs"), ArgumentError, "Did you mean 'log'"),
        (lambda: hf.MinMaxScale(2, 1), ArgumentError, "low must be below high"),
        (lambda: hf.RobustScale(0.0), ArgumentError, "clip must be a number above 0"),
        (lambda: hf.QuantileScale(1), ArgumentError, "n_quantiles must be a whole number from 2"),
        (lambda: hf.QuantileScale(output="norm"), ArgumentError, "Did you mean 'normal'"),
        (lambda: hf.QuantileScale().learn(X).learn(X[:, :2]), ShapeError, r"for rows of shape \(4,\), got x of"),
        (lambda: hf.Rescale("x"), ArgumentError, "scale must be a number"),
        (lambda: hf.Standardize().learn([[np.nan]]), NonFiniteInputError, "holds a NaN"),
        (lambda: hf.Standardize().learn([["a"]]), HawfinchError, "numbers"),
        (lambda: hf.Standardize().learn(np.zeros((0, 3))), ShapeError, "rows of numbers"),
        (lambda: hf.Standardize().learn([[1e300], [-1e300]]), NonFiniteInputError, "overflow float32"),
        (lambda: hf.Standardize().learn(X).learn(X[:, :2]), ShapeError, r"for rows of shape \(4,\), got x of"),
    ],
)
def test_wrong_options_and_rows(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_a_frozen_layer_stays_as_it_is() -> None:
    model = net().build((4,))
    model.freeze("0.*")
    hf.Trainer(model, "mse", hf.SGD(1e-12)).fit(X, Y)
    assert not model.buffers()["0.rows"].any()
