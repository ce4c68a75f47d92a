"""Training of a small YOLO from nothing: Ultralytics' own trainer, and one of its architectures made narrower.

Reads data as Ultralytics lays it out (`data.yaml`, images/, labels/), as the drawn world's `--split detection` does.
The result is a folder like a converted checkpoint, read without unpickling anything. An interrupted training goes on
after its last whole epoch; one that was interrupted after its last epoch is only measured.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, field_validator

from raypipe.config.base import Config
from raypipe.config.file import absolute, local_folder
from raypipe.errors import UserError
from raypipe.pretraining.recipe import TrainingConfig, card_of, commit_result, load_config, train_once, training_hash
from raypipe.run_folder.folder import RunFolder

if TYPE_CHECKING:
    from raypipe.tracking.experiment import MetricLogger

OUTPUT_FOLDER = "yolo"
PARTS = ("train", "val")
IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
# Ultralytics' names of the held-out figures, and ours.
METRICS = {
    "metrics/mAP50(B)": "ap50",
    "metrics/mAP50-95(B)": "ap50_95",
    "metrics/precision(B)": "precision",
    "metrics/recall(B)": "recall",
}


class DetectorModelConfig(Config):
    """Which architecture, and how deep and wide; 0.5 and 0.25 are those of a model whose name ends in n."""

    architecture: str = Field("11/yolo11", pattern=r"^[\w.-]+/[\w.-]+$", description="a YAML file of Ultralytics")
    depth: float = Field(0.5, gt=0, description="factor of the repeated blocks")
    width: float = Field(0.125, gt=0, description="factor of the channels")


class DetectorTrainConfig(Config):
    """How it is trained: AdamW, one epoch of warm-up, then a half cosine; mosaics but for the last epochs."""

    epochs: int = Field(20, ge=1, description="passes over the pictures")
    batch_size: int = Field(16, ge=1, description="pictures per step")
    image_size: int = Field(320, ge=32, multiple_of=32, description="pixels of the longer side")
    learning_rate: float = Field(2e-3, gt=0, allow_inf_nan=False, description="at its peak")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the network; its loss is fp32")
    plain_epochs: int = Field(3, ge=0, description="epochs at the end without mosaics")
    use_gpu: bool = Field(False, description="train on the first GPU")
    threads: int = Field(1, ge=1, description="CPU threads; with a GPU, processes that load pictures")


class DetectorTrainingConfig(TrainingConfig):
    """Everything that the training depends on."""

    output: str = Field(min_length=1, description="folder for the result and the checkpoints, a local path")
    seed: int = Field(0, ge=0, lt=2**31, description="of all that is random")
    data: str = Field(min_length=1, description="data.yaml of a data set in Ultralytics' layout")
    model: DetectorModelConfig = DetectorModelConfig()
    train: DetectorTrainConfig = DetectorTrainConfig()

    @field_validator("output")
    @classmethod
    def _output_is_absolute(cls, output: str) -> str:
        return local_folder(output)

    @field_validator("data")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        return absolute(path)


def load_detector_config(path: str | Path, overrides: Iterable[str] = ()) -> DetectorTrainingConfig:
    """Read a YAML file and apply `key=value` overrides. Raises UserError with one line per mistake."""
    return load_config(DetectorTrainingConfig, "detector", path, overrides)


@dataclass(frozen=True)
class DetectorPlan:
    """A training whose data are known to be there; `training_hash` names all that decides its result."""

    config: DetectorTrainingConfig
    class_names: list[str]
    num_pictures: dict[str, int]
    num_boxes: dict[str, int]
    training_hash: str


def plan_detector(config: DetectorTrainingConfig) -> DetectorPlan:
    """Look at the data. Raises UserError where they are not as Ultralytics wants them."""
    try:
        document = yaml.safe_load(Path(config.data).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"data: {config.data}: {error.strerror}; expected the data.yaml of a detection set") from error
    except yaml.YAMLError as error:
        raise UserError(f"data: {config.data}: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not isinstance(document.get("names"), dict | list) or not document["names"]:
        raise UserError(f"data: {config.data}: names no classes; expected the keys path, train, val and names")
    names = document["names"]
    class_names = [str(names[index]) for index in range(len(names))]
    root = Path(config.data).parent / str(document.get("path", ""))
    content = hashlib.sha256()
    num_pictures, num_boxes = {}, {}
    for part in PARTS:
        folder = root / str(document.get(part, f"images/{part}"))
        pictures = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_ENDINGS)
        if not pictures:
            raise UserError(f"data: {config.data}: {part} has no pictures in {folder}")
        num_pictures[part], num_boxes[part] = len(pictures), 0
        for picture in pictures:
            # The last folder called images, as Ultralytics has it.
            label = Path("/labels/".join(f"{picture.parent}/".rsplit("/images/", 1))) / f"{picture.stem}.txt"
            text = label.read_text(encoding="utf-8") if label.exists() else ""
            num_boxes[part] += len(text.splitlines())
            content.update(f"{part}/{picture.name}\0{picture.stat().st_size}\0{text}\0".encode())
        if not num_boxes[part]:
            raise UserError(f"data: {config.data}: {part} has no boxes beside {folder}; expected labels/{part}/*.txt")
    name = training_hash(config, config.train, class_names, content.hexdigest(), model=config.model.model_dump())
    return DetectorPlan(config, class_names, num_pictures, num_boxes, name)


def train_detector(
    plan: DetectorPlan, say: Callable[[str], None], logger: "MetricLogger | None" = None
) -> tuple[dict[str, Any], bool]:
    """Train, or find trained already; return the result's card and whether it was trained now.

    `say` is told of every epoch. The result is `<output>/yolo`, which `detector.yolo.weights` of a run names. Raises
    UserError where the architecture is none of Ultralytics'.
    """
    return train_once(
        plan.config, OUTPUT_FOLDER, plan.training_hash, lambda folder: _train_and_commit(plan, folder, say, logger)
    )


def _train_and_commit(
    plan: DetectorPlan, folder: RunFolder, say: Callable[[str], None], logger: "MetricLogger | None"
) -> dict[str, Any]:
    from raypipe.weights.convert_yolo import convert_yolo

    config, started = plan.config, time.monotonic()
    place = Path(config.output) / "training" / plan.training_hash
    place.mkdir(parents=True, exist_ok=True)
    last = place / "weights" / "last.pt"
    if _epochs_done(last, config.train.epochs) < config.train.epochs:
        found = _train(plan, place, last, say, logger)
    else:
        say("an earlier training ended after its last epoch, before it was measured: only measuring")
        found = measure(plan, place, last)
    metrics = {ours: round(float(found[theirs]), 4) for theirs, ours in METRICS.items()}
    if logger:
        logger({f"held_out_{name}": value for name, value in metrics.items()}, config.train.epochs - 1)
    data = {"pictures": plan.num_pictures, "boxes": plan.num_boxes, "class_names": plan.class_names}
    steps = config.train.epochs * -(-plan.num_pictures["train"] // config.train.batch_size)
    card = card_of(config, plan.training_hash, data, steps, metrics)
    card["seconds_of_last_start"] = round(time.monotonic() - started)
    # This program wrote the checkpoint.
    commit_result(folder, OUTPUT_FOLDER, card, lambda out: convert_yolo(last, out, trust_pickle=True))
    return card


def _epochs_done(last: Path, epochs: int) -> int:
    """Return how many epochs a checkpoint of Ultralytics has behind it; one without its optimizer has them all."""
    from raypipe.models.detection.quiet_ultralytics import load_checkpoint

    if not last.exists():
        return 0
    epoch = int(load_checkpoint(last)[1]["epoch"])
    return epochs if epoch < 0 else epoch + 1


def _settings(plan: DetectorPlan, place: Path) -> dict[str, Any]:
    """Return Ultralytics' settings of the training and its measurement."""
    config, train = plan.config, plan.config.train
    return {
        "data": config.data,
        "imgsz": train.image_size,
        "seed": config.seed,
        "deterministic": True,
        "device": "0" if train.use_gpu else "cpu",
        "workers": train.threads if train.use_gpu else 0,
        "plots": False,
        "project": str(place.parent),
        "name": place.name,
        "exist_ok": True,
        "save_dir": str(place),
        "verbose": False,
    }


