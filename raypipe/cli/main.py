"""The command line `raypipe`: its commands, their options, and how a mistake is told."""

import argparse
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from raypipe import __version__
from raypipe.cli.datasets import add_datasets_parser, run_datasets
from raypipe.cli.evaluate import add_evaluate_options, evaluate_scores, is_of_scores
from raypipe.cli.report import add_report_parsers, run_report
from raypipe.cli.status import add_status_parser, run_status
from raypipe.cli.weights import add_weights_parser, run_weights
from raypipe.credentials import HidingFormatter, print_traceback, print_traceback_of_thread, without_credentials
from raypipe.errors import EXIT_DEAD_LETTERS, EXIT_USER_ERROR, UserError
from raypipe.ops.shards import WHOLE, Shard, parse_shard

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig

Config = TypeVar("Config")


DESCRIPTION = """\
Find anomalies in video: objects are described by how they move, how they look and what they do, a model of
normal behaviour is trained on the videos of the train split, and every frame of the test split gets an
anomaly score.

A run is one YAML file; everything it makes lies in its output folder, and any command can be killed and
started again: what is done stays done."""

EPILOG = """\
examples:
  raypipe demo
  raypipe run --config jobs/ped2_motion.yaml
  raypipe run --config jobs/ped2_motion.yaml --set score.model=knn
  raypipe evaluate --scores scores.npy --labels labels.npz --json results.json
  raypipe evaluate --scores scores.csv --dataset folder --root data --out figures
  raypipe extract --config mine.yaml --shard 2/8
  raypipe status runs/demo/run
  raypipe report runs/demo/run
  raypipe render runs/demo/run --video test/001_running

exit codes: 0 all is well, 1 it failed, 2 a mistake in the call or config, 3 done, but with dead letters
(segments or videos that could not be processed; <output>/dead says why)."""

COMMANDS = {
    "run": "all steps: extract, train, score, evaluate",
    "extract": "compute the features of all videos that lack them",
    "train": "train the model of normal behaviour on the train split",
    "score": "score every frame of the test split",
    "plan": "tell how long `extract` will take on a cluster, with which actors, and what limits it",
    "evaluate": "compare scores with labels: a run's, or those of any method (--scores)",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="raypipe", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"raypipe {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        _add_config(command)
        if name in ("run", "extract"):
            command.add_argument("--retry-dead", action="store_true", help="try segments again that failed before")
            _add_shard(command)
        if name == "evaluate":
            add_evaluate_options(command)
        if name == "plan":
            command.add_argument("--cluster", metavar="SPEC", help="as 8xH100,128cpu; by default what there is")
            times = "results.json or timings.json of a run; by default some segments are measured"
            command.add_argument("--timings", type=Path, metavar="FILE", help=times)
            command.add_argument("--cost-per-hour", type=float, metavar="PRICE", help="of the whole cluster")
            command.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
        _add_debug(command)
    _add_ablate(commands)
    _add_export(commands)
    text = "draw a small world and find what is abnormal in it: no data, weights or GPU needed"
    demo = commands.add_parser("demo", help=text, description=text[0].upper() + text[1:] + ".")
    folder = "where the clips and the run go; by default %(default)s"
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help=folder)
    demo.add_argument("--seed", type=int, default=0, help="of the world and of training (default: %(default)s)")
    _add_debug(demo)
    for command in add_report_parsers(commands):
        _add_config(command)
        _add_debug(command)
    for command in (*add_weights_parser(commands), add_datasets_parser(commands), add_status_parser(commands)):
        _add_debug(command)
    return parser


def _add_ablate(commands: Any) -> None:
    text = "variations of a run over as few extractions as can be, and a table of them all"
    command = commands.add_parser("ablate", help=text, description=text[0].upper() + text[1:] + ".")
    _add_config(command)
    command.add_argument("--base", metavar="FILE", help="a run's YAML file, in place of the file's own base")
    command.add_argument("--only", metavar="NAMES", type=_names, help="variations to do, with commas between them")
    _add_debug(command)


def _add_export(commands: Any) -> None:
    text = "features as .npy snippets and lists, for trainers of weakly supervised methods"
    command = commands.add_parser("export", help=text, description=text[0].upper() + text[1:] + ".")
    _add_config(command)
    command.add_argument("--out", metavar="DIR", required=True, help="where they go")
    command.add_argument("--snippet", type=int, default=16, metavar="N", help="frames a snippet (default: %(default)s)")
    command.add_argument("--split", choices=("train", "test", "all"), default="all", help="(default: %(default)s)")
    _add_debug(command)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _ablate(options: argparse.Namespace) -> int:
    if not options.config:
        raise UserError("ablate needs --config FILE, as jobs/ablations/table3.yaml")
    from raypipe.ablation.run import ablate

    return ablate(options.config, options.overrides, _say, base=options.base, only=options.only)


