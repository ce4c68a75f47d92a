"""The configs of the stages that a segment goes through."""

from collections.abc import Callable
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from raypipe.config.base import Config
from raypipe.language.vlm_answers import Coordinates
from raypipe.models.blip2.config import CaptionRules, Precision
from raypipe.ops.motion import Pooling, Unit
from raypipe.ops.tracks import Matching


class DecodeConfig(Config):
    """Which frames are decoded, and how large."""

    stride: int = Field(1, ge=1, description="use every n-th frame of a video; 1 uses all")
    max_side: int | None = Field(
        None,
        ge=16,
        description="scale frames down until the longer side has at most this many pixels; null keeps their size",
    )
    # A whole segment takes seconds and its next packet milliseconds; a slow store has timeouts of its own, of a minute.
    timeout_seconds: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds without a frame after which the decoding process is ended and its segment tried again",
    )


# What `min_confidence: null` means to a YOLO model; Ultralytics' own default.
YOLO_MIN_CONFIDENCE = 0.25


Device = Literal["auto", "cpu", "cuda"]


class YoloConfig(Config):
    """Kind `yolo`: a detection model of Ultralytics."""

    weights: str | None = Field(
        None, description="folder written by `raypipe weights convert --yolo`, or a trusted .pt file"
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-fA-F]{64}$",
        description="SHA-256 that a .pt file must have; null where `weights` is a folder",
    )
    trust_pickle: bool = Field(False, description="read a .pt file without `sha256`; loading it can run any code")
    classes: list[str] | None = Field(None, description="names of the classes to keep; null keeps all classes")
    max_overlap: float = Field(
        0.7, ge=0, le=1, description="of two boxes with a larger IoU, the less confident one is dropped"
    )
    image_size: int = Field(
        640, ge=32, description="pixels of the longer side of the picture given to the model; a multiple of 32"
    )
    half: bool = Field(True, description="compute in half precision on a GPU; a CPU always computes in fp32")
    batch_size: int = Field(16, ge=1, description="frames per batch on a GPU; halved when memory runs out")
    device: Device = Field("auto", description="auto takes the GPU if there is one")


class VlmConfig(Config):
    """Kind `vlm`: a vision-language model that is asked for people, one by one (Section D, Table 4)."""

    model: str | None = Field(
        None, description="folder of a vision-language model (Qwen-VL or alike) in transformers' format"
    )
    coordinates: Coordinates = Field(
        "auto",
        description="unit of the model's box coordinates: thousandths of the picture, or pixels of the picture that it "
        "is given; auto knows the unit of Qwen2-VL, Qwen2.5-VL and Qwen3-VL",
    )
    max_objects: int = Field(50, ge=1, description="most objects asked for in a frame")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="number format of the model on a GPU")
    batch_size: int = Field(8, ge=1, description="questions per batch on a GPU; halved when memory runs out")
    device: Device = Field("auto", description="auto takes the GPU if there is one")


class DetectorConfig(Config):
    """Where boxes come from and which are kept."""

    kind: Literal["boxes", "sliding_window", "yolo", "vlm"] = Field(
        "boxes",
        description="where boxes come from: files, windows on a grid, a YOLO model, or a vision-language model",
    )
    boxes_root: str | None = Field(
        None, description="boxes: folder or URI with one <video_id>.txt per video, in MOT format; needed for this kind"
    )
    window_pixels: int = Field(
        224,
        ge=8,
        description="sliding_window: side of a window in pixels. The paper takes 224 for ShanghaiTech and NWPU Campus, "
        "320 for Avenue and UBnormal, 60 for Ped2 (Table 4)",
    )
    window_step_pixels: int | None = Field(
        None, ge=1, description="sliding_window: pixels from one window to the next; null is half a window"
    )
    min_confidence: float | None = Field(
        None,
        allow_inf_nan=False,
        description="drop boxes with a lower confidence; null is 0.25 for yolo and keeps all boxes of other kinds",
    )
    min_side_pixels: float = Field(
        4.0, ge=0, allow_inf_nan=False, description="drop boxes with a side shorter than this many pixels"
    )
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
                raise ValueError(f"{dial} belongs to kind {owner!r}, but kind is {self.kind!r}: change one of them")
        if self.kind == "yolo" and self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence is {self.min_confidence}; those of yolo lie between 0 and 1")
        return self

    @property
    def confidence_threshold(self) -> float:
        """The least confidence of a box that is kept; what null stands for is filled in."""
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


