"""hawfinch, as a user calls it. Threads are left to its cost model, which OMP_NUM_THREADS limits to two."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from jobs import BETA1, BETA2, EPS, MOMENTUM, RATE, Job, data, labels, normal, weights
from workers.base import Calls, Case, serve

import hawfinch as hf
from hawfinch.graph import Tensor


def net(job: Job, dropout: float) -> hf.Sequential:
    layers: list[hf.Module] = []
    for i, n in enumerate(job.sizes[1:]):
        layers.append(hf.Linear(n))
        if i < len(job.sizes) - 2:
            if job.norm:
                layers.append(hf.BatchNorm(momentum=MOMENTUM))
            layers.append(hf.ReLU())
            if dropout:
                layers.append(hf.Dropout(dropout))
    model = hf.Sequential(*layers)
    model.build((job.sizes[0],))
    params = model.parameters()
    linear = [name for name, value in params.items() if name.endswith("weight") and value.ndim == 2]
    for name, (w, b) in zip(linear, weights(job), strict=True):
        params[name][...] = w
        params[name.replace("weight", "bias")][...] = b
    return model


class Fit(Case):
    def __init__(self, job: Job, dropout: float):
        self.job, self.steps = job, job.batches
        self.x, self.y = data(job)
        # single steps go over as many batches as an epoch of fit: on one batch alone the net converges, and subnormal
        # numbers slow it down
        x, y = data(replace(job, batches=100)) if job.kind == "step" else (self.x, self.y)
        rows = range(0, len(x), job.batch)
        self.batches = itertools.cycle([(x[i : i + job.batch], y[i : i + job.batch]) for i in rows])
        adam = hf.Adam(lr=RATE, betas=(BETA1, BETA2), eps=EPS)
        self.trainer = hf.Trainer(net(job, dropout), loss=hf.SoftmaxCrossEntropy(), optimizer=adam, seed=0)

    def run(self, units: int) -> None:
        if self.job.kind == "step":
            for _, (x, y) in zip(range(units), self.batches, strict=False):
                self.last = self.trainer.step(x, y)
        else:
            history = self.trainer.fit(self.x, self.y, epochs=units, batch_size=self.job.batch)
            self.last = history["loss"][-1]

    def first_losses(self) -> list[float]:
        fresh, b = Fit(self.job, 0.0), self.job.batch
        batches = itertools.cycle((fresh.x[i : i + b], fresh.y[i : i + b]) for i in range(0, len(fresh.x), b))
        return [fresh.trainer.step(x, y) for x, y in itertools.islice(batches, 3)]

    def loss(self) -> float:
        return self.last


def norm(job: Job) -> Case:
    def fn(x: Tensor, gamma: Tensor, beta: Tensor, dy: Tensor) -> Tensor:
        return hf.ops.sum(hf.ops.relu(hf.ops.batch_norm(x, gamma, beta)[0]) * dy)

    n = job.sizes[1]
    args = normal(*job.sizes), np.ones(n, np.float32), np.zeros(n, np.float32), normal(*job.sizes, seed=4)
    call = hf.value_and_grad(fn, (0, 1, 2))
    return Calls(lambda: call(*args))


def build(job: Job, mode: str) -> Case:
    if job.kind in ("fit", "step"):
        return Fit(job, job.dropout)
    if job.kind == "predict":
        model, x = net(job, 0.0), data(job)[0]
        return Calls(lambda: model.predict(x))
    if job.kind == "norm":
        return norm(job)
    if job.kind == "softmax":
        z, t = normal(*job.sizes), labels(*job.sizes)
        grad = hf.value_and_grad(lambda z, t: hf.ops.mean(hf.ops.softmax_cross_entropy(z, t)))
        return Calls(lambda: grad(z, t))
    if job.kind == "gelu":
        x, y = normal(*job.sizes), np.empty(job.sizes, np.float32)
        gelu = hf.compile(hf.ops.gelu)
        return Calls(lambda: gelu(x, out=y))
    n = job.sizes[0]
    a, b, out = normal(n, n), normal(n, n, seed=4), np.empty((n, n), np.float32)
    matmul = hf.compile(lambda a, b: a @ b)
    return Calls(lambda: matmul(a, b, out=out))


if __name__ == "__main__":
    serve({"hawfinch": version("hawfinch"), "numpy": np.__version__}, lambda job: [""], build,
          threads=int(os.environ["OMP_NUM_THREADS"]), config=hf.show_config())  # fmt: skip
