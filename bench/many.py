"""A thousand nets at once: 64-32-10, 20 epochs of 1,797 digits, batch 32, each with a start and row order of its own.

hawfinch's ``fit_many`` against scikit-learn's MLPClassifier under joblib, and against ``jax.vmap`` of a training loop
in ``lax.scan``. Timed in a process of its own, after a warm-up that compiles and starts workers: building or drawing
the nets, shuffling, training. What a peer can do without, it may: JAX skips the five rows of the short last batch.

    python bench/many.py --mode hawfinch     # one sample, as JSON; `bench/run.py --job many` compares them all
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Sample = tuple[float, float]  # seconds, mean loss of the last epoch
NETS, EPOCHS, BATCH = 1000, 20, 32
BETA1, BETA2, EPS, RATE = 0.9, 0.999, 1e-8, 1e-3
DIGITS = Path(__file__).parent.parent / "python" / "hawfinch" / "data" / "digits.npz"


def digits() -> tuple[Any, Any]:
    with np.load(DIGITS, allow_pickle=False) as file:
        return file["images"].reshape(-1, 64).astype(np.float32) / 16, file["labels"].astype(np.int64)


def hawfinch(nets: int) -> Sample:
    import hawfinch as hf

    x, y = digits()

    def train(nets: int, epochs: int) -> list[hf.History]:
        def net(seed: int) -> tuple[hf.Module, dict[str, Any]]:
            model = hf.Sequential(hf.Linear(32), hf.ReLU(), hf.Linear(10))
            adam = hf.Adam(lr=RATE, betas=(BETA1, BETA2), eps=EPS)
            return model, {"loss": "softmax_cross_entropy", "optimizer": adam, "seed": seed}

        return hf.fit_many([net(seed) for seed in range(nets)], x, y, epochs=epochs, batch_size=BATCH)

    train(4, 1)
    start = time.perf_counter()
    histories = train(nets, EPOCHS)
    return time.perf_counter() - start, float(np.mean([h["loss"][-1] for h in histories]))


def sklearn(nets: int) -> Sample:
    from joblib import Parallel, delayed
    from sklearn.neural_network import MLPClassifier

    x, y = digits()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))  # one core for each worker

    def fit(seed: int, epochs: int) -> float:
        import warnings

        warnings.simplefilter("ignore")
        net = MLPClassifier(
            (32,),
            alpha=0.0,
            batch_size=BATCH,
            learning_rate_init=RATE,
            beta_1=BETA1,
            beta_2=BETA2,
            epsilon=EPS,
            tol=0.0,
            n_iter_no_change=10**9,
            max_iter=epochs,
            random_state=seed,
        )
        return float(net.fit(x, y).loss_)

    with Parallel(n_jobs=-1) as parallel:
        parallel(delayed(fit)(seed, 1) for seed in range(16))
        start = time.perf_counter()
        losses = parallel(delayed(fit)(seed, EPOCHS) for seed in range(nets))
        return time.perf_counter() - start, float(np.mean(losses))


def jax(nets: int, *, devices: int, group: int, same_order: bool) -> Sample:
    """vmap over ``group`` nets (0: all), groups one after the other; nets shared out to the devices."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.sharding import Mesh, PartitionSpec

    x, y = digits()
    x, y, steps = jnp.array(x), jnp.array(y, jnp.int32), len(x) // BATCH

    def loss(p: Any, x: Any, y: Any) -> Any:
        z = jnp.maximum(x @ p[0] + p[1], 0) @ p[2] + p[3]
        return (jax.nn.logsumexp(z, 1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0]).mean()

    def step(state: Any, rows: Any) -> Any:
        p, m, v, t = state
        value, g = jax.value_and_grad(loss)(p, x[rows], y[rows])
        t = t + 1
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        rate, scale = RATE / (1 - BETA1**t), lax.rsqrt(1 - BETA2**t)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * scale + EPS), p, m, v)
        return (p, m, v, t), value

    def train(p: Any, order: Any) -> Any:
        zero = jax.tree.map(jnp.zeros_like, p)
        return lax.scan(step, (p, zero, zero, jnp.float32(0)), order)[1][-steps:].mean()

    together = jax.vmap(train, in_axes=(0, None if same_order else 0))

    def in_groups(p: Any, order: Any) -> Any:
        def split(a: Any) -> Any:
            return a.reshape(-1, group or len(a), *a.shape[1:])

        if same_order:
            return lax.map(lambda p: together(p, order), jax.tree.map(split, p)).reshape(-1)
        return lax.map(lambda both: together(*both), (jax.tree.map(split, p), split(order))).reshape(-1)

    spread, everywhere = PartitionSpec("net"), PartitionSpec()
    shards = (spread, everywhere if same_order else spread)
    mesh = Mesh(np.array(jax.devices()), ("net",))
    run = jax.jit(jax.shard_map(in_groups, mesh=mesh, in_specs=shards, out_specs=spread, check_vma=False))
    rng = np.random.default_rng(0)

    def go() -> float:
        def uniform(fan_in: int, *shape: int) -> Any:
            return (rng.random((nets, *shape), dtype=np.float32) * 2 - 1) / np.float32(np.sqrt(fan_in))

        rows = np.tile(np.arange(len(x), dtype=np.int32), (EPOCHS if same_order else nets * EPOCHS, 1))
        order = rng.permuted(rows, axis=1)[:, : steps * BATCH].reshape(*(() if same_order else (nets,)), -1, BATCH)
        p = [uniform(64, 64, 32), uniform(64, 32), uniform(32, 32, 10), uniform(32, 10)]
        return float(run(p, order).mean())

    shapes = [(nets, 64, 32), (nets, 32), (nets, 32, 10), (nets, 10)]
    rows = (EPOCHS * steps, BATCH) if same_order else (nets, EPOCHS * steps, BATCH)
    run = run.lower(
        [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes], jax.ShapeDtypeStruct(rows, jnp.int32)
    ).compile()
    start = time.perf_counter()
    result = go()
    return time.perf_counter() - start, result


MODES: dict[str, tuple[Callable[[int], Sample], int]] = {  # nets in a sample: scikit-learn's time is scaled up
    "hawfinch": (hawfinch, NETS),
    "sklearn joblib": (sklearn, 60),
    "jax vmap": (functools.partial(jax, devices=1, group=0, same_order=False), NETS),
    "jax vmap, shards": (functools.partial(jax, devices=2, group=0, same_order=False), NETS),
    "jax vmap, shards, groups of 100": (functools.partial(jax, devices=2, group=100, same_order=False), NETS),
    "jax vmap, shards, groups of 4": (functools.partial(jax, devices=2, group=4, same_order=False), NETS),
    "jax one order for all, shards, groups of 10": (functools.partial(jax, devices=2, group=10, same_order=True), NETS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=MODES, required=True)
    function, nets = MODES[parser.parse_args().mode]
    spent, loss = function(nets)
    print(json.dumps({"seconds": spent * NETS / nets, "nets": nets, "loss": loss}))


if __name__ == "__main__":
    main()
