"""YOLO detectors of Ultralytics: frames in, boxes out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from raypipe.errors import UserError
from raypipe.models.detection.quiet_ultralytics import AutoBackend, LetterBox, non_max_suppression, scale_boxes
from raypipe.models.detection.yolo_classes import indices_of
from raypipe.models.detection.yolo_weights import load_yolo
from raypipe.models.halving_batches import Batches
from raypipe.ops.boxes import Detections

# What Ultralytics' predictor keeps of a frame at most.
MAX_BOXES = 300


class YoloDetector:
    """A loaded model with its thresholds; equal to `ultralytics.YOLO(...).predict` of one frame, bit for bit on CPU.

    Frames are letterboxed as there: scaled until the longer side has `image_size` pixels, filled up with grey to
    multiples of the stride. On a GPU `batch_size` frames go through at once, the last batch filled up, so that every
    frame meets the same kernels. On a CPU they go one by one: that is as fast, and with some models (YOLOv3-tiny) the
    last bits depend on the number of frames otherwise. So the boxes of a frame never depend on its neighbours there.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        device: str | torch.device = "cpu",
        half: bool = False,
        classes: Sequence[str] | None = None,
        min_confidence: float = 0.25,
        max_overlap: float = 0.7,
        image_size: int = 640,
        batch_size: int = 16,
        where: str = "model",
    ) -> None:
        self.device = torch.device(device)
        on_gpu = self.device.type != "cpu"
        # What the predictor passes on: heads without NMS use their other branch, which every model of YOLO has.
        self.backend: Any = AutoBackend(
            model=model, device=self.device, fp16=half and on_gpu, fuse=True, verbose=False, end2end=False
        )
        self.names: dict[int, str] = self.backend.names
        self.classes = None if classes is None else indices_of(classes, self.names, where)
        if image_size % self.backend.stride:
            raise UserError(f"image_size {image_size} is no multiple of {self.backend.stride}, the stride of {where}")
        self.letterbox = LetterBox((image_size, image_size), auto=True, stride=self.backend.stride)
        self.min_confidence = min_confidence
        self.max_overlap = max_overlap
        self.batches = Batches("yolo", "frames", batch_size if on_gpu else 1, is_padded=True)

    @classmethod
    def load(cls, weights: Path, *, sha256: str | None = None, trust_pickle: bool = False, **options: Any) -> Self:
        """Load a converted folder or a trusted `.pt`, see `load_yolo`; `options` are those of the class.

        Raises UserError where the weights cannot be used, and for class names that the model does not have.
        """
        model = load_yolo(weights, sha256=sha256, trust_pickle=trust_pickle)
        return cls(model, where=str(weights), **options)

    def __call__(self, frames: NDArray[np.uint8], source_size: tuple[int, int]) -> Detections:
        """Return the boxes of frames, uint8 RGB (T, H, W, 3), in pixels of a source of `source_size` (width, height).

        The boxes of a frame come in the order of falling confidence. Where memory runs out, the batch is halved for
        good and the work goes on. Raises GpuMemoryError where a single frame does not fit.
        """

        def detect(batch: slice) -> list[NDArray[np.float32]]:
            return self._detect(frames[batch])

        found = [part for _, parts in self.batches.run(len(frames), detect) for part in parts]
        rows = np.concatenate([np.zeros((0, 6), np.float32), *found])
        scale = np.array(source_size, np.float32) / np.array(frames.shape[2:0:-1], np.float32)
        return Detections(
            frame_offset=np.repeat(np.arange(len(found)), [len(part) for part in found]).astype(np.int64),
            boxes=rows[:, :4] * np.tile(scale, 2),
            confidence=rows[:, 4],
            class_name=np.array([self.names[int(index)] for index in rows[:, 5]], dtype=object),
        )

    @torch.inference_mode()
    def _detect(self, frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return rows of x1 y1 x2 y2 confidence class for each frame, in pixels of the frames."""
        boxed = [self.letterbox(image=np.ascontiguousarray(frame)) for frame in frames]
        boxed += [boxed[-1]] * (self.batches.size - len(boxed))
        images = torch.from_numpy(np.stack(boxed)).to(self.device).permute(0, 3, 1, 2).contiguous()
        images = (images.half() if self.backend.fp16 else images.float()).div_(255)
        rows = non_max_suppression(
            self.backend(images),
            self.min_confidence,
            self.max_overlap,
            classes=self.classes,
            max_det=MAX_BOXES,
            # By default NMS gives up after two seconds and leaves the frames that remain without boxes.
            max_time_img=math.inf,
            end2end=self.backend.end2end,
        )
        for row in rows:
            row[:, :4] = scale_boxes(images.shape[2:], row[:, :4], frames.shape[1:])
        return [row[:, :6].float().cpu().numpy() for row in rows[: len(frames)]]
