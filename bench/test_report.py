"""The pages say what the runs showed: verdicts over several runs, and reasons only for what is lost."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import bars
import performance
from jobs import BY_NAME, Bar
from machine import HERE
from report import IN_PLAN, OURS, Result, Row, Run, auto_to_one, explain, latest, reasons, results, value_text

BARS = (Bar(2, "torch"), Bar(80, "%"), Bar(1.5, "best"), Bar(3.0, "s"), Bar(1.3, "bare"))


def row(ours: float, torch: float, jax: float = 9.0, name: str = "job", bars: tuple[Bar, ...] = BARS) -> Row:
    times = {
        OURS: [ours],
        f"{OURS} bare": [1.0],
        "torch eager": [torch + 1],
        "torch compile": [torch],
        "jax jit": [jax],
    }
    return Row(name, "a job", "Group", times, bars=bars, limits=[10.0, 10.0, 11.0], work=9.0)


def facts(commit: str = "abc", date: str = "2026-01-01T00:00:00+00:00") -> dict[str, str]:
    return {"CPU": "Some CPU", "commit": commit, "date": date, "disturbed": "no"}


def test_each_kind_of_bar() -> None:
    found = [(v.bar, v.measured, v.met) for v in Result((row(1.0, 2.5, 2.0),)).verdicts()]
    assert found == [
        ("2× torch", "2.5×", True),
        ("≥ 80 %", "90 %", True),
        ("1.5× the best peer", "2×", True),
        ("≤ 3 s", "1 s", True),
        ("≤ 1.3× its bare kernels", "1×", True),
    ]
    assert [v.met for v in Result((row(4.0, 2.5, 2.0),)).verdicts()] == [False] * 5


def test_a_bar_is_met_when_it_is_in_every_run() -> None:
    once_missed = Result((row(1.0, 2.5), row(1.0, 1.9), row(1.0, 2.5)))
    assert (once_missed.verdicts()[0].met, once_missed.verdicts()[0].measured) == (False, "1.9× to 2.5×")
    assert Result((row(1.0, 2.5), row(1.0, 2.0))).verdicts()[0].met is True


def test_a_bar_that_a_run_did_not_measure_is_neither_met_nor_missed() -> None:
    without = Row("job", "a job", "Group", {OURS: [1.0]}, bars=(Bar(2, "torch"), Bar(80, "%")))
    assert [v.met for v in Result((row(1.0, 2.5), without)).verdicts()[:2]] == [None, None]


def test_percent_is_of_the_product_in_a_plan_where_there_is_one() -> None:
    both = row(3.0, 2.0)
    both.times[IN_PLAN] = [1.0]
    assert both.measure(Bar(80, "%")) == 90 and both.ratio() == pytest.approx(2 / 3)


def test_runs_come_back_from_their_files_and_only_those_of_one_commit_count(tmp_path: Path) -> None:
    for n, commit in enumerate(["old", "abc", "abc", "abc", "abc"]):
        run = Run(facts(commit, f"2026-01-0{n + 1}T00:00:00+00:00"), {"fma 1": 1e9}, [row(1.0 + n, 2.5)], {})
        assert Run.read(run.write(tmp_path)) == run
    runs = latest(tmp_path)
    assert [run.facts["date"][9] for run in runs] == ["3", "4", "5"]
    (result,) = results(runs)
    assert result.median(OURS) == 4.0


def test_the_page_explains_the_jobs_in_which_a_peer_is_faster_and_the_bars_page_missed_bars(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "limits.md").write_text(
        "# Reasons\n\n## lost won missed\nBecause of\nthe cache.\n\n## unmeasured\nNever shown.\n"
    )
    monkeypatch.setattr(performance, "HERE", tmp_path)
    monkeypatch.setattr(bars, "HERE", tmp_path)
    lost, won = row(3.0, 2.5, name="lost", bars=()), row(1.0, 2.5, name="won")
    missed, other = row(1.4, 2.5, name="missed"), row(1.0, 0.9, name="other", bars=())
    found = [Result((replace(r, title=r.name),)) for r in (lost, won, missed, other)]
    page, targets = "\n".join(performance.losses(found)), "\n".join(bars.missed(found))
    assert "| lost | 3 s ±0 % | 2.5 s | torch compile | 0.833× |" in page
    assert "* **lost.** Because of the cache." in page and "* **other.** No reason is written down yet." in page
    assert "* **missed.** Because of the cache." in targets and "lost.**" not in targets
    assert targets.strip().endswith("`bench/limits.md` still explains a loss of `won`: these runs show none.")
    assert "Never shown" not in page + targets and "won" not in page


def test_jobs_with_one_reason_share_its_line() -> None:
    found = [Result((row(3.0, 2.5, name=name),)) for name in ("a", "b", "c")]
    assert explain(found, {"a": "Why.", "c": "Why."}) == [
        "* **a job; a job.** Why.",
        "* **a job.** No reason is written down yet.",
    ]


def test_the_page_begins_with_what_is_fastest() -> None:
    found = [Result((row(ours, 2.5, name="mlp-64"),)) for ours in (2.0, 5.0)]
    assert "| a job | **2 s** | 2.5 s | 9 s | 1.25× |" in performance.headlines(found[:1])
    assert "| a job | 5 s | **2.5 s** | 9 s | 0.5× |" in performance.headlines(found[1:])
    text = "\n".join(performance.what_you_get(found, [Run(facts(), {}, [], {})]))
    assert "fastest in 1 of 2 jobs" in text and "In 1 a peer is." in text


def test_auto_is_judged_by_paired_ratios_where_a_run_has_them() -> None:
    assert auto_to_one({"auto": 2.0, "one": 1.0, "ratio": 1.1}) == 1.1
    assert auto_to_one({"auto": 2.0, "one": 1.0}) == 2.0 and auto_to_one({"auto": 2.0, "one": 0}) is None


def test_the_pages_are_those_of_the_last_runs() -> None:
    runs = latest(performance.RESULTS)
    for path, text in (
        (performance.DOCS / "performance.md", performance.page(runs)),
        (HERE / "BARS.md", bars.page(runs)),
    ):
        assert path.read_text() == text, f"{path} is not what `python bench/performance.py` writes"


def test_readme_says_what_the_last_runs_showed() -> None:
    runs, readme = latest(performance.RESULTS), performance.README.read_text()
    assert readme == performance.with_table(readme, runs), "README's table is not what bench/performance.py writes"
    step = next(r for r in results(runs) if r.first.name == "mlp-64")
    ours, jax, torch = step.median(OURS), step.best("jax"), step.best("torch")
    assert ours and jax and torch
    here, there, best = (value_text(v, "s") for v in (ours, jax[1], torch[1]))
    said = f"takes {here} here; JAX in a compiled scan takes {there}, PyTorch {best}"
    assert said in " ".join(readme.split())


def test_every_job_of_the_reasons_exists() -> None:
    apart = {"import", "first-step", "wheel", "many", "auto", "step-overhead"}
    assert reasons(HERE / "limits.md").keys() <= BY_NAME.keys() | apart
    assert {*performance.HEADLINES, *performance.IN_README} <= BY_NAME.keys() | apart
