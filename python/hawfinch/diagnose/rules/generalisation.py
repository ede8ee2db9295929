"""Rules about size and regularisation: a model too simple, too large, held too tight or not at all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...nn import Dropout, Linear, Module, ReLU
from ...optim import AdamW, get_optimizer
from ...train.early_stopping import EarlyStopping
from .. import edits
from ..case import Case, Cure, Suspicion
from ..run import Run


def dropout(case: Case) -> Iterable[Suspicion]:
    """Without it."""
    found = [layer for _, layer in edits.layers_of(case.run.model, *edits.NOISES)]
    if not found:
        return
    most = max(getattr(layer, "p", getattr(layer, "std", 0.0)) for layer in found)
    strength = float(np.clip((most - 0.3) / 0.3, 0.05, 1))
    cure = Cure(
        "no dropout",
        "model = hf.Sequential(...)  # without hf.Dropout",
        lambda run: None if (m := edits.without_noise(run.model)) is None else run._replace(model=m),
    )
    yield Suspicion("dropout", strength, (f"dropout or noise of up to {most:g}",), (cure,), {"p": most})


def regularisation_too_strong(case: Case) -> Iterable[Suspicion]:
    """Without penalties, constraints and weight decay."""
    optimizer = get_optimizer(case.run.trainer["optimizer"])
    decay = optimizer.options.get("weight_decay", 0.0)
    decay = decay if isinstance(decay, int | float) else 1e-2
    penalties = case.run.trainer.get("regularizers") or {}
    limits = case.run.trainer.get("constraints") or {}
    strengths = [v for r in penalties.values() for v in (r.l1, r.l2) if isinstance(v, int | float)]
    most = max([*strengths, decay if not optimizer.decoupled else decay / 30])
    if not penalties and not limits and decay == 0:
        return

    def change(run: Run) -> Run:
        chosen = get_optimizer(run.trainer["optimizer"])
        if "weight_decay" in chosen.options:
            chosen = chosen.replace(weight_decay=0.0)
        return run.with_trainer(optimizer=chosen, regularizers=None, constraints=None)

    cure = Cure("no penalties and no weight decay", "hf.Trainer(..., regularizers=None)  # and weight_decay=0", change)
    strength = float(np.clip(0.2 + 0.35 * np.log10(max(most, 1e-9) / 3e-4), 0.05, 1))
    text = f"weight decay {decay:g}, penalties of up to {max(strengths, default=0):g}"
    yield Suspicion("regularisation_too_strong", strength, (text,), (cure,), {"decay": decay, "penalty": most})


def _noisy(run: Run) -> Run | None:
    layers = edits.flat(run.model)
    at = None if layers is None else edits.last_linear(layers)
    if layers is None or at is None or edits.layers_of(run.model, Dropout):
        return None
    body: list[Module] = []
    for layer in layers[:at]:
        body += [layer, Dropout(0.3)] if isinstance(layer, edits.ACTIVATION_LAYERS) else [layer]
    return run._replace(model=edits.rebuilt(run.model, [*body, *layers[at:]]))


def _decayed(run: Run) -> Run:
    rate = get_optimizer(run.trainer["optimizer"]).lr
    return run.with_trainer(
        optimizer=AdamW(lr=rate if isinstance(rate, int | float) and rate < 0.02 else 1e-3, weight_decay=0.3)
    )


def _stopped(run: Run) -> Run:
    kept = [c for c in run.fit.get("callbacks", ()) if not isinstance(c, EarlyStopping)]
    return run.with_fit(callbacks=[*kept, EarlyStopping("val_loss", patience=max(5, run.epochs // 5))])


def _smaller(run: Run) -> Run | None:
    found = edits.widths(run.model)
    if len(found) < 2 or max(found[:-1]) < 16:
        return None
    model = edits.untrained(run.model)
    for _, layer in edits.layers_of(model, Linear)[:-1]:
        layer.out = max(8, layer.out // 8)
    return run._replace(model=model)


HELD_BACK = (
    Cure("early stopping", 'callbacks=[hf.EarlyStopping("val_loss")]', _stopped),
    Cure("dropout of 0.3", "hf.ReLU(), hf.Dropout(0.3)", _noisy),
    Cure("a smaller net", "hf.Linear(n // 8)", _smaller),
    Cure("weight decay", "optimizer = hf.AdamW(lr=..., weight_decay=0.3)", _decayed),
)


def overfitting(case: Case) -> Iterable[Suspicion]:
    """The gap between both sets, and what closes it."""
    gap = case.error - case.train_error
    validated = (
        np.array(case.replays[0].history["val_loss"]) if "val_loss" in case.replays[0].history else np.array([0.0])
    )
    risen = float(validated[-1] / max(validated.min(), 1e-12) - 1) if np.isfinite(validated).all() else 0.0
    strength = float(
        np.clip(1.5 * gap / max(case.error, 1e-9) * min(1.0, gap / 0.03) * 0.5 + 0.3 * min(risen, 1.0), 0.05, 0.9)
    )
    text = f"training: {case.task.text(case.train_error)}, validation: {case.task.text(case.error)}"
    rose = f"the validation loss ends {100 * risen:.0f} % above its lowest"
    numbers = {"gap": gap, "risen": risen}
    if gap > 0:
        yield Suspicion("overfitting", strength, (text, rose), HELD_BACK[:3], numbers)
        yield Suspicion("regularisation_too_weak", 0.7 * strength, (text, rose), HELD_BACK[3:], numbers)


def model_bias(case: Case) -> Iterable[Suspicion]:
    """A wider net, a deeper one, and activations where there are none."""
    found = edits.widths(case.run.model)
    layers = edits.flat(case.run.model)
    if not found:
        return
    cures = []
    narrow = min(found[:-1]) if len(found) > 1 else 0
    hidden = [m for _, m in edits.layers_of(case.run.model, *edits.ACTIVATION_LAYERS)]
    linear = len(found) == 1 or not hidden or (len(hidden) == 1 and edits.end_of(case.run.model) is hidden[0])
    if len(found) > 1:
        if linear:
            cures.append(_activated())
        k = int(max(4, np.ceil(64 / max(narrow, 1))))
        cures.append(
            Cure(
                f"{k} times as many units",
                f"hf.Linear({k} * n)",
                lambda run: None if (m := edits.wider(run.model, k)) is None else run._replace(model=m),
            )
        )
    elif layers is not None:

        def deeper(run: Run) -> Run | None:
            now = edits.flat(run.model)
            at = None if now is None else edits.last_linear(now)
            if now is None or at is None:
                return None
            return run._replace(model=edits.rebuilt(run.model, [*now[:at], Linear(128), ReLU(), *now[at:]]))

        cures.append(Cure("a hidden layer", "hf.Sequential(hf.Linear(128), hf.ReLU(), hf.Linear(out))", deeper))
    text = f"hidden layers of {', '.join(map(str, found[:-1])) or 'no'} units" + (
        ", no activation between them" if linear else ""
    )
    strength = 0.9 if linear else float(np.clip(0.9 - np.log2(max(narrow, 1)) / 6.0, 0.05, 0.9))
    yield Suspicion("model_bias", strength, (text,), tuple(cures), {"narrowest": narrow, "linear": linear})


def _activated() -> Cure:
    def change(run: Run) -> Run | None:
        model = edits.with_activation(run.model)
        return None if model is None else run._replace(model=model)

    return Cure("activations between the layers", "hf.Linear(n), hf.ReLU(), hf.Linear(out)", change)


RULES = (dropout, regularisation_too_strong, overfitting, model_bias)
