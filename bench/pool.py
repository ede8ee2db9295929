"""The worker processes: one per peer, and one more per peer for jobs on one thread; only one works at a time."""

from __future__ import annotations

import functools
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import HERE, THREADS, cpus

LIMIT = 300.0  # seconds for one answer
PEERS = {
    "hawfinch": ("on_hawfinch", {}),
    "numpy": ("on_numpy", {}),
    "numpy SkylakeX": ("on_numpy", {"OPENBLAS_CORETYPE": "SkylakeX"}),
    "torch": ("on_torch", {}),
    "jax": ("on_jax", {}),
    "sklearn": ("on_sklearn", {}),
}


def environment(extra: dict[str, str], threads: int = THREADS) -> dict[str, str]:
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **limits, "JAX_PLATFORMS": "cpu", **extra}


def pin(threads: int = THREADS) -> None:
    """XLA's pool has as many threads as the process has CPUs."""
    if cpus():
        os.sched_setaffinity(0, cpus()[:threads])


def python_of(peer: str, peer_python: str) -> str:
    return sys.executable if peer == "hawfinch" else peer_python


class Worker:
    """python, home: of another checkout, whose bench/ is ``home`` (before.py)."""

    def __init__(
        self, peer: str, peer_python: str, threads: int = THREADS, *, python: str | None = None, home: Path = HERE
    ):
        self.peer = peer
        module, extra = PEERS[peer]
        self.process = subprocess.Popen(
            [python or python_of(peer, peer_python), "-m", f"workers.{module}"],
            cwd=home,
            env=environment(extra, threads),
            preexec_fn=functools.partial(pin, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()
        self.error = self.about.get("error")

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)  # type: ignore[no-any-return]
        self.process.kill()
        assert self.process.stderr is not None
        last = self.process.stderr.read().strip().splitlines()[-1:]
        return {"error": last[0][:300] if last else f"no answer in {LIMIT:g} s" if not ready else "the process ended"}

    def ask(self, **request: Any) -> dict[str, Any]:
        if self.process.poll() is not None:
            return {"error": "the process has ended"}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.communicate(timeout=60)