def _export(options: argparse.Namespace, config: "RunConfig") -> int:
    from raypipe.export import export

    for line in export(config, options.out, snippet_frames=options.snippet, split=options.split):
        print(line)
    return 0


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="FILE", help="the run's YAML file")
    command.add_argument(
        "--set",
        dest="overrides",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="override a value of the config, as in score.model=knn; may be repeated",
    )


def _add_shard(command: argparse.ArgumentParser) -> None:
    text = "extract only this share of all segments, as 2/8: for several drivers over one output"
    command.add_argument("--shard", metavar="I/N", default=str(WHOLE), help=text)


def _shard(text: str) -> Shard:
    try:
        return parse_shard(text)
    except ValueError as error:
        raise UserError(f"--shard: {error}") from error


def _work_on_shard(work: "Callable[..., int]", text: str, config: Any) -> int:
    return work(config, shard=_shard(text))


def _add_debug(command: argparse.ArgumentParser) -> None:
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr and 2."""
    options = build_parser().parse_args(arguments)
    return _guarded(partial(_dispatch, options), is_debugging=options.debug)


def run_script(
    description: str | None,
    work: "Callable[..., int]",
    arguments: Sequence[str] | None = None,
    *,
    load: "Callable[[str, Sequence[str]], Config] | None" = None,
    with_shard: bool = False,
) -> int:
    """Do `work` with the config that the command line names: the frame of the scripts in `jobs`.

    They take `--config`, `--set` and `--debug`, and report mistakes, as the commands do. `load` makes the config of
    the file and its overrides; without it, it is a run's. `with_shard`, `--shard` is the keyword `shard` of `work`.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_config(parser)
    _add_debug(parser)
    if with_shard:
        _add_shard(parser)
    options = parser.parse_args(arguments)
    if with_shard:
        work = partial(_work_on_shard, work, options.shard)
    return _guarded(partial(_work_with_config, work, options, load), is_debugging=options.debug)


def do_step(name: str, config: "RunConfig", *, retry_dead: bool = False, shard: Shard = WHOLE) -> int:
    """Do a step of a run, or all with "run", print its outcome and return the exit code: 0, or 3 with dead letters."""
    from raypipe.workflow import run_step

    return EXIT_DEAD_LETTERS if run_step(name, config, _say, retry_dead=retry_dead, shard=shard) else 0


def _say(line: str) -> None:
    print(without_credentials(line))


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


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "demo":
        return _demo(options)
    if options.command == "weights":
        return run_weights(options)
    if options.command == "datasets":
        return run_datasets(options)
    if options.command == "status":
        return run_status(options)
    if options.command in ("report", "render"):
        return run_report(options)
    if options.command == "ablate":
        return _ablate(options)
    if options.command == "export":
        return _work_with_config(partial(_export, options), options)
    if options.command == "evaluate" and is_of_scores(options):
        return evaluate_scores(options)
    if options.command == "plan":
        return _work_with_config(partial(_plan, options), options)
    step = partial(do_step, options.command)
    if hasattr(options, "shard"):
        step = partial(_work_on_shard, partial(step, retry_dead=options.retry_dead), options.shard)
    return _work_with_config(step, options)


def _work_with_config(
    work: "Callable[[Any], int]",
    options: argparse.Namespace,
    load: "Callable[[str, Sequence[str]], Any] | None" = None,
) -> int:
    if not options.config:
        command = getattr(options, "command", "the script")
        raise UserError(f"{command} needs --config FILE" + (", or --scores FILE" if command == "evaluate" else ""))
    from raypipe.config.run import load_config

    return work((load or load_config)(options.config, options.overrides))


def _plan(options: argparse.Namespace, config: "RunConfig") -> int:
    from raypipe.extraction.capacity_plan import plan_step
    from raypipe.run_folder.store import write_json

    document = plan_step(
        config, _say, cluster=options.cluster, timings=options.timings, cost_per_hour=options.cost_per_hour
    )
    write_json(document, options.json)
    return 0


def _demo(options: argparse.Namespace) -> int:
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed {options.seed}: a seed lies between 0 and {2**32 - 1}")
    from raypipe.demo import run_demo

    return run_demo(options.out, options.seed, partial(print, flush=True))


if __name__ == "__main__":
    sys.exit(main())
