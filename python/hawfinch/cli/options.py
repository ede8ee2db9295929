"""What the subcommands share: how their options are parsed, and how mistakes in them are reported."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import ArgumentError

Commands = Any  # what add_subparsers gives: private to argparse


class Parser(argparse.ArgumentParser):
    """Reports mistakes as all others are reported."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message} (see '{self.prog} --help')")


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there is one to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False, []) else super()._get_help_string(action)


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    """A subcommand that calls run with what was parsed."""
    p: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, allow_abbrev=False, formatter_class=Formatter
    )
    p.set_defaults(run=run)
    return p


def add_threads(p: argparse.ArgumentParser) -> None:
    p.add_argument("--threads", type=whole(1), metavar="T", help="threads; chosen by cost if not given")


# Types of options: each parses one text, or raises the error that argparse shows.


def whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            if int(text) >= least:
                return int(text)
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")

    return parse


def number(wanted: str, fits: Callable[[float], bool]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            if fits(float(text)):
                return float(text)
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}")

    return parse


def widths(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
        if found == [0] or min(found) > 0:
            return [w for w in found if w]
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a list of layer widths such as 64,64 (0 for a linear net)")


def names(text: str) -> list[str]:
    return next(csv.reader([text], skipinitialspace=True), [])


def delimiter(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one character (or 'tab')")
    return text
