"""Objects of a segment: boxes from a detector, thresholds, and their association into tracks."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from raypipe.datasets.mot import boxes_path, read_mot
from raypipe.errors import AnnotationError, UserError
from raypipe.models.trusted_pickle import read_trusted
from raypipe.models.yolo_classes import indices_of, read_metadata
from raypipe.ops.boxes import Detections, clip, keep, sliding_windows
from raypipe.ops.tracks import Matching, associate
from raypipe.ops.vlm_answers import Coordinates, units_of
from raypipe.schema import DECODED, DETECTED, check_row

# Decoders disagree by a frame or two on a video's length, so a box file may name that many frames more.
FRAME_COUNT_TOLERANCE = 2
# What `min_confidence: null` means to a YOLO model; Ultralytics' own default.
YOLO_MIN_CONFIDENCE = 0.25

Device = Literal["auto", "cpu", "cuda"]


class YoloConfig(BaseModel):
    """Kind `yolo`: a detection model of Ultralytics."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    weights: str | None = Field(None, description="folder of `raypipe weights convert --yolo`, or a trusted .pt")
    sha256: str | None = Field(None, pattern="^[0-9a-fA-F]{64}$", description="pin of a .pt, which is a pickle")
    trust_pickle: bool = Field(False, description="read a .pt without a pin; it may run code")
    classes: list[str] | None = Field(None, description="names of the classes to keep; null keeps all")
    max_overlap: float = Field(0.7, ge=0, le=1, description="IoU past which the less confident box is left out")
    image_size: int = Field(640, ge=32, description="pixels of the longer side that the model is shown")
    half: bool = Field(True, description="half precision on a GPU; a CPU always computes in fp32")
    batch_size: int = Field(16, ge=1, description="frames at once on a GPU; halved where memory runs out")
    device: Device = Field("auto", description="auto is the GPU where there is one")


class VlmConfig(BaseModel):
    """Kind `vlm`: a vision-language model that is asked for people, one by one (Section D, Table 4)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str | None = Field(None, description="folder of a Qwen-VL-class model in transformers' format")
    coordinates: Coordinates = Field(
        "auto", description="what its coordinates count; auto knows Qwen2-VL, Qwen2.5-VL, Qwen3-VL and their kin"
    )
    max_objects: int = Field(50, ge=1, description="questions for boxes per frame at most")
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    batch_size: int = Field(8, ge=1, description="questions at once on a GPU; halved where memory runs out")
    device: Device = Field("auto", description="auto is the GPU where there is one")


class DetectorConfig(BaseModel):
    """Where boxes come from and which are kept.

    The windows of the paper's Table 4, in pixels: 224 for ShanghaiTech and NWPU, 320 for Avenue and UBnormal, 60 for
    Ped2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["boxes", "sliding_window", "yolo", "vlm"] = "boxes"
    boxes_root: str | None = Field(None, description="boxes: folder of <video_id>.txt in MOT format")
    window_pixels: int = Field(224, ge=8, description="sliding_window: side of a window; the paper's are above")
    window_step_pixels: int | None = Field(None, ge=1, description="sliding_window: step, half a window by default")
    min_confidence: float | None = Field(
        None,
        allow_inf_nan=False,
        description="less confident boxes are left out; null is 0.25 for yolo, and keeps all of the others, also -1",
    )
    min_side_pixels: float = Field(4.0, ge=0, allow_inf_nan=False, description="boxes with a shorter side are left out")
    yolo: YoloConfig = YoloConfig()
    vlm: VlmConfig = VlmConfig()

    @model_validator(mode="after")
    def _dials_belong_to_the_kind(self) -> Self:
        needed = {"boxes": ("boxes_root", self.boxes_root), "yolo": ("yolo.weights", self.yolo.weights)}
        needed["vlm"] = ("vlm.model", self.vlm.model)
        name, value = needed.get(self.kind, ("", "none"))
        if not value:
            raise ValueError(f"{name} is needed where kind is {self.kind!r}")
        owners = {
            "window_pixels": "sliding_window",
            "window_step_pixels": "sliding_window",
            "yolo": "yolo",
            "vlm": "vlm",
        }
        for dial, owner in owners.items():
            # boxes_root may stay: it only says where the boxes would be.
            if owner != self.kind and getattr(self, dial) != type(self).model_fields[dial].default:
                raise ValueError(f"{dial} belongs to kind {owner!r}, and kind is {self.kind!r}: remove one of them")
        if self.kind == "yolo" and self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence is {self.min_confidence}; those of yolo lie between 0 and 1")
        return self

    @property
    def confidence_threshold(self) -> float:
        """The least confidence that is kept, in which null has its meaning."""
        if self.min_confidence is not None:
            return self.min_confidence
        return YOLO_MIN_CONFIDENCE if self.kind == "yolo" else -np.inf

    def with_paths(self, absolute: Callable[[str], str]) -> Self:
        """Return the config with every path passed through a function."""
        paths = {
            "boxes_root": self.boxes_root and absolute(self.boxes_root),
            "yolo": self.yolo.model_copy(update={"weights": self.yolo.weights and absolute(self.yolo.weights)}),
            "vlm": self.vlm.model_copy(update={"model": self.vlm.model and absolute(self.vlm.model)}),
        }
        return self.model_copy(update=paths)


