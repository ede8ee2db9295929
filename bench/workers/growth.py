"""How the cost of a step grows with batch, width and depth, with threads left to auto and with one: JSON on stdout.

The same figures answer whether auto is ever slower than one thread; for that there are single matmuls of 1 to 10^7
multiply-adds through ``hf.kernels`` too.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from jobs import Job, data, normal
from machine import Calm
from workers.base import Calls, Case, measure

import hawfinch as hf

ROUNDS = 7
CALM = Calm(0 if "--quick" in sys.argv else 60)


class Epochs(Case):
    """Steps inside fit of an MLP with ReLU and Adam."""

    def __init__(self, sizes: tuple[int, ...], batch: int, threads: int | None):
        self.steps = max(2, min(50, int(2e7 / (batch * sum(sizes)))))
        self.job = Job("growth", "", "fit", sizes, batch=batch, batches=self.steps)
        self.x, self.y = data(self.job)
        layers = [layer for n in sizes[1:-1] for layer in (hf.Linear(n), hf.ReLU())]
        model = hf.Sequential(*layers, hf.Linear(sizes[-1]))
        self.trainer = hf.Trainer(model, loss=hf.SoftmaxCrossEntropy(), optimizer=hf.Adam(), seed=0, threads=threads)

    def run(self, units: int) -> None:
        self.trainer.fit(self.x, self.y, epochs=units, batch_size=self.job.batch)


class Nets(Case):
    """Nets 64-32-10 trained at the same time, 20 epochs of the digits; a step is one of every net."""

    def __init__(self, n: int, threads: int | None):
        self.x, self.y = hf.data.load_digits()
        self.steps, self.threads = 20 * -(-len(self.x) // 32), threads
        self.models = [hf.Sequential(hf.Linear(32), hf.ReLU(), hf.Linear(10)) for _ in range(n)]

    def run(self, units: int) -> None:
        loss, fit_many = hf.SoftmaxCrossEntropy(), getattr(hf, "fit_many")  # noqa: B009
        nets = [(model, dict(loss=loss, optimizer=hf.Adam())) for model in self.models]
        fit_many(nets, self.x, self.y, epochs=20 * units, batch_size=32, threads=self.threads)


def nets(n: int, seconds: float) -> dict[str, Any]:
    work = n * Job("", "", "fit", (64, 32, 10), batch=32).flops / 2
    return point(n, work, functools.partial(Nets, n), seconds, 3)


def matmul(n: int, threads: int | None) -> Case:
    a, b, out = normal(n, n), normal(n, n, seed=4), np.empty((n, n), np.float32)
    return Calls(lambda: hf.kernels.matmul(a, b, out=out, threads=threads))


def point(
    size: int, multiply_adds: float, make: Callable[[int | None], Case], seconds: float, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Medians of times taken in turns, and of the ratios of neighbours: a host that is slow for a while slows both.

    Auto has had its time to choose before: it tries both for some milliseconds.
    """
    cases = {"auto": make(None), "one": make(1)}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        measure(case, max(seconds, 0.04))
    for i in range(rounds):
        for name in sorted(cases, reverse=bool(i % 2)):
            times[name].append(CALM.sample(os.getpid(), functools.partial(measure, cases[name], seconds)))
    times["ratio"] = [auto / one for auto, one in zip(times["auto"], times["one"], strict=True)]
    medians = {name: float(f"{statistics.median(t):.4g}") for name, t in times.items()}
    return {"size": size, "multiply-adds": multiply_adds, **medians}


def mlp(size: int, sizes: tuple[int, ...], batch: int, seconds: float) -> dict[str, Any]:
    work = Job("", "", "fit", sizes, batch=batch).flops / 2
    return point(size, work, functools.partial(Epochs, sizes, batch), seconds)


def curves(quick: bool) -> dict[str, list[dict[str, Any]]]:
    s = 0.005 if quick else 0.03
    few = slice(None, None, 3 if quick else 1)
    many = {"nets": [nets(n, s) for n in (1, 10, 50, 200)[few]]} if hasattr(hf, "fit_many") else {}
    return many | {
        "batch": [mlp(b, (784, 256, 10), b, s) for b in (1, 4, 16, 32, 64, 128, 256, 512, 1024)[few]],
        "width": [mlp(n, (n, n, n, 10), 32, s) for n in (8, 16, 32, 64, 128, 256, 512, 1024, 2048)[few]],
        "depth": [mlp(d, (64,) * d + (10,), 32, s) for d in (1, 2, 4, 8, 16, 32, 64, 128)[few]],
        "matmul": [
            point(n, float(n**3), functools.partial(matmul, n), s)
            for n in (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 215)[few]
        ],
    }


if __name__ == "__main__":
    print(json.dumps(curves("--quick" in sys.argv)))
