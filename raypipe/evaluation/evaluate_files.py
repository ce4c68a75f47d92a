"""Anybody's frame scores against labels: those of a file, or of a data set that raypipe reads.

Scores of a table (`score_files`) or of an .npz with an array per video name their videos. One array for all videos
needs their lengths: those of the labels, of a file, or of the videos themselves.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raypipe.config.run import DatasetConfig
from raypipe.config.workflow import EvaluateConfig
from raypipe.datasets.listing import Listing, Video, some
from raypipe.datasets.readers import read_dataset
from raypipe.datasets.video_names import by_same_name
from raypipe.errors import AnnotationError, UserError
from raypipe.evaluation.evaluate import Evaluation, VideoScores, align_labels, evaluate_videos
from raypipe.evaluation.lengths import (
    FEW_FRAMES,
    Lengths,
    factor_adding_up,
    require_fitting,
    snippets_of,
)
from raypipe.evaluation.score_files import ScoreTable, read_label_arrays, read_score_arrays, read_score_table

PROBES_AT_ONCE = 8
# Videos that are opened where scores and labels do not fit, and of which nothing is known: the smallest.
MAX_OPENED, NUM_SAMPLED = 16, 3


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
    scores: Path,
    labels: Path,
    config: EvaluateConfig,
    *,
    seed: int,
    fps: float | None = None,
    is_partial: bool = False,
    repeat: int = 1,
) -> FileEvaluation:
    """Return the figures of frame scores against the labels of an .npz (`score_files.LABEL_KEYS`).

    Scores of one array are in the order of the labels. Those by video may be longer or shorter than the labels by a few
    frames, which is listed; without `is_partial` every labelled video must have some. Each score counts for `repeat`
    frames. Raises UserError on files that are missing, malformed, or do not fit one another; nothing is ever unpickled.
    """
    given = read_score_file(scores)
    known = labels_by_video(*read_label_arrays(labels))
    named = (str(scores), str(labels))
    return evaluate_given(given, known, config, seed=seed, fps=fps, is_partial=is_partial, repeat=repeat, named=named)


def evaluate_given(
    given: ScoreTable | NDArray[np.float64],
    labels: Mapping[str, NDArray[np.bool_]],
    config: EvaluateConfig,
    *,
    seed: int,
    fps: float | None,
    is_partial: bool,
    repeat: int = 1,
    named: tuple[str, str],
) -> FileEvaluation:
    """Return the figures of scores against the labels of videos, as `evaluate_labelled` does of files.

    `named` is what the scores and the labels are called in messages.
    """
    lengths = {name: len(label) for name, label in labels.items()}
    if isinstance(given, ScoreTable):
        table = _repeated(_named(named[0], given, labels, named[1]), repeat, lengths)
    else:
        counts = snippets_of(len(given), lengths, repeat)
        if counts is None:
            raise UserError(
                f"{named[0]} has {len(given)} scores, but {named[1]} has {sum(lengths.values())} labels"
                f"{_hint(given, lengths)}"
            )
        table = _repeated(_cut(given, counts), repeat, lengths)
    missing = _require_videos(named[0], table, list(labels), named[1], is_partial=is_partial)
    require_fitting(_lengths(table, lengths, repeat), named[0])
    videos = [
        VideoScores(name, table.scores[name], label, fps=table.fps.get(name, fps), time_seconds=table.times_of(name))
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
    repeat: int = 1,
) -> FileEvaluation:
    """Return the figures of frame scores of a data set's test videos against its labels.

    Scores of one array are those of one video after another: of the rows of `lengths` (CSV: video,num_frames), or of
    the test videos in the order of their ids, which are then opened to find their lengths. Scores that name their
    videos are compared with the lengths where these are given or the labels know them; where they do not fit, and for
    a few videos that nothing is known of, the videos are opened. Each score counts for `repeat` frames. Scores of other
    splits are left out. Raises UserError as `evaluate_labelled` does, and where lengths do not add up to the scores.
    """
    given = read_score_file(scores)
    listing = read_dataset(dataset.name, dataset.root, abnormal_training=dataset.abnormal_training)
    if listing.labels is None:
        raise UserError(f"{dataset.root} has no labels: nothing to compare the scores with")
    listed = {video.video_id: video for video in sorted(listing.videos, key=lambda video: video.video_id)}
    others = {name for name, video in listed.items() if video.split != "test"}
    test = {name: video for name, video in listed.items() if name not in others}
    known_lengths = {} if lengths is None else _read_lengths(lengths, listed)
    notes = [*((f"labels: {listing.label_source}",) if listing.label_source else ()), *listing.notes]
    if isinstance(given, ScoreTable):
        frames_fps = fps or dataset.frame_rate()
        table = _named(str(scores), given, listed, dataset.root)
        table, known_lengths, note = _with_known_lengths(table, listing, test, known_lengths, repeat, frames_fps)
        notes += [note] if note else []
    elif lengths is not None:
        table = _cut_repeated(scores, given, known_lengths, repeat, f"by {lengths}")
    else:
        found, rates = _probed_lengths(scores, dataset, test, fps)
        table = replace(_cut_repeated(scores, given, found, repeat, "as they decode"), fps=rates)
        known_lengths = found
        if len(found) > 1:
            notes.append(f"scores were cut in the order of sorted ids: first {min(found)}, last {max(found)}")
    scored_others = others & set(table.scores)
    table = replace(table, scores={name: score for name, score in table.scores.items() if name not in others})
    missing = _require_videos(scores, table, list(test), f"the test split of {dataset.root}", is_partial=is_partial)
    require_fitting(_lengths(table, {**listing.label_frames, **known_lengths}, repeat), str(scores))
    videos = [
        _labelled(video, table, listing, known_lengths, fps or (dataset.frame_rate() if video.is_frames else None))
        for name, video in test.items()
        if name in table.scores
    ]
    return FileEvaluation(evaluate_videos(videos, config, seed=seed), missing, len(scored_others), notes)


def _with_known_lengths(
    table: ScoreTable,
    listing: Listing,
    test: Mapping[str, Video],
    known_lengths: Mapping[str, int],
    repeat: int,
    frames_fps: float,
) -> tuple[ScoreTable, dict[str, int], str]:
    """Return scores as long as their videos where these are known, all lengths known then, and a note on the others."""
    known = {**listing.label_frames, **known_lengths}
    table = _repeated(table, repeat, known)
    opened = _open_doubtful(table, listing, test, known_lengths, repeat, frames_fps)
    unsure = sorted(name for name in table.scores if name in test and name not in known)
    note = (
        f"lengths of {len(unsure):,} videos are not known: their labels were taken to be as long as their scores (give "
        f"--lengths to compare): {some(unsure)}"
    )
    lengths = {**opened, **known_lengths}
    return _trimmed(table, repeat, lengths), lengths, note if unsure else ""


def _named(scores: str, table: ScoreTable, names: Iterable[str], where: str) -> ScoreTable:
    """Return the scores under the names that videos have in `where`, however their file spells them."""
    own = by_same_name(table.scores, scores)
    known = by_same_name(names, where)
    ids = {spelled: known.get(same, spelled) for same, spelled in own.items()}
    renamed = {ids[name]: score for name, score in table.scores.items()}
    rates = {ids[name]: rate for name, rate in table.fps.items()}
    return ScoreTable(renamed, rates, {ids[name]: times for name, times in table.times.items()})


def _repeated(table: ScoreTable, repeat: int, lengths: Mapping[str, int]) -> ScoreTable:
    """Return scores that stand for `repeat` frames each; the last of a video ends where that does."""
    scores = {name: np.repeat(score, repeat) for name, score in table.scores.items()}
    rates = {name: rate * repeat for name, rate in table.fps.items()}
    # Times of snippets are not those of frames.
    table = ScoreTable(scores, rates, table.times if repeat == 1 else {})
    return _trimmed(table, repeat, lengths)


def _trimmed(table: ScoreTable, repeat: int, lengths: Mapping[str, int]) -> ScoreTable:
    scores = dict(table.scores)
    for name, score in scores.items():
        past = len(score) - lengths.get(name, len(score))
        if 0 < past < repeat:
            scores[name] = score[: lengths[name]]
    return replace(table, scores=scores)


def _cut_repeated(
    scores: Path, score_N: NDArray[np.float64], lengths: dict[str, int], repeat: int, how: str
) -> ScoreTable:
    counts = snippets_of(len(score_N), lengths, repeat)
    if counts is None:
        raise UserError(
            f"{scores} has {len(score_N):,} scores, but the {len(lengths):,} videos have {sum(lengths.values()):,} "
            f"frames {how}{_hint(score_N, lengths)}. "
            "Scores must follow one another in the order of sorted video ids; give their order and lengths by "
            "--lengths (video,num_frames), or scores with a video and a frame each (CSV: video,frame,score)"
        )
    return _repeated(_cut(score_N, counts), repeat, lengths)


def _hint(score_N: NDArray[np.float64], lengths: Mapping[str, int]) -> str:
    factor = factor_adding_up(len(score_N), lengths)
    return "" if factor is None else f"; it looks like one score for {factor} frames; --repeat {factor} repeats them"


def _lengths(table: ScoreTable, lengths: Mapping[str, int], repeat: int) -> dict[str, Lengths]:
    """Return the lengths of the videos that have scores, and frames that are known."""
    return {
        name: Lengths(len(score), lengths[name], max(repeat, _step(score)))
        for name, score in table.scores.items()
        if name in lengths
    }


def _step(score: NDArray[np.float64]) -> int:
    """Return how many frames scores are apart, 1 where there are too few to tell."""
    scored = np.flatnonzero(~np.isnan(score))
    return max(1, int(np.median(np.diff(scored)))) if len(scored) > 1 else 1


def _open_doubtful(
    table: ScoreTable,
    listing: Listing,
    test: Mapping[str, Video],
    known_lengths: Mapping[str, int],
    repeat: int,
    frames_fps: float,
) -> dict[str, int]:
    """Return the lengths of videos whose scores do not fit their labels, and of a few of which nothing is known.

    Labels may be longer than a video, so that the video alone can tell whether its scores are too few. Videos that
    cannot be opened are left out.
    """
    from raypipe.extraction.probing import probe

    labelled = _lengths(table, listing.label_frames, repeat)
    unknown = [name for name in table.scores if name in test and name not in listing.label_frames]
    ends = {name: max((stop for _, stop in (listing.labels or {}).get(name, ())), default=0) for name in unknown}
    past = [name for name in unknown if ends[name] > len(table.scores[name]) + FEW_FRAMES]
    small = sorted(unknown, key=lambda name: test[name].num_bytes)
    doubtful = [
        *[name for name, own in labelled.items() if name in test and not own.do_fit],
        *past[:MAX_OPENED],
        *small[:NUM_SAMPLED],
    ]
    chosen = [test[name] for name in dict.fromkeys(doubtful) if name not in known_lengths]
    with ThreadPoolExecutor(max_workers=PROBES_AT_ONCE) as pool:
        entries = pool.map(partial(probe, frames_fps=frames_fps), chosen)
        return {entry.video.video_id: entry.index.num_frames for entry in entries if entry.index is not None}


def _labelled(
    video: Video, table: ScoreTable, listing: Listing, lengths: Mapping[str, int], fps: float | None
) -> VideoScores:
    """Return a video's scores with its labels; `fps` is its frame rate where the table does not tell."""
    name, score = video.video_id, table.scores[video.video_id]
    num_labelled = listing.label_frames.get(name, lengths.get(name, len(score)))
    try:
        label, num_cut = align_labels((listing.labels or {}).get(name, []), num_labelled)
    except AnnotationError as error:
        raise UserError(f"{name}: {error}") from error
    rate = table.fps.get(name, fps)
    return VideoScores(name, score, label, num_cut, rate, video.class_name, video.scene, table.times_of(name))


