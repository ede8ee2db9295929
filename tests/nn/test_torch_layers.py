"""Each layer that PyTorch has too, through three steps of training, against fixtures/torch_layers.npz."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "torch_layers.npz")
# PyTorch's slope of a hard sigmoid is the float32 number nearest to 1/6, in float64 too
RTOL = {"hf.HardSigmoid()": 1e-6}
LAYERS = json.loads(str(FIXTURE["layers"]))


def sum_of_products(prediction: Any, target: Any) -> Any:
    return hf.ops.sum(prediction * target, tuple(range(1, prediction.ndim)))


@pytest.mark.parametrize("number", range(len(LAYERS)), ids=LAYERS)
def test_three_steps(number: int, tmp_path: Path) -> None:
    """Losses, every array and the output afterwards; and again behind a file."""
    stored = {k.partition(".")[2]: FIXTURE[k] for k in FIXTURE.files if k.startswith(f"{number}.")}
    layer = eval(LAYERS[number], {"hf": hf})
    x, t = stored["x"], stored["t"]
    model = hf.Sequential(hf.Linear(x.shape[-1]), layer).astype("float64").build(x.shape[2:])
    arrays = {**model.parameters(), **model.buffers()}
    assert {f"before.{k}" for k in arrays} == {k for k in stored if k.startswith("before.")}
    for name, array in arrays.items():
        array[...] = stored[f"before.{name}"]
    trainer = hf.Trainer(model, sum_of_products, hf.SGD(lr=0.1))
    losses = [trainer.step(*batch) for batch in zip(x, t, strict=True)]
    rtol = RTOL.get(LAYERS[number], 1e-11)
    np.testing.assert_allclose(losses, stored["losses"], rtol=rtol, atol=1e-13)
    for name, array in arrays.items():
        np.testing.assert_allclose(array, stored[f"after.{name}"], rtol=rtol, atol=1e-13, err_msg=name)
    np.testing.assert_allclose(model.predict(x[0]), stored["y"], rtol=rtol, atol=1e-13)
    model.save(tmp_path / "m")
    assert hf.load(tmp_path / "m").predict(x[0]).tobytes() == model.predict(x[0]).tobytes()
