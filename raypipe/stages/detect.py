"""Objects of a segment: boxes from a detector, thresholds, and their association into tracks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from raypipe.config.stages import DetectorConfig, TracksConfig
from raypipe.datasets.mot import boxes_path, read_mot
from raypipe.errors import AnnotationError
from raypipe.ops.boxes import Detections, clip, keep, sliding_windows
from raypipe.ops.tracks import associate
from raypipe.schema import DECODED, DETECTED, check_row

# Decoders disagree by a frame or two on a video's length, so a box file may name that many frames more.
FRAME_COUNT_TOLERANCE = 2


class Detector(Protocol):
    """Finds boxes in the frames of a decoded row that are named, possibly scaled-down copies of the source's.

    `frame_indices_T` are the row's first T source frames; boxes are in pixels of the source, unclipped.
    """

    def __call__(self, row: dict[str, Any], frame_indices_T: NDArray[np.int64]) -> Detections:
        """Return the boxes; `frame_offset` counts from the row's first frame and does not decrease."""


def boxes_from_files(root: str, row: dict[str, Any], frame_indices_T: NDArray[np.int64]) -> Detections:
    """Return the boxes that the video's MOT file has in the given source frames; frames become offsets into them."""
    frame_index, boxes, confidence, names = read_mot(root, row["video_id"])
    if len(frame_index) and frame_index[-1] >= row["num_frames"] + FRAME_COUNT_TOLERANCE:
        raise AnnotationError(
            f"{boxes_path(root, row['video_id'])} has boxes in frame {frame_index[-1] + 1}; "
            f"the video has {row['num_frames']}"
        )
    wanted = np.isin(frame_index, frame_indices_T)
    offset = np.searchsorted(frame_indices_T, frame_index[wanted])
    return Detections(offset, boxes[wanted], confidence[wanted], names[wanted])


def boxes_from_windows(config: DetectorConfig, row: dict[str, Any], frame_indices_T: NDArray[np.int64]) -> Detections:
    """Return the same square windows for every frame."""
    step = config.window_step_pixels or max(1, config.window_pixels // 2)
    windows = sliding_windows(row["width"], row["height"], config.window_pixels, step)
    num_frames = len(frame_indices_T)
    offset = np.repeat(np.arange(num_frames), len(windows))
    count = len(offset)
    return Detections(
        offset, np.tile(windows, (num_frames, 1)), np.ones(count, np.float32), np.full(count, "window", object)
    )


def boxes_from_model(
    model: Callable[[NDArray[np.uint8], tuple[int, int]], Detections],
    row: dict[str, Any],
    frame_indices_T: NDArray[np.int64],
) -> Detections:
    """Return what a model finds in the pixels of the frames."""
    return model(row["frames"][: len(frame_indices_T)], (row["width"], row["height"]))


def load_detector(config: DetectorConfig) -> Detector:
    """Return the detector that a config names, its model loaded. Raises UserError where that cannot be done."""
    if config.kind == "boxes":
        return partial(boxes_from_files, str(config.boxes_root))
    if config.kind == "sliding_window":
        return partial(boxes_from_windows, config)
    # Models and torch are imported here, because their seconds would be paid by every process that only reads a config.
    from raypipe.models.device import resolve_device

    if config.kind == "yolo":
        from raypipe.models.detection.yolo import YoloDetector

        yolo = config.yolo
        return partial(
            boxes_from_model,
            YoloDetector.load(
                Path(str(yolo.weights)),
                sha256=yolo.sha256,
                trust_pickle=yolo.trust_pickle,
                min_confidence=config.confidence_threshold,
                classes=yolo.classes,
                max_overlap=yolo.max_overlap,
                image_size=yolo.image_size,
                half=yolo.half,
                batch_size=yolo.batch_size,
                device=resolve_device(yolo.device),
            ),
        )
    from raypipe.models.detection.vlm_detector import VlmDetector
    from raypipe.models.vlm import VisionLanguageModel

    vlm = config.vlm
    model = VisionLanguageModel.load(Path(str(vlm.model)), resolve_device(vlm.device), vlm.precision, vlm.batch_size)
    return partial(boxes_from_model, VlmDetector(model, vlm.coordinates, vlm.max_objects))


class DetectObjects:
    """Find the objects of the warm-up and body frames and name their tracks.

    Adds the fields of `schema.DETECTED`: boxes are clipped to the frame, in pixels of the source video; track ids
    are the segment's own. Adds `num_unparsed`, the answers of a language model in which nothing could be read. Raises
    AnnotationError where the boxes of the video cannot be read, and UserError, when it is made, for models that
    cannot be used.
    """

    def __init__(self, detector: DetectorConfig, tracks: TracksConfig) -> None:
        self.detector = detector
        self.tracks = tracks
        self.find = load_detector(detector)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with its objects."""
        check_row(row, DECODED, "detect")
        frame_indices_T = row["frame_indices"][: len(row["frame_indices"]) - row["num_lookahead"]]
        found = self.find(row, frame_indices_T)
        boxes = clip(found.boxes, row["width"], row["height"])
        kept = keep(
            boxes,
            found.confidence,
            min_confidence=self.detector.confidence_threshold,
            min_side_pixels=self.detector.min_side_pixels,
        )
        offset, boxes = found.frame_offset[kept], boxes[kept]
        objects = {
            "frame_offset": offset.astype(np.int32),
            "boxes": boxes,
            "confidence": found.confidence[kept],
            "class_name": found.class_name[kept],
            "track_id": self._follow(row, offset, boxes, found.confidence[kept]),
        }
        check_row(objects, DETECTED, "detect")
        return row | objects | {"num_unparsed": found.num_unparsed}

    def _follow(
        self,
        row: dict[str, Any],
        offset: NDArray[np.int64],
        boxes: NDArray[np.float32],
        confidence: NDArray[np.float32],
    ) -> NDArray[np.int64]:
        tracks = self.tracks
        if tracks.kind == "iou":
            return associate(
                boxes,
                offset,
                min_iou=tracks.min_iou,
                max_gap_frames=tracks.max_gap_frames,
                matching=tracks.matching,
            )
        from raypipe.models.detection.trackers import track

        return track(
            tracks.kind,
            boxes,
            confidence,
            offset,
            row["frames"][: len(row["frames"]) - row["num_lookahead"]],
            source_size=(row["width"], row["height"]),
            high_confidence=tracks.high_confidence,
            low_confidence=tracks.low_confidence,
            max_gap_frames=tracks.max_gap_frames,
        )
