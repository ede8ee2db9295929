"""What is measured: the table of jobs, with the bars that hawfinch set itself, and the data that every job runs on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bar:
    """A promise. against: "s" (at most value seconds), "MB", "%" (at least value % of the machine's limit), or the
    start of peer names ("jax scan", "torch"): at least value times as fast as the fastest of them."""

    value: float
    against: str


@dataclass(frozen=True)
class Job:
    """sizes: widths of the layers, or the shape that the kernel works on. B rows a batch, ``batches`` batches an
    epoch."""

    name: str
    title: str
    kind: str
    sizes: tuple[int, ...]
    batch: int = 0
    batches: int = 0
    norm: bool = False
    dropout: float = 0.0
    bars: tuple[Bar, ...] = ()

    @property
    def flops(self) -> float:
        """Of the matmuls of one step: forward, weight gradient, and input gradient but for the first layer."""
        if self.kind == "matmul":
            return 2.0 * self.sizes[0] ** 3
        if self.kind not in ("fit", "step"):
            return 0.0
        products = [2.0 * self.batch * a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return 3 * sum(products) - products[0]

    @property
    def bytes(self) -> float:
        """Read and written once by a kernel that only streams."""
        return 8.0 * self.sizes[0] if self.kind == "gelu" else 0.0


def fit(name: str, sizes: tuple[int, ...], batch: int, batches: int, *bars: Bar, dropout: float = 0.0) -> Job:
    """With dropout, each hidden layer has batch-norm too."""
    extras = f", batch-norm and dropout {dropout:g}" if dropout else ""
    title = f"MLP {'-'.join(map(str, sizes))}{extras}, batch {batch}: a step inside fit"
    return Job(name, title, "fit", sizes, batch, batches, bool(dropout), dropout, bars)


def matmul(n: int, *bars: Bar) -> Job:
    return Job(f"matmul-{n}", f"matmul {n}×{n}×{n}", "matmul", (n,), bars=bars)


SMALL = (64, 32, 10)
JOBS = [
    fit("mlp-64", SMALL, 32, 200, Bar(30, "torch eager"), Bar(2.5, "jax scan"), Bar(5e-6, "s")),
    fit("mlp-784", (784, 256, 10), 32, 200, Bar(1.3, "jax scan"), Bar(3, "torch eager")),
    fit("mlp-norm", (784, 256, 128, 10), 128, 50, Bar(3, "torch"), dropout=0.2),
    fit("mlp-1024", (784, 1024, 1024, 10), 256, 20, Bar(1.15, "jax scan"), Bar(2, "torch eager")),
    Job("step-64", "MLP 64-32-10, batch 32: one step, from Python", "step", SMALL, 32, 1),
    Job(
        "predict-64",
        "MLP 64-32-10: predict one row, from Python",
        "predict",
        SMALL,
        1,
        1,
        bars=(Bar(2e-6, "s"),),
    ),
    matmul(256),
    matmul(512),
    matmul(1024, Bar(85, "%")),
    matmul(2048),
    Job("norm-relu", "batch-norm + ReLU 128×256, forward and backward", "norm", (128, 256)),
    Job("softmax-10", "softmax cross-entropy 128×10, forward and backward", "softmax", (128, 10)),
    Job("softmax-1000", "softmax cross-entropy 128×1000, forward and backward", "softmax", (128, 1000)),
    Job("adam", "Linear 1000-100, batch 4, from Python: nearly all of it Adam", "step", (1000, 100), 4, 1),
    Job("gelu", "GELU (erf) of 1,000,000 numbers", "gelu", (1_000_000,)),
]
BY_NAME = {job.name: job for job in JOBS}

BETA1, BETA2, EPS, RATE, MOMENTUM = 0.9, 0.999, 1e-8, 1e-3, 0.1


def data(job: Job) -> tuple[Floats, Labels]:
    """Rows of an epoch and noisy labels of a linear teacher.

    Each row occurs four times with labels drawn anew, so that no net can learn them by heart: the loss stays away
    from 0 and gradients away from subnormals, however many steps a round takes.
    """
    rng = np.random.default_rng(0)
    rows = job.batch * job.batches
    once = rng.standard_normal((-(-rows // 4), job.sizes[0]), dtype=np.float32)
    x = np.tile(once, (4, 1))[:rows]
    scores = x @ rng.standard_normal((job.sizes[0], job.sizes[-1]), dtype=np.float32) / np.sqrt(job.sizes[0])
    return x, np.argmax(scores + rng.gumbel(size=scores.shape, scale=0.5), axis=1)


def weights(job: Job) -> list[tuple[Floats, Floats]]:
    """(weight (in, out), bias) per linear layer: the same start for everyone, drawn as PyTorch draws it."""
    rng = np.random.default_rng(1)
    drawn = []
    for n, m in zip(job.sizes, job.sizes[1:], strict=False):
        k = 1 / np.sqrt(n)
        drawn.append((rng.uniform(-k, k, (n, m)).astype(np.float32), rng.uniform(-k, k, m).astype(np.float32)))
    return drawn


def normal(*shape: int, seed: int = 2) -> Floats:
    """The array that kernels work on."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def labels(rows: int, classes: int) -> Labels:
    return np.random.default_rng(3).integers(0, classes, rows)
