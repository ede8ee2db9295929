"""What a run measured: rows, how they are judged against their bars over several runs, the files they lie in, and the
words that both pages (performance.py, bars.py) use."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jobs import Bar, Job

OURS = "hawfinch"
IN_PLAN, BARE = f"{OURS} in a plan", f"{OURS} bare"
RUNS = 3  # a bar is met when it is met in each of the last RUNS runs of a commit
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
# Families of peers: the heading of their column, and the cells that belong to it.
FAMILIES = {
    "NumPy": r"numpy$",
    "NumPy, AVX-512 kernels": r"numpy SkylakeX",
    "PyTorch": r"torch(?! onednn| bf16)",
    "oneDNN in PyTorch": r"torch (onednn|bf16)",
    "JAX": r"jax|vmap",
    "scikit-learn": r"sklearn|joblib",
}


def times_text(x: float) -> str:
    return f"{x:.0f}×" if x >= 100 else f"{x:.3g}×"


def value_text(value: float, unit: str) -> str:
    if unit == "×":
        return times_text(value)
    if unit != "s":
        return f"{value:.3g} {unit}"
    scale, name = next((u for u in UNITS if abs(value) >= u[0]), UNITS[-1])
    return f"{value / scale:.3g} {name}" if abs(value) < 999.5 * scale else f"{value / scale:.0f} {name}"


@dataclass(frozen=True)
class Row:
    """The samples of one job in one run. times: by cell, "peer mode". limits: samples of the machine's limit, and work
    is what counts against it (FLOP or bytes)."""

    name: str
    title: str
    group: str
    times: dict[str, list[float]]
    unit: str = "s"
    bars: tuple[Bar, ...] = ()
    limit: str = ""
    limits: list[float] = field(default_factory=list)
    work: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    threads: int = 2
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def of(job: Job, times: dict[str, list[float]], limits: list[float], notes: list[str]) -> Row:
        measured = job.limit, limits, job.work, job.flops, job.bytes, job.threads, notes
        return Row(job.name, job.title, job.group, times, "s", job.bars, *measured)

    def median(self, cell: str) -> float | None:
        return statistics.median(self.times[cell]) if self.times.get(cell) else None

    def best(self, pattern: str = "") -> tuple[str, float] | None:
        """The fastest peer whose name begins so (a regular expression), and its time."""
        found = {c: statistics.median(t) for c, t in self.times.items() if t and not c.startswith(OURS)}
        found = {c: t for c, t in found.items() if re.match(pattern, c)}
        return min(found.items(), key=lambda item: item[1]) if found else None

    def percent(self, cell: str) -> float | None:
        time = self.median(cell)
        limit = statistics.median(self.limits) if self.limits else 0.0
        return None if not time or not limit or not self.work else 100 * self.work / time / limit

    def ratio(self) -> float | None:
        """The fastest peer's time over ours: above 1 we are faster."""
        best, ours = self.best(), self.median(OURS)
        return best[1] / ours if best and ours and ours > 0 else None

    def measure(self, bar: Bar) -> float | None:
        """What the bar speaks of."""
        ours = self.median(OURS)
        if bar.against == "%":
            return self.percent(IN_PLAN if self.times.get(IN_PLAN) else OURS)
        if ours is None or bar.against == self.unit:
            return ours
        if bar.against == "bare":
            bare = self.median(BARE)
            return ours / bare if bare else None
        best = self.best() if bar.against == "best" else self.best(re.escape(bar.against))
        return best[1] / ours if best else None


def at_most(bar: Bar, unit: str) -> bool:
    return bar.against in (unit, "bare")


@dataclass(frozen=True)
class Verdict:
    bar: str
    measured: str
    met: bool | None  # None: not measured in each run

    @property
    def state(self) -> str:
        return "not measured" if self.met is None else "met" if self.met else "**not met**"


