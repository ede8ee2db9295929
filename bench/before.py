"""This hawfinch against an earlier one, side by side: has a change made anything slower that a user sees?

    python bench/before.py CHECKOUT [--python PYTHON] [--runs 3] [--rounds 7] [--seconds 0.2] [--job NAME ...]

CHECKOUT: a clone at the earlier commit, whose hawfinch PYTHON has (default: CHECKOUT/.venv/bin/python). Both sides run
the jobs of training and prediction with the workers of their own checkout, turn by turn on the same cores; the ratio
is before / now, the median over rounds of neighbouring samples. Fails where a job's ratio is below 0.97 in every run.
Rejected: comparing with a committed result (the machine's speed changes by a tenth from hour to hour).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from jobs import JOBS, PREDICTING, TRAINING, Job
from machine import HERE
from pool import Worker

FLOOR = 0.97
NAMES = [job.name for job in JOBS if job.group in (TRAINING, PREDICTING)]


def ratio(job: Job, before: Worker, now: Worker, rounds: int, seconds: float) -> float:
    """Time before over time now."""
    for worker in (before, now):
        answer = worker.ask(do="prepare", job=job.name, mode="", seconds=seconds)
        if "error" in answer:
            raise SystemExit(f"{job.name}: {answer['error']}")
    ratios = []
    for i in range(rounds):
        times = {}
        for worker in (before, now) if i % 2 else (now, before):
            times[worker] = worker.ask(do="run", mode="", seconds=seconds)["seconds"]
        ratios.append(times[before] / times[now])
    for worker in (before, now):
        worker.ask(do="drop")
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", type=Path, help="the Python that has the earlier hawfinch")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--job", action="append", choices=NAMES)
    args = parser.parse_args()
    earlier = str((args.python or args.checkout / ".venv/bin/python").absolute())
    found: dict[str, list[float]] = {}
    for _ in range(args.runs):
        before = Worker("hawfinch", earlier, python=earlier, home=args.checkout.absolute() / "bench")
        now = Worker("hawfinch", sys.executable, home=HERE)
        for worker, name in ((before, "before"), (now, "now")):
            if worker.error:
                raise SystemExit(f"{name}: {worker.error}")
        for job in JOBS:
            if job.name in (args.job or NAMES):
                found.setdefault(job.name, []).append(ratio(job, before, now, args.rounds, args.seconds))
        before.close()
        now.close()
    for name, ratios in found.items():
        print(f"{name:<12}", " ".join(f"{r:.3f}" for r in ratios), " of the speed before")
    slower = [name for name, ratios in found.items() if max(ratios) < FLOOR]
    if slower:
        raise SystemExit(f"slower than before in every run: {', '.join(slower)}")


if __name__ == "__main__":
    main()
