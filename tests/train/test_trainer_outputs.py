"""Several outputs with a loss, a weight and metrics each; several targets for one loss; data in chunks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from training import LABELS, RNG, X, Y, assert_same_state, full_net, make, net, state

import hawfinch as hf
from hawfinch.errors import ArgumentError, LabelError, NonFiniteError, ShapeError


class TwoHeads(hf.Module):
    """A trunk, three classes and two numbers."""

    def __init__(self) -> None:
        self.trunk, self.classes, self.numbers = hf.Linear(9), hf.Linear(3), hf.Linear(2)

    def forward(self, x: Any) -> tuple[Any, Any]:
        h = hf.ops.tanh(self.trunk(x))
        return self.classes(h), self.numbers(h)


def two_heads() -> TwoHeads:
    model = TwoHeads()
    model.dtype = "float64"
    return model


def by_one_function(weight: float) -> Any:
    """The same training as the two losses', by one function of both outputs and both targets."""

    def loss(prediction: Any, target: Any) -> Any:
        rows = hf.ops.softmax_cross_entropy(prediction[0], target[0])
        return rows + weight * hf.ops.mean(hf.ops.square(prediction[1] - target[1]), 1)

    return loss


@pytest.mark.parametrize("weighted", [False, True])
def test_two_losses_are_one_function_of_both(weighted: bool) -> None:
    w = RNG.uniform(0.5, 2, len(X)) if weighted else None
    results = []
    for loss, more in (
        (("softmax_cross_entropy", "mse"), {"loss_weights": (1, 0.25)}),
        ({"classes": "softmax_cross_entropy", "numbers": "mse"}, {"loss_weights": {"numbers": 0.25}}),
        (by_one_function(0.25), {}),
    ):
        trainer = hf.Trainer(two_heads(), loss, hf.SGD(lr=0.1), **more)
        trainer.fit(X, (LABELS, Y), epochs=3, batch_size=50, sample_weight=w)
        got = trainer.evaluate(X, (LABELS, Y), sample_weight=w)
        results.append((trainer.model.parameters(), trainer.history["loss"], got["loss"], trainer.history.to_dict()))
    for parameters, losses, loss_now, _ in results[1:]:
        np.testing.assert_allclose(losses, results[0][1], rtol=1e-12)
        assert loss_now == pytest.approx(results[0][2], rel=1e-12)
        for name, p in parameters.items():
            np.testing.assert_allclose(p, results[0][0][name], rtol=1e-9, atol=1e-12)
    assert list(results[0][3]) == ["loss", "output0_loss", "output1_loss"]
    assert list(results[1][3]) == ["loss", "classes_loss", "numbers_loss"]
    assert list(results[2][3]) == ["loss"]
    parts = results[1][3]
    total = np.add(parts["classes_loss"], np.multiply(0.25, parts["numbers_loss"]))
    np.testing.assert_allclose(parts["loss"], total, rtol=1e-14)


def test_each_output_is_numpy() -> None:
    trainer = hf.Trainer(
        two_heads(),
        {"classes": hf.SoftmaxCrossEntropy(class_weight=[1.0, 2.0, 0.5]), "numbers": "mae"},
        metrics={"classes": ["accuracy"], "numbers": ["mse"]},
    )
    history = trainer.fit(X, {"numbers": Y, "classes": LABELS}, validation_data=(X, (LABELS, Y)))
    got = trainer.evaluate(X, (LABELS, Y), batch_size=37)
    names = ["loss", "classes_loss", "classes_accuracy", "numbers_loss", "numbers_mse"]
    assert list(got) == names and list(history.to_dict()) == [*names, *(f"val_{n}" for n in names)]
    z, numbers = trainer.model.predict(X)
    w = np.array([1.0, 2.0, 0.5])[LABELS]
    rows = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), LABELS]
    assert got["classes_loss"] == pytest.approx((w * rows).sum() / w.sum(), rel=1e-12)
    assert got["classes_accuracy"] == pytest.approx((w * (z.argmax(1) == LABELS)).sum() / w.sum(), rel=1e-12)
    assert got["numbers_loss"] == pytest.approx(np.abs(numbers - Y).mean(), rel=1e-7)
    assert got["numbers_mse"] == pytest.approx(np.square(numbers - Y).mean(), rel=1e-7)
    assert got["loss"] == pytest.approx(got["classes_loss"] + got["numbers_loss"], rel=1e-14)


def test_step_and_threads_and_settings_of_several_outputs() -> None:
    outcome = []
    for threads in (1, 2, 3):
        trainer = hf.Trainer(TwoHeads(), ("softmax_cross_entropy", "mse"), metrics=(["accuracy"], []), threads=threads)
        first = trainer.step(X, (LABELS, Y))
        assert first == trainer.evaluate(X, (LABELS, Y))["loss"] or trainer.steps == 1
        trainer.fit(X, (LABELS, Y), epochs=2)
        outcome.append(state(trainer))
    assert_same_state(outcome[0], outcome[1])
    assert_same_state(outcome[0], outcome[2])
    assert list(trainer.metrics) == ["output0_accuracy"]
    trainer.metrics = (["accuracy"], ["mae"])
    assert "output1_mae" in trainer.evaluate(X, (LABELS, Y))
    trainer.loss = ("softmax_cross_entropy", "huber")
    assert list(trainer.loss) == ["output0", "output1"]
    trainer.fit(X, (LABELS, Y))


