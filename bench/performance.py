"""Writes docs/performance.md and its pictures from the last runs in bench/results: python bench/performance.py.

Prose lies in method.md and limits.md. What limits.md says about a job is printed only while that job has a bar that it
does not meet, or a peer that is faster; a job listed there that has lost nothing is named as won.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from machine import HERE
from report import BARE, FAMILIES, IN_PLAN, OURS, RUNS, Result, Run, Verdict, latest, results, times_text, value_text

RESULTS = HERE / "results"
PART = HERE.parent / "build" / "bench"  # runs of a part, or quick ones
DOCS = HERE.parent / "docs"
HEAD = "<!-- Written by bench/performance.py from measured data: edit bench/method.md or bench/limits.md instead. -->"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Without the columns that are empty in every row."""
    used = [i for i in range(len(head)) if i == 0 or any(row[i] not in ("", "–") for row in rows)]
    lines = [[line[i] or "–" for i in used] for line in rows]
    return ["| " + " | ".join(line) + " |" for line in ([head[i] for i in used], ["---"] * len(used), *lines)] + [""]


def percent_text(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} %"


def ratio_text(value: float | None) -> str:
    return "–" if value is None else times_text(value) if value >= 1 else f"**{times_text(value)}: slower**"


def time_cell(result: Result, cell: str) -> str:
    value, unit = result.median(cell), result.first.unit
    if value is None:
        return "–"
    return value_text(value, unit) + (f" ±{result.spread(cell):.0f} %" if unit == "s" else "")


def peer_cells(result: Result) -> list[str]:
    best, found = result.best(), []
    for pattern in FAMILIES.values():
        peer = result.best(pattern)
        if peer is None:
            found.append("–")
            continue
        modes = sum(1 for cell in result.cells() if re.match(pattern, cell))
        mode = peer[0].partition(" ")[2] if modes > 1 else ""
        text = value_text(peer[1], result.first.unit) + (f" ({mode})" if mode else "")
        found.append(f"**{text}**" if best and peer[0] == best[0] else text)
    return found


def group_table(found: Sequence[Result]) -> list[str]:
    plan = any(r.median(IN_PLAN) for r in found)
    head = ["", OURS, "in a plan", "bare", "of the limit", "from Python", *FAMILIES, "times the best peer", "bars"]
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
                *peer_cells(r),
                ratio_text(r.ratio()),
                "; ".join(v.text() for v in r.verdicts()),
            ]
        )
    return table(head, rows)


def limits_text() -> dict[str, str]:
    """What limits.md says, by job: sections headed ``## job job ...``."""
    sections = re.split(r"^## +(.+)\n", (HERE / "limits.md").read_text(), flags=re.M)[1:]
    pairs = zip(sections[::2], sections[1::2], strict=True)
    return {job: " ".join(text.split()) for jobs, text in pairs for job in jobs.split()}


def losses(found: Sequence[Result]) -> list[str]:
    """Every bar that is not met, and every job in which a peer is faster, with the reason where one is written."""
    why, lines, won = limits_text(), [], []
    for r in found:
        name, ratio, best = r.first.name, r.ratio(), r.best()
        lost = [v for v in r.verdicts() if v.met is False]
        slower = ratio is not None and ratio < 1
        if not lost and not slower:
            if name in why and r.median(OURS) is not None:
                won.append(name)
            continue
        what = [f"{v.bar} is a bar, {v.measured} is what it does" for v in lost]
        if slower and best:
            what.append(f"{best[0]} is faster: {times_text(ratio)}")
        reason = why.get(name, "No reason is written down yet.")
        lines.append(f"* **{title(r)}** (`{name}`): {'; '.join(what)}. {reason}")
    if not lines:
        lines = ["In these runs hawfinch met every bar that was measured, and no peer was faster in any job."]
    if won:
        names = ", ".join(f"`{n}`" for n in won)
        lines += ["", f"`bench/limits.md` still explains a loss of {names}: these runs show none."]
    return lines


