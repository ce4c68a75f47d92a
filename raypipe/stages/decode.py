"""The stage that turns a planned segment into frames."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from raypipe.ops.segments import decoded_size
from raypipe.schema import DECODED, PLANNED, check_row
from raypipe.video.decode import decode_frames


class DecodeConfig(BaseModel):
    """Which frames are decoded, and how large.

    Every `stride`-th source frame is used; frames are scaled down until the longer side has at most `max_side` pixels
    (null: as they are).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stride: int = Field(default=1, ge=1)
    max_side: int | None = Field(default=None, ge=16)


class DecodeFrames:
    """Adds `frames`, uint8 (T, H, W, 3) RGB, to a planned row."""

    def __init__(self, config: DecodeConfig) -> None:
        self._config = config

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with its frames. Raises CorruptVideoError where any of them cannot be decoded."""
        check_row(row, PLANNED, "decode")
        frames = decode_frames(
            row["uri"],
            frame_indices=row["frame_indices"],
            frame_pts=row["frame_pts"],
            seek_dts=row["seek_dts"],
            seek_pts=row["seek_pts"],
            size=decoded_size(row["width"], row["height"], self._config.max_side),
        )
        decoded = row | {"frames": frames}
        check_row(decoded, DECODED, "decode")
        return decoded
