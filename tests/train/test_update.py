"""hawfinch.train.update: the optimiser that takes a large weight's gradient from its product."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import hawfinch as hf
from hawfinch.errors import NonFiniteError
from hawfinch.optim import OPTIMIZERS
from hawfinch.train.update import products

OPTIONS: dict[str, Any] = {
    **OPTIMIZERS,
    "momentum": lambda: hf.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01, clip_value=1e-3),
    "rmsprop momentum": lambda: hf.RMSprop(momentum=0.5, weight_decay=0.1),
}


def network(sizes: tuple[int, ...], dtype: str = "float32") -> hf.Sequential:
    layers: list[Any] = []
    for n in sizes[1:]:
        layers += [hf.Linear(n), hf.Tanh()]
    return hf.Sequential(*layers[:-1]).astype(dtype).build((sizes[0],), seed=1)


def data(rows: int, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, sizes[0])), rng.normal(size=(rows, sizes[-1]))


def trained(
    monkeypatch: pytest.MonkeyPatch,
    least: int,
    sizes: tuple[int, ...],
    optimizer: Any,
    rows: int = 20,
    threads: int = 1,
    dtype: str = "float32",
) -> tuple[bytes, str]:
    """All of a trainer's numbers after two epochs with a short last batch, and its plan."""
    monkeypatch.setattr(products, "LEAST_PRODUCT", least)
    trainer = hf.Trainer(network(sizes, dtype), "mse", optimizer)
    x, y = data(rows, sizes)
    trainer.fit(x, y, epochs=2, batch_size=8, threads=threads)
    numbers = [trainer.model.store().params, *trainer.slots.values()]
    return b"".join(a.tobytes() for a in numbers), trainer.plan(x, y, batch_size=8).describe()


WHOLE = ("lars", "lamb", "muon", "adafactor", "lbfgs")  # look at more than elements; LAMB alone takes products


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in WHOLE])
def test_same_bits_as_from_a_stored_gradient(monkeypatch: pytest.MonkeyPatch, name: str, dtype: str) -> None:
    sizes = (70, 33, 130, 3)
    stored, plain_plan = trained(monkeypatch, 1 << 60, sizes, OPTIONS[name](), dtype=dtype)
    for threads in (1, 2, 3):
        taken, plan = trained(monkeypatch, 2000, sizes, OPTIONS[name](), threads=threads, dtype=dtype)
        assert taken == stored
    assert plan.count("grad_bound") == 2  # 70 x 33 and 33 x 130
    assert "grad_bound" not in plain_plan


def test_a_rule_with_trust_takes_products_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """LAMB, with the same bits for any team; its norms are summed by rows of the product, not by chunks, and have other
    last bits. LARS reads the gradient twice, so it takes none."""
    sizes = (70, 33, 130, 3)
    stored, _ = trained(monkeypatch, 1 << 60, sizes, OPTIONS["lamb"](), dtype="float64")
    taken = [trained(monkeypatch, 2000, sizes, OPTIONS["lamb"](), threads=n, dtype="float64") for n in (1, 2, 3)]
    assert taken[0] == taken[1] == taken[2] and taken[0][1].count("grad_bound") == 2
    np.testing.assert_allclose(np.frombuffer(taken[0][0]), np.frombuffer(stored), rtol=1e-9, atol=1e-15)
    assert "grad_bound" not in trained(monkeypatch, 2000, sizes, OPTIONS["lars"]())[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 150), st.integers(1, 40), st.integers(1, 4))
