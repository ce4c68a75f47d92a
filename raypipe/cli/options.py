"""How a command is added with its examples, the options that commands share, and how they speak."""

import argparse
from collections.abc import Callable
from typing import Any

from raypipe.credentials import without_credentials
from raypipe.errors import UserError
from raypipe.ops.shards import WHOLE, Shard, parse_shard

EXAMPLES = "examples:\n"


class HelpFormatter(argparse.HelpFormatter):
    """Argparse's own formatter, which leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith(EXAMPLES) else super()._fill_text(text, width, indent)


def add_command(
    commands: Any, name: str, text: str, work: Callable[[argparse.Namespace], int], examples: str, more: str = ""
) -> argparse.ArgumentParser:
    """Add a command that does `work`, and return its parser.

    `text` is its line in the list of commands and, as a sentence, begins its help, followed by `more`. `examples` are
    real calls, one on each line.
    """
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. {more}".strip(),
        epilog=epilog_of(examples),
        formatter_class=HelpFormatter,
    )
    command.set_defaults(work=work)
    return command


def add_group(commands: Any, name: str, text: str, examples: str, dest: str) -> Any:
    """Add a command that only holds others, and return what they are added to."""
    group = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog_of(examples),
        formatter_class=HelpFormatter,
    )
    return group.add_subparsers(dest=dest, required=True, metavar="COMMAND")


def epilog_of(examples: str) -> str:
    """Return examples as the end of a help text."""
    return EXAMPLES + "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())


def add_config(command: argparse.ArgumentParser, text: str = "the run's YAML file") -> None:
    """Add `--config` and `--set`."""
    command.add_argument("--config", metavar="FILE", help=text)
    command.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a value of the config, as in score.model=knn; may be repeated",
    )


def add_example(command: argparse.ArgumentParser) -> None:
    """Add `--example`."""
    command.add_argument("--example", action="store_true", help="print an example of the YAML file, with every key")


def add_shard(command: argparse.ArgumentParser) -> None:
    """Add `--shard`."""
    text = "extract only this share of all segments, as 2/8: for several drivers over one output"
    command.add_argument("--shard", metavar="I/N", default=str(WHOLE), help=text)


def shard_of(options: argparse.Namespace) -> Shard:
    """Return the share that `--shard` names. Raises UserError where it is none."""
    try:
        return parse_shard(options.shard)
    except ValueError as error:
        raise UserError(f"--shard: {error}") from error


def add_debug(command: argparse.ArgumentParser) -> None:
    """Add `--debug`."""
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def require_config(options: argparse.Namespace, command: str, otherwise: str = "") -> str:
    """Return the file of `--config`. Raises UserError without one."""
    if not options.config:
        example = f"; `raypipe {command} --example` prints one" if hasattr(options, "example") else ""
        raise UserError(f"{command} needs --config FILE{otherwise}{example}")
    return str(options.config)


def say(line: str) -> None:
    """Print a line, without the passwords in it."""
    print(without_credentials(line))
