"""The code that users copy runs: blocks of the README and of docs/, in order, and each script of examples/."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import EXAMPLES, LESSONS, PAGES, ROOT, blocks

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def pages(language: str) -> list[Path]:
    return [page for page in PAGES if any(block.language == language for block in blocks(page))]


@pytest.mark.parametrize("page", pages("python"), ids=lambda p: p.stem)
def test_python_blocks_run_in_order(page: Path, tmp_path: Path) -> None:
    """As one program, in a folder of its own, as a reader would paste them."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()  # line numbers are the page's
    program = tmp_path / f"{page.stem}.py"
    program.write_text("\n".join(lines) + "\n")
    run(program, tmp_path)


@pytest.mark.parametrize("page", pages("pycon"), ids=lambda p: p.stem)
def test_sessions_show_what_happens(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner, out = doctest.DocTestRunner(optionflags=FLAGS), []
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "pycon":
            part = doctest.DocTestParser().get_doctest(block.code, namespace, page.name, str(page), block.line - 1)
            part.globs = namespace
            runner.run(part, out=out.append, clear_globs=False)
    assert runner.tries and not runner.failures, "".join(out)


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.stem)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    assert run(script, tmp_path).strip()


@pytest.mark.parametrize("script", LESSONS, ids=lambda p: p.stem)
def test_lessons_say_something_and_draw_one_picture(script: Path, tmp_path: Path) -> None:
    assert run(script, tmp_path).strip()
    picture = tmp_path / f"{script.stem}.png"
    assert list(tmp_path.iterdir()) == [picture] and picture.stat().st_size > 10_000
    assert f"python examples/lessons/{script.name}" in script.read_text()


def test_every_lesson_is_listed_once() -> None:
    listed = re.findall(r"^\| `(\w+\.py)` \|", (ROOT / "docs/tutorials/lessons.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [script.name for script in LESSONS]


def run(script: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, f"{script}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_all_code_is_run() -> None:
    """A fenced block that no test runs is text, or of another language; no session stands outside of a fence."""
    assert len(EXAMPLES) >= 4
    for page in PAGES:
        assert {b.language for b in blocks(page)} <= {"python", "pycon", "text", "sh", "console", "c", "toml"}, page
        outside = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        assert ">>>" not in outside.replace("`>>>`", ""), page


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
