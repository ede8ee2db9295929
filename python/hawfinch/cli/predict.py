"""``hawfinch predict``: answers for a table, as CSV. Nothing else goes to stdout, so that it can stand in a pipe."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import hawfinch as hf

from ..data import TableEncoder, read_table
from ..errors import ArgumentError, FormatError, HawfinchError
from .options import Commands, add_threads, command, delimiter
from .tables import TABLE_KEY, check_out, score


def add(commands: Commands) -> None:
    p = command(commands, "predict", run, "Predict with a net that 'hawfinch train' wrote.")
    p.add_argument("net", help="the file from 'hawfinch train --out'")
    p.add_argument("data", help="the table; a target column in it is used for a score only")
    p.add_argument("--out", metavar="FILE", help="CSV file for the predictions; stdout if not given")
    p.add_argument("--proba", action="store_true", help="add the probability of each class")
    p.add_argument("--delimiter", type=delimiter, metavar="CHAR", help="of a CSV file; found if not given")
    add_threads(p)


def run(args: argparse.Namespace) -> None:
    check_out(args.out, args.data)
    check_out(args.out, args.net)
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
    except (ValueError, RecursionError) as e:
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
            print(f"scored against {table.label(position)}: {score(encoder, answers, truth)}", file=sys.stderr)


def _write_csv(file: Any, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
