"""What a user gives to the doctor and to the studies, as a run: checked as ``fit`` checks it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..data.arrays import as_data, as_inputs
from ..data.split import split_rows
from ..errors import ArgumentError, ShapeError, import_extra, unknown_name
from ..ir import Array
from ..nn.module import Module
from ..train.many import OF_FIT, OF_TRAINER
from ..train.trainer import Trainer
from ..values import check_whole, is_word, items_of, short
from . import edits
from .run import ALONE, Rows, Run, copied
from .task import Task, task_of

STEPS = 1500  # of a training whose epochs are not said
NOT_ASKED = ("callbacks", "resume", "prefetch", "seed", "metrics", "watch", "reduce", "threads", "device")
NOT_TAKEN = ("resume", "validation_data")


def run_of(
    what: str,
    model: Any,
    x: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    epochs: int | None,
    batch_size: int | str,
    seed: int,
    settings: dict[str, Any],
    validation_data: Any = None,
    hold_out: bool = True,
    callbacks: Iterable[Any] = (),
) -> tuple[Run, list[str]]:
    """The run, and notes of what was not said. what: the name of the tool, for messages. settings: other options of
    ``Trainer`` and ``fit``. hold_out: whether a fifth of the rows becomes validation data where there are none;
    else they are the first of the rows."""
    if not isinstance(model, Module):
        raise ArgumentError(f"{what}: expected a hawfinch Module, got {short(model)}")
    if loss is None:
        raise ArgumentError(f"{what}: the loss is missing: loss=hf.SoftmaxCrossEntropy(), as for Trainer")
    for name in settings:
        if name not in OF_TRAINER | OF_FIT or name in NOT_TAKEN:
            raise unknown_name(f"option of {what}", name, (OF_TRAINER | OF_FIT) - {*NOT_TAKEN})
    of_trainer = {k: v for k, v in settings.items() if k in OF_TRAINER and k not in NOT_ASKED}
    of_fit = {k: v for k, v in settings.items() if k in OF_FIT and k not in (*NOT_ASKED, "sample_weight")}
    of_trainer |= dict(loss=loss, optimizer=optimizer)
    callbacks = list(items_of(callbacks, "callbacks: expected a list such as [hf.EarlyStopping()]"))
    for callback in callbacks:
        if not isinstance(callback, ALONE):
            copied(callback, what)
    of_fit |= dict(batch_size=batch_size, callbacks=callbacks)
    notes = []
    weight = settings.get("sample_weight")
    data = rows_of((x, y) if weight is None else (x, y, weight), "x, y")
    held: Rows | None = None
    if validation_data is not None:
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            raise ArgumentError("validation_data must be (x, y) or (x, y, sample_weight)")
        held = rows_of(tuple(validation_data), "validation_data")
    elif not hold_out:
        held = data.take(slice(0, 1))
    elif data.n < 10:
        raise ArgumentError(f"{what}: {data.n} rows can't be split; give validation_data")
    known = {k: v for k, v in of_fit.items() if k != "callbacks"}
    probe = Trainer(copied(model, what), **of_trainer, seed=seed)
    pair = None if held is None else tuple([v for v in held if v is not None])
    probe._prepare(data.x, data.y, validation_data=pair, sample_weight=data.weight, **known)  # rows as they are given
    if held is None:
        learn, test = split_rows(data.n, test_size=0.2, seed=seed, stratify=labels_of(data.y))
        data, held = data.take(learn), data.take(test)
        notes.append(f"there is no validation_data: {held.n} of the rows were held out")
    if epochs is None:
        batch = data.n if is_word(batch_size, "full") else check_whole(batch_size, "batch_size", 1)
        epochs = int(np.clip(STEPS * batch / max(data.n, 1), 10, 200))
        notes.append(f"epochs were not said: {epochs} were taken")
    return Run(model, data, held, of_trainer, {**of_fit, "epochs": check_whole(epochs, "epochs", 1)}), notes


def rows_of(given: tuple[Any, ...], name: str) -> Rows:
    """(x, y) or (x, y, sample_weight) as arrays."""
    arrays = as_inputs(given[0])
    y = given[1] if len(given) > 1 else None
    if isinstance(y, dict):
        y = {k: as_data(v, f"{name}[{k!r}]") for k, v in y.items()}
    elif isinstance(y, tuple):
        y = tuple([as_data(v, name) for v in y])
    elif y is not None:
        y = as_data(y, name)
    weight = as_data(given[2], "sample_weight") if len(given) > 2 and given[2] is not None else None
    for other in (*(y.values() if isinstance(y, dict) else y if isinstance(y, tuple) else (y,)), weight):
        if other is not None and len(other) != len(arrays[0]):
            raise ShapeError(f"{name}: there are {len(arrays[0])} rows of x, and {len(other)} of what belongs to them")
    return Rows(arrays if len(arrays) > 1 else arrays[0], y, weight)


def labels_of(y: Any) -> Array | None:
    """Targets that are class numbers, to be kept in proportion; None of others."""
    return y if isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "iub" else None


def task_for(run: Run, seed: int = 0) -> Task:
    """What the run's net is to learn."""
    built = copy.deepcopy(run.model)
    few = run.data.take(slice(0, 2))
    Trainer(built, **run.trainer, seed=seed)._check(few.x, few.y)
    outputs = built.output_specs
    task = task_of(run.trainer["loss"], run.data.y, outputs[0].shape if len(outputs) == 1 else None)
    return task._replace(of_ids=any([spec.dtype == "int" for spec in built.inputs or ()]))


def anew(model: Module) -> Module:
    """The model as each seed is to begin it: without values, unless something in it is frozen, which is to stay."""
    if model.inputs is not None and len(model.trainable()) < len(model.parameters()):
        return model
    return edits.untrained(model)


def order_of(data: Rows, seed: int) -> Array:
    """All row numbers, shuffled, so that classes are in proportion in each part of them that follows on one another."""
    n = data.n
    order = np.argsort(np.random.Philox(seed).random_raw(n), kind="stable").astype(np.int64)
    labels = labels_of(data.y)
    if labels is None:
        return order
    _, classes, counts = np.unique(labels[order], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    place = np.empty(n)
    place[by_class] = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5
    return order[np.argsort(place / counts[classes], kind="stable")]


def check_several(values: Any, name: str, wanted: str, least: int = 1) -> list[Any]:
    """values as a list of at least so many different numbers, ascending; ArgumentError for what is none."""
    try:
        found = sorted(set(np.asarray(values).reshape(-1).tolist()))
    except (TypeError, ValueError):
        found = []
    if len(found) < least or any(
        [
            isinstance(v, bool) or not isinstance(v, int | float) or (isinstance(v, int) and abs(v) >= 2**63)
            for v in found
        ]
    ):
        raise ArgumentError(f"{name} must be at least {least} {wanted}, not {short(values)}")
    return found


def table(rows: list[tuple[str, ...]]) -> list[str]:
    """Lines of a table whose first row is its head: the first column to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [first.ljust(widths[0]), *[cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True)]]
        lines.append("  ".join(cells).rstrip())
    return lines


def axes(ax: Any, width: float = 7.0, height: float = 4.0) -> Any:
    """matplotlib Axes to draw into: these, or those of a new figure. MissingExtraError without matplotlib."""
    plt = import_extra("matplotlib.pyplot", "plot")
    if ax is not None and not hasattr(ax, "set_xlim"):
        raise ArgumentError(f"plot: ax must be matplotlib Axes, not {short(ax)}")
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax
