"""The ``hawfinch`` command: demo, train, predict, info.

Design: every mistake that a user can make ends as one line on stderr and exit status 2. ``predict`` prints nothing but
CSV to stdout, so that it can stand in a pipe. Rejected: click or typer (a dependency for four subcommands).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

import hawfinch as hf

from .data import TableEncoder, load_digits, read_table, shift_images, split_rows, train_test_split
from .errors import ArgumentError, FormatError, HawfinchError, MissingExtraError, NonFiniteError, import_extra

TABLE_KEY = "hawfinch.table"  # of the metadata of a net that `train` wrote
LEAST_ROWS = 5
SMOOTHING = 0.1  # of the demo's labels


class _Parser(argparse.ArgumentParser):
    """Reports mistakes as all others are reported."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message} (see '{self.prog} --help')")


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, []) else super()._get_help_string(action)


class _Parsed:
    """Types of options: each parses one text, or raises the error that argparse shows."""

    @staticmethod
    def whole(least: int) -> Callable[[str], int]:
        def parse(text: str) -> int:
            try:
                if int(text) >= least:
                    return int(text)
            except ValueError:
                pass
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")

        return parse

    @staticmethod
    def number(wanted: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
        def parse(text: str) -> float:
            try:
                if fits(float(text)):
                    return float(text)
            except ValueError:
                pass
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}")

        return parse

    @staticmethod
    def widths(text: str) -> list[int]:
        try:
            widths = [int(part) for part in text.split(",")]
            if widths == [0] or min(widths) > 0:
                return [w for w in widths if w]
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of layer widths such as 64,64 (0 for a linear net)")

    @staticmethod
    def names(text: str) -> list[str]:
        return next(csv.reader([text], skipinitialspace=True), [])

    @staticmethod
    def delimiter(text: str) -> str:
        text = {"tab": "\t", "\\t": "\t"}.get(text, text)
        if len(text) != 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not one character (or 'tab')")
        return text


