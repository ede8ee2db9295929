"""The public face: what ``hawfinch`` shows, its version, and what it says where an optional package is missing."""

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from public import public_classes

import hawfinch as hf
from hawfinch import (
    augment,
    averaging,
    constraints,
    initializers,
    kernels,
    linear,
    losses,
    metrics,
    nn,
    ops,
    optim,
    regularizers,
    schedules,
    transfer,
)
from hawfinch.errors import ArgumentError, HawfinchError, MissingExtraError, import_extra


def test_version_is_that_of_the_project() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert hf.__version__ == tomllib.loads(pyproject.read_text())["project"]["version"]
    assert hf.show_config().startswith(f"hawfinch {hf.__version__}\n")


def test_dir_lists_the_public_names_and_nothing_else() -> None:
    names = dir(hf)
    assert {"Linear", "Trainer", "data", "errors", "ops", "__version__"} <= set(names)
    assert names == sorted(set(names)) and all(hasattr(hf, name) for name in names)
    assert not {"ir", "compiler", "runtime", "train", "function", "optim", "losses", "_core", "_Any"} & set(names)
    tree = ast.parse(Path(hf.__file__).read_text())
    chosen = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if not (alias.asname or alias.name).startswith(("_", "*"))
    } | {*optim.__all__, *regularizers.__all__, *constraints.__all__, *averaging.__all__, *losses.__all__, *nn.__all__}
    assert chosen <= set(names), "what __init__ imports is public"
    assert {n for n in names if isinstance(getattr(hf, n), ModuleType)} - {
        "data",
        "diagnose",
        "linear",
        "transfer",
    } <= chosen
    assert set(dir(hf.data)) == {n for n in vars(hf.data)["_HOMES"]}


def test_dir_of_a_module_lists_its_public_names() -> None:
    """Neither its files nor what they import, and each name is there."""
    rooms = (augment, averaging, constraints, initializers, kernels, linear, losses, metrics, nn, ops, optim)
    for room in (*rooms, regularizers, schedules, transfer):
        names = dir(room)
        assert set(getattr(room, "__all__", ())) <= set(names), room
        for name in set(names) - {"random"}:
            assert not isinstance(getattr(room, name), ModuleType), f"{room}: {name}"
            assert getattr(room, name).__module__.startswith(room.__name__), f"{room}: {name}"
    assert {"F1", "Metric", "get_metrics"} <= set(dir(metrics)) and {"relu", "matmul", "random"} <= set(dir(ops))
    assert set(dir(hf.errors)) == set(hf.errors.__all__)


def test_a_loss_and_a_layer_are_named_in_their_room_alone() -> None:
    layers = {n: v for n, v in vars(nn).items() if isinstance(v, type) and issubclass(v, hf.Module)}
    assert {"Linear", "RMSNorm", "ReLU", "Module"} <= set(layers) == set(nn.__all__)
    own = [kind for kind in losses.LOSSES.values() if kind.__module__.startswith("hawfinch.")]  # not of a document
    assert set(losses.__all__) == {"Loss", *[kind.__name__ for kind in own]}
    for room in (losses, nn):
        assert all(getattr(hf, name) is getattr(room, name) for name in room.__all__)


def test_dir_of_a_fresh_process_does_not_depend_on_what_was_used() -> None:
    code = "import hawfinch as hf; before = dir(hf); hf.data.Table; import hawfinch.cli; assert dir(hf) == before"
    subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60, check=True)


@pytest.mark.parametrize("module", ["tqdm", "matplotlib"])
def test_a_missing_extra_says_what_to_install(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == module] + [module]:
        monkeypatch.setitem(sys.modules, name, None)
    x, y = np.zeros((4, 2), np.float32), np.zeros((4, 1), np.float32)
    net = hf.Sequential(hf.Linear(1))
    if module == "tqdm":
        extra, calls = "progress", (hf.Progress, lambda: hf.fit_many([(net, {"loss": "mse"})], x, y, progress=True))
    else:
        extra, calls = "plot", (hf.Trainer(net, "mse").fit(x, y).plot,)
    for call in calls:
        with pytest.raises(MissingExtraError, match=rf"{module} is not installed; pip install 'hawfinch\[{extra}\]'"):
            call()
    assert issubclass(MissingExtraError, HawfinchError) and issubclass(MissingExtraError, ImportError)


def test_an_extra_that_lacks_something_itself_is_not_reported_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there") as caught:
        import_extra("half_installed", "plot")
    assert not isinstance(caught.value, HawfinchError)


def test_the_signature_of_a_class_is_that_of_its_constructor() -> None:
    assert str(inspect.signature(hf.Adam)).startswith("(lr: ")
    assert str(inspect.signature(hf.values.Value)) == "()"


CLASSES = {name: value for name, value in public_classes().items() if not issubclass(value, Exception)}


@pytest.mark.parametrize("name", CLASSES)
def test_a_wrong_argument_of_a_constructor_is_an_error_with_the_near_match(name: str) -> None:
    signature = inspect.signature(CLASSES[name])
    known = [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        known = known[:1]
    for right in known or ["nonsense"]:
        with pytest.raises(ArgumentError, match=f"There is no argument '{right}x'") as caught:
            CLASSES[name](**{f"{right}x": 1})
        assert not known or repr(right) in str(caught.value).partition("Did you mean ")[2].partition(" It takes ")[0]
    if not any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        with pytest.raises(ArgumentError):
            CLASSES[name](*range(40))


def test_names_of_other_libraries_lead_to_ours() -> None:
    for call, right in (
        (lambda: hf.Adam(learning_rate=1e-3), "lr"),
        (lambda: hf.Linear(units=3), "out"),
        (lambda: hf.Linear(out_features=3), "out"),
        (lambda: hf.Dropout(rate=0.5), "p"),
        (lambda: hf.BatchNorm(epsilon=1e-3), "eps"),
    ):
        with pytest.raises(ArgumentError, match=f"Did you mean '{right}'"):
            call()
    with pytest.raises(ArgumentError, match=r"Linear: too many positional arguments.*It takes Linear\(out"):
        hf.Linear(20, 64)
