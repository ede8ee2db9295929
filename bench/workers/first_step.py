"""In a fresh process, after the import: seconds from building a 100-layer MLP to the end of its first training step."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from jobs import Job, data

DEEP = Job("deep", "MLP of 100 layers", "step", (64,) * 100 + (10,), batch=32, batches=1)


def on_hawfinch() -> Callable[[], object]:
    import hawfinch as hf

    def build() -> object:
        layers = [layer for n in DEEP.sizes[1:-1] for layer in (hf.Linear(n), hf.ReLU())]
        model = hf.Sequential(*layers, hf.Linear(DEEP.sizes[-1]))
        trainer = hf.Trainer(model, loss=hf.SoftmaxCrossEntropy(), optimizer=hf.Adam(lr=1e-3), seed=0)
        return trainer.step(x, y)

    x, y = data(DEEP)
    return build


def on_torch() -> Callable[[], object]:
    import torch
    from torch import nn

    def build() -> object:
        pairs = zip(DEEP.sizes, DEEP.sizes[1:], strict=False)
        layers = [layer for n, m in pairs for layer in (nn.Linear(n, m), nn.ReLU())][:-1]
        model = nn.Sequential(*layers)
        adam = torch.optim.Adam(model.parameters(), fused=True)
        loss = nn.CrossEntropyLoss()(model(x), y)
        loss.backward()
        adam.step()
        return loss.item()

    x, y = map(torch.from_numpy, data(DEEP))
    torch.set_num_threads(2)
    return build


def on_jax() -> Callable[[], object]:
    import jax.numpy as jnp
    from workers.on_jax import Fit

    jnp.zeros(1).block_until_ready()
    return lambda: Fit(DEEP, "jit", 0.0).run(1)


if __name__ == "__main__":
    build = {"hawfinch": on_hawfinch, "torch": on_torch, "jax": on_jax}[sys.argv[1]]()
    start = time.perf_counter()
    build()
    print(time.perf_counter() - start)
