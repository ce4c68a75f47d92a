"""`raypipe export`: features as snippets, for trainers of weakly supervised methods (RTFM, VadCLIP and their like).

    <out>/features/<video_id>.npy     float32 (snippets, features), one row per 16 frames
    <out>/train.list, test.list       paths of these, abnormal videos first, as RTFM reads them
    <out>/train.csv, test.csv         path,label as VadCLIP reads them; the label is the class, or Normal or Abnormal
    <out>/test_labels.npz             frame labels of the test videos, for `raypipe evaluate --labels`, as long as these
    <out>/test_gt.npy                 these labels stretched to whole snippets, in the order of test.list

A snippet's row is the mean over all objects in its frames, each object in each frame counting once, so that frames with
many objects weigh more. One without objects is zeros. The last, shorter snippet of a video is kept: some published
features drop it, and then have no score for a video's last frames.
"""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.anomaly_model.training_data import column_sizes, object_features
from raypipe.config.file import absolute
from raypipe.config.run import RunConfig
from raypipe.datasets.listing import Video
from raypipe.errors import UserError
from raypipe.evaluation.evaluate import align_labels
from raypipe.extraction.catalog import Catalogue, require_features
from raypipe.ops.intervals import Interval
from raypipe.ops.snippets import add_objects, means, num_snippets
from raypipe.run_folder.folder import RunFolder, escape
from raypipe.run_folder.tables import read_records, read_segment
from raypipe.video.index import VideoIndex

SPLITS = ("train", "test")
NORMAL, ABNORMAL = "Normal", "Abnormal"
READS_AT_ONCE = 8


@dataclass(frozen=True)
class _Source:
    """What is exported: features of a run, and the labels of its videos."""

    folder: RunFolder
    catalogue: Catalogue
    committed: dict[str, set[int]]
    config_hash: str
    columns: tuple[str, ...]
    num_features: int
    snippet_frames: int


@dataclass(frozen=True)
class _Exported:
    """A video that was written: where, its label, its frames, and what its snippets lack."""

    video_id: str
    path: str
    label: str
    num_frames: int
    num_snippets: int
    num_empty: int
    num_missing_segments: int


def export(config: RunConfig, out: str, *, snippet_frames: int = 16, split: str = "all") -> list[str]:
    """Write the features of a run as snippets; return the lines that tell what was written.

    The features are those that the model is given, `config.features`, side by side, spatial ones first. `split` is
    "train", "test" or "all"; abnormal training videos belong to "train". Raises UserError where the run folder has no
    such features.
    """
    if snippet_frames < 1:
        raise UserError(f"--snippet: {snippet_frames} is no number of frames")
    folder, target = RunFolder(config.output), RunFolder(absolute(out))
    catalogue, committed = require_features(config, folder), folder.committed()
    columns = config.features.columns
    source = _Source(
        folder,
        catalogue,
        committed,
        config.feature_hash(),
        columns,
        _num_features(folder, committed, columns),
        snippet_frames,
    )
    lines = []
    for name in SPLITS if split == "all" else (split,):
        entries = [entry for entry in catalogue.entries if entry.video.split.startswith(name)]
        readable = [(entry.video, entry.index) for entry in entries if entry.index is not None]
        with ThreadPoolExecutor(max_workers=READS_AT_ONCE) as pool:
            videos = list(pool.map(lambda found: _write_video(source, target, *found), readable))
        videos.sort(key=lambda video: video.label == NORMAL)
        _write_lists(target, name, videos)
        lines += _told(name, videos, len(entries) - len(readable))
        if name == "test" and catalogue.labels is not None:
            lines += _write_labels(target, videos, catalogue, snippet_frames)
    shape = f"{source.num_features} features a snippet ({', '.join(columns)}), {snippet_frames} frames each"
    return [*lines, f"{shape}, in {target.root}"]


def _num_features(folder: RunFolder, committed: dict[str, set[int]], columns: tuple[str, ...]) -> int:
    for video in sorted(committed):
        for record in read_records(folder, {video: committed[video]}):
            if record.num_objects:
                path = folder.feature_path(video, record.segment_index)
                return sum(column_sizes(folder, path, columns))
    raise UserError(f"{folder.root}: the features hold no objects: nothing to export")


