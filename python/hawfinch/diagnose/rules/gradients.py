"""Rules about gradients: whether they are right, whether there are any, and how they fare on their way down."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...errors import HawfinchError
from ...nn import Linear
from ...optim import get_optimizer
from .. import edits
from ..case import Case, Cure, Suspicion
from ..gradients import gradient_check
from .layers import ANEW, NORMS, RELU, started, weights_of

CHECKED = 24  # rows
FAR_OFF = 0.02  # a relative distance that neither kinks nor rounding explain
LEAST = 1e-3  # of the largest norm: in what is smaller, rounding may have the upper hand
NOTHING = 1e-7  # of a gradient beside that of weights that were moved a little


def wrong_gradient(case: Case) -> Iterable[Suspicion]:
    """``gradient_check`` of the net before its first step."""
    run = case.run
    if case.task.kind == "loss" or run.data.n < 2 or run.trainer.get("precision", "f32") != "f32":
        return
    rows, model = run.data.take(slice(0, CHECKED)), started(case).model
    products = model.n_parameters * CHECKED * len(model.parameters())
    if model.n_parameters > 2_000_000 or products > 1e8 * case.left:
        case.notes.append("the gradient was not checked: the net is too large for the budget")
        return
    try:
        check = gradient_check(model, rows.x, rows.y, loss=run.trainer["loss"], samples=6, rows=CHECKED)
    except HawfinchError:
        return
    most = max([r.norm for r in check.rows], default=0.0)
    wrong = [r for r in check.rows if r.verdict == "wrong" and r.norm > LEAST * most]
    if wrong and check.distance > FAR_OFF:
        text = f"the gradient is off from differences of the loss by a relative distance of {check.distance:.2g}"
        names = ", ".join([r.name for r in wrong][:4])
        cure = Cure("correct the gradient of the op or function behind it", "", lambda run: None)
        numbers = {"distance": check.distance}
        yield Suspicion("wrong_gradient", 1.0, (text, f"first seen at {names}"), (cure,), numbers, certain=True)


def signals(case: Case) -> Iterable[Suspicion]:
    """Norms of the gradient from the last layer to the first, at the start and after some steps."""
    trainer = started(case)
    if trainer.optimizer.searches or not edits.layers_of(case.run.model, Linear):
        return
    batch = case.run.data.take(slice(0, max(case.run.batch, 2)))
    ratios, first = [], None
    for _ in range(3):
        try:
            trainer.step(batch.x, batch.y)
            norms = {k.removeprefix("grad_norm/"): v for k, v in trainer.norms().items() if k.startswith("grad_norm/")}
        except (ArithmeticError, HawfinchError):
            break
        sizes = {p: np.sqrt(w.size) for p, w in weights_of(trainer.model).items()}
        each = [norms[f"{p}.weight"] / sizes[p] for p in sizes if f"{p}.weight" in norms]
        first = each if first is None else first
        if len(each) > 2 and min(each) >= 0 and each[-1] > 0:
            ratios.append(each[0] / each[-1])
    if first and max(first) < NOTHING and case.error > 0.5 * case.task.chance:
        text = f"the largest gradient of a weight is {max(first):.2g} at the start, where the error is that of guessing"
        yield Suspicion("critical_point", 0.8, (text,), (ANEW,), {"gradient": max(first)})
    if not ratios:
        return
    ratio = float(np.median(ratios))
    text = f"the gradient of the first layer's weights is {ratio:.2g} times that of the last one's"
    low = float(np.clip((-np.log10(max(ratio, 1e-12)) - 1.5) / 1.5, 0, 1))
    high = float(np.clip((np.log10(max(ratio, 1e-12)) - 1.0) / 1.5, 0, 1))
    if low > 0:
        yield Suspicion("vanishing_gradient", low, (text,), (RELU, NORMS), {"ratio": ratio})
    if high > 0:
        clip = Cure(
            "clip the gradient by its norm",
            "optimizer = hf.Adam(clip_norm=1.0)",
            lambda run: run.with_trainer(optimizer=get_optimizer(run.trainer["optimizer"]).replace(clip_norm=1.0)),
        )
        yield Suspicion("exploding_gradient", high, (text,), (ANEW, NORMS, clip), {"ratio": ratio})


RULES = (wrong_gradient, signals)
