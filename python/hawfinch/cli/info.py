"""``hawfinch info``: what this installation runs on."""

from __future__ import annotations

import argparse

import hawfinch as hf

from .options import Commands, command


def add(commands: Commands) -> None:
    command(commands, "info", run, "Show versions, instruction set, threads and CUDA.")


def run(_: argparse.Namespace) -> None:
    print(hf.show_config())
