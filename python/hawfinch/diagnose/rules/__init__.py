"""What the doctor looks for: functions of a case that give suspicions, each with the cures to be tried.

Design: a rule says what it has measured, how far that speaks for a cause, and which changes would cure it; whether it
is the cause is decided by trying them, in one place (``verdict``). Rejected: thresholds that decide by themselves, as
tools that watch traces have them: what looks wrong in one net is how another one works.
"""

from collections.abc import Callable, Iterable

from ..case import Case, Suspicion
from . import data, generalisation, gradients, layers, optimisation, output

Rule = Callable[[Case], Iterable[Suspicion]]

RULES: tuple[Rule, ...] = (
    *data.RULES,
    *output.RULES,
    *layers.RULES,
    *gradients.RULES,
    *optimisation.RULES,
    *generalisation.RULES,
)
