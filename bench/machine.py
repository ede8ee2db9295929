"""What the machine is, what it can do, and whether it is doing something else just now."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).parent
THREADS = 2
LIMITS = ("fma", "bf16", "triad", "read", "update")
DISTURBED = 0.05  # share of the CPUs that other programs may take during a sample
T = TypeVar("T")


def cpus() -> list[int]:
    """The CPUs that all workers share: the first two that this process may use."""
    return sorted(os.sched_getaffinity(0))[:THREADS] if hasattr(os, "sched_getaffinity") else []


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    model = facts.get("model name", platform.machine()).strip()
    if "cpu family" in facts and "model" in facts:
        model += f" (family {facts['cpu family'].strip()}, model {facts['model'].strip()})"
    return model


MEASURED = ("csrc", "python", "CMakeLists.txt", "pyproject.toml", "bench/*.py", "bench/*.c", "bench/workers")


def commit() -> str:
    """The last commit that changed what is measured or how: pages and results may be committed between runs."""

    def git(*args: str) -> str:
        command = ["git", "-C", HERE.parent, *args, "--", *MEASURED]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return git("log", "-1", "--format=%h") + (" with uncommitted changes" if git("status", "--porcelain") else "")


def facts() -> dict[str, object]:
    return {
        "CPU": cpu_model(),
        "cpus": len(cpus()) or os.cpu_count(),
        "system": platform.platform(),
        "commit": commit(),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "python": platform.python_version(),
    }


class Probe:
    """The limits of machine.c, by a small C program; ``works`` is false without a C compiler."""

    def __init__(self, folder: Path):
        self.program = folder / "machine"
        compiler = shutil.which(os.environ.get("CC", "cc"))
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
        command = [compiler or "", *options, str(HERE / "machine.c"), "-o", str(self.program)]
        self.works = compiler is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0

    def rate(self, what: str, threads: int = THREADS, seconds: float = 0.1) -> float:
        command = [str(self.program), what, str(threads), str(seconds)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _ticks(pid: int | None) -> float | None:
    """Seconds of CPU time that everything but this process has used; None where /proc does not tell."""
    try:
        user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] if pid else []
    except OSError:
        return None
    return (user + nice + system + irq + soft + steal - sum(map(int, own))) / os.sysconf("SC_CLK_TCK")


class Watch:
    """How much of the machine goes elsewhere while one process works (None: while none of ours does)."""

    def __init__(self, pid: int | None = None):
        self.pid, self.start, self.before = pid, time.perf_counter(), _ticks(pid)

    def share(self) -> float:
        """Of the time of all CPUs since the beginning, less one tick of the kernel's clock, which is its grain."""
        after, seconds = _ticks(self.pid), time.perf_counter() - self.start
        if self.before is None or after is None:
            return 0.0
        return max(0.0, (after - self.before - 1 / os.sysconf("SC_CLK_TCK")) / seconds / (os.cpu_count() or 1))


class Calm:
    """Takes samples while nothing else runs, as far as patience (seconds for a whole run, 10 for a sample) allows."""

    def __init__(self, patience: float):
        self.patience, self.samples, self.disturbed = patience, 0, 0

    def _wait(self, deadline: float) -> None:
        time.sleep(0.01)  # the threads of the worker before this one stop spinning
        while True:
            watch = Watch()
            time.sleep(0.05)
            if watch.share() <= DISTURBED or time.perf_counter() > deadline:
                return
            self.patience -= 0.05

    def sample(self, pid: int, measure: Callable[[], T]) -> T:
        """measure(), taken again while other programs disturbed it."""
        deadline = time.perf_counter() + min(self.patience, 10)
        while True:
            self._wait(deadline)
            watch = Watch(pid)
            result = measure()
            disturbed = watch.share() > DISTURBED
            if not disturbed or time.perf_counter() > deadline:
                self.samples += 1
                self.disturbed += disturbed
                return result
            self.patience -= time.perf_counter() - watch.start

    def text(self) -> str:
        text = f"other programs took over {DISTURBED:.0%} of the CPUs in {self.disturbed} of {self.samples} samples"
        return f"**{text}: do not trust this run**" if self.disturbed > 0.05 * self.samples else text
