"""bench/BARS.md: our own targets, what the last runs measured against them, and why the missed ones are missed."""

from __future__ import annotations

from collections.abc import Sequence

from machine import HERE
from report import OURS, RUNS, Result, Run, explain, reasons, results, table

HEAD = "<!-- Written by bench/performance.py from measured data: edit bench/jobs.py or bench/limits.md instead. -->"
WHAT = """What hawfinch wants to reach, job by job: so many times as fast as a peer, so much of the machine's limit, so
little time. A bar is met when it is met in every run shown here; the range is over the runs. "The best peer" is the
fastest cell of all peers in that run. How the jobs are measured, and how the peers do:
[docs/performance.md](../docs/performance.md)."""


def summary(found: Sequence[Result], runs: int) -> list[str]:
    met = [v.met for r in found for v in r.verdicts()]
    counts = f"{met.count(False)} not met, {met.count(None)} not measured"
    over = f"in {runs} runs" if runs > 1 else "in one run"
    lines = [f"**{met.count(True)} of {len(met)} bars met**, {counts}, {over} of the same commit."]
    if runs < RUNS:
        lines[0] += f" A bar counts as kept once it is met in {RUNS} runs."
    return [*lines, ""]


def missed(found: Sequence[Result]) -> list[str]:
    """The reasons of limits.md for the jobs that miss a bar; then the jobs that it explains, but that lose nothing."""
    why = reasons(HERE / "limits.md")
    lost = [r for r in found if any(v.met is False for v in r.verdicts())]
    lines = explain(lost, why) or ["Every bar that was measured is met."]
    won = [r.first.name for r in found if r.first.name in why and r.median(OURS) and r not in lost and not r.slower]
    if won:
        names = ", ".join(f"`{name}`" for name in won)
        lines += ["", f"`bench/limits.md` still explains a loss of {names}: these runs show none."]
    return [*lines, ""]


def page(runs: Sequence[Run]) -> str:
    found, facts = results(runs), runs[-1].facts
    lines = [HEAD, "", "# Bars", "", WHAT, "", *summary(found, len(runs))]
    for group in dict.fromkeys(r.first.group for r in found if r.verdicts()):
        judged = [(r, v) for r in found if r.first.group == group for v in r.verdicts()]
        rows = [[r.first.title, v.bar, v.measured, v.state] for r, v in judged]
        lines += [f"## {group}", "", *table(["", "bar", "measured", ""], rows)]
    lines += ["## Why bars are missed", "", *missed(found)]
    lines += [f"Commit {facts['commit']}, {facts['date'][:10]}, {facts['CPU']}."]
    return "\n".join(lines) + "\n"
