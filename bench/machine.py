"""What the machine is, what it can do, and whether it is doing something else just now."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
THREADS = 2


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


def commit() -> str:
    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", HERE.parent, *args], capture_output=True, text=True, check=False
        ).stdout.strip()

    edited = git("status", "--porcelain", "--", "csrc", "python", "bench/*.*", "bench/workers")
    return git("rev-parse", "--short", "HEAD") + (" with uncommitted changes" if edited else "")


def facts() -> dict[str, object]:
    return {
        "cpu": cpu_model(), "cpus": len(cpus()) or os.cpu_count(), "system": platform.platform(), "commit": commit(),
        "date": datetime.now().astimezone().isoformat(timespec="minutes"), "python": platform.python_version(),
    }  # fmt: skip


class Probe:
    """The FMA peak and the memory bandwidth, by a small C program; ``works`` is false without a C compiler."""

    def __init__(self, folder: Path):
        self.program = folder / "machine"
        compiler = shutil.which(os.environ.get("CC", "cc"))
        options = ["-O3", "-march=native", "-ffp-contract=fast", "-pthread"]
        command = [compiler or "", *options, str(HERE / "machine.c"), "-o", str(self.program)]
        self.works = compiler is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0

    def rate(self, what: str, threads: int = THREADS, seconds: float = 0.1) -> float:
        command = [str(self.program), what, str(threads), str(seconds)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _ticks(pid: int) -> tuple[float, float] | None:
    """Seconds of CPU time: of the whole machine but for idling, and of one process and the children it has reaped."""
    try:
        user, nice, system, _, _, irq, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
        own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    hz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + soft + steal) / hz, sum(map(int, own[11:15])) / hz


class Watch:
    """How much of the machine went elsewhere while one process worked: ``share`` of the time of all CPUs."""

    def __init__(self, pid: int):
        self.pid = pid
        self.before = _ticks(pid)

    def share(self, seconds: float) -> float:
        after = _ticks(self.pid)
        if self.before is None or after is None:
            return 0.0
        foreign = (after[0] - self.before[0]) - (after[1] - self.before[1])
        return max(0.0, foreign / seconds / (os.cpu_count() or 1))
