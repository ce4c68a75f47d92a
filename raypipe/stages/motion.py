"""The stages that find motion vectors and pool them into one histogram per object."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.config.stages import MotionConfig, radius_frames
from raypipe.ops.motion import find_repeats, pool_histograms, spread_over_repeats
from raypipe.ops.rates import after_pauses
from raypipe.schema import DECODED, DETECTED, MOVED, POOLED, check_row
from raypipe.video.hevc_encoder import encode_motion, to_luma


class ExtractMotion:
    """Adds the HEVC motion of a decoded row's frames: `vectors`, `inter` and `spans`."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with int16 `vectors` (T, h, w, 2) in quarter pixels and bool `inter` (T, h, w).

        int16 `spans` (T,) says of how many steps between frames the vectors are the motion: 1, unless frames repeat.
        A frame after a pause has no vectors, as the first one of a video.
        """
        check_row(row, DECODED, "motion")
        luma = to_luma(row["frames"])
        vectors, inter = encode_motion(luma)
        starts = after_pauses(row["time_seconds"], row["fps"], row["stride"])
        vectors[starts], inter[starts] = 0, False
        is_repeat = find_repeats(luma)
        is_repeat[starts] = False
        spans = spread_over_repeats(vectors, inter, is_repeat)
        moved = row | {"vectors": vectors, "inter": inter, "spans": spans}
        check_row(moved, MOVED, "motion")
        return moved


class PoolMotion:
    """Gives every object of a row its motion histogram, and lets go of the vectors."""

    def __init__(self, config: MotionConfig) -> None:
        self._config = config

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with `motion`, float32 (N, 8) in source pixels per `motion.unit`, without the vectors."""
        check_row(row, MOVED | DETECTED, "pool_motion")
        height, width = row["frames"].shape[1:3]
        scale = (row["width"] / width, row["height"] / height)
        is_by_time = self._config.unit == "second"
        motion = pool_histograms(
            row["vectors"],
            row["inter"],
            row["boxes"] / [*scale, *scale],
            row["frame_offset"],
            pooling=self._config.pooling,
            window_frames=radius_frames(self._config, row["fps"], row["stride"]),
            stride=row["stride"],
            scale=scale,
            spans_T=row["spans"] * _steps(row) if is_by_time else row["spans"],
            starts=after_pauses(row["time_seconds"], row["fps"], row["stride"]),
        )
        if is_by_time:
            motion *= np.float32(row["fps"])
        gone = ("vectors", "inter", "spans")
        pooled = {name: value for name, value in row.items() if name not in gone} | {"motion": motion}
        check_row(pooled, POOLED, "pool_motion")
        return pooled


def _steps(row: dict[str, Any]) -> NDArray[np.float64]:
    """Return how many steps of the usual length lie between each decoded frame and the one before, (T,).

    Times are rounded to whole frames: those of recorded streams tremble.
    """
    num_frames = np.rint(np.diff(row["time_seconds"], prepend=np.nan) * row["fps"])
    num_frames[:1] = row["stride"]
    return np.asarray(np.maximum(num_frames, 1) / row["stride"], np.float64)
