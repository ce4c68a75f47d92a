"""From object features to an anomaly score for every frame of the test videos."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raypipe.anomaly_model.training_data import object_features, split_parts
from raypipe.config.file import digest
from raypipe.config.workflow import ScoreConfig
from raypipe.errors import UserError
from raypipe.models.density import load_density
from raypipe.ops.rates import after_pauses
from raypipe.ops.scores import Weighting, contributions, frame_scores, min_max, nearest_sample, smooth
from raypipe.run_folder.digests import feature_digests
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import VideoFeatures, commit_scores, read_features, read_made_by
from raypipe.schema import SCORE

if TYPE_CHECKING:
    from raypipe.anomaly_model.trained_model import TrainedModel
    from raypipe.config.run import RunConfig
    from raypipe.extraction.catalog import Catalogue
    from raypipe.video.index import VideoIndex

# Objects that go through the model at once.
BATCH_ROWS = 65536
# Kept with a video's scores beside what `made_by` says.
FEATURES_KEY, COUNTS_KEY = "features", "counts"


@dataclass(frozen=True)
class ScoreResult:
    """What is scored: test videos and their frames, those without a score, and why.

    `num_scored_before` videos of it had their scores already; `num_new_frames` were scored now.
    """

    num_videos: int = 0
    num_frames: int = 0
    num_objects: int = 0
    num_unscored_frames: int = 0
    missing_segments: dict[str, tuple[int, ...]] = field(default_factory=dict)
    num_scored_before: int = 0
    num_new_frames: int = 0


@dataclass(frozen=True)
class Counts:
    """What a video's scores are of: objects, frames without a score, and segments that are missing."""

    num_objects: int
    num_unscored: int
    missing: list[int]


def made_by(config: ScoreConfig, model: "TrainedModel") -> dict[str, Any]:
    """Return what a video's scores depend on beside its features; kept with them."""
    settings = config.model_dump(mode="json", include={"model", "weighting", "smoothing_seconds", "min_max"})
    return settings | {"train_hash": model.train_hash}


def object_scores(
    features_NF: NDArray[np.float32], model: "TrainedModel", files: Mapping[str, bytes], weighting: Weighting
) -> NDArray[np.float64]:
    """Return the anomaly score of every object, shape (N,); higher is more abnormal: the sum of its `score_parts`."""
    parts = score_parts(features_NF, model, files, weighting)
    return np.asarray(sum(part for part in parts if part is not None), np.float64)


