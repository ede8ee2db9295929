"""What is measured: the table of jobs, with the bars that hawfinch set itself, and the data that every job runs on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bar:
    """A promise. against: "s", "MB" (at most value of it), "%" (at least value % of the machine's limit), "best" (at
    least value times as fast as the fastest peer), "bare" (at most value times the time of our own bare kernels), or
    the start of peer names ("jax scan", "torch"): at least value times as fast as the fastest of them."""

    value: float
    against: str


@dataclass(frozen=True)
class Job:
    """sizes: widths of the layers, or the shape that the kernel works on; (m, k, n) of a matmul, which reads x (m, k)
    or w (k, n) through its transpose where ``transposed`` says "x" or "w". B rows a batch, ``batches`` batches an
    epoch. threads: one or two, for everyone. limit: which limit of the machine "%" means, see machine.c."""

    name: str
    title: str
    kind: str
    sizes: tuple[int, ...]
    bars: tuple[Bar, ...] = ()
    group: str = "Other"
    limit: str = ""
    threads: int = 2
    batch: int = 0
    batches: int = 0
    norm: bool = False
    dropout: float = 0.0
    transposed: str = ""
    optimizer: str = ""  # of SWEEPS

    @property
    def flops(self) -> float:
        """Additions and multiplications. Of a step, those of its matmuls: forward, weight gradient, and input gradient
        but for the first layer."""
        if self.kind in ("matmul", "bf16"):
            return 2.0 * math.prod(self.sizes)
        if self.kind == "adam":  # two averages, bias corrections folded, square root, division, update
            return 12.0 * self.sizes[0]
        if self.kind in ("norm", *ROW_NORMS):  # mean, variance; normalise; two sums; gradient
            return 14.0 * math.prod(self.sizes)
        if self.kind not in ("fit", "step"):
            return 0.0
        products = [2.0 * self.batch * a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        return 3 * sum(products) - products[0]

    @property
    def bytes(self) -> float:
        """What a kernel must read and write, each pass over an array counted once."""
        if self.kind in ("matmul", "bf16"):
            m, k, n = self.sizes
            return 4.0 * (m * k + k * n + m * n)  # of ours: the bfloat16 product takes and gives float32
        if self.kind == "loss":  # reads x and t, writes dx; the sum of the elements is one number
            return 3 * 4.0 * math.prod(self.sizes)
        if self.kind in ("norm", *ROW_NORMS):
            # by column: forward reads x twice and writes y, backward reads dy and writes dx from sums that it has of
            # one pass; by row, which a cache holds: forward reads x and writes y, backward reads dy and x and writes dx
            return 5 * 4.0 * math.prod(self.sizes)
        if self.kind == "sweep":  # g and p are read, p is written, each slot both
            how = SWEEPS[self.optimizer]
        return 4.0 * (3 + 2 * how.slots + how.again) * self.sizes[0]
        return {"adam": 28.0, "gelu": 8.0}.get(self.kind, 0.0) * self.sizes[0]

    @property
    def work(self) -> float:
        """What counts against the limit."""
        return self.flops if self.limit in ("fma", "bf16") else self.bytes


def fit(name: str, sizes: tuple[int, ...], batch: int, batches: int, *bars: Bar, dropout: float = 0.0) -> Job:
    """With dropout, each hidden layer has batch-norm too."""
    extras = f", batch-norm and dropout {dropout:g}" if dropout else ""
    title = f"MLP {'-'.join(map(str, sizes))}{extras}, batch {batch}: a step inside fit"
    return Job(name, title, "fit", sizes, bars, TRAINING, "fma", 2, batch, batches, bool(dropout), dropout)


def matmul(
    group: str, m: int, k: int, n: int, *bars: Bar, transposed: str = "", threads: int = 2, limit: str = "fma"
) -> Job:
    kind = "xᵀ" if transposed == "x" else "wᵀ" if transposed == "w" else ""
    title = f"{m}×{n}×{k}" + (f" ({kind})" if kind else "")
    name = f"matmul-{m}" if m == k == n else f"matmul-{m}x{n}x{k}"
    return Job(name, title, "matmul", (m, k, n), bars, group, limit, threads, transposed=transposed)


class Sweep(NamedTuple):
    """An optimiser: class and options, which hawfinch and PyTorch share; ``torch``: whether PyTorch has it; ``again``:
    numbers for each parameter that a second pass reads and writes."""

    maker: str
    options: dict[str, Any]
    slots: int
    torch: bool = True
    again: int = 0


SWEEPS = {
    "sgd": Sweep("SGD", {}, 0),
    "momentum": Sweep("SGD", {"momentum": 0.9}, 1),
    "nesterov": Sweep("SGD", {"momentum": 0.9, "nesterov": True}, 1),
    "dampening": Sweep("SGD", {"momentum": 0.9, "dampening": 0.5}, 1),
    "adagrad": Sweep("Adagrad", {}, 1),
    "adadelta": Sweep("Adadelta", {}, 2),
    "rmsprop": Sweep("RMSprop", {}, 1),
    "rmsprop-momentum": Sweep("RMSprop", {"momentum": 0.9}, 2),
    "rmsprop-centered": Sweep("RMSprop", {"momentum": 0.9, "centered": True}, 3),
    "adam": Sweep("Adam", {}, 2),
    "amsgrad": Sweep("Adam", {"amsgrad": True}, 3),
    "adamw": Sweep("AdamW", {}, 2),
    "nadam": Sweep("NAdam", {}, 2),
    "radam": Sweep("RAdam", {}, 2),
    "adamax": Sweep("Adamax", {}, 2),
    "lion": Sweep("Lion", {}, 1, False),
    "rprop": Sweep("Rprop", {}, 2),
    "lars": Sweep("LARS", {}, 1, False, 2),  # a pass over p and g, for their norms
    "lamb": Sweep("LAMB", {}, 2, False, 3),  # the first pass leaves p alone, the second reads p and both slots
}


def sweeps(name: str) -> list[Job]:
    """An optimiser alone over a few, some and many parameters; the last against the machine's bandwidth."""
    found = []
    peers = (Bar(1.5, "torch"),) if SWEEPS[name].torch else ()
    limit = "update" if SWEEPS[name].slots else "triad"  # what streams alike
    sizes = (
        (2_400, 80_000, 10_000_000) if not SWEEPS[name].again else (10_000_000,)
    )  # several calls a step: see on_hawfinch
    for n in sizes:
        bars = peers if n < 10_000_000 else (Bar(85, "%"),)
        title = f"{name} of {n:,} parameters, the sweep alone"
        found.append(Job(f"sweep-{name}-{n}", title, "sweep", (n,), bars, OPTIMIZERS, limit, optimizer=name))
    return found


