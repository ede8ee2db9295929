"""hawfinch against NumPy, PyTorch, JAX and scikit-learn, and against the machine's own limits: see bench/README.md."""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fresh
import machine
import performance
from jobs import BY_NAME, JOBS, SWEEP_JOBS, TRAINING, Bar, Job
from pool import PEERS, Worker
from report import OURS, Row, Run, auto_to_one

APART = {  # rows that are measured in fresh processes
    "import": fresh.imports,
    "first-step": fresh.first_step,
    "wheel": fresh.wheel,
    "many": fresh.many,
}
ALL = [
    *(job.name for job in JOBS),
    *(name for name in APART if name != "many" or (machine.HERE / "many.py").exists()),
    "growth",
]
QUICK = [
    "mlp-64",
    "step-64",
    "predict-64",
    "matmul-512",
    "matmul-32x256x784",
    "matmul-32",
    "matmul-1x512x512",
    "bf16-1024",
    "norm-128",
    "softmax-128x10",
    "adam-1e5",
    "import",
    "growth",
]


@dataclass
class Settings:
    rounds: int
    seconds: float
    patience: float
    quick: bool
    peer_python: str


@dataclass(eq=False)
class Cell:
    worker: Worker
    mode: str
    first_loss: float
    times: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.worker.peer} {self.mode}".strip()


class Crew:
    """The workers, by number of threads; those of a number are started when the first job asks for it."""

    def __init__(self, peer_python: str):
        self.peer_python, self.workers = peer_python, {}
        self.absent: dict[str, str] = {}

    def of(self, threads: int) -> list[Worker]:
        if threads not in self.workers:
            self.workers[threads] = []
            for peer in PEERS:
                worker = Worker(peer, self.peer_python, threads)
                if worker.error:
                    self.absent[peer] = worker.error
                else:
                    self.workers[threads].append(worker)
        return self.workers[threads]

    def close(self) -> None:
        for workers in self.workers.values():
            for worker in workers:
                worker.close()


def prepare(job: Job, workers: list[Worker], how: Settings, notes: list[str]) -> list[Cell]:
    """Sets the job up everywhere, and checks that all train the same net: their first three losses must agree."""
    cells, reference = [], None
    for worker in workers:
        for mode in worker.about["modes"][job.name]:
            if mode.startswith("compile") and how.quick:
                continue
            answer = worker.ask(do="prepare", job=job.name, mode=mode, seconds=how.seconds)
            if "error" in answer:
                notes.append(f"{worker.peer} {mode}: {answer['error']}")
                continue
            losses = answer["losses"]
            cell = Cell(worker, mode, losses[0] if losses else math.log(job.sizes[-1]))
            cells.append(cell)
            if losses:
                reference = reference or (cell.name, losses)
                if not all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(losses, reference[1], strict=True)):
                    what = f"first losses {losses} against {reference[1]}"
                    notes.append(f"**{cell.name} trains another net than {reference[0]}**: {what}")
    return cells


def finish(cells: list[Cell], notes: list[str]) -> None:
    """Lets go of the cases. The loss of those that trained must have fallen."""
    for worker in dict.fromkeys(cell.worker for cell in cells):
        ends = worker.ask(do="drop").get("ends", {})
        for cell in cells:
            loss = ends.get(cell.mode) if cell.worker is worker else None
            if loss is not None and not loss < cell.first_loss:
                notes.append(f"**{cell.name} does not learn**: loss {cell.first_loss} at first, {loss} at last")


def run(job: Job, workers: list[Worker], probe: machine.Probe, how: Settings, calm: machine.Calm) -> Row:
    notes: list[str] = []
    seconds = how.seconds if job.group == TRAINING else 0.3 * how.seconds  # calls vary less than epochs
    how = replace(how, seconds=seconds)
    cells = prepare(job, workers, how, notes)
    limits: list[float] = []
    for i in range(how.rounds):
        for cell in cells if i % 2 == 0 else cells[::-1]:
            sample = functools.partial(cell.worker.ask, do="run", mode=cell.mode, seconds=how.seconds)
            answer = calm.sample(cell.worker.process.pid, sample)
            if "error" in answer:
                notes.append(f"{cell.name}: {answer['error']}")
            else:
                cell.times.append(float(f"{answer['seconds']:.5g}"))
        if job.limit and probe.works:
            limits.append(probe.rate(job.limit, job.threads, 0.05))
    finish(cells, notes)
    return Row.of(job, {cell.name: cell.times for cell in cells if cell.times}, limits, notes)


