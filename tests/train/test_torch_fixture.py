"""Ten nets x 22 optimisers x 50 steps against PyTorch's losses in fixtures/torch_losses.npz (see its README)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hawfinch as hf

FIXTURE = np.load(Path(__file__).parents[1] / "fixtures" / "torch_losses.npz")
CONFIGS = json.loads(str(FIXTURE["configs"]))
OPTIMIZERS = json.loads(str(FIXTURE["optimizers"]))
STEPS = json.loads(str(FIXTURE["meta"]))["steps"]

# The fixture is stable: a nudge of 1e-12 moves no loss by more than 1e-10. Rounding (1e-16) may thus come to 1e-14;
# worst seen 4e-14, for losses and for sums of squares.
RTOL = 1e-12
# Gradients that are zero up to rounding steer these, see meta["notes"]["null_gradients"]; worst seen 2e-7.
RTOL_NOISE = 1e-5
# float32 against PyTorch's float32, about five times the worst seen. One rounding is 6e-8 of the loss: what stands here
# is how much 50 steps of a net make of it.
RTOL32 = {
    "c0_cross_entropy_2h": 2e-6,
    "c1_cross_entropy_2h": 2e-6,
    "c2_cross_entropy_3h": 5e-5,  # the loss falls to a fifth, the rounding does not
    "c3_binary_cross_entropy_with_logits_1h": 3e-6,
    "c4_binary_cross_entropy_with_logits_3h": 1e-4,  # layer norm, then batch norm over small differences
    "c5_mse_2h": 2e-6,
    "c6_mse_3h": 3e-5,  # three batch norms in a row
    "c7_l1_2h": 2e-6,
    "c8_huber_2h": 2e-5,  # the loss falls to 0.03 and is a mean of squares of small differences
    "c9_cross_entropy_1h": 2e-6,
}

LAYERS: dict[str, Any] = {
    "linear": lambda s: hf.Linear(s["out"]),
    "batch_norm": lambda s: hf.BatchNorm(eps=s["eps"], momentum=s["momentum"]),
    "layer_norm": lambda s: hf.LayerNorm(eps=s["eps"]),
    "relu": lambda s: hf.ReLU(),
    "leaky_relu": lambda s: hf.LeakyReLU(s["negative_slope"]),
    "elu": lambda s: hf.ELU(s["alpha"]),
    "gelu": lambda s: hf.GELU(),
    "silu": lambda s: hf.SiLU(),
    "softplus": lambda s: hf.Softplus(),
    "tanh": lambda s: hf.Tanh(),
    "sigmoid": lambda s: hf.Sigmoid(),
}
LOSSES: dict[str, Any] = {
    "cross_entropy": lambda s: hf.SoftmaxCrossEntropy(
        label_smoothing=s.get("label_smoothing", 0.0), class_weight=s.get("class_weights")
    ),
    "binary_cross_entropy_with_logits": lambda s: hf.BCEWithLogits(),
    "mse": lambda s: hf.MSE(),
    "l1": lambda s: hf.MAE(),
    "huber": lambda s: hf.Huber(s["delta"]),
}
KINDS: dict[str, Any] = {
    "sgd": hf.SGD,
    "adagrad": hf.Adagrad,
    "rmsprop": hf.RMSprop,
    "adam": hf.Adam,
    "adamw": hf.AdamW,
    "adadelta": hf.Adadelta,
    "nadam": hf.NAdam,
    "radam": hf.RAdam,
    "adamax": hf.Adamax,
    "rprop": hf.Rprop,
}


def trained(i: int, j: int, dtype: str) -> tuple[hf.Sequential, np.ndarray]:
    """Net i after 50 full-batch steps of optimiser j, and the loss before each."""
    config = CONFIGS[i]
    model = hf.Sequential(*[LAYERS[s["type"]](s) for s in config["layers"]])
    model.dtype = dtype
    model.build((config["in"],))
    assert list(model.parameters()) == config["params"]
    assert list(model.buffers()) == config["buffers"]
    for name, view in model.parameters().items():
        view[...] = FIXTURE[f"c{i}.p.{name}"]
    options = {k: v for k, v in OPTIMIZERS[j].items() if k not in ("name", "kind")}
    loss = LOSSES[config["loss"]["type"]](config["loss"])
    trainer = hf.Trainer(model, loss, KINDS[OPTIMIZERS[j]["kind"]](**options))
    x, y = FIXTURE[f"c{i}.x"], FIXTURE[f"c{i}.y"]
    history = trainer.fit(x, y, batch_size=len(x), epochs=STEPS, shuffle=False)
    return model, np.array(history["loss"])


def sums_of_squares(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([np.square(a).sum() for a in arrays.values()])


@pytest.mark.parametrize("j", range(len(OPTIMIZERS)), ids=[o["name"] for o in OPTIMIZERS])
@pytest.mark.parametrize("i", range(len(CONFIGS)), ids=[c["name"] for c in CONFIGS])
def test_float64(i: int, j: int) -> None:
    """Every loss, and the parameters and running statistics at the end."""
    model, losses = trained(i, j, "float64")
    np.testing.assert_allclose(losses, FIXTURE[f"c{i}.o{j}.losses"], rtol=RTOL)
    config = CONFIGS[i]
    noisy = np.array([name in config["null_gradients"] for name in config["params"]])
    got, expected = sums_of_squares(model.parameters()), FIXTURE[f"c{i}.o{j}.final_sumsq"]
    np.testing.assert_allclose(got[~noisy], expected[~noisy], rtol=RTOL)
    signs = OPTIMIZERS[j]["kind"] == "rprop"  # which has made steps of what is noise
    np.testing.assert_allclose(got[noisy & (not signs)], expected[noisy & (not signs)], rtol=RTOL_NOISE)
    if config["buffers"]:
        got, expected = sums_of_squares(model.buffers()), FIXTURE[f"c{i}.o{j}.final_buffers_sumsq"]
        mean = np.array([name.endswith("mean") for name in config["buffers"]])
        np.testing.assert_allclose(got[mean & (not signs)], expected[mean & (not signs)], rtol=RTOL_NOISE)
        np.testing.assert_allclose(got[~mean], expected[~mean], rtol=RTOL)


@pytest.mark.parametrize("j", range(len(OPTIMIZERS)), ids=[o["name"] for o in OPTIMIZERS])
@pytest.mark.parametrize("i", range(len(CONFIGS)), ids=[c["name"] for c in CONFIGS])
def test_float32(i: int, j: int) -> None:
    """Every loss, against PyTorch in float32."""
    _, losses = trained(i, j, "float32")
    np.testing.assert_allclose(losses, FIXTURE[f"c{i}.o{j}.losses32"], rtol=RTOL32[CONFIGS[i]["name"]])
