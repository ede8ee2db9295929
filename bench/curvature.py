"""``hf.curvature`` beside pytorch-hessian-eigenthings, and against a dense Hessian.

    HESSIAN_EIGENTHINGS=folder python bench/curvature.py [--rows 32 128 512] [--only accuracy|speed|check]

accuracy: the extreme eigenvalues of a net of 4,980 parameters, those of its dense Hessian (SciPy's ARPACK on the whole
matrix), the relative errors. speed: of 784-256-10 in float32, on so many rows, medians of rounds in which ours and
theirs take turns, each in its own process: a Hessian-vector product; the largest eigenvalue to 1e-4; the largest and
the smallest one to 1e-4. Theirs gets the number of Lanczos steps that it just needs for that, found beforehand, for it
does not stop by itself; its power iteration stops at its own tolerance. check: seconds of ``hf.gradient_check`` of
784-256-10, sampled and of every parameter.
The folder holds the repository of that name (https://github.com/noahgolmant/pytorch-hessian-eigenthings), which is not
on PyPI; it needs torch.
"""

import argparse
import multiprocessing as mp
import os
import sys
import time
from typing import Any

import numpy as np
from scipy.sparse.linalg import eigsh

import hawfinch as hf

ROUNDS = 7


def trained(inputs: int, hidden: int, outputs: int, rows: int) -> tuple[hf.Module, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, inputs)).astype(np.float32)
    y = np.argmax(x @ rng.normal(size=(inputs, outputs)) + rng.normal(size=(rows, outputs)), 1)
    model = hf.Sequential(hf.Linear(hidden), hf.Tanh(), hf.Linear(outputs))
    hf.Trainer(model, hf.SoftmaxCrossEntropy(), hf.Adam(1e-3)).fit(x, y, epochs=3)
    return model, x, y


def accuracy() -> None:
    model, x, y = trained(60, 70, 10, 500)
    c = hf.curvature(model, x, y, loss=hf.SoftmaxCrossEntropy())
    begin = time.perf_counter()
    pairs = c.extreme()
    seconds = time.perf_counter() - begin
    whole = c.hessian()
    dense = [eigsh(whole, 1, which=which, tol=1e-12, ncv=120, return_eigenvectors=False)[0] for which in ("SA", "LA")]
    print(f"{c.n} parameters: extreme eigenvalues in {seconds:.2f} s, {pairs.products} products")
    for name, ours, value in (("smallest", pairs.smallest, dense[0]), ("largest", pairs.largest, dense[-1])):
        print(f"{name}: {ours:.8g}, dense {value:.8g}, relative error {abs(ours / value - 1):.1e}")


def theirs(pipe: Any, weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> None:
    """A process: gets what to do, gives (seconds, value)."""
    sys.path.insert(0, os.environ["HESSIAN_EIGENTHINGS"])
    import torch
    from hessian_eigenthings.algorithms import deflated_power_iteration, lanczos
    from hessian_eigenthings.loss_fns import supervised_loss
    from hessian_eigenthings.operators import HessianOperator

    w = {k: torch.tensor(v) for k, v in weights.items()}
    net = torch.nn.Sequential(torch.nn.Linear(784, 256), torch.nn.Tanh(), torch.nn.Linear(256, 10))
    net.load_state_dict(
        {"0.weight": w["0.weight"].T, "0.bias": w["0.bias"], "2.weight": w["2.weight"].T, "2.bias": w["2.bias"]}
    )
    data = [(torch.tensor(x), torch.tensor(y))]
    operator = HessianOperator(model=net, dataloader=data, loss_fn=supervised_loss(torch.nn.functional.cross_entropy))
    v = torch.randn(operator.size)
    while True:
        what, steps = pipe.recv()
        begin, value = time.perf_counter(), 0.0
        if what == "end":
            return
        if what == "product":
            for _ in range(steps):
                operator.matvec(v)
        elif what == "power":
            value = float(deflated_power_iteration(operator, k=1, seed=0).eigenvalues[0])
        else:
            value = float(lanczos(operator, k=1, max_iter=steps, which=what, seed=0).eigenvalues[0])
        pipe.send((time.perf_counter() - begin, value))


def speed(rows: int) -> None:
    model, x, y = trained(784, 256, 10, rows)
    here, there = mp.get_context("spawn").Pipe()
    weights = {k: v.copy() for k, v in model.parameters().items()}
    process = mp.get_context("spawn").Process(target=theirs, args=(there, weights, x, y), daemon=True)
    process.start()

    def ask(what: str, steps: int) -> tuple[float, float]:
        here.send((what, steps))
        found: tuple[float, float] = here.recv()
        return found

    loss = hf.SoftmaxCrossEntropy()
    exact = hf.curvature(model, x, y, loss=loss).extreme(tolerance=1e-8)
    enough = {}
    for which, value in (("LA", exact.largest), ("SA", exact.smallest)):
        steps = [m for m in (5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100, 150)]
        enough[which] = next((m for m in steps if abs(ask(which, m)[1] / value - 1) < 1e-4), 200)
    c = hf.curvature(model, x, y, loss=loss, dtype="float32")
    v, times = np.ones(c.n, np.float32), {}
    times = {k: ([], []) for k in ("product", "largest", "largest, by their power iteration", "both ends")}
    for _ in range(ROUNDS):
        for name, (mine, other) in times.items():
            begin = time.perf_counter()
            if name == "product":
                for _ in range(20):
                    c.product(v)
            else:
                found = c.extreme(ends="both" if name == "both ends" else "largest", tolerance=1e-4)
            mine.append(time.perf_counter() - begin)
            if name == "product":
                other.append(ask("product", 20)[0])
            elif name == "largest":
                other.append(ask("LA", enough["LA"])[0])
            elif name == "both ends":
                other.append(ask("LA", enough["LA"])[0] + ask("SA", enough["SA"])[0])
            else:
                other.append(ask("power", 0)[0])
    print(
        f"{rows} rows; Lanczos steps: ours {found.products}, theirs {enough['LA']} and {enough['SA']}; errors of ours: "
        f"{abs(found.largest / exact.largest - 1):.0e}, {abs(found.smallest / exact.smallest - 1):.0e}"
    )
    for name, (mine, other) in times.items():
        a, b = np.median(mine), np.median(other)
        per = 20 if name == "product" else 1
        print(f"  {name:34} ours {a / per * 1e3:8.2f} ms   theirs {b / per * 1e3:8.2f} ms   {b / a:6.1f} x")
    here.send(("end", 0))
    process.join()


def check() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(128, 784)), rng.integers(0, 10, 128)
    model = hf.Sequential(hf.Linear(256), hf.ReLU(), hf.Linear(10))
    for samples in (32, "all"):
        begin = time.perf_counter()
        found = hf.gradient_check(model, x, y, loss=hf.SoftmaxCrossEntropy(), samples=samples)
        seconds = time.perf_counter() - begin
        print(f"gradient check, samples={samples!r}: {seconds:.2f} s, distance {found.distance:.1e}, {found.verdict}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--only", choices=("accuracy", "speed", "check"))
    args = parser.parse_args()
    if args.only in (None, "check"):
        check()
    if args.only in (None, "accuracy"):
        accuracy()
    if args.only in (None, "speed"):
        for n in args.rows:
            speed(n)
