"""Show: what the compiler did, as text.

``HAWFINCH_SHOW``, a comma list of traced, differentiated, fused, plan, prints each stage to stderr as it happens;
``Graph.show()`` and ``Plan.describe()`` give the same text.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from ..ir import Size, Step
from .schedule import Schedule


def stage(name: str, text: Callable[[], str]) -> None:
    """Prints text() where ``HAWFINCH_SHOW`` asks for this stage."""
    asked = os.environ.get("HAWFINCH_SHOW")
    if asked and name in asked.split(","):
        print(f"-- {name} --", text(), sep="\n", file=sys.stderr)


def steps_text(steps: Sequence[Step]) -> str:
    """One line per step: op, shapes of what it writes, program, layer."""
    lines = [f"  {s.op:<24}{_written(s):<20} {s.scope}{_code(s)}".rstrip() for s in steps]
    return "\n".join([f"{len(steps)} steps:", *lines])


def listing(schedule: Schedule, batch: int) -> list[str]:
    """One line per record: shapes, bytes, split over threads, estimated time; ``|`` before one where threads meet."""
    lines = [f"{'op':<24}{'output':<20}{'bytes':>10} {'split':<8}{'est. us':>8}  from"]
    estimates = schedule.estimates(batch)
    for step, barrier, seconds in zip(schedule.steps, schedule.barriers, estimates, strict=True):
        moved = schedule.moved(step, batch)
        split = "one" if step.single else str(step.units)
        name, time = ("| " if barrier else "  ") + step.op, seconds * 1e6
        lines.append(
            f"{name:<24}{_written(step):<20}{moved:>10} {split:<8}{time:>8.2f}  {step.scope}{_code(step)}".rstrip()
        )
    return lines


def _written(step: Step) -> str:
    return ", ".join([shape_text(t.shape) for t in step.writes]) or "-"


def _code(step: Step) -> str:
    return f" [{' '.join(step.code)}]" if step.code else ""


def shape_text(shape: Sequence[Size]) -> str:
    return "x".join(map(str, shape)) if shape else "1"
