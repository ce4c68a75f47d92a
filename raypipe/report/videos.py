"""What a report says of one test video: its timeline, its peaks and its strongest tracks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raypipe.errors import DataError
from raypipe.evaluation.evaluate import align_labels
from raypipe.extraction.catalog import Entry
from raypipe.ops.findings import frame_ends, step_maxima, strongest_tracks
from raypipe.ops.intervals import runs
from raypipe.ops.metrics import roc_auc
from raypipe.ops.motion import Unit
from raypipe.report.findings import Objects, Peak, peaks_of
from raypipe.report.pictures import Picture, crop_picture, frame_picture, read_frame

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig
    from raypipe.ops.intervals import Interval

MAX_STEPS = 360
TRACKS_PER_VIDEO = 3
NO_PICTURE = Picture()


@dataclass(frozen=True)
class PeakView:
    """A peak with the words of its object and a picture; `words` is empty where the report does not show them."""

    peak: Peak
    is_abnormal: bool | None
    words: str = ""
    picture: Picture = NO_PICTURE


@dataclass(frozen=True)
class TrackView:
    """A strong track at its highest object score: what it does, and the parts of that score."""

    track_id: int
    words: str
    start_seconds: float
    end_seconds: float
    time_seconds: float
    score: float
    spatial: float | None
    by_motion: float | None
    motion: NDArray[np.float32] | None
    picture: Picture


@dataclass
class VideoView:
    """A test video with scores: its timeline in at most `MAX_STEPS` steps, and what stands out in it.

    Step arrays hold, for equal steps of time, the frame with the highest score in each. `truth` are the labelled
    intervals in seconds, None where there are no labels. `step_words` index into `words`, -1 where there is no object;
    both are empty in a video without pictures.
    """

    video_id: str
    duration_seconds: float
    num_frames: int
    num_abnormal: int | None
    num_unscored: int
    auc: float | None
    step_frame: NDArray[np.int64]
    step_seconds: NDArray[np.float64]
    step_score: NDArray[np.float64]
    step_objects: NDArray[np.int64]
    step_track: NDArray[np.int64]
    truth: list[tuple[float, float]] | None
    unscored: list[tuple[float, float]]
    peaks: list[PeakView]
    is_pictured: bool = False
    tracks: list[TrackView] = field(default_factory=list)
    median_motion: NDArray[np.float32] | None = None
    motion_unit: Unit = "second"
    words: list[str] = field(default_factory=list)
    step_words: list[int] = field(default_factory=list)

    @property
    def max_score(self) -> float:
        """The highest frame score; minus infinity where no frame has one."""
        valid = self.step_score[~np.isnan(self.step_score)]
        return float(valid.max()) if valid.size else float("-inf")


def view_of(
    name: str, table: pa.Table, labels: "Mapping[str, Sequence[Interval]] | None", result: Mapping[str, Any] | None
) -> VideoView:
    """Return what the SCORE rows and the labels of a video say; `result` is its row of results.json."""
    score = table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    time = table["time_seconds"].to_numpy()
    steps = step_maxima(score, time, MAX_STEPS)
    label = None if labels is None else align_labels(labels.get(name, []), len(score))[0]
    ends = frame_ends(time)

    def spans(mask: NDArray[np.bool_]) -> list[tuple[float, float]]:
        return [(float(ends[start]), float(ends[stop])) for start, stop in runs(mask)]

    return VideoView(
        video_id=name,
        duration_seconds=float(ends[-1]),
        num_frames=len(score),
        num_abnormal=None if label is None else int(label.sum()),
        num_unscored=int(np.isnan(score).sum()),
        auc=None if result is None or label is None else result["auc"],
        step_frame=steps,
        step_seconds=time[steps],
        step_score=score[steps],
        step_objects=table["num_objects"].to_numpy()[steps].astype(np.int64),
        step_track=table["top_track_id"].take(pa.array(steps)).fill_null(-1).to_numpy().astype(np.int64),
        truth=None if label is None else spans(label),
        unscored=spans(np.isnan(score)),
        peaks=[
            PeakView(peak, None if label is None else bool(label[peak.frame_index])) for peak in peaks_of(name, table)
        ],
    )


def is_result_of(
    name: str, table: pa.Table, labels: "Mapping[str, Sequence[Interval]] | None", result: Mapping[str, Any]
) -> bool:
    """Whether a video's row of results.json was made of these scores and, where there are labels, of these labels.

    As far as the row tells: labels that moved are known by the AUC, which is another one then unless it was 0 or 1.
    """
    score = table["score"].to_numpy(zero_copy_only=False)
    is_scored = ~np.isnan(score)
    scored = score[is_scored]
    ends = (float(scored.min()), float(scored.max())) if scored.size else (None, None)
    if ends != (result["min_score"], result["max_score"]):
        return False
    if labels is None:
        return True
    label = align_labels(labels.get(name, []), len(score))[0]
    auc = roc_auc(scored, label[is_scored]) if scored.size else None
    same_auc = auc == result["auc"] if auc is None or result["auc"] is None else math.isclose(auc, result["auc"])
    return same_auc and int(label.sum()) == result["num_abnormal"]


def were_scored(view: VideoView, objects: Objects, stride: int) -> bool:
    """Whether these objects are those that the video's scores are of, as far as their numbers and tracks tell."""
    sampled = (view.step_frame % stride == 0) & ~np.isnan(view.step_score)
    frames = view.step_frame[sampled]
    counts = np.searchsorted(objects.frame_index, frames + 1) - np.searchsorted(objects.frame_index, frames)
    tracks = set(objects.track_id.tolist())
    shown = {peak.peak.track_id for peak in view.peaks} | set(view.step_track.tolist()) - {-1}
    return bool((counts == view.step_objects[sampled]).all()) and shown <= tracks


