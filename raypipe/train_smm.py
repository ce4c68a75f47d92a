"""Training of the state machine on captioned images, BLIP-2 frozen (Sections 3.4 and 4.1, Eq. 6; Table 5, setting 7).

An image's own captions hold of it. A caption of another image with a different meaning does not: what may or may not
hold, because it shares too many words with what is said of the image, is left out. Or a file says what holds
(`jobs/label_vqa.py` writes one).
"""

import json
import shlex
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from raypipe.config import RayConfig
from raypipe.config_file import absolute, digest, local_folder, read_document, validate
from raypipe.credentials import hide_credentials, without_credentials
from raypipe.datasets.coco_captions import CaptionSet
from raypipe.datasets.vqa_labels import VqaLabels, read_labels
from raypipe.errors import UserError
from raypipe.experiment import TrackingConfig
from raypipe.model_folders import fingerprint, require_files
from raypipe.models.blip2_config import Precision, Stage1Config, read_config
from raypipe.storage import RunFolder
from raypipe.training_pairs import MIN_IMAGES, PairsConfig, read_pairs, what_decides
from raypipe.versions import versions

if TYPE_CHECKING:
    from raypipe.experiment import MetricLogger
    from raypipe.models.state_machine import StateMachineShape

EXAMPLE = "jobs/train_smm.yaml"
OUTPUT_FOLDER = "smm"


class SmmModelConfig(BaseModel):
    """Which state machine, and whose tokens it reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    blip2: str = Field(min_length=1, description="folder of the frozen BLIP-2 whose tokens it reads")
    variant: Literal["gated", "printed"] = Field("gated", description="printed is linear and cannot learn the task")
    order: int = Field(64, ge=1, description="basis functions O")
    num_machines: int = Field(3, ge=1, description="stacked machines N_SMM; the paper has 1, 3, 5")
    temperature: float = Field(0.05, gt=0, allow_inf_nan=False, description="tau of p(yes)")
    initialisation: Literal["default", "paper"] = Field(
        "default", description="of the weights: torch's, or N(0, 0.02) but for the gate"
    )

    @field_validator("blip2")
    @classmethod
    def _is_on_this_machine(cls, path: str) -> str:
        return local_folder(path)


class SmmTargetsConfig(BaseModel):
    """What counts as yes and no."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    labels: str | None = Field(None, min_length=1, description="labels of jobs/label_vqa.py; null: captions alone")
    # At 0.6 "a man is fighting" does not hold of "a man is running" (a half of its words), while "a man rides a bike"
    # may hold of "a man on a bicycle rides by" (two thirds).
    different_below: float = Field(
        0.6, gt=0, le=1, description="a caption with a smaller share of its words said of an image does not hold of it"
    )
    questions: Literal["repaired", "literal"] = Field("repaired", description="as sentence.questions of a run")

    @field_validator("labels")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        return absolute(path) if path else path


class SmmTrainConfig(BaseModel):
    """How it is trained: the paper's rate, decaying from epoch to epoch (Section 4.1), by Adam, which is our choice."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epochs: int = Field(20, ge=1, description="passes over the images, each with one of its captions")
    most_per_caption: int | None = Field(
        None,
        ge=1,
        description="images of one caption in an epoch, of all workers, drawn anew each time; null: all",
    )
    batch_size: int = Field(64, ge=MIN_IMAGES, description="B_s of the B_s x B_s grid, per worker")
    learning_rate: float = Field(5e-5, gt=0, allow_inf_nan=False, description="at the start; the paper's")
    decay: float = Field(0.99, gt=0, le=1, description="factor of the rate from one epoch to the next")
    precision: Precision = Field("fp32", description="of the frozen BLIP-2; the state machine is fp32")
    encode_batch_size: int = Field(64, ge=1, description="images at once through BLIP-2, whose tokens are then kept")
    keep_token_bytes: int = Field(
        8 << 30, ge=0, description="tokens that a worker keeps in memory; more go to its disk"
    )
    workers: int = Field(1, ge=1, description="processes that train together")
    use_gpu: bool = Field(False, description="a GPU for each worker")
    threads: int | None = Field(None, ge=1, description="CPU threads of a worker; null: its share of half the cores")
    max_failures: int = Field(3, ge=0, description="worker deaths after which training is given up")


class SmmConfig(BaseModel):
    """Everything that the training depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    output: str = Field(min_length=1, description="folder for the result and the checkpoints, a path or URI")
    seed: int = Field(0, ge=0, lt=2**32, description="of all that is random")
    data: PairsConfig
    model: SmmModelConfig
    targets: SmmTargetsConfig = SmmTargetsConfig()
    train: SmmTrainConfig = SmmTrainConfig()
    tracking: TrackingConfig = TrackingConfig()
    ray: RayConfig = RayConfig()

    @field_validator("output")
    @classmethod
    def _output_is_absolute(cls, output: str) -> str:
        return absolute(output)

    @property
    def labels_held_out(self) -> bool:
        """Whether the labels are of the held-out images too: only ids of the same annotations mean the same images."""
        return self.targets.labels is not None and self.data.held_out_annotations is None


def load_smm_config(path: str | Path, overrides: Iterable[str] = ()) -> SmmConfig:
    """Read a YAML file and apply `key=value` overrides. Raises UserError with one line per mistake."""
    return validate(SmmConfig, read_document(path, overrides, EXAMPLE), str(path))


@dataclass(frozen=True)
class SmmPlan:
    """A training whose data and weights are known to fit; `training_hash` names all that decides its result."""

    config: SmmConfig
    fit: CaptionSet
    held_out: CaptionSet
    labels: VqaLabels | None
    shape: "StateMachineShape"
    tagger: str
    training_hash: str


