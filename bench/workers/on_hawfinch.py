"""hawfinch, as a user calls it. Threads are left to its cost model, which OMP_NUM_THREADS limits to two."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
from jobs import (
    BETA1,
    BETA2,
    EPS,
    LARGE,
    MOMENTUM,
    RATE,
    ROW_NORMS,
    SWEEPS,
    Job,
    data,
    labels,
    normal,
    operands,
    targets,
    weights,
)
from workers.bare import Bare
from workers.base import Calls, Case, serve

import hawfinch as hf
from hawfinch.ir import Tensor

CHAIN = 64


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
    x, dy, n = normal(*job.sizes), normal(*job.sizes, seed=4), job.sizes[1]
    gamma, beta = np.ones(n, np.float32), np.zeros(n, np.float32)
    out = hf.kernels.batch_norm_grad(dy, x, gamma, beta, relu=True)
    return Calls(lambda: hf.kernels.batch_norm_grad(dy, x, gamma, beta, relu=True, out=out))


def row_norm(job: Job) -> Case:
    x, dy, n = normal(*job.sizes), normal(*job.sizes, seed=4), job.sizes[-1]
    gamma, beta = np.ones(n, np.float32), np.zeros(n, np.float32)
    function = {
        "layer_norm": hf.ops.layer_norm,
        "rms_norm": lambda x, gamma, beta: hf.ops.rms_norm(x, gamma),
        "group_norm": lambda x, gamma, beta: hf.ops.group_norm(x, 8, gamma, beta),
    }[job.kind]

    def both(dy: Tensor, x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, ...]:
        grad = hf.grad(lambda x, gamma, beta: hf.ops.sum(function(x, gamma, beta) * dy), argnums=(0, 1, 2))
        return function(x, gamma, beta), *grad(x, gamma, beta)

    call = hf.compile(both)
    out = call(dy, x, gamma, beta)
    return Calls(lambda: call(dy, x, gamma, beta, out=out))


def product(job: Job) -> Callable[..., Tensor]:
    """x @ w, through the transposes that training uses."""
    turn = hf.ops.transpose
    if job.transposed:
        return (lambda x, w: turn(x) @ w) if job.transposed == "x" else (lambda x, w: x @ turn(w))
    return lambda x, w: x @ w


class InPlan(Case):
    """One plan, run many times in one call into C: what the kernel costs without the call from Python."""

    def __init__(self, plan: Any, arrays: tuple[Any, ...], per_run: int = 1, only: int = -1, scalars: Any = None):
        self.plan, self.arrays, self.per_run, self.only, self.scalars = plan, arrays, per_run, only, scalars

    def run(self, units: int) -> None:
        team = self.plan.team(None, 1, units)
        self.plan.core.run(
            self.arrays, n_steps=units, rows=units, scalars=self.scalars, threads=team, only_record=self.only
        )

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.per_run


def matmul_in_plan(job: Job) -> Case:
    """Tiny squares: x w w ... w, CHAIN products in a plan, so that a step of the executor costs next to nothing."""
    x, w = operands(job)
    if job.threads > 1:
        plan = hf.compile(product(job)).plan(x, w)
        return InPlan(plan, (x, w, np.empty((job.sizes[0], job.sizes[2]), np.float32)))
    w = np.linalg.qr(w)[0]  # keeps the numbers as large as they are

    def chain(x: Tensor, w: Tensor) -> Tensor:
        return functools.reduce(lambda y, _: y @ w, range(CHAIN), x)

    return InPlan(hf.compile(chain).plan(x, w), (x, w, np.empty_like(x)), CHAIN)


def adam(job: Job) -> Case:
    """The plan of a linear layer's training step, of which only the sweep is run, over random gradients."""
    model = hf.Sequential(hf.Linear(1000))
    trainer = hf.Trainer(model, loss=hf.MSE(), optimizer=hf.Adam(lr=RATE, betas=(BETA1, BETA2), eps=EPS), seed=0)
    plan = trainer.plan(np.zeros((1, job.sizes[0] // 1000 - 1), np.float32), np.zeros((1, 1000), np.float32))
    assert trainer.gradient is not None
    trainer.gradient[:] = normal(len(trainer.gradient), seed=4)
    store, only = model.store(), next(i for i, step in enumerate(plan.steps) if step.op == "sweep")
    arrays = (store.params, store.buffers, trainer.gradient, *trainer.slots.values())
    return InPlan(plan, arrays, only=only, scalars=trainer.scalars(1))


class Free(hf.Module):
    """n parameters that no product gives the gradient of."""

    def __init__(self, n: int):
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        return hf.ops.sum(self.param("p", (self.n,), "ones") * x[:, :1], 1, keepdims=True)


class Records(Case):
    """Some records of a plan, one call each, where the update is several of them."""

    def __init__(self, cases: list[InPlan]):
        self.cases = cases

    def run(self, units: int) -> None:
        for _ in range(units):
            for case in self.cases:
                case.run(1)


def sweep(job: Job) -> Case:
    """The update of a plan alone, over random gradients and parameters."""
    how = SWEEPS[job.optimizer]
    trainer = hf.Trainer(Free(job.sizes[0]), hf.MSE(), getattr(hf, how.maker)(RATE, **how.options), seed=0)
    one = np.ones((1, 1), np.float32)
    plan = trainer.plan(one, one)
    assert trainer.gradient is not None
    trainer.gradient[:] = normal(len(trainer.gradient), seed=4)
    store = trainer.model.store()
    store.params[:] = normal(len(store.params))
    arrays = (store.params, store.buffers, trainer.gradient, *trainer.slots.values())
    update = [i for i, step in enumerate(plan.steps) if step.op in ("sweep", "run_sums")]
    cases = [InPlan(plan, arrays, only=i, scalars=trainer.scalars(1)) for i in update]
    return cases[0] if len(cases) == 1 else Records(cases)


def matmul(job: Job) -> Case:
    x, w = operands(job)
    out = np.empty((job.sizes[0], job.sizes[2]), np.float32)
    call: Callable[..., object] = hf.compile(product(job)) if job.transposed else hf.kernels.matmul
    if job.kind == "bf16":
        call = functools.partial(call, precision="bf16")
    return Calls(lambda: call(x, w, out=out))


def build(job: Job, mode: str) -> Case:
    if mode == "bare":
        return Bare(job, Fit(job, 0.0).trainer)
    if mode == "in a plan":
        return matmul_in_plan(job)
    if job.kind in ("fit", "step"):
        return Fit(job, job.dropout)
    if job.kind == "predict":
        model, x = net(job, 0.0), data(job)[0]
        return Calls(lambda: model.predict(x))
    if job.kind == "softmax":
        z, t = normal(*job.sizes), labels(*job.sizes)
        grad = hf.value_and_grad(lambda z, t: hf.ops.mean(hf.ops.softmax_cross_entropy(z, t)))
        return Calls(lambda: grad(z, t))
    if job.kind == "loss":
        loss = hf.losses.get_loss(job.name.removeprefix("loss-"))
        z, t = normal(*job.sizes), targets(job)
        out = np.empty((), np.float32), np.empty_like(z)  # a page that is written first is mapped first
        both = hf.compile(lambda z, t: hf.value_and_grad(lambda z: hf.ops.mean(loss(z, t)))(z))
        return Calls(lambda: both(z, t, out=out))
    if job.kind == "gelu":
        x, y = normal(*job.sizes), np.empty(job.sizes, np.float32)
        gelu = hf.compile(hf.ops.gelu)
        return Calls(lambda: gelu(x, out=y))
    if job.kind in ROW_NORMS:
        return row_norm(job)
    return {"norm": norm, "adam": adam, "sweep": sweep, "matmul": matmul, "bf16": matmul}[job.kind](job)


def modes(job: Job) -> list[str]:
    if job.name == "mlp-64":
        return ["", "bare"]
    return ["", "in a plan"] if job.kind == "matmul" and job.group != LARGE else [""]


if __name__ == "__main__":
    serve(
        {"hawfinch": version("hawfinch"), "numpy": np.__version__},
        modes,
        build,
        threads=int(os.environ["OMP_NUM_THREADS"]),
        config=hf.show_config(),
    )
