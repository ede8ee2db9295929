"""Augmentation: more training images from the ones there are.

Design: copies are made once, before training, as one array, so that an epoch stays one C call. Rejected: new copies in
each epoch from Python (its work would take longer than the training step that it feeds).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ShapeError
from ..values import check_real, check_whole
from .arrays import as_data


def _moved(images: NDArray[np.float32], by: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Image i moved by by[i] pixels along an axis; linear between pixels, 0 from outside."""
    each = [-1] + [1] * (images.ndim - 1)
    along = list(each)
    along[0], along[axis] = 1, -1
    whole = np.floor(by)
    part = (by - whole).astype(np.float32).reshape(each)
    source = np.arange(images.shape[axis]).reshape(along) - whole.astype(np.int64).reshape(each)

    def take(index: NDArray[np.int64]) -> NDArray[np.float32]:
        inside = (index >= 0) & (index < images.shape[axis])
        taken: NDArray[np.float32] = np.take_along_axis(images, np.where(inside, index, 0), axis) * inside
        return taken

    return take(source) * (1 - part) + take(source - 1) * part


def shift_images(images: ArrayLike, amount: float = 1.0, *, seed: int = 0) -> NDArray[np.float32]:
    """Copies of images (N, H, W) or (N, H, W, C), each moved up or down and left or right by a random part of a pixel.

    Arguments:
        images: any real dtype. Pixels that come in from outside are 0.
        amount: the largest shift in pixels; shifts are drawn evenly from -amount to amount.
        seed: the same seed gives the same copies on every machine.

    Returns float32 of the same shape. Raises ``ShapeError``, ``DTypeError``, ``ArgumentError`` for a bad amount.

    >>> image = np.array([[[0, 0, 0], [0, 8, 0], [0, 0, 0]]])
    >>> float(shift_images(image, 0.5).sum()), float(shift_images(image, 0.0)[0, 1, 1])
    (8.0, 8.0)
    """
    a = as_data(images, "images")
    if a.ndim not in (3, 4):
        raise ShapeError(f"shift_images takes images (N, H, W) or (N, H, W, C), not shape {a.shape}")
    size = min(a.shape[1:3])
    amount = check_real(amount, "amount", f"from 0 to below {size}, the size of the images", lambda v: 0 <= v < size)
    words = np.random.Philox(check_whole(seed, "seed")).random_raw(2 * len(a)).reshape(2, -1)
    down, right = ((words >> np.uint64(11)) * 2.0**-52 - 1.0) * amount
    return _moved(_moved(a.astype(np.float32), down, 1), right, 2)
