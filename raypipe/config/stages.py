"""The configs of the stages that a segment goes through."""

from collections.abc import Callable
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from raypipe.language.vlm_answers import Coordinates
from raypipe.models.blip2.config import CaptionRules, Precision
from raypipe.ops.motion import Pooling
from raypipe.ops.tracks import Matching


class DecodeConfig(BaseModel):
    """Which frames are decoded, and how large.

    Every `stride`-th source frame is used; frames are scaled down until the longer side has at most `max_side` pixels
    (null: as they are). A process in which nothing can be read or decoded for `timeout_seconds` is ended, and its
    segment tried again. A whole segment takes seconds, its next packet milliseconds; a store that is slow to answer
    has its own timeouts of a minute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    stride: int = Field(default=1, ge=1)
    max_side: int | None = Field(default=None, ge=16)
    timeout_seconds: float = Field(default=300.0, gt=0, allow_inf_nan=False)


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


class MotionConfig(BaseModel):
    """How block vectors become an object's histogram.

    `pooling` is "area" (summed magnitude per bin over the number of blocks) or "mean_per_bin" (the paper's words).
    Vectors of the frames within a window of `window_seconds`, half before and half after, are pooled inside the box.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pooling: Pooling = "area"
    window_seconds: float = Field(default=0.8, ge=0, allow_inf_nan=False)


def radius_frames(config: MotionConfig, fps: float, stride: int) -> int:
    """Return how many decoded frames before, and as many after, a frame's window spans."""
    return round(config.window_seconds / 2 * fps / stride)


class EncodeConfig(BaseModel):
    """How objects are encoded."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto is the GPU where there is one")
    precision: Precision = Field("fp32", description="bf16 or fp16 on a GPU; fp32 equals LAVIS")
    compile: bool = Field(False, description="compile the image pass: minutes at the start, faster afterwards")
    microbatch_bytes: int = Field(4 << 30, gt=0, description="memory that the activations of one batch may take")
    box_expansion: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="share of a box's width and height that is added on every side; by default 0.5 (Section 4.1), and "
        "0 for sliding windows",
    )


class SentenceConfig(BaseModel):
    """How captions are made, and how long a track's sentence is carried on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    memory: Literal["replace", "append", "off"] = Field(
        "replace",
        description="what a sentence that still holds does to the fresh caption: takes its place, stands before it; "
        "off is the Q-Former alone (Table 3, without SMM)",
    )
    questions: Literal["repaired", "literal"] = Field(
        "repaired", description="literal moves the first verb to the front, as printed"
    )
    num_beams: int = Field(3, ge=1, description="beams of the caption; 1 is greedy")
    max_length: int = Field(30, ge=2, description="tokens of a caption, [DEC] counted")
    min_length: int = Field(10, ge=0)

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} exceeds max_length {self.max_length}")
        return self

    @property
    def rules(self) -> CaptionRules:
        """How captions are decoded."""
        return CaptionRules(self.num_beams, self.max_length, self.min_length)
