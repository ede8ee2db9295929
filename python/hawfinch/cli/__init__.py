"""The ``hawfinch`` command: demo, train, predict, info; one file each, with ``add`` (its options) and ``run``.

Design: every mistake that a user can make ends as one line on stderr and exit status 2. Rejected: click or typer (a
dependency for four subcommands).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import hawfinch as hf

from ..errors import HawfinchError
from . import demo, info, predict, train
from .options import Parser

COMMANDS = (demo, train, predict, info)


def _parser() -> Parser:
    parser = Parser(prog="hawfinch", description="Trains and runs small neural nets.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"hawfinch {hf.__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for each in COMMANDS:
        each.add(commands)
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
