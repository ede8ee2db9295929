"""What ``train`` and ``predict`` share: the score of answers, and the check of where they are written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import TableEncoder
from ..errors import ArgumentError

TABLE_KEY = "hawfinch.table"  # of the metadata of a net that `train` wrote


def score(encoder: TableEncoder, answers: NDArray[Any], truth: NDArray[Any]) -> str:
    """Accuracy beside that of the commonest class, or RMSE and R2, in words."""
    n = len(truth)
    if encoder.task == "classify":
        right = int((answers == truth).sum())
        common, times = max(zip(*np.unique(truth, return_counts=True), strict=True), key=lambda item: item[1])
        return (
            f"accuracy {right / n:.4f} ({right} of {n} rows right; always answering {str(common)!r}: {times / n:.4f})"
        )
    error, spread = float(((answers - truth) ** 2).mean()), float(truth.var())
    r2 = f"R2 {1 - error / spread:.4f}, " if spread > 0 else ""
    rmse = f"RMSE {math.sqrt(error):.6g} in the units of {encoder.target!r}"
    return f"{r2}{rmse} ({n} rows, standard deviation {math.sqrt(spread):.6g})"


def check_out(out: str | None, data: str) -> None:
    """An output that cannot be written, or that would destroy the input, is found before the work is done."""
    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise ArgumentError(f"--out {out} is a folder; give a file name")
    if not path.parent.is_dir():
        raise ArgumentError(f"--out {out}: there is no folder {path.parent}")
    if path.exists() and Path(data).exists() and path.samefile(data):
        raise ArgumentError(f"--out {out} is the input itself, which would be lost")
