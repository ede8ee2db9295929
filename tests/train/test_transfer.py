"""Weights by name, stages, replaced layers, rates and freezing by layer, and layer-wise pre-training."""

from pathlib import Path

import numpy as np
import pytest

import hawfinch as hf
from hawfinch.errors import ArgumentError, FormatError, NonFiniteInputError, NotBuiltError
from hawfinch.files.safetensors import save_file


def net(out: int = 2) -> hf.Sequential:
    return hf.Sequential(hf.Linear(4), hf.BatchNorm(), "relu", hf.Linear(out))


DATA = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)


def test_a_model_takes_over_all_of_another_one(tmp_path: Path) -> None:
    old, new = net().build((3,), seed=1), net().build((3,), seed=2)
    hf.Trainer(old, "mse").fit(DATA, DATA[:, :2], epochs=2)
    report = new.load_weights(old)
    assert report.complete and report.loaded == [*old.parameters(), *old.buffers()]
    np.testing.assert_array_equal(new.predict(DATA), old.predict(DATA))
    old.save(tmp_path / "net.safetensors")
    third = net().build((3,), seed=3)
    assert third.load_weights(tmp_path / "net.safetensors").complete
    np.testing.assert_array_equal(third.predict(DATA), old.predict(DATA))


def test_views_and_a_trainer_at_work_see_the_loaded_weights() -> None:
    model, other = net().build((3,)), net().build((3,), seed=9)
    view = model.parameters()["0.weight"]
    trainer = hf.Trainer(model, "mse", hf.SGD(0.0))
    trainer.fit(DATA, DATA[:, :2])
    model.load_weights(other)
    trainer.fit(DATA, DATA[:, :2])
    np.testing.assert_array_equal(view, other.parameters()["0.weight"])


def test_what_fits_is_taken_and_the_rest_reported() -> None:
    old, new = net().build((3,)), net(5).build((3,))
    before = new.parameters()["3.weight"].copy()
    report = new.load_weights({**old.parameters(), "extra": np.ones(3)}, strict=False)
    assert report.loaded == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert report.missing == ["1.running_mean", "1.running_var"] and report.unexpected == ["extra"]
    assert report.mismatched == {"3.weight": ((4, 2), (4, 5)), "3.bias": ((2,), (5,))}
    assert not report.complete and "extra" in str(report)
    np.testing.assert_array_equal(new.parameters()["3.weight"], before)


def test_float64_arrays_of_another_tool_are_converted(tmp_path: Path) -> None:
    model = hf.Sequential(hf.Linear(2)).build((3,))
    save_file(tmp_path / "w.safetensors", {"fc.weight": np.ones((3, 2)), "fc.bias": np.arange(2)})
    report = model.load_weights(tmp_path / "w.safetensors", rename=lambda name: name.replace("fc", "0"))
    assert report.complete
    np.testing.assert_array_equal(model.predict(np.ones((1, 3))), [[3, 4]])
    named = model.load_weights(tmp_path / "w.safetensors", rename={"fc.weight": "0.weight"}, strict=False)
    assert named.loaded == ["0.weight"] and named.unexpected == ["fc.bias"]


@pytest.mark.parametrize(
    "source, options, error, words",
    [
        (3, {}, ArgumentError, "got int"),
        ({"0.weight": "a"}, {}, ArgumentError, "0.weight"),
        ({"0.weight": np.ones((3, 4)), 5: np.ones(2)}, {}, ArgumentError, "arrays of numbers by name"),
        ({}, {}, ArgumentError, "no array fits"),
        ({"0.wight": np.ones((3, 4))}, {"strict": False}, ArgumentError, "0.weight"),
        ({"0.weight": np.ones((3, 4))}, {}, ArgumentError, "strict=False"),
        ({"0.weight": np.full((3, 4), np.nan)}, {"strict": False}, NonFiniteInputError, "0.weight"),
        ({"0.weight": np.full((3, 4), 1e300)}, {"strict": False}, NonFiniteInputError, "float32"),
        ({"0.weight": np.ones((3, 4))}, {"strict": "no"}, ArgumentError, "strict"),
        ({"a": np.ones((3, 4))}, {"rename": {"b": "0.weight"}}, ArgumentError, "'b'"),
        ({"a": np.ones((3, 4))}, {"rename": lambda name: 3}, ArgumentError, "became 3"),
        ({"a": np.ones(4), "b": np.ones(4)}, {"rename": lambda name: "0.bias"}, ArgumentError, "two arrays"),
        ({"a": np.ones((3, 4))}, {"rename": 7}, ArgumentError, "rename"),
    ],
)
def test_bad_weights_change_nothing(source: object, options: dict, error: type[Exception], words: str) -> None:
    model = net().build((3,))
    before = {k: v.copy() for k, v in model.parameters().items()}
    with pytest.raises(error, match=words):
        model.load_weights(source, **options)
    for name, value in model.parameters().items():
        np.testing.assert_array_equal(value, before[name])


