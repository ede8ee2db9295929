"""``Watch``: cheap rules during a fit, which warn once each.

Design: what is looked at all the time is what the fit has anyway (losses); only when that is suspicious a copy of the
trainer takes a few steps with its norms watched, and says why. So a healthy fit pays next to nothing, and a cause is
named by an experiment. Rejected: ``Trainer(watch="*")`` throughout, whose sums take a third more time of each step of a
784-256-10 in batches of 32; and thresholds on norms alone, which healthy nets pass too.
"""

from __future__ import annotations

import copy
import math
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np

from ..errors import HawfinchError, HawfinchWarning, NonFiniteError, warn
from ..nn import ReLU, Sigmoid, Tanh
from ..values import CheckedCall, check_whole
from .activations import unit_shares
from .catalogue import CAUSES

PAGE = "how-to/my_loss_does_not_fall.md"
STRIDE = 100  # steps after which the loss is looked at
ROWS = 256
FIRST = 64  # rows whose loss is that of the beginning
FEW = 32  # rows of the first look at units
PROBE_STEPS = 3
RISE = 4.0  # a loss that grows by this between two looks, twice, and is
TIMES_START = 10.0  # times the first, will soon not be finite
FALLEN = 0.02  # a fit whose loss has come down by less of what it began with does not fall
SLOW = 0.2  # and by less than this, evenly, in steps under SMALL: too slowly
EARLY, LATE = 0.2, 0.5  # of the epochs, after which that is asked, and again where no norm says why
LEAST_STEPS = 100  # before anything is said of that
DEAD, SATURATED = 0.5, 0.75  # of a layer's units, of its outputs
FIRST_UNITS = 1000  # steps before units are looked at; again after twice as many, and so on
LARGE, SMALL = 0.03, 1e-4  # of a step's change beside the parameter, by norms
VANISHED, EXPLODED = 1e-3, 1e3  # of a first layer's gradient beside the last's, by root mean squares
OVERFIT = 1.25  # times its lowest, of a validation loss,
LOST = 0.15  # and by this share of what it had come down


Norms = dict[str, tuple[float, float, float, int]]  # of a weight's gradient, itself, its change in a step; its size


class Alarm(NamedTuple):
    """name: of the cause, see the page. epoch, step: when it was seen. text: what, with numbers."""

    name: str
    epoch: int
    step: int
    text: str
    numbers: dict[str, float]


