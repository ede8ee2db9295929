"""Optimisers that look at a parameter as a whole: Muon and Adafactor, against NumPy and PyTorch's numbers."""

from typing import Any

import numpy as np
import pytest
from optim_cases import WHOLE, muon

import hawfinch as hf
from hawfinch import _core
from hawfinch.errors import ArgumentError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(30, 4))
Y = RNG.normal(size=(30, 3))
START = np.linspace(-1, 1, 12).reshape(4, 3)
# tests/fixtures/torch_whole.py: the weight after 6 steps; Muon with float64 products
TORCH: list[tuple[hf.Optimizer, list[float]]] = [
    (
        hf.Muon(0.05, weight_decay=0.1),
        [
            -0.885033108176,
            -0.720197844356,
            -0.654074666675,
            -0.22664662498,
            -0.190067638216,
            -0.126966647306,
            -0.017779071658,
            0.364781394457,
            0.232590783794,
            0.655846834912,
            0.572240609638,
            0.819577837599,
        ],
    ),
    (
        hf.Muon(0.05, adjust_lr_fn="match_rms_adamw", nesterov=False),
        [
            -0.931202142598,
            -0.768979912831,
            -0.628746694711,
            -0.351295331256,
            -0.238001327845,
            -0.096803829386,
            0.032085799366,
            0.308369160154,
            0.356757458289,
            0.638313881961,
            0.693251744753,
            0.907061518278,
        ],
    ),
    (
        hf.Adafactor(0.3, weight_decay=0.1),
        [
            -0.636361873414,
            -0.309785749138,
            -0.469837918863,
            0.035741286287,
            0.100734194265,
            -0.177284365168,
            -0.068752766306,
            0.220609763149,
            -0.276392802892,
            0.254439554229,
            0.055551136491,
            0.285586247212,
        ],
    ),
    (
        hf.Adafactor(0.3, beta2_decay=-0.5, eps=(1e-2, 0.5), d=1.5),
        [
            -0.263432342962,
            -0.283546751788,
            -0.445375372497,
            0.289454960296,
            0.081676879479,
            -0.224987089796,
            -0.082670972945,
            0.2236681069,
            -0.36578118232,
            0.288510280737,
            -0.053452144308,
            0.204692779453,
        ],
    ),
]


def linear(dtype: str = "float64", bias: bool = True) -> hf.Sequential:
    return hf.Sequential(hf.Linear(3, bias=bias)).astype(dtype).build((4,), seed=1)


def deep() -> hf.Sequential:
    return hf.Sequential(hf.Linear(40), hf.Tanh(), hf.Linear(70), hf.Tanh(), hf.Linear(3)).build((4,), seed=1)