@dataclass(frozen=True)
class Result:
    """A job over all runs; its figures are medians over the runs."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> Row:
        return self.rows[0]

    @property
    def title(self) -> str:
        """For a line that stands alone."""
        row = self.first
        kind = {"matmul": "matmul ", "bf16": "bfloat16 matmul "}.get(row.name.partition("-")[0], "")
        return f"{kind}{row.title.replace(', forward and backward', '')}{', one thread' if row.threads == 1 else ''}"

    def cells(self) -> list[str]:
        return list(dict.fromkeys(cell for row in self.rows for cell in row.times if row.times[cell]))

    def median(self, cell: str) -> float | None:
        return _median([row.median(cell) for row in self.rows])

    def percent(self, cell: str) -> float | None:
        return _median([row.percent(cell) for row in self.rows])

    def ratio(self) -> float | None:
        return _median([row.ratio() for row in self.rows])

    @property
    def slower(self) -> bool:
        """Whether a peer is faster."""
        return (self.ratio() or 1) < 1

    def best(self, pattern: str = "") -> tuple[str, float] | None:
        found = {c: self.median(c) for c in self.cells() if not c.startswith(OURS) and re.match(pattern, c)}
        times = {c: t for c, t in found.items() if t is not None}
        return min(times.items(), key=lambda item: item[1]) if times else None

    def spread(self, cell: str) -> float:
        """Half the range between quartiles of all samples, in percent of the median."""
        samples = [t for row in self.rows for t in row.times.get(cell, ())]
        if len(samples) < 2:
            return 0.0
        q1, median, q3 = statistics.quantiles(samples, n=4, method="inclusive")
        return 50 * (q3 - q1) / abs(median) if median else 0.0

    def verdicts(self) -> list[Verdict]:
        return [self._verdict(bar) for bar in self.first.bars]

    def _verdict(self, bar: Bar) -> Verdict:
        unit = self.first.unit
        found = [row.measure(bar) for row in self.rows]
        values = [v for v in found if v is not None]
        against = {"best": "the best peer", "bare": "its bare kernels"}.get(bar.against, bar.against)
        if bar.against in (unit, "%"):
            text = f"{'≥' if bar.against == '%' else '≤'} {value_text(bar.value, bar.against)}"
        else:
            text = f"{'≤ ' if bar.against == 'bare' else ''}{bar.value:g}× {against}"
        if len(values) < len(found):
            return Verdict(text, "", None)
        kind = bar.against if bar.against in (unit, "%") else "×"
        ends = list(dict.fromkeys(value_text(v, kind) for v in (min(values), max(values))))
        met = all(v <= bar.value if at_most(bar, unit) else v >= bar.value for v in values)
        return Verdict(text, " to ".join(ends), met)


def _median(values: Sequence[float | None]) -> float | None:
    found = [v for v in values if v is not None]
    return statistics.median(found) if found else None


@dataclass(frozen=True)
class Run:
    """One run of bench/run.py. limits: of the machine, by name and threads ("fma 2"). growth: see workers/growth.py."""

    facts: dict[str, Any]
    limits: dict[str, float]
    rows: list[Row]
    growth: dict[str, Any]

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        cpu = re.sub("[^a-z0-9]+", "-", self.facts["CPU"].lower()).strip("-")
        path = folder / f"{re.sub('[^0-9T-]', '', self.facts['date'][:19])}-{cpu}.json"
        rows = ",\n  ".join(json.dumps(asdict(row), ensure_ascii=False) for row in self.rows)
        head = "".join(f" {json.dumps(k)}: {json.dumps(getattr(self, k))},\n" for k in ("facts", "limits", "growth"))
        path.write_text(f'{{\n{head} "rows": [\n  {rows}\n ]\n}}\n')
        return path

    @staticmethod
    def read(path: Path) -> Run:
        raw = json.loads(path.read_text())
        rows = [Row(**{**row, "bars": tuple(Bar(**bar) for bar in row["bars"])}) for row in raw["rows"]]
        return Run(raw["facts"], raw["limits"], rows, raw["growth"])


def latest(folder: Path) -> list[Run]:
    """The newest run in this folder and those before it of the same commit and CPU, at most RUNS, newest last."""
    runs = [Run.read(path) for path in sorted(folder.glob("*.json"))]
    same = [r for r in runs if all(r.facts[k] == runs[-1].facts[k] for k in ("CPU", "commit"))]
    return same[-RUNS:]


def results(runs: Sequence[Run]) -> list[Result]:
    """The jobs of the newest run, each with its rows in all runs that have it."""
    return [Result(tuple(r for run in runs for r in run.rows if r.name == row.name)) for row in runs[-1].rows]


def auto_to_one(point: dict[str, Any]) -> float | None:
    """Time with threads left to auto over time with one thread, of a point of workers/growth.py. Runs before 2026-11-24
    have no medians of paired ratios: there it is the ratio of the medians."""
    return point.get("ratio") or (point["auto"] / point["one"] if point["one"] else None)


# ---- words ----
def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Without the columns that are empty in every row."""
    used = [i for i in range(len(head)) if i == 0 or any(row[i] not in ("", "–") for row in rows)]
    lines = [[line[i] or "–" for i in used] for line in rows]
    return ["| " + " | ".join(line) + " |" for line in ([head[i] for i in used], ["---"] * len(used), *lines)] + [""]


def reasons(path: Path) -> dict[str, str]:
    """What limits.md says, by job: sections headed ``## job job ...``."""
    sections = re.split(r"^## +(.+)\n", path.read_text(), flags=re.M)[1:]
    pairs = zip(sections[::2], sections[1::2], strict=True)
    return {job: " ".join(text.split()) for jobs, text in pairs for job in jobs.split()}


def explain(found: Sequence[Result], why: dict[str, str]) -> list[str]:
    """A line per reason, headed by the jobs that it explains; jobs that nothing explains share the last."""
    by_reason: dict[str, list[str]] = {}
    for r in found:
        by_reason.setdefault(why.get(r.first.name, "No reason is written down yet."), []).append(r.title)
    return [f"* **{'; '.join(titles)}.** {reason}" for reason, titles in by_reason.items()]
