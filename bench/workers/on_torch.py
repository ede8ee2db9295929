"""PyTorch: eager with each kind of Adam, and compiled with two settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from jobs import EPS, MOMENTUM, RATE, ROW_NORMS, Job, data, labels, normal, operands, targets, weights
from machine import cpus
from torch import nn
from workers.base import UNIT, Calls, Case, serve

COMPILED = {"compile": "default", "compile max-autotune": "max-autotune-no-cudagraphs"}
ADAMS: dict[str, dict[str, bool]] = {"": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def net(job: Job, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (w, b) in enumerate(weights(job)):
        linear = nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))
            linear.bias.copy_(torch.from_numpy(b))
        layers.append(linear)
        if i < len(job.sizes) - 2:
            if job.norm:
                layers.append(nn.BatchNorm1d(w.shape[1], momentum=MOMENTUM))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def shuffled(rows: int, batch: int) -> Iterator[torch.Tensor]:
    """Rows of the next batch, for epoch after epoch."""
    while True:
        yield from torch.randperm(rows).split(batch)


class Fit(Case):
    """Shuffle, then gather, forward, loss, backward and Adam per batch; or one given batch where the job is a step."""

    def __init__(self, job: Job, mode: str, dropout: float):
        self.job, self.mode, self.steps = job, mode, min(job.batches, UNIT)
        x, y = data(job)
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.batches = shuffled(len(x), job.batch)
        self.model, loss = net(job, dropout), nn.CrossEntropyLoss()

        def forward(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return loss(self.model(x), y)

        self.forward = torch.compile(forward, mode=COMPILED[mode]) if mode in COMPILED else forward
        # Compiled nets get the fused Adam: of PyTorch's it is the fastest on a CPU.
        kind = ADAMS.get(mode.removeprefix("eager").strip(), ADAMS["fused"])
        self.adam = torch.optim.Adam(self.model.parameters(), lr=RATE, eps=EPS, **kind)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.adam.zero_grad(set_to_none=True)
        loss = self.forward(x, y)
        loss.backward()
        self.adam.step()
        return loss

    def run(self, units: int) -> None:
        if self.job.kind == "step":
            for _ in range(units):
                self.last = self.step(self.x, self.y).item()
            return
        for rows in itertools.islice(self.batches, units * self.steps):
            loss = self.step(self.x[rows], self.y[rows])
        self.last = loss.item()

    def first_losses(self) -> list[float]:
        fresh = Fit(self.job, self.mode, 0.0)
        pairs = zip(fresh.x.split(self.job.batch), fresh.y.split(self.job.batch), strict=True)
        return [fresh.step(x, y).item() for x, y in itertools.islice(itertools.cycle(pairs), 3)]

    def loss(self) -> float:
        return self.last


def predict(job: Job, mode: str) -> Case:
    model, x = net(job, 0.0).eval(), torch.from_numpy(data(job)[0])
    call = torch.compile(model) if mode in COMPILED else model

    @torch.inference_mode()
    def run() -> torch.Tensor:
        return call(x)

    return Calls(run)


def matmul(job: Job, mode: str) -> Case:
    """eager: what torch.mm picks (MKL). onednn: oneDNN's product, on w as it lies or packed before for this use; both
    get w (n, k), the layout that oneDNN's linear layer wants."""
    x, w = map(torch.from_numpy, operands(job))
    x, w = x.t() if job.transposed == "x" else x, w.t() if job.transposed == "w" else w
    if mode == "bf16":
        x, w = x.bfloat16(), w.bfloat16()
    if not mode.startswith("onednn"):
        out = torch.empty(len(x), w.shape[1], dtype=x.dtype)
        return Calls(lambda: torch.mm(x, w, out=out))
    linear = torch.ops.mkldnn._linear_pointwise
    w = w.t().contiguous()
    if mode == "onednn packed":
        w = torch.ops.mkldnn._reorder_linear_weight(w, len(x))
    return Calls(lambda: linear(x, w, None, "none", [], ""))


def adam(job: Job, mode: str) -> Case:
    """The step alone: gradients are there, on one flat parameter."""
    p = torch.from_numpy(normal(*job.sizes)).requires_grad_()
    p.grad = torch.from_numpy(normal(*job.sizes, seed=4))
    return Calls(torch.optim.Adam([p], lr=RATE, eps=EPS, **ADAMS[mode]).step)


