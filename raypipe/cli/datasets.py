"""`raypipe datasets check`: is a copy of a public data set complete, readable and labelled as it should be.

Nothing heavy is imported before the command runs, so `--help` is quick.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from raypipe.datasets.specs import DATASET_NAMES

EXIT_FINDINGS = 3


def add_datasets_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `datasets check` to the subparsers of an argparse parser, and return its parser."""
    datasets = subparsers.add_parser(
        "datasets", help="check a copy of a public data set", description="Public data sets; see docs/datasets.md."
    )
    commands = datasets.add_subparsers(dest="datasets_command", required=True, metavar="COMMAND")
    check: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="compare a copy with the official counts, open its videos, compare labels and frames",
        description="Check a copy before a long run: missing, extra, unreadable and duplicate videos, counts against "
        "the official ones, labels against frames. Exit code 0: nothing is wrong, 3: something is.",
    )
    check.add_argument("name", choices=DATASET_NAMES, metavar="NAME", help=", ".join(DATASET_NAMES))
    check.add_argument("root", metavar="ROOT", help="folder that holds the data set, a path or an fsspec URI")
    check.add_argument(
        "--no-probe", action="store_true", help="do not open the videos, which takes long from slow disks"
    )
    check.add_argument("--json", type=Path, metavar="OUT", help="write the report there, too, with all names")
    return check


def run_datasets(options: argparse.Namespace) -> int:
    """Run the command that the options name and return its exit code. Raises UserError for a user's mistake."""
    from raypipe.datasets.check import check_dataset, report_lines
    from raypipe.run_folder.store import write_json

    report = check_dataset(options.name, options.root, is_probed=not options.no_probe)
    sys.stdout.write("\n".join(report_lines(report)) + "\n")
    write_json(report.document(), options.json)
    return EXIT_FINDINGS if report.findings else 0