def read_score_file(path: Path) -> ScoreTable | NDArray[np.float64]:
    """Return scores that name their videos, or one array of all."""
    if path.is_dir() or path.suffix.lower() in (".csv", ".parquet"):
        return read_score_table(path)
    found = read_score_arrays(path)
    return ScoreTable(found) if isinstance(found, dict) else found


def _cut(score_N: NDArray[np.float64], lengths: Mapping[str, int]) -> ScoreTable:
    stops = np.cumsum(list(lengths.values()))
    parts = np.split(score_N, stops[:-1]) if lengths else []
    return ScoreTable(dict(zip(lengths, parts, strict=True)))


def _probed_lengths(
    scores: Path, dataset: DatasetConfig, test: Mapping[str, Video], fps: float | None
) -> tuple[dict[str, int], dict[str, float]]:
    # It brings Ray along, which nothing else here needs.
    from raypipe.extraction.probing import probe

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


def _read_lengths(path: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the lengths of a CSV file, by the names among `names` where they are these, however they are spelled."""
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
            raise UserError(f"{path}:{number}: {row[0]} appears twice")
        lengths[row[0]] = int(row[1])
    known = by_same_name(names, "the data set")
    return {known.get(same, name): lengths[name] for same, name in by_same_name(lengths, str(path)).items()}


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
