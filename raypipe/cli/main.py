"""The command line `raypipe`: its commands, and how a mistake is told."""

import argparse
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial

from raypipe import __version__
from raypipe.cli.ablate import add_ablate
from raypipe.cli.datasets import add_datasets_parser
from raypipe.cli.demo import add_demo
from raypipe.cli.export import add_export
from raypipe.cli.options import add_config, add_debug, add_shard, require_config, shard_of
from raypipe.cli.pretrain import add_pretrain_parser
from raypipe.cli.report import add_report_parsers
from raypipe.cli.status import add_status_parser
from raypipe.cli.steps import add_plan, add_steps
from raypipe.cli.weights import add_weights_parser
from raypipe.credentials import HidingFormatter, print_traceback, print_traceback_of_thread, without_credentials
from raypipe.errors import EXIT_USER_ERROR, UserError

DESCRIPTION = """\
Find anomalies in video. Objects are described by how they move, how they look and what they do. A model of normal
behaviour is trained on the videos of the train split. Every frame of the test split gets an anomaly score.

A run is one YAML file. Everything it makes lies in its output folder. Any command can be killed and started again:
what is done stays done."""

EPILOG = """\
examples:
  raypipe demo
  raypipe run --example > mine.yaml
  raypipe run --config mine.yaml
  raypipe run --config mine.yaml --set score.model=knn
  raypipe status runs/mine
  raypipe report runs/mine
  raypipe evaluate --scores scores.npy --labels labels.npz --json results.json
  raypipe COMMAND --help

exit codes: 0 all is well, 1 it failed, 2 a mistake in the call or config, 3 done, but with dead letters
(segments or videos that could not be processed; <output>/dead says why)."""

# The commands by what they are for.
PURPOSES = {
    "begin": ("demo",),
    "do a run": ("run", "extract", "train", "score", "evaluate"),
    "look at a run": ("status", "report", "render"),
    "plan, compare and export": ("plan", "ablate", "export"),
    "get data and weights": ("datasets", "weights", "pretrain"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="raypipe",
        usage="raypipe [-h] [--version] COMMAND ...",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"raypipe {__version__}")
    # They are listed in the description, by purpose.
    commands = parser.add_subparsers(
        dest="command", required=True, prog="raypipe", metavar="COMMAND", help=argparse.SUPPRESS
    )
    add_demo(commands)
    add_steps(commands)
    add_status_parser(commands)
    add_report_parsers(commands)
    add_plan(commands)
    add_ablate(commands)
    add_export(commands)
    add_datasets_parser(commands)
    add_weights_parser(commands)
    add_pretrain_parser(commands)
    lines = {action.dest: str(action.help) for action in commands._choices_actions}
    parser.description = f"{DESCRIPTION}\n\n{_listed(lines)}"
    return parser


def _listed(lines: dict[str, str]) -> str:
    """Return the commands by purpose, each with its line."""
    shown = []
    for purpose, names in PURPOSES.items():
        shown += [f"{purpose}:", *(f"  {name:<10}{lines[name]}" for name in names)]
    return "\n".join(shown)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr and 2."""
    options = build_parser().parse_args(arguments)
    return _guarded(partial(_dispatch, options), is_debugging=options.debug)


def _dispatch(options: argparse.Namespace) -> int:
    code: int = options.work(options)
    return code


def run_script(
    description: str | None,
    work: "Callable[..., int]",
    arguments: Sequence[str] | None = None,
    *,
    with_shard: bool = False,
) -> int:
    """Do `work` with the run's config that the command line names: the frame of the scripts in `jobs`.

    They take `--config`, `--set` and `--debug`, and report mistakes, as the commands do. `with_shard`, `--shard` is
    the keyword `shard` of `work`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser)
    add_debug(parser)
    if with_shard:
        add_shard(parser)
    options = parser.parse_args(arguments)
    return _guarded(partial(_work, work, options), is_debugging=options.debug)


def _work(work: "Callable[..., int]", options: argparse.Namespace) -> int:
    from raypipe.config.run import load_config

    path = require_config(options, "the script")
    keywords = {"shard": shard_of(options)} if hasattr(options, "shard") else {}
    return work(load_config(path, options.overrides), **keywords)


def _guarded(work: Callable[[], int], *, is_debugging: bool) -> int:
    handler = logging.StreamHandler()
    handler.setFormatter(HidingFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if is_debugging else logging.WARNING, handlers=[handler])
    sys.excepthook = print_traceback
    threading.excepthook = print_traceback_of_thread
    try:
        return work()
    except UserError as error:
        if is_debugging:
            print_traceback(type(error), error, error.__traceback__)
        for line in without_credentials(str(error)).splitlines():
            print(f"raypipe: {line}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("raypipe: interrupted; start it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
