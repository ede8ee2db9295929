"""Rules about the data: scales, constants, leaks, labels, and whether both sets are alike."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...ir import Array
from ...nn import Standardize
from .. import edits
from ..case import Case, Cure, Suspicion
from ..domains import ALIKE, domain_auc, some
from ..run import Run

OVERFLOWS = 1e15  # an input whose square, summed over rows, is near the largest float32
FAR = 5.0  # a feature's mean or deviation beyond this, or 100 times below, is not scaled


def _standardized(run: Run) -> Run:
    return run._replace(model=edits.before(run.model, Standardize()))


SCALE = Cure(
    "scale the inputs", "model = hf.Sequential(hf.Standardize(), *layers)  # as the first layer", _standardized
)


def inputs_not_scaled(case: Case) -> Iterable[Suspicion]:
    """Means and deviations of the features as the net sees them."""
    x = case.matrix
    if x is None or edits.layers_of(case.run.model, Standardize):
        return
    x = some(x)
    largest = float(np.abs(x).max(initial=0.0))
    if largest > OVERFLOWS:
        text = f"the inputs reach {largest:.3g}, whose products overflow float32"
        yield Suspicion("inputs_not_scaled", 1.0, (text,), (SCALE,), {"largest": largest}, certain=True)
        return
    mean, deviation = np.abs(x.mean(0)), x.std(0)
    varying = deviation > 1e-12 * (1 + mean)
    if not varying.any():
        return
    root_mean_square = float(np.sqrt(np.mean(np.square(x))))
    spread = float(deviation[varying].max() / np.median(deviation[varying]))
    offset = float(np.max(mean[varying] / deviation[varying]))
    size = max(root_mean_square, 1.0 / max(root_mean_square, 1e-30))
    strength = max(np.log10(size / 3.0) / 1.2, np.log10(max(spread, 1.0) / 20.0), np.log10(max(offset, 1.0) / 20.0))
    text = (
        f"the inputs' root mean square is {root_mean_square:.3g}, the largest deviation {spread:.3g} times the median "
        f"one, the largest mean {offset:.3g} deviations from 0"
    )
    numbers = {"root_mean_square": root_mean_square, "spread": spread, "offset": offset}
    yield Suspicion("inputs_not_scaled", float(np.clip(strength, 0.05, 1)), (text,), (SCALE,), numbers)


def constant_inputs(case: Case) -> Iterable[Suspicion]:
    """Features with one value."""
    x = case.matrix
    if x is None:
        return
    constant = np.ptp(x, axis=0) == 0
    distinct = len(np.unique(some(x), axis=0)) if x.shape[1] else 0
    share = float(constant.mean()) if constant.size else 1.0
    if share == 1.0 or distinct <= max(2, len(some(x)) // 100):
        text = f"{constant.sum()} of {constant.size} features have a single value; {distinct} distinct rows"
        yield Suspicion("constant_inputs", 1.0, (text,), numbers={"share": share, "distinct": distinct}, certain=True)


def target_leak(case: Case) -> Iterable[Suspicion]:
    """A feature that is the target, or rows that stand in both sets."""
    x, truth = case.matrix, case.truth
    if x is None or truth is None or (truth.ndim > 1 and truth.shape[1] > 1):
        return
    t = truth.reshape(-1)
    distinct = distinct_rows(case) or len(x)
    found = [j for j in range(x.shape[1]) if _tells(x[:, j], t, case.task.kind, distinct)]
    if found and len(found) < x.shape[1]:
        named = ", ".join(map(str, found[:5]))
        text = f"feature {named} alone gives the target of every row"
        yield Suspicion(
            "target_leak",
            1.0,
            (text,),
            (
                Cure(
                    f"leave out feature {named}", f"x = np.delete(x, {found[:5]}, axis=1)", lambda r: _without(r, found)
                ),
            ),
            {"features": found},
            certain=True,
        )
    both = _in_both(x, case.validation_matrix)
    if both > 0.2:
        text = f"{100 * both:.0f} % of the validation rows stand in the training set too"
        yield Suspicion("target_leak", 0.6, (text,), numbers={"share": both}, certain=both > 0.5)


def _tells(column: Array, truth: Array, kind: str, distinct: int) -> bool:
    """Whether each value of the column belongs to one target and, of numbers, in a line. distinct: rows that are."""
    if np.ptp(column) == 0:
        return False
    if kind == "numbers":
        r = np.corrcoef(column, truth)[0, 1]
        return bool(abs(r) > 0.9995)
    values, inverse = np.unique(column, return_inverse=True)
    if not 2 <= len(values) <= distinct // 10:
        return False
    low = np.full(len(values), np.inf)
    high = np.full(len(values), -np.inf)
    np.minimum.at(low, inverse, truth)
    np.maximum.at(high, inverse, truth)
    return bool((low == high).all())


def _without(run: Run, features: list[int]) -> Run:
    return run._replace(model=edits.before(run.model, edits.LeaveOut(features)))


def _in_both(x: Array, v: Array | None) -> float:
    """The share of validation rows that stand in the training set."""
    if v is None or v.shape[1:] != x.shape[1:] or v.shape[1] < 2:
        return 0.0
    known = {row.tobytes() for row in np.ascontiguousarray(x)}
    varied = len(known) > 0.5 * len(x)
    return float(np.mean([row.tobytes() in known for row in np.ascontiguousarray(some(v))])) if varied else 0.0


def different_sets(case: Case) -> Iterable[Suspicion]:
    """Whether a classifier can tell training rows from validation rows, and whether a common scale explains it."""
    x, v = case.matrix, case.validation_matrix
    if x is None or v is None or x.shape[1] > 5000 or min(len(x), len(v)) < 20:
        return
    auc, features = domain_auc(some(x), some(v))
    numbers = {"auc": auc, "features": features}
    shown = ", ".join(map(str, features[:5]))
    text = f"a linear classifier tells training rows from validation rows with an AUC of {auc:.2f} (features {shown})"
    if auc <= ALIKE:
        return
    strength = float(np.clip((auc - 0.6) / 0.3, 0, 1))
    ways = [(domain_auc(some(x), some(way(x, v)))[0], way) for way in (_rescaled, _shifted)]
    after, way = min(ways, key=lambda found: found[0])
    affine = Suspicion(
        "preprocessing_differs",
        strength * float(np.clip((auc - after) / max(auc - 0.5, 1e-9), 0.5, 1)),
        (text, f"with the training set's means and deviations it falls to {after:.2f}"),
        (
            Cure(
                "prepare the training rows as the validation rows",
                "scaler = hf.data.StandardScaler().fit(x_raw)  # one scaler for both sets",
                lambda run: _with_data(run, way(v, x)),
            ),
        ),
        {**numbers, "auc_rescaled": after},
    )
    yield affine
    yield Suspicion("mismatch", strength * 0.8, (text,), numbers=numbers, certain=auc > 0.9)


def _rescaled(x: Array, v: Array) -> Array:
    """v with the means and deviations of x."""
    spread, old = x.std(0), v.std(0)
    return (v - v.mean(0)) / np.where(old > 0, old, 1.0) * np.where(old > 0, spread, 1.0) + x.mean(0)


def _shifted(x: Array, v: Array) -> Array:
    """v with the mean and deviation of x, each one number for all features."""
    return (v - v.mean()) / max(float(v.std()), 1e-300) * x.std() + x.mean()


def _with_data(run: Run, matrix: Array) -> Run | None:
    """With these training rows, and scaled behind them."""
    if len(matrix) != run.data.n:
        return None
    given = run.data.x[0] if isinstance(run.data.x, tuple) else run.data.x
    x = matrix.reshape(np.shape(given)).astype(
        np.asarray(given).dtype if np.asarray(given).dtype.kind == "f" else float
    )
    data = run.data._replace(x=(x,) if isinstance(run.data.x, tuple) else x)
    return _standardized(run)._replace(data=data)


def repeated_rows(case: Case) -> Iterable[Suspicion]:
    """Rows that stand in the training set several times: then there are fewer than it seems."""
    n = distinct_rows(case)
    if n is None or n > 0.5 * case.run.data.n or n < 3:
        return
    text = f"only {n} of {case.run.data.n} training rows are distinct"
    cures = (Cure("more rows that are distinct", "", lambda run: None),)
    gap = case.error - case.train_error
    certain = gap > 0.05 * case.task.chance and gap > 0.5 * case.error
    yield Suspicion("overfitting", 0.95, (text,), cures, {"distinct": n}, certain=certain)


def distinct_rows(case: Case) -> int | None:
    """How many training rows differ; None where they have few values, so that they often agree by chance."""
    x = case.matrix
    if x is None or x.shape[1] < 2:
        return None
    return len({row.tobytes() for row in np.ascontiguousarray(x)})


def class_imbalance(case: Case) -> Iterable[Suspicion]:
    """Counts of the classes, in training beside validation."""
    truth, seen = case.truth, case.validation_truth
    if case.task.kind != "classes" or truth is None or seen is None:
        return
    if case.run.fit.get("class_weight") is not None or case.run.data.weight is not None:
        return
    counts = np.bincount(truth, minlength=case.task.classes)
    there = np.bincount(seen, minlength=case.task.classes)
    present = counts[there > 0]
    ratio = float(present.max() / max(present.min(), 1)) if len(present) else 1.0
    share = counts / max(counts.sum(), 1)
    moved = float(0.5 * np.abs(share - there / max(there.sum(), 1)).sum())
    strength = float(np.clip(np.log10(max(ratio, 1.0) / 2.0), 0, 1)) * (1.0 if moved > 0.1 else 0.5)
    if strength <= 0:
        return
    text = (
        f"the largest class has {ratio:.3g} times the rows of the smallest; validation's shares differ by {moved:.2f}"
    )
    cure = Cure(
        "weigh the classes",
        'trainer.fit(x, y, class_weight="balanced")',
        lambda run: run.with_fit(class_weight="balanced"),
    )
    certain = ratio > 10 and moved > 0.2
    yield Suspicion("class_imbalance", strength, (text,), (cure,), {"ratio": ratio, "moved": moved}, certain=certain)


RULES = (inputs_not_scaled, constant_inputs, target_leak, different_sets, repeated_rows, class_imbalance)
