"""The `folder` data set: any tree of video files or folders of frames.

    root/train/..., root/test/...      the split is the first folder, or
    root/splits.csv                    video,split
    root/labels.csv                    video,start_frame,end_frame   0-based, end exclusive (optional)

`video_id` is the path below the root without its extension; a folder that holds images is one video.
"""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raypipe.errors import UserError

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".ts",
        ".m2ts",
        ".mts",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".h264",
        ".264",
        ".h265",
        ".265",
        ".hevc",
    ]
)
IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"])
SPLITS = ("train", "test")

Interval = tuple[int, int]


@dataclass(frozen=True)
class Video:
    """A video of the data set: where it is and which split it belongs to.

    `class_name` is the kind of anomaly that it shows ("normal" for none) and `scene` the camera or place, both empty
    where the data set does not tell.
    """

    video_id: str
    uri: str
    split: str
    num_bytes: int
    is_frames: bool
    boxes_bytes: int = 0
    class_name: str = ""
    scene: str = ""


@dataclass(frozen=True)
class Listing:
    """What a data set holds: its videos, and the abnormal intervals of those that have any.

    `labels` is None where the data set says nothing of labels; a video without an entry is all normal.
    """

    videos: tuple[Video, ...]
    labels: dict[str, list[Interval]] | None
    num_ignored: int = 0


def read_folder(root: str) -> Listing:
    """List the videos below `root` (a local path or fsspec URI), sorted by id, with their splits and labels.

    Raises UserError where the root or its splits are missing, where nothing is found, where two files have the
    same id, and where `splits.csv` or `labels.csv` name an unknown video or make no sense.
    """
    try:
        fs, base = fsspec.core.url_to_fs(root)
    except (ValueError, ImportError) as error:
        raise UserError(f"dataset.root: {root}: {error}") from error
    base = base.rstrip("/")
    if not fs.isdir(base):
        raise UserError(f"dataset.root: {root} is not a folder")
    found = _find_videos(fs, base)
    splits = _read_splits(fs, base)
    videos, num_ignored = [], 0
    for video_id, (path, num_bytes, is_frames) in sorted(found.items()):
        split = splits.get(video_id) if splits is not None else video_id.partition("/")[0]
        if split not in SPLITS:
            num_ignored += 1
            continue
        videos.append(
            Video(video_id, fs.unstrip_protocol(path) if "://" in root else path, split, num_bytes, is_frames)
        )
    if not videos:
        raise UserError(
            f"dataset.root: no videos in {root}. Put them below train/ and test/, or list them in splits.csv "
            f"(video,split); {num_ignored} videos lie outside both."
        )
    known = {video.video_id for video in videos}
    if splits is not None and (absent := sorted(set(splits) - set(found))):
        raise UserError(f"{base}/splits.csv names {len(absent)} videos that are not there: {_some(absent)}")
    return Listing(tuple(videos), _read_labels(fs, base, known), num_ignored)


def _find_videos(fs: Any, base: str) -> dict[str, tuple[str, int, bool]]:
    """Return {video_id: (path, size in bytes, whether it is a folder of frames)}."""
    found: dict[str, tuple[str, int, bool]] = {}
    frames: dict[str, int] = defaultdict(int)
    for path, num_bytes in _files(fs, base):
        relative = path[len(base) + 1 :]
        try:
            relative.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{relative!r}: a file name that is not UTF-8. Rename it.") from error
        stem, dot, suffix = relative.rpartition(".")
        suffix = f"{dot}{suffix}".lower()
        folder = relative.rpartition("/")[0]
        if relative.rpartition("/")[2].startswith("._"):
            continue  # what macOS leaves beside a file on foreign disks
        if suffix in IMAGE_SUFFIXES and folder not in ("", *SPLITS):
            frames[folder] += num_bytes
        elif suffix in VIDEO_SUFFIXES and stem.rpartition("/")[2]:
            if stem in found:
                raise UserError(f"{found[stem][0]} and {path} are both the video {stem!r}. Rename one of them.")
            found[stem] = (path, num_bytes, False)
    beside_videos = {stem.rpartition("/")[0] for stem in found}
    for folder, num_bytes in frames.items():
        if folder in beside_videos:
            continue  # a picture that lies beside videos is no video
        if folder in found:
            raise UserError(f"{found[folder][0]} and the folder {folder} are both the video {folder!r}. Rename one.")
        found[folder] = (f"{base}/{folder}", num_bytes, True)
    return found


def _files(fs: Any, base: str) -> Iterator[tuple[str, int]]:
    """Yield (path, size in bytes) of every file below a folder; links to folders are followed, each folder once."""
    if not isinstance(fs, LocalFileSystem):
        yield from ((path, int(info.get("size") or 0)) for path, info in fs.find(base, detail=True).items())
        return
    seen: set[str] = set()
    for folder, folders, names in os.walk(base, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = f"{folder}/{name}"
            with suppress(OSError):  # a link to nowhere
                yield path, Path(path).stat().st_size


def _read_csv(fs: Any, path: str, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]] | None:
    """Return (line number, row) of a CSV file, or None where there is none."""
    if not fs.exists(path):
        return None
    try:
        text = fs.cat_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = tuple(name.strip() for name in reader.fieldnames or ())
    if names != columns:
        raise UserError(f"{path}: its first line is {','.join(names)!r}, expected {','.join(columns)!r}")
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise UserError(f"{path}:{reader.line_num}: expected {len(columns)} values")
        rows.append((reader.line_num, {name: row[key].strip() for name, key in zip(names, row, strict=True)}))
    return rows


def _read_splits(fs: Any, base: str) -> dict[str, str] | None:
    rows = _read_csv(fs, f"{base}/splits.csv", ("video", "split"))
    if rows is None:
        return None
    splits: dict[str, str] = {}
    for line, row in rows:
        if row["split"] not in SPLITS:
            raise UserError(f"{base}/splits.csv:{line}: split {row['split']!r} is not one of {', '.join(SPLITS)}")
        if splits.setdefault(row["video"], row["split"]) != row["split"]:
            raise UserError(f"{base}/splits.csv:{line}: {row['video']} is in both splits")
    return splits


def _read_labels(fs: Any, base: str, known: set[str]) -> dict[str, list[Interval]] | None:
    path = f"{base}/labels.csv"
    rows = _read_csv(fs, path, ("video", "start_frame", "end_frame"))
    if rows is None:
        return None
    labels: dict[str, list[Interval]] = defaultdict(list)
    for line, row in rows:
        try:
            start, end = int(row["start_frame"]), int(row["end_frame"])
        except ValueError as error:
            raise UserError(f"{path}:{line}: {error}") from error
        if not 0 <= start < end:
            raise UserError(f"{path}:{line}: frames {start} to {end} are no interval (0-based, end exclusive)")
        if row["video"] not in known:
            raise UserError(f"{path}:{line}: there is no video {row['video']!r} in the data set")
        labels[row["video"]].append((start, end))
    return dict(labels)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
