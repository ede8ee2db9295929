"""Small tables with default settings, five folds: hawfinch beside scikit-learn's MLP: ``python bench/small_tables.py``.

hawfinch: ``Standardize``, one hidden layer of 100 ReLUs (and ``TargetScale`` for numbers), ``Trainer`` and ``fit`` with
their defaults (Adam, 1e-3, batches of 32) for 100 epochs. scikit-learn: ``MLPClassifier()`` and ``MLPRegressor()``, and
the same behind its ``StandardScaler``, since users are told to scale. Accuracy, or R2, mean and deviation over the
folds, shuffled, classes in proportion; seconds for all five.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
from sklearn import datasets
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hawfinch as hf

Array = np.ndarray
DATA = {
    "digits": datasets.load_digits,
    "breast cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
}


def ours(x: Array, y: Array, labels: bool, seed: int) -> Callable[[Array], Array]:
    out = int(y.max()) + 1 if labels else 1
    layers = [hf.Standardize(), hf.Linear(100), hf.ReLU(), hf.Linear(out)]
    model = hf.Sequential(layers if labels else [*layers, hf.TargetScale()])
    loss = hf.SoftmaxCrossEntropy() if labels else hf.MSE()
    hf.Trainer(model, loss, seed=seed).fit(x, y if labels else y[:, None], epochs=100)
    return lambda rows: model.predict(rows).argmax(1) if labels else model.predict(rows)[:, 0]


def theirs(scale: bool) -> Callable[[Array, Array, bool, int], Callable[[Array], Array]]:
    def fit(x: Array, y: Array, labels: bool, seed: int) -> Callable[[Array], Array]:
        model = (MLPClassifier if labels else MLPRegressor)(random_state=seed)
        model = make_pipeline(StandardScaler(), model) if scale else model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # max_iter is reached: the default
            return model.fit(x, y).predict

    return fit


def score(y: Array, guess: Array, labels: bool) -> float:
    return float((y == guess).mean()) if labels else float(1 - ((y - guess) ** 2).mean() / y.var())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    ways = {"hawfinch": ours, "scikit-learn": theirs(False), "scikit-learn, scaled": theirs(True)}
    print(f"{'data':14} " + " ".join(f"{name:>34}" for name in ways))
    for name, load in DATA.items():
        data, labels = load(), name != "diabetes"
        x, y = data.data, data.target
        folds = (StratifiedKFold if labels else KFold)(5, shuffle=True, random_state=seed)
        cells = []
        for fit in ways.values():
            begin = time.perf_counter()
            scores = [
                score(y[test], fit(x[train], y[train], labels, seed + i)(x[test]), labels)
                for i, (train, test) in enumerate(folds.split(x, y))
            ]
            seconds = time.perf_counter() - begin
            cells.append(f"{np.mean(scores):16.4f} +- {np.std(scores):.4f} {seconds:5.1f} s")
        print(f"{name:14} " + " ".join(f"{cell:>34}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
