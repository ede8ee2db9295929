"""What the recipe costs: a fit with a technique beside the same fit without it, turn by turn, on this machine.

    python bench/recipe.py [--runs 3] [--rounds 9] [--job NAME ...] [--write]

Each job has two sides, A (with) and B (without), that train on the same data; a round times one epoch of each, the
order changing from round to round; the figure is the median over rounds of A / B. A bar is met when it is met in every
run. ``--write`` puts the results, with CPU, commit and date, into bench/results/recipe/DATE.json. Rejected: times of
their own, which the machine's other work moves by a tenth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import HERE, facts

import hawfinch as hf

Side = Callable[[], None]  # trains for an epoch


class Job(NamedTuple):
    """``sides`` makes A and B; ``most``: the largest ratio A / B that meets the bar."""

    title: str
    most: float
    sides: Callable[[], tuple[Side, Side]]


RNG = np.random.default_rng(0)


def rows(n: int, columns: int, classes: int = 10) -> tuple[Any, Any]:
    """Random rows with random labels: nothing to learn, and so no gradient that fades."""
    return RNG.normal(size=(n, columns)).astype(np.float32), RNG.integers(0, classes, n)


def mlp(*widths: int) -> hf.Sequential:
    hidden = [layer for width in widths[:-1] for layer in (hf.Linear(width), hf.ReLU())]
    return hf.Sequential(*hidden, hf.Linear(widths[-1]))


def epochs(model: hf.Module, data: tuple[Any, Any], batch: int, n: int = 1, **options: Any) -> Side:
    """A side that trains this model."""
    trainer = hf.Trainer(model, "softmax_cross_entropy", **({"optimizer": hf.Adam(1e-4), "seed": 0} | options))

    def run() -> None:
        trainer.fit(*data, epochs=n, batch_size=batch)

    return run


def muon(batch: int, precision: str, adamw: str) -> tuple[Side, Side]:
    """Precisions of Muon's step and of AdamW's.

    AdamW's step has 8 products of (batch, 256, 256): 0.27 GFLOP at batch 256, 1.07 at 1024. Newton-Schulz adds, in 5
    rounds for each of 3 matrices, two products of which symmetry leaves half and a whole one, 2 * 2 * 256**3: 1.01
    GFLOP. By products alone that is 4.75 and 1.94 times AdamW's step where both have one precision; what AdamW does
    beside its products lowers the ratio. Both in bf16 can't reach 2.8 and 1.5, which are for AdamW in f32.
    """
    data = rows(max(20 * batch, 4096), 256, 256)
    return (
        epochs(mlp(256, 256, 256), data, batch, optimizer=hf.Muon(1e-4), precision=precision),
        epochs(mlp(256, 256, 256), data, batch, optimizer=hf.AdamW(1e-4), precision=adamw),
    )


def ema(batch: int) -> tuple[Side, Side]:
    data = rows(6400, 784)
    n = 10  # in each fit: it ends, and the next begins, with a digest of the parameters
    return epochs(mlp(256, 10), data, batch, n, average=hf.EMA(0.999)), epochs(mlp(256, 10), data, batch, n)


def watched(batch: int) -> tuple[Side, Side]:
    x, n = rows(6400, 784)[0], 20
    data = x, (x @ RNG.normal(size=(784, 10))).argmax(1)  # something to learn: a net that does not is looked at closely

    def side(*callbacks: Any) -> Side:
        def run() -> None:
            trainer = hf.Trainer(mlp(256, 10), "softmax_cross_entropy", seed=0)
            trainer.fit(*data, epochs=n, batch_size=batch, callbacks=callbacks)

        return run

    return side(hf.Watch()), side()


def frozen(first: bool) -> tuple[Side, Side]:
    data = rows(3200, 256)

    def net() -> hf.Sequential:
        return mlp(*[256] * 9, 10).build((256,))

    model = net()
    linear = [f"{2 * i}.*" for i in range(10)]
    return epochs(model.freeze(*(linear[:9] if first else linear[1:])), data, 128), epochs(net(), data, 128)


def embedding() -> tuple[Side, Side]:
    def side(size: int) -> Side:
        x, y = RNG.integers(0, size, (12800, 1)), RNG.integers(0, 10, 12800)
        model = hf.Sequential(hf.Embedding(size, 32, sparse=True), hf.Flatten(), hf.Linear(10))
        return epochs(model, (x, y), 256)

    return side(1_000_000), side(10_000)


def everything() -> tuple[Side, Side]:
    data, held_out = rows(12800, 784), rows(2560, 784)
    folder = Path(tempfile.mkdtemp())

    def with_all() -> None:
        rate = hf.schedules.Cosine(1e-4, warmup=0.1)
        trainer = hf.Trainer(
            mlp(512, 512, 10),
            "softmax_cross_entropy",
            hf.Adam(rate),
            average=hf.EMA(0.999),
            metrics=["accuracy"],
            seed=0,
        )
        callbacks = [hf.EarlyStopping("val_loss", patience=10), hf.Checkpoint(folder / "run", every=1)]
        trainer.fit(*data, epochs=5, batch_size=128, validation_data=held_out, callbacks=callbacks)

    def plain() -> None:
        trainer = hf.Trainer(mlp(512, 512, 10), "softmax_cross_entropy", hf.Adam(1e-4), metrics=["accuracy"], seed=0)
        trainer.fit(*data, epochs=5, batch_size=128, validation_data=held_out)

    return with_all, plain


JOBS = {
    "muon-256": Job("Muon over AdamW, 3 x 256, batch 256", 4.2, lambda: muon(256, "f32", "f32")),
    "muon-1024": Job("Muon over AdamW, 3 x 256, batch 1024", 2.0, lambda: muon(1024, "f32", "f32")),
    "muon-256-bf16": Job("Muon in bf16 over AdamW in f32, batch 256", 2.8, lambda: muon(256, "bf16", "f32")),
    "muon-1024-bf16": Job("Muon in bf16 over AdamW in f32, batch 1024", 1.5, lambda: muon(1024, "bf16", "f32")),
    "muon-256-both": Job("Muon over AdamW, both in bf16, batch 256", 2.8, lambda: muon(256, "bf16", "bf16")),
    "muon-1024-both": Job("Muon over AdamW, both in bf16, batch 1024", 1.5, lambda: muon(1024, "bf16", "bf16")),
    "ema-128": Job("EMA on over off, 784-256-10, batch 128", 1.03, lambda: ema(128)),
    "ema-32": Job("EMA on over off, 784-256-10, batch 32", 1.08, lambda: ema(32)),
    "watch-32": Job("hf.Watch on over off, 784-256-10, batch 32", 1.02, lambda: watched(32)),
    "watch-128": Job("hf.Watch on over off, 784-256-10, batch 128", 1.02, lambda: watched(128)),
    "freeze-first": Job("the first 9 of 10 layers frozen, over none", 0.48, lambda: frozen(True)),
    "freeze-last": Job("the last 9 of 10 layers frozen, over none", 0.78, lambda: frozen(False)),
    "embedding": Job("Embedding of 10^6 x 32 over 10^4 x 32, batch 256", 1.25, embedding),
    "everything": Job("fit with early stopping, schedule, EMA, checkpoints over plain", 1.05, everything),
}


def ratio(job: Job, rounds: int) -> float:
    sides = job.sides()
    for side in sides:
        side()  # compiles, and touches all memory
    ratios = []
    for i in range(rounds):
        times = [0.0, 0.0]
        for k in (0, 1) if i % 2 else (1, 0):
            begin = time.perf_counter()
            sides[k]()
            times[k] = time.perf_counter() - begin
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--job", action="append", choices=list(JOBS))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in args.job or JOBS}
    for _ in range(args.runs):
        for name, ratios in found.items():
            ratios.append(ratio(JOBS[name], args.rounds))
    for name, ratios in found.items():
        job = JOBS[name]
        met = "met" if max(ratios) <= job.most else "not met" if min(ratios) > job.most else "met in some runs"
        print(f"{job.title:<64} {' '.join(f'{r:.3f}' for r in ratios)}  (at most {job.most}: {met})")
    if args.write:
        told = facts()
        results = {"facts": told, "rounds": args.rounds, "ratios": found, "most": {k: JOBS[k].most for k in found}}
        path = HERE / "results" / "recipe" / f"{str(told['date']).replace(':', '')[:17]}.json"
        path.write_text(json.dumps(results, indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
