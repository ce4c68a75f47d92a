"""`raypipe report` and `raypipe render`: a run as a page to read, and one of its videos with what was found in it.

Nothing heavy is imported before a command runs, so `--help` is quick.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.errors import UserError

if TYPE_CHECKING:
    from raypipe.config import RunConfig

REPORT_PATH = ("report", "index.html")


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
        parser.add_argument("run", nargs="?", metavar="RUN", help="the output folder of a run; or give --config")
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
    if document is None or not isinstance(document.get("config"), dict):
        raise UserError(f"{run} is not the output folder of a run: it has no run.json with a config")
    # The folder may have been moved since.
    return parse_config(document["config"] | {"output": folder.root}, f"{run}/run.json")


def _report(config: "RunConfig", out: Path | None) -> int:
    from raypipe.charts import counted
    from raypipe.report import gather
    from raypipe.report_page import render_page
    from raypipe.storage import RunFolder, write_file

    report = gather(config)
    # A name may hold what is no text, if a disk was read that knows nothing of UTF-8.
    content = render_page(report).encode("utf-8", "replace")
    folder = RunFolder(config.output)
    if out is None:
        folder.commit(folder.path(*REPORT_PATH), content)
    else:
        write_file(out, content)
    where = folder.path(*REPORT_PATH) if out is None else out
    pictured = sum(video.is_pictured for video in report.videos)
    size = f"{len(content) / 1e6:.1f} MB"
    lines = [f"report: {where} ({size}), {counted(len(report.videos), 'video')}, {pictured:,} with pictures"]
    if report.num_left_out:
        lines.append(f"left out: {counted(report.num_left_out, 'video')} with lower scores")
    lines += [f"note: {note}" for note in report.notes]
    if report.findings:
        lines.append("strongest findings:")
        lines += [f"  {rank}. {finding.line()}" for rank, (finding, _) in enumerate(report.findings, start=1)]
    print("\n".join(lines))
    return 0


def _render(config: "RunConfig", video_id: str, out: Path | None) -> int:
    from raypipe.render import render_video

    rendered = render_video(config, video_id, out)
    print(f"video: {rendered.path}, {rendered.num_frames:,} frames, {rendered.width}x{rendered.height}")
    for note in rendered.notes:
        print(f"note: {note}")
    return 0