def score_parts(
    features_NF: NDArray[np.float32], model: "TrainedModel", files: Mapping[str, bytes], weighting: Weighting
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return what space and motion add to the score of every object, shapes (N,), None for a part that is not there.

    The score of a density model on motion, or on space, alone is its own. Raises UserError where the model's files are
    not what they should be, and where `balanced` has no unit to weigh by.
    """
    errors = _rm_errors if model.kind == "rm" else _density_errors
    spatial, motion = errors(features_NF, model, files)
    if _is_single_density(model):
        return spatial, motion
    if weighting not in model.floors:
        raise UserError(
            f"score.weighting {weighting!r}: held-out normal objects have errors {model.held_out_means} in space and "
            "motion, and an error of 0 cannot be weighed by; use joint"
        )
    return contributions(spatial, motion, weighting=weighting, means=model.held_out_means, dims=model.dims)


def _is_single_density(model: "TrainedModel") -> bool:
    return model.kind != "rm" and min(model.dims) == 0


def _density_errors(
    features_NF: NDArray[np.float32], model: "TrainedModel", files: Mapping[str, bytes]
) -> list[NDArray[np.float64] | None]:
    from raypipe.anomaly_model.trained_model import PARTS

    errors: list[NDArray[np.float64] | None] = []
    for part, rows in zip(PARTS, split_parts(features_NF, model.dims), strict=True):
        if not rows.shape[1]:
            errors.append(None)
            continue
        with tempfile.TemporaryDirectory() as directory:
            for name, content in files.items():
                if name.startswith(f"{part}/"):
                    (Path(directory) / name.removeprefix(f"{part}/")).write_bytes(content)
            errors.append(load_density(Path(directory)).score(rows))
    return errors


def _rm_errors(
    features_NF: NDArray[np.float32], model: "TrainedModel", files: Mapping[str, bytes]
) -> list[NDArray[np.float64] | None]:
    import torch

    from raypipe.anomaly_model.trained_model import MODEL_FILE
    from raypipe.models.reconstruction import deserialise

    module = deserialise(files[MODEL_FILE], f"models/rm/{MODEL_FILE}")
    errors = np.zeros((2, len(features_NF)))
    for start in range(0, len(features_NF), BATCH_ROWS):
        rows = slice(start, start + BATCH_ROWS)
        for number, part in enumerate(module.part_errors(torch.from_numpy(features_NF[rows]))):
            errors[number, rows] = part.double().numpy()
    return [part if size else None for part, size in zip(errors, model.dims, strict=True)]


def score_table(
    video_id: str,
    index: "VideoIndex",
    features: VideoFeatures,
    scores_N: NDArray[np.float64],
    *,
    stride: int,
    floor: float,
    config: ScoreConfig,
) -> pa.Table:
    """Return the SCORE rows of a video, one for every source frame.

    Frames of segments that are missing have no score (null). Frames between sampled ones take the nearest one's.
    """
    sampled = np.arange(0, index.num_frames, stride)
    scored = np.zeros(len(sampled), dtype=bool)
    for record in features.records:
        scored[(sampled >= record.start_frame) & (sampled < record.stop_frame)] = True
    position = features.table["frame_index"].to_numpy() // stride
    frames = frame_scores(position, scores_N, len(sampled), scored_mask=scored, floor=floor)
    starts = after_pauses(index.time_seconds[sampled], index.fps, stride)
    score = smooth(frames.score, config.smoothing_seconds * index.fps / stride, starts)
    if config.min_max:
        score = min_max(score)
    nearest = nearest_sample(sampled, index.num_frames)
    top = frames.top_object[nearest]
    has_top = top >= 0
    top_rows = pa.array(np.where(has_top, top, 0), mask=~has_top)
    return pa.table(
        {
            "video_id": pa.array([video_id] * index.num_frames, pa.string()),
            "frame_index": np.arange(index.num_frames),
            "time_seconds": index.time_seconds,
            "score": pa.array(score[nearest], mask=np.isnan(score[nearest])),
            "num_objects": frames.num_objects[nearest],
            "top_track_id": features.table["track_id"].take(top_rows),
            "top_sentence": features.table["sentence"].take(top_rows),
        }
    ).cast(SCORE)


@dataclass(frozen=True)
class VideoTask:
    """A video that is to be scored, with its committed `segments`; `scored_from` is the hash of their content."""

    folder: RunFolder
    video_id: str
    index: "VideoIndex"
    segments: set[int]
    config_hash: str
    stride: int
    scored_from: str


def score_video(task: VideoTask, config: ScoreConfig, model: "TrainedModel", files: Mapping[str, bytes]) -> Counts:
    """Score one video and commit its SCORE rows; return the counts."""
    features = read_features(task.folder, task.video_id, task.segments, task.config_hash)
    # A video without a file of features has no columns to read, and no objects.
    rows = object_features(features.table, model.columns) if features.records else np.zeros((0, sum(model.dims)))
    scores = object_scores(np.asarray(rows, np.float32), model, files, config.weighting)
    floor = model.floors["joint" if _is_single_density(model) else config.weighting]
    table = score_table(task.video_id, task.index, features, scores, stride=task.stride, floor=floor, config=config)
    counts = Counts(features.table.num_rows, table["score"].null_count, list(features.missing))
    known = made_by(config, model) | {FEATURES_KEY: task.scored_from, COUNTS_KEY: asdict(counts)}
    commit_scores(task.folder, task.video_id, table, known)
    return counts


def score(config: "RunConfig", catalogue: "Catalogue") -> ScoreResult:
    """Score all frames of the test videos, one Ray task a video; what is scored already stays as it is.

    Raises UserError where no model is trained, or the model was trained on other features.
    """
    import ray

    from raypipe.anomaly_model.trained_model import model_files
    from raypipe.distributed.cluster import connect
    from raypipe.distributed.tasks import run_tasks
    from raypipe.monitoring.progress import progress

    folder = RunFolder(config.output, config.variation)
    model = _model_to_score_with(config, folder, catalogue)
    tasks = _tasks(config, folder, catalogue)
    done = _scored_before(folder, tasks, made_by(config.score, model))
    left = {video: task for video, task in tasks.items() if video not in done}
    result = ScoreResult(num_scored_before=len(done), num_new_frames=sum(t.index.num_frames for t in left.values()))
    if left:
        connect(config.ray)
        files = ray.put(model_files(folder, model.kind))
        calls = {video: (task, config.score, model, files) for video, task in left.items()}
        with progress("score", result.num_new_frames) as advance:
            for video, counts in run_tasks(score_video, calls):
                done[video] = counts
                advance(tasks[video].index.num_frames)
    return replace(
        result,
        num_videos=len(done),
        num_frames=sum(task.index.num_frames for task in tasks.values()),
        num_objects=sum(counts.num_objects for counts in done.values()),
        num_unscored_frames=sum(counts.num_unscored for counts in done.values()),
        missing_segments={video: tuple(counts.missing) for video, counts in done.items() if counts.missing},
    )


def _model_to_score_with(config: "RunConfig", folder: RunFolder, catalogue: "Catalogue") -> "TrainedModel":
    from raypipe.anomaly_model.trained_model import read_model
    from raypipe.anomaly_model.training_hash import current_model

    known = read_model(folder, config.score.model)
    if known is None:
        raise UserError(f"{folder.root} holds no trained {config.score.model!r} model: run `raypipe train` first")
    model = current_model(config, folder, catalogue)
    if model is None and not known.content_hash:
        raise UserError(
            f"the {known.kind!r} model in {folder.root} was trained by raypipe 0.1, which knew features by the times "
            "of their files, and these, or the settings, have changed since: run `raypipe train` again"
        )
    if model is None:
        raise UserError(
            f"the {known.kind!r} model in {folder.root} was trained with other settings or on other features: "
            "run `raypipe train` again"
        )
    return model


def model_of_scores(config: "RunConfig", catalogue: "Catalogue") -> "TrainedModel":
    """Return the model whose scores are to be evaluated.

    Raises UserError where there is none, and where it or a video's scores were made of other features than there are
    now. Of what version 0.1 made that is not known.
    """
    from raypipe.anomaly_model.trained_model import read_model

    folder = RunFolder(config.output, config.variation)
    model = read_model(folder, config.score.model)
    if model is None or model.content_hash:
        model = _model_to_score_with(config, folder, catalogue)
    now = {name: task.scored_from for name, task in _tasks(config, folder, catalogue).items()}
    made = read_made_by(folder, list(now))
    outdated = [name for name, known in made.items() if known.get(FEATURES_KEY, now[name]) != now[name]]
    if outdated:
        raise UserError(
            f"{len(outdated)} videos have other features than those that were scored, the first: {outdated[0]}. "
            "Run `raypipe score` again."
        )
    return model


def _tasks(config: "RunConfig", folder: RunFolder, catalogue: "Catalogue") -> dict[str, VideoTask]:
    committed, digests = folder.committed(), feature_digests(folder)
    tasks = {}
    for entry in catalogue.entries:
        video_id = entry.video.video_id
        if entry.video.split != "test" or entry.index is None:
            continue
        segments = committed.get(video_id, set())
        paths = [folder.feature_path(video_id, index) for index in sorted(segments)]
        used = [digests.get(path.removeprefix(f"{folder.path('features')}/")) for path in paths]
        tasks[video_id] = VideoTask(
            folder, video_id, entry.index, segments, config.feature_hash(), config.decode.stride, digest(used)
        )
    if not tasks:
        raise UserError("the data set has no readable video in its test split: nothing to score")
    return tasks


def _scored_before(folder: RunFolder, tasks: Mapping[str, VideoTask], known_by: Mapping[str, Any]) -> dict[str, Counts]:
    """Return the counts of videos whose scores this model gave, with these settings, to these very features."""
    found = {}
    for video_id, known in read_made_by(folder, list(tasks)).items():
        counts = known.pop(COUNTS_KEY, None)
        if counts is not None and known == {**known_by, FEATURES_KEY: tasks[video_id].scored_from}:
            found[video_id] = Counts(**counts)
    return found
