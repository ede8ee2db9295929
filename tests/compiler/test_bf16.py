"""bfloat16 products: their definition bit for bit, which ones a training step makes, and what a net learns with them.

The definition is written once more here, in NumPy. The reference kernel is held to it on every machine, in a process
of its own (this file as a script, HAWFINCH_ISA=ref), the fast kernel where the processor has AVX512-BF16.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hawfinch as hf
from hawfinch import _core, kernels
from hawfinch.errors import ArgumentError

O = hf.ops
TINY = np.finfo(np.float32).tiny
HAS_BF16 = _core.has_fast_kernel("matmul_bf16")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="the processor, or the ISA forced on it, has no AVX512-BF16")
# around the tile (6 x 64), the vector (16 columns), the pair (2) and the blocks (k 256, 1024 rows, 512 columns)
SIZES = [
    (1, 1, 1),
    (2, 3, 2),
    (5, 15, 3),
    (6, 16, 4),
    (7, 17, 31),
    (12, 64, 32),
    (13, 65, 33),
    (6, 48, 255),
    (31, 80, 256),
    (40, 127, 257),
    (3, 513, 70),
    (17, 600, 513),
    (1025, 33, 34),
    (64, 64, 1000),
    (96, 256, 1024),
    (4, 5, 0),
]


def flush(a):
    return np.where(np.abs(a) < TINY, np.copysign(np.float32(0), a), a)


def to_bf16(a):
    """float32 rounded to the nearest bfloat16, ties to even; subnormals are 0, NaN stays NaN."""
    a = flush(np.asarray(a, np.float32))
    bits = a.view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(a), np.float32(np.nan), rounded)


def product(x, w, bias=0.0, wide=np.float32):
    """bias + x @ w: pairs of k ascending, the odd one first, every sum rounded to float32.

    Two bfloat16 multiply exactly in float32 unless the product over- or underflows; wide=float64 then holds it.
    """
    x, w = to_bf16(x), to_bf16(w)
    odd = x.shape[1] % 2
    x, w = np.pad(x, ((0, 0), (0, odd))), np.pad(w, ((0, odd), (0, 0)))
    y = np.zeros((x.shape[0], w.shape[1]), np.float32) + np.asarray(bias, np.float32)
    with np.errstate(all="ignore"):
        for k in range(0, x.shape[1], 2):
            for q in (k + 1, k):
                y = flush((flush(y) + x[:, q : q + 1].astype(wide) * w[q].astype(wide)).astype(np.float32))
    return y


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def same(a, b):
    """Equal bits, but any NaN is one NaN."""
    return (
        a.shape == b.shape
        and np.where(np.isnan(a), 0, a).tobytes() == np.where(np.isnan(b), 0, b).tobytes()
        and (np.array_equal(np.isnan(a), np.isnan(b)))
    )


STRANGE = np.array(
    [
        np.nan,
        np.inf,
        -np.inf,
        0.0,
        -0.0,
        1.0,
        1 + 2**-8,
        1 + 3 * 2**-8,
        1 + 2**-8 + 2**-20,
        -1 - 2**-8,
        3.4e38,
        -3.3961e38,
        TINY,
        -TINY,
        TINY / 2,
        1e-45,
        1e-20,
        -3e-20,
        2.0**64,
        2.0**-100,
    ],
    np.float32,
)


def wrong_products():
    """Every way in which a product of this process differs from the definition."""
    transposed = hf.compile(lambda x, w: O.matmul(O.transpose(x), O.transpose(w), precision="bf16"))
    for m, n, k in SIZES:
        x, w, b = normal(m, k), normal(k, n, seed=1), normal(n, seed=2)
        want = product(x, w)
        for threads in (1, 2, 3):
            if not same(kernels.matmul(x, w, precision="bf16", threads=threads), want):
                yield f"{m} x {n} x {k} on {threads} threads"
        if not same(transposed(np.ascontiguousarray(x.T), np.ascontiguousarray(w.T)), want):
            yield f"{m} x {n} x {k} transposed"
        out = np.full((m, n), np.nan, np.float32)
        fused = hf.compile(lambda x, w, b=b: O.relu(O.matmul(x, w, precision="bf16") + b))(x, w, out=out)
        if not same(fused, np.maximum(product(x, w, b), 0)):
            yield f"{m} x {n} x {k} with bias and relu"
    rng = np.random.default_rng(4)
    for k in (1, 2, 5):
        x, w = rng.choice(STRANGE, (40, k)), rng.choice(STRANGE, (k, 50))
        if not same(kernels.matmul(x, w, precision="bf16"), product(x, w, wide=np.float64)):
            yield f"unusual numbers, k = {k}"
    got, want = kernels.matmul(STRANGE[:, None], np.ones((1, 1), np.float32), precision="bf16")[:, 0], to_bf16(STRANGE)
    if not same(got, want + np.float32(0)):
        yield f"rounding: {got} instead of {want}"


def run(code, isa):
    return subprocess.run(
        [sys.executable, "-c", code] if code else [sys.executable, __file__],
        env={**os.environ, "HAWFINCH_ISA": isa},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_reference_kernel_keeps_the_definition_bit_for_bit():
    done = run(None, "ref")
    assert (done.returncode, done.stdout) == (0, "ref: \n"), done.stdout + done.stderr[-3000:]


@needs_bf16
def test_the_fast_kernel_keeps_the_definition_bit_for_bit():
    assert list(wrong_products()) == []


def test_a_processor_without_bf16_gives_a_clear_error():
    others = [isa for isa in _core.ISAS if isa not in ("ref", "avx512")]
    code = "import hawfinch as hf; hf.Trainer(hf.Sequential(hf.Linear(3)), 'mse', precision='bf16')"
    done = run(code, others[-1])
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("hawfinch.errors.ArgumentError: precision='bf16' needs AVX512-BF16")
    assert f"kernels: {others[-1]}" in message and "use precision='f32'" in message


def test_an_unknown_precision_is_an_error():
    with pytest.raises(ArgumentError, match="'bfloat' is not known: choose 'f32' or 'bf16'"):
        hf.Trainer(hf.Sequential(hf.Linear(3)), "mse", precision="bfloat")
    with pytest.raises(ArgumentError, match="'fp8' is not known"):
        kernels.matmul(np.eye(2), np.eye(2), precision="fp8")


@needs_bf16
def test_a_float64_model_is_an_error():
    model = hf.Sequential(hf.Linear(3)).astype("float64")
    trainer = hf.Trainer(model, "mse", precision="bf16")
    with pytest.raises(ArgumentError, match="needs a float32 model"):
        trainer.fit(normal(8, 4), normal(8, 3))


@needs_bf16
def test_gradients_round_their_operands_too():
    x, w, g = normal(70, 33), normal(33, 48, seed=1), normal(70, 48, seed=2)
    f = hf.value_and_grad(lambda x, w: O.sum(O.matmul(x, w, precision="bf16") * g.astype(np.float64)), argnums=(0, 1))
    _, (dx, dw) = f(x, w)
    assert same(dx, product(g, np.ascontiguousarray(w.T)))
    assert same(dw, product(np.ascontiguousarray(x.T), g))


@needs_bf16
def test_float64_arrays_are_made_float32():
    x, w = np.random.default_rng(0).normal(size=(2, 40, 40))
    assert same(kernels.matmul(x, w, precision="bf16"), product(x, w))


@needs_bf16
def test_a_row_does_not_depend_on_its_batch():
    x, w = normal(300, 130), normal(130, 333, seed=1)
    whole = kernels.matmul(x, w, precision="bf16")
    for rows in (slice(0, 1), slice(36, 37), slice(5, 19), slice(120, 300), slice(3, 3)):
        assert same(kernels.matmul(x[rows], w, precision="bf16"), whole[rows])


# ---- training ----
def net(width=64, out=10):
    return hf.Sequential(hf.Linear(width), hf.ReLU(), hf.Linear(width), hf.ReLU(), hf.Linear(out))


def products(trainer, x, y, batch):
    return [
        (s.op, s.scope, *(s.fields[d] for d in ("m", "n", "k")))
        for s in trainer.plan(x, y, batch_size=batch).steps
        if s.op.startswith("matmul")
    ]


@needs_bf16
def test_large_products_are_bf16_and_small_ones_stay_float32_whatever_the_batch():
    x, y = normal(300, 40), np.arange(300) % 10
    ops = {}
    for batch in (4, 300):
        trainer = hf.Trainer(net(), "softmax_cross_entropy", precision="bf16")
        found = products(trainer, x, y, batch)
        wide = [p for p in found if min(d for d in p[2:] if isinstance(d, int)) >= 32]
        assert [p[0] for p in wide] == ["matmul_bf16"] * 5  # 2 forward, 2 weight gradients, 1 input gradient
        assert {p[0] for p in found if p not in wide} == {"matmul"} and len(found) == 8
        ops[batch] = [p[0] for p in found]
    assert ops[4] == ops[300]
    assert "matmul_bf16" not in {p[0] for p in products(hf.Trainer(net(), "softmax_cross_entropy"), x, y, 64)}


def fitted(precision, *, threads=None, epochs=2):
    x, y = hf.data.load_digits()
    trainer = hf.Trainer(
        net(), "softmax_cross_entropy", hf.Adam(lr=2e-3), metrics=["accuracy"], threads=threads, precision=precision
    )
    trainer.fit(x[:500], y[:500], epochs=epochs, batch_size=64)
    return trainer


@needs_bf16
def test_training_gives_the_same_bits_for_any_number_of_threads():
    one, float32 = fitted("bf16", threads=1), fitted("f32", threads=1)
    for threads in (2, 3):
        more = fitted("bf16", threads=threads)
        assert more.history.to_dict() == one.history.to_dict()
        for name, value in more.model.parameters().items():
            assert value.dtype == np.float32 and value.tobytes() == one.model.parameters()[name].tobytes()
    assert one.history["loss"] != float32.history["loss"]


@needs_bf16
def test_evaluate_predict_and_saved_files_are_float32(tmp_path):
    trainer = fitted("bf16")
    x, y = hf.data.load_digits()
    trainer.model.save(tmp_path / "net.safetensors")
    loaded = hf.load(tmp_path / "net.safetensors")
    p = loaded.parameters()
    want = np.maximum(np.maximum(x @ p["0.weight"] + p["0.bias"], 0) @ p["2.weight"] + p["2.bias"], 0)
    want = want @ p["4.weight"] + p["4.bias"]
    np.testing.assert_allclose(loaded.predict(x), want, rtol=1e-5, atol=1e-5)
    assert trainer.model.predict(x).tobytes() == loaded.predict(x).tobytes()
    plain = hf.Trainer(loaded, "softmax_cross_entropy", metrics=["accuracy"])
    assert trainer.evaluate(x, y) == plain.evaluate(x, y)


@needs_bf16
def test_an_overflowing_loss_names_its_tensor():
    x = normal(64, 40)
    trainer = hf.Trainer(net(out=3), "mse", hf.SGD(lr=1e30), precision="bf16")
    with pytest.raises(hf.NonFiniteError, match="first non-finite: output of matmul"):
        trainer.fit(x, normal(64, 3), epochs=5, batch_size=64)


@needs_bf16
def test_it_learns_the_digits_as_float32_does():
    """Held-out accuracy, mean of six seeds: float32's but for at most one digit of 449."""
    x, y = hf.data.load_digits()
    accuracy = {}
    for precision in ("f32", "bf16"):
        scores = []
        for seed in range(6):
            xt, xv, yt, yv = hf.data.train_test_split(x, y, test_size=0.25, seed=seed)
            trainer = hf.Trainer(
                net(), "softmax_cross_entropy", hf.Adam(lr=2e-3), metrics=["accuracy"], seed=seed, precision=precision
            )
            trainer.fit(xt, yt, epochs=40, batch_size=64)
            scores.append(trainer.evaluate(xv, yv)["accuracy"])
        accuracy[precision] = float(np.mean(scores))
    assert accuracy["f32"] > 0.96
    assert accuracy["bf16"] > accuracy["f32"] - 1 / 449, accuracy


if __name__ == "__main__":
    print(f"{_core.kernel_isa()}: {'; '.join(wrong_products())}")
