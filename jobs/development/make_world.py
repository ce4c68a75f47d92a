"""Write the rendered world: data sets for training small models, and for watching them work.

    python -m jobs.development.make_world --out world/demo --split folder --train-clips 40 --test-clips 14
    python -m jobs.development.make_world --out world/captions --split captions --clips 400
    python -m jobs.development.make_world --out world/detection --split detection --clips 200
    python -m jobs.development.make_world --out world/shrinking --split shrinking --test-clips 8 --frames 400

What each split may contain is in docs/world.md.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from pydantic import ValidationError

from raypipe.errors import UserError
from raypipe.world.clips import NOVELTIES, WorldConfig
from raypipe.world.files import write_captions, write_detection
from raypipe.world.folder import FolderPlan, write_folder

# As the demo has them: many people for a model of what is normal. Those of shrinking clips are there to try things out.
TRAIN_CLIPS = {"folder": 40, "shrinking": 8}
TRAIN_FRAMES = 75


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Write the rendered world.")
    parser.add_argument("--out", type=Path, required=True, help="a new or empty folder")
    parser.add_argument("--split", choices=("folder", "captions", "detection", "shrinking"), required=True)
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--clips", type=int, default=40, help="clips of captions and detection (default: 40)")
    parser.add_argument(
        "--processes",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="that draw captions and detection (default: all cores)",
    )
    parser.add_argument(
        "--train-clips",
        type=int,
        help="of folder and shrinking (default: {folder} and {shrinking})".format_map(TRAIN_CLIPS),
    )
    parser.add_argument(
        "--train-frames",
        type=int,
        help=f"of these clips (default: at most {TRAIN_FRAMES} of folder, --frames of shrinking)",
    )
    parser.add_argument("--test-clips", type=int, default=14, help="(default: 14)")
    parser.add_argument("--frames", type=int, default=None, help="of a clip (default: 150; 400 of shrinking)")
    parser.add_argument("--width", type=int, default=320, help="(default: 320)")
    parser.add_argument("--height", type=int, default=240, help="(default: 240)")
    parser.add_argument("--fps", type=int, default=25, help="(default: 25)")
    parser.add_argument("--far-fraction", type=float, default=0.25, help="of the actors are far away (default: 0.25)")
    parser.add_argument("--novelties", default=",".join(NOVELTIES), help="of test clips, in turn (default: all)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write one split; return the exit code."""
    arguments = build_parser().parse_args(argv)
    started = time.perf_counter()
    try:
        print(f"{arguments.out}: {_write(arguments)} in {time.perf_counter() - started:.0f} s")
    except (UserError, OSError) as error:
        print(f"make_world: {error}", file=sys.stderr)
        return 2
    return 0


def _write(arguments: argparse.Namespace) -> str:
    split, out = arguments.split, arguments.out
    default_frames = 400 if split == "shrinking" else 150
    train_clips, train_frames = arguments.train_clips, arguments.train_frames
    if train_clips is None:
        train_clips = TRAIN_CLIPS.get(split, 1)
    if min(arguments.clips, arguments.processes, train_clips, arguments.test_clips) < 1:
        raise UserError("--clips, --processes, --train-clips and --test-clips are at least 1")
    try:
        config = WorldConfig.model_validate(
            {
                "seed": arguments.seed,
                "width": arguments.width,
                "height": arguments.height,
                "fps": arguments.fps,
                "num_frames": default_frames if arguments.frames is None else arguments.frames,
                "far_fraction": arguments.far_fraction,
                "novelties": tuple(arguments.novelties.split(",")),
            }
        )
    except ValidationError as error:
        problems = "; ".join(f"--{_option(one['loc'])}: {one['msg']}" for one in error.errors())
        raise UserError(problems) from error
    if split == "captions":
        return f"{write_captions(out, config, arguments.clips, arguments.processes)} captioned crops"
    if split == "detection":
        return f"{write_detection(out, config, arguments.clips, arguments.processes)} pictures with boxes"
    if train_frames is None and split == "folder":
        train_frames = min(TRAIN_FRAMES, config.num_frames)
    plan = FolderPlan(config, train_clips, arguments.test_clips, split == "shrinking", train_frames=train_frames)
    write_folder(out, plan)
    counts = f"{train_clips} train and {arguments.test_clips} test clips"
    return f"{counts}, {plan.num_frames(plan.clips())} frames"


def _option(place: tuple[int | str, ...]) -> str:
    return {"num_frames": "frames", "far_fraction": "far-fraction"}.get(str(place[0]), str(place[0]))


if __name__ == "__main__":
    raise SystemExit(main())