class Watch(metaclass=CheckedCall):
    """A callback that looks after a fit and warns, once for each cause, by its name.

    What it looks at, and says:

    * the loss every 100 steps: one that grows fourfold twice in a row and is 10 times that of the beginning will soon
      not be finite (learning_rate_too_high, exploding_gradient), and so when it has come to that;
    * the loss of an epoch: one that after a fifth of the epochs (3 or more, 100 steps or more) has come down by less
      than 2 % does not fall. Then a copy of the trainer takes 3 steps on 256 rows, and says why, in this order:
      bad_initialisation (all of a weight is 0); dead_units or saturated_units (over half, three quarters, of a layer);
      critical_point (a weight's gradient is exactly 0); vanishing_gradient, exploding_gradient (root mean square of the
      first weight's gradient under 1/1000, over 1000 times that of the last one's); learning_rate_too_high,
      learning_rate_too_low (the median over weights of |change| / |weight| in a step over 0.03, under 1e-4; the latter
      also where the loss has come down evenly by less than 20 %); frozen; else, after half of the epochs, optimisation;
    * units after 1,000 steps, 2,000, 4,000 and so on: half of a layer's ReLUs 0 for all of 256 rows (dead_units);
    * the validation loss: one that has not been lower for ``patience`` epochs (default 5), and is 1.25 times its
      lowest, by 15 % of what it had come down, while the loss has fallen since (overfitting). Not beside
      EarlyStopping, which sees to it.

    ``found``: an ``Alarm`` each, of the last fit. The warnings are HawfinchWarnings, and name the part of
    docs/how-to/my_loss_does_not_fall.md that explains the cause. The model, its random numbers and the History are
    those of a fit without it. It costs 0.4 to 1.2 % of a step of 784-256-10 in batches of 32 (``bench/recipe.py``), and
    in a healthy fit once the 4 ms of compiling an evaluation and of looking at units. Of chunks, and of rows that
    are decoded as they come, the validation loss alone is looked at. Raises ArgumentError for a patience below 1.

    Thresholds: 1e-3 for |change| / |weight| is said to be right (Stanford CS231n, "Babysitting the learning process");
    all are wider than what the healthy nets of ``bench/broken_runs.py`` do.

    >>> import numpy as np, hawfinch as hf, warnings
    >>> x = np.random.default_rng(0).normal(size=(640, 4))
    >>> watch = hf.Watch()
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(8), "relu", hf.Linear(1)), "mse", hf.Adam(1e-7))
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     history = trainer.fit(x, x[:, :1], epochs=10, batch_size=16, callbacks=[watch])
    >>> [alarm.name for alarm in watch.found]
    ['learning_rate_too_low']
    """

    step_stride = STRIDE

    def __init__(self, *, patience: int = 5):
        self.patience = check_whole(patience, "Watch: patience", 1)
        self.found: list[Alarm] = []
        self._begin(None)

    def _begin(self, start: float | None) -> None:
        self._start = start  # the loss before the first step; None: unknown, or not the beginning
        self._losses: list[float] = []
        self._validated: list[float] = []
        self._seen: list[float] = []  # the last three looks at the loss of a step
        self._looked = False  # whether why the loss does not fall was asked
        self._due = EARLY
        self._next_units = FIRST_UNITS
        self._first_epoch = self._first_step = 0

    # ---- events ----
    def on_fit_begin(self, trainer: Any) -> None:
        """Begins anew; the loss on some rows before the first step."""
        self.found = []
        self._begin(None)
        self._first_epoch, self._first_step = trainer.epochs, trainer.steps
        rows = _some_rows(trainer, FIRST) if trainer.steps == 0 else None
        if rows is not None:
            found = trainer._evaluate(rows, rows.rows, 1)["loss"]
            self._start = float(found) if math.isfinite(found) else None

    def on_step_end(self, trainer: Any, step: int, loss: float) -> None:
        """Looks at the loss of a step."""
        seen = self._seen = [*self._seen[-2:], loss]
        if len(seen) < 3 or self._start is None or loss < TIMES_START * abs(self._start):
            return
        if seen[1] > RISE * abs(seen[0]) and seen[2] > RISE * abs(seen[1]):
            rising = ", ".join([f"{v:.3g}" for v in seen])
            self._say_why_it_rises(trainer, f"the loss is rising fast ({rising}) and will soon not be finite")

    def on_epoch_end(self, trainer: Any, epoch: int, logs: dict[str, Any]) -> None:
        """The rules of an epoch."""
        self._losses.append(float(logs["loss"]))
        if "val_loss" in logs and trainer.state.best is None:
            self._validated.append(float(logs["val_loss"]))
            self._overfitting(trainer)
        steps = trainer.steps - self._first_step
        if not self._looked and self._is_due(trainer, steps):
            self._looked = True
            self._does_not_fall(trainer)
        if steps >= self._next_units:
            while steps >= self._next_units:
                self._next_units *= 2
            self._units(trainer)

    def on_fit_end(self, trainer: Any) -> None:
        """Says why, where the fit ends because the loss is not finite."""
        if isinstance(sys.exc_info()[1], NonFiniteError):
            self._say_why_it_rises(trainer, "the loss is not finite any more")

    # ---- rules ----
    def _is_due(self, trainer: Any, steps: int) -> bool:
        planned = max(int(trainer.epochs_planned), 1)
        return steps >= LEAST_STEPS and len(self._losses) >= min(max(3, math.ceil(self._due * planned)), planned)

    def _does_not_fall(self, trainer: Any) -> None:
        """Where the loss has hardly come down, why."""
        start = self._start
        fallen = 1.0 if start is None or start == 0 else (start - min(self._losses)) / abs(start)
        evenly = (np.diff(self._losses[-3:]) < 0).all()
        if fallen > SLOW or (fallen > FALLEN and not evenly):
            return
        norms = _probe(trainer)
        name, why, numbers = self._why(trainer, norms)
        if fallen > FALLEN and name != "learning_rate_too_low":
            return
        if name == "optimisation" and self._due < LATE:  # it may be a plateau
            self._looked, self._due = False, LATE
            return
        if fallen <= FALLEN and name != "bad_initialisation" and self._units(trainer) is not None:
            return
        text = f"after {len(self._losses)} epochs the loss has come from {start:.4g} to {min(self._losses):.4g}"
        self._warn(trainer, name, f"{text}: {why}", numbers)

    def _why(self, trainer: Any, norms: Norms | None) -> tuple[str, str, dict[str, float]]:
        """The cause by norms, in words, and its numbers."""
        if norms is not None:
            zero = [k for k, (_, p, *_) in norms.items() if p == 0.0]
            silent = [k for k, (g, *_) in norms.items() if g == 0.0]
            across = _first_over_last(norms)
            changes = [u / p for _, p, u, _ in norms.values() if p > 0]
            change = float(np.median(changes)) if changes else 0.0
            numbers = {"first_over_last": across, "change": change}
            of_first = f"the first weight's gradient is {across:.1e} times the last one's"
            of_step = f"a step changes the weights by {100 * change:.2g} %"
            rules = (
                ("bad_initialisation", zero, f"all of {(zero or [''])[0]} is 0"),
                ("critical_point", silent, f"the gradient of {(silent or [''])[0]} is exactly 0"),
                ("vanishing_gradient", across < VANISHED, of_first),
                ("exploding_gradient", across > EXPLODED, of_first),
                ("learning_rate_too_high", change > LARGE, of_step),
                ("learning_rate_too_low", change < SMALL, of_step),
            )
            for name, holds, why in rules:
                if holds:
                    return name, why, numbers
        model = trainer.model
        still = [k for k in model.parameters() if k not in model.trainable()]
        if still:
            return "frozen", f"{len(still)} arrays are frozen, such as {still[0]}", {"frozen": float(len(still))}
        return "optimisation", "no norm says why; hf.diagnose tries it out", {}

    def _overfitting(self, trainer: Any) -> None:
        values = self._validated
        best = int(np.argmin(values))
        risen, since = values[-1] - values[best], len(values) - 1 - best
        down = max([*values[: best + 1], *([] if self._start is None else [self._start])]) - values[best]
        fell = self._losses[-1] < min(self._losses[best], values[-1])
        if since < self.patience or not fell or risen < max((OVERFIT - 1) * abs(values[best]), LOST * down):
            return
        text = (
            f"the validation loss has been above its lowest for {since} epochs, and risen from {values[best]:.3g} to "
            f"{values[-1]:.3g}, while the loss fell to {self._losses[-1]:.3g}"
        )
        self._warn(trainer, "overfitting", text, {"risen": risen, "epochs": float(since)})

    def _units(self, trainer: Any) -> str | None:
        """Warns of dead units; the name of what it has said."""
        for name, most in (("dead_units", DEAD), ("saturated_units", SATURATED)):
            if name == "saturated_units" and not self._looked:
                continue  # a net that learns may be sure of itself
            for path, share in _shares(trainer, FEW, name):
                if share <= most:
                    continue
                share = dict(_shares(trainer, ROWS, name, path))[path]
                if share > most:
                    text = f"{100 * share:.0f} % of the "
                    if name == "dead_units":
                        text += f"units of layer {path!r} give 0 for all of {ROWS} rows"
                    else:
                        text += f"outputs of layer {path!r} are within 1 % of its ends"
                    self._warn(trainer, name, text, {"share": share})
                    return name
        return None

    def _say_why_it_rises(self, trainer: Any, text: str) -> None:
        across = float("nan")
        norms = _probe(trainer)
        if norms is not None:
            across = _first_over_last(norms)
        name = "exploding_gradient" if across > EXPLODED else "learning_rate_too_high"
        if not {"exploding_gradient", "learning_rate_too_high"} & {alarm.name for alarm in self.found}:
            self._warn(trainer, name, text, {} if math.isnan(across) else {"first_over_last": across})

    def _warn(self, trainer: Any, name: str, text: str, numbers: dict[str, float]) -> None:
        if any([alarm.name == name for alarm in self.found]):
            return
        self.found.append(Alarm(name, trainer.epochs, trainer.steps, text, numbers))
        cause = CAUSES[name]
        warn(f"{name}: {text}. {cause.says} Cure: {cause.cure} See docs/{PAGE}#{name}", HawfinchWarning)


