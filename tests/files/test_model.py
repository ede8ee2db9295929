"""hawfinch.files.model: a model in a file. Round trips, damaged files, nothing executed."""

import json
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_cases import LAYER_CASES, in_a_net

import hawfinch as hf
from hawfinch.errors import ArgumentError, FormatError, HawfinchError
from hawfinch.files import model as checkpoint
from hawfinch.files.safetensors import load_file, save_file

RNG = np.random.default_rng(2)
X = RNG.normal(size=(40, 6)).astype(np.float32)
Y = RNG.normal(size=(40, 2)).astype(np.float32)


def small() -> hf.Sequential:
    return hf.Sequential(hf.Linear(5), hf.BatchNorm(), hf.ReLU(), hf.Linear(2))


def test_the_table_knows_every_layer() -> None:
    exported = {
        name: value
        for name, value in vars(hf).items()
        if isinstance(value, type) and issubclass(value, hf.Module) and value is not hf.Module
    }
    assert exported == checkpoint.LAYERS


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", checkpoint.LAYERS)
def test_every_layer(name: str, dtype: str, tmp_path: Path) -> None:
    """Trained, saved, loaded: the same predictions, parameters, statistics, and the same training from there on."""
    case = LAYER_CASES[name]
    if case.positions:
        model, x = hf.Sequential(hf.Linear(6), case.make(), hf.Flatten(), hf.Linear(2)), np.stack([X, X * X, -X], 1)
    else:
        model, x = in_a_net(case, X, 2)
    y = np.exp(Y / 3) if case.last else Y
    model.dtype = dtype
    hf.Trainer(model, "mse").fit(x, y, epochs=2)
    path = tmp_path / "model.safetensors"
    model.save(path)
    other = hf.load(path)
    assert other.dtype == dtype
    assert other.predict(x).tobytes() == model.predict(x).tobytes()
    assert checkpoint.describe(other) == checkpoint.describe(model)
    for a, b in ((model.parameters(), other.parameters()), (model.buffers(), other.buffers())):
        assert list(a) == list(b) and all(a[k].tobytes() == b[k].tobytes() for k in a)
    histories = [hf.Trainer(m, "mse", seed=4).fit(x, y, epochs=2)["loss"] for m in (model, other)]
    assert histories[0] == histories[1]
    assert other.predict(x).tobytes() == model.predict(x).tobytes()


def test_nested_and_shared_names(tmp_path: Path) -> None:
    model = hf.Sequential(hf.Sequential(hf.Linear(4), "relu"), hf.Sequential(hf.Sequential(hf.Linear(3))))
    expected = model.predict(X)
    model.save(tmp_path / "m")
    assert list(hf.load(tmp_path / "m").parameters()) == ["0.0.weight", "0.0.bias", "1.0.0.weight", "1.0.0.bias"]
    assert hf.load(str(tmp_path / "m")).predict(X).tobytes() == expected.tobytes()


def test_inputs_of_more_axes(tmp_path: Path) -> None:
    model = hf.Sequential(hf.Flatten(), hf.Linear(3))
    x = RNG.normal(size=(4, 2, 3, 5))
    expected = model.predict(x)
    model.save(tmp_path / "m")
    assert hf.load(tmp_path / "m").predict(x).tobytes() == expected.tobytes()


class Mine(hf.Module):
    def __init__(self, n: int = 4):
        self.a, self.norm, self.b = hf.Linear(n), hf.BatchNorm(), hf.Linear(2)

    def forward(self, x: Any, z: Any) -> tuple[Any, Any]:
        h = self.norm(self.a(x))
        return self.b(h), h + hf.ops.sum(z, 1, keepdims=True)


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    """Saved like any other; loaded into an instance that the user makes, and never without one."""
    model, path = Mine(), tmp_path / "mine"
    model.predict((X, Y))
    model.buffers()["norm.running_mean"][...] = 3
    expected = model.predict((X, Y))
    model.save(path, {"note": "ä"})
    with pytest.raises(ArgumentError, match=r"Mine.*model="):
        hf.load(path)
    fresh = Mine()
    assert hf.load(path, model=fresh) is fresh
    for a, b in zip(fresh.predict((X, Y)), expected, strict=True):
        assert a.tobytes() == b.tobytes()
    assert fresh.metadata == {"note": "ä"}
    for wrong in (Mine(5), small(), hf.Sequential(hf.Linear(2))):
        with pytest.raises(FormatError):
            hf.load(path, model=wrong)
    inside = hf.Sequential(hf.Linear(3), type("Odd", (hf.Module,), {"forward": lambda self, x: x})())
    inside.predict(X)
    inside.save(path)
    with pytest.raises(ArgumentError, match="Odd"):
        hf.load(path)