def plan_smm(config: SmmConfig) -> SmmPlan:
    """Read what is trained on. Raises UserError for data, labels and weights that cannot be trained with."""
    from raypipe.models.blip2 import VOCAB_FILE
    from raypipe.models.blip2_tokenizer import SentenceTokenizer, read_vocab
    from raypipe.models.questions import Questioner
    from raypipe.models.state_machine import StateMachineShape

    blip2 = Path(config.model.blip2)
    require_files("model.blip2", blip2, "raypipe weights convert", ("config.json", "model.safetensors", VOCAB_FILE))
    sizes: Stage1Config = read_config(blip2 / "config.json")[0]
    yes, no = SentenceTokenizer(read_vocab(blip2 / VOCAB_FILE), sizes).encode(["yes", "no"])[0].tolist()
    if yes == no:
        raise UserError(f"model.blip2: the vocabulary of {blip2} holds neither yes nor no, so nothing can be answered")
    shape = StateMachineShape(
        hidden=sizes.hidden,
        num_query=sizes.num_query,
        max_text=sizes.max_txt_len,
        order=config.model.order,
        num_machines=config.model.num_machines,
        variant=config.model.variant,
        temperature=config.model.temperature,
    )
    fit, held_out = read_pairs(config.data)
    labels = read_labels(config.targets.labels) if config.targets.labels else None
    if labels is not None:
        require_labelled(labels, fit, "to train on", str(config.targets.labels))
        if config.labels_held_out:
            require_labelled(labels, held_out, "held out", str(config.targets.labels))
    tagger = Questioner(config.targets.questions).tagger_name
    settings = config.model_dump(include={"seed", "targets", "train"}) | {"shape": asdict(shape), "tagger": tagger}
    settings["train"] = what_decides(settings["train"])
    pairs = [[image.image_id, image.path, *image.captions] for part in (fit, held_out) for image in part.images]
    said = labels and [labels.image_ids, labels.captions, labels.answers.tolist()]
    name = digest([settings, config.model.initialisation, len(fit.images), pairs, said, fingerprint(blip2)])
    return SmmPlan(config, fit, held_out, labels, shape, tagger, name)


def require_labelled(labels: VqaLabels, part: CaptionSet, name: str, where: str) -> None:
    """Raise UserError where too few of the images have labels, or where all labels of them say the same."""
    known = {str(image.image_id) for image in part.images}
    answers = [
        answer for image_id, answer in zip(labels.image_ids, labels.answers.tolist(), strict=True) if image_id in known
    ]
    count = len(known & set(labels.image_ids))
    if count < MIN_IMAGES:
        raise UserError(
            f"targets.labels: {where} has labels of {count} of the {len(known)} images {name}; "
            f"{MIN_IMAGES} or more are needed. Are they of these annotations?"
        )
    if all(answers) or not any(answers):
        word = "yes" if all(answers) else "no"
        raise UserError(
            f"targets.labels: every label that {where} has of the images {name} says {word}; both are needed"
        )


def train_smm(plan: SmmPlan, logger: "MetricLogger | None" = None) -> tuple[dict[str, Any], bool]:
    """Train, or find trained already; return the result's card and whether it was trained now.

    The result is `<output>/smm`, which `weights.smm` of a run names. Raises UserError where too few images turn out
    to be readable, or the cluster too small.
    """
    from raypipe.cluster import connect
    from raypipe.models.state_machine import CARD_FILE
    from raypipe.train_group import STATE_FILE
    from raypipe.train_smm_worker import TRAINED_FILE, train_loop
    from raypipe.trainer import run_training

    config = plan.config
    folder = RunFolder(config.output)
    known = folder.read_json(f"{OUTPUT_FOLDER}/{CARD_FILE}")
    if known is not None and known.get("training_hash") == plan.training_hash:
        return known, False
    connect(config.ray)
    checkpoint = run_training(
        train_loop,
        {"config": hide_credentials(config.model_dump()), "shape": asdict(plan.shape)},
        folder=folder,
        name=plan.training_hash,
        epochs=config.train.epochs,
        workers=config.train.workers,
        use_gpu=config.train.use_gpu,
        max_failures=config.train.max_failures,
        logger=logger,
    )
    with checkpoint.as_directory() as directory:
        state = json.loads((Path(directory) / STATE_FILE).read_text())
        if state["refused"]:
            raise UserError(state["refused"])
        card = {
            "training_hash": plan.training_hash,
            "data": {
                "read": plan.fit.report(),
                "held_out": plan.held_out.report(),
                "labels": plan.labels and plan.labels.report(),
            },
            "tagger": plan.tagger,
            "unreadable": state["unreadable"],
            "blip2": {"folder": config.model.blip2, "fingerprint": fingerprint(Path(config.model.blip2))},
            "steps": state["steps"],
            "metrics": state["history"][-1],
            "history": state["history"],
            "config": hide_credentials(config.model_dump()),
            "versions": versions(),
            "command": without_credentials(shlex.join(sys.argv)),
        }
        _write_result(folder, plan.shape, Path(directory) / TRAINED_FILE, card)
    return card, True


def _write_result(folder: RunFolder, shape: "StateMachineShape", trained: Path, card: dict[str, Any]) -> None:
    """Commit the folder of the trained machine, its card last."""
    from safetensors.torch import load_file

    from raypipe.models.state_machine import CARD_FILE, StateMachine

    machine = StateMachine(shape)
    machine.load_state_dict(load_file(trained))
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / OUTPUT_FOLDER
        machine.save(out, card)
        folder.commit_files(out, OUTPUT_FOLDER, last=CARD_FILE)