def test_weights_need_a_built_model_and_a_whole_file(tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError):
        net().load_weights({})
    (tmp_path / "bad").write_bytes(b"no net")
    with pytest.raises(FormatError):
        net().build((3,)).load_weights(tmp_path / "bad")
    with pytest.raises(FileNotFoundError):
        net().build((3,)).load_weights(tmp_path / "none")


class Branches(hf.Module):
    def __init__(self) -> None:
        self.blocks = [hf.Sequential(hf.Linear(3), "relu"), hf.Linear(3)]
        self.head = hf.Linear(2)

    def forward(self, x):
        return self.head(self.blocks[0](x) + self.blocks[1](x)) * self.param("gain", (2,), "ones")


def test_stages() -> None:
    assert hf.transfer.stages(Branches().build((3,))) == ["gain", "blocks.0.*", "blocks.1.*", "head.*"]
    assert hf.transfer.stages(hf.Sequential(net()).build((3,))) == ["0.0.*", "0.1.*", "0.3.*"]
    assert hf.transfer.stages(hf.Sequential(hf.Linear(2)).build((3,))) == ["0.*"]
    assert hf.transfer.stages(hf.Linear(2).build((3,))) == ["weight", "bias"]
    with pytest.raises(NotBuiltError):
        hf.transfer.stages(net())


def test_a_replaced_layer_is_new_and_the_others_stay() -> None:
    model = net().build((3,))
    hf.Trainer(model, "mse").fit(DATA, DATA[:, :2])
    body = {k: v.copy() for k, v in {**model.parameters(), **model.buffers()}.items() if not k.startswith("3")}
    hf.transfer.replace(model, -1, hf.Linear(7))
    assert model.predict(DATA).shape == (32, 7)
    for name, value in body.items():
        np.testing.assert_array_equal({**model.parameters(), **model.buffers()}[name], value)
    trainer = hf.Trainer(model, "softmax_cross_entropy")
    trainer.fit(DATA, np.arange(32) % 7)
    branches = Branches().build((3,))
    hf.transfer.replace(branches, "blocks.1", hf.Linear(3, bias=False))
    assert "blocks.1.bias" not in branches.build((3,)).parameters()
    hf.transfer.replace(branches, "head", hf.Linear(2))
    assert branches.predict(DATA).shape == (32, 2)


@pytest.mark.parametrize("name", ["4", "", 9, -5, True, None])
def test_replacing_what_is_not_there(name: object) -> None:
    with pytest.raises(ArgumentError):
        hf.transfer.replace(net(), name, hf.Linear(2))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="expected a layer"):
        hf.transfer.replace(net(), "0", hf.Linear)  # type: ignore[arg-type]


def test_rates_fall_from_the_head_down() -> None:
    model = net().build((3,))
    trainer = hf.Trainer(model, "mse", hf.SGD(0.1), groups=hf.transfer.discriminative_rates(model, 0.5))
    before = {k: v.copy() for k, v in model.parameters().items()}
    flat = hf.Trainer(twin := net().build((3,)), "mse", hf.SGD(0.1))
    trainer.step(DATA, DATA[:, :2])
    flat.step(DATA, DATA[:, :2])
    for name, factor in {"3.weight": 1.0, "1.bias": 0.5, "0.weight": 0.25}.items():
        moved, full = model.parameters()[name] - before[name], twin.parameters()[name] - before[name]
        np.testing.assert_allclose(moved, factor * full, rtol=1e-4, atol=1e-7)
    with pytest.raises(ArgumentError, match="factor"):
        hf.transfer.discriminative_rates(model, 0)


def test_more_rows_train_more_layers() -> None:
    model = hf.Sequential(hf.Linear(10), hf.Linear(10), hf.Linear(2)).build((10,))  # 110, 110, 22 parameters
    trained = [hf.transfer.freeze_by_rows(model, rows, parameters_per_row=5) for rows in (1, 26, 27, 48, 49)]
    assert [len(t) for t in trained] == [1, 1, 2, 2, 3]
    assert hf.transfer.freeze_by_rows(model, 1, parameters_per_row=132) == ["1.*", "2.*"]
    assert list(model.trainable()) == ["1.weight", "1.bias", "2.weight", "2.bias"]
    for rows in (0, True, 2.5):
        with pytest.raises(ArgumentError, match="rows"):
            hf.transfer.freeze_by_rows(model, rows)  # type: ignore[arg-type]


