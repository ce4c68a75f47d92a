"""Cut the objects of a run's normal training videos out, with their captions, for jobs/train_blip2.py ("D. 2").

python jobs/export_crops.py --config run.yaml --out data/crops --every 1.0
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from raypipe.cli.main import run_script
from raypipe.config.run import RunConfig
from raypipe.errors import EXIT_DEAD_LETTERS
from raypipe.pretraining.crops import ANNOTATIONS_NAME, IMAGES_FOLDER, export_crops


def main(config: RunConfig, out: Path, every_seconds: float) -> int:
    """Export, say what was written and return the exit code: 0, or 3 where videos were left out."""
    count, left_out = export_crops(config, out, every_seconds)
    print(f"crops: {count:,}, in {out / IMAGES_FOLDER}; captions: {out / ANNOTATIONS_NAME}")
    for video_id, reason in left_out.items():
        print(f"left out: {video_id}: {reason}")
    return EXIT_DEAD_LETTERS if left_out else 0


def run(arguments: list[str]) -> int:
    """Read the options of this job and leave the others to `run_script`."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--out", type=Path, default=Path("data/crops"))
    parser.add_argument("--every", type=float, default=1.0, dest="every_seconds")
    options, others = parser.parse_known_args(arguments)
    work = partial(main, out=options.out, every_seconds=options.every_seconds)
    return run_script(__doc__, work, others)


if __name__ == "__main__":
    raise SystemExit(run(sys.argv[1:]))