def overhead(step: Row, fit: Row) -> Row:
    """What a step costs more when it is called from Python: the difference of two medians."""
    times = {p: step.median(p) - fit.median(p) for p in step.times if fit.times.get(p)}  # type: ignore[operator]
    others = ", ".join(f"{p} {1e6 * t:.3g} us" for p, t in times.items() if p != OURS)
    ours = {p: [t] for p, t in times.items() if p == OURS}
    title = "trainer.step from Python minus the step inside fit"
    return Row(
        "step-overhead",
        title,
        TRAINING,
        ours,
        bars=(Bar(2e-6, "s"),),
        notes=[f"the same difference for peers: {others}"],
    )


def growth(how: Settings) -> tuple[dict[str, Any], Row]:
    """Cost curves, and the promise that auto threads are never slower than one: within 5 %, which is the noise here."""
    args = ["--quick"] if how.quick else []
    curves = json.loads(fresh.call(sys.executable, "-m", "workers.growth", *args))
    ratios = [ratio for curve in curves.values() for point in curve if (ratio := auto_to_one(point))]
    title = f"time with threads left to auto over time with one thread: the worst of {len(ratios)} nets and matmuls"
    return curves, Row("auto", title, TRAINING, {OURS: [max(ratios)]}, unit="×", bars=(Bar(1.05, "×"),))


def limits_of(probe: machine.Probe) -> dict[str, float]:
    """Each limit on one thread and on two, the best of three."""
    if not probe.works:
        return {}
    return {f"{what} {n}": max(probe.rate(what, n, 0.2) for _ in range(3)) for what in machine.LIMITS for n in (1, 2)}


def facts_of(crew: Crew, how: Settings, calm: machine.Calm) -> dict[str, Any]:
    facts = machine.facts()
    workers = crew.of(machine.THREADS)
    versions = {k: v for w in workers for k, v in w.about["versions"].items()}
    facts["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    facts["threads"] = (
        ", ".join(f"{w.peer} {w.about['threads']}" for w in workers) + " at most; 1 in jobs on one thread"
    )
    facts["hawfinch's own words"] = "; ".join(w.about["config"].replace("\n", "; ") for w in workers if w.peer == OURS)
    facts["rounds"] = f"{how.rounds} of {how.seconds:g} s (training) or {0.3 * how.seconds:.2g} s (kernels) per cell"
    facts["disturbed"] = calm.text()
    if crew.absent:
        facts["absent"] = "; ".join(f"{peer} ({why})" for peer, why in crew.absent.items())
    return facts


def measure_row(
    name: str, rows: dict[str, Row], crew: Crew, probe: machine.Probe, how: Settings, calm: machine.Calm
) -> None:
    if name in APART:
        rows[name] = APART[name](how.peer_python, min(how.rounds, 3))
        return
    job = BY_NAME[name]
    rows[name] = run(job, crew.of(job.threads), probe, how, calm)
    if name == "step-64" and "mlp-64" in rows:
        rows["step-overhead"] = overhead(rows[name], rows["mlp-64"])


def measure(names: list[str], how: Settings) -> Run:
    rows: dict[str, Row] = {}
    curves: dict[str, Any] = {}
    failed: list[str] = []  # what breaks loses itself, not the run
    calm, crew = machine.Calm(how.patience), Crew(how.peer_python)
    with tempfile.TemporaryDirectory() as folder:
        probe = machine.Probe(Path(folder))
        for name in names:
            start = time.perf_counter()
            try:
                if name == "growth":
                    curves, rows["auto"] = growth(how)
                else:
                    measure_row(name, rows, crew, probe, how, calm)
            except Exception:
                traceback.print_exc()
                failed.append(name)
            print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
        facts = facts_of(crew, how, calm) | ({"**failed**": ", ".join(failed)} if failed else {})
        done = Run(facts, limits_of(probe), list(rows.values()), curves)
    crew.close()
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of under two minutes")
    parser.add_argument(
        "--job", action="append", choices=[*ALL, *BY_NAME, "sweeps"], help="only this job; may be repeated"
    )
    parser.add_argument(
        "--runs", type=int, default=1, help="separate runs; a bar is met when it is in three (default 1)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all peers per job (default 5)")
    parser.add_argument("--seconds", type=float, default=0.2, help="time of one sample (default 0.2)")
    parser.add_argument("--patience", type=float, default=300, help="seconds to lose to other programs (default 300)")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="the Python that has the peers (default this one)"
    )
    args = parser.parse_args()
    names = args.job or (QUICK if args.quick else ALL)
    if "sweeps" in names:
        names = [*(name for name in names if name != "sweeps"), *(job.name for job in SWEEP_JOBS)]
    how = Settings(args.rounds, args.seconds, args.patience, False, args.peer_python)
    if args.quick:
        how = Settings(2, 0.05, 0, True, args.peer_python)
    whole = not (args.quick or args.job)
    for _ in range(args.runs):
        path = measure(names, how).write(performance.RESULTS if whole else performance.PART)
        print(f"written: {path}")
    print(performance.write(whole))


if __name__ == "__main__":
    main()
