"""The seam between plans and what runs them: a second backend, in NumPy, that has every op of the first."""

import inspect

import numpy as np
import pytest
from numpy_backend import INSTRUCTIONS, KERNELS, MEANING, RANDOM, RULES, NumPy, random_words

import hawfinch as hf
from hawfinch import _core
from hawfinch.compiler.rewrite import is_fused
from hawfinch.runtime.backend import CPU, Backend, backend_in_use, using

O = hf.ops
rng = np.random.default_rng(5)
NOT_OF_A_STEP = {"yield"}  # records that only the executor knows


def test_the_numpy_backend_has_every_op():
    """A new op of csrc/defs/ops.def needs its formula in tests/numpy_backend.py, and no other file."""
    assert KERNELS.keys() == set(_core.OPS) - NOT_OF_A_STEP


def test_the_numpy_backend_has_every_update_rule():
    """A new rule of csrc/defs/optim.def needs its row in tests/optim_cases.py, and no other file."""
    assert RULES.keys() == _core.RULES.keys()


def test_the_numpy_backend_has_every_instruction():
    assert len(INSTRUCTIONS) == len(_core.INSTRUCTIONS)
    assert set(MEANING) | set(RANDOM) <= set(_core.INSTRUCTIONS)


@pytest.mark.parametrize("backend", [CPU(), NumPy(), NumPy(fuses=True)])
def test_backends_are_backends(backend):
    members = [name for name, value in vars(Backend).items() if inspect.isfunction(value) and name[0] != "_"]
    assert members and all(callable(getattr(backend, name)) for name in members)
    with using(backend):
        assert backend_in_use() is backend and is_fused() is backend.fuses
    assert isinstance(backend_in_use(), CPU) and is_fused()


def net(w, b, g, x, y):
    h = O.batch_norm(O.relu(x @ w + b), g, b)[0]
    return O.mean(O.softmax_cross_entropy(O.layer_norm(h, g, b), y, 0.1)) + O.sum(O.gelu(x)) * 1e-3


@pytest.mark.parametrize("fuses", [False, True])
def test_a_whole_function_runs_on_both(fuses):
    args = rng.normal(size=(4, 6)), rng.normal(size=6), rng.normal(size=6), rng.normal(size=(9, 4)), np.arange(9) % 6
    want = hf.value_and_grad(net, (0, 1, 2))(*args)
    with using(NumPy(fuses)):
        f = hf.value_and_grad(net, (0, 1, 2))
        got, plan = f(*args), f.plan(*args)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-13)
    for a, b in zip(got[1], want[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)
    ops = {s.op for s in plan.steps}
    assert ("softmax_cross_entropy" in ops) is fuses and ("moments" in ops) is fuses
    assert any(len(set(s.code) - {"constant"}) > 1 for s in plan.steps) is fuses


def test_masks_are_those_of_the_kernel():
    """Dropout of ones, on the CPU, drops where the words of NumPy's Philox say."""
    net = hf.Sequential(hf.Dropout(0.4), hf.Linear(1, bias=False, init="ones")).astype("float64")
    trainer = hf.Trainer(net, hf.MSE(), hf.SGD(lr=1.0), seed=11)
    x = np.ones((1, 200))
    trainer.fit(x, np.zeros((1, 1)))
    kept = random_words(11, 0, 1, 200) >= int(0.4 * 2**32)
    change = 1.0 - net.parameters()["1.weight"][:, 0]  # lr * dloss/dw: 0 where x was dropped
    np.testing.assert_array_equal(change != 0, kept)
    assert 60 < kept.sum() < 180
