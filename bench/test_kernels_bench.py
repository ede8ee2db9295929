"""Kernels one by one, for work on one of them: pytest bench/test_kernels_bench.py [-k gelu] [--benchmark-compare].

Each is called as a compiled function on arrays, in one group with NumPy's way, and the results are checked.
`make bench` is what compares with other libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hawfinch as hf

Arrays = tuple[Any, ...]


def normal(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def layer_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * gamma + beta


def batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * gamma + beta


def affine(rows: int, columns: int) -> Arrays:
    return normal(rows, columns), normal(columns) + 1, normal(columns)


# name: hawfinch's function, NumPy's, arguments
KERNELS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Arrays]] = {
    "matmul-256": (lambda a, b: a @ b, np.matmul, (normal(256, 256), normal(256, 256))),
    "matmul-1024": (lambda a, b: a @ b, np.matmul, (normal(1024, 1024), normal(1024, 1024))),
    "matmul-32x784x256": (lambda a, b: a @ b, np.matmul, (normal(32, 784), normal(784, 256))),
    "matmul-1x64x32": (lambda a, b: a @ b, np.matmul, (normal(1, 64), normal(64, 32))),
    "linear-relu-128": (
        lambda x, w, b: hf.ops.relu(x @ w + b),
        lambda x, w, b: np.maximum(x @ w + b, 0),
        (normal(128, 256), normal(256, 256), normal(256)),
    ),
    "tanh-1e6": (hf.ops.tanh, np.tanh, (normal(1_000_000),)),
    "exp-1e6": (hf.ops.exp, np.exp, (normal(1_000_000),)),
    "sum-1e6": (hf.ops.sum, np.sum, (normal(1_000_000),)),
    "softmax-128x10": (hf.ops.softmax, softmax, (normal(128, 10),)),
    "softmax-128x1000": (hf.ops.softmax, softmax, (normal(128, 1000),)),
    "layer-norm-128x256": (hf.ops.layer_norm, layer_norm, affine(128, 256)),
    "batch-norm-128x256": (lambda *a: hf.ops.batch_norm(*a)[0], batch_norm, affine(128, 256)),
}


@pytest.mark.parametrize("library", ["hawfinch", "numpy"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel(benchmark: Any, kernel: str, library: str) -> None:
    benchmark.group = kernel
    ours, theirs, args = KERNELS[kernel]
    result = benchmark(hf.compile(ours) if library == "hawfinch" else theirs, *args)
    np.testing.assert_allclose(result, theirs(*args), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("classes", [10, 1000])
def test_softmax_cross_entropy_with_gradient(benchmark: Any, classes: int) -> None:
    z, t = normal(128, classes), np.random.default_rng(1).integers(0, classes, 128)
    both = hf.value_and_grad(lambda z, t: hf.ops.mean(hf.ops.softmax_cross_entropy(z, t)))
    _, dz = benchmark(both, z, t)
    np.testing.assert_allclose(dz, (softmax(z) - np.eye(classes)[t]) / 128, atol=1e-6)
