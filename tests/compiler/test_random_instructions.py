"""random_uniform, random_normal and random_bernoulli: functions of (seed, step, stream, position) and nothing else."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from numpy_backend import bernoulli, normal, random_words, uniform

from hawfinch import _core
from hawfinch.ir import Graph, Step, input_tensor
from hawfinch.ops.instructions import OUT0, instruction
from hawfinch.runtime.buffers import aligned_zeros
from hawfinch.runtime.plan import Plan

Array = npt.NDArray[np.float64]
SEED, STEP = 0x1234_5678_9ABC_DEF0, 77
N = 1 << 20


def numbers(
    name: str,
    shape: tuple[int, ...],
    dtype: str = "float32",
    *,
    imm: float = 0.0,
    stream: int = 3,
    seed: int = SEED,
    step: int = STEP,
    threads: int = 1,
) -> Array:
    """A tensor of this shape by one instruction."""
    y = input_tensor(Graph(), "y", shape)
    fields = {
        "out": [y],
        "in": [],
        "rows": shape[0],
        "dim": [1, 1, math.prod(shape[1:])],
        "in_row": [],
        "in_stride": [],
        "n_out": 1,
        "row_sum": [],
        "n_in": 0,
        "n_code": 1,
        "code": [instruction(name, OUT0, stream=stream)],
        "imm": [imm],
    }
    memory = aligned_zeros(math.prod(shape) * np.dtype(dtype).itemsize)
    step_of = Step("ewise", fields, (y,), (), units=shape[0], local=(y,), code=(name,))
    plan = Plan([step_of], [y], {id(y): (memory, 0)}, dtype=dtype, capacity=1, max_threads=4)
    assert plan.core.run(threads=threads, seed=seed, step0=step) == (_core.OK, 1)
    return memory.view(dtype).reshape(shape)


def test_they_are_functions_of_the_words_of_philox() -> None:
    n = 32 * 300
    words = random_words(SEED, STEP, 3, n)
    np.testing.assert_array_equal(numbers("random_uniform", (n,)), (words >> np.uint64(8)) * 2.0**-24)
    np.testing.assert_array_equal(
        numbers("random_uniform", (n,), "float64"), uniform(words, random_words(SEED, STEP, 3 + (1 << 23), n))
    )
    for p in (0.0, 0.25, 0.9, 1.0, -1.0, 2.0):
        for dtype in ("float32", "float64"):
            np.testing.assert_array_equal(numbers("random_bernoulli", (n,), dtype, imm=p), bernoulli(words, p))
    want = normal(words, n)
    np.testing.assert_allclose(numbers("random_normal", (n,), "float64"), want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(numbers("random_normal", (n,)), want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["random_uniform", "random_normal", "random_bernoulli"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_shape_change_nothing_but_seed_step_and_stream_do(name: str, dtype: str) -> None:
    base = numbers(name, (700,), dtype, imm=0.5)
    for shape in ((700, 1), (1, 700), (7, 100), (350, 2), (70, 2, 5)):
        for threads in (1, 2, 4):
            again = numbers(name, shape, dtype, imm=0.5, threads=threads)
            assert again.tobytes() == base.tobytes(), (shape, threads)
    assert numbers(name, (123,), dtype, imm=0.5).tobytes() == base[:123].tobytes()
    changes = [{"seed": SEED + 1}, {"seed": SEED + (1 << 40)}, {"step": STEP + 1}, {"step": STEP + (1 << 33)}]
    changes += [{"stream": 4}, {"stream": (1 << 23) - 1}]
    for change in changes:
        other = numbers(name, (700,), dtype, imm=0.5, **change)
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.2  # 5 standard deviations


def largest_gap(distribution: Array) -> float:
    """Kolmogorov's statistic times sqrt(N), of all or every 64th of N in order: above 2.2 once in 10,000 samples."""
    steps = np.arange(len(distribution) + 1) / len(distribution)
    return float(max(np.abs(distribution - steps[1:]).max(), np.abs(distribution - steps[:-1]).max()) * math.sqrt(N))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_are_distributed_as_their_names_say(dtype: str) -> None:
    u = np.sort(numbers("random_uniform", (N,), dtype).astype(np.float64))
    assert u[0] >= 0 and u[-1] < 1 and largest_gap(u) < 2.2
    z = numbers("random_normal", (N,), dtype).astype(np.float64)
    ordered = np.sort(z)
    phi = np.array([math.erfc(-v * math.sqrt(0.5)) / 2 for v in ordered[::64]])
    assert largest_gap(phi) < 2.2
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):  # E z^k and the variance of z^k
        assert abs((z**power).mean() - moment) < 4.5 * math.sqrt(spread / N)
    assert 4.2 < np.abs(z).max() < 6.7
    for lag in (1, 15, 16, 32, 48, 64):  # the two of a pair are 16 apart
        assert abs((z[lag:] * z[:-lag]).mean()) < 4.5 / math.sqrt(N)
        assert abs(((z[lag:] ** 2 - 1) * (z[:-lag] ** 2 - 1)).mean()) < 4.5 * 2 / math.sqrt(N)
    for p in (0.01, 0.5, 0.97):
        hits = numbers("random_bernoulli", (N,), dtype, imm=p)
        assert set(np.unique(hits)) == {0, 1} and abs(hits.mean() - p) < 4.5 * math.sqrt(p * (1 - p) / N)
