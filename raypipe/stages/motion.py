"""The stages that find motion vectors and pool them into one histogram per object."""

from typing import Any

from raypipe.config.stages import MotionConfig, radius_frames
from raypipe.ops.motion import pool_histograms
from raypipe.schema import DECODED, DETECTED, MOVED, POOLED, check_row
from raypipe.video.hevc import encode_motion, to_luma


class ExtractMotion:
    """Adds the HEVC motion of a decoded row's frames: `vectors` and `inter`."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with int16 `vectors` (T, h, w, 2) in quarter pixels and bool `inter` (T, h, w)."""
        check_row(row, DECODED, "motion")
        vectors, inter = encode_motion(to_luma(row["frames"]))
        moved = row | {"vectors": vectors, "inter": inter}
        check_row(moved, MOVED, "motion")
        return moved


class PoolMotion:
    """Gives every object of a row its motion histogram, and lets go of the vectors."""

    def __init__(self, config: MotionConfig) -> None:
        self._config = config

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with `motion`, float32 (N, 8) in source pixels per source frame, without the vectors."""
        check_row(row, MOVED | DETECTED, "pool_motion")
        height, width = row["frames"].shape[1:3]
        scale = (row["width"] / width, row["height"] / height)
        motion = pool_histograms(
            row["vectors"],
            row["inter"],
            row["boxes"] / [*scale, *scale],
            row["frame_offset"],
            pooling=self._config.pooling,
            window_frames=radius_frames(self._config, row["fps"], row["stride"]),
            stride=row["stride"],
            scale=scale,
        )
        pooled = {name: value for name, value in row.items() if name not in ("vectors", "inter")} | {"motion": motion}
        check_row(pooled, POOLED, "pool_motion")
        return pooled
