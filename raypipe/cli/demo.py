"""`raypipe demo`: all of raypipe on a world that it draws itself."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from raypipe.cli.options import add_command, add_debug
from raypipe.errors import UserError

EXAMPLES = """
raypipe demo
raypipe demo --out runs/another --seed 7
"""


def add_demo(commands: Any) -> None:
    """Add `demo` to the subparsers of an argparse parser."""
    text = "draw a small world and find what is abnormal in it: no data, weights or GPU needed"
    command = add_command(commands, "demo", text, _demo, EXAMPLES)
    folder = "where the clips and the run go; by default %(default)s"
    command.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help=folder)
    command.add_argument("--seed", type=int, default=0, help="of the world and of training (default: %(default)s)")
    add_debug(command)


def _demo(options: argparse.Namespace) -> int:
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed}: a seed lies between 0 and {2**32 - 1}")
    from raypipe.demo import run_demo

    return run_demo(options.out, options.seed, partial(print, flush=True))