def _some_rows(trainer: Any, n: int) -> Any:
    """The first rows of the fit under way, as data; None of chunks, and of rows that are decoded as they come."""
    data = trainer._call.source.data
    if data is None or not all([isinstance(a, np.ndarray) for a in data.x]):
        return None

    def part(arrays: Any) -> Any:
        return tuple([None if a is None else np.asarray(a[:n]) for a in arrays])

    return data._replace(x=part(data.x), y=part(data.y), weight=part(data.weight), share=None)


def _shares(trainer: Any, n: int, name: str, only: str = "") -> list[tuple[str, float]]:
    """Of layers of this kind, and the share that is dead or saturated."""
    rows = _some_rows(trainer, n)
    if rows is None:
        return []
    kinds = (ReLU,) if name == "dead_units" else (Sigmoid, Tanh)
    model, found = trainer.model, []
    paths = [path for path, m in model.modules() if path and isinstance(m, kinds) and path in (only or path,)]
    for path in paths:
        try:
            out = model.outputs(rows.x if len(rows.x) > 1 else rows.x[0], path)
        except HawfinchError:
            continue
        for part in out if isinstance(out, tuple) else (out,):
            dead, saturated = unit_shares(dict(model.modules())[path], part)
            found.append((path, dead if name == "dead_units" else saturated))
    return found


