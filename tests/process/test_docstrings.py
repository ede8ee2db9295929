"""Every public name says what it is, with an example that runs. In examples ``hf`` and ``np`` are there."""

import doctest
import importlib
import inspect
import pkgutil
import warnings

import numpy as np
import pytest
from public import public_methods, public_names

import hawfinch as hf

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_every_public_name_has_an_example() -> None:
    names = public_names()
    assert len(names) > 120
    bare = {name for name, value in names.items() if ">>>" not in (value.__doc__ or "")}
    assert bare == set(), "public names without an example in their docstring"


def test_every_public_name_and_method_has_a_docstring() -> None:
    everything = {**public_names(), **public_methods()}
    bare = {name for name, value in everything.items() if not inspect.getdoc(value)}
    assert bare == set(), "public names without a docstring"


def _examples() -> list[doctest.DocTest]:
    names = ["hawfinch", *(m.name for m in pkgutil.walk_packages(hf.__path__, "hawfinch."))]
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in names:
        if not name.endswith(("._core", "._calls", ".__main__")):  # compiled, or the command itself
            module = importlib.import_module(name)
            found += [test for test in finder.find(module, name, module=module) if test.examples]
    return found


@pytest.mark.parametrize("example", _examples(), ids=lambda test: test.name.removeprefix("hawfinch."))
def test_examples_in_docstrings(example: doctest.DocTest, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example.globs = {"hf": hf, "np": np, **example.globs}
    out: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=out.append)
    assert result.attempted and not result.failed, "".join(out)
