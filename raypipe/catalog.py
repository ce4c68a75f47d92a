"""The catalogue: what was found out about every video before any work starts, kept in the run folder."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from raypipe.config import RunConfig
from raypipe.config_file import digest
from raypipe.datasets.folder import Interval, Listing, Video
from raypipe.datasets.mot import boxes_path
from raypipe.datasets.names import read_dataset
from raypipe.errors import DataError, UserError
from raypipe.ops.segments import decoded_size, plan_segments
from raypipe.ops.shards import Shard
from raypipe.stages.motion import radius_frames
from raypipe.storage import DeadLetter, RunFolder
from raypipe.video.folder import probe_folder
from raypipe.video.index import VideoIndex, seek_points
from raypipe.video.probe import probe_video
from raypipe.video.watchdog import ending_hangs

CATALOGUE_NAME = "catalogue.jsonl"


@dataclass(frozen=True)
class Entry:
    """One video of the catalogue: either its index of frames, or why it has none."""

    video: Video
    index: VideoIndex | None
    failure: DeadLetter | None = None


@dataclass(frozen=True)
class Catalogue:
    """All videos of a run in the order of their ids, and what the data set's listing says of them.

    `labels`, `label_frames`, `label_source`, `num_ignored` and `notes` are those of `datasets.listing.Listing`.
    """

    entries: tuple[Entry, ...]
    labels: dict[str, list[Interval]] | None
    num_ignored: int = 0
    label_frames: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    label_source: str = ""

    def fingerprint(self) -> str:
        """Return a hash that changes when a video is added, removed, or has another split, size, length or boxes."""
        rows = (
            (e.video.video_id, e.video.split, e.video.num_bytes, e.video.boxes_bytes, e.index and e.index.num_frames)
            for e in self.entries
        )
        return digest(list(rows))

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with videos that can be used all the same, by video id."""
        return {e.video.video_id: e.index.damage for e in self.entries if e.index is not None and e.index.damage}


def catalogue_of(entries: Iterable[Entry], listing: Listing) -> Catalogue:
    """Return the catalogue of a listing whose videos were probed."""
    return Catalogue(
        tuple(entries),
        listing.labels,
        listing.num_ignored,
        label_frames=listing.label_frames,
        notes=listing.notes,
        label_source=listing.label_source,
    )


def list_videos(config: RunConfig) -> Listing:
    """List the data set and check what can be checked without opening a video.

    Raises UserError on an empty data set, wrong labels, and missing files of boxes.
    """
    listing = read_dataset(config.dataset)
    if config.detector.kind == "boxes":
        root = str(config.detector.boxes_root)
        boxes = RunFolder(root)
        present = {
            path: int(info["size"] or 0) for path, info in boxes.filesystem.find(boxes.path(), detail=True).items()
        }
        missing = [v.video_id for v in listing.videos if boxes_path(boxes.path(), v.video_id) not in present]
        if missing:
            example = boxes_path(root, missing[0])
            count = f"{len(missing)} of {len(listing.videos)} videos"
            raise UserError(f"detector.boxes_root: {count} have no boxes, the first: {example}")
        videos = (replace(v, boxes_bytes=present[boxes_path(boxes.path(), v.video_id)]) for v in listing.videos)
        listing = replace(listing, videos=tuple(videos))
    return listing


def probe(video: Video, frames_fps: float) -> Entry:
    """Find out a video's size, frames and timestamps; one that cannot be read gets a dead letter."""
    try:
        index = probe_folder(video.uri, frames_fps) if video.is_frames else probe_video(video.uri)
    except DataError as error:
        return Entry(video, None, DeadLetter(video.video_id, 0, "probe", type(error).__name__, str(error)))
    return Entry(video, index)


def probe_watched(video: Video, frames_fps: float, timeout_seconds: float, folder: RunFolder, session: str) -> Entry:
    """Probe a video in a process of Ray's, which is ended where the video hangs it.

    Here, and not beside what starts it: a worker that only probes need not import Ray Data.
    """
    with ending_hangs(timeout_seconds, partial(folder.note_hang, session, video.video_id, 0)):
        return probe(video, frames_fps)


def read_catalogue(folder: RunFolder) -> dict[str, Entry]:
    """Return the entries probed by an earlier start, by video id. Raises UserError where the file is not ours."""
    path = folder.path(CATALOGUE_NAME)
    try:
        content = folder.filesystem.cat_file(path)
    except FileNotFoundError:
        return {}
    try:
        # Bytes, because text would also be cut at the line separators of Unicode, which a name may hold.
        entries = [_entry(json.loads(line)) for line in io.BytesIO(content)]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder.name(CATALOGUE_NAME)} is damaged: {error!r}. Remove it and extract again.") from error
    return {entry.video.video_id: entry for entry in entries}


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(
        video=Video(**fields["video"]),
        index=VideoIndex.from_record(fields["index"]) if fields["index"] else None,
        failure=DeadLetter(**fields["failure"]) if fields["failure"] else None,
    )


def write_catalogue(folder: RunFolder, entries: Iterable[Entry]) -> None:
    """Keep the entries for the next start."""

    def line(entry: Entry) -> str:
        fields = {
            "video": asdict(entry.video),
            "index": entry.index.to_record() if entry.index else None,
            "failure": asdict(entry.failure) if entry.failure else None,
        }
        return json.dumps(fields, ensure_ascii=False) + "\n"

    folder.commit(folder.path(CATALOGUE_NAME), "".join(map(line, entries)).encode())


