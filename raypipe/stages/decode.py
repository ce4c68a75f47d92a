"""The stage that turns a planned segment into frames."""

from typing import Any

import numpy as np

from raypipe.config.stages import DecodeConfig
from raypipe.ops.segments import decoded_size
from raypipe.ops.timestamps import unpack
from raypipe.schema import DECODED, PACKED, PLANNED, check_row
from raypipe.video.decode import decode_frames


def unpack_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the planned row (`schema.PLANNED`) that a packed one (`schema.PACKED`) stands for."""
    check_row(row, PACKED, "plan")
    frames = row["first_frame"] + np.arange(row["num_sampled"]) * row["stride"]
    pts = unpack(row["num_sampled"], row["first_pts"], np.frombuffer(row["pts_steps"], row["pts_type"]))
    is_timed_by_rate = row["tick_seconds"] == 0
    seconds = frames / row["fps"] if is_timed_by_rate else (pts - row["video_pts"]) * row["tick_seconds"]
    rest = {name: value for name, value in row.items() if name in PLANNED or name not in PACKED}
    return rest | {"frame_indices": frames, "frame_pts": pts, "time_seconds": seconds}


class DecodeFrames:
    """Adds `frames`, uint8 (T, H, W, 3) RGB, to a planned row; one that comes packed is unpacked first.

    It may hang, and is to be called under the watchdog with `timeout_seconds`.
    """

    def __init__(self, config: DecodeConfig) -> None:
        self._config = config
        self.timeout_seconds = config.timeout_seconds

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with its frames. Raises CorruptVideoError where any of them cannot be decoded."""
        if "pts_steps" in row:
            row = unpack_row(row)
        check_row(row, PLANNED, "decode")
        frames = decode_frames(
            row["uri"],
            frame_indices=row["frame_indices"],
            frame_pts=row["frame_pts"],
            seek_dts=row["seek_dts"],
            seek_pts=row["seek_pts"],
            is_numbered=row["is_numbered"],
            stream=None if row["stream"] < 0 else row["stream"],
            size=decoded_size(row["width"], row["height"], self._config.max_side),
        )
        decoded = row | {"frames": frames}
        check_row(decoded, DECODED, "decode")
        return decoded
