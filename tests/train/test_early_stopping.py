"""EarlyStopping: whatever ends the fit, the model has the weights of its best epoch."""

from typing import Any

import numpy as np
import pytest
from training import LABELS, X, Y, full_net, make

import hawfinch as hf
from hawfinch.errors import ArgumentError

VALIDATION = (X[150:], LABELS[150:])
FIT: dict[str, Any] = dict(batch_size=50, validation_data=VALIDATION)


class Scores:
    """Puts these in place of the scores of the epochs, and keeps a copy of the weights after each."""

    def __init__(self, *scores: float, name: str = "val_loss"):
        self.scores, self.name, self.weights = scores, name, list[bytes]()

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        logs[self.name] = trainer.history[self.name][-1] = self.scores[min(epoch, len(self.scores) - 1)]
        arrays = trainer._averaged() if trainer._update.average is not None else trainer._bind()[:2]
        self.weights.append(b"".join([a.tobytes() for a in arrays]))


def weights(trainer: hf.Trainer) -> bytes:
    store = trainer.model.store()
    return store.params.tobytes() + store.buffers.tobytes()


def fresh(**more: Any) -> hf.Trainer:
    trainer: hf.Trainer = make(full_net(), **({"seed": 3, "metrics": ["accuracy"]} | more))
    return trainer


@pytest.mark.parametrize(
    ("scores", "options", "epochs", "best"),
    [
        ([3, 2, 1, 4, 5, 6, 0], dict(patience=3), 6, 2),
        ([3, 2, 1, 4, 5, 0.5, 6, 6, 6], dict(patience=3), 9, 5),
        ([1, 1, 1, 1], dict(patience=2), 3, 0),
        ([5, 4.9, 4.8, 4.7, 4.6], dict(patience=3, min_delta=0.5), 4, 3),  # too little to wait for, and the best yet
        ([1, 2, 3, 2, 2, 2], dict(patience=3, mode="max"), 6, 2),
        ([float("nan"), 3, float("nan"), 4], dict(patience=2), 4, 1),
        ([float("nan")], dict(patience=2), 2, None),
        ([3, 2, 1], dict(patience=9), 10, 2),
    ],
)
@pytest.mark.parametrize("average", [None, hf.EMA(0.8)])
def test_when_it_stops_and_what_is_left(
    scores: list[float], options: dict[str, Any], epochs: int, best: int | None, average: Any
) -> None:
    trainer, seen = fresh(average=average), Scores(*scores)
    history = trainer.fit(X, LABELS, epochs=10, callbacks=[seen, hf.EarlyStopping(**options)], **FIT)
    assert (len(history), history.best_epoch) == (epochs, best)
    assert weights(trainer) == seen.weights[-1 if best is None else best]
    assert trainer.state.best is None, "its memory is free again"
    trainer.fit(X, LABELS, epochs=1, **FIT)  # goes on
    assert len(history) == epochs + 1 and history.best_epoch is None


@pytest.mark.parametrize("average", [None, hf.EMA(0.5)])
def test_ctrl_c_and_nan_end_on_the_best_weights(average: Any) -> None:
    class Interrupt:
        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            if step == 18:  # in the middle of the fourth epoch
                raise KeyboardInterrupt

    x = X.copy()
    for how, error in ((Interrupt(), KeyboardInterrupt), (None, hf.NonFiniteError)):
        trainer, seen = fresh(average=average), Scores(3, 1, 2)
        ruin = [how] if how else [lambda t, epoch, logs: epoch == 2 and t.set(lr=1e30)]
        with pytest.raises(error):
            trainer.fit(x, LABELS, epochs=9, callbacks=[seen, hf.EarlyStopping(patience=9), *ruin], **FIT)
        assert weights(trainer) == seen.weights[1] and trainer.history.best_epoch == 1
        assert np.isfinite(trainer.model.predict(X)).all()


def test_interrupted_while_it_copies_the_weights_are_still_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, seen = fresh(), Scores(3, 2, 1)
    copied: list[str] = []

    class Array(np.ndarray):
        def __setitem__(self, key: Any, value: Any) -> None:
            copied.append("a")
            if len(copied) == 3:  # two at each epoch
                raise KeyboardInterrupt
            super().__setitem__(key, value)

    monkeypatch.setattr("hawfinch.train.state.np.empty_like", lambda a: np.empty(a.shape, a.dtype).view(Array))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, LABELS, epochs=9, callbacks=[seen, hf.EarlyStopping()], **FIT)
    assert weights(trainer) == seen.weights[1] and trainer.history.best_epoch == 1 and len(copied) == 3


def test_evaluate_gives_the_best_score_and_training_can_be_gone_on_with() -> None:
    for average in (None, hf.EMA(0.9)):
        trainer = fresh(average=average, optimizer=hf.Adam(0.05))
        early = hf.EarlyStopping(patience=4)
        history = trainer.fit(X[:150], LABELS[:150], epochs=200, callbacks=[early], **FIT)
        assert len(history) < 200 and history.best_epoch == len(history) - 5
        assert trainer.evaluate(*VALIDATION)["loss"] == pytest.approx(min(history["val_loss"]), rel=1e-6)
        before = len(history)
        trainer.fit(X[:150], LABELS[:150], epochs=200, callbacks=[early], **FIT)
        assert len(history) >= before + 5, "it counts anew in the next fit"


