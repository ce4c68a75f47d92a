"""Training of the image-text alignment module: BLIP-2 stage 1 on (image, caption) pairs. Appendix E, Table 5.

From a trained folder ("D. 2": go on with the benchmark's own crops and captions, or train another structure on its
image encoder), or from nothing, image encoder included, at any size. The result is a folder like a converted one.
"""

import json
import shlex
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from raypipe.config import RayConfig
from raypipe.config_file import absolute, digest, local_folder, read_document, validate
from raypipe.credentials import hide_credentials, without_credentials
from raypipe.datasets.coco_captions import CaptionSet
from raypipe.errors import UserError
from raypipe.experiment import TrackingConfig
from raypipe.model_folders import fingerprint
from raypipe.models.augment import AugmentConfig
from raypipe.models.blip2_config import Stage1Config, read_config
from raypipe.models.blip2_init import STRUCTURES, adapt_weights, initial_weights
from raypipe.models.blip2_tokenizer import SPECIAL_IDS, SentenceTokenizer, build_vocab, read_vocab
from raypipe.storage import RunFolder
from raypipe.training_pairs import MIN_IMAGES, PairsConfig, read_pairs, what_decides
from raypipe.versions import versions

if TYPE_CHECKING:
    from torch import Tensor

    from raypipe.experiment import MetricLogger

EXAMPLE = "jobs/train_itam.yaml"
OUTPUT_FOLDER = "blip2"
CARD_FILE = "card.json"
# What a checkpoint holds beside the optimizer's state.
TRAINED_FILE = "trained.safetensors"
TEMPERATURE = "temperature"


class VitConfig(BaseModel):
    """An image encoder that is trained from nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: Literal["eva_clip_g", "clip_L"] = Field("eva_clip_g", description="kind of blocks")
    image_size: int = Field(ge=1, description="pixels of a side")
    patch_size: int = Field(ge=1, description="pixels of a patch's side")
    width: int = Field(ge=1, description="V_d")
    depth: int = Field(ge=1, description="blocks")
    heads: int = Field(ge=1, description="heads of its attention")
    mlp_ratio: float = Field(4.0, gt=0, description="width of its feed-forward layers over V_d")


class ItamModelConfig(BaseModel):
    """Which model, and from where it starts. What is null is as in `start`, or as in LAVIS's `pretrain`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    start: str | None = Field(None, min_length=1, description="trained folder to start from; null: from nothing")
    structure: Literal["blip2", "str1", "str2", "str3"] | None = Field(None, description="layers and heads of Table 5")
    num_query: int | None = Field(None, ge=1, description="image tokens N_q; the paper has 32, 64, 128")
    hidden: int | None = Field(None, ge=1, description="width H_d of the Q-Former")
    layers: int | None = Field(None, ge=1, description="layers of the Q-Former")
    heads: int | None = Field(None, ge=1, description="heads of its attention")
    intermediate: int | None = Field(None, ge=1, description="width of its feed-forward layers")
    cross_attention_freq: int | None = Field(None, ge=1, description="every how many layers one looks at the image")
    embed_dim: int | None = Field(None, ge=1, description="width of the contrastive space")
    max_txt_len: int | None = Field(None, ge=3, description="tokens S_l of a sentence")
    vit: VitConfig | None = Field(None, description="image encoder to train from nothing; needed without start")
    train_vit: bool = Field(False, description="train the image encoder of start too; one from nothing always is")
    train_projections: bool = Field(
        True,
        description="train both projections into the contrastive space; false: they stay as they start",
    )
    vocab: str | None = Field(None, min_length=1, description="auto (of the captions) or a vocab.txt; null: start's")
    min_word_count: int = Field(2, ge=1, description="auto: rarer words are spelled")

    @field_validator("start")
    @classmethod
    def _is_on_this_machine(cls, path: str | None) -> str | None:
        return local_folder(path) if path else path

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        if self.start is None and (self.vit is None or self.vocab is None):
            raise ValueError("without start, a model needs vit and vocab")
        if self.start is not None and (self.vit is not None or self.vocab == "auto"):
            raise ValueError("start brings its own image encoder and vocabulary; leave out vit and vocab: auto")
        return self

    @property
    def trains_vit(self) -> bool:
        """Whether the image encoder is trained."""
        return self.train_vit or self.start is None


