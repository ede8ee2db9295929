"""From suspicions to a verdict: cures are tried, and the cause is the one whose cure brings back what was lost.

Design: a cause is proven by its cure. What a rule has measured (``strength``) says which cures are tried first, and
decides between causes whose cures do equally well, since batch norm heals a bad start as well as a wrong scale does.
A gain counts where it is larger than chance over the same rows, and again with another seed. Rejected: a classifier
trained on broken runs, which knows only the faults that it was shown, and shows no proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .case import Case, Cure, Suspicion, gain, is_worth
from .rules.generalisation import HELD_BACK
from .rules.optimisation import COSINE, with_rate
from .run import Run, Trial

ENOUGH = 0.25  # of what was lost, for a cause to be listed
CONFIRMED = 4  # cures that are tried with a second seed
LAST = 0.05  # strength of a cure that is another net altogether
WEIGHT = 0.6  # of what a rule has measured, beside what its cure does
# What comes of what: a cause on the left is only a symptom where one of those on the right explains it.
COMES_OF = {
    "dead_units": ("inputs_not_scaled", "learning_rate_too_high", "bad_initialisation"),
    "saturated_units": ("inputs_not_scaled", "bad_initialisation", "learning_rate_too_high"),
    "vanishing_gradient": ("inputs_not_scaled", "bad_initialisation"),
    "exploding_gradient": ("inputs_not_scaled", "bad_initialisation", "learning_rate_too_high", "output_or_loss"),
    "mismatch": ("preprocessing_differs", "target_leak", "class_imbalance"),
    "wrong_labels": ("mismatch", "preprocessing_differs", "constant_inputs", "target_leak", "class_imbalance"),
    "class_imbalance": ("wrong_labels",),
    "seed_spread": (
        "learning_rate_too_high",
        "inputs_not_scaled",
        "output_or_loss",
        "bad_initialisation",
        "dead_units",
        "wrong_gradient",
    ),
    "model_bias": ("frozen", "output_or_loss", "dropout", "inputs_not_scaled"),
    "overfitting": (
        "inputs_not_scaled",
        "preprocessing_differs",
        "target_leak",
        "wrong_labels",
        "mismatch",
        "class_imbalance",
    ),
    "regularisation_too_weak": ("preprocessing_differs", "target_leak", "wrong_labels", "mismatch", "class_imbalance"),
}


def _rated(factor: float) -> Cure:
    return Cure(f"{factor:.2g} times the rate", "", lambda run: with_rate(run, factor))


HELPERS = (
    _rated(3.0),
    _rated(1 / 3),
    Cure("4 times the epochs", "", lambda run: run.with_fit(epochs=min(4 * run.epochs, 2000))),
    COSINE,
    *HELD_BACK,
)


class Tried(NamedTuple):
    """A cure that was tried, by one seed or more."""

    suspicion: Suspicion
    cure: Cure
    run: Run
    trials: list[Trial]

    @property
    def error(self) -> float:
        """Over the seeds."""
        return float(np.mean([t.error for t in self.trials]))


def try_cures(case: Case, suspicions: Sequence[Suspicion], keep: float) -> list[Tried]:
    """Tries the cures of the strongest suspicions first. keep: seconds to leave over."""
    pairs = [(s, c, i) for s in suspicions for i, c in enumerate(s.cures)]
    pairs.sort(key=lambda p: -(p[0].strength * 0.8 ** p[2]))
    runs: list[tuple[Suspicion, Cure, Run]] = []
    for suspicion, cure, _ in pairs:
        run = cure.change(case.run)
        if run is not None:
            runs.append((suspicion, cure, run))
    trials = case.try_runs([run for _, _, run in runs], least=keep)
    return [Tried(s, c, run, [t]) for (s, c, run), t in zip(runs, trials, strict=True) if t is not None]


def confirm(case: Case, tried: Sequence[Tried], seed: int) -> list[Tried]:
    """The best ones with a second seed too."""
    best = sorted(tried, key=lambda t: t.error)[:CONFIRMED]
    again = case.try_runs([t.run for t in best], seed=seed)
    second = {id(t): trial for t, trial in zip(best, again, strict=True)}
    return [t._replace(trials=[*t.trials, extra]) if (extra := second.get(id(t))) is not None else t for t in tried]


def helps(case: Case, tried: Tried) -> bool:
    """Whether the gain is worth speaking of."""
    return is_worth(case.task, case.error, *gain(case.replays, tried.trials), tried.suspicion.strength)


def recovered(case: Case, tried: Tried, best: float) -> float:
    """The share of what was lost that came back."""
    lost = max(case.error - best, 1e-9)
    return float(np.clip((case.error - tried.error) / lost, 0.0, 1.0))


def score(case: Case, tried: Tried, best: float) -> float:
    """How far a cure speaks for its cause."""
    return recovered(case, tried, best) * (1 - WEIGHT + WEIGHT * tried.suspicion.strength)


def polish(case: Case, chosen: Tried, others: Sequence[Tried], rounds: int = 2) -> tuple[Tried, list[str]]:
    """What else helps beside a cure, and what it then is: other causes' cures, the usual helpers, one at a time."""
    also: list[str] = []
    helpers = [*[t.cure for t in others[:4]], *HELPERS]
    for _ in range(rounds):
        runs = [(c, run) for c in helpers if (run := c.change(chosen.run)) is not None]
        trials = case.try_runs([run for _, run in runs], least=0.05 * case.seconds)
        tried = [Tried(chosen.suspicion, c, r, [t]) for (c, r), t in zip(runs, trials, strict=True) if t is not None]
        tried = [t for t in tried if len(t.trials[0].row_errors) == len(chosen.trials[0].row_errors)]
        if not tried:
            break
        best = min(tried, key=lambda t: t.error)
        again = case.try_runs([best.run], seed=case.seed + 1)[0]
        best = best if again is None else best._replace(trials=[*best.trials, again])
        difference, deviation = gain(chosen.trials, best.trials)
        if difference <= max(deviation, 0.1 * chosen.error):
            break
        also.append(best.cure.text)
        chosen, helpers = best, [c for c in helpers if c is not best.cure]
    return chosen, also
