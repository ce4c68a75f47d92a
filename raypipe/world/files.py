"""The world on disk: videos with labels and boxes, captioned crops in COCO's format, and detection training data."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raypipe.errors import UserError
from raypipe.stages.spatial_config import EXPANSION
from raypipe.video.encode import write_video
from raypipe.world.actions import Action, Actor
from raypipe.world.captions import captions
from raypipe.world.clips import Clip, Frame, Seen, Split, WorldConfig, make_clip

CLASSES = ("person", "vehicle")
JPEG_QUALITY = 88
# Who is hidden for this long, as by a post, has not stopped.
GAP_SECONDS = 0.5
# Crops with less of their object in view are not captioned.
MIN_CAPTIONED = 0.5
# Every how many frames crops of an actor are cut out: falls are soon over, and who is fast is soon out of view.
CAPTION_STEP = 15
CAPTION_STEPS: dict[Action, int] = {"falling": 3, "lying": 12, "running": 6, "cycling": 6, "skating": 9, "driving": 6}
# Shares of the crops of normal actions that are kept: about as many as of any other action.
KEPT: dict[Action, float] = {"walking": 0.12, "standing": 0.14, "pushing": 0.4}
# Every how many frames one is a picture of detection training; every how many clips one is for validation.
DETECTION_STEP, VALIDATION_EVERY = 30, 5


def write_folder(root: Path, config: WorldConfig, num_train: int, num_test: int, *, shrinking: bool = False) -> None:
    """Write a `folder` data set: train/, test/, labels.csv; boxes/ as MOT text; truth/ as CSV, a row per object.

    With `shrinking` the test clips are those of people who go away from the camera. Raises UserError where `root`
    is not empty or cannot be written.
    """
    make_root(root)
    labels = ["video,start_frame,end_frame"]
    test: Split = "shrinking" if shrinking else "test"
    for folder, split, count in (("train", "train", num_train), ("test", test, num_test)):
        for kind in ("", "boxes", "truth"):
            (root / kind / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            clip = make_clip(config, "train" if split == "train" else test, number)
            name = f"{folder}/{clip.name}"
            shown: list[tuple[Seen, ...]] = []
            novel: list[bool] = []
            write_video(root / f"{name}.mp4", _watch(clip, shown, novel), config.fps)
            (root / "boxes" / f"{name}.txt").write_text(mot_text(shown))
            (root / "truth" / f"{name}.csv").write_text(truth_text(shown))
            gap = round(GAP_SECONDS * config.fps)
            labels += [f"{name},{start},{end}" for start, end in intervals(novel, gap)]
    # Written last: its presence says that everything else is there.
    (root / "labels.csv").write_text("\n".join(labels) + "\n")


def _watch(clip: Clip, shown: list[tuple[Seen, ...]], novel: list[bool]) -> Iterator[NDArray[np.uint8]]:
    """Yield a clip's pictures, and note what they show."""
    for frame in clip.frames():
        shown.append(frame.seen)
        novel.append(frame.is_novel)
        yield frame.image