def add_objects(view: VideoView, entry: Entry, objects: Objects, config: "RunConfig") -> None:
    """Add to a video's view what needs its objects and frames: words, pictures of peaks, and the strongest tracks.

    The objects must be those that were scored (`were_scored`).
    """
    view.is_pictured = True
    view.motion_unit = config.motion.unit
    if objects.motion is not None:
        view.median_motion = np.median(objects.motion, axis=0)
    known: dict[str, int] = {}
    for track, frame in zip(view.step_track.tolist(), view.step_frame.tolist(), strict=True):
        if track < 0:
            view.step_words.append(-1)
        else:
            words = objects.words(objects.row_of(track, frame), config.motion)
            view.step_words.append(known.setdefault(words, len(known)))
    view.words = list(known)
    view.peaks = [_with_picture(peak, entry, objects, config) for peak in view.peaks]
    score = objects.score
    if score is None:
        return
    for track_id, row, first_row, last_row in strongest_tracks(objects.track_id, score, TRACKS_PER_VIDEO):
        image = _frame_or_reason(entry, int(objects.frame_index[row]))
        view.tracks.append(
            TrackView(
                track_id=track_id,
                words=objects.words(row, config.motion),
                start_seconds=float(objects.time_seconds[first_row]),
                end_seconds=float(objects.time_seconds[last_row]),
                time_seconds=float(objects.time_seconds[row]),
                score=float(score[row]),
                spatial=None if objects.spatial is None else float(objects.spatial[row]),
                by_motion=None if objects.by_motion is None else float(objects.by_motion[row]),
                motion=None if objects.motion is None else objects.motion[row],
                picture=Picture(absent=image) if isinstance(image, str) else crop_picture(image, objects.boxes[row]),
            )
        )


def _with_picture(view: PeakView, entry: Entry, objects: Objects, config: "RunConfig") -> PeakView:
    row = objects.row_of(view.peak.track_id, view.peak.frame_index)
    frame = int(objects.frame_index[row])
    rows = objects.rows_at(frame)
    image = _frame_or_reason(entry, frame)
    picture = (
        Picture(absent=image) if isinstance(image, str) else frame_picture(image, objects.boxes[rows], row - rows.start)
    )
    return replace(view, words=objects.words(row, config.motion), picture=picture)


def _frame_or_reason(entry: Entry, frame: int) -> NDArray[np.uint8] | str:
    try:
        return read_frame(entry, frame)
    except DataError as error:
        return str(error)
