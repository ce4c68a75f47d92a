"""Training of the model that scores: the reconstruction module by Ray Train, density models on a sample.

Trained on objects of the training split only. A tenth of its videos is held out: their errors give each part of
the score its unit (`balanced` weighting).
"""

import json
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raypipe.anomaly_model.trained_model import MODEL_CARD, MODEL_FILE, PARTS, TrainedModel
from raypipe.anomaly_model.training_data import (
    ReadFeatures,
    column_sizes,
    held_out_figures,
    sample_features,
    split_held_out,
    split_parts,
    training_videos,
)
from raypipe.anomaly_model.training_hash import current_model, training_hash
from raypipe.errors import UserError
from raypipe.models.density import make_density
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import read_records

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig
    from raypipe.extraction.catalog import Catalogue
    from raypipe.tracking.experiment import MetricLogger


# A density model is fitted to a sample of at most this many objects, and bytes.
MAX_FIT_ROWS = 500_000
MAX_FIT_BYTES = 1 << 28
# As many held-out objects tell the mean errors of normal ones.
MAX_HELD_OUT_ROWS = 20_000
# Files of features are read by this many tasks at most, a few files at a time.
MAX_READ_TASKS = 64
FILES_PER_READ = 8


def train(
    config: "RunConfig", catalogue: "Catalogue", logger: "MetricLogger | None" = None
) -> tuple[TrainedModel, bool]:
    """Train the model that `score.model` names on the normal videos, or find it trained already.

    Returns what is known of it, and whether it was trained now. Raises UserError where there is nothing to train on.
    """
    folder = RunFolder(config.output, config.variation)
    committed = folder.committed()
    trainable = training_videos(entry.video for entry in catalogue.entries)
    videos = [video for video in trainable if video in committed]
    if not videos:
        raise UserError("no video of the train split has features: nothing to train on")
    fit_videos, held_out_videos = split_held_out(videos)

    def files(video_ids: list[str]) -> list[str]:
        return [folder.feature_path(video, index) for video in video_ids for index in sorted(committed[video])]

    known = current_model(config, folder, catalogue)
    if known is not None:
        return known, False
    train_hash = training_hash(config, folder, catalogue)

    first = next(
        (
            record
            for record in read_records(folder, {video: committed[video] for video in fit_videos})
            if record.num_objects
        ),
        None,
    )
    if first is None:
        raise UserError("the training videos hold no objects: nothing to train on")
    columns = config.features.columns
    sizes = column_sizes(folder, folder.feature_path(first.video_id, first.segment_index), columns)
    dims = (sum(sizes) - sizes[-1], sizes[-1]) if config.features.motion else (sum(sizes), 0)
    if config.score.model == "rm":
        trained = _train_reconstruction(
            config, folder, dims, files(fit_videos), files(held_out_videos), train_hash, logger
        )
    else:
        trained = _fit_density(config, folder, dims, files(fit_videos), files(held_out_videos), train_hash)
    folder.commit_json(folder.product(f"models/{trained.kind}/{MODEL_CARD}"), trained.__dict__)
    return trained, True


def _held_out_sample(
    config: "RunConfig", folder: RunFolder, fit_files: list[str], held_out_files: list[str]
) -> NDArray[np.float32]:
    """Return features of held-out objects; where the held-out videos hold none, of those that are fitted."""
    columns = config.features.columns
    held_out = sample_features(folder, held_out_files, columns, MAX_HELD_OUT_ROWS, config.seed)
    return held_out if len(held_out) else sample_features(folder, fit_files, columns, MAX_HELD_OUT_ROWS, config.seed)


