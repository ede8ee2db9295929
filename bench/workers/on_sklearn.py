"""scikit-learn's MLPClassifier: fit with warm_start, and predict_proba. It has neither batch-norm nor dropout."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace

import sklearn
from jobs import BETA1, BETA2, EPS, RATE, Job, data
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from workers.base import Calls, Case, serve


def net(job: Job) -> MLPClassifier:
    return MLPClassifier(
        job.sizes[1:-1],
        alpha=0.0,
        batch_size=job.batch,
        learning_rate_init=RATE,
        beta_1=BETA1,
        beta_2=BETA2,
        epsilon=EPS,
        tol=0.0,
        n_iter_no_change=10**9,
        max_iter=1,
        warm_start=True,
        random_state=0,
    )


class Fit(Case):
    def __init__(self, job: Job):
        self.x, self.y = data(job)
        self.model, self.steps = net(job), job.batches
        self.model.fit(self.x, self.y)

    def run(self, units: int) -> None:
        self.model.max_iter = units
        self.model.fit(self.x, self.y)

    def loss(self) -> float:
        return float(self.model.loss_)


def build(job: Job, mode: str) -> Case:
    if job.kind == "fit":
        return Fit(job)
    case = Fit(replace(job, batch=32, batches=10))
    row = case.x[:1]
    return Calls(lambda: case.model.predict_proba(row))


def modes(job: Job) -> list[str]:
    return [""] if job.kind in ("fit", "predict") and not job.norm else []


if __name__ == "__main__":
    warnings.simplefilter("ignore", ConvergenceWarning)
    serve({"scikit-learn": sklearn.__version__}, modes, build, threads=int(os.environ["OMP_NUM_THREADS"]))
