"""Instructions per step of five fixed jobs, counted by callgrind: a guard against slow code that no noise can hide.

    python bench/instructions.py             compare with bench/instructions.json; fails where a job costs over 3 % more
    python bench/instructions.py --update    write the counts of this build to bench/instructions.json

All jobs run in one process under valgrind, on the AVX2 kernels (valgrind has no AVX-512) and on one thread. Each job is
run for n and for 3n steps; the difference over 2n is what a step costs, so start-up, Python and NumPy cancel out.
Rejected: timing (noise here is 5 to 20 %) and hardware counters (absent on most virtual machines).
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUDGET = HERE / "instructions.json"
TOLERANCE = 0.03
Run = Callable[[int], object]  # does so many steps
REQUESTS = """
#include <valgrind/callgrind.h>
void zero(void) { CALLGRIND_ZERO_STATS; }
void dump(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
"""


def training(sizes: tuple[int, ...], batch: int, norm: bool = False) -> Run:
    import numpy as np

    import hawfinch as hf

    layers: list[hf.Module] = []
    for n in sizes[1:-1]:
        layers += [hf.Linear(n), *([hf.BatchNorm()] if norm else []), hf.ReLU()]
    model = hf.Sequential(*layers, hf.Linear(sizes[-1]))
    trainer = hf.Trainer(model, loss=hf.SoftmaxCrossEntropy(), optimizer=hf.Adam(), seed=0, threads=1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4 * batch, sizes[0]), dtype=np.float32)
    y = rng.integers(0, sizes[-1], len(x))
    trainer.step(x[:batch], y[:batch])
    core, store = trainer.plan(x, y, batch_size=batch).core, model.store()
    assert trainer.gradient is not None
    buffers = store.params, store.buffers, trainer.gradient, *trainer.slots.values()
    core.set_source(0, x)
    core.set_source(1, y)
    # steps over the same four batches, all in one call
    order, scalars = np.tile(np.arange(len(x)), 256), trainer.scalars(4 * 256)

    def run(n: int) -> object:
        return core.run(buffers, n_steps=n, batch=batch, rows=n * batch, index=order, scalars=scalars[:n])

    return run


def prediction(sizes: tuple[int, ...]) -> Run:
    """One row a call, by the short way that repeated calls take, without Python's own part."""
    import numpy as np

    import hawfinch as hf

    model = hf.Sequential(*(layer for n in sizes[1:-1] for layer in (hf.Linear(n), hf.ReLU())), hf.Linear(sizes[-1]))
    x = np.random.default_rng(0).standard_normal((1, sizes[0]), dtype=np.float32)
    model.predict(x)
    quick: Any = model._hf.quick
    assert quick.predict(x) is not None
    return lambda n: deque(map(quick.predict, repeat(x, n)), maxlen=0)


# name -> what to run, and n
JOBS: dict[str, tuple[Callable[[], Run], int]] = {
    "MLP 64-32-10, batch 32": (functools.partial(training, (64, 32, 10), 32), 100),
    "MLP 784-256-10, batch 32": (functools.partial(training, (784, 256, 10), 32), 2),
    "MLP 64-128-64-10, batch-norm, batch 128": (functools.partial(training, (64, 128, 64, 10), 128, True), 4),
    "MLP 64-32-10, predict a row": (functools.partial(prediction, (64, 32, 10)), 300),
    "Linear 16-5000, batch 4 (softmax, Adam)": (functools.partial(training, (16, 5000), 4), 4),
}


def inside(library: str) -> None:
    """Under callgrind: each job for n and for 3n steps, each run in a dump of its own."""
    requests = ctypes.CDLL(library)
    for i, (make, n) in enumerate(JOBS.values()):
        run = make()
        run(n)  # what happens once
        for length in (n, 3 * n):
            requests.zero()
            run(length)
            requests.dump(f"job {i} {length}".encode())


def count() -> dict[str, int]:
    """Instructions a step, by job."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "requests.c", Path(folder) / "requests.so"
        source.write_text(REQUESTS)
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
        environment = os.environ | {
            "HAWFINCH_ISA": "avx2",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable, __file__]
        done = subprocess.run([*command, "--inside", library], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"callgrind failed:\n{done.stderr[-3000:]}")
        dumps: dict[tuple[int, int], int] = {}
        for path in Path(folder).glob("out.*"):
            text = path.read_text()
            trigger = re.search(r"^desc: Trigger: .*job (\d+) (\d+)$", text, re.M)
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
            if trigger and total:
                dumps[int(trigger[1]), int(trigger[2])] = int(total[1])
    return {name: round((dumps[i, 3 * n] - dumps[i, n]) / (2 * n)) for i, (name, (_, n)) in enumerate(JOBS.items())}


def built_with() -> dict[str, str]:
    import numpy as np

    compiler = subprocess.run([os.environ.get("CC", "cc"), "--version"], capture_output=True, text=True, check=True)
    return {"compiler": compiler.stdout.splitlines()[0], "python": sys.version.split()[0], "numpy": np.__version__}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write bench/instructions.json")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside(args.inside)
        return
    counts, made = count(), built_with()
    if args.update:
        BUDGET.write_text(json.dumps({"made with": made, "instructions": counts}, indent=2) + "\n")
    budget = json.loads(BUDGET.read_text())
    wrong = []
    for name, now in counts.items():
        before = budget["instructions"].get(name)
        change = "new" if before is None else f"{100 * (now / before - 1):+.2f} %"
        print(f"{now:>12,}  {change:>9}  {name}")
        if before is None or now > before * (1 + TOLERANCE):
            wrong.append(name)
    if min(counts[name] / budget["instructions"].get(name, 1) for name in counts) < 1 - TOLERANCE:
        print("Some jobs got cheaper: `python bench/instructions.py --update` keeps it so.")
    if wrong:
        if made != budget["made with"]:
            print(f"The budget was made with {budget['made with']}, this is {made}.")
        raise SystemExit(
            f"instructions: more than {TOLERANCE:.0%} over bench/instructions.json: {'; '.join(wrong)}.\n"
            "If the change is worth it, run `python bench/instructions.py --update` and commit the file with it."
        )


if __name__ == "__main__":
    main()
