"""The page says what the runs showed: verdicts over several runs, and reasons only for what is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import performance
from jobs import BY_NAME, Bar
from report import IN_PLAN, OURS, Result, Row, Run, latest, results

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


def test_reasons_are_given_for_losses_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "limits.md").write_text(
        "# Reasons\n\n## lost won\nBecause of\nthe cache.\n\n## unmeasured\nNever shown.\n"
    )
    monkeypatch.setattr(performance, "HERE", tmp_path)
    lost, won = row(3.0, 2.5, name="lost"), row(1.0, 2.5, name="won")
    other = row(1.0, 0.9, name="other", bars=())
    text = performance.losses([Result((r,)) for r in (lost, won, other)])
    assert "(`lost`)" in text[0] and text[0].endswith("torch compile is faster: 0.833×. Because of the cache.")
    assert "(`other`)" in text[1] and text[1].endswith("No reason is written down yet.")
    assert text[-1] == "`bench/limits.md` still explains a loss of `won`: these runs show none."
    assert "Never shown" not in "".join(text) and "Because" not in "".join(text[1:])


def test_every_job_of_the_reasons_exists() -> None:
    apart = {"import", "first-step", "wheel", "many", "auto", "step-overhead"}
    assert performance.limits_text().keys() <= BY_NAME.keys() | apart
