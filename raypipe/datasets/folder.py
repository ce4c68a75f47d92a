"""The `folder` data set: any tree of video files or folders of frames.

    root/train/..., root/test/...      the split is the first folder, or
    root/splits.csv                    video,split
    root/labels.csv                    video,start_frame,end_frame   0-based, end exclusive (optional)

`video_id` is the path below the root without its extension; a folder that holds images is one video.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raypipe.datasets.listing import Listing, Video, joined_note, some
from raypipe.datasets.tree import NO_VIDEO, SPLITS, Tree, open_tree
from raypipe.datasets.video_names import same_name
from raypipe.errors import UserError
from raypipe.ops.intervals import Interval, join, overlaps
from raypipe.run_folder.store import store_errors

__all__ = ["Listing", "Video", "read_folder"]


def read_folder(root: str) -> Listing:
    """List the videos below `root` (a local path or fsspec URI), sorted by id, with their splits and labels.

    Intervals of a video that overlap are joined, and noted.

    Raises UserError where the root or its splits are missing, where nothing is found, where two files have the
    same id, and where `splits.csv` or `labels.csv` name an unknown video or make no sense.
    """
    tree = open_tree(root)
    fs, base, found = tree.filesystem, tree.base, tree.videos
    splits = _read_splits(fs, base)
    videos, num_ignored = [], 0
    for video_id in sorted(found):
        split = splits.get(same_name(video_id)) if splits is not None else video_id.partition("/")[0]
        if split not in SPLITS:
            num_ignored += 1
            continue
        videos.append(tree.video(found[video_id], video_id, split))
    notes = _notes(tree)
    if not videos:
        told = "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
        raise UserError(
            f"dataset.root: no videos in {root} below train/ and test/, or in a splits.csv (video,split). "
            f"Videos elsewhere below it: {num_ignored}.{told}"
        )
    known = {same_name(video.video_id): video.video_id for video in videos}
    if splits is not None and (absent := sorted(set(splits) - {same_name(name) for name in found})):
        raise UserError(f"{base}/splits.csv names {len(absent)} videos that are not there: {some(absent)}")
    intervals = _read_labels(fs, base, known)
    if intervals is None:
        return Listing(tuple(videos), None, num_ignored, notes=tuple(notes))
    labels = {video_id: join(own) for video_id, own in intervals.items()}
    overlapping = [video_id for video_id, own in intervals.items() if overlaps(own)]
    if overlapping:
        notes.append(joined_note(overlapping))
    return Listing(tuple(videos), labels, num_ignored, notes=tuple(notes))


def _notes(tree: Tree) -> list[str]:
    """Return what is told of the files that are no videos; those beside the splits are not meant to be any."""
    others = [path for path in tree.documents if path.partition("/")[0] in SPLITS and "/" in path]
    others = sorted({*others, *tree.left_out.get(NO_VIDEO, ())})
    return replace(tree, left_out=tree.left_out | ({NO_VIDEO: others} if others else {})).notes()


def _read_csv(fs: Any, path: str, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]] | None:
    """Return (line number, row) of a CSV file, or None where there is none."""
    if not fs.exists(path):
        return None
    try:
        text = fs.cat_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error}") from error
    except store_errors() as error:
        raise UserError(f"{path} cannot be read ({error})") from error
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
        if splits.setdefault(same_name(row["video"]), row["split"]) != row["split"]:
            raise UserError(f"{base}/splits.csv:{line}: {row['video']} is in both splits")
    return splits


def _read_labels(fs: Any, base: str, known: Mapping[str, str]) -> dict[str, list[Interval]] | None:
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
            raise UserError(f"{path}:{line}: frames {start} to {end} are not an interval (0-based, end exclusive)")
        video_id = known.get(same_name(row["video"]))
        if video_id is None:
            raise UserError(f"{path}:{line}: there is no video {row['video']!r} in the data set")
        labels[video_id].append((start, end))
    return dict(labels)
