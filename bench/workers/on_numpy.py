"""NumPy: the same steps by hand, in place where that saves a pass. OPENBLAS_CORETYPE is set by whoever starts this."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import numpy as np
from jobs import BETA1, BETA2, EPS, MOMENTUM, RATE, Floats, Job, Labels, data, labels, normal, operands, weights
from workers.base import UNIT, Calls, Case, serve

KINDS = ("fit", "step", "predict", "matmul", "norm", "softmax", "adam")  # NumPy has no erf, hence no GELU


def softmax(z: Floats, y: Labels) -> tuple[float, Floats]:
    """Mean cross-entropy and its gradient."""
    rows = np.arange(len(z))
    z = z - z.max(1, keepdims=True)
    p = np.exp(z)
    total = p.sum(1, keepdims=True)
    loss = float((np.log(total[:, 0]) - z[rows, y]).mean())
    p /= total
    p[rows, y] -= 1
    p /= len(z)
    return loss, p


class Adam:
    def __init__(self, params: list[Floats]):
        self.params, self.t = params, 0
        self.m, self.v = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
        self.work = [np.empty_like(p) for p in params]

    def step(self, grads: list[Floats]) -> None:
        self.t += 1
        rate, scale = RATE / (1 - BETA1**self.t), (1 - BETA2**self.t) ** -0.5
        for p, g, m, v, w in zip(self.params, grads, self.m, self.v, self.work, strict=True):
            m *= BETA1
            m += np.multiply(g, 1 - BETA1, out=w)
            v *= BETA2
            v += np.multiply(np.multiply(g, g, out=w), 1 - BETA2, out=w)
            np.sqrt(v, out=w)
            w *= scale
            w += EPS
            np.divide(m, w, out=w)
            w *= rate
            p -= w


class Norm:
    """Batch-norm with its running statistics."""

    def __init__(self, n: int):
        self.gamma, self.beta = np.ones(n, np.float32), np.zeros(n, np.float32)
        self.mean, self.var = np.zeros(n, np.float32), np.ones(n, np.float32)

    def forward(self, x: Floats) -> Floats:
        mean, var = x.mean(0), x.var(0)
        self.mean += MOMENTUM * (mean - self.mean)
        self.var += MOMENTUM * (var - self.var)
        self.scale = 1 / np.sqrt(var + np.float32(1e-5))
        self.seen = (x - mean) * self.scale
        return self.seen * self.gamma + self.beta

    def backward(self, dy: Floats) -> tuple[Floats, list[Floats]]:
        dgamma, dbeta = (dy * self.seen).sum(0), dy.sum(0)
        dx = (dy - dbeta / len(dy) - self.seen * (dgamma / len(dy))) * (self.gamma * self.scale)
        return dx, [dgamma, dbeta]


class Fit(Case):
    def __init__(self, job: Job, mode: str, dropout: float):
        self.job, self.mode, self.steps, self.dropout = job, mode, min(job.batches, UNIT), dropout
        self.x, self.y = data(job)
        self.layers = weights(job)
        self.norms = [Norm(n) for n in job.sizes[1:-1]] if job.norm else []
        params = [p for pair in self.layers for p in pair] + [p for n in self.norms for p in (n.gamma, n.beta)]
        self.adam, self.rng = Adam(params), np.random.default_rng(0)
        self.batches = self.shuffled(len(self.x), job.batch)

    def shuffled(self, rows: int, batch: int) -> Iterator[Labels]:
        """Rows of the next batch, for epoch after epoch."""
        while True:
            order = self.rng.permutation(rows)
            yield from (order[i : i + batch] for i in range(0, rows, batch))

    def step(self, x: Floats, y: Labels) -> float:
        inputs, masks = [], []
        for i, (w, b) in enumerate(self.layers):
            inputs.append(x)
            x = x @ w
            x += b
            if i < len(self.layers) - 1:
                if self.norms:
                    x = self.norms[i].forward(x)
                mask = x > 0
                x = np.maximum(x, 0)
                if self.dropout:
                    mask &= self.rng.random(x.shape, dtype=np.float32) >= self.dropout
                    x *= mask
                    x /= 1 - self.dropout
                masks.append(mask)
        loss, d = softmax(x, y)
        grads: list[Floats] = []
        extra: list[Floats] = []
        for i in reversed(range(len(self.layers))):
            grads[:0] = [inputs[i].T @ d, d.sum(0)]
            if i:
                d = d @ self.layers[i][0].T
                d *= masks[i - 1]
                if self.dropout:
                    d /= 1 - self.dropout
                if self.norms:
                    d, pair = self.norms[i - 1].backward(d)
                    extra[:0] = pair
        self.adam.step(grads + extra)
        return loss

    def run(self, units: int) -> None:
        if self.job.kind == "step":
            for _ in range(units):
                self.last = self.step(self.x, self.y)
            return
        for rows in itertools.islice(self.batches, units * self.steps):
            self.last = self.step(self.x[rows], self.y[rows])

    def first_losses(self) -> list[float]:
        fresh, b = Fit(self.job, self.mode, 0.0), self.job.batch
        batches = itertools.cycle((fresh.x[i : i + b], fresh.y[i : i + b]) for i in range(0, len(fresh.x), b))
        return [fresh.step(x, y) for x, y in itertools.islice(batches, 3)]

    def loss(self) -> float:
        return self.last


def norm_relu(job: Job) -> Case:
    x, dy, norm = normal(*job.sizes), normal(*job.sizes, seed=4), Norm(job.sizes[1])

    def call() -> object:
        y = norm.forward(x)
        return np.maximum(y, 0), norm.backward(dy * (y > 0))

    return Calls(call)


def predict(job: Job) -> Case:
    x, layers = data(job)[0], weights(job)

    def call() -> Floats:
        h = x
        for w, b in layers[:-1]:
            h = np.maximum(h @ w + b, 0)
        return h @ layers[-1][0] + layers[-1][1]

    return Calls(call)


def build(job: Job, mode: str) -> Case:
    if job.kind in ("fit", "step"):
        return Fit(job, mode, job.dropout)
    if job.kind == "predict":
        return predict(job)
    if job.kind == "norm":
        return norm_relu(job)
    if job.kind == "softmax":
        z, t = normal(*job.sizes), labels(*job.sizes)
        return Calls(lambda: softmax(z, t))
    if job.kind == "adam":
        adam, grads = Adam([normal(*job.sizes)]), [normal(*job.sizes, seed=4)]
        return Calls(lambda: adam.step(grads))
    x, w = operands(job)
    x, w = x.T if job.transposed == "x" else x, w.T if job.transposed == "w" else w
    out = np.empty((len(x), w.shape[1]), np.float32)
    return Calls(lambda: np.matmul(x, w, out=out))


if __name__ == "__main__":
    serve(
        {"numpy": np.__version__},
        lambda job: [""] if job.kind in KINDS else [],
        build,
        threads=int(os.environ["OMP_NUM_THREADS"]),
    )
