"""Objects of a segment: boxes from a detector, thresholds, and their association into tracks."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, Self

import fsspec
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from raypipe.errors import AnnotationError
from raypipe.ops.boxes import clip, keep, sliding_windows
from raypipe.ops.tracks import Matching, associate
from raypipe.schema import DECODED, DETECTED, check_row

# Decoders disagree by a frame or two on a video's length, so a box file may name that many frames more.
FRAME_COUNT_TOLERANCE = 2
# Past this a frame number written as a float is not exact.
MAX_FRAME = 2**53

# Boxes of one video: source frame index (N,), boxes x1 y1 x2 y2 (N, 4), confidence (N,), class names (N,).
Boxes = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.object_]]


class DetectorConfig(BaseModel):
    """Where boxes come from and which are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["boxes", "sliding_window"] = "boxes"
    boxes_root: str | None = Field(None, description="boxes: folder of <video_id>.txt in MOT format")
    window_pixels: int = Field(224, ge=8, description="sliding_window: side of a window (Section D)")
    window_step_pixels: int | None = Field(None, ge=1, description="sliding_window: step, half a window by default")
    min_confidence: float | None = Field(
        None, allow_inf_nan=False, description="less confident boxes are left out; null keeps all, also those of -1"
    )
    min_side_pixels: float = Field(4.0, ge=0, allow_inf_nan=False, description="boxes with a shorter side are left out")

    @model_validator(mode="after")
    def _boxes_need_a_root(self) -> Self:
        if self.kind == "boxes" and not self.boxes_root:
            raise ValueError("boxes_root is needed where kind is 'boxes'")
        return self


class TracksConfig(BaseModel):
    """How boxes of neighbouring frames become one object."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    matching: Matching = "hungarian"
    min_iou: float = Field(0.3, gt=0, le=1)
    max_gap_frames: int = Field(5, ge=0, description="sampled frames an object may be unseen")


def boxes_path(boxes_root: str, video_id: str) -> str:
    """Return where the `boxes` detector looks for a video's boxes."""
    return f"{boxes_root.rstrip('/')}/{video_id}.txt"


def parse_mot(text: str, where: str) -> Boxes:
    """Parse MOT text: `frame,id,left,top,width,height,confidence,...` a line, frames from 1, in any order.

    Raises AnnotationError, naming `where` and the line, on anything else.
    """
    frames, numbers = [], []
    for line_number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split(",")
        try:
            frame, values = float(fields[0]), [float(value) for value in fields[2:7]]
        except ValueError as error:
            raise AnnotationError(f"{where}:{line_number}: {error}") from error
        is_frame = frame.is_integer() and 1 <= frame < MAX_FRAME
        if len(values) < 5 or not is_frame or not np.isfinite(values).all():
            raise AnnotationError(
                f"{where}:{line_number}: {line.strip()!r} is not frame,id,left,top,width,height,confidence"
            )
        frames.append(int(frame) - 1)
        numbers.append(values)
    table = np.array(numbers, dtype=np.float64).reshape(-1, 5)
    order = np.argsort(frames, kind="stable").astype(np.int64)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)[order].astype(np.float32)
    names = np.full(len(order), "object", dtype=object)
    return np.array(frames, dtype=np.int64)[order], boxes, table[order, 4].astype(np.float32), names


@lru_cache(maxsize=4)
def read_mot(boxes_root: str, video_id: str) -> Boxes:
    """Read a video's MOT file below a local path or fsspec URI; the segments of one video read it once per process.

    Raises AnnotationError where it is missing, not text, or not MOT.
    """
    # The root alone is a URI: a video's name may hold what has a meaning in one.
    filesystem, base = fsspec.core.url_to_fs(boxes_root)
    path = boxes_path(base, video_id)
    try:
        text = filesystem.cat_file(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: there is no such file of boxes") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is not text: {error}") from error
    return parse_mot(text, path)


def boxes_from_files(config: DetectorConfig, row: dict[str, Any], frame_indices_T: NDArray[np.int64]) -> Boxes:
    """Return the boxes that the video's MOT file has in the given source frames; frames become offsets into them."""
    frame_index, boxes, confidence, names = read_mot(str(config.boxes_root), row["video_id"])
    if len(frame_index) and frame_index[-1] >= row["num_frames"] + FRAME_COUNT_TOLERANCE:
        raise AnnotationError(
            f"{boxes_path(str(config.boxes_root), row['video_id'])} has boxes in frame {frame_index[-1] + 1}; "
            f"the video has {row['num_frames']}"
        )
    wanted = np.isin(frame_index, frame_indices_T)
    offset = np.searchsorted(frame_indices_T, frame_index[wanted])
    return offset, boxes[wanted], confidence[wanted], names[wanted]


def boxes_from_windows(config: DetectorConfig, row: dict[str, Any], frame_indices_T: NDArray[np.int64]) -> Boxes:
    """Return the same square windows for every frame."""
    step = config.window_step_pixels or max(1, config.window_pixels // 2)
    windows = sliding_windows(row["width"], row["height"], config.window_pixels, step)
    num_frames = len(frame_indices_T)
    offset = np.repeat(np.arange(num_frames), len(windows))
    count = len(offset)
    return offset, np.tile(windows, (num_frames, 1)), np.ones(count, np.float32), np.full(count, "window", object)


DETECTORS: dict[str, Callable[[DetectorConfig, dict[str, Any], NDArray[np.int64]], Boxes]] = {
    "boxes": boxes_from_files,
    "sliding_window": boxes_from_windows,
}


class DetectObjects:
    """Find the objects of the warm-up and body frames and name their tracks.

    Adds the fields of `schema.DETECTED`: boxes are clipped to the frame, in pixels of the source video; track ids
    are the segment's own. Raises AnnotationError where the boxes of the video cannot be read.
    """

    def __init__(self, detector: DetectorConfig, tracks: TracksConfig) -> None:
        self.detector = detector
        self.tracks = tracks

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with its objects."""
        check_row(row, DECODED, "detect")
        frame_indices_T = row["frame_indices"][: len(row["frame_indices"]) - row["num_lookahead"]]
        offset, boxes, confidence, names = DETECTORS[self.detector.kind](self.detector, row, frame_indices_T)
        boxes = clip(boxes, row["width"], row["height"])
        kept = keep(
            boxes,
            confidence,
            min_confidence=-np.inf if self.detector.min_confidence is None else self.detector.min_confidence,
            min_side_pixels=self.detector.min_side_pixels,
        )
        offset, boxes = offset[kept], boxes[kept]
        track_id = associate(
            boxes,
            offset,
            min_iou=self.tracks.min_iou,
            max_gap_frames=self.tracks.max_gap_frames,
            matching=self.tracks.matching,
        )
        found = {
            "frame_offset": offset.astype(np.int32),
            "boxes": boxes,
            "confidence": confidence[kept],
            "class_name": names[kept],
            "track_id": track_id,
        }
        check_row(found, DETECTED, "detect")
        return row | found
