"""``critical_point``, ``sharpness`` and ``loss_landscape``: closed forms of small nets."""

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError

ONE = np.array([[1.0]])
RNG = np.random.default_rng(2)
X, LABELS = RNG.normal(size=(80, 6)), RNG.integers(0, 3, 80)


def two_weights(w1: float, w2: float) -> hf.Module:
    """y = w1 w2 x."""
    model = hf.Sequential(hf.Linear(1, bias=False), hf.Linear(1, bias=False)).build((1,))
    model.parameters()["0.weight"][...], model.parameters()["1.weight"][...] = w1, w2
    return model


def one_weight(w: float) -> hf.Module:
    model = hf.Sequential(hf.Linear(1, bias=False)).build((1,))
    model.parameters()["0.weight"][...] = w
    return model


def test_the_saddle_of_two_weights() -> None:
    """(1 - w1 w2)^2 at 0: eigenvalues +-2, and out along (1, 1) / sqrt 2, where it is (1 - t^2 / 2)^2."""
    found = hf.critical_point(two_weights(0, 0), ONE, ONE, loss=hf.MSE())
    assert (found.kind, found.near, found.loss, found.gradient_norm, found.gain) == ("saddle", True, 1, 0, 0)
    np.testing.assert_allclose([found.smallest, found.largest], [-2, 2], rtol=1e-12)
    assert found.escape is not None
    way = np.ravel(list(found.escape.values()))
    np.testing.assert_allclose(np.abs(way), 0.5**0.5)
    assert way[0] * way[1] > 0
    t = np.linspace(-1.5, 1.5, 7)
    np.testing.assert_allclose(found.along(t), (1 - t**2 / 2) ** 2, atol=1e-12)
    assert (found.distance, found.lower) == (1, pytest.approx(0.25))
    assert repr(found).startswith("saddle: a critical point\n")


def test_minimum_maximum_flat_and_none() -> None:
    minimum = hf.critical_point(two_weights(1, 1), ONE, ONE, loss=hf.MSE())  # eigenvalues 0 and 4
    assert (minimum.kind, minimum.near, minimum.escape) == ("minimum", True, None)
    assert minimum.largest == pytest.approx(4)
    top = hf.critical_point(one_weight(0), ONE, ONE, loss=lambda z, y: 3.0 - z**2)
    assert (top.kind, top.near) == ("maximum", True)
    assert top.smallest == pytest.approx(-2)
    assert top.lower == pytest.approx(2.0)
    flat = hf.critical_point(one_weight(0), ONE, ONE, loss=lambda z, y: 3.0 + 0.0 * z)
    assert (flat.kind, flat.near, flat.escape) == ("flat", True, None)
    slope = hf.critical_point(two_weights(1, 0.5), ONE, ONE, loss=hf.MSE())
    assert not slope.near
    assert "no critical point" in repr(slope)
    line = hf.critical_point(one_weight(0), ONE, ONE, loss=lambda z, y: 3.0 + z)  # a gradient and no curvature
    assert not line.near


def test_a_saddle_that_is_nearly_reached() -> None:
    assert hf.critical_point(two_weights(1e-3, -1e-3), ONE, ONE, loss=hf.MSE()).near
    assert not hf.critical_point(two_weights(0.2, 0.1), ONE, ONE, loss=hf.MSE()).near


def test_the_saddle_at_zero_weights_of_a_deep_net() -> None:
    """All weights 0: the gradient is, and the second layer's curvature goes both ways."""
    model = hf.Sequential(hf.Linear(5, bias=False), hf.Tanh(), hf.Linear(3, bias=False)).build((6,))
    for w in model.parameters().values():
        w[...] = 0
    before = {k: v.copy() for k, v in model.parameters().items()}
    found = hf.critical_point(model, X, LABELS, loss=hf.SoftmaxCrossEntropy())
    assert (found.kind, found.near) == ("saddle", True)
    assert found.lower < found.loss == pytest.approx(np.log(3))
    axes = found.plot()
    assert axes.get_ylabel() == "loss"
    for k, v in model.parameters().items():
        np.testing.assert_array_equal(v, before[k])


def test_sharpness_of_a_parabola() -> None:
    """(w - 1)^2 at 3: eigenvalue 2, in units of w 18, worst at 3.3."""
    found = hf.sharpness(one_weight(3), ONE, ONE, loss=hf.MSE(), radius=0.1)
    np.testing.assert_allclose((found.largest, found.trace, found.normalised), (2, 2, 18), rtol=1e-12)
    np.testing.assert_allclose((found.loss, found.worst, found.rise), (4, 2.3**2, 2.3**2 - 4), rtol=1e-6)


def test_scaling_layers_against_each_other_changes_only_what_is_not_normalised() -> None:
    """ReLU: one layer's weights times 10, the next one's by 10, the same function."""
    nets = []
    for scale in (1.0, 10.0):
        net = hf.Sequential(hf.Linear(8), hf.ReLU(), hf.Linear(3)).astype("float64").build((6,), seed=3)
        p = net.parameters()
        p["0.weight"][...] *= scale
        p["0.bias"][...] *= scale
        p["2.weight"][...] /= scale
        nets.append(hf.sharpness(net, X, LABELS, loss=hf.SoftmaxCrossEntropy()))
    one, other = nets
    assert other.largest > 2 * one.largest
    assert other.normalised == pytest.approx(one.normalised, rel=1e-6)
    assert other.rise == pytest.approx(one.rise, rel=1e-6)
    planes = []
    for scale in (1.0, 10.0):
        net = hf.Sequential(hf.Linear(8, bias=False), hf.ReLU(), hf.Linear(3, bias=False)).astype("float64")
        p = net.build((6,), seed=3).parameters()
        p["0.weight"][...] *= scale
        p["2.weight"][...] /= scale
        planes.append(hf.loss_landscape(net, X, LABELS, loss=hf.SoftmaxCrossEntropy(), points=5))
    np.testing.assert_allclose(planes[0].loss, planes[1].loss, rtol=1e-9)


def test_the_plane_around_a_net() -> None:
    """Of (w - 1)^2 at 2: both directions are +-w."""
    plane = hf.loss_landscape(one_weight(2), ONE, ONE, loss=hf.MSE(), points=5, span=0.5)
    assert plane.b is not None
    assert plane.a.tolist() == plane.b.tolist() == [-0.5, -0.25, 0, 0.25, 0.5]
    assert plane.loss[2, 2] == pytest.approx(1)
    signs = {(s, r): (2 * (1 + s * plane.a[None] + r * plane.b[:, None]) - 1) ** 2 for s in (1, -1) for r in (1, -1)}
    assert any(np.allclose(plane.loss, v) for v in signs.values())
    assert plane.plot().get_xlabel().startswith("first direction")
    assert "plane" in repr(plane)


def test_the_line_between_two_nets() -> None:
    line = hf.loss_landscape(one_weight(0), ONE, ONE, loss=hf.MSE(), to=one_weight(2), points=13)
    np.testing.assert_allclose(line.loss, (2 * line.a - 1) ** 2, atol=1e-12)
    assert line.barrier == 0
    hill = hf.loss_landscape(two_weights(1, 1), ONE, ONE, loss=hf.MSE(), to=two_weights(-1, -1), points=13)
    np.testing.assert_allclose(hill.loss, (1 - (1 - 2 * hill.a) ** 2) ** 2, atol=1e-12)
    assert hill.barrier == pytest.approx(1)
    assert hill.plot().get_ylabel() == "loss"


def test_the_line_takes_running_statistics_along() -> None:
    nets = [hf.Sequential(hf.BatchNorm(), hf.Linear(3)) for _ in range(2)]
    for seed, net in enumerate(nets):
        hf.Trainer(net, hf.SoftmaxCrossEntropy(), seed=seed).fit(X + seed, LABELS, epochs=3)
    line = hf.loss_landscape(nets[0], X, LABELS, loss=hf.SoftmaxCrossEntropy(), to=nets[1], points=13)
    for net, at in ((nets[0], 0.0), (nets[1], 1.0)):
        loss = hf.Trainer(net, hf.SoftmaxCrossEntropy()).evaluate(X, LABELS)["loss"]
        assert line.loss[np.isclose(line.a, at)] == pytest.approx(loss, rel=1e-5)


def test_bad_input() -> None:
    with pytest.raises(ArgumentError, match="other names or shapes"):
        hf.loss_landscape(one_weight(1), ONE, ONE, loss="mse", to=two_weights(0, 0))
    with pytest.raises(ArgumentError, match="another model"):
        hf.loss_landscape(one_weight(1), ONE, ONE, loss="mse", to=3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="points"):
        hf.loss_landscape(one_weight(1), ONE, ONE, loss="mse", points=1)
    with pytest.raises(ArgumentError, match="barrier"):
        _ = hf.loss_landscape(one_weight(1), ONE, ONE, loss="mse", points=2).barrier
    with pytest.raises(ArgumentError, match="radius"):
        hf.sharpness(one_weight(1), ONE, ONE, loss="mse", radius=0)
    with pytest.raises(ArgumentError, match="tolerance"):
        hf.critical_point(one_weight(1), ONE, ONE, loss="mse", tolerance=-1)