class ItamTrainConfig(BaseModel):
    """How it is trained: warm-up, then a half cosine to 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epochs: int = Field(10, ge=1, description="passes over the images, each with one of its captions")
    batch_size: int = Field(64, ge=MIN_IMAGES, description="pairs per step and worker; contrast is over all workers")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="adamw; or muon for matrices of hidden layers: fewer steps from nothing; its own products are bf16",
    )
    learning_rate: float = Field(1e-4, gt=0, allow_inf_nan=False, description="at its peak")
    warmup_fraction: float = Field(0.05, ge=0, le=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(0.05, ge=0, allow_inf_nan=False, description="of matrices")
    temperature: float | None = Field(
        None, ge=0.001, le=0.5, description="of the contrast, kept as it is; null: trained, from 0.07"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="of the Q-Former's residual branches")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the matrix products; weights stay fp32. On a CPU without bf16, fp32 is taken"
    )
    workers: int = Field(1, ge=1, description="processes that train together")
    use_gpu: bool = Field(False, description="a GPU for each worker")
    threads: int | None = Field(None, ge=1, description="CPU threads of a worker; null: its share of half the cores")
    keep_image_bytes: int = Field(8 << 30, ge=0, description="images that a worker keeps in memory; more are read anew")
    max_failures: int = Field(3, ge=0, description="worker deaths after which training is given up")


class ItamConfig(BaseModel):
    """Everything that the training depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    output: str = Field(min_length=1, description="folder for the result and the checkpoints, a path or URI")
    seed: int = Field(0, ge=0, lt=2**32, description="of all that is random")
    data: PairsConfig
    model: ItamModelConfig
    augment: AugmentConfig = AugmentConfig()
    train: ItamTrainConfig = ItamTrainConfig()
    tracking: TrackingConfig = TrackingConfig()
    ray: RayConfig = RayConfig()

    @field_validator("output")
    @classmethod
    def _output_is_absolute(cls, output: str) -> str:
        return absolute(output)


def load_itam_config(path: str | Path, overrides: Iterable[str] = ()) -> ItamConfig:
    """Read a YAML file and apply `key=value` overrides. Raises UserError with one line per mistake."""
    return validate(ItamConfig, read_document(path, overrides, EXAMPLE), str(path))


@dataclass(frozen=True)
class Start:
    """Where training starts: the sizes, the word pieces, all weights, and the names of those that are new."""

    sizes: Stage1Config
    vocab: list[str]
    weights: "dict[str, Tensor]"
    new: list[str]


def plan_sizes(config: ItamModelConfig, captions: Iterable[str]) -> tuple[Stage1Config, list[str]]:
    """Return the sizes of the model to train and its word pieces. Raises UserError where they do not fit each other."""
    base = read_config(Path(config.start) / "config.json")[0] if config.start else Stage1Config()
    changes: dict[str, Any] = {"can_caption": True}
    if config.vit:
        changes |= {"vit": config.vit.kind, "vit_mlp_ratio": config.vit.mlp_ratio}
        changes |= {"image_size": config.vit.image_size, "patch_size": config.vit.patch_size}
        changes |= {f"vit_{name}": getattr(config.vit, name) for name in ("width", "depth", "heads")}
    changes |= asdict(STRUCTURES[config.structure]) if config.structure else {}
    named = ("num_query", "hidden", "layers", "heads", "intermediate", "cross_attention_freq", "embed_dim")
    changes |= {name: value for name in (*named, "max_txt_len") if (value := getattr(config, name)) is not None}
    if config.vocab == "auto":
        vocab = build_vocab(captions, config.min_word_count)
    else:
        vocab = read_vocab(Path(config.vocab) if config.vocab else Path(str(config.start)) / "vocab.txt")
    if not config.start:
        at = {token: index for index, token in enumerate(vocab)}
        missing = [token for token in SPECIAL_IDS if token not in at]
        if missing:
            raise UserError(f"model.vocab: {config.vocab} lacks {', '.join(missing)}")
        changes |= {name: at[token] for token, name in SPECIAL_IDS.items()}
        changes |= {"vocab_size": len(vocab) + 1, "bos_id": len(vocab)}
    try:
        sizes = replace(base, **changes)
        SentenceTokenizer(vocab, sizes)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    return sizes, vocab


