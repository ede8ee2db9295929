"""``curvature`` and what is below it: closed forms, dense matrices by differences of gradients, NumPy's eigenvalues."""

from typing import Any

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.diagnose import lanczos
from hawfinch.diagnose.surface import Surface
from hawfinch.errors import ArgumentError, NonFiniteError, ShapeError

RNG = np.random.default_rng(5)
X, LABELS = RNG.normal(size=(60, 8)), RNG.integers(0, 4, 60)
REAL = RNG.normal(size=(60, 4))


def net(*layers: Any) -> hf.Module:
    return hf.Sequential(hf.Linear(12), *(layers or (hf.Tanh(),)), hf.Linear(4)).build((8,), seed=1)


def by_differences(surface: Surface) -> np.ndarray:
    """The Hessian from the surface's gradients, by central differences of fourth order."""
    point, h = surface.point, 1e-3
    columns = []
    for i in range(surface.size):
        at = []
        for k in (1, -1, 2, -2):
            moved = point.copy()
            moved[i] += k * h
            surface.move_to(moved)
            at.append(surface.value_and_gradient()[1])
        columns.append((8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * h))
    surface.move_to(point)
    return np.stack(columns, 1)


# ---- the surface ----
@pytest.mark.parametrize("training", [False, True])
def test_the_hessian_is_that_of_the_gradient(training: bool) -> None:
    """Batch statistics and a fixed mask in training mode."""
    model = net(hf.BatchNorm(), hf.Dropout(0.3), hf.Tanh())
    surface = Surface(model, X, LABELS, hf.SoftmaxCrossEntropy(), training=training, seed=4)
    c = hf.curvature(model, X, LABELS, loss=hf.SoftmaxCrossEntropy(), training=training, seed=4)
    dense = c.hessian()
    np.testing.assert_allclose(dense, by_differences(surface), atol=1e-8)
    v = RNG.normal(size=c.n)
    np.testing.assert_allclose(c.product(v), dense @ v, atol=1e-12)
    assert c.loss == surface.value()
    assert c.gradient_norm == pytest.approx(np.linalg.norm(surface.value_and_gradient()[1]))


def test_loss_and_gradient_are_those_of_training() -> None:
    model = net()
    trainer = hf.Trainer(model, "mse", hf.SGD(1.0))
    loss = trainer.evaluate(X, REAL, batch_size="full")["loss"]
    surface = Surface(model, X, REAL, hf.MSE())
    before, (value, gradient) = surface.point, surface.value_and_gradient()
    assert value == pytest.approx(loss, rel=1e-6)
    trainer.step(X, REAL)
    after = Surface(model, X, REAL, hf.MSE()).point
    np.testing.assert_allclose(before - after, gradient, atol=1e-6)


def test_a_quadratic_has_the_hessian_of_least_squares() -> None:
    """mean (x w - y)^2 over 60 rows: 2 x'x / 60."""
    c = hf.curvature(hf.Sequential(hf.Linear(1, bias=False)).build((8,)), X, X[:, :1], loss=hf.MSE())
    expected = 2 * X.T @ X / 60
    np.testing.assert_allclose(c.hessian(), expected, atol=1e-12)
    np.testing.assert_allclose(c.ggn.hessian(), expected, atol=1e-12)
    values = np.linalg.eigvalsh(expected)
    np.testing.assert_allclose(c.extreme(2).values, values[[0, 1, -2, -1]], rtol=1e-9)
    assert c.trace() == pytest.approx(np.trace(expected), rel=1e-12)
    assert c.negative_share() == 0


def test_the_gauss_newton_matrix_is_that_of_the_jacobian() -> None:
    model = net().astype("float64")
    surface = Surface(model, X, LABELS, hf.SoftmaxCrossEntropy())
    point, h, jacobian = surface.point, 1e-6, []
    for i in range(surface.size):
        ends = []
        for k in (1, -1):
            moved = point.copy()
            moved[i] += k * h
            surface.move_to(moved)
            ends.append(surface.model.predict(X))
        jacobian.append((ends[0] - ends[1]) / (2 * h))
    j = np.stack(jacobian, -1)  # (rows, outputs, n)
    z = model.predict(X)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    inner = (np.eye(4) * p[:, :, None] - p[:, :, None] * p[:, None]) / 60
    expected = np.einsum("rin,rij,rjm->nm", j, inner, j)
    c = hf.curvature(model, X, LABELS, loss=hf.SoftmaxCrossEntropy()).ggn
    np.testing.assert_allclose(c.hessian(), expected, atol=1e-8)
    assert c.extreme().smallest > -1e-12


