"""`raypipe ablate`: variations of a run, and a table of them."""

import argparse
from typing import Any

from raypipe.cli.options import add_command, add_config, add_debug, add_example, require_config, say

EXAMPLES = """
raypipe ablate --example > ablation.yaml
raypipe ablate --config ablation.yaml
raypipe ablate --config ablation.yaml --only neighbours
raypipe ablate --config ablation.yaml --base mine.yaml --set output=runs/other
"""
EXAMPLE = {
    "base": {"dataset": {"root": "videos"}, "output": "runs/ablation", "detector": {"kind": "sliding_window"}},
    "variations": [
        {"name": "reconstruction", "title": "distance to a reconstruction", "set": {"score.model": "rm"}},
        {"name": "neighbours", "title": "distance to the nearest neighbours", "set": {"score.model": "knn"}},
    ],
}


def add_ablate(commands: Any) -> None:
    """Add `ablate` to the subparsers of an argparse parser."""
    text = "do variations of a run over as few extractions as can be, and make a table of them"
    command = add_command(commands, "ablate", text, _ablate, EXAMPLES)
    add_config(command, "the ablation's YAML file: a base config and its variations")
    add_example(command)
    command.add_argument("--base", metavar="FILE", help="a run's YAML file, in place of the file's own base")
    command.add_argument("--only", metavar="NAMES", type=_names, help="variations to do, with commas between them")
    add_debug(command)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _ablate(options: argparse.Namespace) -> int:
    if options.example:
        from raypipe.ablation.plan import Ablation
        from raypipe.cli.example import example_yaml

        print(f"# raypipe ablate --config FILE\n{example_yaml(Ablation, EXAMPLE)}", end="")
        return 0
    path = require_config(options, "ablate")
    from raypipe.ablation.run import ablate

    return ablate(path, options.overrides, say, base=options.base, only=options.only)