def _cosine(peak: float, steps: int) -> Callable[[int], float]:
    """A learning rate that rises over the first steps and falls to 0 along a cosine (Loshchilov, Hutter, ICLR 2017)."""
    rise = min(50, steps // 10 + 1)
    return lambda step: peak * min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def _mlp(widths: Sequence[int], dropout: float, outputs: int) -> hf.Sequential:
    layers: list[hf.Module] = []
    for width in widths:
        layers += [hf.Linear(width), hf.BatchNorm(), hf.ReLU()] + ([hf.Dropout(dropout)] if dropout else [])
    return hf.Sequential(*layers, hf.Linear(outputs))


# --------------------------------------------------------------------------------------------------------------- demo


def _demo(args: argparse.Namespace) -> None:
    say: Callable[..., None] = (lambda *_: None) if args.quiet else print
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    x, y = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, seed=0, stratify=y)
    images = x_train.reshape(-1, 8, 8)
    shifted = [shift_images(images, 1.0, seed=copy).reshape(-1, 64) for copy in range(1, 5)]
    x_fit, y_fit = np.concatenate([x_train, *shifted]), np.tile(y_train, 1 + len(shifted))
    say(
        f"{len(x)} handwritten digits of 8 x 8 pixels: {len(x_train)} to train on, with {len(shifted)} copies of each "
        f"shifted by up to a pixel; {len(x_test)} held out as the test"
    )
    batch = 32
    steps = args.epochs * -(-len(x_fit) // batch)
    model = _mlp([256], 0.2, 10)
    trainer = hf.Trainer(
        model,
        loss=hf.SoftmaxCrossEntropy(label_smoothing=SMOOTHING),
        optimizer=hf.AdamW(lr=_cosine(4e-3, steps)),
        metrics=["accuracy"],
        seed=args.seed,
        threads=args.threads,
    )

    def report(_: Any, epoch: int, logs: dict[str, float]) -> None:
        count = f"epoch {epoch + 1:{len(str(args.epochs))}}/{args.epochs}"
        say(f"{count}   loss {logs['loss']:.4f}   test accuracy {logs['val_accuracy']:.4f}")

    began = time.perf_counter()
    history = trainer.fit(
        x_fit, y_fit, epochs=args.epochs, batch_size=batch, validation_data=(x_test, y_test), callbacks=[report]
    )
    took = time.perf_counter() - began
    logits = np.asarray(model.predict(x_test))
    wrong = np.flatnonzero(logits.argmax(axis=1) != y_test)
    accuracy = 1 - len(wrong) / len(x_test)
    model.save(out / "digits.safetensors", metadata={"hawfinch.demo": f"test accuracy {accuracy:.4f}"})
    record = history.to_dict() | {"test_accuracy": accuracy, "seconds": took, "steps": trainer.steps}
    (out / "history.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"test accuracy {100 * accuracy:.2f} % ({len(wrong)} of {len(x_test)} wrong)")
    print(f"{trainer.steps} steps of {batch} images in {took:.2f} s: {trainer.steps / took:,.0f} steps per second")
    files = ["digits.safetensors", "history.json"]
    try:
        _draw_demo(out / "curves.png", history.to_dict(), x_test[wrong], y_test[wrong], logits[wrong].argmax(axis=1))
        files.append("curves.png")
    except MissingExtraError as missing:
        say(f"no curves.png: {missing}")
    say(f"wrote {', '.join(files)} to {out}")
    say(f'in Python: model = hawfinch.load("{out / files[0]}"); model.predict(x)')


def _least_loss(smoothing: float, classes: int) -> float:
    """The entropy of a smoothed label: no net gets a smaller loss."""
    rest = smoothing / classes
    top = 1 - smoothing + rest
    return -top * math.log(top) - (classes - 1) * rest * math.log(rest)


def _draw_demo(
    path: Path,
    history: dict[str, list[float]],
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    answers: NDArray[np.int64],
) -> None:
    """Loss, accuracy and the first 8 misread digits. Uses no pyplot: nothing global changes, no window opens."""
    fig = import_extra("matplotlib.figure", "plot").Figure(figsize=(9, 5.4), layout="constrained")
    parts: Any = fig.subfigures(2, 1, height_ratios=[3, 1.15])
    top, bottom = parts
    axes = top.subplots(1, 2)
    epochs = range(1, len(history["loss"]) + 1)
    for ax, name in zip(axes, ("loss", "accuracy"), strict=True):
        ax.plot(epochs, history[name], "o-", ms=3, label="training (shifted images, dropout)")
        ax.plot(epochs, history[f"val_{name}"], "o-", ms=3, label="test")
        ax.set(xlabel="epoch", title=name)
        ax.grid(alpha=0.3)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_title(f"loss (label smoothing {SMOOTHING}: at best {_least_loss(SMOOTHING, 10):.2f})")
    axes[0].legend(frameon=False)
    shown = min(len(images), 8)
    more = f", the first {shown}" if len(images) > shown else ""
    bottom.suptitle(f"{len(images)} test digits misread{more}" if shown else "no test digit misread", fontsize=11)
    for i, ax in enumerate(bottom.subplots(1, 8)):
        ax.axis("off")
        image = i - (8 - shown) // 2
        if 0 <= image < shown:
            ax.imshow(images[image].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            ax.set_title(f"{labels[image]} read as {answers[image]}", fontsize=9)
    fig.savefig(path, dpi=120)


# -------------------------------------------------------------------------------------------------------------- train


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


def _train(args: argparse.Namespace) -> None:
    say: Callable[..., None] = (lambda *_: None) if args.quiet else print
    _check_out(args.out, args.data)
    table = read_table(args.data, delimiter=args.delimiter, header=args.header)
    target = args.target if args.target is not None else table.default_target
    if target is None:
        raise ArgumentError("--target is needed: the name or number of the column to predict")
    roles = {"task": args.task, "ignore": args.ignore, "categorical": args.categorical}
    encoder = TableEncoder().fit(table, target, **roles)
    if table.rows < LEAST_ROWS:
        raise ArgumentError(f"{table.source} has {table.rows} rows; training needs at least {LEAST_ROWS}")
    goal = encoder.transform_target(table)
    classify = encoder.task == "classify"
    rows, held = split_rows(table.rows, test_size=args.test_size, seed=args.seed, stratify=goal if classify else None)
    encoder.fit(table, target, rows=rows, **roles)
    x, y = encoder.transform(table), encoder.transform_target(table)
    for note in table.notes:
        say(f"note: {note}")
    names = ", ".join(f.name + (f" ({len(f.categories)} categories)" if f.categories else "") for f in encoder.features)
    inputs = f"{len(encoder.features)} input columns" + (f": {names}" if encoder.named and len(names) < 400 else "")
    say(f"{table.source}: {table.rows} rows, {inputs}")
    why = "as asked" if args.task else f"since {encoder.reason} (--task changes it)"
    say(f"task: {encoder.task} {table.label(table.find(target))}, {why}")
    say(f"{len(rows)} rows to train on, {len(held)} to validate")

    steps = args.epochs * -(-len(rows) // min(args.batch_size, len(rows)))
    dropout = args.dropout if args.dropout is not None else 0.1 if classify else 0.0
    model = _mlp(args.hidden, dropout, len(encoder.classes) if classify else 1)
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
        optimizer=hf.AdamW(lr=_cosine(args.lr, steps)),
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
    print(f"validation: {_score(encoder, encoder.decode(model.predict(x[held])), encoder.decode_target(table)[held])}")
    say("(the epoch was chosen on these rows, so expect a little less on new data)")
    print(f"wrote {args.out}; next: hawfinch predict {args.out} NEW_DATA")


def _score(encoder: TableEncoder, answers: NDArray[Any], truth: NDArray[Any]) -> str:
    """Accuracy beside that of the commonest class, or RMSE and R2, in words."""
    n = len(truth)
    if encoder.task == "classify":
        right = int((answers == truth).sum())
        common, times = max(zip(*np.unique(truth, return_counts=True), strict=True), key=lambda item: item[1])
        return (
            f"accuracy {right / n:.4f} ({right} of {n} rows right; always answering {str(common)!r}: {times / n:.4f})"
        )
    error, spread = float(((answers - truth) ** 2).mean()), float(truth.var())
    r2 = f"R2 {1 - error / spread:.4f}, " if spread > 0 else ""
    rmse = f"RMSE {math.sqrt(error):.6g} in the units of {encoder.target!r}"
    return f"{r2}{rmse} ({n} rows, standard deviation {math.sqrt(spread):.6g})"


def _check_out(out: str | None, data: str) -> None:
    """An output that cannot be written, or that would destroy the input, is found before the work is done."""
    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise ArgumentError(f"--out {out} is a folder; give a file name")
    if not path.parent.is_dir():
        raise ArgumentError(f"--out {out}: there is no folder {path.parent}")
    if path.exists() and Path(data).exists() and path.samefile(data):
        raise ArgumentError(f"--out {out} is the input itself, which would be lost")


# ------------------------------------------------------------------------------------------------------------ predict


def _predict(args: argparse.Namespace) -> None:
    _check_out(args.out, args.data)
    _check_out(args.out, args.net)
    try:
        model = hf.load(args.net)
    except FormatError as e:
        raise FormatError(f"{args.net} is no usable net (the net comes first, then the data): {e}") from e
    if TABLE_KEY not in model.metadata:
        raise FormatError(
            f"{args.net} was not written by 'hawfinch train', so it does not say how to encode a table; "
            "use hawfinch.load in Python"
        )
    try:
        state = json.loads(model.metadata[TABLE_KEY])
    except ValueError as e:
        raise FormatError(f"{args.net}: the stored table encoder is damaged: {e}") from e
    encoder = TableEncoder.from_dict(state)
    classify = encoder.task == "classify"
    if args.proba and not classify:
        raise ArgumentError(f"--proba is for classifiers; {args.net} predicts the number {encoder.target!r}")
    table = read_table(args.data, delimiter=args.delimiter, header=encoder.named)
    outputs = np.asarray(model.predict(encoder.transform(table), threads=args.threads))
    answers = encoder.decode(outputs)
    columns: list[Sequence[str]] = [answers.tolist() if classify else [f"{v:.9g}" for v in answers.tolist()]]
    names = ["prediction"]
    if args.proba:
        p = np.exp(outputs - outputs.max(axis=1, keepdims=True), dtype=np.float64)
        p /= p.sum(axis=1, keepdims=True)
        columns += [[f"{v:.6f}" for v in column] for column in p.T.tolist()]
        names += [f"p({name})" for name in encoder.classes]
    if args.out is None:
        _write_csv(sys.stdout, names, columns)
    else:
        with open(args.out, "w", encoding="utf-8", newline="") as file:
            _write_csv(file, names, columns)
        print(f"wrote {table.rows} predictions to {args.out}", file=sys.stderr)
    position = encoder.target_position(table)
    if position is not None:
        try:
            truth = encoder.decode_target(table)
        except HawfinchError as e:
            print(f"not scored against {table.label(position)}: {e}", file=sys.stderr)
        else:
            print(f"scored against {table.label(position)}: {_score(encoder, answers, truth)}", file=sys.stderr)


def _write_csv(file: Any, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))


# ------------------------------------------------------------------------------------------------------- command line


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hawfinch", description="Trains and runs small neural nets.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"hawfinch {hf.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        p = commands.add_parser(name, help=text, description=text, allow_abbrev=False, formatter_class=_Formatter)
        p.set_defaults(run=run)
        return p

    def common(p: argparse.ArgumentParser) -> None:
        p.add_argument("--threads", type=_Parsed.whole(1), metavar="T", help="threads; chosen by cost if not given")

    demo = command("demo", _demo, "Train on the bundled handwritten digits: seconds from install to a working net.")
    demo.add_argument("--epochs", type=_Parsed.whole(1), default=20, metavar="N", help="passes over the data")
    demo.add_argument("--out", default="hawfinch-demo", metavar="DIR", help="folder for the net, history and curves")
    demo.add_argument("--seed", type=_Parsed.whole(0), default=0, metavar="S", help="of weights, order and dropout")
    demo.add_argument("--quiet", action="store_true", help="print the result only")
    common(demo)

    train = command("train", _train, "Train a net on a table: CSV, NPZ or NPY.")
    train.add_argument("data", help="the table; the rows to validate on are drawn from it too")
    train.add_argument(
        "--target", metavar="COL", help="column to predict: its name, or its number from 0 (-1: the last)"
    )
    train.add_argument("--out", required=True, metavar="FILE", help="where to write the net, e.g. net.safetensors")
    train.add_argument("--task", choices=("classify", "regress"), help="inferred from the target if not given")
    train.add_argument("--ignore", type=_Parsed.names, default=[], metavar="COLS", help="columns to leave out: a,b")
    train.add_argument(
        "--categorical", type=_Parsed.names, default=[], metavar="COLS", help="numbers that are labels: a,b"
    )
    train.add_argument(
        "--hidden", type=_Parsed.widths, default="64,64", metavar="WIDTHS", help="hidden layers; 0: none"
    )
    train.add_argument(
        "--epochs", type=_Parsed.whole(1), default=100, metavar="N", help="passes over the training rows"
    )
    train.add_argument("--batch-size", type=_Parsed.whole(1), default=32, metavar="N", help="rows per step")
    positive = _Parsed.number("above 0", lambda v: 0 < v < math.inf)
    train.add_argument("--lr", type=positive, default=3e-3, metavar="RATE", help="peak learning rate of AdamW")
    train.add_argument(
        "--dropout",
        type=_Parsed.number("from 0 to below 1", lambda v: 0 <= v < 1),
        metavar="P",
        help="share of hidden units; if not given, 0.1 to classify and 0 to regress",
    )
    train.add_argument(
        "--test-size",
        type=_Parsed.number("between 0 and 1", lambda v: 0 < v < 1),
        default=0.2,
        metavar="SHARE",
        help="share of rows to validate on",
    )
    train.add_argument(
        "--seed", type=_Parsed.whole(0), default=0, metavar="S", help="of split, weights, order, dropout"
    )
    train.add_argument("--delimiter", type=_Parsed.delimiter, metavar="CHAR", help="of a CSV file; found if not given")
    train.add_argument("--header", action=argparse.BooleanOptionalAction, help="whether line 1 of a CSV file has names")
    train.add_argument("--quiet", action="store_true", help="print the result only")
    common(train)

    predict = command("predict", _predict, "Predict with a net that 'hawfinch train' wrote.")
    predict.add_argument("net", help="the file from 'hawfinch train --out'")
    predict.add_argument("data", help="the table; a target column in it is used for a score only")
    predict.add_argument("--out", metavar="FILE", help="CSV file for the predictions; stdout if not given")
    predict.add_argument("--proba", action="store_true", help="add the probability of each class")
    predict.add_argument(
        "--delimiter", type=_Parsed.delimiter, metavar="CHAR", help="of a CSV file; found if not given"
    )
    common(predict)

    command("info", lambda _: print(hf.show_config()), "Show versions, instruction set, threads and CUDA.")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the process's arguments.

    Returns the exit status: 0, 2 for a mistake in the arguments or the data (told in one line on stderr), 130 after
    Ctrl-C.
    """
    try:
        args = _parser().parse_args(argv)
        args.run(args)
        sys.stdout.flush()
    except HawfinchError as e:
        return _failed(str(e))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; a flush at exit must not fail
        return 1
    except OSError as e:
        return _failed(f"{e.filename}: {e.strerror}" if e.filename else str(e))
    except KeyboardInterrupt:
        print("hawfinch: interrupted", file=sys.stderr)
        return 130
    except SystemExit as e:  # --help and --version
        return int(e.code or 0)
    return 0


def _failed(message: str) -> int:
    print(f"hawfinch: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
