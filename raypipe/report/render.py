"""One video of a run with its objects, sentences and scores drawn in, as an H.264 file.

Frames are decoded, drawn and encoded a few at a time, so memory does not depend on the length of the video.
"""

import difflib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

from raypipe.anomaly_model.score import made_by
from raypipe.datasets.video_names import same_name
from raypipe.errors import DataError, UserError
from raypipe.evaluation.evaluate import align_labels
from raypipe.extraction.catalog import Entry, list_videos, read_catalogue
from raypipe.monitoring.progress import progress
from raypipe.ops.scores import nearest_sample
from raypipe.report.findings import Objects, Scorer, load_scorer, read_objects
from raypipe.report.overlay import Canvas, DrawnObject, Timeline, strength
from raypipe.report.pictures import read_frames
from raypipe.run_folder.folder import RunFolder, escape
from raypipe.run_folder.record import read_run
from raypipe.run_folder.tables import read_scores
from raypipe.text import counted
from raypipe.video.index import VideoIndex

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig

CHUNK_BYTES = 64 * 2**20
# Ticks of the file's clock in a second: whole for all usual frame rates, and fine enough for uneven ones.
TICKS = 90_000
QUALITY = {"crf": "20", "preset": "veryfast"}


@dataclass(frozen=True)
class Rendered:
    """What was written, and what is missing in it."""

    path: str
    num_frames: int
    width: int
    height: int
    notes: tuple[str, ...]


def render_video(config: "RunConfig", video_id: str, out: Path | None = None) -> Rendered:
    """Write a video of the run, annotated, to `out` or to `report/<video>.mp4` in the run folder.

    Scores, labels and features that are not there are left out and noted. Raises UserError for a video that the run
    does not know or that cannot be decoded at all, and for a place that cannot be written.
    """
    folder = RunFolder(config.output, config.variation)
    entry, index = _find(config, folder, video_id)
    video_id = entry.video.video_id
    notes: list[str] = []
    scorer = load_scorer(config, folder)
    segments = folder.committed().get(video_id, set())
    objects = read_objects(folder, video_id, segments, config.feature_hash(), scorer)
    if objects is None:
        notes.append("no features: run raypipe extract; nothing is drawn on the frames")
    timeline = Timeline(
        index.time_seconds,
        _scores(config, folder, entry, scorer, notes),
        _label(config, entry, index, notes),
    )
    canvas = Canvas(video_id, index.width, index.height, timeline)
    drawn = _DrawnObjects(objects, timeline, index.num_frames, config)
    target = out or Path(folder.path(folder.product("report"), f"{escape(video_id)}.mp4"))
    with tempfile.TemporaryDirectory() as directory:
        is_remote = out is None and not folder.is_local
        temporary = Path(directory) / "video.mp4" if is_remote else target.with_name(f".render.{os.getpid()}")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            num_unreadable = _encode(temporary, entry, index, canvas, drawn)
            if is_remote:
                folder.filesystem.put_file(str(temporary), str(target))
            else:
                temporary.replace(target)
        except OSError as error:
            raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error
        finally:
            with suppress(OSError):
                temporary.unlink()
    if num_unreadable:
        notes.append(f"{counted(num_unreadable, 'frame')} could not be decoded and left blank")
    return Rendered(str(target), index.num_frames, *canvas.size, tuple(notes))


def _find(config: "RunConfig", folder: RunFolder, video_id: str) -> tuple[Entry, VideoIndex]:
    read_run(folder, config.flat_features(), config.feature_hash())
    entries = read_catalogue(folder)
    wanted = same_name(video_id)
    entry = entries.get(video_id) or next((entries[name] for name in entries if same_name(name) == wanted), None)
    if entry is None:
        close = difflib.get_close_matches(video_id, entries, n=5, cutoff=0.4) or sorted(entries)[:3]
        hint = f"; did you mean {', '.join(close)}?" if close else ": it knows none"
        raise UserError(f"--video {video_id}: the run in {folder.root} has no such video{hint}")
    if entry.index is None:
        reason = entry.failure.message if entry.failure else "it was never probed"
        raise UserError(f"--video {video_id}: it could not be read ({reason})")
    return entry, entry.index


