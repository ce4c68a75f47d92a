"""`raypipe report` and `raypipe render`: a run as a page to read, and one of its videos with what was found in it.

Nothing heavy is imported before a command runs, so `--help` is quick.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.errors import UserError

if TYPE_CHECKING:
    from raypipe.config import RunConfig
    from raypipe.report import Report

REPORT_PATH = "report/index.html"


def add_report_parsers(subparsers: Any) -> list[argparse.ArgumentParser]:
    """Add `report` and `render` to the subparsers of an argparse parser, and return the two."""
    text = "write a page of a run: figures, timelines, pictures of what was found"
    report = subparsers.add_parser(
        "report", help=text, description=f"{text[0].upper()}{text[1:]}. It is one HTML file."
    )
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write it (default: <output>/report/index.html)"
    )
    text = "write a video with its boxes, sentences and scores drawn in"
    render = subparsers.add_parser("render", help=text, description=f"{text[0].upper()}{text[1:]}, as H.264.")
    render.add_argument("--video", required=True, metavar="ID", help="which video, as test/01")
    render.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write it (default: <output>/report/<video>.mp4)"
    )
    for parser in (report, render):
        text = "the output folder of a run, or variations/NAME below it; or give --config"
        parser.add_argument("run", nargs="?", metavar="RUN", help=text)
    return [report, render]


def run_report(options: argparse.Namespace) -> int:
    """Run the command that `options` name and return its exit code. Raises UserError for a user's mistake."""
    config = _config(options)
    return _render(config, options.video, options.out) if options.command == "render" else _report(config, options.out)


def _config(options: argparse.Namespace) -> "RunConfig":
    from raypipe.config import load_config

    if bool(options.run) == bool(options.config):
        raise UserError(f"{options.command} needs either RUN, the output folder of a run, or --config FILE")
    if options.config:
        return load_config(options.config, options.overrides)
    if options.overrides:
        raise UserError("--set goes with --config; RUN is shown with the config that it was made with")
    return config_of_run(options.run)


def config_of_run(run: str) -> "RunConfig":
    """Return the config that an output folder was made with. Raises UserError where there is none."""
    from raypipe.config import parse_config
    from raypipe.config_file import absolute
    from raypipe.storage import RunFolder

    folder = RunFolder(absolute(run))
    document = folder.read_json("run.json")
    if document is None:
        root, variations, name = folder.root.rstrip("/").rpartition("/variations/")
        # What a variation was done with stands with its results; of the folder, run.json only knows the features.
        results = folder.read_json("results.json") if variations else None
        if results is not None and isinstance(results.get("config"), dict):
            config = results["config"] | {"output": root, "variation": name}
            return parse_config(config, f"{run}/results.json")
    if document is None or not isinstance(document.get("config"), dict):
        raise UserError(
            f"{run} is not the output folder of a run: it has no run.json with a config. Of a variation that "
            "was not evaluated, give its --config"
        )
    # The folder may have been moved since, and run.json have been written by a variation's step.
    own = {"output": folder.root, "variation": None}
    return parse_config(document["config"] | own, f"{run}/run.json")


def write_report(config: "RunConfig", out: Path | None = None) -> "tuple[Report, str, str]":
    """Write the report of a run; return what it says, where it is and its size in words."""
    from raypipe.report import gather
    from raypipe.report_page import render_page
    from raypipe.storage import RunFolder, write_file

    report = gather(config)
    # A name may hold what is no text, if a disk was read that knows nothing of UTF-8.
    content = render_page(report).encode("utf-8", "replace")
    folder = RunFolder(config.output, config.variation)
    where = str(out or folder.path(folder.product(REPORT_PATH)))
    if out is None:
        folder.commit(where, content)
    else:
        write_file(out, content)
    return report, where, f"{len(content) / 1e6:.1f} MB"


def finding_lines(report: "Report") -> list[str]:
    """Return the strongest findings as lines of text, none where there are none."""
    lines = [f"  {rank}. {finding.line()}" for rank, (finding, _) in enumerate(report.findings, start=1)]
    return ["strongest findings:", *lines] if lines else []


def _report(config: "RunConfig", out: Path | None) -> int:
    from raypipe.charts import counted

    report, where, size = write_report(config, out)
    pictured = sum(video.is_pictured for video in report.videos)
    lines = [f"report: {where} ({size}), {counted(len(report.videos), 'video')}, {pictured:,} with pictures"]
    if report.num_left_out:
        lines.append(f"left out: {counted(report.num_left_out, 'video')} with lower scores")
    lines += [f"note: {note}" for note in report.notes]
    print("\n".join([*lines, *finding_lines(report)]))
    return 0


def _render(config: "RunConfig", video_id: str, out: Path | None) -> int:
    from raypipe.render import render_video

    rendered = render_video(config, video_id, out)
    print(f"video: {rendered.path}, {rendered.num_frames:,} frames, {rendered.width}x{rendered.height}")
    for note in rendered.notes:
        print(f"note: {note}")
    return 0