def title(result: Result) -> str:
    return f"{result.first.group}: {result.first.title}"


def verdict_summary(found: Sequence[Result], runs: int) -> list[str]:
    verdicts: list[tuple[Result, Verdict]] = [(r, v) for r in found for v in r.verdicts()]
    met = [v.met for _, v in verdicts]
    counts = f"{met.count(False)} not met, {met.count(None)} not measured"
    over = f"in {runs} runs" if runs > 1 else "in one run"
    lines = [f"**{met.count(True)} of {len(met)} bars met**, {counts}, {over} of the same commit."]
    if runs < RUNS:
        lines[0] += f" A bar counts as kept once it is met in {RUNS} runs."
    absent = [f"{title(r)} ({v.bar})" for r, v in verdicts if v.met is None]
    if absent:
        lines += ["", "Not measured: " + "; ".join(dict.fromkeys(absent)) + "."]
    return [*lines, ""]


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
                f"{p['auto'] / p['one']:.2f}" if p["one"] else "–",
            ]
            for p in points
        ]
        head = ["", "multiply-adds", "auto", "one thread", "GFLOP/s, auto", "auto / one thread"]
        lines += [f"{heads.get(curve, curve)}:", "", *table(head, rows)]
    points = [(p["auto"] / p["one"], curve, p["size"]) for curve in curves for p in curves[curve] if p["one"]]
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
    lines = [HEAD, "", "# Performance", "", *verdict_summary(found, len(runs))]
    lines += ["![Time of the fastest peer relative to hawfinch, per job](performance.png)", ""]
    lines += ["## The machine and the runs", "", *machine_section(runs)]
    lines += ["## How it is measured", "", (HERE / "method.md").read_text().strip(), ""]
    lines += ["## Results", "", "Times are medians ± half the range between quartiles. In bold: the fastest peer.", ""]
    for group in dict.fromkeys(r.first.group for r in found):
        lines += [f"### {group}", "", *group_table([r for r in found if r.first.group == group])]
    notes = [
        f"* `{r.first.name}`: {note}" for r in found for note in dict.fromkeys(n for row in r.rows for n in row.notes)
    ]
    lines += [*notes, ""] if notes else []
    lines += ["## What we lose at, and why", "", *losses(found), ""]
    lines += ["## Under the roofs", "", "![GFLOP/s against FLOP per byte](roofline.png)", ""]
    if runs[-1].growth:
        lines += ["## How cost grows", "", "![Time against batch, width, depth and matmul size](growth.png)", ""]
        lines += growth_tables(runs[-1].growth)
    lines += [f"Commit {facts['commit']}, {facts['date'][:10]}, {facts['CPU']}."]
    return "\n".join(lines) + "\n"


def write(whole: bool = True) -> str:
    """Page and pictures of the last runs: of the whole harness into docs/, of a part of it into build/bench/."""
    folder = DOCS if whole else PART
    runs = latest(RESULTS) if whole else latest(PART)[-1:]
    if not runs:
        raise SystemExit(f"no results in {RESULTS if whole else PART}: `make bench` measures some")
    path = folder / "performance.md"
    path.write_text(page(runs))
    found, facts = results(runs), runs[-1].facts
    caption = f"{facts['CPU']}, {facts['date'][:10]}, commit {facts['commit']}, {len(runs)} run(s)"
    try:
        import plots
    except ImportError:
        return f"written: {path}; no pictures: matplotlib is not installed"
    plots.ratios(found, caption, folder / "performance.png")
    plots.roofline(found, runs[-1].limits, caption, folder / "roofline.png")
    if runs[-1].growth:
        plots.growth(runs[-1].growth, caption, folder / "growth.png")
    return f"written: {path} and pictures beside it\n\n" + "\n".join(verdict_summary(found, len(runs)))


if __name__ == "__main__":
    print(write())