def test_same_bits_at_every_size(inputs: int, outputs: int, rows: int, threads: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stored, _ = trained(patch, 1 << 60, (inputs, outputs), hf.Adam(), rows)
        taken, _ = trained(patch, 0, (inputs, outputs), hf.Adam(), rows, threads)
    assert taken == stored


def test_large_weights_are_taken_without_being_asked() -> None:
    """More rows than one block of scratch holds, in several blocks of them."""
    sizes = (300, 1200, 2)
    x, y = data(16, sizes)
    trainer = hf.Trainer(network(sizes), "mse", hf.SGD(0.5))
    before = trainer.model.parameters()["0.weight"].copy()
    trainer.step(x, y)
    text = trainer.plan(x, y, batch_size=16).describe()
    assert text.count("grad_bound") == 1
    moved = trainer.model.parameters()["0.weight"] - before
    reference = hf.Trainer(network(sizes, "float64"), "mse", hf.SGD(0.5, clip_norm=1e9))
    old = reference.model.parameters()["0.weight"].copy()
    reference.step(x, y)
    np.testing.assert_allclose(moved, reference.model.parameters()["0.weight"] - old, rtol=1e-3, atol=1e-7)


class Tied(hf.Module):
    """A weight that is used twice: its gradient is a sum, not a product."""

    def forward(self, x: Any) -> Any:
        w = self.param("w", (x.shape[1], x.shape[1]), "xavier_uniform")
        return hf.ops.matmul(hf.ops.tanh(hf.ops.matmul(x, w)), w)


@pytest.mark.parametrize(
    "model, optimizer", [(lambda: Tied(), hf.SGD()), (lambda: network((300, 300)), hf.SGD(clip_norm=1.0))]
)
def test_a_gradient_that_others_need_is_stored(model: Any, optimizer: Any) -> None:
    x, y = data(16, (300, 300))
    trainer = hf.Trainer(model(), "mse", optimizer)
    trainer.step(x, y)
    assert "grad_bound" not in trainer.plan(x, y, batch_size=16).describe()
    assert np.abs(trainer.gradient).max() > 0


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_failed_step_leaves_everything_as_it_was(bad: float) -> None:
    sizes = (300, 300, 2)
    x, y = data(16, sizes)
    trainer = hf.Trainer(network(sizes), "mse", hf.Adam())
    trainer.fit(x, y, batch_size=16)
    trainer.model.parameters()["2.bias"][...] = bad
    kept = trainer.model.store().params.tobytes(), trainer.slots["v"].tobytes()
    with pytest.raises(NonFiniteError):
        trainer.fit(x, y, batch_size=16)
    assert (trainer.model.store().params.tobytes(), trainer.slots["v"].tobytes()) == kept


def test_a_gradient_that_may_overflow_is_named() -> None:
    """Both operands are finite, their product is not."""
    x = np.full((16, 300), 1e20, np.float32)
    model = hf.Sequential(hf.Linear(300), hf.Sigmoid(), hf.Linear(1)).build((300,), seed=0)
    trainer = hf.Trainer(model, lambda p, t: hf.ops.sum(p * 1e24, 1), hf.SGD(1e-30))
    model.parameters()["0.weight"][...] = 0
    before = model.store().params.tobytes()
    with pytest.raises(NonFiniteError, match=r"the gradient overflowed.*gradient of parameter '0.weight'"):
        trainer.step(x, np.zeros((16, 1)))
    assert model.store().params.tobytes() == before


class Slice(hf.Module):
    """The gradient of the layer's output is written in two steps: zeros, then the part that is used."""

    def __init__(self) -> None:
        self.a = hf.Linear(300)

    def forward(self, x: Any) -> Any:
        return self.a(x)[:, :1]


def test_an_operand_is_looked_at_when_all_of_it_is_written() -> None:
    model = Slice().build((300,), seed=0)
    model.parameters()["a.weight"][...] = 0
    before = model.store().params.tobytes()
    trainer = hf.Trainer(model, lambda p, t: hf.ops.sum(p * 1e24, 1), hf.SGD(1e-30))
    with pytest.raises(NonFiniteError, match=r"gradient of parameter 'a.weight'"):
        trainer.step(np.full((16, 300), 1e20, np.float32), np.zeros((16, 1)))
    assert model.store().params.tobytes() == before


class Joined(hf.Module):
    """Its concatenation lies where infinities lay before."""

    def __init__(self) -> None:
        self.wide, self.last = hf.Linear(200), hf.Linear(1)

    def forward(self, x: Any) -> Any:
        o = hf.ops
        mask = o.greater(o.max(o.log(o.relu(x)), 1, keepdims=True), 0.0)
        return self.last(o.tanh(self.wide(o.concat([x[:, :256], x[:, 256:]], axis=1))) + mask)


def test_what_lay_in_memory_before_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 512)).astype(np.float32), rng.normal(size=(64, 1))
    results = []
    for least in (1 << 60, products.LEAST_PRODUCT):
        monkeypatch.setattr(products, "LEAST_PRODUCT", least)
        trainer = hf.Trainer(Joined(), "mse", hf.SGD(1e-3), seed=1)
        trainer.fit(x, y, epochs=3, batch_size=16)
        results.append(trainer.model.store().params.tobytes())
    assert results[0] == results[1]