def norm(job: Job, mode: str) -> Case:
    x, dy = torch.from_numpy(normal(*job.sizes)).requires_grad_(), torch.from_numpy(normal(*job.sizes, seed=4))
    gamma, beta = torch.ones(job.sizes[1], requires_grad=True), torch.zeros(job.sizes[1], requires_grad=True)

    def forward(x: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        return torch.relu(nn.functional.batch_norm(x, None, None, gamma, beta, training=True))

    call = torch.compile(forward) if mode in COMPILED else forward
    return Calls(lambda: torch.autograd.grad(call(x, gamma, beta), (x, gamma, beta), dy))


def row_norm(job: Job, mode: str) -> Case:
    """Group norm on PyTorch's own layout, channels before positions."""
    sizes = (job.sizes[0], job.sizes[2], job.sizes[1]) if job.kind == "group_norm" else job.sizes
    x, dy = torch.from_numpy(normal(*sizes)).requires_grad_(), torch.from_numpy(normal(*sizes, seed=4))
    n = job.sizes[-1]
    arrays = [x, torch.ones(n, requires_grad=True), torch.zeros(n, requires_grad=True)]
    f = nn.functional
    forward = {
        "layer_norm": lambda x, gamma, beta: f.layer_norm(x, (n,), gamma, beta),
        "rms_norm": lambda x, gamma: f.rms_norm(x, (n,), gamma, 1e-6),
        "group_norm": lambda x, gamma, beta: f.group_norm(x, 8, gamma, beta),
    }[job.kind]
    arrays = arrays[:2] if job.kind == "rms_norm" else arrays
    call = torch.compile(forward) if mode in COMPILED else forward
    return Calls(lambda: torch.autograd.grad(call(*arrays), arrays, dy))


def softmax(job: Job, mode: str) -> Case:
    z, t = torch.from_numpy(normal(*job.sizes)).requires_grad_(), torch.from_numpy(labels(*job.sizes))
    call = torch.compile(nn.functional.cross_entropy) if mode in COMPILED else nn.functional.cross_entropy
    return Calls(lambda: torch.autograd.grad(call(z, t), z))


def loss(job: Job, mode: str) -> Case:
    z, t = torch.from_numpy(normal(*job.sizes)).requires_grad_(), torch.from_numpy(targets(job))
    f = nn.functional

    def quantile(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.maximum(0.5 * (t - z), -0.5 * (t - z)).mean()

    def log_cosh(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return (f.softplus(2 * (z - t)) - (z - t) - math.log(2)).mean()

    def focal(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        entropy = f.binary_cross_entropy_with_logits(z, t, reduction="none")
        p = torch.sigmoid(z)
        return (entropy * (1 - p * t - (1 - p) * (1 - t)) ** 2).mean()

    def hinge(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.relu(1 - (2 * t - 1) * z).mean()

    known = {
        "mse": f.mse_loss,
        "mae": f.l1_loss,
        "huber": f.huber_loss,
        "log_cosh": log_cosh,
        "quantile": quantile,
        "poisson": f.poisson_nll_loss,
        "bce_with_logits": f.binary_cross_entropy_with_logits,
        "focal": focal,
        "hinge": hinge,
    }
    function = known[job.name.removeprefix("loss-")]
    call = torch.compile(function) if mode in COMPILED else function
    return Calls(lambda: torch.autograd.grad(call(z, t), z))


def gelu(job: Job, mode: str) -> Case:
    x = torch.from_numpy(normal(*job.sizes))
    call = torch.compile(nn.functional.gelu) if mode in COMPILED else nn.functional.gelu
    return Calls(lambda: call(x))


def modes(job: Job) -> list[str]:
    if job.kind in ("fit", "step"):
        return ["eager", "eager foreach", "eager fused", *COMPILED]
    if job.kind == "matmul":
        return ["eager", "onednn", "onednn packed"]
    return {"bf16": ["bf16"], "adam": [*ADAMS]}.get(job.kind, ["eager", "compile"])


def build(job: Job, mode: str) -> Case:
    torch.manual_seed(0)
    torch.compiler.reset()
    if job.kind in ("fit", "step"):
        return Fit(job, mode, job.dropout)
    if job.kind in ("matmul", "bf16"):
        return matmul(job, mode)
    if job.kind in ROW_NORMS:
        return row_norm(job, mode)
    return {"adam": adam, "predict": predict, "norm": norm, "softmax": softmax, "loss": loss, "gelu": gelu}[job.kind](
        job, mode
    )


if __name__ == "__main__":
    torch.set_num_threads(len(cpus()))
    serve({"torch": torch.__version__}, modes, build, threads=torch.get_num_threads())