def test_no_memory_is_taken_for_a_second_best() -> None:
    kept: list[Any] = []

    def look(trainer: Any, epoch: int, logs: Any) -> None:
        kept.append([id(a) for a in trainer.state.best.arrays.values()])

    fresh().fit(X, LABELS, epochs=3, callbacks=[Scores(3, 2, 1), hf.EarlyStopping(), look], **FIT)
    assert kept[0] == kept[1] == kept[2]


def test_the_mode_follows_from_what_is_monitored() -> None:
    for monitor, metrics, sign in (("val_accuracy", ["accuracy"], -1), ("loss", [], 1), ("val_f1", ["f1"], -1)):
        early = hf.EarlyStopping(monitor)
        fresh(metrics=metrics).fit(X, LABELS, callbacks=[early], **FIT)
        assert early._sign == sign
    for monitor, sign in (("val_r2", -1), ("val_mse", 1), ("mae", 1)):
        early = hf.EarlyStopping(monitor)
        trainer = hf.Trainer(hf.Sequential(hf.Linear(2)), "mse", metrics=["mse", "mae", "r2"])
        trainer.fit(X, Y, validation_data=(X, Y), callbacks=[early])
        assert early._sign == sign


def own(prediction: Any, target: Any) -> Any:
    return hf.ops.sum(prediction, 1)


@pytest.mark.parametrize(
    ("early", "fit", "words"),
    [
        (hf.EarlyStopping(), {"validation_data": None}, r"EarlyStopping: there is no 'val_loss'.*pass validation_data"),
        (hf.EarlyStopping("val_los"), {}, r"no 'val_los' in the history.*Did you mean 'val_loss'"),
        (hf.EarlyStopping("accuracy_val"), {}, r"Did you mean 'accuracy' or 'val_accuracy'"),
        (hf.EarlyStopping("val_own"), {}, r"whether 'val_own' is to be small or large is not known; pass mode"),
    ],
)
def test_what_it_can_not_follow_is_told_before_training(early: Any, fit: dict[str, Any], words: str) -> None:
    trainer = fresh(metrics=["accuracy", own])
    trainer.model.build((12,))
    before = weights(trainer)
    with pytest.raises(ArgumentError, match=words):
        trainer.fit(X, LABELS, callbacks=[early], **(FIT | fit))
    with pytest.raises(ArgumentError, match=words):
        trainer.fit(lambda: iter([(X, LABELS)]), callbacks=[early], **(FIT | fit))
    assert weights(trainer) == before and trainer.steps == 0


def test_an_array_can_not_be_followed() -> None:
    for follower in (
        hf.EarlyStopping("val_confusion_matrix", mode="max"),
        hf.Checkpoint("a", best="val_f1_each", mode="max"),
    ):
        trainer = fresh(metrics=["confusion_matrix", hf.metrics.F1(average=None)])
        with pytest.raises(ArgumentError, match=r"is an array of shape \(3, ?3?\); it can follow a number only"):
            trainer.fit(X, LABELS, callbacks=[follower], **FIT)
    plateau = hf.schedules.Plateau(0.1, monitor="confusion_matrix")
    with pytest.raises(ArgumentError, match=r"Plateau.* follow a number only"):
        make(full_net(), optimizer=hf.Adam(plateau), metrics=["confusion_matrix"]).fit(X, LABELS)


def test_every_metric_says_whether_it_is_to_be_small_or_large() -> None:
    own = {name: m for name, m in hf.metrics.METRICS.items() if m.__module__.startswith("hawfinch.")}
    unknown = {name for name, metric in own.items() if metric.larger_is_better is None}
    assert unknown == {"confusion_matrix"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: hf.EarlyStopping(patience=0),
        lambda: hf.EarlyStopping(patience=1.5),
        lambda: hf.EarlyStopping(min_delta=-1),
        lambda: hf.EarlyStopping(mode="best"),
        lambda: hf.EarlyStopping(3),
    ],
)
def test_bad_arguments(make: Any) -> None:
    with pytest.raises(ArgumentError, match="EarlyStopping"):
        make()


def test_in_fit_many_each_net_ends_on_its_best() -> None:
    def nets() -> Any:
        return [(full_net(), dict(loss="softmax_cross_entropy", seed=s, optimizer=hf.Adam(0.05))) for s in range(3)]

    many = [(m, o | {"callbacks": [hf.EarlyStopping(patience=2)]}) for m, o in nets()]
    histories = hf.fit_many(many, X[:150], LABELS[:150], epochs=30, **FIT)
    for (model, options), (alone, _), history in zip(many, nets(), histories, strict=True):
        options = options | {"callbacks": [hf.EarlyStopping(patience=2)]}
        trainer = hf.Trainer(alone, **{k: v for k, v in options.items() if k != "callbacks"})
        other = trainer.fit(X[:150], LABELS[:150], epochs=30, callbacks=options["callbacks"], **FIT)
        assert history.to_dict() == other.to_dict() and history.best_epoch == other.best_epoch
        assert model.store().params.tobytes() == alone.store().params.tobytes()


def test_a_fit_within_a_fit_keeps_the_outer_best() -> None:
    def inner(trainer: Any, epoch: int, logs: Any) -> None:
        if epoch == 1:
            trainer.fit(X, LABELS, epochs=2, callbacks=[hf.EarlyStopping(patience=1)], **FIT)

    trainer, seen = fresh(), Scores(1, 2, 3, 4)
    trainer.fit(X, LABELS, epochs=5, callbacks=[seen, hf.EarlyStopping(), inner], **FIT)
    assert weights(trainer) == seen.weights[0]
