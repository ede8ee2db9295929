"""Checkpoint: the whole of a training in a file, again and again, so that it can be killed and gone on with.

Design: the training goes on while a thread writes a copy of the state, to a temporary file that takes the place of the
old one when it is whole and on the disk (files/safetensors.py). The file is of some moment of the run, never half of
two. Rejected: writing between two epochs, where the disk's fsync would cost more than the epochs of a small net; and
a process for it, which would need the arrays sent to it.
"""

from __future__ import annotations

import os
import re
import threading
from typing import TYPE_CHECKING, Any

from ..errors import ArgumentError
from ..values import CheckedCall, check_whole
from .monitor import better, check_mode, direction, score_of
from .state import TrainState

if TYPE_CHECKING:
    from pathlib import Path


class Checkpoint(metaclass=CheckedCall):
    """A callback that keeps all of a training in a file, with which ``fit(resume=path)`` goes on, bit for bit.

    path: the file, replaced as a whole each time, so that a process killed at any moment leaves a good one; only one
    training may write to it. every: epochs between two, default 1; the last epoch of a fit is always kept. every_steps:
    default None; a number: every so many steps of the trainer too, also within an epoch. keep: default 0; so many of
    the last ones stay beside it, as "run-STEP.ckpt" for "run.ckpt". best: default None; a name in the History such as
    "val_loss": the best epoch's stays too, as "run.best.ckpt"; ``model.load_weights`` takes out the weights. mode: of
    ``best``: "min", "max" or "auto" (default, see EarlyStopping). A thread writes while the training goes on; what it
    raises (a full disk) is raised at the next one, or at the end of the fit. After the other callbacks of its call.
    Raises ArgumentError for what is none of these.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> def train(epochs):
    ...     trainer = hf.Trainer(hf.Sequential(hf.Linear(1)), "mse")
    ...     callbacks = [hf.Checkpoint("run.ckpt")]
    ...     return trainer.fit(x, 3 * x, epochs=epochs, callbacks=callbacks, resume="run.ckpt")
    >>> len(train(5)), len(train(5))  # the first begins, as there is no file; the second finds all five done
    (5, 5)
    """

    comes_last = True  # so that it sees what the other callbacks have come to

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        every: int = 1,
        every_steps: int | None = None,
        keep: int = 0,
        best: str | None = None,
        mode: str = "auto",
    ):
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"Checkpoint: path must be a file's name, got {path!r}")
        if best is not None and not isinstance(best, str):
            raise ArgumentError(f"Checkpoint: best must be a name in the History, got {best!r}")
        self.path, self.every = os.fspath(path), check_whole(every, "Checkpoint: every", 1)
        self.every_steps = None if every_steps is None else check_whole(every_steps, "Checkpoint: every_steps", 1)
        self.keep, self.best = check_whole(keep, "Checkpoint: keep"), best
        self.mode = check_mode("Checkpoint", mode)
        self._score: float | None = None
        self._sign, self._first = 1.0, 0
        self._state: TrainState | None = None  # what was written last, whose memory the next one takes
        self._thread: threading.Thread | None = None
        self._failed: BaseException | None = None

    def __repr__(self) -> str:
        names = ("every", "every_steps", "keep", "best", "mode")
        return f"Checkpoint({self.path!r}, {', '.join(f'{k}={getattr(self, k)!r}' for k in names)})"

    @property
    def monitors(self) -> tuple[str, ...]:
        """Names in the History that it follows."""
        return () if self.best is None else (self.best,)

    @property
    def step_stride(self) -> int:
        """After how many steps ``on_step_end`` is wanted; 0: never."""
        return self.every_steps or 0

    def on_fit_begin(self, trainer: Any) -> None:
        """Removes what a killed process has left half written."""
        if self.best is not None:
            self._sign = direction("Checkpoint", self.best, self.mode, trainer._objective)
        self._first = trainer.state.fit.first_epoch
        from ..files.safetensors import remove_leftovers  # json and zlib are slow to import

        remove_leftovers(self.path)

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        """Saves, if it is time."""
        if (step + 1) % self.step_stride == 0:
            self._save(trainer, False)

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, float]) -> None:
        """Saves, if it is time or the last epoch."""
        is_best = False
        if self.best is not None:
            score = score_of("Checkpoint", self.best, logs)
            is_best = better(score, self._score, self._sign)
            self._score = score if is_best else self._score
        done, planned = epoch + 1 - self._first, trainer.state.fit.epochs
        if done % self.every == 0 or done == planned or trainer.stop or is_best:
            self._save(trainer, is_best)

    def on_fit_end(self, trainer: Any) -> None:
        """Waits until all is written."""
        self._score = None
        try:
            self._wait()
        finally:
            self._state = None

    def get_state(self) -> float | None:
        """The best score so far."""
        return self._score

    def set_state(self, values: float | None) -> None:
        """Goes on from ``get_state``."""
        self._score = None if values is None else float(values)

    def _save(self, trainer: Any, is_best: bool) -> None:
        self._wait()
        state = self._state = trainer._copy_state(self._state)
        self._thread = threading.Thread(target=self._write, args=(state, is_best), name="hawfinch checkpoint")
        self._thread.start()

    def _wait(self) -> None:
        """For what is being written; raises what has gone wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def _write(self, state: TrainState, is_best: bool) -> None:
        try:
            from .state_file import save_state  # json and zlib are slow to import

            save_state(state, self.path)
            from pathlib import Path  # slow to import

            path = Path(self.path)
            if is_best:
                _link(path, path.with_name(f"{path.stem}.best{path.suffix}"))
            if self.keep:
                _link(path, path.with_name(f"{path.stem}-{state.step:08d}{path.suffix}"))
                self._drop(path, state.step)
        except BaseException as error:
            self._failed = error

    def _drop(self, path: Path, step: int) -> None:
        """Those beyond the last ``keep``; what is of later steps is another run's."""
        name = re.compile(rf"{re.escape(path.stem)}-(\d{{8,}}){re.escape(path.suffix)}")
        found = {int(m[1]): p for p in path.parent.iterdir() if (m := name.fullmatch(p.name))}
        for old in sorted(s for s in found if s <= step)[: -self.keep]:
            found[old].unlink()


def _link(path: Path, name: Path) -> None:
    """Another name for a file, in place of an older one's; a copy where the file system has no links."""
    from ..files.safetensors import temporary_name  # json and zlib are slow to import

    temporary = name.with_name(temporary_name(path.name))
    try:
        try:
            os.link(path, temporary)
        except OSError:
            temporary.write_bytes(path.read_bytes())
        os.replace(temporary, name)
    finally:
        temporary.unlink(missing_ok=True)