def _scores(
    config: "RunConfig", folder: RunFolder, entry: Entry, scorer: Scorer | None, notes: list[str]
) -> NDArray[np.float64] | None:
    name = entry.video.video_id
    if entry.video.split != "test":
        notes.append("no time line of scores: only videos of the test split are scored")
        return None
    if scorer is None:
        notes.append(f"no scores: there is no trained {config.score.model} model yet")
        return None
    try:
        table = read_scores(folder, name, made_by(config.score, scorer.model))
    except UserError as error:
        notes.append(f"no scores: {error}")
        return None
    score: NDArray[np.float64] = table["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    return score


def _label(config: "RunConfig", entry: Entry, index: VideoIndex, notes: list[str]) -> NDArray[np.bool_] | None:
    try:
        labels = list_videos(config).labels
    except UserError as error:
        notes.append(f"no labels: {error}")
        return None
    if labels is None:
        return None
    return align_labels(labels.get(entry.video.video_id, []), index.num_frames)[0]


class _DrawnObjects:
    """The objects of each frame, between sampled frames those of the nearest one."""

    def __init__(self, objects: Objects | None, timeline: Timeline, num_frames: int, config: "RunConfig") -> None:
        self._objects, self._motion = objects, config.motion
        sampled = np.arange(0, num_frames, config.decode.stride)
        self._sampled = sampled[nearest_sample(sampled, num_frames)]
        self._score = None if objects is None else objects.score
        self._strength = None
        # Without scores of frames nothing says what is strong: the strongest of a normal video is none.
        if self._score is not None and self._score.size and timeline.score is not None:
            # The strongest frame is full strength; a single object may be far above it before smoothing.
            is_comparable = bool(np.isfinite(timeline.score).any()) and not config.score.min_max
            high = float(np.nanmax(timeline.score) if is_comparable else self._score.max())
            self._strength = strength(self._score, high)

    def at(self, frame: int) -> Sequence[DrawnObject]:
        """Return the objects of a frame, of which the strongest has its words."""
        objects = self._objects
        if objects is None:
            return ()
        rows = objects.rows_at(int(self._sampled[frame]))
        score = None if self._score is None else self._score[rows]
        top = rows.start + int(np.argmax(score)) if score is not None and score.size else None
        return [
            DrawnObject(
                box=tuple(objects.boxes[row].tolist()),
                track_id=int(objects.track_id[row]),
                words=objects.words(row, self._motion) if row == top else "",
                score=None if self._score is None else float(self._score[row]),
                strength=0.0 if self._strength is None else float(self._strength[row]),
            )
            for row in range(rows.start, rows.stop)
        ]


def _encode(path: Path, entry: Entry, index: VideoIndex, canvas: Canvas, drawn: _DrawnObjects) -> int:
    """Write all frames and return how many could not be decoded. Raises UserError where none could."""
    ticks = np.rint(index.time_seconds * TICKS).astype(np.int64)
    num_unreadable = 0
    with av.open(str(path), "w", format="mp4") as container, progress("render", index.num_frames) as advance:
        stream: Any = container.add_stream("libx264", rate=Fraction(index.fps).limit_denominator(1001), options=QUALITY)
        stream.width, stream.height = canvas.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for number, image in enumerate(_frames(entry, index)):
            num_unreadable += image is None
            picture = av.VideoFrame.from_ndarray(canvas.draw(number, image, drawn.at(number)), format="rgb24")
            picture.pts, picture.time_base = int(ticks[number]), Fraction(1, TICKS)
            container.mux(stream.encode(picture))
            advance(1)
        container.mux(stream.encode(None))
    return num_unreadable


def _frames(entry: Entry, index: VideoIndex) -> Iterator[NDArray[np.uint8] | None]:
    """Yield every frame in order, None for those of a stretch that cannot be decoded.

    Raises UserError where none can, since then there is nothing to show.
    """
    size = max(1, CHUNK_BYTES // (3 * index.width * index.height))
    chunks = np.split(np.arange(index.num_frames), range(size, index.num_frames, size))
    first_error, has_frames, waiting = "", False, 0
    for chunk in chunks:
        try:
            images = read_frames(entry, chunk)
        except DataError as error:
            first_error = first_error or str(error)
            if not has_frames:
                waiting += len(chunk)
            else:
                yield from (None for _ in chunk)
            continue
        yield from (None for _ in range(waiting))
        waiting, has_frames = 0, True
        yield from images
    if not has_frames:
        raise UserError(first_error or f"{entry.video.uri}: the video has no frames")
