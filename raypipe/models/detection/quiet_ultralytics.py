"""The one place that imports Ultralytics, told first to stay off the network and to keep quiet.

Left alone it downloads weights that it does not find, installs packages that it misses, looks for updates, reports
events, writes a settings file into the user's home, and puts a function of its own in the place of Pillow's
`Image.open`. What is imported from here does none of that.
"""

import atexit
import os
import shutil
import tempfile
from typing import Any

from PIL import Image

_settings = tempfile.mkdtemp(prefix="raypipe-ultralytics-")
atexit.register(shutil.rmtree, _settings, ignore_errors=True)
os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false", YOLO_CONFIG_DIR=_settings)

_image_open = Image.open

import torch  # noqa: E402

# NMS takes torchvision's kernel where torchvision was imported before, and its own where not: always the former.
import torchvision  # noqa: E402, F401
import ultralytics.nn.modules as ultralytics_modules  # noqa: E402
from ultralytics import __version__ as ultralytics_version  # noqa: E402
from ultralytics.data.augment import LetterBox  # noqa: E402
from ultralytics.engine.results import Boxes as UltralyticsBoxes  # noqa: E402
from ultralytics.nn.autobackend import AutoBackend  # noqa: E402
from ultralytics.nn.modules.head import Detect  # noqa: E402
from ultralytics.nn.tasks import DetectionModel, guess_model_task, load_checkpoint  # noqa: E402
from ultralytics.trackers import BOTSORT, BYTETracker  # noqa: E402
from ultralytics.utils import ROOT as ULTRALYTICS_FOLDER  # noqa: E402
from ultralytics.utils import SETTINGS, YAML, IterableSimpleNamespace  # noqa: E402
from ultralytics.utils.metrics import ap_per_class  # noqa: E402
from ultralytics.utils.nms import non_max_suppression  # noqa: E402
from ultralytics.utils.ops import scale_boxes  # noqa: E402
from ultralytics.utils.torch_utils import strip_optimizer  # noqa: E402

Image.open = _image_open

__all__ = [
    "BOTSORT",
    "ULTRALYTICS_FOLDER",
    "YAML",
    "AutoBackend",
    "BYTETracker",
    "Detect",
    "DetectionModel",
    "IterableSimpleNamespace",
    "LetterBox",
    "UltralyticsBoxes",
    "ap_per_class",
    "detection_trainer",
    "detection_validator",
    "guess_model_task",
    "load_checkpoint",
    "non_max_suppression",
    "scale_boxes",
    "strip_optimizer",
    "train_in_bf16",
    "ultralytics_modules",
    "ultralytics_version",
]

# Loggers that its trainer would otherwise start by itself, where their packages are installed.
_LOGGERS = ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb")


def detection_trainer() -> Any:
    """Return the class of Ultralytics' trainer, whose import takes long, with none of its loggers."""
    SETTINGS.update({name: False for name in _LOGGERS if name in SETTINGS})
    from ultralytics.models.yolo.detect import DetectionTrainer

    return DetectionTrainer


def detection_validator() -> Any:
    """Return the class by which Ultralytics' trainer measures a detector."""
    SETTINGS.update({name: False for name in _LOGGERS if name in SETTINGS})
    from ultralytics.models.yolo.detect import DetectionValidator

    return DetectionValidator


def train_in_bf16(trainer: Any) -> None:
    """Make a trainer's network bf16 and keep its loss fp32; a callback for the start of a training.

    Ultralytics' own setting is for GPUs only, and its loss is bf16 too, which knows the place of a box's side, counted
    in cells of the finest grid, to half a cell from the 64th on: two pixels of four. Weights and pictures are laid out
    pixel by pixel here, not channel by channel: 0.82 to 0.87 of the time of a step on one thread of a processor.
    """
    model = trainer.model.to(memory_format=torch.channels_last)
    if getattr(model, "criterion", None) is None:
        model.criterion = model.init_criterion()
    model.loss = Bf16Loss(model, trainer.device.type)


class Bf16Loss:
    """The loss of a model whose network is bf16. Not a closure: a trainer may put copies of its model into a pickle."""

    def __init__(self, model: Any, device_type: str) -> None:
        self.model, self.device_type = model, device_type

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Return the loss of a batch and its parts."""
        with torch.autocast(self.device_type, torch.bfloat16):
            predictions = self.model(batch["img"].contiguous(memory_format=torch.channels_last))
        return self.model.criterion(_in_single_precision(predictions), batch)


def _in_single_precision(predictions: Any) -> Any:
    """Return the tensors of nested predictions as fp32."""
    if isinstance(predictions, dict):
        return {name: _in_single_precision(part) for name, part in predictions.items()}
    if isinstance(predictions, list | tuple):
        return [_in_single_precision(part) for part in predictions]
    return predictions.float()
