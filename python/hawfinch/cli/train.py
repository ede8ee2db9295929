"""``hawfinch train``: a net from a table."""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

import hawfinch as hf

from ..data import TableEncoder, read_table, split_rows
from ..errors import ArgumentError, HawfinchWarning, NonFiniteError
from .nets import cosine, mlp
from .options import Commands, add_threads, command, delimiter, names, number, whole, widths
from .tables import TABLE_KEY, check_out, score

LEAST_ROWS = 5


def add(commands: Commands) -> None:
    p = command(commands, "train", run, "Train a net on a table: CSV, NPZ or NPY.")
    p.add_argument("data", help="the table; the rows to validate on are drawn from it too")
    p.add_argument("--target", metavar="COL", help="column to predict: its name, or its number from 0 (-1: the last)")
    p.add_argument("--out", required=True, metavar="FILE", help="where to write the net, e.g. net.safetensors")
    p.add_argument("--task", choices=("classify", "regress"), help="inferred from the target if not given")
    p.add_argument("--ignore", type=names, default=[], metavar="COLS", help="columns to leave out: a,b")
    p.add_argument("--categorical", type=names, default=[], metavar="COLS", help="numbers that are labels: a,b")
    p.add_argument("--hidden", type=widths, default="64,64", metavar="WIDTHS", help="hidden layers; 0: none")
    p.add_argument("--epochs", type=whole(1), default=100, metavar="N", help="passes over the training rows")
    p.add_argument("--batch-size", type=whole(1), default=32, metavar="N", help="rows per step")
    positive = number("above 0", lambda v: 0 < v < math.inf)
    p.add_argument("--lr", type=positive, default=3e-3, metavar="RATE", help="peak learning rate of AdamW")
    p.add_argument(
        "--dropout",
        type=number("from 0 to below 1", lambda v: 0 <= v < 1),
        metavar="P",
        help="share of hidden units; if not given, 0.1 to classify and 0 to regress",
    )
    p.add_argument(
        "--test-size",
        type=number("between 0 and 1", lambda v: 0 < v < 1),
        default=0.2,
        metavar="SHARE",
        help="share of rows to validate on",
    )
    p.add_argument("--seed", type=whole(0), default=0, metavar="S", help="of split, weights, order, dropout")
    p.add_argument("--delimiter", type=delimiter, metavar="CHAR", help="of a CSV file; found if not given")
    p.add_argument("--header", action=argparse.BooleanOptionalAction, help="whether line 1 of a CSV file has names")
    p.add_argument("--quiet", action="store_true", help="print the result only")
    add_threads(p)


class _KeepBest:
    """Keeps the weights of the epoch with the least validation loss."""

    def __init__(self) -> None:
        self.loss, self.epoch = math.inf, 0
        self._arrays: dict[str, NDArray[Any]] = {}

    @staticmethod
    def _views(model: hf.Module) -> dict[str, NDArray[Any]]:
        return {**model.parameters(), **model.buffers()}

    def on_epoch_end(self, trainer: hf.Trainer, epoch: int, logs: dict[str, float]) -> None:
        if logs["val_loss"] < self.loss:
            self.loss, self.epoch = logs["val_loss"], epoch + 1
            self._arrays = {name: view.copy() for name, view in self._views(trainer.model).items()}

    def restore(self, model: hf.Module) -> None:
        if not self._arrays:
            raise NonFiniteError("the validation loss was not finite in any epoch; try a lower learning rate")
        for name, view in self._views(model).items():
            view[...] = self._arrays[name]


def run(args: argparse.Namespace) -> None:
    say: Callable[..., None] = (lambda *_: None) if args.quiet else print
    check_out(args.out, args.data)
    table = read_table(args.data, delimiter=args.delimiter, header=args.header)
    target = args.target if args.target is not None else table.default_target
    if target is None:
        raise ArgumentError("--target is needed: the name or number of the column to predict")
    roles = {"task": args.task, "ignore": args.ignore, "categorical": args.categorical}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", HawfinchWarning)
        encoder = TableEncoder().fit(table, target, **roles)
    if table.rows < LEAST_ROWS:
        raise ArgumentError(f"{table.source} has {table.rows} rows; training needs at least {LEAST_ROWS}")
    goal = encoder.transform_target(table)
    classify = encoder.task == "classify"
    rows, held = split_rows(table.rows, test_size=args.test_size, seed=args.seed, stratify=goal if classify else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HawfinchWarning)  # said once
        encoder.fit(table, target, rows=rows, **roles)
    x, y = encoder.transform(table), encoder.transform_target(table)
    for note in (*table.notes, *(str(w.message) for w in caught)):
        say(f"note: {note}")
    listed = ", ".join(
        f.name + (f" ({len(f.categories)} categories)" if f.categories else "") for f in encoder.features
    )
    inputs = f"{len(encoder.features)} input columns" + (f": {listed}" if encoder.named and len(listed) < 400 else "")
    say(f"{table.source}: {table.rows} rows, {inputs}")
    why = "as asked" if args.task else f"since {encoder.reason} (--task changes it)"
    say(f"task: {encoder.task} {table.label(table.find(target))}, {why}")
    say(f"{len(rows)} rows to train on, {len(held)} to validate")

    steps = args.epochs * -(-len(rows) // min(args.batch_size, len(rows)))
    dropout = args.dropout if args.dropout is not None else 0.1 if classify else 0.0
    model = mlp(args.hidden, dropout, len(encoder.classes) if classify else 1)
    loss = hf.SoftmaxCrossEntropy() if classify else hf.MSE()
    best, every = _KeepBest(), max(args.epochs // 10, 1)

    def report(_: Any, epoch: int, logs: dict[str, float]) -> None:
        if (epoch + 1) % every == 0:
            accuracy = f"   validation accuracy {logs['val_accuracy']:.4f}" if classify else ""
            count = f"epoch {epoch + 1:{len(str(args.epochs))}}/{args.epochs}"
            say(f"{count}   loss {logs['loss']:.4f}   validation loss {logs['val_loss']:.4f}{accuracy}")

    trainer = hf.Trainer(
        model,
        loss=loss,
        optimizer=hf.AdamW(lr=cosine(args.lr, steps)),
        metrics=["accuracy"] if classify else [],
        seed=args.seed,
        threads=args.threads,
    )
    trainer.fit(
        x[rows],
        y[rows],
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation_data=(x[held], y[held]),
        callbacks=[best, report],
    )
    best.restore(model)
    model.save(args.out, metadata={TABLE_KEY: json.dumps(encoder.to_dict())})
    print(f"kept epoch {best.epoch} of {args.epochs}, the one with the least validation loss")
    print(f"validation: {score(encoder, encoder.decode(model.predict(x[held])), encoder.decode_target(table)[held])}")
    say("(the epoch was chosen on these rows, so expect a little less on new data)")
    print(f"wrote {args.out}; next: hawfinch predict {args.out} NEW_DATA")