def test_behind_a_target_scale_the_gauss_newton_matrix_is_of_scaled_outputs() -> None:
    model = hf.Sequential(hf.Linear(1, bias=False), hf.TargetScale())
    hf.Trainer(model, "mse").fit(X, 100 * X[:, :1], epochs=1)
    c = hf.curvature(model, X, 100 * X[:, :1], loss=hf.MSE())
    np.testing.assert_allclose(c.ggn.hessian(), 2 * X.T @ X / 60, atol=1e-9)


def test_frozen_parameters_are_held_and_vectors_go_by_name() -> None:
    model = net().freeze("2.*")
    c = hf.curvature(model, X, REAL, loss=hf.MSE())
    assert c.n == 8 * 12 + 12
    v = {"0.bias": RNG.normal(size=12)}
    product = c.product(v)
    assert {k: a.shape for k, a in product.items()} == {"0.weight": (8, 12), "0.bias": (12,)}
    flat = np.concatenate([np.zeros(96), v["0.bias"]])
    np.testing.assert_array_equal(np.ravel(product["0.weight"]), c.product(flat)[:96])
    assert c.by_name(flat)["0.bias"].tolist() == v["0.bias"].tolist()


def test_the_model_is_not_changed_and_numbers_follow_from_the_seed() -> None:
    model = net()
    before = {k: v.copy() for k, v in model.parameters().items()}
    found = []
    for threads in (1, 2, 2):
        c = hf.curvature(model, X, LABELS, loss=hf.SoftmaxCrossEntropy(), threads=threads)
        found.append((c.extreme(seed=3).values.tolist(), c.trace(12, seed=3), c.negative_share(2, 10, seed=3)))
    assert found[0] == found[1] == found[2]
    for k, v in model.parameters().items():
        np.testing.assert_array_equal(v, before[k])


def test_float32_is_good_to_its_digits() -> None:
    wide = hf.curvature(net(), X, LABELS, loss=hf.SoftmaxCrossEntropy()).extreme(2)
    narrow = hf.curvature(net(), X, LABELS, loss=hf.SoftmaxCrossEntropy(), dtype="float32").extreme(2)
    assert narrow.vectors.dtype == np.float32
    np.testing.assert_allclose(narrow.values, wide.values, atol=1e-5 * wide.largest)


# ---- eigenvalues ----
def matrix(values: np.ndarray) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(len(values), len(values))))
    return (q * values) @ q.T


