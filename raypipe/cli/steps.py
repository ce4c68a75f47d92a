"""`raypipe run` and its steps: extract, train, score, evaluate; and `plan`, which tells how long they take.

Nothing heavy is imported before a command runs, so `--help` is quick.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.cli.evaluate import add_evaluate_options, evaluate_scores, is_of_scores
from raypipe.cli.options import (
    add_command,
    add_config,
    add_debug,
    add_example,
    add_shard,
    require_config,
    say,
    shard_of,
)
from raypipe.errors import EXIT_DEAD_LETTERS
from raypipe.ops.shards import WHOLE, Shard

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig

# Each command with its line and its examples.
STEPS = {
    "run": (
        "do all steps: extract, train, score, evaluate",
        """
        raypipe run --example > mine.yaml
        raypipe run --config mine.yaml
        raypipe run --config mine.yaml --set score.model=knn
        raypipe run --config mine.yaml --retry-dead
        """,
    ),
    "extract": (
        "compute the features of all videos that lack them",
        """
        raypipe extract --config mine.yaml
        raypipe extract --config mine.yaml --shard 2/8
        """,
    ),
    "train": (
        "train the model of normal behaviour on the train split",
        """
        raypipe train --config mine.yaml
        raypipe train --config mine.yaml --set train.epochs=20
        """,
    ),
    "score": (
        "score every frame of the test split",
        """
        raypipe score --config mine.yaml
        raypipe score --config mine.yaml --set score.smoothing_seconds=0.5
        """,
    ),
    "evaluate": (
        "compare scores with labels: a run's, or those of any method (--scores)",
        """
        raypipe evaluate --config mine.yaml
        raypipe evaluate --scores scores.npy --labels labels.npz --json results.json
        raypipe evaluate --scores scores.csv --dataset folder --root data --out figures
        """,
    ),
}
PLAN_EXAMPLES = """
raypipe plan --config mine.yaml
raypipe plan --config mine.yaml --cluster 8xH100,128cpu --cost-per-hour 98
raypipe plan --config mine.yaml --cluster 4xL40S,64cpu --timings runs/mine/results.json
"""


def add_steps(commands: Any) -> None:
    """Add the steps of a run to the subparsers of an argparse parser."""
    for name, (text, examples) in STEPS.items():
        command = add_command(commands, name, text, partial(_do, name), examples)
        add_config(command)
        if name == "run":
            add_example(command)
        if name in ("run", "extract"):
            command.add_argument("--retry-dead", action="store_true", help="try segments again that failed before")
            add_shard(command)
        if name == "evaluate":
            add_evaluate_options(command)
        add_debug(command)


def add_plan(commands: Any) -> None:
    """Add `plan` to the subparsers of an argparse parser."""
    text = "tell how long `extract` will take on a cluster, with which actors, and what limits it"
    command = add_command(commands, "plan", text, _plan, PLAN_EXAMPLES)
    add_config(command)
    command.add_argument("--cluster", metavar="SPEC", help="as 8xH100,128cpu; by default what there is")
    times = "results.json or timings.json of a run; by default some segments are measured"
    command.add_argument("--timings", type=Path, metavar="FILE", help=times)
    command.add_argument("--cost-per-hour", type=float, metavar="PRICE", help="price of the whole cluster")
    command.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    add_debug(command)


def do_step(name: str, config: "RunConfig", *, retry_dead: bool = False, shard: Shard = WHOLE) -> int:
    """Do a step of a run, or all with "run", print its outcome and return the exit code: 0, or 3 with dead letters."""
    from raypipe.workflow import run_step

    return EXIT_DEAD_LETTERS if run_step(name, config, say, retry_dead=retry_dead, shard=shard) else 0


def _do(name: str, options: argparse.Namespace) -> int:
    if name == "run" and options.example:
        return _print_example()
    if name == "evaluate" and is_of_scores(options):
        return evaluate_scores(options)
    from raypipe.config.run import load_config

    path = require_config(options, name, ", or --scores FILE" if name == "evaluate" else "")
    # Its own words for a wrong shard come before those for a wrong config.
    shard = shard_of(options) if hasattr(options, "shard") else WHOLE
    retry_dead = getattr(options, "retry_dead", False)
    return do_step(name, load_config(path, options.overrides), retry_dead=retry_dead, shard=shard)


def _print_example() -> int:
    from raypipe.cli.example import example_yaml
    from raypipe.config.run import RunConfig

    print(
        "# raypipe run --config FILE\n# The root holds the videos in two folders, train (all of them normal) and test."
    )
    values = {"dataset": {"root": "videos"}, "output": "runs/mine", "detector": {"kind": "sliding_window"}}
    print(example_yaml(RunConfig, values), end="")
    return 0


def _plan(options: argparse.Namespace) -> int:
    from raypipe.config.run import load_config
    from raypipe.extraction.capacity_plan import plan_step
    from raypipe.run_folder.store import write_json

    config = load_config(require_config(options, "plan"), options.overrides)
    document = plan_step(
        config, say, cluster=options.cluster, timings=options.timings, cost_per_hour=options.cost_per_hour
    )
    write_json(document, options.json)
    return 0