@pytest.mark.parametrize("form", [tuple, dict])
def test_many_nets_of_several_outputs(form: Any) -> None:
    """The bits of training alone; targets as a tuple and by name."""
    names = ("output0", "output1")
    y = (LABELS, Y) if form is tuple else dict(zip(names, (LABELS, Y), strict=True))
    losses: Any = ("softmax_cross_entropy", "mse")
    models = [TwoHeads() for _ in range(3)]
    many = hf.fit_many([(m, {"loss": losses, "seed": i}) for i, m in enumerate(models)], X, y, epochs=2, threads=2)
    for i, history in enumerate(many):
        alone = hf.Trainer(TwoHeads(), losses, seed=i)
        assert alone.fit(X, (LABELS, Y), epochs=2).to_dict() == history.to_dict()
        for name, p in alone.model.parameters().items():
            assert p.tobytes() == models[i].parameters()[name].tobytes()


WRONG: list[tuple[Any, dict[str, Any], Any, type[Exception], str]] = [
    (("mse",), {}, (LABELS,), ArgumentError, "1 losses for 2 output"),
    ("mse", {}, Y, ArgumentError, "2 outputs: give a loss for each"),
    (("softmax_cross_entropy", "mse"), {}, LABELS, ArgumentError, "expected 2 arrays"),
    (("softmax_cross_entropy", "mse"), {}, (LABELS, Y[:5]), ShapeError, r"y\[1\] has 5"),
    (("softmax_cross_entropy", "mse"), {}, (LABELS + 1, Y), LabelError, "output 'output0': label 3"),
    (("softmax_cross_entropy", "mse"), {}, (LABELS, Y * np.nan), NonFiniteError, r"y\[1\] holds nan"),
    ({"a": "softmax_cross_entropy", "b": "mse"}, {}, {"a": LABELS}, ArgumentError, "expected targets for"),
    (("mse", "mse"), {"loss_weights": (1,)}, None, ArgumentError, "loss_weights: expected 2"),
    (("mse", "mse"), {"loss_weights": (1, -1)}, None, ArgumentError, "loss_weights"),
    (("mse", "mse"), {"loss_weights": {"c": 1}}, None, ArgumentError, "no loss for an output 'c'"),
    ((), {}, None, ArgumentError, "at least one"),
    ({3: "mse"}, {}, None, ArgumentError, "names"),
]


@pytest.mark.parametrize(("loss", "more", "y", "kind", "message"), WRONG)
def test_wrong_outputs(loss: Any, more: dict[str, Any], y: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        hf.Trainer(TwoHeads(), loss, **more).fit(X, y)


# ---- chunks ----


def test_one_chunk_is_the_arrays() -> None:
    plain, chunked = make(full_net()), make(full_net())
    plain.fit(X, LABELS, epochs=3, batch_size=50)
    chunked.fit(lambda: [(X, LABELS)], epochs=3, batch_size=50)
    assert_same_state(state(plain), state(chunked))


def test_chunks_are_the_arrays_without_shuffling() -> None:
    """Chunks of whole batches, whatever their number: the same bits, history and metrics too."""

    def chunks() -> Iterator[Any]:
        for i in range(0, len(X), 100):
            yield X[i : i + 100], LABELS[i : i + 100], w[i : i + 100]

    w = RNG.uniform(size=len(X))
    plain, chunked = (make(full_net(), metrics=["accuracy"]) for _ in range(2))
    plain.fit(X, LABELS, epochs=3, batch_size=25, shuffle=False, sample_weight=w)
    chunked.fit(chunks, epochs=3, batch_size=25, shuffle=False, validation_data=None)
    assert_same_state(state(plain), state(chunked))


def test_chunks_are_shuffled_each_in_its_own_way() -> None:
    orders: list[Any] = []
    trainer = make(net(dtype="float64", out=2), "mse", hf.SGD(lr=0.0))

    class Steps:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            orders.append(loss)

    trainer.fit(lambda: [(X[:100], Y[:100])] * 2, epochs=2, batch_size=10, callbacks=[Steps()])
    assert len(set(orders)) == len(orders) == 40
    generator = ((X[i : i + 70], Y[i : i + 70]) for i in (0, 70))
    trainer.fit(generator, batch_size=10)
    with pytest.raises(ArgumentError, match="read once"):
        trainer.fit(iter([(X, Y)]), epochs=2)
    with pytest.raises(ShapeError, match="chunk 1: x"):
        trainer.fit(lambda: [(X, Y), (X[:, :3], Y)])
    with pytest.raises(ArgumentError, match="chunk 0: expected"):
        trainer.fit(lambda: [X])
    with pytest.raises(ArgumentError, match="no chunks"):
        trainer.fit(lambda: [])
