"""hawfinch.linear beside scikit-learn, on scikit-learn's data sets: ``python bench/linear.py [--raw] [--only NAME]``.

For each model and data set: the objective (in NumPy, at each one's coefficients), that of hawfinch over scikit-learn's
minus 1, the share of rows that get the same prediction (numbers: within a hundredth of y's deviation), seconds of a
fit, the least of three.
Features are standardised; with --raw they are as they come, where scikit-learn often ends before it has converged. Its
tolerances are set so small that its objective is right.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets

import hawfinch as hf

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from linear_cases import CASES

LOADERS = {
    "diabetes": datasets.load_diabetes,
    "iris": datasets.load_iris,
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "digits": datasets.load_digits,
}
Array = np.ndarray


def timed(make: Callable[[], Any], x: Array, y: Array, repeats: int) -> tuple[Any, float, bool]:
    """The fitted model, the least seconds, and whether it warned."""
    best = np.inf
    for _ in range(repeats):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            begin = time.perf_counter()
            model = make().fit(x, y)
            best = min(best, time.perf_counter() - begin)
    return model, best, bool(caught)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", action="store_true", help="features as they are, not standardised")
    parser.add_argument("--only", default="", help="cases whose name has this")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{'model':22} {'data':14} {'objective':>11} {'over theirs':>12} {'same':>7} {'ours s':>8} {'theirs s':>8}")
    for label, case in CASES.items():
        if args.only not in label:
            continue
        for name, load in LOADERS.items():
            data = load()
            if case.labels == (name == "diabetes"):
                continue
            x, y = data.data, data.target if case.labels else data.target.astype(float)
            if not args.raw:
                x = hf.data.StandardScaler().fit(x).transform(x)
            ours, seconds, warned = timed(case.ours, x, y, args.repeats)
            theirs, their_seconds, they_warned = timed(case.theirs, x, y, args.repeats)
            one = np.ones(len(y))
            a, b = case.value(ours, x, y, one), case.value(theirs, x, y, one)
            if case.labels:
                same = float((ours.predict(x) == theirs.predict(x)).mean())
            else:
                same = float((abs(ours.predict(x) - theirs.predict(x)) <= 1e-2 * y.std()).mean())
            excess = f"{a - b:+.4f}" if label == "Perceptron" else f"{a / b - 1:+.1e}" if b else "-"
            notes = (" *" if warned else "") + (" (theirs: not converged)" if they_warned else "")
            print(
                f"{label:22} {name:14} {a:11.5g} {excess:>12} {same:7.2%} {seconds:8.4f} {their_seconds:8.4f}{notes}",
                flush=True,
            )


if __name__ == "__main__":
    main()
