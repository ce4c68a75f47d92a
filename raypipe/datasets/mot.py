"""Boxes of a video from a file in MOT format."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.datasets.video_names import by_same_name, same_name
from raypipe.errors import AnnotationError
from raypipe.video.location import locate

# Above this, a frame number written as a float is not exact.
MAX_FRAME = 2**53

SUFFIX = ".txt"

# Boxes of one video: source frame index (N,), boxes x1 y1 x2 y2 (N, 4), confidence (N,), class names (N,).
Boxes = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.object_]]


def boxes_path(boxes_root: str, video_id: str) -> str:
    """Return where the `boxes` detector looks for a video's boxes."""
    return f"{boxes_root.rstrip('/')}/{video_id}{SUFFIX}"


def parse_mot(text: str, where: str) -> Boxes:
    """Parse MOT text: `frame,id,left,top,width,height,confidence,...` a line, frames from 1, in any order.

    Raises AnnotationError, naming `where` and the line, on anything else.
    """
    frames, numbers = [], []
    for line_number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split(",")
        try:
            frame, values = float(fields[0]), [float(value) for value in fields[2:7]]
        except ValueError as error:
            raise AnnotationError(f"{where}:{line_number}: {error}") from error
        is_frame = frame.is_integer() and 1 <= frame < MAX_FRAME
        if len(values) < 5 or not is_frame or not np.isfinite(values).all():
            raise AnnotationError(
                f"{where}:{line_number}: {line.strip()!r} is not frame,id,left,top,width,height,confidence"
            )
        frames.append(int(frame) - 1)
        numbers.append(values)
    table = np.array(numbers, dtype=np.float64).reshape(-1, 5)
    order = np.argsort(frames, kind="stable").astype(np.int64)
    boxes = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], axis=1)[order].astype(np.float32)
    names = np.full(len(order), "object", dtype=object)
    return np.array(frames, dtype=np.int64)[order], boxes, table[order, 4].astype(np.float32), names


def read_mot(boxes_root: str, video_id: str) -> Boxes:
    """Read a video's MOT file below a local path or fsspec URI; the segments of one video read it once per process.

    Raises AnnotationError where it is missing, not text, or not MOT.
    """
    path = boxes_path(boxes_root, video_id)
    try:
        filesystem, path = find_boxes(boxes_root, video_id)
        info = filesystem.info(path)
        stamp = f"{info.get('size')} {info.get('ETag') or info.get('mtime') or info.get('created')}"
        return _read_file(filesystem, path, stamp)
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: there is no such file of boxes") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is not text: {error}") from error


@lru_cache(maxsize=4)
def _read_file(filesystem: Any, path: str, stamp: str) -> Boxes:  # noqa: ARG001
    return parse_mot(filesystem.cat_file(path).decode("utf-8-sig"), path)


def find_boxes(boxes_root: str, video_id: str) -> tuple[Any, str]:
    """Return the file system and the path there of a video's file of boxes, whether or not it is there."""
    filesystem, base = locate(boxes_root)
    path = boxes_path(base, video_id)
    return filesystem, path if filesystem.exists(path) else _spelled_otherwise(filesystem, path, video_id)


def boxes_by_video(paths: Iterable[str], base: str) -> dict[str, str]:
    """Return the files of boxes among `paths` below `base`, by `same_name` of their videos.

    Raises UserError where two are of one video, as their names are spelled in two ways.
    """
    names = {path[len(base.rstrip("/")) + 1 :].removesuffix(SUFFIX): path for path in paths if path.endswith(SUFFIX)}
    return {same: names[name] for same, name in by_same_name(sorted(names), base).items()}


def _spelled_otherwise(filesystem: Any, path: str, video_id: str) -> str:
    """Return the file of boxes of a video whose accents, or whose length, are not as in its id; `path` without one."""
    folder = path[: -len(f"{video_id}{SUFFIX}")]
    files = filesystem.find(folder) if filesystem.exists(folder) else []
    return boxes_by_video(files, folder).get(same_name(video_id), path)
