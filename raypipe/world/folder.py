"""The world as a `folder` data set: clips with boxes, truth and labels, written clip by clip.

    world.json                     what is drawn: a folder holds one world only
    train/, test/                  H.264 clips
    boxes/, truth/                 MOT text with track ids; a CSV row per object and frame
    labels/train/001.csv, ...      each clip's labels; written last, they say that the clip is whole
    labels.csv                     all of them; written when every clip is there

Whatever is interrupted is gone on with: clips that are whole stay, the others are drawn again, with the same bytes.
"""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.errors import UserError
from raypipe.video.encode import write_video
from raypipe.world.clips import Clip, Seen, Split, WorldConfig, make_clip

# Who is hidden for this long, as by a post, has not stopped.
GAP_SECONDS = 0.5
WORLD_NAME, LABELS_NAME = "world.json", "labels.csv"
LABELS_HEADER = "video,start_frame,end_frame\n"


@dataclass(frozen=True)
class FolderPlan:
    """What a folder holds: clips of the train split, and of the test split or, with `shrinking`, of that.

    Train clips have `train_frames` frames, by default as many as the others. Raises UserError where they have fewer
    than two.
    """

    config: WorldConfig
    num_train: int
    num_test: int
    shrinking: bool = False
    train_frames: int | None = None

    def clips(self) -> list[tuple[str, Split, int]]:
        """Return the clips: the folder of each, and what `make_clip` makes it of."""
        test: Split = "shrinking" if self.shrinking else "test"
        train: list[tuple[str, Split, int]] = [("train", "train", number) for number in range(self.num_train)]
        return train + [("test", test, number) for number in range(self.num_test)]

    def __post_init__(self) -> None:
        if self.train_frames is not None and self.train_frames < 2:
            raise UserError(f"train clips of {self.train_frames} frames: a clip has at least 2")

    def config_of(self, split: Split) -> WorldConfig:
        """Return what clips of a split are drawn by."""
        if split != "train" or self.train_frames is None:
            return self.config
        return self.config.model_copy(update={"num_frames": self.train_frames})

    def num_frames(self, places: Sequence[tuple[str, Split, int]]) -> int:
        """Return how many frames these clips have together."""
        return sum(self.config_of(split).num_frames for _, split, _ in places)

    def document(self) -> dict[str, Any]:
        """Return what world.json says."""
        counts = {"num_train": self.num_train, "num_test": self.num_test, "shrinking": self.shrinking}
        # Named only where train clips differ: the same clips are the same world.
        length = None if self.train_frames == self.config.num_frames else self.train_frames
        return self.config.model_dump(mode="json") | counts | {"train_frames": length}


def write_folder(root: Path, plan: FolderPlan) -> None:
    """Write a whole world, or what is left of it. Raises UserError as `open_folder` and `write_clip`."""
    open_folder(root, plan)
    for place in missing_clips(root, plan):
        write_clip(root, plan, *place)
    finish_folder(root, plan)


def open_folder(root: Path, plan: FolderPlan) -> None:
    """Claim a folder for a world, or go on with it.

    Raises UserError where it holds another world or anything else, and where it cannot be written.
    """
    try:
        if (root / WORLD_NAME).exists():
            _require_same(root, plan)
            return
        # All that is left of a start that was killed before it had written anything.
        _temporary(root / WORLD_NAME).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(root, error) from error
    make_root(root)
    _write_text(root / WORLD_NAME, json.dumps(plan.document(), indent=1) + "\n")