class TracksConfig(Config):
    """How boxes of neighbouring frames become one object."""

    kind: Literal["iou", "bytetrack", "botsort"] = Field(
        "iou", description="match by overlap alone, or Ultralytics' trackers"
    )
    matching: Matching = Field(
        "hungarian", description="iou: hungarian finds the best sum of overlaps, greedy takes the best overlap first"
    )
    min_iou: float = Field(0.3, gt=0, le=1, description="iou: least overlap with which a box continues a track")
    high_confidence: float = Field(
        0.25, ge=0, le=1, description="bytetrack, botsort: least confidence of a box that starts a track"
    )
    low_confidence: float = Field(
        0.1, ge=0, le=1, description="bytetrack, botsort: least confidence of a box that continues a track"
    )
    max_gap_frames: int = Field(5, ge=0, description="used frames for which an object may be unseen and keep its track")

    @model_validator(mode="after")
    def _dials_belong_to_the_kind(self) -> Self:
        of_iou = self.kind == "iou"
        for dial in ("high_confidence", "low_confidence") if of_iou else ("matching", "min_iou"):
            if getattr(self, dial) != type(self).model_fields[dial].default:
                owner = "bytetrack and botsort" if of_iou else "iou"
                raise ValueError(f"{dial} belongs to {owner}, but kind is {self.kind!r}: change one of them")
        if self.low_confidence > self.high_confidence:
            raise ValueError(f"low_confidence {self.low_confidence} exceeds high_confidence {self.high_confidence}")
        return self


class MotionConfig(Config):
    """How the motion vectors inside a box become the object's histogram."""

    pooling: Pooling = Field(
        "area",
        description="area: summed magnitude of each direction over the number of blocks in the box; mean_per_bin: mean "
        "magnitude of each direction, as the paper words it",
    )
    window_seconds: float = Field(
        0.8,
        ge=0,
        allow_inf_nan=False,
        description="seconds over which vectors are pooled, half before and half after a frame; 0 is the frame alone",
    )
    unit: Unit = Field(
        "second",
        description="motion in pixels per second, so that videos of several frame rates can be compared, or per "
        "source_frame, as runs of 0.1 have it",
    )


def radius_frames(config: MotionConfig, fps: float, stride: int) -> int:
    """Return how many decoded frames a window spans before its frame, which is as many as after it."""
    return round(config.window_seconds / 2 * fps / stride)


class EncodeConfig(Config):
    """How objects are encoded."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes the GPU if there is one")
    precision: Precision = Field("fp32", description="number format; fp32 equals LAVIS, bf16 and fp16 are for a GPU")
    compile: bool = Field(False, description="compile the image encoder: minutes at the start, faster afterwards")
    microbatch_bytes: int = Field(4 << 30, gt=0, description="bytes that the activations of one batch may take")
    box_expansion: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="share of a box's width and height added on every side before it is cropped; null is 0.5 (Section "
        "4.1), and 0 for sliding windows",
    )


class SentenceConfig(Config):
    """How captions are made, and how long a track's sentence is carried on."""

    memory: Literal["replace", "append", "off"] = Field(
        "replace",
        description="what happens when a track's earlier sentence still holds: it replaces the new caption, or the new "
        "caption is appended to it; off keeps captions as they are (Table 3, without SMM)",
    )
    questions: Literal["repaired", "literal"] = Field(
        "repaired",
        description="how a sentence becomes a yes/no question: repaired is grammatical, literal moves the first verb "
        "to the front, as printed in the paper",
    )
    num_beams: int = Field(3, ge=1, description="beams of the search for a caption; 1 is greedy")
    max_length: int = Field(30, ge=2, description="most tokens of a caption, its start token counted")
    min_length: int = Field(10, ge=0, description="tokens before a caption may end")

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} exceeds max_length {self.max_length}")
        return self

    @property
    def rules(self) -> CaptionRules:
        """How captions are decoded."""
        return CaptionRules(self.num_beams, self.max_length, self.min_length)
