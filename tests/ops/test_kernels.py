"""The kernels of every ISA of this machine: within tolerance, equal bits across FMA ISAs, thread counts and batches.

Each ISA runs in a process of its own (this file as a script, HAWFINCH_ISA forced), which prints a digest of
every result.
"""

import hashlib
import inspect
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, IDS, MODES, cast, outputs, problems
from kernel_cases import KERNELS

import hawfinch as hf
from hawfinch import _core, kernels

O = hf.ops
FMA = [isa for isa in _core.ISAS if isa in ("avx2", "avx512", "neon")]
THREADS = (1, 2, 3, 4)


def test_the_table_has_a_row_for_every_public_kernel():
    public = {name for name, value in vars(kernels).items() if inspect.isfunction(value) and name[0] != "_"}
    assert {c.name for c in KERNELS} == set(kernels.__all__) <= public


@pytest.mark.parametrize("dtype", MODES)
@pytest.mark.parametrize("case", KERNELS, ids=lambda c: c.name)
def test_a_kernel_on_arrays(case, dtype):
    assert not list(problems(case, dtype, case.call))


def digest(arrays):
    """A hash of the bits; any NaN is one NaN (the sign of 0/0 is the processor's choice)."""
    h = hashlib.sha256()
    for a in arrays:
        a = np.asarray(a)
        h.update(f"{a.dtype}{a.shape}".encode())
        h.update((np.where(np.isnan(a), np.nan, a).astype(a.dtype) if a.dtype.kind == "f" else a).tobytes())
    return h.hexdigest()[:16]


def large(name, dtype):
    """Inputs that keep several threads busy and end in the middle of tiles and blocks."""
    rng = np.random.default_rng(3)
    return [rng.normal(size=s).astype(dtype) for s in {"net": [(333, 70), (70, 45), (45,), (45, 9)]}[name]]


def net(x, w1, b1, w2):
    """A bit of everything, forward and backward."""
    y = np.arange(333) % 9

    def loss(w1, b1, w2):
        h, _, _ = O.batch_norm(O.relu(x @ w1 + b1), b1, b1)
        h = O.layer_norm(O.gelu(h) + O.tanh(h) * O.sigmoid(h), b1, b1) + O.dropout(h, 0.25)
        z = h @ w2
        return (
            O.mean(O.softmax_cross_entropy(z, y, 0.05))
            + O.mean(O.square(O.softmax(z) @ O.transpose(w2)))
            + O.sum(O.max(z, 0) - O.log1p(O.exp(O.sum(h, 1, True))) * O.softplus(z[:, ::2])[:, :1]) * 1e-3
        )

    value, grads = hf.value_and_grad(loss, (0, 1, 2))(w1, b1, w2)
    return (value, *grads)


def results():
    """name -> digest of every case in both dtypes, the larger ones computed with 1 to 4 threads."""
    found, wrong = {}, []
    for case, name in zip(CASES, IDS, strict=True):
        for dtype in MODES:
            wrong += problems(case, dtype)
            sizes = sorted((sum(math.prod(x) for x in shapes) for shapes, _ in case.variants), reverse=True)
            for number, (shapes, attrs) in enumerate(case.variants):
                f = hf.compile(lambda *x, case=case, attrs=attrs: case.call(*x, **attrs))
                inputs = cast(case.inputs(shapes), dtype)
                is_large = sum(x.size for x in inputs) >= sizes[min(len(sizes) - 1, 3)]
                digests = {digest(outputs(f(*inputs, threads=n))) for n in THREADS[: None if is_large else 1]}
                if len(digests) > 1:
                    wrong.append(f"{name} {dtype} {shapes} {attrs}: bits depend on the number of threads")
                found[f"{name} {dtype} {number}"] = min(digests)
    for dtype in MODES:
        f, inputs = hf.compile(net), large("net", dtype)
        for _ in range(5):  # a race need not show the first time
            digests = {digest(f(*inputs, threads=n)) for n in THREADS}
            if len(digests) > 1:
                wrong.append(f"net {dtype}: bits depend on the number of threads")
        found[f"net {dtype}"] = min(digests)
    return {"isa": _core.kernel_isa(), "digests": found, "wrong": wrong}


def run_under(isa, code=None):
    command = [sys.executable, str(Path(__file__).resolve())] if code is None else [sys.executable, "-c", code]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "HAWFINCH_ISA": isa, "PYTHONPATH": paths}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def by_isa():
    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(_core.ISAS, pool.map(run_under, _core.ISAS), strict=True))
    for isa, process in done.items():
        assert process.returncode == 0, f"{isa}: {process.stderr[-3000:]}"
    return {isa: json.loads(process.stdout) for isa, process in done.items()}


@pytest.mark.parametrize("isa", _core.ISAS)
def test_every_isa_is_within_tolerance_and_its_bits_do_not_depend_on_threads(by_isa, isa):
    assert by_isa[isa]["isa"] == isa
    assert len(by_isa[isa]["digests"]) > 2 * len(CASES)
    assert not by_isa[isa]["wrong"]