def test_stages_thaw_one_after_the_other() -> None:
    model = net().build((3,))
    seen = []
    watch = [hf.transfer.GradualUnfreeze(2), lambda trainer, epoch, logs: seen.append(len(model.trainable()))]
    first, stats = model.parameters()["0.weight"].copy(), model.buffers()["1.running_mean"].copy()
    trainer = hf.Trainer(model, "mse")
    trainer.fit(DATA, DATA[:, :2], epochs=1, callbacks=watch)
    np.testing.assert_array_equal(model.parameters()["0.weight"], first)
    np.testing.assert_array_equal(model.buffers()["1.running_mean"], stats)
    trainer.fit(DATA, DATA[:, :2], epochs=5, callbacks=watch)
    assert seen == [2, 2, 4, 4, 6, 6]  # after each epoch: the head's, the norm's, all
    assert (model.parameters()["0.weight"] != first).any()
    with pytest.raises(ArgumentError, match="every"):
        hf.transfer.GradualUnfreeze(0)


def test_thawing_goes_on_where_it_was_when_a_fit_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def run(stop: bool) -> dict[str, np.ndarray]:
        model = net().build((3,))
        trainer = hf.Trainer(model, "mse", seed=3)

        def save(trainer: hf.Trainer, epoch: int, logs: dict[str, float]) -> None:
            if epoch == 2:
                trainer.save_state(path)
                trainer.stop = stop

        callbacks = [hf.transfer.GradualUnfreeze(2), save]
        trainer.fit(DATA, DATA[:, :2], epochs=6, callbacks=callbacks)
        if stop:
            model = net().build((3,))
            trainer = hf.Trainer(model, "mse", seed=3)
            trainer.fit(DATA, DATA[:, :2], epochs=6, callbacks=[hf.transfer.GradualUnfreeze(2), save], resume=path)
        return {**model.parameters(), **model.buffers()}

    whole, resumed = run(False), run(True)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)


def test_layers_are_pretrained_greedily() -> None:
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(400, 2)) @ rng.normal(size=(2, 8))).astype(np.float32)  # two factors behind eight columns
    model = hf.Sequential(hf.Linear(6), hf.Tanh(), hf.Linear(2), hf.Linear(3))
    histories = hf.transfer.pretrain_layers(model, x, epochs=60, optimizer=hf.Adam(1e-2))
    assert len(histories) == 2
    assert histories[0]["loss"][-1] < 0.05 * histories[0]["loss"][0]
    head = hf.Sequential(hf.Linear(6), hf.Tanh(), hf.Linear(2), hf.Linear(3)).build((8,)).parameters()["3.weight"]
    np.testing.assert_array_equal(model.parameters()["3.weight"], head)  # the head is not trained
    again = hf.Sequential(hf.Linear(6), hf.Tanh(), hf.Linear(2), hf.Linear(3))
    hf.transfer.pretrain_layers(again, x, epochs=60, optimizer=hf.Adam(1e-2), threads=1)
    np.testing.assert_array_equal(model.predict(x), again.predict(x))
    hf.Trainer(model, "mse").fit(x, x[:, :3])


def test_pretraining_refuses_what_it_can_not_do() -> None:
    for model, words in [(Branches(), "Sequential"), (hf.Sequential(hf.Linear(2)), "below its head")]:
        with pytest.raises(ArgumentError, match=words):
            hf.transfer.pretrain_layers(model, DATA)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="features"):
        hf.transfer.pretrain_layers(net(), DATA[0])
    with pytest.raises(ArgumentError, match="noise"):
        hf.transfer.pretrain_layers(net(), DATA, noise=-1)


def test_a_fit_with_all_frozen_is_an_error() -> None:
    x = np.ones((4, 2))
    model = hf.Sequential(hf.Linear(3), hf.Linear(1)).build((2,)).freeze("*")
    trainer = hf.Trainer(model, "mse")
    with pytest.raises(ArgumentError, match="all parameters are frozen"):
        trainer.fit(x, x[:, :1])
    trainer.fit(x, x[:, :1], callbacks=[hf.transfer.GradualUnfreeze()])  # which thaws the head first
    assert hf.Trainer(hf.Sequential(hf.ReLU()), "mse").fit(x, x)["loss"] == [0.0]
