"""The command line: `raypipe run | extract | train | score | plan | evaluate | demo | weights`."""

import argparse
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from raypipe import __version__
from raypipe.errors import UserError
from raypipe.weights_cli import add_weights_parser, run_weights

if TYPE_CHECKING:
    from raypipe.config import RunConfig

Config = TypeVar("Config")

EXIT_DEAD_LETTERS = 3

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

exit codes: 0 all is well, 1 it failed, 2 a mistake in the call or config, 3 done, but with dead letters
(segments or videos that could not be processed; <output>/dead says why)."""

COMMANDS = {
    "run": "all steps: extract, train, score, evaluate",
    "extract": "compute the features of all videos that lack them",
    "train": "train the model of normal behaviour on the train split",
    "score": "score every frame of the test split",
    "plan": "tell how long `extract` will take on a cluster, with which actors, and what limits it",
    "evaluate": "compare scores with labels: a run's, or those of any method (--scores and --labels)",
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
        if name == "evaluate":
            command.add_argument("--scores", type=Path, metavar="FILE", help="frame scores: .npy or .npz")
            command.add_argument("--labels", type=Path, metavar="FILE", help=".npz: labels, video_names, num_frames")
        if name == "plan":
            command.add_argument("--cluster", metavar="SPEC", help="as 8xH100,128cpu; by default what there is")
            times = "results.json or timings.json of a run; by default some segments are measured"
            command.add_argument("--timings", type=Path, metavar="FILE", help=times)
            command.add_argument("--cost-per-hour", type=float, metavar="PRICE", help="of the whole cluster")
        if name in ("plan", "evaluate"):
            command.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
        _add_debug(command)
    text = "draw clips and do a whole run on them: no data, weights or GPU needed"
    demo = commands.add_parser("demo", help=text, description=text[0].upper() + text[1:] + ".")
    folder = "where the clips and the run go; by default %(default)s"
    demo.add_argument("--output", type=Path, default=Path("runs/demo"), metavar="DIR", help=folder)
    demo.add_argument("--seed", type=int, default=0, help="of the clips and of training; clips once drawn are kept")
    _add_debug(demo)
    for command in add_weights_parser(commands):
        _add_debug(command)
    return parser


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


def _add_debug(command: argparse.ArgumentParser) -> None:
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr and 2."""
    options = build_parser().parse_args(arguments)
    return _guarded(partial(_dispatch, options), is_debugging=options.debug)


def run_script(
    description: str | None,
    work: "Callable[[Config], int]",
    arguments: Sequence[str] | None = None,
    *,
    load: "Callable[[str, Sequence[str]], Config] | None" = None,
) -> int:
    """Do `work` with the config that the command line names: the frame of the scripts in `jobs`.

    They take `--config`, `--set` and `--debug`, and report mistakes, as the commands do. `load` makes the config of
    the file and its overrides; without it, it is a run's.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_config(parser)
    _add_debug(parser)
    options = parser.parse_args(arguments)
    return _guarded(partial(_work_with_config, work, options, load), is_debugging=options.debug)


def do_step(name: str, config: "RunConfig", *, retry_dead: bool = False) -> int:
    """Do a step of a run, or all with "run", print its outcome and return the exit code: 0, or 3 with dead letters."""
    from raypipe.workflow import run_step

    return EXIT_DEAD_LETTERS if run_step(name, config, print, retry_dead=retry_dead) else 0


def _guarded(work: Callable[[], int], *, is_debugging: bool) -> int:
    logging.basicConfig(level=logging.INFO if is_debugging else logging.WARNING, format="%(name)s: %(message)s")
    try:
        return work()
    except UserError as error:
        if is_debugging:
            traceback.print_exc()
        for line in str(error).splitlines():
            print(f"raypipe: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("raypipe: interrupted; start it again to go on", file=sys.stderr)
        return 130


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "demo":
        return _demo(options)
    if options.command == "weights":
        return run_weights(options)
    if options.command == "evaluate" and (options.scores or options.labels):
        return _evaluate_files(options)
    if options.command == "plan":
        return _work_with_config(partial(_plan, options), options)
    retry_dead = getattr(options, "retry_dead", False)
    return _work_with_config(partial(do_step, options.command, retry_dead=retry_dead), options)


def _work_with_config(
    work: "Callable[[Any], int]",
    options: argparse.Namespace,
    load: "Callable[[str, Sequence[str]], Any] | None" = None,
) -> int:
    if not options.config:
        command = getattr(options, "command", "the script")
        wanted = "--config FILE" + (", or --scores FILE --labels FILE" if command == "evaluate" else "")
        raise UserError(f"{command} needs {wanted}")
    if getattr(options, "json", None) and getattr(options, "command", None) == "evaluate":
        raise UserError("--json goes with --scores and --labels; a run's figures are in <output>/results.json")
    from raypipe.config import load_config

    return work((load or load_config)(options.config, options.overrides))


def _plan(options: argparse.Namespace, config: "RunConfig") -> int:
    from raypipe.evaluate import write_json
    from raypipe.plan import plan_step

    document = plan_step(
        config, print, cluster=options.cluster, timings=options.timings, cost_per_hour=options.cost_per_hour
    )
    write_json(document, options.json)
    return 0


def _evaluate_files(options: argparse.Namespace) -> int:
    if options.config or options.overrides or not (options.scores and options.labels):
        raise UserError("evaluate takes --config (and --set), or both --scores and --labels")
    from raypipe.evaluate import EvaluateConfig, evaluate_files, metric_table, results_document, write_json
    from raypipe.versions import versions

    evaluation = evaluate_files(options.scores, options.labels, EvaluateConfig(), seed=0)
    print(metric_table(evaluation))
    write_json(results_document(evaluation, versions=versions()), options.json)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from raypipe.config import parse_config
    from raypipe.demo import demo_config, write_demo

    root = options.output / "data"
    config = parse_config(demo_config(root, options.output / "run") | {"seed": options.seed}, "demo")
    print(f"drawing clips of walkers, runners and people going the wrong way in {root}", flush=True)
    write_demo(root, options.seed)
    return do_step("run", config)


if __name__ == "__main__":
    sys.exit(main())
