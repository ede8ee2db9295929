"""Rules that look at what nets say of rows that they have not seen: wrong labels, and sets that differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...ir import Array
from .. import edits
from ..case import Case, Cure, Suspicion
from ..references import OutOfFold
from ..run import Run
from .layers import NORMS
from .optimisation import COSINE


def data_suspicions(case: Case, oof: OutOfFold | None) -> Iterable[Suspicion]:
    """Wrong labels; a validation set that is harder than rows held out of training."""
    if oof is None:
        return
    reached = min(case.references, key=lambda t: t.error)
    n, m = len(oof.error), len(reached.row_errors)
    deviation = max(float(np.hypot(oof.error.std() / np.sqrt(n), reached.row_errors.std() / np.sqrt(m))), 1e-9)
    held, there = _as_in_validation(case, oof.error), reached.error
    share = len(oof.suspects) / n
    harder = (held - there) / deviation
    numbers: dict[str, Any] = {"held_out": held, "validation": there, "share": share}
    compared = f"rows held out of training: {case.task.text(held)}; validation rows: {case.task.text(there)}"
    strength = float(np.clip(0.12 * (harder - 3), 0, 1)) * float(held > there + 0.02)
    strength = max(strength, float(np.clip((share - 0.04) / 0.2, 0, 1)))
    sure = harder > 6 and held > there + 0.08 * case.task.chance and held > 1.5 * there
    suspects = oof.suspects
    if sure and case.task.kind == "numbers":  # a wrong target is off by two variances on average
        suspects = np.argsort(-oof.error, kind="stable")[: max(3, int(n * min((held - there) / 2, 0.5)))]
    if strength > 0.05 and len(suspects) > 2:
        numbers["rows"] = suspects[:1000].tolist()
        text = (
            f"nets that have not seen them are sure of another target for {len(suspects)} of {n} training rows, "
            f"such as {', '.join(map(str, suspects[:8]))}"
        )
        cure = Cure(
            f"leave out the {len(suspects)} rows (or correct them)",
            "x, y = np.delete(x, rows, axis=0), np.delete(y, rows, axis=0)  # cause.numbers['rows']",
            lambda run: _without_rows(run, suspects, n),
        )
        yield Suspicion("wrong_labels", strength, (text, compared), (cure,), numbers, certain=sure)
    easier = -harder
    if easier > 4 and there > held + 0.03 and there > 1.3 * held:
        yield Suspicion("mismatch", float(np.clip(0.1 * easier, 0, 0.9)), (compared,), numbers=numbers, certain=True)


def _as_in_validation(case: Case, error: Array) -> float:
    """The mean error of training rows, each class weighted by its share of the validation rows."""
    if case.task.kind != "classes" or case.truth is None or case.validation_truth is None:
        return float(error.mean())
    shares = np.bincount(case.validation_truth, minlength=case.task.classes).astype(np.float64)
    counts = np.bincount(case.truth, minlength=case.task.classes)
    shares[counts == 0] = 0.0
    if shares.sum() == 0:
        return float(error.mean())
    by_class = np.bincount(case.truth, weights=error, minlength=case.task.classes) / np.maximum(counts, 1)
    return float((by_class * shares).sum() / shares.sum())


def learning_curve(case: Case) -> Iterable[Suspicion]:
    """Whether half of the rows would have been much worse: then twice as many are much better."""
    run, gap = case.run, case.error - case.train_error
    by_heart = gap > 0.2 * case.task.chance and case.train_error < 0.25 * case.error
    if gap < 0.16 * case.task.chance or run.data.n < 20:
        return
    rows = np.random.default_rng(case.seed).permutation(run.data.n)[: run.data.n // 2]
    half = run._replace(data=run.data.take(np.sort(rows))).with_fit(epochs=2 * run.epochs)
    trials = [t for t in case.try_runs([half, half]) if t is not None]
    if not trials:
        return
    error = float(np.mean([t.error for t in trials]))
    grown = (error - case.error) / max(case.error, 1e-9)
    text = (
        f"training: {case.task.text(case.train_error)}, validation: {case.task.text(case.error)}; from half of the "
        f"rows {case.task.text(error)}: more rows would help"
    )
    strength = float(np.clip(0.4 + 2.0 * (grown - 0.15), 0, 0.9))
    more = Cure("more rows", "", lambda run: None)
    if (grown > 0.2 or by_heart) and min(error, case.error) < 0.95 * case.task.chance:
        numbers = {"half": error, "error": case.error, "gap": gap}
        yield Suspicion("overfitting", strength, (text,), (more,), numbers, certain=True)


def nothing_to_learn(case: Case) -> Iterable[Suspicion]:
    """Whether no net does better than guessing: then inputs and targets may not belong together."""
    trials = case.references or case.replays  # where no others could be put beside, the net itself
    best = min(t.error for t in trials) if case.references else case.error
    guess = _guessing(case)
    if best < 0.93 * guess or guess <= 0:
        return
    learnt = min(t.train_error for t in trials)
    text = f"no net that was tried predicts validation rows better than guessing ({case.task.text(guess)})"
    trained = f"in training the best reaches {case.task.text(learnt)}: by heart, if at all"
    cure = Cure("see whether inputs and targets still belong together, row by row", "", lambda run: None)
    yield Suspicion("wrong_labels", 0.7, (text, trained), (cure,), {"guess": guess, "best": best}, certain=True)


def _guessing(case: Case) -> float:
    """The error of the commonest class, or of the mean."""
    truth, seen = case.truth, case.validation_truth
    if truth is None or seen is None:
        return 0.0
    if case.task.kind == "classes":
        return float(np.mean(seen != np.bincount(truth).argmax()))
    if case.task.kind == "numbers":
        return float(np.mean(np.square(seen - truth.mean(0))))
    return float(np.mean(seen != (truth.mean(0) > 0.5)))


def seed_spread(case: Case) -> Iterable[Suspicion]:
    """Whether some seeds succeed where others fail."""
    errors = [t.error for t in case.replays]
    if max(errors) - min(errors) < 0.08 * case.task.chance or case.run.data.n < 10:
        return
    more = [case.try_runs([case.run], seed=case.seed + k)[0] for k in range(2, 5)]
    errors += [t.error for t in more if t is not None]
    low, high = min(errors), max(errors)
    if len(errors) < 4 or low > 0.5 * high or high - low < 0.1 * case.task.chance:
        return
    text = "over seeds: " + ", ".join([case.task.text(e) for e in sorted(errors)])
    strength = float(np.clip((high - low) / case.task.chance, 0.2, 0.6))
    numbers = {"errors": errors}
    yield Suspicion("seed_spread", strength, (text,), (NORMS, COSINE), numbers, certain=True)


def _without_rows(run: Run, rows: Array, n: int) -> Run | None:
    if run.data.n != n:
        return None
    return run._replace(model=edits.untrained(run.model), data=run.data.take(np.setdiff1d(np.arange(n), rows)))
