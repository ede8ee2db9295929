"""The bundled digits: real data for demos, tests and first steps, with no download.

Design: the images are stored as bytes and scaled when they are loaded. Rejected: float32 in the file (four times the
size for the same values) and a download at first use (a demo that fails behind a proxy).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def load_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The 1,797 handwritten digits of the UCI repository (source and licence: ``DATA_LICENSE.md`` beside this file).

    Returns ``x`` float32 (1797, 64), each row an 8 x 8 image in C order with values in [0, 1], and ``y`` int64 (1797,)
    with labels 0 to 9. Both are new arrays at each call.

    >>> x, y = load_digits()
    >>> x.shape, str(x.dtype), y.shape, str(y.dtype)
    ((1797, 64), 'float32', (1797,), 'int64')
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    return images.reshape(-1, 64).astype(np.float32) / np.float32(16), labels.astype(np.int64)
