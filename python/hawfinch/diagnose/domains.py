"""``drift``: whether two sets of rows come from the same place, and which features tell them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.arrays import as_data, check_finite
from ..errors import ArgumentError, ShapeError, import_extra
from ..ir import Array
from ..linear.logistic import LogisticRegression
from ..values import check_whole, items_of

MOST_ROWS = 4000  # looked at
MOST_FEATURES = 300
LEAST_ROWS = 20
ALIKE = 0.7  # AUC up to which two sets are taken to be nearly alike
SURE = 3.0  # deviations of the AUC of two equal sets that are still chance


class Feature(NamedTuple):
    """number: the column. name: as given, or the number. means, deviations: in training and in the other set.
    distance: Kolmogorov and Smirnov's, the largest difference of the two distribution functions, from 0 to 1."""

    number: int
    name: str
    means: tuple[float, float]
    deviations: tuple[float, float]
    distance: float


class Drift:
    """What ``drift`` found.

    auc: of the classifier that tells the sets apart, 0.5 where it cannot. deviation: the AUC's own by chance, of equal
    sets. verdict: "alike" (up to 3 deviations above 0.5), "slightly different" (up to an AUC of 0.7) or "different".
    features: a ``Feature`` each, that give the sets away, the strongest first, at most 10.
    """

    def __init__(self, auc: float, deviation: float, features: list[Feature], rows: tuple[int, int]):
        self.auc, self.deviation, self.features, self._rows = auc, deviation, features, rows
        chance = auc <= 0.5 + SURE * deviation
        self.verdict = "alike" if chance else "slightly different" if auc <= ALIKE else "different"

    def __repr__(self) -> str:
        lines = [
            f"drift: {self.verdict}, domain AUC {self.auc:.3f} (0.5 +- {self.deviation:.3f} for equal sets; "
            f"{self._rows[0]} and {self._rows[1]} rows)"
        ]
        table = [("feature", "mean", "there", "deviation", "there", "KS distance")]
        for f in self.features:
            pairs = [f"{v:.4g}" for pair in (f.means, f.deviations) for v in pair]
            table.append((f.name, *pairs, f"{f.distance:.3f}"))  # type: ignore[arg-type]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["  ".join(f"{v:>{w}}" for v, w in zip(row, widths, strict=True)) for row in table]
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """Draws mean and deviation of the other set for each feature listed, in deviations of the training set, which
        is the band from -1 to 1. Gives the Axes. Needs matplotlib."""
        plt = import_extra("matplotlib.pyplot", "plot")
        n = len(self.features)
        if ax is None:
            ax = plt.subplots(figsize=(6, 0.3 * n + 1.4), layout="constrained")[1]
        ax.axvspan(-1, 1, color="tab:gray", alpha=0.25, linewidth=0, label="training, mean and deviation")
        ax.axvline(0, color="tab:gray", linewidth=1)
        units = [f.deviations[0] or max(abs(f.means[0]), 1e-12) for f in self.features]
        at = [(f.means[1] - f.means[0]) / u for f, u in zip(self.features, units, strict=True)]
        wide = [f.deviations[1] / u for f, u in zip(self.features, units, strict=True)]
        ax.errorbar(at, range(n), xerr=wide, fmt="o", color="tab:orange", capsize=3, label="the other set")
        ax.set_yticks(range(n), [f.name for f in self.features])
        ax.set_ylim(n - 0.5, -0.5)
        ax.set_xlabel("deviations of the training set")
        ax.set_ylabel("feature")
        ax.set_title(f"{self.verdict}: domain AUC {self.auc:.3f}", fontsize=10)
        ax.legend(framealpha=0.9, fontsize=8)
        return ax