def _fit_density(
    config: "RunConfig",
    folder: RunFolder,
    dims: tuple[int, int],
    fit_files: list[str],
    held_out_files: list[str],
    train_hash: str,
) -> TrainedModel:
    """Fit a density to each part of the features: distances in space and in motion have no common unit."""
    max_rows = min(MAX_FIT_ROWS, MAX_FIT_BYTES // (4 * sum(dims)))
    features = sample_features(folder, fit_files, config.features.columns, max_rows, config.seed)
    held_out = _held_out_sample(config, folder, fit_files, held_out_files)
    errors: list[NDArray[np.float64] | None] = []
    for part, rows, held in zip(PARTS, split_parts(features, dims), split_parts(held_out, dims), strict=True):
        if not rows.shape[1]:
            errors.append(None)
            continue
        density = make_density(config.score.density())
        try:
            density.fit(rows, seed=config.seed)
        except ValueError as error:
            raise UserError(f"score.{config.score.model}: {error}") from error
        with tempfile.TemporaryDirectory() as directory:
            density.save(Path(directory))
            for file in sorted(Path(directory).iterdir()):
                path = folder.path(folder.product("models"), config.score.model, part, file.name)
                folder.commit(path, file.read_bytes())
        errors.append(density.score(held))
    means, floors = held_out_figures(errors[0], errors[1], dims)
    return TrainedModel(
        kind=config.score.model,
        train_hash=train_hash,
        feature_hash=config.feature_hash(),
        columns=config.features.columns,
        dims=dims,
        held_out_means=means,
        floors=floors,
        num_objects=len(features),
        history=[],
        content_hash=train_hash,
    )


def with_products_here(loop: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Return a training loop whose precision is what each worker's machine multiplies fast in."""

    @wraps(loop)
    def run(settings: dict[str, Any]) -> None:
        from raypipe.models.precision import products_here

        asked = settings["train"]
        precision = products_here(asked["precision"], on_gpu=asked["use_gpu"])
        loop(settings | {"train": asked | {"precision": precision}})

    return run


def _train_reconstruction(
    config: "RunConfig",
    folder: RunFolder,
    dims: tuple[int, int],
    fit_files: list[str],
    held_out_files: list[str],
    train_hash: str,
    logger: "MetricLogger | None",
) -> TrainedModel:
    import ray.data

    from raypipe.anomaly_model.train_worker import train_loop
    from raypipe.distributed.cluster import connect
    from raypipe.distributed.trainer import cpu_shares, run_training

    connect(config.ray)
    _, reading_cpus = cpu_shares(config.train.workers)

    def dataset(paths: list[str]) -> Any:
        # Not `read_parquet`: for its planning it starts processes that take longer than reading all of Ped2.
        rows = [{"path": path} for path in paths]
        blocks = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_READ_TASKS))
        read = ReadFeatures(folder, config.features.columns)
        return blocks.map_batches(read, batch_size=FILES_PER_READ, num_cpus=reading_cpus)

    checkpoint = run_training(
        with_products_here(train_loop),
        {
            "train": config.train.model_dump(),
            "seed": config.seed,
            "columns": config.features.columns,
            "dims": dims,
            "held_out": _held_out_sample(config, folder, fit_files, held_out_files),
        },
        folder=folder,
        name=train_hash,
        epochs=config.train.epochs,
        workers=config.train.workers,
        use_gpu=config.train.use_gpu,
        max_failures=config.train.max_failures,
        datasets={"fit": dataset(fit_files)},
        logger=logger,
    )
    with checkpoint.as_directory() as directory:
        content = (Path(directory) / MODEL_FILE).read_bytes()
        state = json.loads((Path(directory) / "state.json").read_text())
    folder.commit(folder.path(folder.product("models"), "rm", MODEL_FILE), content)
    return TrainedModel(
        kind="rm",
        train_hash=train_hash,
        feature_hash=config.feature_hash(),
        columns=config.features.columns,
        dims=dims,
        held_out_means=tuple(state["held_out_means"]),
        floors=state["floors"],
        num_objects=state["num_objects"],
        history=state["history"],
        precision=state.get("precision"),
        content_hash=train_hash,
    )
