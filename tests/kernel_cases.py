"""One row per function of hf.kernels, as in cases.py: those that are an op have its row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from cases import ANY, CASES, Array, Case, variants, whole
from references import batch_norm_grad, cross_entropy_grad, layer_norm_grad

from hawfinch import kernels


def of_size_one(*outputs: Array) -> tuple[Array, ...]:
    """Errors relative to the largest number of each result, or to 1."""
    return tuple(np.full(y.shape, max(1.0, np.abs(y).max(initial=0))) for y in outputs)


SAME_AS_THE_OP = (
    "matmul",
    "relu",
    "softmax",
    "log_softmax",
    "batch_norm",
    "layer_norm",
    "softmax_cross_entropy",
    "gather",
)
KERNELS = [
    *[replace(c, room=kernels) for c in CASES if c.name in SAME_AS_THE_OP],
    Case(
        "matmul",
        lambda x, w, bias: x @ w + bias,
        variants(
            [((3, 4), (4, 5), (5,)), ((2, 3, 4), (4, 2), (2,)), ((0, 4), (4, 2), (2,)), ((40, 70), (70, 65), (65,))]
        ),
        (ANY, ANY, ANY),
        scale=lambda x, w, bias: np.abs(x) @ np.abs(w) + np.abs(bias),
        room=kernels,
    ),
    Case(
        "batch_norm_grad",
        batch_norm_grad,
        variants([(x, x, x[-1:], x[-1:]) for x in ((5, 3), (65, 17), (4, 5, 3))], {}, {"relu": True}, {"eps": 0.1}),
        (ANY, ANY, ANY, ANY),
        tol=(60, 60),
        scale=lambda *a, **k: of_size_one(*batch_norm_grad(*a, **k)),
        room=kernels,
    ),
    Case(
        "layer_norm_grad",
        layer_norm_grad,
        variants([(x, x, x[-1:], x[-1:]) for x in ((5, 4), (33, 65), (4, 5, 7))], {}, {"eps": 0.1}),
        (ANY, ANY, ANY, ANY),
        tol=(60, 60),
        scale=lambda *a, **k: of_size_one(*layer_norm_grad(*a, **k)),
        room=kernels,
    ),
    *[
        Case(
            "softmax_cross_entropy_grad",
            cross_entropy_grad,
            variants(
                [(x, x[:-1] if draw is not ANY else x) for x in ((1, 3), (17, 10), (5, 48))],
                {},
                {"label_smoothing": 0.1},
            ),
            (ANY, draw),
            tol=(20, 20),
            scale=lambda *a, **k: of_size_one(*cross_entropy_grad(*a, **k)),
            room=kernels,
        )
        for draw in (whole(3), ANY)
    ],
]
