"""Training of the model that scores: the reconstruction module by Ray Train, density models on a sample.

Trained on objects of the training split only. A tenth of its videos is held out: their errors give each part of
the score its unit (`balanced` weighting, `paper-notes.md`).
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from raypipe.config_file import digest
from raypipe.errors import UserError
from raypipe.features import read_records
from raypipe.models.density import make_density
from raypipe.schema import NUM_MOTION_BINS
from raypipe.storage import RunFolder, escape
from raypipe.training_data import ReadMotion, sample_motion, split_held_out

if TYPE_CHECKING:
    from raypipe.catalog import Catalogue
    from raypipe.config import RunConfig
    from raypipe.experiment import MetricLogger

ModelKind = Literal["rm", "knn", "gmm"]

MODEL_CARD = "model.json"
MODEL_FILE = "model.safetensors"
# A density model is fitted to a sample of at most this many objects.
MAX_FIT_ROWS = 500_000
# As many held-out objects tell the mean errors of normal ones.
MAX_HELD_OUT_ROWS = 20_000
# Files of features are read by this many tasks at most, a few files at a time.
MAX_READ_TASKS = 64
FILES_PER_READ = 8


class TrainConfig(BaseModel):
    """How the reconstruction module is trained (Section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epochs: int = Field(10, ge=1)
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    batch_size: int = Field(1024, ge=1, description="objects per step and worker")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the matrix products; weights stay fp32")
    num_layers: int = Field(7, ge=2)
    hidden_size: int = Field(512, ge=1)
    workers: int = Field(1, ge=1)
    use_gpu: bool = False
    max_failures: int = Field(3, ge=0, description="worker deaths after which training is given up")


@dataclass(frozen=True)
class TrainedModel:
    """What `model.json` says of a trained model.

    `held_out_means` are the mean spatial and motion errors on held-out normal objects; `floor` is their least motion
    error, which the frames of a video without any object get.
    """

    kind: ModelKind
    train_hash: str
    feature_hash: str
    num_spatial: int
    num_motion: int
    held_out_means: tuple[float, float]
    floor: float
    num_objects: int
    history: list[dict[str, float]]


def train(
    config: "RunConfig", catalogue: "Catalogue", logger: "MetricLogger | None" = None
) -> tuple[TrainedModel, bool]:
    """Train the model that `score.model` names on the normal videos, or find it trained already.

    Returns what is known of it, and whether it was trained now. Raises UserError where there is nothing to train on.
    """
    folder = RunFolder(config.output)
    committed = folder.committed()
    videos = [video for video in _training_videos(catalogue) if video in committed]
    if not videos:
        raise UserError("no video of the train split has features: nothing to train on")
    fit_videos, held_out_videos = split_held_out(videos)

    def files(video_ids: list[str]) -> list[str]:
        return [folder.feature_path(video, index) for video in video_ids for index in sorted(committed[video])]

    train_hash = training_hash(config, folder, catalogue)
    known = read_model(folder, config.score.model)
    if known is not None and known.train_hash == train_hash:
        return known, False

    if not any(
        record.num_objects for record in read_records(folder, {video: committed[video] for video in fit_videos})
    ):
        raise UserError("the training videos hold no objects: nothing to train on")
    if config.score.model == "rm":
        trained = _train_reconstruction(config, folder, files(fit_videos), files(held_out_videos), train_hash, logger)
    else:
        trained = _fit_density(config, folder, files(fit_videos), files(held_out_videos), train_hash)
    folder.commit_json(f"models/{trained.kind}/{MODEL_CARD}", trained.__dict__)
    return trained, True


def _training_videos(catalogue: "Catalogue") -> list[str]:
    return [entry.video.video_id for entry in catalogue.entries if entry.video.split == "train"]


def training_hash(config: "RunConfig", folder: RunFolder, catalogue: "Catalogue") -> str:
    """Return the hash of all that decides the trained model: its settings, and the very files it is trained on."""
    prefixes = tuple(f"{escape(video)}/" for video in _training_videos(catalogue))
    files = {path: stamp for path, stamp in folder.stamps("features").items() if path.startswith(prefixes)}
    settings = config.train.model_dump() if config.score.model == "rm" else config.score.density().model_dump()
    return digest([config.feature_hash(), config.score.model, settings, config.seed, files])


def read_model(folder: RunFolder, kind: ModelKind) -> TrainedModel | None:
    """Return what is known of the trained model of a kind, or None where there is none."""
    document = folder.read_json(f"models/{kind}/{MODEL_CARD}")
    if document is None:
        return None
    document["held_out_means"] = tuple(document["held_out_means"])
    return TrainedModel(**document)


def model_files(folder: RunFolder, kind: ModelKind) -> dict[str, bytes]:
    """Return the content of a trained model's files by name."""
    paths = folder.filesystem.find(folder.path("models", kind))
    return {path.rpartition("/")[2]: folder.filesystem.cat_file(path) for path in paths}


def _held_out_sample(
    config: "RunConfig", folder: RunFolder, fit_files: list[str], held_out_files: list[str]
) -> NDArray[np.float32]:
    """Return motion features of held-out objects; where the held-out videos hold none, of those that are fitted."""
    held_out = sample_motion(folder, held_out_files, MAX_HELD_OUT_ROWS, config.seed)
    return held_out if len(held_out) else sample_motion(folder, fit_files, MAX_HELD_OUT_ROWS, config.seed)


def _fit_density(
    config: "RunConfig", folder: RunFolder, fit_files: list[str], held_out_files: list[str], train_hash: str
) -> TrainedModel:
    density = make_density(config.score.density())
    features = sample_motion(folder, fit_files, MAX_FIT_ROWS, config.seed)
    try:
        density.fit(features, seed=config.seed)
    except ValueError as error:
        raise UserError(f"score.{config.score.model}: {error}") from error
    with tempfile.TemporaryDirectory() as directory:
        density.save(Path(directory))
        for file in sorted(Path(directory).iterdir()):
            folder.commit(folder.path("models", config.score.model, file.name), file.read_bytes())
    errors = density.score(_held_out_sample(config, folder, fit_files, held_out_files))
    return TrainedModel(
        kind=config.score.model,
        train_hash=train_hash,
        feature_hash=config.feature_hash(),
        num_spatial=0,
        num_motion=NUM_MOTION_BINS,
        held_out_means=(0.0, float(errors.mean())),
        floor=float(errors.min()),
        num_objects=len(features),
        history=[],
    )


def _train_reconstruction(
    config: "RunConfig",
    folder: RunFolder,
    fit_files: list[str],
    held_out_files: list[str],
    train_hash: str,
    logger: "MetricLogger | None",
) -> TrainedModel:
    import ray.data

    from raypipe.cluster import connect
    from raypipe.train_worker import train_loop
    from raypipe.trainer import run_training

    connect(config.ray)

    def dataset(paths: list[str]) -> Any:
        # Not `read_parquet`: for its planning it starts processes that take longer than reading all of Ped2.
        rows = [{"path": path} for path in paths]
        blocks = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_READ_TASKS))
        return blocks.map_batches(ReadMotion(folder), batch_size=FILES_PER_READ)

    checkpoint = run_training(
        train_loop,
        {
            "train": config.train.model_dump(),
            "seed": config.seed,
            "held_out": _held_out_sample(config, folder, fit_files, held_out_files),
        },
        folder=folder,
        name=train_hash,
        workers=config.train.workers,
        use_gpu=config.train.use_gpu,
        max_failures=config.train.max_failures,
        datasets={"fit": dataset(fit_files)},
        logger=logger,
    )
    with checkpoint.as_directory() as directory:
        content = (Path(directory) / MODEL_FILE).read_bytes()
        state = json.loads((Path(directory) / "state.json").read_text())
    folder.commit(folder.path("models", "rm", MODEL_FILE), content)
    return TrainedModel(
        kind="rm",
        train_hash=train_hash,
        feature_hash=config.feature_hash(),
        num_spatial=0,
        num_motion=NUM_MOTION_BINS,
        held_out_means=tuple(state["held_out_means"]),
        floor=state["floor"],
        num_objects=state["num_objects"],
        history=state["history"],
    )
