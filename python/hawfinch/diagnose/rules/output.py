"""Rules about a model's end and its loss."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...losses import MSE, BCEWithLogits, SoftmaxCrossEntropy
from ...nn import LogSoftmax, Module, ReLU, Sigmoid, Softmax, Tanh, TargetScale
from ...train.objective import get_losses
from .. import edits
from ..case import Case, Cure, Suspicion
from ..run import Rows, Run

RANGES: dict[type[Module], tuple[float, float]] = {
    Sigmoid: (0.0, 1.0),
    Tanh: (-1.0, 1.0),
    ReLU: (0.0, np.inf),
    Softmax: (0.0, 1.0),
}


def as_classes(run: Run, truth: tuple[np.ndarray, np.ndarray], classes: int) -> Run | None:
    """With logits, one for each class, under SoftmaxCrossEntropy."""
    model = edits.with_head(run.model, classes)
    if model is None:
        return None
    data, validation = [Rows(rows.x, t, rows.weight) for rows, t in zip((run.data, run.validation), truth, strict=True)]
    changed = run._replace(model=model, data=data, validation=validation)
    return changed.with_trainer(loss=SoftmaxCrossEntropy(), loss_weights=None, metrics=())


def output_or_loss(case: Case) -> Iterable[Suspicion]:
    """What the end of the model and the loss say of each other and of the targets."""
    losses = get_losses(case.run.trainer["loss"])
    if list(losses) != [""] or case.truth is None or case.validation_truth is None:
        return
    loss, end, kind = losses[""], edits.end_of(case.run.model), case.task.kind
    name = type(loss).__name__
    layers = edits.flat(case.run.model) or []
    without = Cure(
        "leave out the activation at the end",
        f"model = hf.Sequential(...)  # without the last {type(end).__name__}",
        lambda run: None if (m := edits.without_end(run.model)) is None else run._replace(model=m),
    )
    truth = (case.truth, case.validation_truth)
    entropy = Cure(
        f"one output for each of the {case.task.classes} classes, without an activation, under SoftmaxCrossEntropy",
        f"model = hf.Sequential(..., hf.Linear({case.task.classes})); loss = hf.SoftmaxCrossEntropy()",
        lambda run: as_classes(run, truth, case.task.classes),
    )
    if isinstance(loss, SoftmaxCrossEntropy | BCEWithLogits) and isinstance(end, Softmax | Sigmoid | LogSoftmax):
        text = f"{name} takes logits and applies its own function, but the model ends in {type(end).__name__}"
        yield Suspicion("output_or_loss", 1.0, (text,), (without, entropy), certain=not isinstance(end, LogSoftmax))
    elif isinstance(loss, SoftmaxCrossEntropy | BCEWithLogits) and end is not None:
        text = f"{name} takes logits of any size, but the model ends in {type(end).__name__}"
        yield Suspicion("output_or_loss", 0.9, (text,), (without, entropy))
    elif kind == "classes" and loss.of_classes is None:
        what = "class numbers" if case.task.ordinal else "0 and 1"
        text = f"the targets are classes ({what}), but the loss, {name}, is one of numbers"
        yield Suspicion("output_or_loss", 0.9 if case.task.ordinal else 0.5, (text,), (entropy,))
    elif kind == "numbers":
        y = np.asarray(case.run.data.y, np.float64)
        low, high = RANGES.get(type(end), (-np.inf, np.inf)) if end is not None else (-np.inf, np.inf)
        outside = float(np.mean((y < low) | (y > high)))
        if outside > 0.01:
            share = f"{100 * outside:.0f} % of the targets"
            text = f"the model ends in {type(end).__name__}, whose range {share} are outside of"
            yield Suspicion("output_or_loss", 1.0, (text,), (without, _scaled_targets(without)), {"outside": outside})
        size = float(np.sqrt(np.mean(np.square(y))))
        if not any(isinstance(layer, TargetScale) for layer in layers):
            strength = float(np.clip(np.log10(max(size, 1 / max(size, 1e-30)) / 5.0) / 1.5, 0.0, 0.9))
            if strength > 0:
                text = f"the targets' root mean square is {size:.3g}: far from the size of a net's outputs"
                yield Suspicion("output_or_loss", strength, (text,), (_scaled_targets(None),), {"size": size})
    if kind in ("classes", "labels") and isinstance(end, ReLU) and loss.of_classes is None:
        yield Suspicion(
            "output_or_loss", 0.6, ("the model ends in ReLU, whose gradient is 0 for half of its inputs",), (without,)
        )
    if kind == "numbers" and end is not None and not isinstance(loss, MSE) and type(end) not in RANGES:
        yield Suspicion("output_or_loss", 0.3, (f"the model ends in {type(end).__name__}",), (without,))


def _scaled_targets(first: Cure | None) -> Cure:
    def change(run: Run) -> Run | None:
        begin = run if first is None else first.change(run)
        layers = None if begin is None else edits.flat(begin.model)
        if begin is None or layers is None:
            return None
        return begin._replace(model=edits.rebuilt(begin.model, [*layers, TargetScale()]))

    return Cure("scale the targets", "model = hf.Sequential(..., hf.TargetScale())  # as the last layer", change)


RULES = (output_or_loss,)
