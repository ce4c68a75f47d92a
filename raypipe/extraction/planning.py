"""The segments of a catalogue, as planned before anything is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from raypipe.config.run import RunConfig
from raypipe.config.stages import radius_frames
from raypipe.datasets.folder import Video
from raypipe.extraction.catalog import Entry
from raypipe.ops.segments import decoded_size, plan_segments
from raypipe.ops.shards import Shard
from raypipe.run_folder.folder import DeadLetter
from raypipe.video.index import VideoIndex, seek_points


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment as planned, in little memory: a catalogue has hundreds of thousands.

    `first_pts` and `pts_steps`, bytes of little-endian integers of `pts_type`, are the timestamps of its frames as
    `ops.timestamps.unpack` takes them. Other fields are those of `schema.PLANNED`.
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
            "is_numbered": index.is_numbered,
            "stream": -1 if index.stream is None else index.stream,
            "first_frame": self.first_frame,
            "num_sampled": self.num_sampled,
            "first_pts": self.first_pts,
            "pts_steps": self.pts_steps,
            "pts_type": self.pts_type,
            "video_pts": ticks.first,
            "tick_seconds": 0.0 if index.is_timed_by_rate else float(index.time_base),
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