def test_into_a_model_that_is_built_already(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "m"
    expected = model.predict(X)
    model.save(path)
    built = small().build((6,), seed=9)
    trainer = hf.Trainer(built, "mse")
    trainer.fit(X, Y)
    built.predict(X[:3])
    assert hf.load(path, model=built).predict(X).tobytes() == expected.tobytes()
    assert built.predict(X[:3]).tobytes() == expected[:3].tobytes()
    trainer.fit(X, Y)
    other = small().build((5,))
    before = {k: v.copy() for k, v in other.parameters().items()}
    with pytest.raises(FormatError, match=r"\(rows, 5\)"):
        hf.load(path, model=other)
    assert all(np.array_equal(before[k], v) for k, v in other.parameters().items())


def test_a_failed_load_changes_nothing(tmp_path: Path) -> None:
    """The last array does not fit: none is copied."""
    model, path = small(), tmp_path / "m"
    model.predict(X)
    model.save(path)
    tensors, metadata = load_file(path)
    tensors = {k: v + 1 for k, v in tensors.items()}
    tensors[list(tensors)[-1]] = np.zeros((2, 2, 2), np.float32)
    save_file(path, tensors, metadata)
    expected = model.predict(X)
    with pytest.raises(FormatError, match="needs"):
        hf.load(path, model=model)
    assert model.predict(X).tobytes() == expected.tobytes()


def test_metadata(tmp_path: Path) -> None:
    """Text comes back, is kept by a model that is saved again, and may not take the place of hawfinch's own."""
    model, path = small().build((6,)), tmp_path / "m"
    text = {"classes": json.dumps(["a", "b"]), "": "", "日本": "\x00\n\"'"}
    model.save(path, text)
    other = hf.load(path)
    assert other.metadata == text
    other.save(path, {"more": "x"})
    assert hf.load(path).metadata == {**text, "more": "x"}
    model.save(path)
    assert hf.load(path).metadata == {}
    bad: list[Any] = [{"a": 1}, {1: "a"}, {"a": None}, {"hawfinch.format": "2"}, {"hawfinch.model": "x"}]
    bad += [{"hawfinch.input": "x"}, {"hawfinch.dtype": "x"}, {"a": "\ud800"}]
    before = path.read_bytes()
    for metadata in bad:
        with pytest.raises(HawfinchError):
            model.save(path, metadata)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_truncated_at_any_byte(tmp_path: Path) -> None:
    model = hf.Sequential(hf.Linear(2)).build((2,))
    path = tmp_path / "m"
    model.save(path)
    whole = path.read_bytes()
    hf.load(path)
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(FormatError):
            hf.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(FormatError):
        hf.load(path)


def test_a_flipped_bit_in_any_byte(tmp_path: Path) -> None:
    """Refused, or, where JSON does not mind (the spaces that pad the header), the same model."""
    model = hf.Sequential(hf.Linear(2)).build((2,))
    expected = model.predict(X[:, :2])
    path = tmp_path / "m"
    model.save(path)
    whole = path.read_bytes()
    for i in range(len(whole)):
        damaged = bytearray(whole)
        damaged[i] ^= 1 << i % 8
        path.write_bytes(damaged)
        try:
            assert hf.load(path).predict(X[:, :2]).tobytes() == expected.tobytes()
        except FormatError:
            pass


def rewritten(path: Path, **changes: Any) -> None:
    """The model's file with other metadata and new checksums."""
    tensors, metadata = load_file(path)
    for key, value in changes.items():
        name = "hawfinch." + key
        if value is None:
            del metadata[name]
        else:
            metadata[name] = value if isinstance(value, str) else json.dumps(value)
    save_file(path, tensors, metadata)


def layer(name: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"layer": name, "args": list(args), "kwargs": kwargs}


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "no format": ({"format": None}, "not a hawfinch model"),
    "other format": ({"format": "2"}, "format 2, this hawfinch reads format 1"),
    "no model": ({"model": None}, "damaged"),
    "model is no JSON": ({"model": "{"}, "damaged"),
    "model is a number": ({"model": 3}, "describes no model"),
    "model is a list": ({"model": []}, "describes no model"),
    "model is null": ({"model": "null"}, "describes no model"),
    "no input": ({"input": None}, "damaged"),
    "input is no list": ({"input": {"a": 1}}, "damaged"),
    "input of floats": ({"input": [[6.0]]}, "damaged"),
    "negative input": ({"input": [[-6]]}, "damaged"),
    "huge input": ({"input": [[10**30]]}, "built"),
    "another input": ({"input": [[7]]}, "needs"),
    "two inputs": ({"input": [[6], [6]]}, "built"),
    "no inputs": ({"input": []}, "built"),
    "no dtype": ({"dtype": None}, "damaged"),
    "unknown dtype": ({"dtype": "float16"}, "float16"),
    "another dtype": ({"dtype": "float64"}, "needs"),
    "unknown layer": ({"model": layer("Sequential", layer("Quantum", 5))}, "'Quantum'"),
    "a class of Python's": ({"model": layer("os.system", "true")}, "'os.system'"),
    "Module itself": ({"model": layer("Module")}, "'Module'"),
    "no name": ({"model": {"layer": None, "args": [], "kwargs": {}}}, "None"),
    "a list for a name": ({"model": {"layer": ["Linear"], "args": [], "kwargs": {}}}, "Linear"),
    "a dict for a name": ({"model": {"layer": {}, "args": [], "kwargs": {}}}, "{}"),
    "one field too many": ({"model": {**layer("Linear", 5), "more": 1}}, "Linear"),
    "one field too few": ({"model": {"layer": "Linear", "args": [5]}}, "Linear"),
    "args is a dict": ({"model": {"layer": "Linear", "args": {}, "kwargs": {}}}, "malformed"),
    "kwargs is a list": ({"model": {"layer": "Linear", "args": [5], "kwargs": []}}, "malformed"),
    "wrong arguments": ({"model": layer("Sequential", layer("Linear", 5, 6, 7, 8))}, "Linear"),
    "unknown argument": ({"model": layer("Linear", 5, color="red")}, "Linear"),
    "bad argument": ({"model": layer("Linear", -5)}, "Linear"),
    "text for a number": ({"model": layer("Dropout", "a")}, "Dropout"),
    "null for a number": ({"model": layer("LeakyReLU", None)}, "LeakyReLU"),
    "unknown activation": ({"model": layer("Sequential", "rellu")}, "Sequential"),
    "unknown initializer": ({"model": layer("Linear", 5, init="magic")}, "Linear"),
    "huge layer": ({"model": layer("Sequential", layer("Linear", 10**18))}, "larger than any memory"),
    "fewer layers": ({"model": layer("Sequential", layer("Linear", 5))}, "unknown"),
    "more layers": ({"model": layer("Sequential", *[layer("Linear", 5)] * 9)}, "missing"),
    "custom as text": ({"model": {"custom": "Mine", "layer": "x"}}, "Mine"),
    "deep": ({"model": "[" * 100_000 + "]" * 100_000}, "damaged"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files(name: str, tmp_path: Path) -> None:
    """Well-formed safetensors files whose description is not what `save` writes."""
    path = tmp_path / "m"
    small().build((6,)).save(path)
    changes, message = FOREIGN[name]
    rewritten(path, **changes)
    with pytest.raises((FormatError, ArgumentError) if name == "custom as text" else FormatError, match=message):
        hf.load(path)


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with pytest.raises(FileNotFoundError):
        hf.load(path)
    with pytest.raises((IsADirectoryError, PermissionError)):
        hf.load(tmp_path)
    save_file(path, {"a": np.zeros(3)})
    with pytest.raises(FormatError, match="not a hawfinch model"):
        hf.load(path)
    for content in (b"", b"PK\x03\x04" + b"\0" * 100, pickle.dumps({"a": 1}) * 10, struct.pack("<Q", 2**63) + b"{}"):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            hf.load(path)


def test_nothing_in_a_file_is_executed_or_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pickle, eval and import at hand, saving and loading work; and the bytes are header and numbers alone."""

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("must not be called")

    for name in ("dumps", "loads", "dump", "load", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, never)
    monkeypatch.setattr("builtins.eval", never)
    monkeypatch.setattr("builtins.exec", never)
    model, path = small().build((6,)), tmp_path / "m"
    model.save(path)
    modules = set(sys.modules)
    hf.load(path)
    assert set(sys.modules) == modules
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__")
    assert set(header) == {*model.parameters(), *model.buffers()}
    assert len(raw) == 8 + length + 4 * sum(a.size for a in {**model.parameters(), **model.buffers()}.values())


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = small().build((6,)), tmp_path / "m"
    model.save(path)
    before = path.read_bytes()
    model.parameters()["0.weight"][...] = 5

    def full(*args: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    model.save(path)
    assert (hf.load(path).parameters()["0.weight"] == 5).all()


def test_what_is_not_finite_is_saved_as_it_is(tmp_path: Path) -> None:
    model = small().build((6,))
    model.parameters()["0.weight"][0, :3] = np.nan, np.inf, -0.0
    model.save(tmp_path / "m")
    got = hf.load(tmp_path / "m").parameters()["0.weight"]
    assert got.tobytes() == model.parameters()["0.weight"].tobytes()


def test_an_initializer_of_ones_own_makes_a_model_of_ones_own(tmp_path: Path) -> None:
    def mine(shape: Any, fan_in: int, fan_out: int, draw: Any) -> np.ndarray:
        return np.zeros(int(np.prod(shape)))

    model = hf.Sequential(hf.Linear(3, init=mine)).build((6,))
    model.save(tmp_path / "m")
    with pytest.raises(ArgumentError, match="model="):
        hf.load(tmp_path / "m")
    assert hf.load(tmp_path / "m", hf.Sequential(hf.Linear(3))).predict(X).tobytes() == model.predict(X).tobytes()


def test_a_changed_layer_is_saved_as_it_is(tmp_path: Path) -> None:
    """What the file describes is the model of now, not the arguments that once made it."""
    model = hf.Sequential(hf.Linear(3), hf.LeakyReLU(0.1))
    model.predict(X)
    model[1].negative_slope = 0.5
    model.layers = (*model.layers, hf.Tanh())
    expected = model.predict(X)
    model.save(tmp_path / "m")
    other = hf.load(tmp_path / "m")
    assert other.predict(X).tobytes() == expected.tobytes()
    assert other[1].negative_slope == 0.5


def test_a_shared_layer_stays_shared(tmp_path: Path) -> None:
    layer, block = hf.Linear(6), hf.Sequential(hf.Linear(6), hf.BatchNorm())
    model = hf.Sequential(layer, hf.ReLU(), layer, block, "tanh", hf.Sequential(layer, block))
    hf.Trainer(model, "mse").fit(X, X, epochs=2)
    model.save(tmp_path / "m")
    other = hf.load(tmp_path / "m")
    assert other[0] is other[2] is other[5][0] and other[3] is other[5][1]
    assert list(other.parameters()) == list(model.parameters())
    assert other.predict(X).tobytes() == model.predict(X).tobytes()


@pytest.mark.parametrize("number", [0, 1, -1, 99, "0", None, True, 0.5])
def test_the_same_as_a_layer_that_is_not_there(number: Any) -> None:
    description = {"layer": "Sequential", "args": [{"same": number}, {"layer": "ReLU", "args": [], "kwargs": {}}]}
    with pytest.raises(FormatError, match="same as layer"):
        checkpoint.rebuild(description | {"kwargs": {}})


@pytest.mark.parametrize("built", [False, True])
def test_a_failed_load_leaves_the_instance_as_it_was(tmp_path: Path, built: bool) -> None:
    """Of other widths, other names, and float64."""
    wide = hf.Sequential(hf.Linear(8), "relu", hf.Linear(3)).astype("float64").build((6,))
    wide.save(tmp_path / "m")
    encoder = hf.Linear(5).build((6,))
    for make in (lambda: [encoder, hf.ReLU(), hf.Linear(3)], lambda: [hf.Linear(8), hf.ReLU()], lambda: [hf.Flatten()]):
        model = hf.Sequential(*make())
        if built:
            model.build((6,))
        views = {**model.parameters(), **model.buffers()} if built else {}
        kept = {k: v.tobytes() for k, v in views.items()}
        encoder_weight = encoder.parameters()["weight"].copy()
        with pytest.raises(FormatError):
            hf.load(tmp_path / "m", model)
        assert model.dtype == "float32" and (model.inputs is not None) == built
        assert np.array_equal(encoder.parameters()["weight"], encoder_weight)
        if built:
            now = {**model.parameters(), **model.buffers()}
            assert {k: v.tobytes() for k, v in now.items()} == kept
            assert all(np.shares_memory(v, now[k]) for k, v in views.items())
        assert model.predict(X).dtype == np.float32


def test_a_claim_of_a_huge_model_allocates_nothing(tmp_path: Path) -> None:
    """The arrays of the file are compared before memory is made."""
    small = hf.Sequential(hf.Linear(1)).build((1,))
    small.save(tmp_path / "m")
    tensors, metadata = load_file(tmp_path / "m")
    metadata["hawfinch.input"] = "[[1000000000]]"
    metadata["hawfinch.model"] = metadata["hawfinch.model"].replace('"out": 1', '"out": 1000')
    save_file(tmp_path / "huge", tensors, metadata)
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"0\.weight is float32"):
        hf.load(tmp_path / "huge")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
