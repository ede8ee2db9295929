"""Checkpoint: a training that is killed anywhere, started again as it stands, equals one that was never stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training import LABELS, X, assert_same_state, full_net, make, net, state

import hawfinch as hf
from hawfinch.errors import ArgumentError, FormatError, MissingFileError
from hawfinch.train.state_file import load_state, save_state

SCRIPT = """
import os, signal, sys
import numpy as np, hawfinch as hf

folder, kill = sys.argv[1], int(sys.argv[2])
x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)

class Killed:
    def on_step_end(self, trainer, step, loss):
        if step == kill:
            os.kill(os.getpid(), signal.SIGKILL)

def net(seed):
    layers = [hf.Linear(16), hf.BatchNorm(), hf.ReLU(), hf.Dropout(0.2), hf.Linear(3)]
    lr = hf.schedules.Cosine(0.05, warmup=0.1) * hf.schedules.Plateau(1.0, patience=0, factor=0.5)
    options = dict(loss="softmax_cross_entropy", optimizer=hf.AdamW(lr), average=hf.EMA(0.9), accumulate=2, seed=seed)
    return hf.Sequential(*layers), options

def callbacks(name):
    path = os.path.join(folder, name)
    kept = [hf.Checkpoint(path, every_steps=3), hf.EarlyStopping(patience=4)]
    return dict(callbacks=[*kept, Killed()] if kill >= 0 else kept, resume=path)

fit = dict(epochs=4, batch_size=16, validation_data=(x[:30], y[:30]))
model, options = net(1)
trainer = hf.Trainer(model, **options)
trainer.fit(x, y, **callbacks("one.ckpt"), **fit)
nets = [(m, {**o, **callbacks(f"many{i}.ckpt")}) for i, (m, o) in enumerate(map(net, (2, 3)))]
histories = hf.fit_many(nets, x, y, threads=1, **fit)
print([m.store().params.tobytes().hex() for m in (model, nets[0][0], nets[1][0])])
print([h.to_dict() for h in (trainer.history, *histories)], [h.best_epoch for h in (trainer.history, *histories)])
"""


def run(script: Path, folder: Path, kill: int) -> tuple[int, str]:
    folder.mkdir(exist_ok=True)
    args = [sys.executable, "-W", "error", str(script), str(folder), str(kill)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=100)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, done.stdout


def test_killed_again_and_again_and_started_again_as_it_stands(tmp_path: Path) -> None:
    """With every part of the recipe that has a memory, for ``fit`` and ``fit_many``, each in the middle of epochs."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    status, expected = run(script, tmp_path / "plain", -1)
    assert status == 0
    for kill in (4, 17):
        assert run(script, tmp_path / "killed", kill)[0] == -signal.SIGKILL
    status, found = run(script, tmp_path / "killed", -1)
    assert status == 0 and found == expected
    assert run(script, tmp_path / "killed", -1) == (0, expected), "all is done: nothing is trained again"
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["many0.ckpt", "many1.ckpt", "one.ckpt"]


def save_again_and_again(kept: Any, path: Path) -> int:
    """In a process of its own; gives its id."""
    child = os.fork()
    if child == 0:
        while True:
            kept.step += 1
            for slot in kept.slots.values():
                slot[...] = kept.step
            save_state(kept, path)
    return child


def test_two_hundred_kills_in_the_middle_of_saves_lose_nothing(tmp_path: Path) -> None:
    """Ten processes at a time, each with a file of its own, killed one after the other."""
    paths = [tmp_path / f"run{i}.ckpt" for i in range(10)]
    trainer = make(net())
    trainer.step(X, LABELS)
    kept = trainer.get_state()
    kept.slots = {name: np.zeros(1 << 14, np.float32) for name in kept.slots}
    kept.step = 0
    for path in paths:
        save_state(kept, path)
    rng, steps = np.random.default_rng(0), dict.fromkeys(paths, 0)
    for _ in range(20):
        children = []
        for path in paths:
            kept.step = steps[path]
            children.append(save_again_and_again(kept, path))
        for path, child in zip(paths, children, strict=True):
            time.sleep(float(rng.uniform(0, 0.004)))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found = load_state(path)
            assert found.step >= steps[path], "never older than what was there"
            assert all((slot == found.step).all() for slot in found.slots.values())
            steps[path] = found.step
    under_way = len([p for p in tmp_path.iterdir() if p.suffix == ".tmp"])
    assert under_way > 10 and sum(steps.values()) > 50, "saves were under way, and came to their end"
    for path in paths:
        hf.Checkpoint(path).on_fit_begin(fitting(trainer))
    assert names(tmp_path) == [path.name for path in paths], "what was half written is removed"


def fitting(trainer: Any) -> Any:
    """As if it were in a fit."""
    from hawfinch.train.state import FitProgress

    trainer.state.fit = FitProgress(0, 1, 0)
    return trainer