def product_of(a: np.ndarray) -> Any:
    def product(v: np.ndarray, out: np.ndarray) -> None:
        out[...] = a @ v

    return product


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40, 300])
@pytest.mark.parametrize("k", [1, 3])
def test_extreme_eigenvalues_of_any_matrix(n: int, k: int) -> None:
    """With many zeros, one large eigenvalue and one negative; all pairs of a matrix that has no more."""
    values = np.concatenate([RNG.normal(size=n - n // 3) * 0.01, np.zeros(n // 3)])
    values[: min(n, 2)] = [5, -0.7][: min(n, 2)]
    a = matrix(values)
    found = lanczos.extreme_pairs(product_of(a), n, "float64", k, 1e-5, 1000, np.random.default_rng(0))
    expected = np.sort(values)
    expected = expected if 2 * k >= n else np.r_[expected[:k], expected[-k:]]
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(len(expected)), atol=1e-7)  # half of the digits
    assert found.converged
    assert np.abs(a @ found.vectors.T - found.vectors.T * found.values).max() < 1e-4
    assert found.products <= n


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_are_orthogonalised_when_half_of_the_digits_are_lost(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recurrence bounds what is lost, and most steps go without."""
    d = np.append(np.sort(RNG.normal(size=1999)), 30.0).astype(dtype)
    basis, t = lanczos.Basis(60, 2000, dtype), np.zeros((60, 60))
    calls: list[int] = []
    coefficients = basis.coefficients
    monkeypatch.setattr(basis, "coefficients", lambda n, v: (calls.append(n), coefficients(n, v))[1])
    steps = lanczos.Steps(lambda v, out: np.multiply(d, v, out=out), basis, t)
    basis.rows[0] = RNG.choice([-1.0, 1.0], 2000) / 2000**0.5
    half = np.finfo(dtype).eps ** 0.5
    for j in range(59):
        beta = steps.step(j)
        t[j, j + 1] = t[j + 1, j] = beta
        lost = np.abs(np.float64(basis.rows[: j + 1]) @ np.float64(basis.rows[j + 1]))
        assert lost.max() < half
        assert (lost <= 4 * steps.now + 50 * np.finfo(dtype).eps).all()
    assert 0 < len(calls) < 40
    projected = np.float64(basis.rows[:59]) @ (np.float64(d) * np.float64(basis.rows[:59])).T
    np.testing.assert_allclose(t[:59, :59], projected, atol=100 * half)


def test_one_end_takes_fewer_products() -> None:
    d = np.append(RNG.normal(size=1999), 30.0)
    both, largest = (
        lanczos.extreme_pairs(
            lambda v, out: np.multiply(d, v, out=out), 2000, "float64", 1, 1e-6, 999, np.random.default_rng(0), ends
        )
        for ends in ((True, True), (False, True))
    )
    assert largest.products < both.products / 2
    np.testing.assert_allclose(largest.values, [30.0])


def test_restarts_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A basis of 32 vectors for what would take some 60."""
    monkeypatch.setattr(lanczos, "MOST_BASIS", 32)
    d = np.sort(RNG.normal(size=2000))
    found = lanczos.extreme_pairs(
        lambda v, out: np.multiply(d, v, out=out), 2000, "float64", 2, 1e-5, 3000, np.random.default_rng(0)
    )
    assert found.products > 40
    np.testing.assert_allclose(found.values, d[[0, 1, -2, -1]], rtol=1e-8)


def test_multiples_of_the_unit_matrix() -> None:
    """One product spans all: the rest is looked for in what was not met."""
    found = lanczos.extreme_pairs(product_of(3 * np.eye(50)), 50, "float64", 2, 1e-5, 99, np.random.default_rng(0))
    np.testing.assert_allclose(found.values, 3, rtol=1e-12)


def test_too_few_products_are_said() -> None:
    d = RNG.normal(size=3000)
    found = lanczos.extreme_pairs(
        lambda v, out: np.multiply(d, v, out=out), 3000, "float64", 1, 1e-9, 12, np.random.default_rng(0)
    )
    assert (found.products, found.converged) == (12, False)


def test_density_share_and_trace() -> None:
    """Of 400 eigenvalues, 100 at -1, 100 at 0, 200 from 1 to 3."""
    values = np.concatenate([-np.ones(100), np.zeros(100), np.linspace(1, 3, 200)])
    nodes, weights = lanczos.quadrature(product_of(matrix(values)), 400, "float64", 10, 40, np.random.default_rng(0))
    assert weights.sum() == pytest.approx(1)
    assert weights[nodes < -0.5].sum() == pytest.approx(0.25, abs=0.02)
    assert weights[np.abs(nodes) < 0.5].sum() == pytest.approx(0.25, abs=0.02)
    assert (weights * nodes**2).sum() == pytest.approx(np.mean(values**2), rel=0.05)
    few = np.concatenate([np.linspace(10, 1, 15), np.full(285, 0.01)])
    estimate = lanczos.trace_of(product_of(matrix(few)), 300, "float64", 60, np.random.default_rng(0))
    assert estimate == pytest.approx(few.sum(), rel=0.01)


def test_the_spectrum_of_a_net() -> None:
    model = net()
    hf.Trainer(model, hf.SoftmaxCrossEntropy(), hf.Adam(1e-2)).fit(X, LABELS, epochs=60)
    c = hf.curvature(model, X, LABELS, loss=hf.SoftmaxCrossEntropy())
    values = np.linalg.eigvalsh(c.hessian())
    found = c.extreme(3)
    np.testing.assert_allclose(found.values, np.r_[values[:3], values[-3:]], rtol=1e-6)
    share = np.mean(values < -1e-4 * values[-1])
    assert 0 < share < 1
    assert c.negative_share(draws=20, steps=100) == pytest.approx(share, abs=0.03)
    assert c.trace() == pytest.approx(values.sum(), rel=0.05)
    grid, density = c.spectral_density()
    assert float(np.sum(density) * (grid[1] - grid[0])) == pytest.approx(1, rel=1e-3)
    axes = c.plot()
    assert axes.get_yscale() == "log"
    assert "hessian of 160 parameters" in repr(c)


def test_bad_input() -> None:
    model = net()
    with pytest.raises(ArgumentError, match="loss is missing"):
        hf.curvature(model, X, REAL)
    with pytest.raises(ArgumentError, match="float32"):
        hf.curvature(model, X, REAL, loss="mse", dtype="half")
    c = hf.curvature(model, X, REAL, loss="mse")
    with pytest.raises(ShapeError, match="all 160 parameters"):
        c.product(np.zeros(3))
    with pytest.raises(ShapeError, match=r"'0.bias' has shape \(12,\)"):
        c.product({"0.bias": np.zeros(3)})
    with pytest.raises(ArgumentError, match="bias"):
        c.product({"0.bais": np.zeros(12)})
    with pytest.raises(ArgumentError, match="ends must"):
        c.extreme(ends="highest")
    with pytest.raises(ArgumentError, match="k must"):
        c.extreme(0)
    with pytest.raises(ArgumentError, match="27000 parameters has"):
        hf.curvature(hf.Sequential(hf.Linear(3000)), X, RNG.normal(size=(60, 3000)), loss="mse", rows=4).hessian()
    model.parameters()["0.bias"][...] = np.nan
    with pytest.raises(NonFiniteError):
        hf.curvature(model, X, REAL, loss="mse")