def drift(x_train: Any, x_other: Any, *, names: Sequence[str] | None = None, seed: int = 0) -> Drift:
    """Whether two sets of inputs come from the same place, by a classifier that tries to tell them apart.

    A logistic regression on z, |z| and z^2 of each feature (so that a spread tells too, not a mean alone) learns from
    half of the rows, as many of each set; its AUC on the other half, P(score of other > that of training), is 0.5 where
    nothing tells the sets apart, and then has a deviation of sqrt((n0 + n1 + 1) / (12 n0 n1)). What differs in how
    features go together alone, each with the same distribution as before, is not seen.

    x_train, x_other: (rows, ...), 20 rows or more each; 4,000 of each are looked at, and 300 features in all. names: of
    the features; default the columns of a frame, else their numbers. Raises ArgumentError, ShapeError,
    NonFiniteInputError. Sources: Ben-David et al., Machine Learning 79, 2010; Mann and Whitney, Annals of Mathematical
    Statistics 18, 1947.

    >>> import numpy as np, hawfinch as hf
    >>> rng = np.random.default_rng(0)
    >>> x, other = rng.normal(size=(500, 4)), rng.normal(size=(500, 4))
    >>> hf.drift(x, other).verdict
    'alike'
    >>> other[:, 2] += 2
    >>> found = hf.drift(x, other)
    >>> found.verdict, found.features[0].number
    ('different', 2)
    """
    if names is None:
        names = getattr(x_train, "columns", None)
    a, b = _matrix(x_train, "x_train"), _matrix(x_other, "x_other")
    if a.shape[1] != b.shape[1]:
        raise ShapeError(f"drift: x_train has {a.shape[1]} features a row, x_other {b.shape[1]}")
    if a.shape[1] == 0:
        raise ShapeError("drift: x_train has no features")
    seed = check_whole(seed, "seed")
    labels = list(map(str, range(a.shape[1]) if names is None else items_of(names, "names: expected a list")))
    if len(labels) != a.shape[1]:
        raise ArgumentError(f"drift: {len(labels)} names for {a.shape[1]} features")
    a, b = some(a), some(b)
    auc, numbers = domain_auc(a, b, seed)
    n = min(len(a), len(b))
    deviation = float(np.sqrt((n + 1) / (3.0 * n * n)))  # n rows are judged, half of each set
    features = [
        Feature(
            j,
            labels[j],
            (float(a[:, j].mean()), float(b[:, j].mean())),
            (float(a[:, j].std()), float(b[:, j].std())),
            _distance(a[:, j], b[:, j]),
        )
        for j in numbers
    ]
    return Drift(auc, deviation, features, (len(a), len(b)))


def _matrix(x: Any, name: str) -> Array:
    array = as_data(x, name)
    if array.ndim < 2:
        raise ShapeError(f"drift: {name} must be (rows, features...), got shape {array.shape}")
    if len(array) < LEAST_ROWS:
        raise ArgumentError(f"drift: {name} has {len(array)} rows; at least {LEAST_ROWS} are needed")
    check_finite(array, name)
    return array.reshape(len(array), -1).astype(np.float64)


def _distance(a: Array, b: Array) -> float:
    """Kolmogorov and Smirnov's."""
    values = np.concatenate([a, b])
    below = [np.searchsorted(np.sort(v), values, side="right") / len(v) for v in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def some(a: Array, most: int = MOST_ROWS) -> Array:
    """At most so many rows, evenly."""
    return a[np.linspace(0, len(a) - 1, min(len(a), most)).astype(np.int64)]


def domain_auc(x: Array, v: Array, seed: int = 0) -> tuple[float, list[int]]:
    """How well a linear classifier, trained on half of the rows, tells x from v on the other half; the features with
    the largest weights."""
    n = min(len(x), len(v))
    rng = np.random.default_rng(seed)
    rows = np.concatenate([x[rng.permutation(len(x))[:n]], v[rng.permutation(len(v))[:n]]])
    keep = rows.std(0) > 1e-6 * np.abs(rows).max(0)  # what is beyond is rounding
    if not keep.any():
        return 0.5, []
    columns = np.flatnonzero(keep)[:: max(1, int(keep.sum()) // MOST_FEATURES)]
    z = rows[:, columns]
    z = np.clip((z - np.median(z, axis=0)) / np.where(z.std(0) > 0, z.std(0), 1.0), -5, 5)
    z = np.concatenate([z, np.abs(z), np.square(z) / 5], axis=1)  # so that a spread can be told too
    y = np.repeat([0, 1], n)
    order = rng.permutation(2 * n)
    learn, test = order[::2], order[1::2]
    model = LogisticRegression(C=0.1).fit(z[learn], y[learn])
    score = model.decision_function(z[test])
    weight = np.abs(np.ravel(model.coef_)).reshape(3, -1).max(0)
    return auc_of(score, y[test]), [int(columns[i]) for i in np.argsort(-weight)[:10]]


def auc_of(score: Array, y: Array) -> float:
    """The area under the ROC curve: ties count half."""
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    n1 = int(y.sum())
    n0 = len(y) - n1
    return float((ranks[y == 1].sum() - n1 * (n1 + 1) / 2) / max(n0 * n1, 1)) if len(values) else 0.5