FIT: dict[str, Any] = dict(epochs=4, batch_size=50, validation_data=(X[:40], LABELS[:40]))


def fresh(**more: Any) -> hf.Trainer:
    trainer: hf.Trainer = make(full_net(), **({"metrics": ["accuracy"], "seed": 3} | more))
    return trainer


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_files_that_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    checkpoint = hf.Checkpoint(path, every=2, every_steps=3, keep=2, best="val_loss")

    def scores(trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        logs["val_loss"] = [3.0, 1.0, 2.0, 1.5][epoch]

    steps: list[int] = []

    class Count:
        step_stride = 10

        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            steps.append(step + 1)

    fresh().fit(X, LABELS, callbacks=[checkpoint, scores, Count()], **FIT)
    assert names(tmp_path) == ["run-00000018.ckpt", "run-00000020.ckpt", "run.best.ckpt", "run.ckpt"]
    assert load_state(tmp_path / "run.best.ckpt").epoch == 2 and load_state(path).epoch == 4
    assert load_state(tmp_path / "run-00000018.ckpt").position == 3
    assert steps == [*range(1, 21)], "as often as the most frequent of them needs, and at the ends of epochs"


def test_a_stride_comes_back_to_python_no_more_often_than_is_wanted(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    class Every:
        def __init__(self, n: int):
            self.step_stride = n

        def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
            seen.append((self.step_stride, step + 1))

    fresh().fit(X, LABELS, callbacks=[Every(4), Every(0)], **FIT)  # 5 steps an epoch
    assert [s for _, s in seen] == [4, 5, 8, 10, 12, 15, 16, 20] and {n for n, _ in seen} == {4}


@pytest.mark.parametrize("where", ["first", "last"])
def test_it_sees_what_the_other_callbacks_have_come_to_wherever_it_stands(tmp_path: Path, where: str) -> None:
    path = tmp_path / "run.ckpt"
    early = hf.EarlyStopping("val_accuracy", patience=1)
    both = [hf.Checkpoint(path), early] if where == "first" else [early, hf.Checkpoint(path)]
    trainer = fresh(optimizer=hf.SGD(0.0))
    trainer.fit(X, LABELS, callbacks=both, **FIT)
    assert trainer.epochs == 2
    again = fresh(optimizer=hf.SGD(0.0))
    history = again.fit(X, LABELS, callbacks=both, resume=path, **FIT)
    assert history.epochs == 2 and history.best_epoch == 0, "it had come to its end"
    assert_same_state(state(trainer), state(again))


def test_a_missing_file_is_a_beginning_only_for_who_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for resume, callbacks in (("run.ckpt", []), ("rum.ckpt", [hf.Checkpoint("run.ckpt")])):
        trainer = fresh()
        with pytest.raises(MissingFileError) as caught:
            trainer.fit(X, LABELS, resume=resume, callbacks=callbacks, **FIT)
        assert isinstance(caught.value, FileNotFoundError) and trainer.steps == 0
        assert f"callbacks=[hf.Checkpoint('{resume}')]" in str(caught.value)
    with pytest.raises(MissingFileError):
        hf.fit_many([(net(), dict(loss="mse", resume="rum.ckpt"))], X, X[:, :3])
    fresh().fit(X, LABELS, resume=tmp_path / "run.ckpt", callbacks=[hf.Checkpoint("run.ckpt")], **FIT)
    assert names(tmp_path) == ["run.ckpt"]
    (tmp_path / "run.ckpt").write_bytes(b"half")
    with pytest.raises(FormatError):
        fresh().fit(X, LABELS, resume="run.ckpt", callbacks=[hf.Checkpoint("run.ckpt")], **FIT)


def test_what_differs_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"

    def callbacks(patience: int = 3) -> list[Any]:
        return [hf.EarlyStopping(patience=patience), hf.Checkpoint(path)]

    fresh().fit(X, LABELS, callbacks=callbacks(), **FIT)
    with pytest.raises(ArgumentError, match="resume: EarlyStopping had patience=3, here it has 4"):
        fresh().fit(X, LABELS, callbacks=callbacks(4), resume=path, **FIT)
    with pytest.raises(ArgumentError, match=r"saved with callbacks .*'Checkpoint', 'EarlyStopping'"):
        fresh().fit(X, LABELS, callbacks=callbacks()[1:], resume=path, **FIT)
    with pytest.raises(ArgumentError, match="net 1: resume: seed is not that of the run that was saved"):
        options = dict(loss="softmax_cross_entropy", optimizer=hf.Adam(lr=0.01), metrics=["accuracy"])
        nets = [(full_net(), {**options, "seed": s, "callbacks": callbacks(), "resume": path}) for s in (3, 4)]
        hf.fit_many(nets, X, LABELS, **FIT)
    saved = load_state(path)
    saved.settings["hawfinch"] = "0.0.1"
    save_state(saved, path)
    with pytest.raises(ArgumentError, match=r"resume: hawfinch is not that of the run that was saved: there 0\.0\.1"):
        fresh().fit(X, LABELS, callbacks=callbacks(), resume=path, **FIT)
    other = fresh()
    other.model.build((12,))
    other.set_state(path)  # no promise of equal bits
    assert other.epochs == 4


def test_what_goes_wrong_in_writing_is_raised(tmp_path: Path) -> None:
    class Odd:
        def get_state(self) -> object:
            return object()

        def set_state(self, values: object) -> None: ...
        def on_epoch_end(self, *_: Any) -> None: ...

    trainer = fresh()
    with pytest.raises(FormatError, match="not made of plain values"):
        trainer.fit(X, LABELS, callbacks=[Odd(), hf.Checkpoint(tmp_path / "run.ckpt")], **FIT)
    with pytest.raises(FileNotFoundError):
        trainer.fit(X, LABELS, callbacks=[hf.Checkpoint(tmp_path / "no" / "run.ckpt")], **FIT)
    for options in ({"every": 0}, {"every_steps": 0}, {"keep": -1}, {"best": 3}, {"mode": "low"}):
        with pytest.raises(ArgumentError, match="Checkpoint"):
            hf.Checkpoint("a", **options)
    with pytest.raises(ArgumentError, match="Checkpoint"):
        hf.Checkpoint(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="Checkpoint: there is no 'val_loss' in the history"):
        fresh().fit(X, LABELS, callbacks=[hf.Checkpoint(tmp_path / "run.ckpt", best="val_loss")])


def test_a_failure_waits_for_the_file(tmp_path: Path) -> None:
    def fail(trainer: Any, epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    path = tmp_path / "run.ckpt"
    interrupted, plain = fresh(), fresh()
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X, LABELS, callbacks=[hf.Checkpoint(path, every_steps=1), fail], **FIT)
    assert load_state(path).position == 5
    interrupted = fresh()
    interrupted.fit(X, LABELS, callbacks=[hf.Checkpoint(path, every_steps=1)], resume=path, **FIT)
    plain.fit(X, LABELS, **FIT)
    assert_same_state(state(plain), state(interrupted))


def test_a_state_is_copied_into_the_memory_of_the_last_one() -> None:
    trainer = fresh(average=hf.EMA(0.9))
    seen: list[tuple[dict[str, int], dict[str, bytes]]] = []
    last: list[Any] = [None]

    def look(trainer: Any, epoch: int, logs: Any) -> None:
        last[0] = trainer._copy_state(last[0])
        arrays = last[0].arrays()
        seen.append(({k: id(a) for k, a in arrays.items()}, {k: a.tobytes() for k, a in arrays.items()}))
        assert seen[-1][1] == {k: a.tobytes() for k, a in trainer.state.arrays().items()}
        assert not any(np.shares_memory(a, b) for a in arrays.values() for b in trainer.state.arrays().values())

    trainer.fit(X, LABELS, callbacks=[hf.EarlyStopping(), look], **FIT)
    assert seen[1][0] == seen[2][0] and seen[1][1] != seen[2][1] and "best.parameters" in seen[0][0]


@pytest.mark.parametrize(
    "options", [{}, {"average": hf.EMA(0.5)}, {"optimizer": hf.ScheduleFreeAdamW(0.05)}], ids=["raw", "ema", "own"]
)
def test_the_weights_of_a_checkpoint_are_those_that_validation_saw(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "run.ckpt"
    trainer = hf.Trainer(net(), "softmax_cross_entropy", **{"optimizer": hf.Adam(0.1), **options}, seed=1)
    validation = X[:20], LABELS[:20]
    kept = hf.Checkpoint(path, best="val_loss")
    history = trainer.fit(X[20:], LABELS[20:], epochs=12, validation_data=validation, callbacks=[kept])
    losses = history["val_loss"]
    assert min(losses) < losses[-1]  # else the two files are the same

    model = net().build(X.shape[1:], seed=5)
    for file, loss in ((tmp_path / "run.best.ckpt", min(losses)), (path, losses[-1])):
        assert model.load_weights(file).complete
        assert hf.Trainer(model, "softmax_cross_entropy").evaluate(*validation)["loss"] == pytest.approx(loss, rel=1e-6)
    trainer.save_state(tmp_path / "after.ckpt")  # the average is in the model now
    model.load_weights(tmp_path / "after.ckpt")
    assert (model.predict(X) == trainer.model.predict(X)).all()
    with pytest.raises(FormatError, match=r"a checkpoint of a training.*load_weights"):
        hf.load(path)
