"""What the doctor says: a verdict, the causes behind it, and the cure that was tried."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

from ..errors import ArgumentError, HawfinchWarning
from ..train.trainer import Trainer
from ..values import CheckedCall
from .case import Question
from .catalogue import CAUSES
from .given import axes
from .run import Run, trained_alone


class Finding(NamedTuple):
    """A cause. name: from the catalogue. evidence: sentences with numbers. numbers: the same for programs. cure: what
    to change. code: how, in Python. result: what the cure did when it was tried, "" where it was not. recovered: the
    share of what was lost that it brought back. confidence: from 0 to 1."""

    name: str
    evidence: str
    numbers: dict[str, Any]
    cure: str
    code: str
    result: str
    recovered: float
    confidence: float

    @property
    def says(self) -> str:
        """The cause in a sentence."""
        return CAUSES[self.name].says


class Report(metaclass=CheckedCall):
    """What ``hf.diagnose`` gives; ``print(report)`` shows it.

    verdict: the name of the first cause, "healthy" where nothing is wrong. causes: a ``Finding`` each, the likeliest
    first; empty for a healthy net. questions: the way to the verdict, each with its answer and the numbers that decided
    it. measured: errors of the run as given and of what could be reached. notes: what the budget or the data did not
    allow.

    >>> import numpy as np, hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(300, 3))
    >>> report = hf.diagnose(hf.Sequential(hf.Linear(1)), 0 * x, x[:, :1], loss="mse", epochs=5, budget="3s")
    >>> report.verdict, report.causes[0].evidence.split(";")[0]
    ('constant_inputs', '3 of 3 features have a single value')
    """

    def __init__(
        self,
        causes: list[Finding],
        questions: list[Question],
        measured: dict[str, float],
        notes: list[str],
        cured: tuple[Run, int] | None,
        said: list[str],
    ):
        self.causes, self.questions, self.measured, self.notes = causes, questions, measured, notes
        self._cured, self._said = cured, said

    @property
    def verdict(self) -> str:
        """The first cause's name."""
        return self.causes[0].name if self.causes else "healthy"

    def cure(self) -> Trainer:
        """A trainer, trained, with the cures that helped; a copy of the user's model, changed.

        Where the budget allowed a part of the rows alone (``notes`` says so), it is trained on that part: fit it again.

        Raises ArgumentError where no cure was found to help.
        """
        if self._cured is None:
            why = "the net is healthy" if not self.causes else f"{self.verdict}: {self.causes[0].cure}"
            raise ArgumentError(f"cure: no change that was tried made the net better ({why})")
        run, seed = self._cured
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HawfinchWarning)
            return trained_alone(run, seed)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, ready for JSON: None for a number that is not finite."""
        return {
            "verdict": self.verdict,
            "says": CAUSES[self.verdict].says,
            "causes": [_plain(c._asdict()) for c in self.causes],
            "questions": [_plain(q._asdict()) for q in self.questions],
            "measured": _plain(self.measured),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        return f"Report({self.verdict})"

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {CAUSES[self.verdict].says}", *[f"  {line}" for line in self._said]]
        for i, cause in enumerate(self.causes):
            head = f"{i + 1}. {cause.name}" + ("" if i == 0 else f": {cause.says}")
            lines += ["", f"{head} (confidence {cause.confidence:.2f})"]
            lines += [f"   found: {line}" for line in cause.evidence.split("; ") if line]
            lines.append(f"   cure: {cause.cure}")
            lines += [f"         {cause.code}"] if cause.code else []
            lines += [f"   tried: {cause.result}"] if cause.result else []
        if self.notes:
            lines += ["", *[f"note: {note}" for note in self.notes]]
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draws the questions that led to the verdict, with the numbers at each fork. Gives the Axes.

        ax: matplotlib Axes to draw into; default: a new figure. Needs matplotlib (``pip install hawfinch[plot]``).
        """
        n = len(self.questions) + 1
        ax = axes(ax, 8, 1.1 * n + 0.4)
        ax.set_xlim(0, 1)
        ax.set_ylim(-n + 0.4, 0.6)
        ax.axis("off")
        box = dict(boxstyle="round,pad=0.4", facecolor="#f3f6fa", edgecolor="#7a8ba0")
        for i, question in enumerate(self.questions):
            numbers = "  ".join(f"{k} {v:.3g}" for k, v in question.numbers.items())
            ax.text(0.03, -i, question.text + (f"\n{numbers}" if numbers else ""), va="center", fontsize=9, bbox=box)
            ax.text(0.62, -i, question.answer, va="center", fontsize=9, color="#20508a")
            ax.annotate("", (0.06, -i - 0.62), (0.06, -i - 0.38), arrowprops=dict(arrowstyle="->", color="#7a8ba0"))
        end = dict(boxstyle="round,pad=0.5", facecolor="#dff0df" if not self.causes else "#fbe3d6", edgecolor="#555555")
        says = f"{self.verdict}: {CAUSES[self.verdict].says}"
        ax.text(0.03, -(n - 1), says, va="center", fontsize=10, fontweight="bold", bbox=end)
        return ax


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
