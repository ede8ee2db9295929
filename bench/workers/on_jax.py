"""JAX: one jitted step per call, and a whole epoch in one lax.scan, both with donated state."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jobs import BETA1, BETA2, EPS, MOMENTUM, RATE, ROW_NORMS, Job, data, labels, normal, operands, targets, weights
from machine import cpus
from workers.base import Calls, Case, serve

Tree = Any
UNROLL = {"scan": 1, "scan unroll 4": 4}


def start(job: Job) -> Tree:
    """Parameters, Adam's two moments, its step count and the running statistics."""
    layers: list[dict[str, Any]] = [{"w": jnp.array(w), "b": jnp.array(b)} for w, b in weights(job)]
    running = []
    if job.norm:
        for layer, n in zip(layers, job.sizes[1:-1], strict=False):
            layer.update(gamma=jnp.ones(n), beta=jnp.zeros(n))
            running.append({"mean": jnp.zeros(n), "var": jnp.ones(n)})
    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    return {
        "p": layers,
        "m": zeros(layers),
        "v": zeros(layers),
        "t": jnp.zeros((), jnp.int32),
        "running": running,
        "key": jax.random.key(0, impl="rbg"),
    }


def forward(layers: Tree, x: jax.Array, dropout: float, key: jax.Array) -> tuple[jax.Array, list[Tree]]:
    seen = []
    for i, layer in enumerate(layers):
        x = x @ layer["w"] + layer["b"]
        if "gamma" in layer:
            mean, var = x.mean(0), x.var(0)
            x = (x - mean) * (layer["gamma"] * lax.rsqrt(var + 1e-5)) + layer["beta"]
            seen.append({"mean": mean, "var": var})
        if i < len(layers) - 1:
            x = jnp.maximum(x, 0)
            if dropout:
                keep = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - dropout, x.shape)
                x = jnp.where(keep, x / (1 - dropout), 0)
    return x, seen


def cross_entropy(z: jax.Array, y: jax.Array) -> jax.Array:
    return (jax.nn.logsumexp(z, 1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0]).mean()


def adam(p: Tree, g: Tree, m: Tree, v: Tree, t: jax.Array) -> tuple[Tree, Tree, Tree]:
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
    rate, scale = RATE / (1 - BETA1**t), lax.rsqrt(1 - BETA2**t)
    return jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + EPS), p, m, v), m, v


def update(s: Tree, x: jax.Array, y: jax.Array, dropout: float) -> tuple[Tree, jax.Array]:
    key = jax.random.fold_in(s["key"], s["t"]) if dropout else s["key"]

    def loss(p: Tree) -> tuple[jax.Array, Tree]:
        z, seen = forward(p, x, dropout, key)
        return cross_entropy(z, y), seen

    (value, seen), g = jax.value_and_grad(loss, has_aux=True)(s["p"])
    t = s["t"] + 1
    p, m, v = adam(s["p"], g, s["m"], s["v"], t)
    running = jax.tree.map(lambda old, new: old + MOMENTUM * (new - old), s["running"], seen)
    return {"p": p, "m": m, "v": v, "t": t, "running": running, "key": s["key"]}, value


class Fit(Case):
    def __init__(self, job: Job, mode: str, dropout: float):
        self.job, self.mode, self.steps, self.dropout = job, mode, job.batches, dropout
        x, y = data(job)
        self.x, self.y = jnp.array(x), jnp.array(y, jnp.int32)
        self.state, self.rng = start(job), np.random.default_rng(0)

        def one(s: Tree, x: jax.Array, y: jax.Array) -> tuple[Tree, jax.Array]:
            return update(s, x, y, dropout)

        def gathered(s: Tree, x: jax.Array, y: jax.Array, order: jax.Array) -> tuple[Tree, jax.Array]:
            rows = lax.dynamic_slice(order, (s["t"] % job.batches * job.batch,), (job.batch,))
            return update(s, x[rows], y[rows], dropout)

        def epoch(s: Tree, x: jax.Array, y: jax.Array, order: jax.Array) -> tuple[Tree, jax.Array]:
            return lax.scan(lambda s, rows: update(s, x[rows], y[rows], dropout), s, order, unroll=UNROLL[mode])

        self.one, self.gathered = jax.jit(one, donate_argnums=0), jax.jit(gathered, donate_argnums=0)
        self.epoch = jax.jit(epoch, donate_argnums=0)

    def run(self, units: int) -> None:
        b = self.job.batch
        for _ in range(units):
            if self.job.kind == "step":
                self.state, loss = self.one(self.state, self.x, self.y)
                self.last = float(loss)
                continue
            order = self.rng.permutation(len(self.x)).astype(np.int32)
            if self.mode == "jit":
                rows = jnp.array(order)
                for _ in range(self.steps):
                    self.state, loss = self.gathered(self.state, self.x, self.y, rows)
                self.last = float(loss)
            else:
                self.state, losses = self.epoch(self.state, self.x, self.y, order.reshape(-1, b))
                self.last = float(losses[-1])

    def first_losses(self) -> list[float]:
        fresh, b = Fit(self.job, self.mode, 0.0), self.job.batch
        batches = itertools.cycle((fresh.x[i : i + b], fresh.y[i : i + b]) for i in range(0, len(fresh.x), b))
        found = []
        for x, y in itertools.islice(batches, 3):
            fresh.state, loss = fresh.one(fresh.state, x, y)
            found.append(float(loss))
        return found

    def loss(self) -> float:
        return self.last