def still_valid(cached: Mapping[str, Entry], videos: Sequence[Video]) -> dict[str, Entry]:
    """Return the cached entries whose video is unchanged (same place and size) and was readable."""
    return {
        video.video_id: cached[video.video_id]
        for video in videos
        if video.video_id in cached and cached[video.video_id].video == video and not cached[video.video_id].failure
    }


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment as planned, in little memory: a catalogue has hundreds of thousands.

    `first_pts` and `pts_steps`, bytes of little-endian integers of `pts_type`, are the timestamps of its frames as
    `ops.ticks.unpack` takes them. Other fields are those of `schema.PLANNED`.
    """

    video: Video
    index: VideoIndex
    segment_index: int
    num_segments: int
    start_frame: int
    stop_frame: int
    num_warmup: int
    num_lookahead: int
    stride: int
    first_frame: int
    num_sampled: int
    seek_dts: int
    seek_pts: int
    first_pts: int
    pts_steps: bytes
    pts_type: str

    def row(self) -> dict[str, Any]:
        """Return the segment as a row on its way to the first stage (`schema.PACKED`)."""
        index, ticks = self.index, self.index.ticks()
        return {
            "video_id": self.video.video_id,
            "uri": self.video.uri,
            "split": self.video.split,
            "fps": float(index.fps),
            "num_frames": ticks.count,
            "width": index.width,
            "height": index.height,
            "segment_index": self.segment_index,
            "num_segments": self.num_segments,
            "start_frame": self.start_frame,
            "stop_frame": self.stop_frame,
            "num_warmup": self.num_warmup,
            "num_lookahead": self.num_lookahead,
            "stride": self.stride,
            "seek_dts": self.seek_dts,
            "seek_pts": self.seek_pts,
            "first_frame": self.first_frame,
            "num_sampled": self.num_sampled,
            "first_pts": self.first_pts,
            "pts_steps": self.pts_steps,
            "pts_type": self.pts_type,
            "video_pts": ticks.first,
            "tick_seconds": 0.0 if index.is_counted else float(index.time_base),
        }


def plan_video(config: RunConfig, entry: Entry) -> list[PlannedSegment]:
    """Return all segments of a video in order, none of one that could not be probed."""
    video, index = entry.video, entry.index
    if index is None:
        return []
    stride = config.decode.stride
    # Also where motion is only kept for other models.
    with_motion = "motion" in config.features.extracted
    radius = radius_frames(config.motion, index.fps, stride) if with_motion else 0
    width, height = decoded_size(index.width, index.height, config.decode.max_side)
    segments = plan_segments(
        index.num_frames,
        3 * width * height,
        segment_bytes=config.segment_bytes,
        stride=stride,
        # The first frame's vectors point to the frame before, so its window needs one frame more.
        warmup_frames=max(config.warmup_frames, radius + 1 if with_motion else 0),
        lookahead_frames=radius,
    )
    first_frames = np.array([segment.frame_indices[0] for segment in segments], np.int64)
    seek_dts, seek_pts = seek_points(index, first_frames)
    ticks = index.ticks().every(stride)
    pts_type = ticks.steps.dtype.newbyteorder("<").str
    # The bytes of all steps; a segment has a part of them, or the same one step.
    steps, size = ticks.steps.astype(pts_type, copy=False).tobytes(), ticks.steps.dtype.itemsize
    first_pts = ticks.at(first_frames // stride).tolist()
    starts = zip(segments, first_frames.tolist(), seek_dts.tolist(), seek_pts.tolist(), first_pts, strict=True)
    planned = []
    for segment, first, dts, pts, own_pts in starts:
        num_sampled = len(segment.frame_indices)
        position = first // stride
        own_steps = steps if ticks.is_constant else steps[position * size : (position + num_sampled - 1) * size]
        planned.append(
            PlannedSegment(
                video=video,
                index=index,
                segment_index=segment.segment_index,
                num_segments=len(segments),
                start_frame=segment.start_frame,
                stop_frame=segment.stop_frame,
                num_warmup=segment.num_warmup,
                num_lookahead=segment.num_lookahead,
                stride=stride,
                first_frame=first,
                num_sampled=num_sampled,
                seek_dts=dts,
                seek_pts=pts,
                first_pts=own_pts,
                pts_steps=own_steps,
                pts_type=pts_type,
            )
        )
    return planned


@dataclass(frozen=True)
class Share:
    """Segments of a catalogue, longest first, and the failures of videos that cannot be read: all, or a shard's."""

    segments: list[PlannedSegment]
    failures: list[DeadLetter]

    @property
    def places(self) -> set[tuple[str, int]]:
        """Video and segment of all that can be done or dead of it."""
        return {(s.video.video_id, s.segment_index) for s in self.segments} | {
            (letter.video_id, letter.segment_index) for letter in self.failures
        }

    def part(self, shard: Shard) -> "Share":
        """Return what a shard has of it; a video that cannot be read counts as a segment without frames."""
        taken = shard.take([*self.segments, *self.failures])
        return Share(
            [item for item in taken if isinstance(item, PlannedSegment)],
            [item for item in taken if isinstance(item, DeadLetter)],
        )


def plan_all(config: RunConfig, entries: Iterable[Entry]) -> Share:
    """Return everything that is to be done. Longest first, so that what is left at the end is short."""
    entries = list(entries)
    segments = [segment for entry in entries for segment in plan_video(config, entry)]
    segments.sort(key=lambda segment: (-segment.num_sampled, segment.video.video_id, segment.segment_index))
    failures = sorted((e.failure for e in entries if e.failure), key=lambda f: (f.video_id, f.segment_index))
    return Share(segments, failures)