def _probe(trainer: Any) -> Norms | None:
    """Of each weight (of 2 axes or more) the medians of a few steps of a copy. None where none can be made."""
    rows = _some_rows(trainer, ROWS)
    if rows is None:
        return None
    sizes = {k: v.size for k, v in trainer.model.trainable().items() if v.ndim > 1}
    found: list[dict[str, float]] = []
    try:
        other = copy.deepcopy(trainer)
        other._update_options = {**other._update_options, "watch": list(sizes), "reduce": None}
        other._total_steps = (trainer._length() or 0) + trainer.steps + PROBE_STEPS
        other.optimizer = trainer.optimizer
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(PROBE_STEPS):
                _step(other, rows)
                found.append(other.norms())
    except (HawfinchError, TypeError):  # no norms of this optimiser, a loss that is not finite, what can't be copied
        pass
    if not found:
        return None
    kinds = ("grad_norm", "param_norm", "update_norm")
    medians = {k: [float(np.median([f[f"{kind}/{k}"] for f in found])) for kind in kinds] for k in sizes}
    return {k: (v[0], v[1], v[2], sizes[k]) for k, v in medians.items()}


def _step(trainer: Any, rows: Any) -> None:
    names = trainer.model.output_names
    y: Any = rows.y[0] if len(rows.y) == 1 else rows.y
    if len(rows.y) > 1 and names:
        y = dict(zip(names, rows.y, strict=True))
    trainer.step(rows.x if len(rows.x) > 1 else rows.x[0], y)


def _first_over_last(norms: Norms) -> float:
    """Root mean square of the first weight's gradient over that of the last one's; NaN where there is one weight."""
    each = [g / math.sqrt(size) for g, _, _, size in norms.values()]
    return each[0] / each[-1] if len(each) > 1 and each[-1] > 0 else float("nan")
