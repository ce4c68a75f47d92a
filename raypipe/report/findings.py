"""What a run found: the peaks of its frame scores, the objects behind them, and the strongest in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raypipe.anomaly_model.score import score_parts
from raypipe.anomaly_model.trained_model import TrainedModel, model_files, read_model
from raypipe.anomaly_model.training_data import object_features
from raypipe.ops.findings import find_peaks, motion_words, nearest_true
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import iterate_features
from raypipe.text import clock, number

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig
    from raypipe.config.stages import MotionConfig
    from raypipe.ops.scores import Weighting

# Peaks of one video that are nearer to one another than this are one.
PEAK_GAP_SECONDS = 2.0
PEAKS_PER_VIDEO = 4


@dataclass(frozen=True)
class Peak:
    """A local maximum of a video's frame scores, and the track that had the highest object score there."""

    video_id: str
    frame_index: int
    time_seconds: float
    score: float
    track_id: int


@dataclass(frozen=True)
class Finding:
    """A peak in words: what its object does, in which clip, and when."""

    peak: Peak
    words: str
    is_abnormal: bool | None = None

    def line(self) -> str:
        """Return the finding as a line of text; a label is told where there are labels."""
        labels = {None: "", True: ", labelled abnormal", False: ", labelled normal"}
        where = f"{self.peak.video_id} at {clock(self.peak.time_seconds)}"
        return f"{where}: {self.words} (score {number(self.peak.score)}{labels[self.is_abnormal]})"


def peaks_of(video_id: str, table: pa.Table) -> list[Peak]:
    """Return the peaks of a video's SCORE rows, the highest first; those far from any object are left out."""
    score = table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    time = table["time_seconds"].to_numpy()
    track, has_track = table["top_track_id"], np.asarray(table["top_track_id"].is_valid())
    found = find_peaks(score, time, min_gap_seconds=PEAK_GAP_SECONDS, max_peaks=PEAKS_PER_VIDEO)
    peaks = []
    for frame in found.tolist():
        # Smoothing may lift a frame in which the object itself was not detected.
        nearest = nearest_true(has_track, frame)
        if nearest is not None and abs(time[nearest] - time[frame]) < PEAK_GAP_SECONDS:
            peaks.append(Peak(video_id, frame, float(time[frame]), float(score[frame]), track[nearest].as_py()))
    return peaks


def strongest_peaks(peaks_by_video: Mapping[str, Sequence[Peak]], count: int) -> list[Peak]:
    """Return the `count` highest peaks, one of each video as far as there are videos, and then the next highest."""
    firsts = [peaks[0] for peaks in peaks_by_video.values() if peaks]
    others = [peak for peaks in peaks_by_video.values() for peak in peaks[1:]]
    ranked = [sorted(peaks, key=lambda peak: (-peak.score, peak.video_id)) for peaks in (firsts, others)]
    return sorted((ranked[0] + ranked[1])[:count], key=lambda peak: -peak.score)


@dataclass(frozen=True)
class Scorer:
    """A trained model with its files, for the parts of object scores."""

    model: TrainedModel
    files: Mapping[str, bytes]
    weighting: "Weighting"

    def parts(self, table: pa.Table) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Return what space and motion add to the score of each of the FEATURE rows; see `score.score_parts`."""
        return score_parts(object_features(table, self.model.columns), self.model, self.files, self.weighting)


def load_scorer(config: "RunConfig", folder: RunFolder) -> Scorer | None:
    """Return the trained model that `score.model` names, None where there is none."""
    model = read_model(folder, config.score.model)
    return None if model is None else Scorer(model, model_files(folder, model.kind), config.score.weighting)


@dataclass(frozen=True)
class Objects:
    """The N objects of a video in the order of its frames.

    `boxes` (N, 4) are in pixels of the source video; `motion` (N, 8) is None where it was not extracted. `spatial` and
    `by_motion` are the parts of the score, None where the model has no such part; all three are None without a model.
    """

    frame_index: NDArray[np.int64]
    time_seconds: NDArray[np.float64]
    track_id: NDArray[np.int64]
    boxes: NDArray[np.float32]
    class_name: pa.ChunkedArray
    sentence: pa.ChunkedArray
    motion: NDArray[np.float32] | None
    spatial: NDArray[np.float64] | None
    by_motion: NDArray[np.float64] | None

    @property
    def score(self) -> NDArray[np.float64] | None:
        """The score of each object, the sum of its parts."""
        parts = [part for part in (self.spatial, self.by_motion) if part is not None]
        return np.asarray(sum(parts), np.float64) if parts else None

    def rows_at(self, frame: int) -> slice:
        """Return the rows of the objects of a frame."""
        return slice(*np.searchsorted(self.frame_index, (frame, frame + 1)).tolist())

    def row_of(self, track_id: int, frame: int) -> int:
        """Return the row of a track that is nearest to a frame. Raises ValueError where there is no such track."""
        rows = np.flatnonzero(self.track_id == track_id)
        return int(rows[np.argmin(np.abs(self.frame_index[rows] - frame))])

    def words(self, row: int, config: "MotionConfig") -> str:
        """Return the sentence of an object, or its class and motion where it has none."""
        sentence, class_name = self.sentence[row].as_py(), str(self.class_name[row].as_py())
        if sentence:
            return str(sentence)
        if self.motion is None:
            return class_name
        return f"{class_name} {motion_words(self.motion[row], config.pooling, config.unit)}"


def read_objects(
    folder: RunFolder, video_id: str, segments: set[int], config_hash: str, scorer: Scorer | None
) -> Objects | None:
    """Return the objects of a video from its committed segments, None where there is none of this config.

    Segments are read one at a time, and what the model alone looks at is dropped.
    """
    scalars, parts = [], []
    for _, table in iterate_features(folder, video_id, segments, config_hash):
        names = ("frame_index", "time_seconds", "track_id", "x1", "y1", "x2", "y2", "class_name", "sentence", "motion")
        scalars.append(table.select(names))
        # A segment without objects has no columns of features to score by.
        if scorer is not None and table.num_rows:
            parts.append(scorer.parts(table))
    if not scalars:
        return None
    merged = pa.concat_tables(scalars)

    def part(number: int) -> NDArray[np.float64] | None:
        found = [added for pair in parts if (added := pair[number]) is not None]
        return np.concatenate(found) if found else None

    has_motion = merged.num_rows > 0 and not merged["motion"].null_count
    return Objects(
        frame_index=merged["frame_index"].to_numpy(),
        time_seconds=merged["time_seconds"].to_numpy(),
        track_id=merged["track_id"].to_numpy(),
        boxes=np.stack([merged[side].to_numpy() for side in ("x1", "y1", "x2", "y2")], axis=1),
        class_name=merged["class_name"],
        sentence=merged["sentence"],
        motion=object_features(merged, ("motion",)) if has_motion else None,
        spatial=part(0),
        by_motion=part(1),
    )
