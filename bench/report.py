"""Rows of results, and how they are judged, printed and drawn."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jobs import Bar

OURS = "hawfinch"
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


@dataclass(frozen=True)
class Stats:
    median: float
    q1: float
    q3: float
    samples: tuple[float, ...]

    @staticmethod
    def of(samples: Sequence[float]) -> Stats:
        if len(samples) < 2:
            return Stats(samples[0], samples[0], samples[0], tuple(samples))
        q1, median, q3 = statistics.quantiles(samples, n=4, method="inclusive")
        return Stats(median, q1, q3, tuple(samples))

    def text(self, unit: str) -> str:
        if unit != "s":
            return f"{self.median:.3g} {unit}"
        scale, name = next((u for u in UNITS if abs(self.median) >= u[0]), (1e-6, "us"))
        spread = "" if len(self.samples) < 2 else f" ±{50 * (self.q3 - self.q1) / abs(self.median):.0f}%"
        return f"{self.median / scale:.3g} {name}{spread}"


@dataclass(frozen=True)
class Verdict:
    bar: str
    measured: str
    met: bool | None  # None: not measured


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    unit: str
    times: dict[str, Stats]
    best: str | None  # the fastest peer
    ratio: float | None  # its time over ours: above 1 we are faster
    percent: float | None
    verdicts: list[Verdict]
    notes: list[str] = field(default_factory=list)


def judge(bar: Bar, times: dict[str, Stats], percent: float | None) -> Verdict:
    ours = times.get(OURS)
    if bar.against in ("s", "MB"):
        text = f"≤ {Stats.of([bar.value]).text(bar.against)}"
        return Verdict(text, ours.text(bar.against) if ours else "", ours.median <= bar.value if ours else None)
    if bar.against == "%":
        measured = "" if percent is None else f"{percent:.0f} %"
        return Verdict(f"≥ {bar.value:g} %", measured, None if percent is None else percent >= bar.value)
    rivals = [s.median for name, s in times.items() if name.startswith(bar.against)]
    text = f"{bar.value:g}× {bar.against}"
    if ours is None or not rivals:
        return Verdict(text, "", None)
    ratio = min(rivals) / ours.median
    return Verdict(text, times_text(ratio), ratio >= bar.value)


def row(
    name: str, title: str, times: dict[str, Stats], *, unit: str = "s", percent: float | None = None,
    bars: Iterable[Bar] = (), notes: Sequence[str] = (),
) -> Row:  # fmt: skip
    rivals = {peer: s.median for peer, s in times.items() if peer != OURS}
    best = min(rivals, key=lambda peer: rivals[peer]) if rivals else None
    ours = times.get(OURS)
    ratio = rivals[best] / ours.median if best and ours and ours.median > 0 else None
    verdicts = [judge(bar, times, percent) for bar in bars]
    return Row(name, title, unit, times, best, ratio, percent, verdicts, list(notes))


def times_text(x: float) -> str:
    return f"{x:.0f}×" if x >= 100 else f"{x:.3g}×"


def _verdict(v: Verdict) -> str:
    state = "not measured" if v.met is None else f"{v.measured}, {'met' if v.met else '**NOT MET**'}"
    return f"{v.bar}: {state}"


def _cells(r: Row, peers: Sequence[str]) -> list[str]:
    ratio = "–" if r.ratio is None else times_text(r.ratio) if r.ratio >= 1 else f"**{r.ratio:.2g}×: slower**"
    return [
        r.title,
        r.times[OURS].text(r.unit) if OURS in r.times else "–",
        ratio,
        r.best or "–",
        "–" if r.percent is None else f"{r.percent:.0f} %",
        "; ".join(map(_verdict, r.verdicts)) or "–",
        *(r.times[p].text(r.unit) if p in r.times else "–" for p in peers),
    ]


def markdown(facts: dict[str, Any], rows: Sequence[Row], peers: Sequence[str]) -> str:
    head = ["", OURS, "times as fast as the best peer", "best peer", "of the machine's limit", "bars", *peers]
    table = [head, *(_cells(r, peers) for r in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    lines = ["# hawfinch against its peers and against the machine", ""]
    lines += [f"* {name}: {value}" for name, value in facts.items()]
    lines += ["", line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|", *map(line, table[1:]), ""]
    met = [v.met for r in rows for v in r.verdicts]
    lines.append(f"Bars: {met.count(True)} met, {met.count(False)} not met, {met.count(None)} not measured.")
    lines += [f"* {r.name}: {note}" for r in rows for note in r.notes]
    return "\n".join(lines) + "\n"


def chart(facts: dict[str, Any], rows: Sequence[Row], path: Path) -> None:
    """Bars of time relative to ours, log scale: each peer's best mode. Left of the line it beats us."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    families = {"numpy": "C0", "torch": "C1", "jax": "C2", "sklearn": "C4"}
    shown = [r for r in rows if r.ratio is not None]
    fig, ax = plt.subplots(figsize=(11, 1 + 0.62 * len(shown)), layout="constrained")
    for i, r in enumerate(shown):
        bars = []
        for family, color in families.items():
            modes = {p: s.median for p, s in r.times.items() if p.startswith(family)}
            if modes:
                mode = min(modes, key=lambda p: modes[p])
                bars.append((mode, modes[mode] / r.times[OURS].median, color))
        height = 0.8 / len(bars)
        for k, (mode, times, color) in enumerate(bars):
            y = i - 0.4 + (k + 0.5) * height
            ax.barh(y, math.log10(times), height * 0.9, color=color)
            ax.text(max(math.log10(times), 0), y, f" {mode} {times_text(times)}", fontsize=7, va="center")
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(shown)), [r.title for r in shown], fontsize=8)
    ax.set_ylim(len(shown) - 0.5, -0.5)
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * 1.3)
    ticks = range(math.ceil(low), math.ceil(high) + 1)
    ax.set_xticks(list(ticks), [f"{10.0**t:g}×" for t in ticks])
    ax.set_xlabel("time relative to hawfinch (each peer's best mode; a bar left of 1× beats hawfinch)")
    title = f"{facts['CPU']}, {facts['date'][:10]}, commit {facts['commit']}"
    ax.set_title(f"{title}\n{facts['disturbed'].strip('*')}", fontsize=9)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def write(folder: Path, facts: dict[str, Any], rows: Sequence[Row], peers: Sequence[str]) -> str:
    """The table as Markdown, all samples as JSON and the chart as PNG; gives the table."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{facts['date'][:10]}-{re.sub('[^a-z0-9]+', '-', facts['CPU'].lower()).strip('-')}"
    text = markdown(facts, rows, peers)
    Path(f"{stem}.md").write_text(text)
    Path(f"{stem}.json").write_text(json.dumps({"facts": facts, "rows": [asdict(r) for r in rows]}, indent=1) + "\n")
    if any(r.ratio is not None for r in rows):
        try:
            chart(facts, rows, Path(f"{stem}.png"))
        except ImportError:
            text += "No chart: matplotlib is not installed.\n"
    return text + f"\nWritten: {stem}.md, .json, .png\n"
