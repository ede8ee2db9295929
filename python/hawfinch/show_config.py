"""What this installation runs on."""

from __future__ import annotations

import os
import platform
import sys

import numpy as np

from . import _core


def show_config() -> str:
    """ISA, bfloat16, threads and why, OpenMP runtime, CUDA and versions, as text of one fact per line.

    >>> print(hf.show_config())
    hawfinch ...
    kernels: ... (best of ref, ...)
    ...
    """
    reasons = [f"{os.cpu_count()} CPUs"]
    if hasattr(os, "sched_getaffinity"):
        reasons.append(f"affinity {len(os.sched_getaffinity(0))}")
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        if name in os.environ:
            reasons.append(f"{name}={os.environ[name]}")
    forced = os.environ.get("HAWFINCH_ISA")
    choices = ", ".join(_core.ISAS)
    return "\n".join(
        [
            f"hawfinch {_core.VERSION}",
            f"kernels: {_core.kernel_isa()} ({'HAWFINCH_ISA' if forced else 'best'} of {choices})",
            f"bfloat16: {'AVX512-BF16' if _core.has_fast_kernel('matmul_bf16') else 'no instructions for it'}",
            f"threads: {_core.max_threads()} at most ({', '.join(reasons)}, cgroup quota); fewer where work is small",
            f"OpenMP: {_core.openmp_runtime()}",
            f"CUDA: {'built in' if _core.cuda_available() else 'not built in'}",
            f"Python {platform.python_version()}, NumPy {np.__version__}, {sys.platform} {platform.machine()}",
        ]
    )
