"""What goes into a model and comes out: integers, (rows,) inputs, names, other shapes than those of the first call."""

from typing import Any

import numpy as np
import pytest
from training import LABELS, RNG, X, Y

import hawfinch as hf
from hawfinch.errors import ArgumentError, LabelError, ShapeError

IDS = RNG.integers(0, 10, len(X))


class Lookup(hf.Module):
    """A table of vectors, chosen by whole numbers, beside real numbers; two named outputs."""

    def __init__(self, named: bool = False) -> None:
        self.classes, self.numbers, self.named = hf.Linear(3), hf.Linear(2), named

    def forward(self, ids: Any, x: Any) -> Any:
        table = self.param("table", (10, 4), "xavier_uniform", (10, 4))
        h = hf.ops.tanh(hf.ops.concat([hf.ops.gather(table, ids), x], 1))
        if self.named:
            return {"numbers": self.numbers(h), "classes": self.classes(h)}
        return self.classes(h)


def test_integers_by_their_use_not_by_their_dtype() -> None:
    """Whole numbers of any dtype index; floats that are whole too; the others are named."""
    results = []
    for dtype in (np.int64, np.uint8, np.float32, np.bool_):
        ids = (IDS % 2).astype(dtype)
        trainer = hf.Trainer(Lookup(), "softmax_cross_entropy", hf.Adam(lr=0.02))
        trainer.fit((ids, X), LABELS, epochs=3)
        results.append((trainer.history["loss"], trainer.model.parameters()["table"].tobytes()))
        trainer.step((ids, X), LABELS)
    assert all(r == results[0] for r in results)
    assert [spec.dtype for spec in trainer.model.inputs or ()] == ["int", "real"]
    with pytest.raises(LabelError, match=r"x\[0\] holds 0.5"):
        trainer.fit((IDS * 0 + 0.5, X), LABELS)
    before = trainer.model.parameters()["table"].copy()
    with pytest.raises(LabelError, match="outside of the table"):
        trainer.fit((IDS * 0 + 10, X), LABELS)
    with pytest.raises(LabelError, match="outside of the table"):
        trainer.evaluate((IDS * 0 - 1, X), LABELS)
    assert np.array_equal(trainer.model.parameters()["table"], before)


def test_a_table_of_vectors_learns() -> None:
    """By hand: the gradient of a row of the table is the sum over the rows of the batch that chose it."""

    class Table(hf.Module):
        def forward(self, ids: Any) -> Any:
            return hf.ops.gather(self.param("table", (10, 2), "zeros"), ids)

    model = Table().astype("float64")
    trainer = hf.Trainer(model, "mse", hf.SGD(lr=1.0))
    trainer.step(IDS, Y)
    expected = np.zeros((10, 2))
    np.add.at(expected, IDS, Y.astype(np.float64) / len(Y))  # -d/dp mean((p - y)**2) at p = 0
    np.testing.assert_allclose(model.parameters()["table"], expected, rtol=1e-12)
    assert model.inputs is not None and model.inputs[0].shape == trainer.model.inputs[0].shape
    assert len(model.inputs[0].shape) == 1


def test_inputs_and_outputs_by_name() -> None:
    """A dict in, by the names of forward's arguments; a dict out, with losses and targets by name in any order."""
    by_name = hf.Trainer(
        Lookup(named=True),
        {"classes": "softmax_cross_entropy", "numbers": "mse"},
        metrics={"classes": ["accuracy"]},
        loss_weights={"numbers": 0.5},
    )
    history = by_name.fit({"x": X, "ids": IDS}, {"classes": LABELS, "numbers": Y}, epochs=2)
    in_order = hf.Trainer(Lookup(named=True), ("mse", "softmax_cross_entropy"), loss_weights=(0.5, 1))
    in_order.fit((IDS, X), (Y, LABELS), epochs=2)
    np.testing.assert_allclose(history["loss"], in_order.history["loss"], rtol=1e-6)
    assert history["numbers_loss"] == pytest.approx(in_order.history["output0_loss"], rel=1e-6)
    assert list(history.to_dict()) == ["loss", "classes_loss", "classes_accuracy", "numbers_loss"]
    predicted: Any = by_name.model.predict({"ids": IDS, "x": X})
    assert list(predicted) == ["numbers", "classes"] and predicted["classes"].shape == (203, 3)

    def both(prediction: Any, target: Any) -> Any:
        rows = hf.ops.softmax_cross_entropy(prediction["classes"], target["classes"])
        return rows + 0.5 * hf.ops.mean(hf.ops.square(prediction["numbers"] - target["numbers"]), 1)

    one = hf.Trainer(Lookup(named=True), both)
    one.fit((IDS, X), {"classes": LABELS, "numbers": Y}, epochs=2)
    np.testing.assert_allclose(one.history["loss"], history["loss"], rtol=1e-6)
    wrong: list[tuple[Any, Any, str]] = [
        ({"x": X, "id": IDS}, {"classes": LABELS, "numbers": Y}, "forward takes ids, x"),
        ({"x": X, "ids": IDS}, {"classes": LABELS, "number": Y}, "expected targets for"),
    ]
    for x, y, message in wrong:
        with pytest.raises(ArgumentError, match=message):
            by_name.fit(x, y)
    with pytest.raises(ArgumentError, match="the model's outputs are numbers, classes"):
        hf.Trainer(Lookup(named=True), {"a": "mse", "b": "mse"}).fit((IDS, X), {"a": Y, "b": Y})


class Sequence(hf.Module):
    """Any length: a mean over time; and a label for each position."""

    def __init__(self) -> None:
        self.layer, self.out = hf.Linear(8), hf.Linear(2)

    def forward(self, x: Any) -> Any:
        return self.out(hf.ops.mean(hf.ops.tanh(self.layer(x)), 1))


def test_other_shapes_get_a_plan_each() -> None:
    """Lengths that alternate: each step is that of a trainer that only knows this length, from the same parameters."""
    lengths = (5, 9, 5, 2, 9, 5)
    data = [(RNG.normal(size=(30, n, 3)), RNG.normal(size=(30, 2))) for n in lengths]
    trainer = hf.Trainer(Sequence().astype("float64").build((5, 3)), "mse", hf.SGD(lr=0.1))
    for x, y in data:
        other = hf.Trainer(Sequence().astype("float64").build(x.shape[1:]), "mse", hf.SGD(lr=0.1))
        for name, p in other.model.parameters().items():
            p[...] = trainer.model.parameters()[name]
        assert trainer.evaluate(x, y) == other.evaluate(x, y)
        assert trainer.step(x, y) == other.step(x, y)
        for name, p in other.model.parameters().items():
            assert p.tobytes() == trainer.model.parameters()[name].tobytes(), name
        assert trainer.model.predict(x).shape == (30, 2)
    history = trainer.fit(lambda: data, epochs=2, validation_data=data[3])
    assert np.isfinite(history["val_loss"]).all() and trainer.steps == len(lengths) * 3
    for wrong in (RNG.normal(size=(30, 5, 4)), RNG.normal(size=(30, 5)), RNG.normal(size=(30, 5, 3, 1))):
        with pytest.raises(ShapeError, match=r"\(rows, 5, 3\)"):
            trainer.fit(wrong, data[0][1])


def test_many_shapes_keep_few_plans() -> None:
    trainer = hf.Trainer(Sequence(), "mse")
    for n in range(1, 60):
        trainer.step(np.ones((64, n * 8, 8)), np.zeros((64, 2)))
    kept = sum(trainer._plans.cache.nbytes(plan) for plan in trainer._plans.cache._values.values())
    assert 0 < kept <= trainer._plans.cache.max_bytes
