"""Anybody's frame scores against labels: those of a file, or of a data set that raypipe reads.

Scores of a table (`score_tables`) or of an .npz with an array per video name their videos. One array for all videos
needs their lengths: those of the labels, of a file, or of the videos themselves.
"""

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raypipe.config.run import DatasetConfig
from raypipe.config.workflow import EvaluateConfig
from raypipe.datasets.listing import Listing, Video, some
from raypipe.datasets.readers import read_dataset
from raypipe.errors import AnnotationError, UserError
from raypipe.evaluation.evaluate import Evaluation, VideoScores, align_labels, evaluate_videos
from raypipe.evaluation.score_files import ScoreTable, read_labels, read_score_table, read_scores
from raypipe.extraction.probing import probe

PROBES_AT_ONCE = 8


@dataclass(frozen=True)
class FileEvaluation:
    """The figures of a score file, and what of it was left out: `missing` test videos, and scored ones of other splits.

    `notes` are what the data set's reader has to say of its labels.
    """

    evaluation: Evaluation
    missing: Sequence[str] = ()
    num_other_videos: int = 0
    notes: Sequence[str] = ()


def evaluate_labelled(
    scores: Path, labels: Path, config: EvaluateConfig, *, seed: int, fps: float | None = None, is_partial: bool = False
) -> FileEvaluation:
    """Return the figures of frame scores against the labels of an .npz (`score_files.LABEL_KEYS`).

    Scores of one array are in the order of the labels. Those by video may be longer or shorter than the labels, which
    is listed; without `is_partial` every labelled video must have some. Raises UserError on files that are missing,
    malformed, or do not fit one another; nothing is ever unpickled.
    """
    given = read_score_file(scores)
    known = labels_by_video(*read_labels(labels))
    named = (str(scores), str(labels))
    return evaluate_given(given, known, config, seed=seed, fps=fps, is_partial=is_partial, named=named)


def evaluate_given(
    given: ScoreTable | NDArray[np.float64],
    labels: Mapping[str, NDArray[np.bool_]],
    config: EvaluateConfig,
    *,
    seed: int,
    fps: float | None,
    is_partial: bool,
    named: tuple[str, str],
) -> FileEvaluation:
    """Return the figures of scores against the labels of videos, as `evaluate_labelled` does of files.

    `named` is what the scores and the labels are called in messages.
    """
    num_labels = sum(map(len, labels.values()))
    if isinstance(given, ScoreTable):
        table = given
    elif len(given) == num_labels:
        table = _cut(given, {name: len(label) for name, label in labels.items()})
    else:
        raise UserError(f"{named[0]} has {len(given)} scores, but {named[1]} has {num_labels} labels")
    missing = _require_videos(named[0], table, list(labels), named[1], is_partial=is_partial)
    videos = [
        VideoScores(name, table.scores[name], label, fps=table.fps.get(name, fps))
        for name, label in labels.items()
        if name in table.scores
    ]
    return FileEvaluation(evaluate_videos(videos, config, seed=seed), missing)


