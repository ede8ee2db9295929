"""Augmentation: what is made of a batch while it is trained on: ``fit(..., augment=hf.augment.Mixup(0.2))``.

Design: a row's share follows from (seed, epoch, row) alone, and its partner is the next row of the shuffled batch, so
that the mixing is a second load of the batch and a few operations of the plan. Rejected: batches mixed in Python.
"""

from __future__ import annotations

import numpy as np

from . import ops
from .ir import Array
from .values import Value, check_real, names_of

__all__ = ["Mixup"]

MOST_ROUNDS = 10_000


class Mixup(Value):
    """Each row is mixed with the next one of its batch: x' = s x + (1 - s) x2, loss' = s loss(y) + (1 - s) loss(y2).

    s = max(b, 1 - b), b from Beta(alpha, alpha), anew for each row and epoch, the same for any number of threads and in
    a run that is gone on with. So metrics of the training, by y alone, count the larger part. Mixed losses are mixed
    targets where the loss is linear in the target (cross-entropy), and have the same gradient for the squared error;
    labels, and targets that are missing (``ignore_nan``), stay what they are. With weights w a row's loss is s w
    loss(y) + (1 - s) w2 loss(y2), and it counts s w + (1 - s) w2. alpha: above 0, default 0.2; 0.1 to 0.4 suit most.
    Inputs must be real numbers, else ArgumentError. Validation and ``evaluate`` see the rows as they are. Zhang et al.,
    ICLR 2018 (one s per batch there).

    >>> import hawfinch as hf
    >>> x = np.random.default_rng(0).normal(size=(256, 2))
    >>> trainer = hf.Trainer(hf.Sequential(hf.Linear(16), hf.ReLU(), hf.Linear(2)), "softmax_cross_entropy")
    >>> history = trainer.fit(x, (x[:, 0] > 0).astype(int), epochs=20, augment=hf.augment.Mixup(0.2))
    >>> trainer.evaluate(x, (x[:, 0] > 0).astype(int))["loss"] < history["loss"][-1]
    True
    """

    def __init__(self, alpha: float = 0.2):
        self.alpha = check_real(alpha, "Mixup: alpha", "above 0", lambda v: 0 < v < float("inf"))

    def shares(self, rows: int, seed: int, epoch: int, before: int = 0) -> Array:
        """s of each row: float64 (rows,); before: rows of the epoch in the chunks before these.

        Joehnk's way: b = u / (u + v), u = U**(1/alpha), v = V**(1/alpha), where u + v <= 1; that is rare for alpha
        above 2. From there on Ulrich's (Applied Statistics 33, 1984): b = (1 + cos(2 pi V) sqrt(1 - U**(2 / (2 alpha -
        1)))) / 2."""
        found, left = np.empty(rows), np.arange(rows)
        words = np.random.Philox(key=[seed, epoch + (before << 32)])
        if self.alpha > 2.0:
            u, v = (words.random_raw(2 * rows).reshape(2, rows) >> np.uint64(11)) * 2.0**-53
            wide = np.sqrt(1.0 - np.asarray(ops.pow(u, 2.0 / (2.0 * self.alpha - 1.0))))
            return 0.5 + 0.5 * np.abs(np.asarray(ops.cospi(2.0 * v)) * wide)
        for _ in range(MOST_ROUNDS):
            drawn = (words.random_raw(2 * rows).reshape(2, rows)[:, left] >> np.uint64(11)) * 2.0**-53
            u, v = np.asarray(ops.pow(drawn, 1.0 / self.alpha))
            taken = (u + v <= 1.0) & (u + v > 0.0)
            b = u[taken] / (u + v)[taken]
            found[left[taken]] = np.maximum(b, 1.0 - b)
            left = left[~taken]
            if not len(left):
                return found
        found[left] = 1.0
        return found


def __dir__() -> list[str]:
    return names_of(globals())