def _train(
    plan: DetectorPlan, place: Path, last: Path, say: Callable[[str], None], logger: "MetricLogger | None"
) -> Mapping[str, float]:
    """Train the epochs that are left; return Ultralytics' figures."""
    import torch

    from raypipe.models.detection.quiet_ultralytics import detection_trainer, train_in_bf16

    config, train = plan.config, plan.config.train
    architecture = place / "architecture.yaml"
    architecture.write_text(yaml.safe_dump(scaled_architecture(config.model, len(plan.class_names)), sort_keys=False))
    trainer = detection_trainer()(
        overrides=_settings(plan, place)
        | {
            "model": str(last if last.exists() else architecture),
            "resume": str(last) if last.exists() else False,
            "epochs": train.epochs,
            "batch": train.batch_size,
            "optimizer": "AdamW",
            "lr0": train.learning_rate,
            "lrf": 0.01,
            "cos_lr": True,
            "warmup_epochs": 1,
            "close_mosaic": train.plain_epochs,
            "amp": False,
            "cache": "ram",
            "val": False,
        }
    )
    # Not before: on a CPU, the trainer has just set them to one less than there are cores.
    torch.set_num_threads(train.threads)

    def tell(trainer: Any) -> None:
        losses = {
            name.partition("/")[2]: float(value) for name, value in trainer.label_loss_items(trainer.tloss).items()
        }
        shown = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        say(f"epoch {trainer.epoch + 1} of {trainer.epochs}: {shown}")
        if logger:
            logger(losses, trainer.epoch)

    if train.precision == "bf16":
        trainer.add_callback("on_train_start", train_in_bf16)
    trainer.add_callback("on_train_epoch_end", tell)
    trainer.train()
    found: Mapping[str, float] = trainer.metrics
    return found


