"""`raypipe datasets check`: is a copy of a public data set complete, readable and labelled as it should be.

Nothing heavy is imported before the command runs, so `--help` is quick.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from raypipe.cli.options import add_command, add_debug, add_group
from raypipe.datasets.specs import DATASET_NAMES

EXIT_FINDINGS = 3


def add_datasets_parser(subparsers: Any) -> None:
    """Add `datasets check` to the subparsers of an argparse parser."""
    first = "raypipe datasets check ped2 data/ped2"
    commands = add_group(subparsers, "datasets", "check a copy of a public data set", first, "datasets_command")
    check = add_command(
        commands,
        "check",
        "compare a copy with the official counts, open its videos, compare labels and frames",
        run_datasets,
        f"""
        {first}
        raypipe datasets check shanghaitech data/shanghaitech --no-probe --json report.json
        """,
        "It finds missing, extra, unreadable and duplicate videos, before a long run does. "
        "Exit code 0: nothing is wrong, 3: something is.",
    )
    check.add_argument("name", choices=DATASET_NAMES, metavar="NAME", help=", ".join(DATASET_NAMES))
    check.add_argument("root", metavar="ROOT", help="folder that holds the data set, a path or an fsspec URI")
    check.add_argument(
        "--no-probe", action="store_true", help="do not open the videos, which takes long from slow disks"
    )
    check.add_argument("--json", type=Path, metavar="OUT", help="write the report there, too, with all names")
    add_debug(check)


def run_datasets(options: argparse.Namespace) -> int:
    """Run the command that the options name and return its exit code. Raises UserError for a user's mistake."""
    from raypipe.datasets.check import check_dataset, report_lines
    from raypipe.run_folder.store import write_json

    report = check_dataset(options.name, options.root, is_probed=not options.no_probe)
    sys.stdout.write("\n".join(report_lines(report)) + "\n")
    write_json(report.document(), options.json)
    return EXIT_FINDINGS if report.findings else 0
