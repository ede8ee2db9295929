from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

OK: int
PAUSED: int
NONFINITE: int
BAD_INDEX: int
YIELDED: int
OPS: dict[str, int]
FIELDS: dict[str, dict[str, tuple[int, int, int]]]
CONSTANTS: dict[str, int]
REDUCE_KINDS: dict[str, int]
INSTRUCTIONS: list[str]
COMMON_COLUMNS: tuple[str, ...]
RULES: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]]
VERSION: str
ISAS: list[str]

def kernel_isa() -> str: ...
def has_fast_kernel(op: str) -> bool: ...
def max_threads() -> int: ...
def openmp_runtime() -> str: ...
def cuda_available() -> bool: ...
def address(array: Array) -> int: ...
def first_nonfinite(a: Array) -> tuple[int, ...] | None: ...
def permutation(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]: ...
def random_uniform(n: int, seed: int, stream: int, lo: float, hi: float) -> npt.NDArray[np.float64]: ...
def random_normal(n: int, seed: int, stream: int, mean: float, std: float) -> npt.NDArray[np.float64]: ...
def elastic_net_sweep(
    w: Array, r: Array, columns: Array, norms: Array, l1: float, l2: float, positive: bool
) -> float: ...
def dual_sweep(
    beta: Array,
    w: Array,
    still: Array,
    x: Array,
    norms: Array,
    t: Array,
    damp: Array,
    low: Array,
    high: Array,
    order: Array,
    eps: float,
) -> float: ...

class Plan:
    busy: bool
    stop_event: Any
    last_step: int
    yielded: int | None
    def __init__(
        self,
        steps: list[Any],
        time_shares: list[float],
        pieces: list[int],
        barriers: list[bool],
        value: Callable[[Any, Any], Any],
        isa: str,
        wide: bool,
        scratch_bytes: int,
        max_threads: int,
        slow: bool,
        keeps_lock: bool,
        keep: object,
    ) -> None: ...
    def set_source(self, number: int, a: Array) -> None: ...
    def drop_sources(self) -> None: ...
    def run(
        self,
        dynamic: tuple[Array, ...] = ...,
        n_steps: int = ...,
        batch: int = ...,
        rows: int = ...,
        index: Array | None = ...,
        scalars: Array | None = ...,
        seed: int = ...,
        step0: int = ...,
        threads: int = ...,
        only_record: int = ...,
        first_step: int = ...,
    ) -> tuple[int, int]: ...
    def resume(self) -> tuple[int, int]: ...
    def abandon(self) -> None: ...
    def run_debug(
        self,
        n_threads: int,
        order: int,
        dynamic: tuple[Array, ...] = ...,
        n_steps: int = ...,
        batch: int = ...,
        rows: int = ...,
        index: Array | None = ...,
        scalars: Array | None = ...,
        seed: int = ...,
        step0: int = ...,
        only_record: int = ...,
        first_step: int = ...,
    ) -> tuple[int, int]: ...

MOST_ARRAYS: int

class Call:
    def __init__(
        self,
        plans: list[Any],
        arrays: tuple[Array, ...],
        n_in: int,
        several: bool,
        threads: int,
        watches: tuple[Watch, ...] = ...,
    ) -> None: ...
    def run(self, args: tuple[Any, ...], out: Any) -> Any: ...

class Changes:
    def add(self) -> None: ...
    def join(self, other: Changes) -> None: ...

class Watch:
    def __init__(self, changes: Changes, containers: Sequence[Any] = ...) -> None: ...
    def unchanged(self) -> bool: ...
    def same_items(self) -> bool: ...

class Quick:
    def __init__(
        self,
        watch: Watch,
        plans: list[Any],
        sources: Sequence[Array],
        least_rows: int,
        most_rows: int,
        threads: int,
        out: Array | None = ...,
        value: Array | None = ...,
    ) -> None: ...
    def predict(self, x: object) -> Array | None: ...
    def step(self, x: object, y: object, scalars: Array, seed: int, step0: int) -> float | None: ...
