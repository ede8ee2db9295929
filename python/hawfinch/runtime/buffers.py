"""Buffers: memory that plans work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .. import _core
from ..compiler.memory import ALIGN
from ..ir import Array


class Memory(NamedTuple):
    """Bytes of each kind. ``activations``: the arena; ``workspace``: scratch of one thread."""

    parameters: int
    gradients: int
    optimizer: int
    activations: int
    workspace: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer + self.activations + self.workspace


def aligned_zeros(nbytes: int) -> Array:
    """A zeroed byte buffer that starts on a cache line."""
    raw = np.zeros(nbytes + ALIGN, np.uint8)
    start = -_core.address(raw) % ALIGN
    return raw[start : start + nbytes]