def gradients(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    d = 2 * (X @ p["0.weight"] + p["0.bias"] - Y) / Y.size
    return {"0.weight": X.T @ d, "0.bias": d.sum(0)}


def flat(trainer: hf.Trainer) -> bytes:
    return trainer.model.store().params.tobytes() + b"".join(s.tobytes() for s in trainer.slots.values())


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.05}, {"clip_value": 0.01}], ids=str)
@pytest.mark.parametrize("penalty", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", WHOLE)
def test_formula(name: str, accumulate: int, penalty: bool, clip: dict[str, float]) -> None:
    """In float64: clipping, then penalties, then the rule; batches that are added up give the update of the whole."""
    case, model = WHOLE[name], linear()
    p = {k: v.copy() for k, v in model.parameters().items()}
    regularizers = {"*": hf.ElasticNet(0.1, l1_ratio=0.3)} if penalty else None
    trainer = hf.Trainer(
        model, "mse", case.optimizer(weight_decay=0.1, **clip), regularizers=regularizers, accumulate=accumulate
    )
    trainer.fit(X, Y, batch_size=30 // accumulate, epochs=6, shuffle=False)
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    for t in range(1, 7):
        g = gradients(p)
        norm = np.sqrt(sum((v**2).sum() for v in g.values()))
        scale = min(1.0, clip["clip_norm"] / (norm + 1e-6)) if "clip_norm" in clip else 1.0
        limit = clip.get("clip_value", np.inf)
        g = {k: np.clip(v * scale, -limit, limit) for k, v in g.items()}
        if penalty:
            g = {k: v + 0.03 * np.sign(p[k]) + 0.14 * p[k] for k, v in g.items()}
        p = {k: case.update(v, g[k], slots[k], t, weight_decay=0.1, **case.options) for k, v in p.items()}
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("optimizer", "want"), TORCH, ids=lambda v: type(v).__name__)
def test_pytorchs_numbers(optimizer: hf.Optimizer, want: list[float]) -> None:
    model = linear(bias=False)
    model.parameters()["0.weight"][...] = START
    hf.Trainer(model, "mse", optimizer).fit(X, Y, epochs=6, batch_size="full")
    np.testing.assert_allclose(model.parameters()["0.weight"].ravel(), want, rtol=0, atol=1e-11)


def test_muon_makes_singular_values_alike() -> None:
    """Wide, tall and square, in float32: between 0.68 and 1.13 for all that are not tiny, as the coefficients do."""
    rng = np.random.default_rng(0)
    for rows, cols in ((64, 64), (40, 130), (130, 40), (1, 7), (33, 65)):
        model = hf.Sequential(hf.Linear(cols, bias=False)).build((rows,), seed=1)
        before = model.parameters()["0.weight"].copy()
        trainer = hf.Trainer(model, "mse", hf.Muon(1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        trainer.step(rng.normal(size=(200, rows)), rng.normal(size=(200, cols)))
        moved = (model.parameters()["0.weight"] - before) / (0.2 * max(rows, cols) ** 0.5)
        s = np.linalg.svd(moved, compute_uv=False)
        assert s.min() > 0.4 and s.max() < 1.3


@pytest.mark.parametrize("name", ["muon", "adafactor"])
def test_same_bits_for_threads_and_after_a_resume(name: str, tmp_path: Any) -> None:
    results = set()
    for threads, cut in ((1, False), (3, False), (2, True)):
        trainer = hf.Trainer(deep(), "mse", WHOLE[name].optimizer(), threads=threads)
        if cut:
            trainer.fit(X, Y, epochs=2, batch_size=8)
            trainer.save_state(tmp_path / "state")
            trainer = hf.Trainer(deep(), "mse", WHOLE[name].optimizer(), threads=threads)
            trainer.set_state(tmp_path / "state")
        trainer.fit(X, Y, epochs=1 if cut else 3, batch_size=8)
        results.add(flat(trainer))
    assert len(results) == 1


def test_groups_give_each_parameter_settings_of_its_own_optimiser() -> None:
    optimizer = hf.Muon(0.05, vectors=hf.AdamW(0.01))
    groups = {"*": dict(lr=hf.schedules.Scaled(0.5)), "0.weight": dict(momentum=0.5), "0.bias": dict(betas=(0.5, 0.6))}
    model = linear()
    p = {k: v.copy() for k, v in model.parameters().items()}
    slots: dict[str, dict[str, Any]] = {k: {} for k in p}
    hf.Trainer(model, "mse", optimizer, groups=groups).fit(X, Y, epochs=5, batch_size=30, shuffle=False)
    for t in range(1, 6):
        g = gradients(p)
        vectors = hf.AdamW(0.005, betas=(0.5, 0.6))
        p = {k: muon(p[k], g[k], slots[k], t, 0.025, vectors, momentum=0.5) for k in p}
    for k, v in model.parameters().items():
        np.testing.assert_allclose(v, p[k], rtol=1e-9, atol=1e-12)
    with pytest.raises(ArgumentError, match=r"argument of AdamW.*momentum"):
        hf.Trainer(linear(), "mse", optimizer, groups={"*": dict(momentum=0.5)}).step(X, Y)
    with pytest.raises(ArgumentError, match="momentun"):
        hf.Trainer(linear(), "mse", optimizer, groups={"*": dict(momentun=0.5)})


def test_what_muon_excludes_follows_adamw() -> None:
    vectors = hf.AdamW(0.02)
    for exclude in ("*", ["*.weight", "*.bias"]):
        trainers = [hf.Trainer(deep(), "mse", o) for o in (hf.Muon(0.1, exclude=exclude, vectors=vectors), vectors)]
        for trainer in trainers:
            trainer.fit(X, Y, epochs=2)
        assert flat(trainers[0]) == flat(trainers[1])
    with pytest.raises(ArgumentError, match=r"Muon: no parameter matches '7\.\*'"):
        hf.Trainer(deep(), "mse", hf.Muon(exclude="7.*")).step(X, Y)


def test_a_frozen_layer_keeps_its_state_and_counts() -> None:
    trainer = hf.Trainer(deep(), "mse", hf.Adafactor(0.1))
    trainer.fit(X, Y, epochs=2)
    trainer.model.freeze("2.*")
    before = trainer.model.parameters()["2.weight"].copy()
    trainer.fit(X, Y, epochs=2)
    assert np.array_equal(before, trainer.model.parameters()["2.weight"])
    trainer.model.unfreeze("2.*")
    p, t = before.astype(np.float64), trainer.steps
    trainer.step(X, Y)
    assert t == 4 and not np.array_equal(p, trainer.model.parameters()["2.weight"])


def test_adafactors_state_is_small() -> None:
    model = hf.Sequential(hf.Linear(300), hf.Linear(200)).build((100,))
    trainer = hf.Trainer(model, "mse", hf.Adafactor())
    memory = trainer.memory(np.ones((4, 100)), np.ones((4, 200)))
    assert memory.optimizer <= 4 * (100 + 300 + 300 + 200 + 300 + 200 + 6 * 16)
    assert {k: v.size for k, v in trainer.slots.items()} == {
        "row_var": 112 + 304,
        "col_var": 304 + 208,
        "variance": 512,
    }


@pytest.mark.skipif(not _core.has_fast_kernel("matmul_bf16"), reason="the processor has no AVX512-BF16")
def test_muon_in_bfloat16_is_near_float32() -> None:
    def moved(precision: str) -> np.ndarray:
        model = hf.Sequential(hf.Linear(64, bias=False)).build((96,), seed=1)
        before = model.parameters()["0.weight"].copy()
        trainer = hf.Trainer(model, "mse", hf.Muon(1.0, weight_decay=0.0), precision=precision)
        rng = np.random.default_rng(0)
        trainer.step(rng.normal(size=(200, 96)), rng.normal(size=(200, 64)))
        return model.parameters()["0.weight"] - before

    full, half = moved("f32"), moved("bf16")
    assert 1e-4 < np.abs(half - full).max() < 0.05 * np.abs(full).max()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hf.Muon(ns_steps=0), "ns_steps"),
        (lambda: hf.Muon(ns_steps=100), "at most 99"),
        (lambda: hf.Muon(ns_coefficients=(1, 2)), "three numbers"),
        (lambda: hf.Muon(adjust_lr_fn="orignal"), "'original'"),
        (lambda: hf.Muon(momentum=1.0), "momentum"),
        (lambda: hf.Muon(exclude=3), "patterns"),
        (lambda: hf.Muon(vectors=hf.SGD()), "an AdamW"),
        (lambda: hf.Muon(vectors=hf.AdamW(clip_norm=1.0)), "clip_norm"),
        (lambda: hf.Muon(nesterov=2), "nesterov"),
        (lambda: hf.Adafactor(eps=1e-3), "two numbers"),
        (lambda: hf.Adafactor(eps=(-1.0, 1e-3)), "eps1"),
        (lambda: hf.Adafactor(beta2_decay=0.8), "beta2_decay"),
        (lambda: hf.Adafactor(d=0.5), "at least 1"),
    ],
)
def test_bad_settings(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


def test_settings_can_be_replaced() -> None:
    assert hf.Adafactor().replace(eps=(1e-3, 0.1), lr=0.5) == hf.Adafactor(0.5, eps=(1e-3, 0.1))
    assert hf.Muon().replace(ns_steps=3, exclude="a", vectors=hf.AdamW(1.0)) == hf.Muon(
        ns_steps=3, exclude="a", vectors=hf.AdamW(1.0)
    )
    trainer = hf.Trainer(linear(), "mse", hf.Muon())
    trainer.step(X, Y)
    plan = trainer.plan(X, Y)
    trainer.set(lr=0.5, momentum=0.3)
    assert trainer.plan(X, Y) is plan, "numbers are not in the plan"
    trainer.set(ns_steps=2)
    assert trainer.plan(X, Y) is not plan