def make_root(root: Path) -> None:
    """Make a folder to write to. Raises UserError where it is not empty or cannot be made."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        is_empty = next(root.iterdir(), None) is None
    except OSError as error:
        raise UserError(f"{root}: {error.strerror}; a world needs a folder that it can write to") from error
    if not is_empty:
        raise UserError(f"{root}: is not empty; name a new folder, or remove what is there")


def _require_same(root: Path, plan: FolderPlan) -> None:
    path = root / WORLD_NAME
    try:
        there = json.loads(path.read_text())
        was = {key: there.get(key) for key in plan.document()}
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}); remove {root}, or name another folder") from error
    words = [f"{key} was {was[key]}, now {now}" for key, now in plan.document().items() if was[key] != now]
    if words:
        raise UserError(f"{root} holds another world ({'; '.join(words)}); name another folder, or remove it")


def missing_clips(root: Path, plan: FolderPlan) -> list[tuple[str, Split, int]]:
    """Return the clips that are not whole yet."""
    return [place for place in plan.clips() if not _labels_path(root, place[0], place[2]).exists()]


def _labels_path(root: Path, folder: str, number: int) -> Path:
    return root / "labels" / folder / f"{number + 1:03d}.csv"


def write_clip(root: Path, plan: FolderPlan, folder: str, split: Split, number: int) -> int:
    """Draw a clip of a folder and write all of it; return the number of its frames.

    Raises UserError where it cannot be written; what else is there stays as it is.
    """
    config = plan.config_of(split)
    clip = make_clip(config, split, number)
    name = f"{folder}/{clip.name}"
    video = root / f"{name}.mp4"
    try:
        for kind in ("", "boxes", "truth", "labels"):
            (root / kind / folder).mkdir(parents=True, exist_ok=True)
        shown, novel = film(clip, video, config.fps)
        # The labels, which say that the clip is whole, must not be on disk before it.
        with video.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise _cannot_write(video, error) from error
    _write_text(root / "boxes" / f"{name}.txt", mot_text(shown))
    _write_text(root / "truth" / f"{name}.csv", truth_text(shown))
    gap = round(GAP_SECONDS * config.fps)
    labels = "".join(f"{name},{start},{end}\n" for start, end in intervals(novel, gap))
    _write_text(_labels_path(root, folder, number), labels)
    return clip.num_frames


def finish_folder(root: Path, plan: FolderPlan) -> None:
    """Write labels.csv of the labels of all clips; its presence says that everything else is there."""
    rows = [_labels_path(root, folder, number).read_text() for folder, _, number in plan.clips()]
    content = LABELS_HEADER + "".join(rows)
    path = root / LABELS_NAME
    # What is there already is left alone: data that were written again would be another data set.
    if not path.exists() or path.read_text() != content:
        _write_text(path, content)


def _write_text(path: Path, content: str) -> None:
    """Write a file, whole or not at all, and on disk before anything that follows."""
    temporary = _temporary(path)
    try:
        with temporary.open("w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _cannot_write(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"{path}: {reason}; clips that were drawn stay: mend that, and start it again")


def film(clip: Clip, path: Path, fps: int) -> tuple[list[tuple[Seen, ...]], list[bool]]:
    """Draw a clip into an H.264 file; return what each frame shows, and whether it clearly shows anything novel."""
    shown: list[tuple[Seen, ...]] = []
    novel: list[bool] = []

    def draw() -> Iterator[NDArray[np.uint8]]:
        for frame in clip.frames():
            shown.append(frame.seen)
            novel.append(frame.is_novel)
            yield frame.image

    write_video(path, draw(), fps)
    return shown, novel


def intervals(is_novel: Sequence[bool], max_gap: int = 0) -> list[tuple[int, int]]:
    """Return the runs of true values as (start, end), the end exclusive; those at most `max_gap` apart are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(is_novel, dtype=np.int8), [0]]))).tolist()
    found: list[tuple[int, int]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if found and start - found[-1][1] <= max_gap:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def mot_text(shown: Sequence[Sequence[Seen]]) -> str:
    """Return the visible boxes of clearly seen objects as MOT text; the last field is the visible share."""
    lines = []
    for number, seen in enumerate(shown, start=1):
        for one in sorted((one for one in seen if one.is_clear), key=lambda one: one.track_id):
            x1, y1, x2, y2 = one.box
            sides = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
            lines.append(f"{number},{one.track_id},{sides},1,-1,-1,{one.visible:.3f}\n")
    return "".join(lines)


def truth_text(shown: Sequence[Sequence[Seen]]) -> str:
    """Return all that is true of every object, also of hidden ones, as CSV; frames are counted from 0."""
    columns = ("frame", "track_id", "class", "action", "sentence", "novel", "visible")
    sides = ("x1", "y1", "x2", "y2")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*columns, *sides, *(f"whole_{side}" for side in sides)])
    for number, seen in enumerate(shown):
        for one in sorted(seen, key=lambda one: one.track_id):
            said = (one.class_name, one.action, one.sentence, int(one.is_novel), f"{one.visible:.3f}")
            table.writerow([number, one.track_id, *said, *(f"{side:.1f}" for side in (*one.box, *one.whole_box))])
    return text.getvalue()