OPTIMIZERS = "Optimisers"
TRAINING, PREDICTING = "Training steps", "Prediction"
LARGE, MEDIUM = "Matmul, large (M×N×K)", "Matmul, medium, and the shapes of training (M×N×K)"
TINY, THIN, VECTOR = "Matmul, tiny, one thread", "Matmul, thin (M×N×K)", "Matrix times vector"
BF16, STREAMS = "Matmul in bfloat16", "Kernels that stream"
SMALL = (64, 32, 10)


def training_matmuls(batch: int, n: int, m: int, *bars: Bar) -> list[Job]:
    """The three products of a linear layer n -> m: forward, weight gradient, input gradient."""
    return [
        matmul(MEDIUM, batch, n, m, *bars),
        matmul(MEDIUM, n, batch, m, *bars, transposed="x"),
        matmul(MEDIUM, batch, m, n, *bars, transposed="w"),
    ]


def vector(n: int, *bars: Bar) -> list[Job]:
    """A row times a matrix and a matrix times a column; both read the matrix once."""
    row = matmul(VECTOR, 1, n, n, *bars, limit="read")
    return [row, matmul(VECTOR, n, n, 1, *bars, limit="read")]


ROW_NORMS = {  # kind -> title; of rows, or of eight groups of channels at all positions of a sample
    "layer_norm": "layer norm",
    "rms_norm": "RMS norm",
    "group_norm": "group norm",
}
LOSSES = {  # name in hawfinch -> title
    "mse": "squared error",
    "mae": "absolute error",
    "huber": "Huber loss",
    "log_cosh": "log-cosh loss",
    "quantile": "quantile loss",
    "poisson": "Poisson loss",
    "bce_with_logits": "binary cross-entropy",
    "focal": "focal loss",
    "hinge": "hinge loss",
}
JOBS = [
    fit("mlp-64", SMALL, 32, 200, Bar(3.5, "jax scan"), Bar(40, "torch eager"), Bar(1.3, "bare"), Bar(5e-6, "s")),
    fit("mlp-784", (784, 256, 10), 32, 200, Bar(1.6, "jax scan"), Bar(3, "torch eager")),
    fit("mlp-norm", (784, 256, 128, 10), 128, 50, Bar(3, "torch"), dropout=0.2),
    fit("mlp-1024", (784, 1024, 1024, 10), 256, 20, Bar(1.3, "jax scan"), Bar(2, "torch eager")),
    Job("step-64", "MLP 64-32-10, batch 32: one step, from Python", "step", SMALL, (), TRAINING, "fma", 2, 32, 1),
    Job(
        "step-adam",
        "Linear 1000-100, batch 4, from Python: nearly all of it Adam",
        "step",
        (1000, 100),
        (),
        TRAINING,
        "",
        2,
        4,
        1,
    ),
    Job(
        "predict-64",
        "MLP 64-32-10: predict one row, from Python",
        "predict",
        SMALL,
        (Bar(1e-6, "s"),),
        PREDICTING,
        "",
        2,
        1,
        1,
    ),
    *[matmul(LARGE, n, n, n, Bar(92, "%"), Bar(1.0, "best")) for n in (512, 1024, 2048)],
    *[matmul(MEDIUM, n, n, n, Bar(80, "%"), Bar(1.1, "best")) for n in (128, 192, 256, 384)],
    *[job for b in (32, 64, 128) for job in training_matmuls(b, 784, 256, Bar(80, "%"), Bar(1.1, "best"))],
    *[matmul(TINY, n, n, n, Bar(65, "%"), Bar(1.5, "best"), threads=1) for n in (16, 32, 48, 64, 96)],
    *[
        matmul(THIN, m, k, n, Bar(70, "%"), Bar(1.3, "best"))
        for m, k, n in ((8, 1024, 1024), (16, 512, 512), (1024, 1024, 8), (1024, 1024, 16))
    ],
    *vector(256, Bar(1.2, "best")),
    *vector(512, Bar(1.2, "best")),
    *vector(8192, Bar(90, "%")),
    Job("bf16-1024", "1024×1024×1024", "bf16", (1024,) * 3, (Bar(88, "%"), Bar(1.0, "torch bf16")), BF16, "bf16"),
    Job("norm-128", "batch-norm + ReLU 128×256, forward and backward", "norm", (128, 256), (Bar(4, "torch"),), STREAMS),
    Job(
        "norm-4096",
        "batch-norm + ReLU 4096×1024, forward and backward",
        "norm",
        (4096, 1024),
        (Bar(4, "torch"), Bar(85, "%")),
        STREAMS,
        "triad",
    ),
    *[
        Job(
            f"{kind.replace('_', '-')}-{math.prod(sizes) >> 10}k",
            f"{title} {'×'.join(map(str, sizes))}, forward and backward",
            kind,
            sizes,
            (Bar(85, "%"),),
            STREAMS,
            "triad",
        )
        for kind, title in ROW_NORMS.items()
        for sizes in [(32, 512, 256) if kind == "group_norm" else (4096, 1024)]
    ],
    *[
        Job(
            f"softmax-{b}x{c}",
            f"softmax cross-entropy {b}×{c}, forward and backward",
            "softmax",
            (b, c),
            (Bar(times, "torch"),),
            STREAMS,
        )
        for b, c, times in ((128, 10, 8), (128, 1000, 4), (4096, 1000, 3))
    ],
    *[
        Job(
            f"loss-{name}",
            f"{title} 4096×1024, forward and backward",
            "loss",
            (4096, 1024),
            (Bar(85, "%"),),
            STREAMS,
            "triad",
        )
        for name, title in LOSSES.items()
    ],
    Job("adam-1e5", "Adam of 10⁵ parameters, the sweep alone", "adam", (100_000,), (Bar(1.5, "torch fused"),), STREAMS),
    Job(
        "adam-1e7",
        "Adam of 10⁷ parameters, the sweep alone",
        "adam",
        (10_000_000,),
        (Bar(1.0, "torch fused"), Bar(90, "%")),
        STREAMS,
        "update",
    ),
    Job("gelu", "GELU (erf) of 1,000,000 numbers", "gelu", (1_000_000,), (), STREAMS, "triad"),
]
SWEEP_JOBS = [job for name in SWEEPS for job in sweeps(name)]  # with `--job sweeps` only
BY_NAME = {job.name: job for job in [*JOBS, *SWEEP_JOBS]}

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


def targets(job: Job) -> Floats:
    """Of a loss: numbers, counts, or 0 and 1."""
    t = normal(*job.sizes, seed=5)
    name = job.name.removeprefix("loss-")
    return np.abs(t).round() if name == "poisson" else t if name in list(LOSSES)[:5] else np.float32(1) * (t > 0)


def labels(rows: int, classes: int) -> Labels:
    return np.random.default_rng(3).integers(0, classes, rows)


def operands(job: Job) -> tuple[Floats, Floats]:
    """x and w of a matmul as they lie in memory: (k, m) and (n, k) where they are read through a transpose."""
    m, k, n = job.sizes
    x = normal(*((k, m) if job.transposed == "x" else (m, k)))
    return x, normal(*((n, k) if job.transposed == "w" else (k, n)), seed=4)
