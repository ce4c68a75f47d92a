"""`raypipe report` and `raypipe render`: a run as a page to read, and one of its videos with what was found in it.

Nothing heavy is imported before a command runs, so `--help` is quick.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.api.config import config_of_run
from raypipe.cli.options import add_command, add_config, add_debug
from raypipe.errors import UserError
from raypipe.report.write import finding_lines, write_report

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig


REPORT_EXAMPLES = """
raypipe report runs/mine
raypipe report runs/mine --out report.html
raypipe report --config mine.yaml --set score.model=knn
"""
RENDER_EXAMPLES = """
raypipe render runs/mine --video test/01
raypipe render runs/mine --video test/01 --out 01.mp4
"""


def add_report_parsers(subparsers: Any) -> None:
    """Add `report` and `render` to the subparsers of an argparse parser."""
    text = "write a page of a run: figures, timelines, pictures of what was found"
    report = add_command(subparsers, "report", text, run_report, REPORT_EXAMPLES, "It is one HTML file.")
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write it (default: <output>/report/index.html)"
    )
    text = "write a video with its boxes, sentences and scores drawn in"
    render = add_command(subparsers, "render", text, run_report, RENDER_EXAMPLES, "It is coded as H.264.")
    render.add_argument("--video", required=True, metavar="ID", help="which video, as test/01")
    render.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write it (default: <output>/report/<video>.mp4)"
    )
    for parser in (report, render):
        text = "the output folder of a run, or variations/NAME below it; or give --config"
        parser.add_argument("run", nargs="?", metavar="RUN", help=text)
        add_config(parser)
        add_debug(parser)


def run_report(options: argparse.Namespace) -> int:
    """Run the command that `options` name and return its exit code. Raises UserError for a user's mistake."""
    config = _config(options)
    return _render(config, options.video, options.out) if options.command == "render" else _report(config, options.out)


def _config(options: argparse.Namespace) -> "RunConfig":
    from raypipe.config.run import load_config

    if bool(options.run) == bool(options.config):
        raise UserError(f"{options.command} needs either RUN, the output folder of a run, or --config FILE")
    if options.config:
        return load_config(options.config, options.overrides)
    if options.overrides:
        raise UserError("--set goes with --config; RUN is shown with the config that it was made with")
    return config_of_run(options.run)


def _report(config: "RunConfig", out: Path | None) -> int:
    from raypipe.text import counted

    report, where, size = write_report(config, out)
    pictured = sum(video.is_pictured for video in report.videos)
    lines = [f"report: {where} ({size}), {counted(len(report.videos), 'video')}, {pictured:,} with pictures"]
    if report.num_left_out:
        lines.append(f"left out: {counted(report.num_left_out, 'video')} with lower scores")
    lines += [f"note: {note}" for note in report.notes]
    print("\n".join([*lines, *finding_lines(report)]))
    return 0


def _render(config: "RunConfig", video_id: str, out: Path | None) -> int:
    from raypipe.report.render import render_video

    rendered = render_video(config, video_id, out)
    print(f"video: {rendered.path}, {rendered.num_frames:,} frames, {rendered.width}x{rendered.height}")
    for note in rendered.notes:
        print(f"note: {note}")
    return 0