def labels_by_video(
    label_N: NDArray[np.bool_], names: Sequence[str], num_frames: NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """Return labels that follow one another, by the names of their videos."""
    return dict(zip(names, np.split(label_N, np.cumsum(num_frames)[:-1]), strict=True)) if names else {}


def evaluate_dataset(
    scores: Path,
    dataset: DatasetConfig,
    config: EvaluateConfig,
    *,
    seed: int,
    lengths: Path | None = None,
    fps: float | None = None,
    is_partial: bool = False,
) -> FileEvaluation:
    """Return the figures of frame scores of a data set's test videos against its labels.

    Scores of one array are those of one video after another: of the rows of `lengths` (CSV: video,num_frames), or of
    the test videos in the order of their ids, which are then opened to find their lengths. Scores that name their
    videos are compared with the lengths where these are given or the labels know them. Scores of other splits are
    left out. Raises UserError as `evaluate_labelled` does, and where lengths do not add up to the scores.
    """
    given = read_score_file(scores)
    listing = read_dataset(dataset.name, dataset.root, abnormal_training=dataset.abnormal_training)
    if listing.labels is None:
        raise UserError(f"{dataset.root} has no labels: nothing to compare the scores with")
    test = {video.video_id: video for video in sorted(listing.videos, key=lambda video: video.video_id)}
    others = {name for name, video in test.items() if video.split != "test"}
    test = {name: video for name, video in test.items() if name not in others}
    known_lengths = {} if lengths is None else _read_lengths(lengths)
    notes = [*((f"labels: {listing.label_source}",) if listing.label_source else ()), *listing.notes]
    if isinstance(given, ScoreTable):
        table = given
        unsure = [
            name for name in table.scores if name in test and name not in {**known_lengths, **listing.label_frames}
        ]
        if unsure:
            notes.append(
                f"lengths of {len(unsure):,} videos are not known: their labels were taken to be as long as their "
                f"scores (give --lengths to compare): {some(sorted(unsure))}"
            )
    elif lengths is not None:
        table = _cut(given, _adding_up(scores, len(given), known_lengths, f"by {lengths}"))
    else:
        found, rates = _probed_lengths(scores, dataset, test, fps)
        table = _cut(given, _adding_up(scores, len(given), found, "as they decode"), rates)
        known_lengths = found
        if len(found) > 1:
            notes.append(f"scores were cut in the order of sorted ids: first {min(found)}, last {max(found)}")
    scored_others = others & set(table.scores)
    table = ScoreTable({name: score for name, score in table.scores.items() if name not in others}, table.fps)
    missing = _require_videos(scores, table, list(test), f"the test split of {dataset.root}", is_partial=is_partial)
    videos = []
    for name, video in test.items():
        if name in table.scores:
            rate = fps or (dataset.frame_rate() if video.is_frames else None)
            length = known_lengths.get(name, len(table.scores[name]))
            videos.append(_labelled(video, table.scores[name], listing, length, table.fps.get(name, rate)))
    evaluation = evaluate_videos(videos, config, seed=seed)
    return FileEvaluation(evaluation, missing, len(scored_others), notes)


def _labelled(
    video: Video, score: NDArray[np.float64], listing: Listing, length: int, fps: float | None
) -> VideoScores:
    name = video.video_id
    num_labelled = listing.label_frames.get(name, length)
    try:
        label, num_cut = align_labels((listing.labels or {}).get(name, []), num_labelled)
    except AnnotationError as error:
        raise UserError(f"{name}: {error}") from error
    return VideoScores(name, score, label, num_cut, fps, video.class_name, video.scene)


def read_score_file(path: Path) -> ScoreTable | NDArray[np.float64]:
    """Return scores that name their videos, or one array of all."""
    if path.is_dir() or path.suffix.lower() in (".csv", ".parquet"):
        return read_score_table(path)
    found = read_scores(path)
    return ScoreTable(found) if isinstance(found, dict) else found


def _cut(
    score_N: NDArray[np.float64], lengths: Mapping[str, int], fps: Mapping[str, float] | None = None
) -> ScoreTable:
    stops = np.cumsum(list(lengths.values()))
    parts = np.split(score_N, stops[:-1]) if lengths else []
    return ScoreTable(dict(zip(lengths, parts, strict=True)), fps or {})


def _adding_up(scores: Path, num_scores: int, lengths: dict[str, int], how: str) -> dict[str, int]:
    total = sum(lengths.values())
    if total != num_scores:
        raise UserError(
            f"{scores} has {num_scores:,} scores, but the {len(lengths):,} videos have {total:,} frames {how}. "
            "Scores must follow one another in the order of sorted video ids; give their order and lengths by "
            "--lengths (video,num_frames), or scores with a video and a frame each (CSV: video,frame,score)"
        )
    return lengths


def _probed_lengths(
    scores: Path, dataset: DatasetConfig, test: Mapping[str, Video], fps: float | None
) -> tuple[dict[str, int], dict[str, float]]:
    with ThreadPoolExecutor(max_workers=PROBES_AT_ONCE) as pool:
        entries = list(pool.map(lambda video: probe(video, fps or dataset.frame_rate()), test.values()))
    for entry in entries:
        if entry.failure is not None:
            raise UserError(
                f"{scores} does not name its videos, and the length of {entry.video.video_id} cannot be found: "
                f"{entry.failure.message}. Give the lengths by --lengths (video,num_frames)"
            )
    indices = {entry.video.video_id: entry.index for entry in entries if entry.index is not None}
    return (
        {name: index.num_frames for name, index in indices.items()},
        {name: index.fps for name, index in indices.items()},
    )


def _read_lengths(path: Path) -> dict[str, int]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file of text: {error}") from error
    if not rows or rows[0] != ["video", "num_frames"]:
        raise UserError(f"{path}: its first line must be 'video,num_frames'")
    lengths: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not row[1].isdecimal():
            raise UserError(f"{path}:{number}: expected a video and its number of frames, not {','.join(row)!r}")
        if row[0] in lengths:
            raise UserError(f"{path}:{number}: {row[0]} is there twice")
        lengths[row[0]] = int(row[1])
    return lengths


def _require_videos(
    scores: Path | str, table: ScoreTable, expected: Sequence[str], where: str, *, is_partial: bool
) -> list[str]:
    """Return the expected videos that have no scores. Raises UserError on unknown ones, and without `is_partial`."""
    unknown = sorted(set(table.scores) - set(expected))
    if unknown:
        raise UserError(f"{scores}: {len(unknown):,} videos are not in {where}: {some(unknown)}")
    missing = [name for name in expected if name not in table.scores]
    if missing and not is_partial:
        raise UserError(
            f"{scores}: {len(missing):,} of {len(expected):,} videos of {where} have no scores: {some(missing)}. "
            "Evaluate the others alone with --partial"
        )
    return missing
