"""Rules that look at what nets say of rows that they have not seen: wrong labels, and sets that differ."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...ir import Array
from .. import edits
from ..case import Case, Cure, Suspicion
from ..references import OutOfFold
from ..run import Run


def data_suspicions(case: Case, oof: OutOfFold | None) -> Iterable[Suspicion]:
    """Wrong labels; a validation set that is harder than rows held out of training."""
    if oof is None:
        return
    reached = min(case.references, key=lambda t: t.error)
    n, m = len(oof.error), len(reached.row_errors)
    deviation = float(np.hypot(oof.error.std() / np.sqrt(n), reached.row_errors.std() / np.sqrt(m)))
    held, there = float(oof.error.mean()), reached.error
    suspects = oof.suspects
    share = len(suspects) / n
    harder = (held - there) / max(deviation, 1e-9)
    numbers = {"held_out": held, "validation": there, "share": share, "rows": suspects[:1000].tolist()}
    strength = float(np.clip(0.12 * (harder - 3), 0, 1)) * float(held > there + 0.02)
    strength = max(strength, float(np.clip((share - 0.04) / 0.2, 0, 1)))
    if strength > 0.05 and len(suspects) > 2:
        text = (
            f"nets that have not seen them are sure of another target for {len(suspects)} of {n} training rows, "
            f"such as {', '.join(map(str, suspects[:8]))}"
        )
        second = f"rows held out of training: {case.task.text(held)}; validation rows: {case.task.text(there)}"
        cure = Cure(
            f"leave out the {len(suspects)} rows (or correct them)",
            "x, y = np.delete(x, rows, axis=0), np.delete(y, rows, axis=0)  # cause.numbers['rows']",
            lambda run: _without_rows(run, suspects, n),
        )
        sure = harder > 6 and held > there + 0.08 * case.task.chance and held > 1.5 * there
        yield Suspicion("wrong_labels", strength, (text, second), (cure,), numbers, certain=sure)
    easier = (there - held) / max(deviation, 1e-9)
    if easier > 4 and there > held + 0.03 and there > 1.3 * held:
        text = f"rows held out of training: {case.task.text(held)}; validation rows: {case.task.text(there)}"
        yield Suspicion("mismatch", float(np.clip(0.1 * easier, 0, 1)), (text,), numbers=numbers, certain=True)


def learning_curve(case: Case) -> Iterable[Suspicion]:
    """Whether half of the rows would have been much worse: then twice as many are much better."""
    run, gap = case.run, case.error - case.train_error
    if gap < 0.08 * case.task.chance or run.data.n < 20:
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
    if grown > 0.15 and error < 0.95 * case.task.chance:
        numbers = {"half": error, "error": case.error, "gap": gap}
        yield Suspicion("overfitting", strength, (text,), (more,), numbers, certain=True)


def _without_rows(run: Run, rows: Array, n: int) -> Run | None:
    if run.data.n != n:
        return None
    return run._replace(model=edits.untrained(run.model), data=run.data.take(np.setdiff1d(np.arange(n), rows)))
