"""What the probe knows of a video: its size, its frames' timestamps and where decoding can begin."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

# Timestamp of every frame of a video whose frames are counted; a video may have a true timestamp of -1, but
# never the same one on all of its frames.
COUNTED_PTS = -1
# Seek point that means "no seek: decode from the start of the file". Older than any true timestamp.
FILE_START = int(np.iinfo(np.int64).min)
FRAME_FOLDER_CODEC = "frames"


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """The index of one video.

    `width` and `height` are in pixels as displayed, after `rotation` (0, 90, 180 or 270 degrees, counter-clockwise)
    is applied; `fps` is the average. `pts` (num_frames,) are the presentation timestamps in ticks of `time_base`
    seconds, ascending, all -1 where the file has none that can be used and frames are counted from its start.
    `keyframe_dts` and `keyframe_pts` (K,) are where decoding can begin. `damage` says what is wrong with the file,
    None if nothing was found.
    """

    width: int
    height: int
    rotation: int
    fps: float
    codec: str
    time_base: Fraction
    pts: I64
    keyframe_dts: I64
    keyframe_pts: I64
    damage: str | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames that are there (not: that the container declares)."""
        return len(self.pts)

    @property
    def is_counted(self) -> bool:
        """True where frames are counted from the start of the file for want of timestamps."""
        return bool((self.pts == COUNTED_PTS).all())

    @property
    def time_seconds(self) -> NDArray[np.float64]:
        """Time of every frame in seconds from the first one, float64 (num_frames,)."""
        if self.is_counted:
            return np.arange(self.num_frames) / self.fps
        seconds: NDArray[np.float64] = (self.pts - self.pts[0]) * float(self.time_base)
        return seconds

    def to_record(self) -> dict[str, Any]:
        """Return the index as JSON values; timestamps are run-length encoded, so a constant rate costs one run."""
        return {
            "width": self.width,
            "height": self.height,
            "rotation": self.rotation,
            "fps": self.fps,
            "codec": self.codec,
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "pts": _encode_runs(self.pts),
            "keyframe_dts": _encode_runs(self.keyframe_dts),
            "keyframe_pts": _encode_runs(self.keyframe_pts),
            "damage": self.damage,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "VideoIndex":
        """Return the index that `to_record` wrote."""
        numerator, denominator = record["time_base"]
        runs = {name: _decode_runs(record[name]) for name in ("pts", "keyframe_dts", "keyframe_pts")}
        return cls(**{**record, **runs, "time_base": Fraction(numerator, denominator)})


def seek_point(index: VideoIndex, first_frame: int) -> tuple[int, int]:
    """Return (dts, pts) of the last keyframe shown at or before `first_frame`, both FILE_START for "do not seek".

    The keyframe's pts decides, not its dts: with B-frames a keyframe is stored before frames that are shown
    before it, and these cannot be decoded from it.
    """
    if index.is_counted:
        return FILE_START, FILE_START
    position = int(np.searchsorted(index.keyframe_pts, index.pts[first_frame], side="right")) - 1
    if position <= 0:
        return FILE_START, FILE_START
    return int(index.keyframe_dts[position]), int(index.keyframe_pts[position])


def _encode_runs(values: I64) -> dict[str, Any]:
    """Return ascending or constant integers as a start and runs of equal steps."""
    if not len(values):
        return {"start": None, "steps": [], "counts": []}
    steps = np.diff(values)
    edges = np.flatnonzero(np.diff(steps)) + 1
    firsts = np.concatenate([[0], edges]) if len(steps) else np.empty(0, np.int64)
    counts = np.diff(np.concatenate([firsts, [len(steps)]])) if len(steps) else firsts
    return {"start": int(values[0]), "steps": steps[firsts].tolist(), "counts": counts.tolist()}


def _decode_runs(runs: dict[str, Any]) -> I64:
    if runs["start"] is None:
        return np.empty(0, np.int64)
    steps = np.repeat(np.array(runs["steps"], np.int64), runs["counts"])
    return np.concatenate([[runs["start"]], runs["start"] + np.cumsum(steps)]).astype(np.int64)
