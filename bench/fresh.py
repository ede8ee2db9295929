"""What is measured in fresh processes: imports, the first step of a deep net, and the size of the wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jobs import Bar
from machine import HERE
from pool import environment, pin, python_of
from report import Row

# name of the column -> module, or peer
IMPORTS = {"hawfinch": "hawfinch", "torch eager": "torch", "jax jit": "jax", "sklearn": "sklearn.neural_network"}
START, MANY = "Start and size", "Many nets"
FIRST_STEPS = {"hawfinch": "hawfinch", "torch eager fused": "torch", "jax jit": "jax"}


def call(python: str, *args: str) -> str:
    return subprocess.run(
        [python, *args], cwd=HERE, env=environment({}), preexec_fn=pin, check=True, capture_output=True, text=True
    ).stdout


def wall(python: str, code: str) -> float:
    start = time.perf_counter()
    call(python, "-c", code)
    return time.perf_counter() - start


def beyond_numpy(python: str, module: str) -> float:
    with_it = wall(python, f"import numpy, {module}")
    return with_it - wall(python, "import numpy")


def interleave(what: dict[str, Callable[[], float]], rounds: int) -> tuple[dict[str, list[float]], list[str]]:
    """Samples of each, and notes on what failed; the first round only warms the disk's and Python's caches."""
    found: dict[str, list[float]] = {name: [] for name in what}
    notes: dict[str, str] = {}
    for _ in range(rounds + 1):
        for name, measure in what.items():
            try:
                found[name].append(measure())
            except (subprocess.CalledProcessError, OSError) as error:
                notes[name] = f"{name}: {reason(error)}"
    return {name: values[1:] for name, values in found.items() if values[1:]}, list(notes.values())


def reason(error: Exception) -> str:
    """The last line of what a program that failed wrote."""
    lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def imports(peer_python: str, rounds: int) -> Row:
    def measure(name: str, module: str) -> Callable[[], float]:
        return lambda: beyond_numpy(python_of(name, peer_python), module)

    times, notes = interleave({name: measure(name, module) for name, module in IMPORTS.items()}, rounds)
    return Row("import", "import, beyond the import of NumPy", START, times, bars=(Bar(0.030, "s"),), notes=notes)


def first_step(peer_python: str, rounds: int) -> Row:
    def measure(name: str) -> Callable[[], float]:
        return lambda: float(call(python_of(name, peer_python), "-m", "workers.first_step", name))

    times, notes = interleave({mode: measure(name) for mode, name in FIRST_STEPS.items()}, rounds)
    title = "MLP of 100 layers, 64 wide: from building the model to the end of its first step"
    return Row("first-step", title, START, times, bars=(Bar(0.050, "s"),), notes=notes)


def wheel(peer_python: str, rounds: int) -> Row:
    """hawfinch's own. Builds the wheel in a folder of its own, so that the project's build is left alone."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        subprocess.run(
            [*command, f"-Cbuild-dir={folder}/build", str(HERE.parent)],
            check=False,
            env={**os.environ, "PATH": path},
            capture_output=True,
        )
        sizes = [file.stat().st_size / 1e6 for file in Path(folder).glob("*.whl")]
    return Row("wheel", "size of the wheel", START, {"hawfinch": sizes}, unit="MB", bars=(Bar(3, "MB"),))


def many(peer_python: str, rounds: int) -> Row:
    """Training of many nets at once. One sample a mode and run: each takes up to half a minute, and warms itself up."""
    bars, times, notes = (Bar(20, "sklearn"), Bar(2, "jax vmap")), {}, []
    modes = json.loads(call(sys.executable, "-c", "import json, many; print(json.dumps(list(many.MODES)))"))
    for mode in modes:
        python = python_of(mode.partition(" ")[0], peer_python)
        try:
            times[mode] = [json.loads(call(python, "many.py", "--mode", mode))["seconds"]]
        except subprocess.CalledProcessError as error:
            notes.append(f"{mode}: {reason(error)}")
    return Row("many", "1,000 MLPs 64-32-10, 20 epochs of the digits each", MANY, times, bars=bars, notes=notes)