@pytest.mark.parametrize("isa", FMA)
def test_every_fma_isa_gives_the_same_bits(by_isa, isa):
    first = by_isa[FMA[0]]["digests"]
    assert {k for k, v in by_isa[isa]["digests"].items() if v != first[k]} == set()


def test_the_digests_tell_results_apart(by_isa):
    digests = by_isa[_core.ISAS[-1]]["digests"]
    assert len(set(digests.values())) > 0.7 * len(digests)  # the same few numbers for empty and 1-element cases
    # rounding differs without FMA: if these agreed, the forced ISA would not have been used
    assert by_isa["baseline"]["digests"] != digests


def test_a_wrong_isa_is_an_import_error_that_names_the_choices():
    for wrong in ("sse9", "AVX2", "avx2 ", "neon" if "neon" not in _core.ISAS else "avx2"):
        process = run_under(wrong, "import hawfinch")
        assert process.returncode != 0
        assert "ImportError" in process.stderr and repr(wrong) in process.stderr
        assert all(isa in process.stderr.rsplit("choose one of", 1)[1] for isa in _core.ISAS)
    assert run_under("", "import hawfinch").returncode == 0


def test_the_best_isa_is_the_default():
    code = "from hawfinch import _core; print(_core.kernel_isa(), _core.ISAS[-1])"
    chosen, best = run_under("", code).stdout.split()
    assert chosen == best == _core.ISAS[-1]


# ---- a row alone and in a batch ----
WIDTHS = (1, 2, 7, 16, 17, 31, 33, 65, 130)
ROW_WISE = {
    "tanh": (O.tanh, ()),
    "gelu": (O.gelu, ()),
    "pow": (lambda x: O.exp(x) ** 1.7, ()),
    "broadcast": (lambda x, v: O.maximum(x, v) * v - O.softplus(x), (lambda n: (n,),)),
    "softmax": (O.softmax, ()),
    "log_softmax": (O.log_softmax, ()),
    "cross-entropy": (lambda x: O.softmax_cross_entropy(x, O.softmax(x)), ()),
    "rms_norm": (O.rms_norm, (lambda n: (n,),)),
    "layer_norm": (O.layer_norm, (lambda n: (n,), lambda n: (n,))),
    "group_norm": (lambda x, w: O.group_norm(O.reshape(x, (*x.shape, 1)) * w, 1, 1.0, 0.0), (lambda n: (4,),)),
    "sum": (lambda x: O.sum(x, 1), ()),
    "mean": (lambda x: O.mean(x, 1), ()),
    "max": (lambda x: O.max(x, 1), ()),
    "matmul": (lambda x, w: x @ w, (lambda n: (n, 40),)),
    "matmul to 1": (lambda x, w: x @ w, (lambda n: (n, 1),)),
    "matmul to 2": (lambda x, w: x @ w, (lambda n: (n, 2),)),
    "by a vector": (lambda x, w: x @ w, (lambda n: (n,),)),
    "by a transpose": (lambda x, w: x @ O.transpose(w), (lambda n: (19, n),)),
    "layer": (lambda x, w, b: O.tanh(x @ w + b), (lambda n: (n, 33), lambda n: (33,))),
}


@pytest.mark.parametrize("dtype", MODES)
@pytest.mark.parametrize("name", ROW_WISE)
def test_a_row_does_not_depend_on_its_batch(name, dtype):
    fn, more = ROW_WISE[name]
    rng = np.random.default_rng(8)
    for n in WIDTHS:
        x = rng.normal(size=(37, n)).astype(dtype)
        rest = [rng.normal(size=shape(n)).astype(dtype) for shape in more]
        f = hf.compile(fn)
        batch = f(x, *rest)
        for rows in (slice(0, 1), slice(36, 37), slice(5, 19), slice(20, 36), slice(3, 3)):
            np.testing.assert_array_equal(f(x[rows], *rest), batch[rows], err_msg=f"{name} {n} {rows}")


def test_a_row_does_not_depend_on_its_batch_where_the_product_is_shared_by_columns():
    """From 2**24 multiply-adds on the split is by columns: a batch of 600 rows is, one of 3 is not."""
    rng = np.random.default_rng(9)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((600, 100), (100, 333), (333,)))
    f = hf.compile(lambda x, w, b: O.relu(x @ w + b) * b + x[:, :1])
    assert [s.fields["by_cols"] for rows in (600, 3) for s in f.plan(x[:rows], w, b).steps if s.op == "matmul"] == [
        1,
        0,
    ]
    batch = f(x, w, b)
    np.testing.assert_array_equal(f(x[50:53], w, b), batch[50:53])
    for n in THREADS:
        assert f(x, w, b, threads=n).tobytes() == batch.tobytes()


if __name__ == "__main__":
    print(json.dumps(results()))