def calls(fn: Any, *args: Any) -> Case:
    arrays, jitted = [jnp.array(a) for a in args], jax.jit(fn)
    return Calls(lambda: jax.block_until_ready(jitted(*arrays)))


class Sweep(Case):
    """Adam alone, on one flat array."""

    def __init__(self, job: Job):
        self.g, zero = jnp.array(normal(*job.sizes, seed=4)), functools.partial(jnp.zeros, job.sizes)
        self.state = jnp.array(normal(*job.sizes)), zero(), zero(), jnp.zeros((), jnp.int32)

        def step(state: Tree, g: jax.Array) -> Tree:
            p, m, v, t = state
            return *adam(p, g, m, v, t + 1), t + 1

        self.step = jax.jit(step, donate_argnums=0)

    def run(self, units: int) -> None:
        for _ in range(units):
            self.state = jax.block_until_ready(self.step(self.state, self.g))


def predict(job: Job) -> Case:
    layers = start(job)["p"]
    return calls(lambda x: forward(layers, x, 0.0, jax.random.key(0))[0], data(job)[0])


def norm(job: Job) -> Case:
    def fn(x: jax.Array, gamma: jax.Array, beta: jax.Array, dy: jax.Array) -> Tree:
        def forward(x: jax.Array, gamma: jax.Array, beta: jax.Array) -> jax.Array:
            return jnp.maximum((x - x.mean(0)) * (gamma * lax.rsqrt(x.var(0) + 1e-5)) + beta, 0)

        y, back = jax.vjp(forward, x, gamma, beta)
        return y, back(dy)

    n = job.sizes[1]
    return calls(fn, normal(*job.sizes), np.ones(n, np.float32), np.zeros(n, np.float32), normal(*job.sizes, seed=4))


def loss(job: Job, z: jax.Array, t: jax.Array) -> jax.Array:
    d, soft = z - t, jax.nn.softplus
    a = jnp.abs(d)
    known = {
        "mse": lambda: d * d,
        "mae": lambda: a,
        "huber": lambda: jnp.where(a <= 1, 0.5 * d * d, a - 0.5),
        "log_cosh": lambda: soft(2 * d) - d - np.log(2),
        "quantile": lambda: 0.5 * a,
        "poisson": lambda: jnp.exp(z) - t * z,
        "bce_with_logits": lambda: soft(z) - z * t,
        "focal": lambda: soft(z * (1 - 2 * t)) * jax.nn.sigmoid(z * (1 - 2 * t)) ** 2,
        "hinge": lambda: jnp.maximum(0, 1 - (2 * t - 1) * z),
    }
    return known[job.name.removeprefix("loss-")]()


def build(job: Job, mode: str) -> Case:
    if job.kind in ("fit", "step"):
        return Fit(job, mode, job.dropout)
    if job.kind == "softmax":
        return calls(jax.value_and_grad(cross_entropy), normal(*job.sizes), labels(*job.sizes).astype(np.int32))
    if job.kind == "matmul":
        order = {"x": lambda x, w: x.T @ w, "w": lambda x, w: x @ w.T}.get(job.transposed, jnp.matmul)
        return calls(order, *operands(job))
    if job.kind == "bf16":
        return calls(jnp.matmul, *(jnp.array(a, jnp.bfloat16) for a in operands(job)))
    if job.kind == "adam":
        return Sweep(job)
    if job.kind == "loss":
        return calls(jax.value_and_grad(lambda z, t: loss(job, z, t).mean()), normal(*job.sizes), targets(job))
    if job.kind == "gelu":
        return calls(functools.partial(jax.nn.gelu, approximate=False), normal(*job.sizes))
    return {"predict": predict, "norm": norm}[job.kind](job)


def modes(job: Job) -> list[str]:
    if job.kind in ROW_NORMS:
        return []
    return ["jit", *UNROLL] if job.kind == "fit" else ["jit"]


if __name__ == "__main__":
    serve({"jax": jax.__version__}, modes, build, threads=len(cpus()))
