"""Show: what the compiler did, as text."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Size
from .schedule import Schedule


def listing(schedule: Schedule, batch: int) -> list[str]:
    """One line per record: shapes, bytes, split over threads, estimated time; ``|`` before one where threads meet."""
    lines = [f"{'op':<24}{'output':<20}{'bytes':>10} {'split':<8}{'est. us':>8}  from"]
    for step, barrier in zip(schedule.steps, schedule.barriers, strict=True):
        moved = schedule.moved(step, batch)
        out = ", ".join([shape_text(t.shape) for t in step.writes]) or "-"
        split = "one" if step.single else str(step.units)
        name = ("| " if barrier else "  ") + step.op
        code = f" [{' '.join(step.code)}]" if step.code else ""
        time = schedule.estimate(step, moved, batch) * 1e6
        lines.append(f"{name:<24}{out:<20}{moved:>10} {split:<8}{time:>8.2f}  {step.scope}{code}".rstrip())
    return lines


def shape_text(shape: Sequence[Size]) -> str:
    return "x".join(map(str, shape)) if shape else "1"
