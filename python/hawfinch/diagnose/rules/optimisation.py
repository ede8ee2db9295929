"""Rules about the optimiser: rate, number of steps, batch, and what a better one would reach."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...optim import SGD, AdamW, Optimizer, get_optimizer
from ...schedules import Cosine, Schedule
from ..case import Case, Cure, Suspicion
from ..run import Run

USUAL = {"sgd": 0.05, "momentum": 0.02, "adagrad": 0.02, "adadelta": 1.0, "lion": 3e-4, "muon": 0.01, "lars": 0.1}


def usual_rate(optimizer: Optimizer) -> float:
    """A rate that often works."""
    return USUAL.get(optimizer.rule.split("_")[0], 2e-3)


def rate_of(optimizer: Optimizer, steps: int) -> float:
    """The largest rate of a run of so many steps."""
    if isinstance(optimizer.lr, Schedule):
        return float(np.max(optimizer.lr.at(np.arange(max(steps, 1)), max(steps, 1))))
    lr: Any = optimizer.lr
    return (
        float(lr) if isinstance(lr, int | float) else max(float(lr(i)) for i in range(0, steps, max(steps // 100, 1)))
    )


def with_rate(run: Run, factor: float) -> Run:
    """At ``factor`` times the rate."""
    optimizer = get_optimizer(run.trainer["optimizer"])
    lr: Any = optimizer.lr
    scaled = lr * factor if isinstance(lr, int | float | Schedule) else lambda step: lr(step) * factor
    return run.with_trainer(optimizer=optimizer.replace(lr=scaled))


def _rate_cure(case: Case, factor: float) -> Cure:
    optimizer = get_optimizer(case.run.trainer["optimizer"])
    steps = case.run.steps
    rate = rate_of(optimizer, steps) * factor
    code = f"optimizer = hf.{type(optimizer).__name__}(lr={rate:.3g}, ...)"
    return Cure(
        f"a learning rate of {rate:.3g}, {factor:.3g} times the given one", code, lambda run: with_rate(run, factor)
    )


def _rate_cures(case: Case, factors: tuple[float, float], to_usual: float) -> tuple[Cure, ...]:
    """These, and the usual rate where it is further away."""
    low = factors[1] < 1.0
    further = to_usual < factors[1] / 1.5 if low else to_usual > factors[1] * 1.5
    return tuple([_rate_cure(case, f) for f in ((*factors, to_usual) if further else factors)])


def learning_rate(case: Case) -> Iterable[Suspicion]:
    """Other rates with the same number of epochs."""
    optimizer = get_optimizer(case.run.trainer["optimizer"])
    if optimizer.searches:
        return
    steps = case.run.steps
    rate = rate_of(optimizer, steps)
    if rate <= 0 or not math.isfinite(rate):
        return
    to_usual = usual_rate(optimizer) / rate
    away = -math.log10(to_usual)
    trial = case.replays[0]
    losses = np.array(trial.history["loss"]) if "loss" in trial.history else np.array([np.nan])
    rising = float(np.mean(np.diff(losses) > 0)) if len(losses) > 2 else 0.0
    jumpy = trial.diverged or not np.isfinite(losses).all() or rising > 0.35 or losses[-1] > losses[0]
    text = f"the rate is {rate:.3g}; {usual_rate(optimizer):.3g} often works with {type(optimizer).__name__}"
    ends = f"{losses[0]:.4g} to {losses[-1]:.4g}"
    traced = f"the training loss went from {ends} and rose in {100 * rising:.0f} % of the epochs"
    if trial.diverged:
        traced = "the training ended with a loss that was not finite"
    high = float(np.clip(0.3 + 0.4 * away + (0.3 if jumpy else 0.0), 0.05, 1))
    low = float(np.clip(0.3 - 0.4 * away - (0.2 if jumpy else 0.0), 0.05, 1))
    numbers = {"rate": rate, "rising": rising}
    yield Suspicion("learning_rate_too_high", high, (text, traced), _rate_cures(case, (0.1, 0.01), to_usual), numbers)
    yield Suspicion("learning_rate_too_low", low, (text, traced), _rate_cures(case, (10.0, 100.0), to_usual), numbers)


def too_few_epochs(case: Case) -> Iterable[Suspicion]:
    """The same, longer."""
    run = case.run
    steps = run.steps
    losses = np.array(case.replays[0].history["loss"]) if "loss" in case.replays[0].history else np.array([np.nan])
    falling = 0.0
    if len(losses) >= 3 and np.isfinite(losses).all():
        last = losses[-max(2, len(losses) // 5) :]
        falling = float((last[0] - last[-1]) / max(abs(losses[0] - losses.min()), 1e-12))
    few = float(np.clip(1.0 - math.log10(max(steps, 1) / 50.0) / 1.5, 0, 1)) if run.epochs < 30 else 0.1
    strength = float(np.clip(0.15 + 0.6 * few + falling, 0.05, 0.9 if run.epochs < 10 else 0.6))
    longer = sorted({4, int(np.clip(math.ceil(1500 / max(steps, 1)), 4, 60))})
    counts = [min(run.epochs * k, 2000) for k in longer]
    cures = tuple([_longer(n) for n in counts])
    text = f"{run.epochs} epochs are {steps} steps; the last fifth gained {100 * falling:.0f} % of all that was gained"
    yield Suspicion("too_few_epochs", strength, (text,), cures, {"steps": steps, "falling": falling})


def _longer(n: int) -> Cure:
    return Cure(f"{n} epochs", f"trainer.fit(x, y, epochs={n}, ...)", lambda run: run.with_fit(epochs=n))


def batch_size(case: Case) -> Iterable[Suspicion]:
    """Another batch size with the same number of epochs."""
    run = case.run
    rows = run.data.n
    cures, strength = [], 0.0
    if run.batch > 64 and rows > 64:
        share = run.batch / rows
        strength = float(np.clip(0.2 + math.log10(run.batch / 128) / 1.0 + (0.3 if share > 0.3 else 0.0), 0.05, 1))
        cures.append(_batch(32))
    elif run.batch < 16 <= rows:
        strength = float(np.clip(0.3 + 0.25 * math.log2(16 / run.batch), 0, 0.95))
        cures.append(_batch(64))
    if cures:
        text = f"batches of {run.batch} of {rows} rows: {max(rows // run.batch, 1)} steps an epoch"
        yield Suspicion("batch_size", strength, (text,), tuple(cures), {"batch": run.batch})


def _batch(n: int) -> Cure:
    return Cure(f"batches of {n} rows", f"trainer.fit(x, y, batch_size={n})", lambda run: run.with_fit(batch_size=n))


COSINE = Cure(
    "AdamW with a cosine",
    "optimizer = hf.AdamW(lr=hf.schedules.Cosine(2e-3, warmup=0.05))",
    lambda run: run.with_trainer(optimizer=AdamW(lr=Cosine(2e-3, warmup=0.05)), groups=None),
)


def optimisation(case: Case) -> Iterable[Suspicion]:
    """Another optimiser with the same number of epochs."""
    optimizer = get_optimizer(case.run.trainer["optimizer"])
    plain = isinstance(optimizer, SGD) or optimizer.rule.startswith(("adagrad", "adadelta", "rprop"))
    text = f"the optimiser is {type(optimizer).__name__}"
    yield Suspicion("optimisation", 0.5 if plain else 0.15, (text,), (COSINE,))


RULES = (learning_rate, too_few_epochs, batch_size, optimisation)
