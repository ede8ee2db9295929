"""hawfinch against NumPy, PyTorch, JAX and scikit-learn, and against the machine's own limits: see bench/README.md."""

from __future__ import annotations

import argparse
import functools
import math
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fresh
import machine
from jobs import BY_NAME, Bar, Job
from pool import PEERS, Worker
from report import OURS, Row, Stats, row, write

ALL = [*BY_NAME, "import", "first-step", "wheel"]
QUICK = ["mlp-64", "step-64", "predict-64", "matmul-1024", "softmax-10", "import"]
DERIVED = "step-overhead"


@dataclass
class Settings:
    rounds: int
    seconds: float
    patience: float
    compiled: bool
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


def prepare(job: Job, workers: list[Worker], how: Settings, notes: list[str]) -> list[Cell]:
    """Sets the job up everywhere, and checks that all train the same net: their first three losses must agree."""
    cells, reference = [], None
    for worker in workers:
        for mode in worker.about["modes"][job.name]:
            if mode.startswith("compile") and not how.compiled:
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
    cells = prepare(job, workers, how, notes)
    what = "fma" if job.flops else "triad" if job.bytes else ""
    limits: list[float] = []
    for i in range(how.rounds):
        for cell in cells if i % 2 == 0 else cells[::-1]:
            sample = functools.partial(cell.worker.ask, do="run", mode=cell.mode, seconds=how.seconds)
            answer = calm.sample(cell.worker.process.pid, sample)
            if "error" in answer:
                notes.append(f"{cell.name}: {answer['error']}")
            else:
                cell.times.append(answer["seconds"])
        if what and probe.works:
            limits.append(probe.rate(what))
    finish(cells, notes)
    times = {cell.name: Stats.of(cell.times) for cell in cells if cell.times}
    percent = None
    if limits and OURS in times:
        percent = 100 * (job.flops or job.bytes) / times[OURS].median / Stats.of(limits).median
    return row(job.name, job.title, times, percent=percent, bars=job.bars, notes=notes)


def overhead(step: Row, fit: Row) -> Row:
    """What a step costs more when it is called from Python: the difference of two medians."""
    both = step.times.keys() & fit.times.keys()
    times = {p: Stats.of([step.times[p].median - fit.times[p].median]) for p in step.times if p in both}
    ours = {p: s for p, s in times.items() if p == OURS}
    others = ", ".join(f"{p} {s.text('s')}" for p, s in times.items() if p != OURS)
    title = "trainer.step from Python minus the step inside fit"
    return row(DERIVED, title, ours, bars=(Bar(2e-6, "s"),), notes=[f"the same difference for peers: {others}"])


def start(peer_python: str) -> tuple[list[Worker], dict[str, str]]:
    workers, absent = [], {}
    for peer in PEERS:
        worker = Worker(peer, peer_python)
        if worker.error:
            absent[peer] = worker.error
        else:
            workers.append(worker)
    return workers, absent


def facts_of(
    workers: list[Worker], absent: dict[str, str], probe: machine.Probe, how: Settings, calm: machine.Calm
) -> dict[str, Any]:
    facts = machine.facts()
    versions = {k: v for w in workers for k, v in w.about["versions"].items()}
    facts["versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    facts["threads"] = ", ".join(f"{w.peer} {w.about['threads']}" for w in workers) + " at most"
    facts["hawfinch's own words"] = "; ".join(w.about["config"].replace("\n", "; ") for w in workers if w.peer == OURS)
    facts["rounds"] = f"{how.rounds} of {how.seconds:g} s per cell, interleaved; medians ± half the interquartile range"
    facts["disturbed"] = calm.text()
    if probe.works:
        peak = {n: max(probe.rate("fma", n) for _ in range(5)) for n in (1, 2)}
        triad = max(probe.rate("triad", seconds=0.3) for _ in range(3))
        facts["machine"] = (
            f"{peak[1] / 1e9:.0f} GFLOP/s on 1 thread and {peak[2] / 1e9:.0f} on 2 (float32 FMA), "
            f"{triad / 1e9:.1f} GB/s (triad over 256 MiB, 2 threads)"
        )
        facts["of the machine's limit"] = (
            "FLOP of hawfinch's matmuls over the FMA peak of 2 threads; for GELU bytes over the triad bandwidth, "
            "over 100 % where data stays in cache. Both limits are measured again in each round"
        )
    else:
        facts["machine"] = "no limits measured: machine.c did not compile (is there a C compiler?)"
    if absent:
        facts["absent"] = "; ".join(f"{peer} ({why})" for peer, why in absent.items())
    return {("CPU" if k == "cpu" else k): v for k, v in facts.items()}


def measure(names: list[str], how: Settings) -> tuple[dict[str, Any], list[Row], list[str]]:
    rows: dict[str, Row] = {}
    calm = machine.Calm(how.patience)
    workers, absent = start(how.peer_python)
    with tempfile.TemporaryDirectory() as folder:
        probe = machine.Probe(Path(folder))
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            if name == "import":
                rows[name] = fresh.imports(how.peer_python, how.rounds)
            elif name == "first-step":
                rows[name] = fresh.first_step(how.peer_python, min(how.rounds, 5))
            elif name == "wheel":
                rows[name] = fresh.wheel()
            else:
                rows[name] = run(BY_NAME[name], workers, probe, how, calm)
            if name == "step-64" and "mlp-64" in rows:
                rows[DERIVED] = overhead(rows[name], rows["mlp-64"])
        facts = facts_of(workers, absent, probe, how, calm)
    for worker in workers:
        worker.close()
    peers = dict.fromkeys(name for r in rows.values() for name in r.times if name != OURS)
    order = sorted(peers, key=lambda name: [*PEERS].index(next(p for p in reversed(PEERS) if name.startswith(p))))
    return facts, list(rows.values()), order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run of under a minute")
    parser.add_argument("--job", action="append", choices=ALL, help="only this job; may be repeated")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of all peers per job (default 9)")
    parser.add_argument("--seconds", type=float, default=0.3, help="time of one sample (default 0.3)")
    parser.add_argument("--patience", type=float, default=600, help="seconds to lose to other programs (default 600)")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="the Python that has the peers (default this one)"
    )
    parser.add_argument("--out", type=Path, help="folder for results (default bench/results; build/bench for a part)")
    args = parser.parse_args()
    names = args.job or (QUICK if args.quick else ALL)
    how = Settings(args.rounds, args.seconds, args.patience, not args.quick, args.peer_python)
    if args.quick:
        how = Settings(2, 0.05, 0, False, args.peer_python)
    part = machine.HERE.parent / "build" / "bench" if args.quick or args.job else machine.HERE / "results"
    facts, rows, peers = measure(names, how)
    print(write(args.out or part, facts, rows, peers))


if __name__ == "__main__":
    main()
