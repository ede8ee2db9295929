"""Rules about layers: how their weights start, what is frozen, how their units fare."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...nn import BatchNorm, LayerNorm, LeakyReLU, Linear, Module, ReLU, Sigmoid, Tanh
from ...optim import get_optimizer
from ...train.trainer import Trainer
from .. import edits
from ..activations import unit_shares
from ..case import Case, Cure, Suspicion
from ..run import Run, Trial

ROWS = 256  # on which signals are looked at


def started(case: Case) -> Trainer:
    """A trainer of a copy of the model, built, before its first step."""
    options = {**case.run.trainer, "seed": case.seed, "total_steps": case.run.steps}
    if not get_optimizer(case.run.trainer["optimizer"]).searches:
        options["watch"] = "*.weight"
    trainer = Trainer(copy.deepcopy(case.run.model), **options)
    rows = case.run.data.take(slice(0, ROWS))
    trainer.evaluate(rows.x, rows.y)
    return trainer


def weights_of(model: Module) -> dict[str, Any]:
    """Of each Linear the weight (in, out), by path, in order."""
    return {p: m.parameters()["weight"] for p, m in edits.layers_of(model, Linear) if "weight" in m.parameters()}


def _anew(run: Run) -> Run:
    return run._replace(model=edits.with_default_starts(run.model)).with_trainer(init="auto")


ANEW = Cure('start the weights by init="auto"', 'trainer = hf.Trainer(model, ..., init="auto")', _anew)


def bad_initialisation(case: Case) -> Iterable[Suspicion]:
    """Deviations of the weights beside 1/sqrt(inputs), and columns that are alike."""
    if not edits.layers_of(case.run.model, Linear):
        return
    found = weights_of(started(case).model)
    ratios = {p: float(w.std() * np.sqrt(w.shape[0])) for p, w in found.items() if w.size > 1}
    alike = [p for p, w in found.items() if w.shape[1] > 1 and (w == w[:, :1]).all() and p != list(found)[-1]]
    if not ratios:
        return
    far = max(ratios.values(), key=lambda r: abs(np.log(max(r, 1e-9) / 0.9)))
    strength = 1.0 if alike else float(np.clip((abs(np.log10(max(far, 1e-9) / 0.9)) - 0.35) / 0.5, 0, 1))
    if strength <= 0:
        return
    text = f"a layer's weights start with a deviation of {far:.3g}/sqrt(inputs); 0.6 to 1.4 keeps the signal's size"
    if alike:
        text = f"all units of layer {alike[0]!r} start with the same weights, so they learn the same"
    yield Suspicion("bad_initialisation", strength, (text,), (ANEW,), {"ratios": ratios, "alike": alike})


def frozen(case: Case) -> Iterable[Suspicion]:
    """Parameters that training leaves as they are."""
    if not edits.is_built(case.run.model):
        return
    model = case.run.model
    still = [name for name in model.parameters() if name not in model.trainable()]
    if not still:
        return
    share = sum(model.parameters()[n].size for n in still) / max(model.n_parameters, 1)

    def thaw(run: Run) -> Run | None:
        return run._replace(model=copy.deepcopy(run.model).unfreeze()) if edits.is_built(run.model) else None

    cure = Cure("unfreeze all parameters", "model.unfreeze()", thaw)
    text = f"{len(still)} arrays are frozen ({100 * share:.0f} % of the parameters): {', '.join(still[:4])}"
    yield Suspicion("frozen", 0.95, (text,), (cure,), {"frozen": still, "share": share})


def _with_relu(run: Run) -> Run | None:
    model = edits.with_activation(run.model)
    return None if model is None else run._replace(model=model).with_trainer(init="auto")


def _with_norms(run: Run) -> Run | None:
    layers = edits.flat(run.model)
    at = None if layers is None else edits.last_linear(layers)
    if layers is None or at is None or edits.layers_of(run.model, BatchNorm):
        return None
    body = [new for layer in layers[:at] for new in ([layer, BatchNorm()] if isinstance(layer, Linear) else [layer])]
    return run._replace(model=edits.rebuilt(run.model, [*body, *layers[at:]]))


RELU = Cure("ReLU in the hidden layers, and weights that fit it", 'hf.ReLU(); hf.Trainer(..., init="auto")', _with_relu)
NORMS = Cure("batch norm behind each hidden Linear", "hf.Linear(n), hf.BatchNorm(), hf.ReLU()", _with_norms)


def units(case: Case) -> Iterable[Suspicion]:
    """Dead and saturated units of the trained nets."""
    trial = case.replays[0]
    x = case.run.data.take(slice(0, ROWS)).x
    dead, saturated = 0.0, 0.0
    where_dead = where_saturated = ""
    layers = edits.flat(case.run.model)
    last = None if layers is None else edits.last_linear(layers)
    for path, layer in edits.layers_of(trial.trainer.model, ReLU, Sigmoid, Tanh):
        if last is not None and path.isdigit() and int(path) > last:
            continue
        out = _outputs(trial, x, path)
        if out is None:
            continue
        shares = unit_shares(layer, out)
        if shares[0] > dead:
            dead, where_dead = shares[0], path
        if shares[1] > saturated:
            saturated, where_saturated = shares[1], path
    if dead > 0.1:
        leaky = Cure(
            "LeakyReLU in the hidden layers",
            "hf.LeakyReLU()",
            lambda run: None if (m := edits.with_activation(run.model, LeakyReLU)) is None else run._replace(model=m),
        )
        text = f"{100 * dead:.0f} % of the units of layer {where_dead!r} give 0 for all of {ROWS} rows"
        strength = float(np.clip((dead - 0.2) / 0.5, 0, 1))
        yield Suspicion("dead_units", strength, (text,), (leaky, ANEW, NORMS), {"share": dead, "layer": where_dead})
    if saturated > 0.15:
        text = f"{100 * saturated:.0f} % of the outputs of layer {where_saturated!r} are within 1 % of its ends"
        strength = float(np.clip((saturated - 0.25) / 0.5, 0, 1))
        yield Suspicion("saturated_units", strength, (text,), (ANEW, NORMS, RELU), {"share": saturated})


def _outputs(trial: Trial, x: Any, path: str) -> Any:
    try:
        found = trial.trainer.model.outputs(x, path)
    except ValueError:
        return None
    return None if isinstance(found, tuple) else found.reshape(len(found), -1)


def batch_norm(case: Case) -> Iterable[Suspicion]:
    """Batches too small for statistics, and running averages that are not those of the data."""
    norms = edits.layers_of(case.run.model, BatchNorm)
    if not norms:
        return
    small = case.run.batch <= 4
    odd = [layer.momentum for _, layer in norms if not 0.005 <= layer.momentum <= 0.9]
    trial = case.replays[0]
    away = _away(trial, case)
    strength = max(0.9 if small else 0.0, 0.7 if odd else 0.0, float(np.clip((away - 0.5) / 1.0, 0, 1)))
    if strength <= 0:
        return
    texts = [f"batches of {case.run.batch} rows"] if small else []
    texts += [f"a momentum of {odd[0]:g}"] if odd else []
    texts.append(f"running variances are off by a factor of {10**away:.2g} from those of the training rows")

    def layer_norm(run: Run) -> Run | None:
        layers = edits.flat(run.model)
        if layers is None:
            return None
        return run._replace(
            model=edits.rebuilt(run.model, [LayerNorm() if isinstance(m, BatchNorm) else m for m in layers])
        )

    def usual(run: Run) -> Run:
        model = edits.untrained(run.model)
        for _, layer in edits.layers_of(model, BatchNorm):
            layer.momentum = 0.1
        return run._replace(model=model).with_fit(batch_size=max(32, run.batch))

    cures = (
        Cure(
            "batches of 32 rows or more, and a momentum of 0.1",
            "hf.BatchNorm(); trainer.fit(..., batch_size=32)",
            usual,
        ),
        Cure("LayerNorm instead", "hf.LayerNorm()", layer_norm),
    )
    yield Suspicion("batch_norm", strength, tuple(texts), cures, {"away": away, "batch": case.run.batch})


def _away(trial: Trial, case: Case) -> float:
    """How far, in powers of ten, the running variances are from those of the training rows, in the worst layer."""
    x, model, worst = case.run.data.take(slice(0, 4 * ROWS)).x, trial.trainer.model, 0.0
    layers = edits.flat(model)
    if layers is None:
        return 0.0
    paths = [path for path, m in model.modules() if path and not edits.flat(m)]
    for i, path in enumerate(paths):
        layer = dict(model.modules())[path]
        if not isinstance(layer, BatchNorm) or i == 0:
            continue
        out = _outputs(trial, x, paths[i - 1])
        if out is not None and "running_var" in layer.buffers() and out.shape[1] == layer.buffers()["running_var"].size:
            kept, now = layer.buffers()["running_var"], out.var(0)
            good = (kept > 1e-12) & (now > 1e-12)
            if good.any():
                worst = max(worst, float(np.median(np.abs(np.log10(kept[good] / now[good])))))
    return worst


RULES = (bad_initialisation, frozen, units, batch_norm)
