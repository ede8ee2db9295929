"""Augmentation: more training images from the ones there are.

Design: copies are made once, before training, as one array, so that an epoch stays one C call. Rejected: new copies in
each epoch from Python (its work would take longer than the training step that it feeds).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, DTypeError, ShapeError


def _moved(images: NDArray[np.float32], by: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Each image moved by its own fraction of a pixel, within one, along an axis; linear between pixels."""
    share = np.abs(by).reshape(-1, *[1] * (images.ndim - 1))
    forward = (by > 0).reshape(share.shape)
    return images * (1 - share) + np.where(forward, np.roll(images, 1, axis), np.roll(images, -1, axis)) * share


def shift_images(images: ArrayLike, amount: float = 1.0, *, seed: int = 0) -> NDArray[np.float32]:
    """Copies of images (N, H, W) or (N, H, W, C), each moved up or down and left or right by a random part of a pixel.

    Arguments:
        images: any real dtype. Pixels that come in from outside are 0.
        amount: the largest shift in pixels, drawn evenly from -amount to amount; above 1, whole steps are added.
        seed: the same seed gives the same copies on every machine.

    Returns float32 of the same shape. Raises ``ShapeError``, ``DTypeError``, or ``ArgumentError`` for a negative amount.

    >>> image = np.array([[[0, 0, 0], [0, 8, 0], [0, 0, 0]]])
    >>> float(shift_images(image, 0.5).sum()), float(shift_images(image, 0.0)[0, 1, 1])
    (8.0, 8.0)
    """
    a = np.asarray(images)
    if a.ndim not in (3, 4):
        raise ShapeError(f"shift_images takes images (N, H, W) or (N, H, W, C), not shape {a.shape}")
    if a.dtype.kind not in "fiub":
        raise DTypeError(f"shift_images takes numbers, not dtype {a.dtype}")
    if not 0 <= amount < min(a.shape[1:3]):
        raise ArgumentError(f"amount must be from 0 to below the size of the images, not {amount!r}")
    words = np.random.Philox(seed).random_raw(2 * len(a)).reshape(2, -1)
    shifts = ((words >> np.uint64(11)) * 2.0**-52 - 1.0) * amount
    pad = max(math.ceil(amount), 1)
    out = np.pad(a.astype(np.float32), [(0, 0), (pad, pad), (pad, pad), *[(0, 0)] * (a.ndim - 3)])
    for axis, shift in ((1, shifts[0]), (2, shifts[1])):
        for _ in range(max(math.ceil(amount), 1)):
            out = _moved(out, (shift / max(math.ceil(amount), 1)).astype(np.float32), axis)
    return np.ascontiguousarray(out[:, pad:-pad, pad:-pad])
