"""`raypipe export`: features as others read them."""

import argparse
from typing import Any

from raypipe.cli.options import add_command, add_config, add_debug, require_config

EXAMPLES = """
raypipe export --config mine.yaml --out snippets
raypipe export --config mine.yaml --out snippets --snippet 32 --split train
"""


def add_export(commands: Any) -> None:
    """Add `export` to the subparsers of an argparse parser."""
    text = "write features as .npy snippets and lists, for trainers of weakly supervised methods"
    command = add_command(commands, "export", text, _export, EXAMPLES)
    add_config(command)
    command.add_argument("--out", metavar="DIR", required=True, help="where they go")
    text = "frames of a snippet (default: %(default)s)"
    command.add_argument("--snippet", type=int, default=16, metavar="N", help=text)
    text = "which videos (default: %(default)s)"
    command.add_argument("--split", choices=("train", "test", "all"), default="all", help=text)
    add_debug(command)


def _export(options: argparse.Namespace) -> int:
    from raypipe.config.run import load_config
    from raypipe.export import export

    config = load_config(require_config(options, "export"), options.overrides)
    for line in export(config, options.out, snippet_frames=options.snippet, split=options.split):
        print(line)
    return 0