def _write_video(source: _Source, target: RunFolder, video: Video, index: VideoIndex) -> _Exported:
    count = num_snippets(index.num_frames, source.snippet_frames)
    sums, counts = np.zeros((count, source.num_features)), np.zeros(count, np.int64)
    present, expected = 0, 1
    # A segment at a time: a long video's objects need not fit into memory.
    for number in sorted(source.committed.get(video.video_id, ())):
        record, table = read_segment(source.folder, video.video_id, number)
        if record.config_hash == source.config_hash:
            present, expected = present + 1, record.num_segments
            if table.num_rows:
                features = object_features(table, source.columns)
                add_objects(sums, counts, table["frame_index"].to_numpy(), features, source.snippet_frames)
    path = target.path("features", f"{escape(video.video_id)}.npy")
    target.commit(path, _npy(means(sums, counts)))
    return _Exported(
        video.video_id,
        path if target.is_local else target.filesystem.unstrip_protocol(path),
        _label(video, source.catalogue.labels or {}),
        index.num_frames,
        count,
        int(np.count_nonzero(counts == 0)),
        expected - present,
    )


def _label(video: Video, labels: dict[str, list[Interval]]) -> str:
    """Return the class of a video, or whether it is abnormal where the data set has no classes."""
    if video.class_name:
        return NORMAL if video.class_name.lower() == NORMAL.lower() else video.class_name
    return ABNORMAL if labels.get(video.video_id) or "abnormal" in video.split else NORMAL


def _write_lists(target: RunFolder, name: str, videos: list[_Exported]) -> None:
    target.commit(target.path(f"{name}.list"), "".join(f"{video.path}\n" for video in videos).encode())
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label"])
    writer.writerows([video.path, video.label] for video in videos)
    target.commit(target.path(f"{name}.csv"), text.getvalue().encode())


def _write_labels(target: RunFolder, videos: list[_Exported], catalogue: Catalogue, snippet_frames: int) -> list[str]:
    """Write the labels of videos, made as long as these; return the lines that tell what was cut or padded."""
    nothing = np.zeros(0, bool)
    labels, cut, padded = [], {}, {}
    for video in videos:
        num_labelled = catalogue.label_frames.get(video.video_id, video.num_frames)
        label, num_past = align_labels((catalogue.labels or {}).get(video.video_id, []), num_labelled)
        cut[video.video_id] = num_past + max(0, num_labelled - video.num_frames)
        padded[video.video_id] = max(0, video.num_frames - num_labelled)
        label = label[: video.num_frames]
        labels.append(np.append(label, np.zeros(video.num_frames - len(label), bool)))
    stretched = [np.append(label, np.zeros(-len(label) % snippet_frames, bool)) for label in labels]
    content = io.BytesIO()
    np.savez_compressed(
        content,
        labels=np.concatenate([nothing, *labels]),
        video_names=np.array([video.video_id for video in videos], dtype=np.str_),
        num_frames=np.array([video.num_frames for video in videos], np.int64),
    )
    target.commit(target.path("test_labels.npz"), content.getvalue())
    target.commit(target.path("test_gt.npy"), _npy(np.concatenate([nothing, *stretched]).astype(np.float32)))
    return [
        *_told_frames(cut, "labels of frames past the end of the video were cut"),
        *_told_frames(padded, "frames past the end of the labels count as normal"),
    ]


def _told_frames(counts: dict[str, int], what: str) -> list[str]:
    """Return a line that says of how many frames something is, and in which videos; none where it is of none."""
    found = [name for name, count in counts.items() if count]
    return [f"  labels: {sum(counts.values()):,} {what}: {_named(found)}"] if found else []


def _named(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f", ... ({len(names):,} videos)" if len(names) > 3 else "")


def _npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _told(name: str, videos: list[_Exported], num_unreadable: int) -> list[str]:
    num_abnormal = sum(video.label != NORMAL for video in videos)
    lines = [
        f"{name}: {len(videos):,} videos ({num_abnormal:,} abnormal), "
        f"{sum(video.num_snippets for video in videos):,} snippets, "
        f"{sum(video.num_empty for video in videos):,} of them without objects (zeros)"
    ]
    incomplete = [video.video_id for video in videos if video.num_missing_segments]
    if incomplete:
        which = _named(incomplete)
        lines.append(f"  incomplete: {len(incomplete):,} videos lack segments, which are zeros here: {which}")
    if num_unreadable:
        lines.append(f"  left out: {num_unreadable:,} videos that cannot be read")
    return lines