def make_root(root: Path) -> None:
    """Make a folder to write to. Raises UserError where it is not empty or cannot be made."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        is_empty = next(root.iterdir(), None) is None
    except OSError as error:
        raise UserError(f"{root}: {error.strerror}; a world needs a folder that it can write to") from error
    if not is_empty:
        raise UserError(f"{root}: is not empty; name a new folder, or remove what is there")


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
        for one in sorted(filter(_is_clear, seen), key=lambda one: one.track_id):
            x1, y1, x2, y2 = one.box
            sides = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
            lines.append(f"{number},{one.track_id},{sides},1,-1,-1,{one.visible:.3f}\n")
    return "".join(lines)


def _is_clear(seen: Seen) -> bool:
    return seen.is_clear


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


def write_captions(root: Path, config: WorldConfig, num_clips: int) -> int:
    """Write captioned crops of the pretraining split: images/ and captions.json. Return how many crops there are.

    Crops are cut as the pipeline cuts them. Raises UserError as `write_folder`.
    """
    make_root(root)
    (root / "images").mkdir()
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(num_clips):
        clip = make_clip(config, "pretrain", number)
        rng = np.random.default_rng([config.seed, 5, number])
        numbers = [number for number in range(clip.num_frames) if any(_is_due(actor, number) for actor in clip.actors)]
        for index, frame in zip(numbers, clip.frames(numbers), strict=True):
            for one in _captioned(frame, index, clip, rng):
                name = f"{clip.name}_{index:04d}_{one.track_id:02d}.jpg"
                x1, y1, x2, y2 = crop_rectangle(one, config)
                Image.fromarray(frame.image[y1:y2, x1:x2]).save(root / "images" / name, quality=JPEG_QUALITY)
                image_id = len(images) + 1
                images.append(
                    {"id": image_id, "file_name": name, "width": x2 - x1, "height": y2 - y1, "action": one.action}
                )
                for caption in captions(clip.actor(one.track_id), index, clip.scene.place, rng):
                    annotations.append({"id": len(annotations) + 1, "image_id": image_id, "caption": caption})
    document = {"images": images, "annotations": annotations}
    (root / "captions.json").write_text(json.dumps(document, indent=0) + "\n")
    return len(images)


def _is_due(actor: Actor, frame: int) -> bool:
    return frame % CAPTION_STEPS.get(actor.actions[frame], CAPTION_STEP) == 0


def _captioned(frame: Frame, index: int, clip: Clip, rng: np.random.Generator) -> list[Seen]:
    """Return the objects of a frame of which a captioned crop is made."""
    return [
        one
        for one in frame.seen
        if one.is_clear
        and one.visible >= MIN_CAPTIONED
        and _is_due(clip.actor(one.track_id), index)
        and rng.random() < KEPT.get(one.action, 1.0)
    ]


def crop_rectangle(one: Seen, config: WorldConfig) -> tuple[int, int, int, int]:
    """Return the pixels x1 y1 x2 y2 of the crop that the pipeline makes of an object."""
    from raypipe.models.blip2_preprocess import crop_rectangles

    size = (config.width, config.height)
    x1, y1, x2, y2 = crop_rectangles(np.array([one.box], dtype=np.float32), size, size, EXPANSION)[0].tolist()
    return x1, y1, x2, y2


def write_detection(root: Path, config: WorldConfig, num_clips: int) -> int:
    """Write pictures and boxes as Ultralytics trains on them. Return how many pictures there are.

    images/ and labels/ with train/ and val/, and data.yaml, whose `path` is the folder as given. Every fifth clip is
    for validation. Raises UserError as `write_folder`.
    """
    make_root(root)
    for part in ("train", "val"):
        (root / "images" / part).mkdir(parents=True)
        (root / "labels" / part).mkdir(parents=True)
    count = 0
    for number in range(num_clips):
        clip = make_clip(config, "pretrain", number)
        part = "val" if number % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
        numbers = range(0, clip.num_frames, DETECTION_STEP)
        for index, frame in zip(numbers, clip.frames(numbers), strict=True):
            name = f"{part}/{clip.name}_{index:04d}"
            Image.fromarray(frame.image).save(root / "images" / f"{name}.jpg", quality=JPEG_QUALITY)
            (root / "labels" / f"{name}.txt").write_text(yolo_text(frame.seen, config.width, config.height))
            count += 1
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    (root / "data.yaml").write_text(
        f"path: {json.dumps(str(root.resolve()))}\ntrain: images/train\nval: images/val\nnames:\n{names}"
    )
    return count


def yolo_text(seen: Sequence[Seen], width: int, height: int) -> str:
    """Return the visible boxes of clearly seen objects: class, centre x y, width, height, as shares of the picture."""
    lines = []
    for one in filter(_is_clear, seen):
        x1, y1, x2, y2 = one.box
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{CLASSES.index(one.class_name)} {' '.join(f'{share:.6f}' for share in shares)}\n")
    return "".join(lines)
