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
    suspects = oof.suspects(case.task.kind)
    share = len(suspects) / n
    harder = (held - there) / max(deviation, 1e-9)
    numbers = {"held_out": held, "validation": there, "share": share, "rows": suspects[:1000].tolist()}
    strength = float(np.clip(0.15 * (harder - 3), 0, 1)) * float(held > there + 0.02)
    strength = max(strength, float(np.clip((share - 0.04) / 0.1, 0, 1)))
    if strength > 0.05 and len(suspects):
        text = (
            f"nets that have not seen them are sure of another target for {len(suspects)} of {n} training rows, such as "
            f"{', '.join(map(str, suspects[:8]))}"
        )
        second = f"rows held out of training: {case.task.text(held)}; validation rows: {case.task.text(there)}"
        cure = Cure(
            f"leave out the {len(suspects)} rows (or correct them)",
            "x, y = np.delete(x, rows, axis=0), np.delete(y, rows, axis=0)  # cause.numbers['rows']",
            lambda run: _without_rows(run, suspects, n),
        )
        yield Suspicion("wrong_labels", strength, (text, second), (cure,), numbers)
    easier = (there - held) / max(deviation, 1e-9)
    if easier > 4 and there > held + 0.03 and there > 1.3 * held:
        text = f"rows held out of training: {case.task.text(held)}; validation rows: {case.task.text(there)}"
        yield Suspicion("mismatch", float(np.clip(0.1 * easier, 0, 1)), (text,), numbers=numbers, certain=True)


def _without_rows(run: Run, rows: Array, n: int) -> Run | None:
    if len(run.data) != n:
        return None
    return run._replace(model=edits.untrained(run.model), data=run.data.take(np.setdiff1d(np.arange(n), rows)))