def measure(plan: DetectorPlan, place: Path, last: Path) -> Mapping[str, float]:
    """Return the figures that Ultralytics' trainer would have ended with; the checkpoint loses its optimizer."""
    import torch

    from raypipe.models.detection.quiet_ultralytics import detection_validator, strip_optimizer

    train = plan.config.train
    strip_optimizer(last)
    # As the trainer measures: twice as many pictures at once as it trains on, no larger than they need be.
    own = {"model": str(last), "batch": 2 * train.batch_size, "rect": True, "split": "val", "mode": "val"}
    validator = detection_validator()(save_dir=place, args=_settings(plan, place) | own)
    torch.set_num_threads(train.threads)
    found: Mapping[str, float] = validator(model=str(last))
    return found


def scaled_architecture(config: DetectorModelConfig, num_classes: int) -> dict[str, Any]:
    """Return an architecture of Ultralytics with other depth, width and number of classes. Raises UserError."""
    from raypipe.models.detection.quiet_ultralytics import ULTRALYTICS_FOLDER

    folder = Path(ULTRALYTICS_FOLDER) / "cfg" / "models"
    path = folder / f"{config.architecture}.yaml"
    if not path.is_file():
        known = sorted(str(found.relative_to(folder).with_suffix("")) for found in folder.glob("*/yolo*.yaml"))
        plain = [name for name in known if "-" not in name]
        raise UserError(f"model.architecture: {config.architecture} is not one of Ultralytics': {', '.join(plain)}")
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    document.pop("scales", None)
    return document | {"nc": num_classes, "depth_multiple": config.depth, "width_multiple": config.width}
