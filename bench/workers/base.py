"""The worker's side of the pipe: a loop that prepares cases and times them on command."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from jobs import BY_NAME, Job

UNIT = 10  # steps of a unit, where the steps are called one by one


class Case:
    """One job in one mode. ``run`` does whole units of ``steps`` steps: an epoch, some steps, or one call."""

    steps = 1

    def run(self, units: int) -> None:
        raise NotImplementedError

    def first_losses(self) -> list[float]:
        """Of three steps on the first three batches, from ``jobs.weights`` and without dropout; [] if it cannot be
        set up."""
        return []

    def loss(self) -> float | None:
        """The last loss, of cases that train."""
        return None


class Calls(Case):
    """A function called over and over; it must give its result before it returns."""

    def __init__(self, call: Callable[[], object]):
        self.call = call

    def run(self, units: int) -> None:
        call = self.call
        for _ in range(units):
            call()


def measure(case: Case, seconds: float) -> float:
    """Seconds per step over about ``seconds``."""
    units = 1
    while True:
        start = time.perf_counter()
        case.run(units)
        spent = time.perf_counter() - start
        if spent >= 0.5 * seconds:
            return spent / units / case.steps
        units = max(2 * units, int(units * 0.9 * seconds / max(spent, 1e-9)))


def serve(
    versions: dict[str, str], modes: Callable[[Job], list[str]], build: Callable[[Job, str], Case], **facts: object
) -> None:
    """Answer each line of stdin with a line on stdout. Whatever libraries print goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer) + "\n")
        out.flush()

    say({"versions": versions, "modes": {job.name: modes(job) for job in BY_NAME.values()}, **facts})
    cases: dict[str, Case] = {}
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            if ask["do"] == "prepare":
                case = cases[ask["mode"]] = build(BY_NAME[ask["job"]], ask["mode"])
                losses = case.first_losses()
                measure(case, ask["seconds"])
                say({"losses": losses})
            elif ask["do"] == "run":
                say({"seconds": measure(cases[ask["mode"]], ask["seconds"])})
            else:
                ends = {mode: case.loss() for mode, case in cases.items()}
                cases.clear()
                gc.collect()
                say({"ends": ends})
        except Exception as error:
            say({"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[:300]})
