"""What a step loses to others: percentiles of calls of a few updates each, alone, after an idle time, and beside
processes that keep one or all of the CPUs busy; on one thread, on two whatever it costs, and left to auto.

    python bench/neighbours.py [--seconds 2] [--only TEXT] [--job sweep-adam-80000]
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jobs import BY_NAME
from pool import pin
from workers.on_hawfinch import InPlan, sweep

STEPS = 20  # of a call
CASES = (
    "alone",
    "idle 5 ms before each call",
    "1 busy neighbour",
    "2 busy neighbours",
    "a neighbour busy every other 2 ms",
)


def spin(on: float, off: float) -> None:
    while True:
        until = time.perf_counter() + on
        while time.perf_counter() < until:
            pass
        if off:
            time.sleep(off)


@contextmanager
def neighbours(case: str) -> Iterator[None]:
    n = 2 if "2 busy" in case else 1 if "neighbour" in case else 0
    on, off = (0.002, 0.002) if "every other" in case else (1.0, 0.0)
    others = [mp.get_context("spawn").Process(target=spin, args=(on, off), daemon=True) for _ in range(n)]
    for other in others:
        other.start()
    time.sleep(0.5 if n else 0)
    try:
        yield
    finally:
        for other in others:
            other.terminate()


def calls_of(case: InPlan, threads: int | None) -> Callable[[], None]:
    plan = case.plan
    team = plan.team(threads, 1, STEPS)
    core, arrays, only, scalars = plan.core, case.arrays, case.only, case.scalars

    def call() -> None:
        core.run(arrays, n_steps=STEPS, rows=STEPS, scalars=scalars, threads=team, only_record=only)

    return call


def times(call: Callable[[], None], idle: float, seconds: float) -> np.ndarray[Any, Any]:
    taken, clock, end = [], time.perf_counter, time.perf_counter() + seconds
    while clock() < end:
        if idle:
            time.sleep(idle)
        start = clock()
        call()
        taken.append(clock() - start)
    return np.array(taken) / STEPS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--job", default="sweep-adagrad-80000")
    args = parser.parse_args()
    pin()
    os.environ["OMP_NUM_THREADS"] = "2"
    print(f"us a step, calls of {STEPS} steps of {args.job}")
    print(f"{'':34} {'threads':>8} {'calls':>7} {'mean':>8} {'p50':>8} {'p90':>8} {'p99':>8} {'worst':>8}")
    for case in CASES:
        if args.only not in case:
            continue
        with neighbours(case):
            for threads in (1, 2, None):
                call = calls_of(sweep(BY_NAME[args.job]), threads)
                for _ in range(20):
                    call()
                t = times(call, 0.005 if "idle" in case else 0, args.seconds)
                p = np.percentile(t, [50, 90, 99, 100])
                print(
                    f"{case:34} {threads or 'auto':>8} {len(t):7} {t.mean():8.1f} " + " ".join(f"{x:8.1f}" for x in p),
                    flush=True,
                )


if __name__ == "__main__":
    main()