class TracksConfig(BaseModel):
    """How boxes of neighbouring frames become one object."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["iou", "bytetrack", "botsort"] = Field("iou", description="overlap alone, or Ultralytics' trackers")
    matching: Matching = Field("hungarian", description="iou: best sum of overlaps, or greedily the best overlap")
    min_iou: float = Field(0.3, gt=0, le=1, description="iou: overlap by which a box continues a track")
    high_confidence: float = Field(0.25, ge=0, le=1, description="bytetrack, botsort: boxes that may start a track")
    low_confidence: float = Field(0.1, ge=0, le=1, description="bytetrack, botsort: boxes that may continue one")
    max_gap_frames: int = Field(5, ge=0, description="sampled frames an object may be unseen")

    @model_validator(mode="after")
    def _dials_belong_to_the_kind(self) -> Self:
        of_iou = self.kind == "iou"
        for dial in ("high_confidence", "low_confidence") if of_iou else ("matching", "min_iou"):
            if getattr(self, dial) != type(self).model_fields[dial].default:
                owner = "bytetrack and botsort" if of_iou else "iou"
                raise ValueError(f"{dial} belongs to {owner}, and kind is {self.kind!r}: remove one of them")
        if self.low_confidence > self.high_confidence:
            raise ValueError(f"low_confidence {self.low_confidence} exceeds high_confidence {self.high_confidence}")
        return self


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


def require_weights(config: DetectorConfig) -> None:
    """Raise UserError for what is wrong with a detector's weights and can be told without loading a model."""
    yolo, vlm = config.yolo, config.vlm
    if config.kind == "yolo":
        weights = Path(str(yolo.weights))
        if not weights.is_dir():
            read_trusted(weights, sha256=yolo.sha256, trust_pickle=yolo.trust_pickle)
        else:
            indices_of(yolo.classes or [], dict(enumerate(read_metadata(weights)["class_names"])), str(weights))
    if config.kind == "vlm":
        description = Path(str(vlm.model)) / "config.json"
        try:
            model_type = json.loads(description.read_text(encoding="utf-8"))["model_type"]
        except OSError as error:
            raise UserError(f"{description}: {error.strerror}; models are never downloaded") from error
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{description}: names no model_type") from error
        units_of(str(model_type), vlm.coordinates)


def load_detector(config: DetectorConfig) -> Detector:
    """Return the detector that a config names, its model loaded. Raises UserError where that cannot be done."""
    if config.kind == "boxes":
        return partial(boxes_from_files, str(config.boxes_root))
    if config.kind == "sliding_window":
        return partial(boxes_from_windows, config)
    # Models are imported here, because their seconds would be paid by every process that only reads a config.
    if config.kind == "yolo":
        from raypipe.models.yolo import YoloDetector

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
                device=_device(yolo.device),
            ),
        )
    from raypipe.models.vlm import VisionLanguageModel
    from raypipe.models.vlm_detector import VlmDetector

    vlm = config.vlm
    model = VisionLanguageModel.load(Path(str(vlm.model)), _device(vlm.device), vlm.precision, vlm.batch_size)
    return partial(boxes_from_model, VlmDetector(model, vlm.coordinates, vlm.max_objects))


def _device(device: Device) -> str:
    import torch

    return device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


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
        from raypipe.models.trackers import track

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
