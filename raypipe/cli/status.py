"""`raypipe status`: how a run stands, from its folder alone."""

import argparse
import json
from typing import Any

from raypipe.api.config import config_of_run
from raypipe.cli.options import add_command, add_debug
from raypipe.errors import UserError

EXAMPLES = """
raypipe status runs/mine
raypipe status s3://bucket/runs/mine --json
"""


def add_status_parser(subparsers: Any) -> None:
    """Add `status` to the subparsers of an argparse parser."""
    text = "tell how a run stands: segments done, left and dead, rate, time left, and its drivers"
    more = "The run may be going on or not; its folder is all that is read."
    parser = add_command(subparsers, "status", text, run_status, EXAMPLES, more)
    parser.add_argument("run", metavar="RUN", help="the output folder of a run, a path or URI")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_debug(parser)


def run_status(options: argparse.Namespace) -> int:
    """Print how a run stands. Raises UserError where there is none."""
    from raypipe.config.file import absolute
    from raypipe.extraction.status import status_document, status_lines, status_of
    from raypipe.monitoring.drivers import read_drivers
    from raypipe.run_folder.folder import RunFolder

    folder = RunFolder(absolute(options.run))
    # A first driver that is still looking at the videos has not written run.json yet.
    is_claimed = folder.read_json("run.json") is not None
    if not is_claimed and not read_drivers(folder):
        raise UserError(f"{options.run} is not the output folder of a run: it has no run.json")
    config = config_of_run(options.run) if is_claimed else None
    status = status_of(folder, config)
    if options.json:
        print(json.dumps(status_document(status), indent=1, ensure_ascii=False))
    else:
        print("\n".join(status_lines(status)))
    return 0