def start_from(config: ItamModelConfig, sizes: Stage1Config, vocab: list[str], seed: int) -> Start:
    """Return the weights that training starts from. Raises UserError where `start` cannot lend them."""
    if config.start is None:
        weights = initial_weights(sizes, seed)
        return Start(sizes, vocab, weights, sorted(weights))
    from raypipe.models.blip2 import Blip2

    lender = Blip2.load(Path(config.start))
    try:
        weights, new = adapt_weights(lender.state_dict(), lender.config, sizes, seed)
    except ValueError as error:
        raise UserError(f"model.start: {config.start}: {error}") from error
    return Start(sizes, vocab, weights, new)


@dataclass(frozen=True)
class ItamPlan:
    """A training whose data and sizes are known to fit; `training_hash` names all that decides its result."""

    config: ItamConfig
    fit: CaptionSet
    held_out: CaptionSet
    sizes: Stage1Config
    vocab: list[str]
    training_hash: str


def plan_itam(config: ItamConfig) -> ItamPlan:
    """Read what is trained on and settle the sizes. Raises UserError for data and sizes that cannot be trained."""
    fit, held_out = read_pairs(config.data)
    sizes, vocab = plan_sizes(config.model, (caption for _, caption in fit.pairs))
    return ItamPlan(config, fit, held_out, sizes, vocab, _training_hash(config, fit, held_out, sizes, vocab))


def train_itam(plan: ItamPlan, logger: "MetricLogger | None" = None) -> tuple[dict[str, Any], bool]:
    """Train, or find trained already; return the result's card and whether it was trained now.

    The result is `<output>/blip2`. Raises UserError where the images turn out to be unreadable, or the cluster too
    small.
    """
    from raypipe.cluster import connect
    from raypipe.train_group import STATE_FILE
    from raypipe.train_itam_worker import train_loop
    from raypipe.trainer import run_training

    config = plan.config
    folder = RunFolder(config.output)
    known = folder.read_json(f"{OUTPUT_FOLDER}/{CARD_FILE}")
    if known is not None and known.get("training_hash") == plan.training_hash:
        return known, False
    connect(config.ray)
    checkpoint = run_training(
        train_loop,
        {"config": hide_credentials(config.model_dump()), "sizes": asdict(plan.sizes), "vocab": plan.vocab},
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
        start = start_from(config.model, plan.sizes, plan.vocab, config.seed)
        card = {
            "training_hash": plan.training_hash,
            "data": {"read": plan.fit.report(), "held_out": plan.held_out.report()},
            "unreadable": state["unreadable"],
            "started_from": config.model.start,
            "new_weights": start.new if config.model.start else "all",
            "steps": state["steps"],
            "temperature": state["temperature"],
            "precision": state.get("precision"),
            "metrics": state["history"][-1],
            "history": state["history"],
            "config": hide_credentials(config.model_dump()),
            "sizes": asdict(plan.sizes),
            "versions": versions(),
            "command": without_credentials(shlex.join(sys.argv)),
        }
        _write_result(folder, start, Path(directory) / TRAINED_FILE, card)
    return card, True


def _training_hash(
    config: ItamConfig, fit: CaptionSet, held_out: CaptionSet, sizes: Stage1Config, vocab: list[str]
) -> str:
    """Return the hash of all that decides the training: settings, sizes, captions, and the folder it starts from."""
    settings = config.model_dump(include={"seed", "augment", "train", "model"})
    settings["train"] = what_decides(settings["train"])
    start = settings["model"].pop("start")
    pairs = [[image.path, *image.captions] for part in (fit, held_out) for image in part.images]
    return digest([settings, asdict(sizes), vocab, len(fit.images), pairs, start and fingerprint(Path(start))])


def _write_result(folder: RunFolder, start: Start, trained: Path, card: dict[str, Any]) -> None:
    """Put the trained weights over those that training started from; commit the folder, its card last."""
    from safetensors.torch import load_file

    from raypipe.models.blip2_weights import Translation
    from raypipe.weights import write_folder

    weights = start.weights | {name: tensor for name, tensor in load_file(trained).items() if name != TEMPERATURE}
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / OUTPUT_FOLDER
        write_folder(out, Translation(start.sizes, weights), start.vocab, [], [])
        # The card is written last of all, beside them.
        (out / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        folder.commit_files(out, OUTPUT_FOLDER, last=CARD_FILE)
