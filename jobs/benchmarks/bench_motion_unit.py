"""Compares motion per source frame with motion per second where videos of one run have several frame rates.

python -m jobs.benchmarks.bench_motion_unit --train ../shared/data/ped2/train --boxes ../shared/data/ped2/boxes

Only normal training clips are used. Each is left out once, and the others train a nearest-neighbour model. The clip is
scored at its own rate, and again with every second and every third frame. A unit that does not depend on the rate gives
the same scores each time. So the figure is the median frame score at the lower rate over that at the full rate, and 1
is right. The others are all at the full rate, or each second one of them has every second frame only.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raypipe.config.stages import MotionConfig, radius_frames
from raypipe.datasets.mot import read_mot
from raypipe.models.density import KNearestNeighbours, KnnConfig
from raypipe.ops.boxes import sliding_windows
from raypipe.ops.motion import pool_histograms
from raypipe.video.decode import decode_frames
from raypipe.video.hevc_encoder import encode_motion, to_luma
from raypipe.video.probe import probe_video, seek_point

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

KEPT = (1, 2, 3)
WINDOW_PIXELS = 40
# Of windows, of which a frame has hundreds, every fifth frame's will do.
WINDOW_FRAMES = 5 * 6
CONFIG = MotionConfig()


class Clip:
    """One clip at one rate: histograms per source frame, float32 (N, 8), the source frame of each, and the rate."""

    def __init__(self, kept: int, frames: NDArray[np.uint8], fps: float, boxes: tuple[I64, F32]) -> None:
        self.fps = fps / kept
        number, rectangles = boxes
        # The same objects at every rate: those of frames that all of them have.
        shared = (number % np.lcm.reduce(KEPT) == 0) & (number < len(frames))
        self.frame = number[shared]
        vectors, inter = encode_motion(to_luma(frames[::kept]))
        self.motion = pool_histograms(
            vectors,
            inter,
            rectangles[shared],
            self.frame // kept,
            pooling=CONFIG.pooling,
            window_frames=radius_frames(CONFIG, self.fps, 1),
            stride=1,
        )

    def features(self, unit: str) -> F32:
        """Return the histograms in pixels per frame of this rate, or per second."""
        return self.motion * np.float32(self.fps) if unit == "second" else self.motion

    def frame_scores(self, model: KNearestNeighbours, unit: str) -> NDArray[np.float64]:
        """Return the highest score of each frame that has objects, but the first, which has no motion before it."""
        score = model.score(self.features(unit))
        return np.array([score[self.frame == frame].max() for frame in np.unique(self.frame) if frame])


def read_clips(paths: Sequence[Path], boxes_root: str | None) -> dict[int, list[Clip]]:
    """Return every clip at every rate."""
    clips: dict[int, list[Clip]] = {kept: [] for kept in KEPT}
    for path in paths:
        index = probe_video(str(path))
        numbers = np.arange(index.num_frames)
        dts, pts = seek_point(index, 0)
        frames = decode_frames(
            str(path),
            frame_indices=numbers,
            frame_pts=index.pts,
            seek_dts=dts,
            seek_pts=pts,
            size=(index.width, index.height),
        )
        if boxes_root:
            number, rectangles, _, _ = read_mot(boxes_root, f"{path.parent.name}/{path.stem}")
        else:
            windows = sliding_windows(index.width, index.height, WINDOW_PIXELS, WINDOW_PIXELS // 2)
            some = numbers[::WINDOW_FRAMES]
            number, rectangles = np.repeat(some, len(windows)), np.tile(windows, (len(some), 1)).astype(np.float32)
        for kept in KEPT:
            clips[kept].append(Clip(kept, frames, index.fps, (number, rectangles)))
    return clips


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ratios of each unit: the median over clips, the lowest and the highest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="folder of normal clips")
    parser.add_argument("--boxes", help="folder of boxes; by default windows of 40 pixels are taken")
    arguments = parser.parse_args(argv)
    clips = read_clips(sorted(arguments.train.glob("*.mp4")), arguments.boxes)
    print(f"{len(clips[1])} clips; {(arguments.boxes and 'boxes') or 'windows'}; scores over those of the full rate")
    print(f"{'trained on':>12} {'unit':>12} {'kept':>8} {'median':>7} {'lowest':>7} {'highest':>7}")
    for trained in ("full", "mixed"):
        for unit in ("source_frame", "second"):
            ratios: dict[int, list[float]] = {kept: [] for kept in KEPT[1:]}
            for left_out in range(len(clips[1])):
                others = [
                    clips[2 if trained == "mixed" and number % 2 else 1][number].features(unit)
                    for number in range(len(clips[1]))
                    if number != left_out
                ]
                model = KNearestNeighbours(KnnConfig()).fit(np.concatenate(others))
                medians = {kept: np.median(clips[kept][left_out].frame_scores(model, unit)) for kept in KEPT}
                for kept, found in ratios.items():
                    found.append(float(medians[kept] / medians[1]))
            for kept, found in ratios.items():
                low, middle, high = np.quantile(found, [0, 0.5, 1])
                print(f"{trained:>12} {unit:>12} {f'1 of {kept}':>8} {middle:7.2f} {low:7.2f} {high:7.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
