"""Writes docs/performance.md and its pictures, bench/BARS.md and README's table, from the last runs in bench/results:
python bench/performance.py.

The page is for who wants to know what hawfinch would do for them: what they get and against whom, how that was
measured, where a peer is faster and why, then every result. Our own targets are on a page of their own (bars.py). Prose
lies in method.md and limits.md; what limits.md says about a job is printed only while a peer is faster, or a bar is
missed.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from typing import Any

import bars
from machine import HERE
from report import (
    BARE,
    FAMILIES,
    IN_PLAN,
    OURS,
    Result,
    Run,
    auto_to_one,
    explain,
    latest,
    reasons,
    results,
    table,
    times_text,
    value_text,
)

RESULTS = HERE / "results"
PART = HERE.parent / "build" / "bench"  # runs of a part, or quick ones
DOCS = HERE.parent / "docs"
HEAD = "<!-- Written by bench/performance.py from measured data: edit bench/method.md or bench/limits.md instead. -->"
# What the page begins with, and the peers by project, whatever product it uses inside.
HEADLINES = (
    "mlp-64",
    "mlp-784",
    "mlp-norm",
    "mlp-1024",
    "step-64",
    "predict-64",
    "many",
    "import",
    "first-step",
    "matmul-32x256x784",
    "matmul-1024",
    "norm-128",
    "softmax-128x1000",
    "adam-1e7",
    "gelu",
)
IN_README = (
    "mlp-64",
    "mlp-784",
    "mlp-norm",
    "mlp-1024",
    "predict-64",
    "many",
    "matmul-1024",
    "matmul-2048",
    "norm-128",
    "softmax-128x1000",
    "gelu",
    "import",
    "first-step",
)
README, README_HEAD, README_END = HERE.parent / "README.md", "<!-- bench/performance.py -->\n", "<!-- end -->\n"
PROJECTS = {"NumPy": "numpy", "PyTorch": "torch", "JAX": "jax|vmap", "scikit-learn": "sklearn|joblib"}


def percent_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} %"


def ratio_text(value: float | None) -> str:
    return "–" if value is None else times_text(value) if value >= 1 else f"**{times_text(value)}: slower**"


def time_cell(result: Result, cell: str) -> str:
    value, unit = result.median(cell), result.first.unit
    if value is None:
        return "–"
    return value_text(value, unit) + (f" ±{result.spread(cell):.0f} %" if unit == "s" else "")


def peer_cells(result: Result, families: dict[str, str], modes: bool = True) -> list[str]:
    """A cell per family: its fastest mode, with the name of the mode where it has several; bold: the fastest of all."""
    best, found = result.best(), []
    for pattern in families.values():
        peer = result.best(pattern)
        if peer is None:
            found.append("–")
            continue
        several = sum(1 for cell in result.cells() if re.match(pattern, cell)) > 1
        mode = peer[0].partition(" ")[2] if modes and several else ""
        text = value_text(peer[1], result.first.unit) + (f" ({mode})" if mode else "")
        found.append(f"**{text}**" if best and peer[0] == best[0] else text)
    return found


def group_table(found: Sequence[Result]) -> list[str]:
    plan = any(r.median(IN_PLAN) for r in found)
    head = ["", OURS, "in a plan", "bare", "of the limit", "from Python", *FAMILIES, "fastest peer / hawfinch"]
    rows = []
    for r in found:
        judged = r.percent(IN_PLAN) if plan else r.percent(OURS)
        rows.append(
            [
                r.first.title,
                time_cell(r, OURS),
                time_cell(r, IN_PLAN),
                time_cell(r, BARE),
                percent_text(judged),
                percent_text(r.percent(OURS)) if plan else "–",
                *peer_cells(r, FAMILIES),
                ratio_text(r.ratio()),
            ]
        )
    return table(head, rows)


def headlines(found: Sequence[Result], names: Sequence[str] = HEADLINES) -> list[str]:
    by_name, rows = {r.first.name: r for r in found}, []
    for r in (by_name[name] for name in names if name in by_name):
        ours, ratio = r.median(OURS), r.ratio()
        if ours is None or ratio is None:
            continue
        cells = [value_text(ours, r.first.unit), *peer_cells(r, PROJECTS, modes=False)]
        if not r.slower:
            cells = [f"**{cells[0]}**", *(cell.strip("*") for cell in cells[1:])]
        rows.append([r.title, *cells, times_text(ratio)])
    return table(["", OURS, *PROJECTS, "fastest peer / hawfinch"], rows)


def with_table(readme: str, runs: Sequence[Run]) -> str:
    """README with the table of these runs."""
    before, _, rest = readme.partition(README_HEAD)
    lines = headlines(results(runs), IN_README)
    return before + README_HEAD + "\n".join(lines) + "\n" + README_END + rest.partition(README_END)[2]


def by_kind(found: Sequence[Result]) -> list[str]:
    """How hawfinch does against the fastest peer, per kind of job."""
    rows = []
    for group in dict.fromkeys(r.first.group for r in found):
        ratios = [ratio for r in found if r.first.group == group and (ratio := r.ratio())]
        if ratios:
            span = [times_text(f(ratios)) for f in (min, statistics.median, max)]
            rows.append([group, str(len(ratios)), str(sum(x >= 1 for x in ratios)), *span])
    return table(["fastest peer / hawfinch", "jobs", "hawfinch is fastest in", "least", "middle", "most"], rows)


def lost_jobs(found: Sequence[Result]) -> list[Result]:
    """The jobs in which a peer is faster, the worst first."""
    return sorted((r for r in found if r.slower), key=lambda r: r.ratio() or 1)


def what_you_get(found: Sequence[Result], runs: Sequence[Run]) -> list[str]:
    facts, lost = runs[-1].facts, lost_jobs(found)
    compared = sum(r.ratio() is not None for r in found)
    peers = ", ".join(v for v in facts.get("versions", "").split(", ") if v and not v.startswith(OURS))
    near = sum((r.ratio() or 1) > 0.95 for r in lost)
    many = f"{len(runs)} runs" if len(runs) > 1 else "one run"
    lines = [
        f"**hawfinch is the fastest in {compared - len(lost)} of {compared} jobs.** In {len(lost)} a peer is"
        + (f", in {near} of them by less than 5 %." if near else "."),
        f"Peers: {peers or 'none'}; of each the fastest of its modes counts. The machine: {facts['CPU']}, "
        f"{facts.get('cpus', '?')} CPUs; {many} of {facts['date'][:10]}.",
        "Times differ from machine to machine, and on a shared host from hour to hour; ratios differ less.",
        "",
        *headlines(found),
        "In bold the fastest; above 1× it is hawfinch. All jobs, by kind:",
        "",
        *by_kind(found),
    ]
    if lost:
        names = ", ".join(f"{r.title} ({times_text(r.ratio() or 1)})" for r in lost)
        lines += [f"A peer is faster at: {names}. [Why](#where-we-lose-and-why).", ""]
    return lines


def losses(found: Sequence[Result]) -> list[str]:
    """Every job in which a peer is faster, with the reason where one is written."""
    lost = lost_jobs(found)
    if not lost:
        return ["In these runs no peer was faster in any job.", ""]
    rows = []
    for r in lost:
        best = r.best()
        assert best
        unit = r.first.unit
        rows.append([r.title, time_cell(r, OURS), value_text(best[1], unit), best[0], times_text(r.ratio() or 1)])
    head = ["", OURS, "fastest peer", "which", "fastest peer / hawfinch"]
    return [*table(head, rows), *explain(lost, reasons(HERE / "limits.md")), ""]


def machine_section(runs: Sequence[Run]) -> list[str]:
    def over(name: str) -> str:
        values = [run.limits[name] / 1e9 for run in runs if name in run.limits]
        texts = list(dict.fromkeys(f"{v:.0f}" for v in (min(values), max(values)))) if values else []
        return " to ".join(texts) or "–"

    kinds = {
        "fma": "float32 FMA, GFLOP/s",
        "bf16": "bfloat16 dot products, GFLOP/s",
        "read": "memory, read, GB/s",
        "triad": "memory, triad, GB/s",
        "update": "memory, update in place, GB/s",
    }
    facts = runs[-1].facts
    skip = ("date", "disturbed")
    lines = [f"* {key}: {value}" for key, value in facts.items() if key not in skip]
    lines += [f"* run of {run.facts['date']}: {run.facts['disturbed']}" for run in runs]
    rows = [[text, over(f"{kind} 1"), over(f"{kind} 2")] for kind, text in kinds.items()]
    return [*lines, "", *table(["measured limit", "1 thread", "2 threads"], rows)]


def growth_tables(curves: dict[str, list[dict[str, Any]]]) -> list[str]:
    heads = {
        "batch": "784-256-10, by batch",
        "width": "n-n-n-10, batch 32, by width n",
        "depth": "64-…-64-10, batch 32, by hidden layers",
        "matmul": "matmul n×n×n through `hf.kernels`, by n",
        "nets": "64-32-10, by number of nets",
    }
    lines: list[str] = []
    for curve, points in curves.items():
        rows = [
            [
                f"{p['size']:,}",
                f"{p['multiply-adds']:.3g}",
                value_text(p["auto"], "s"),
                value_text(p["one"], "s") if p["one"] else "–",
                f"{2e-9 * p['multiply-adds'] / p['auto']:.3g}",
                f"{ratio:.2f}" if (ratio := auto_to_one(p)) else "–",
            ]
            for p in points
        ]
        head = ["", "multiply-adds", "auto", "one thread", "GFLOP/s, auto", "auto / one thread"]
        lines += [f"{heads.get(curve, curve)}:", "", *table(head, rows)]
    points = [(ratio, curve, p["size"]) for curve in curves for p in curves[curve] if (ratio := auto_to_one(p))]
    if points:
        worst, curve, size = max(points)
        lines += [
            f"Auto against one thread in the newest run, {len(points)} sizes from "
            f"{min(p['multiply-adds'] for c in curves.values() for p in c):.3g} multiply-adds on: "
            f"worst ratio {worst:.2f} ({curve} {size}).",
            "",
        ]
    return lines


def page(runs: Sequence[Run]) -> str:
    found, facts = results(runs), runs[-1].facts
    lines = [HEAD, "", "# Performance", "", "## What you get", "", *what_you_get(found, runs)]
    lines += ["![Time of the fastest peer relative to hawfinch, per job](performance.png)", ""]
    lines += ["## How it was measured", "", (HERE / "method.md").read_text().strip(), ""]
    lines += ["### The machine and the runs", "", *machine_section(runs)]
    lines += ["## Where we lose, and why", "", *losses(found)]
    lines += ["Our own targets, met and missed: [bench/BARS.md](../bench/BARS.md).", ""]
    lines += [
        "## Every result",
        "",
        "Times are medians ± half the range between quartiles. In bold: the fastest peer.",
        "",
    ]
    for group in dict.fromkeys(r.first.group for r in found):
        lines += [f"### {group}", "", *group_table([r for r in found if r.first.group == group])]
    compared = [r for r in found if r.best()]
    notes = [(r.first.name, note) for r in compared for note in dict.fromkeys(n for row in r.rows for n in row.notes)]
    lines += [*(f"* `{name}`: {note}" for name, note in notes), ""] if notes else []
    lines += ["## Under the roofs", "", "![GFLOP/s against FLOP per byte](roofline.png)", ""]
    if runs[-1].growth:
        lines += ["## How cost grows", "", "![Time against batch, width, depth and matmul size](growth.png)", ""]
        lines += growth_tables(runs[-1].growth)
    lines += [f"Commit {facts['commit']}, {facts['date'][:10]}, {facts['CPU']}."]
    return "\n".join(lines) + "\n"


def write(whole: bool = True) -> str:
    """Pages and pictures of the last runs: of the whole harness into docs/ and bench/, of a part into build/bench/."""
    folder = DOCS if whole else PART
    runs = latest(RESULTS) if whole else latest(PART)[-1:]
    if not runs:
        raise SystemExit(f"no results in {RESULTS if whole else PART}: `make bench` measures some")
    path, bars_path = folder / "performance.md", (HERE if whole else PART) / "BARS.md"
    path.write_text(page(runs))
    bars_path.write_text(bars.page(runs))
    if whole:
        README.write_text(with_table(README.read_text(), runs))
    found, facts = results(runs), runs[-1].facts
    summary = "\n".join(bars.summary(found, len(runs)))
    caption = f"{facts['CPU']}, {facts['date'][:10]}, commit {facts['commit']}, {len(runs)} run(s)"
    try:
        import plots
    except ImportError:
        return f"written: {path}, {bars_path}; no pictures: matplotlib is not installed\n\n{summary}"
    plots.ratios(found, caption, folder / "performance.png")
    plots.roofline(found, runs[-1].limits, caption, folder / "roofline.png")
    if runs[-1].growth:
        plots.growth(runs[-1].growth, caption, folder / "growth.png")
    return f"written: {path} and pictures beside it, {bars_path}\n\n{summary}"


if __name__ == "__main__":
    print(write())
