"""The world as training data: captioned crops in COCO's format, and pictures with boxes; see `folder` for videos."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raypipe.errors import UserError
from raypipe.models.blip2.preprocess import EXPANSION
from raypipe.world.actions import Action, Actor
from raypipe.world.captions import captions
from raypipe.world.clips import Clip, Seen, WorldConfig, make_clip
from raypipe.world.folder import film, make_root

CLASSES = ("person", "vehicle")
JPEG_QUALITY = 88
# Crops with less of their object in view are not captioned.
MIN_CAPTIONED = 0.5
# Every how many frames crops of an actor are cut out: falls are soon over, so little is left of a clip to lie in,
# who is fast is soon out of view, and who fights is often hidden by the other.
CAPTION_STEP = 15
CAPTION_STEPS: dict[Action, int] = {
    "falling": 3,
    "lying": 6,
    "fighting": 6,
    "running": 6,
    "cycling": 9,
    "skating": 9,
    "driving": 9,
}
# Shares of the crops of normal actions that are kept, so that a third of all crops are of them. Fewer would show too
# few different people who walk and stand.
KEPT: dict[Action, float] = {"walking": 0.35, "standing": 0.45, "pushing": 0.6}
# Every how many frames one is a picture of detection training, from half of that on: the first is a keyframe, and most
# of a video are not. Closer together while somebody falls or lies, who are found least; docs/world.md has how many.
DETECTION_STEP = 30
DETECTION_STEPS: dict[Action, int] = {"falling": 10, "lying": 5}
# Every how many clips one is for validation.
VALIDATION_EVERY = 5


Made = TypeVar("Made")


def write_captions(root: Path, config: WorldConfig, num_clips: int, processes: int = 1) -> int:
    """Write captioned crops of the pretraining split: images/ and captions.json. Return how many crops there are.

    Crops are cut as the pipeline cuts them, of frames of an H.264 file. Raises UserError as `make_root`, and where a
    process is killed.
    """
    make_root(root)
    (root / "images").mkdir()
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for crops in _each_clip(partial(_write_crops, root, config), num_clips, processes):
        for crop, said in crops:
            image_id = len(images) + 1
            images.append({"id": image_id} | crop)
            for caption in said:
                annotations.append({"id": len(annotations) + 1, "image_id": image_id, "caption": caption})
    document = {"images": images, "annotations": annotations}
    (root / "captions.json").write_text(json.dumps(document, indent=0) + "\n")
    return len(images)


def _write_crops(root: Path, config: WorldConfig, number: int) -> list[tuple[dict[str, object], tuple[str, ...]]]:
    """Write the crops of one clip; return of each what captions.json says of it, and its captions."""
    clip = make_clip(config, "pretrain", number)
    rng = np.random.default_rng([config.seed, 5, number])
    found: list[tuple[dict[str, object], tuple[str, ...]]] = []
    numbers = [frame for frame in range(clip.num_frames) if any(_is_due(actor, frame) for actor in clip.actors)]
    for index, (image, seen) in zip(numbers, _decoded(clip, numbers, config.fps), strict=True):
        for one in _captioned(seen, index, clip, rng):
            name = f"{clip.name}_{index:04d}_{one.track_id:02d}.jpg"
            x1, y1, x2, y2 = crop_rectangle(one, config)
            Image.fromarray(image[y1:y2, x1:x2]).save(root / "images" / name, quality=JPEG_QUALITY)
            crop = {"file_name": name, "width": x2 - x1, "height": y2 - y1, "action": one.action}
            found.append((crop, captions(clip.actor(one.track_id), index, clip.scene.place, rng)))
    return found


def _decoded(clip: Clip, numbers: Sequence[int], fps: int) -> Iterator[tuple[NDArray[np.uint8], tuple[Seen, ...]]]:
    """Yield frames of a clip as they come out of its H.264 file, uint8 (H, W, 3), and what each shows.

    Of what is far away, a codec leaves less than was drawn: models that had only seen drawings named the action of 0.82
    of far objects in them, and of 0.66 in the same frames of the files.
    """
    from raypipe.video.decode import decode_at
    from raypipe.video.probe import probe_video

    with TemporaryDirectory() as directory:
        video = Path(directory) / "clip.mp4"
        shown, _ = film(clip, video, fps)
        images = decode_at(str(video), probe_video(str(video)), np.array(numbers, np.int64))
    for number, image in zip(numbers, images, strict=True):
        yield image, shown[number]


def _each_clip(write: Callable[[int], Made], num_clips: int, processes: int) -> Iterator[Made]:
    """Yield what `write` makes of every clip, in their order; clips are drawn from seeds of their own."""
    if processes == 1:
        yield from map(write, range(num_clips))
        return
    # Started anew: libraries that are loaded already have threads, which a fork would leave behind.
    with ProcessPoolExecutor(min(processes, num_clips), mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(write, range(num_clips))
        except BrokenProcessPool as error:
            raise UserError(
                "a process that draws was killed, perhaps for want of memory; remove what was written, and try fewer "
                "--processes"
            ) from error


def _is_due(actor: Actor, frame: int) -> bool:
    return frame % CAPTION_STEPS.get(actor.actions[frame], CAPTION_STEP) == 0


def _captioned(seen: tuple[Seen, ...], index: int, clip: Clip, rng: np.random.Generator) -> list[Seen]:
    """Return the objects of a frame of which a captioned crop is made."""
    return [
        one
        for one in seen
        if one.is_clear
        and one.visible >= MIN_CAPTIONED
        and _is_due(clip.actor(one.track_id), index)
        and rng.random() < KEPT.get(one.action, 1.0)
    ]


def crop_rectangle(one: Seen, config: WorldConfig) -> tuple[int, int, int, int]:
    """Return the pixels x1 y1 x2 y2 of the crop that the pipeline makes of an object."""
    from raypipe.models.blip2.preprocess import crop_rectangles

    size = (config.width, config.height)
    x1, y1, x2, y2 = crop_rectangles(np.array([one.box], dtype=np.float32), size, size, EXPANSION)[0].tolist()
    return x1, y1, x2, y2


def write_detection(root: Path, config: WorldConfig, num_clips: int, processes: int = 1) -> int:
    """Write pictures and boxes as Ultralytics trains on them. Return how many pictures there are.

    images/ and labels/ with train/ and val/, and data.yaml, whose `path` is the folder as given. Pictures are frames of
    an H.264 file: every 30th from the 15th on, every 10th and every 5th while anybody falls or lies, in view or not.
    Those of every fifth clip are for validation. Raises UserError as `make_root`, where clips are too short for a
    picture, and where a process is killed.
    """
    if config.num_frames <= DETECTION_STEP // 2:
        raise UserError(f"clips of {config.num_frames} frames: pictures are taken from frame {DETECTION_STEP // 2} on")
    make_root(root)
    for part in ("train", "val"):
        (root / "images" / part).mkdir(parents=True)
        (root / "labels" / part).mkdir(parents=True)
    count = sum(_each_clip(partial(_write_pictures, root, config), num_clips, processes))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    (root / "data.yaml").write_text(
        f"path: {json.dumps(str(root.resolve()))}\ntrain: images/train\nval: images/val\nnames:\n{names}"
    )
    return count


def _write_pictures(root: Path, config: WorldConfig, number: int) -> int:
    """Write the pictures of one clip, and their boxes; return how many they are."""
    clip = make_clip(config, "pretrain", number)
    part = "val" if number % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "train"
    numbers = [frame for frame in range(clip.num_frames) if _is_pictured(clip, frame)]
    for index, (image, seen) in zip(numbers, _decoded(clip, numbers, config.fps), strict=True):
        name = f"{part}/{clip.name}_{index:04d}"
        Image.fromarray(image).save(root / "images" / f"{name}.jpg", quality=JPEG_QUALITY)
        (root / "labels" / f"{name}.txt").write_text(yolo_text(seen, config.width, config.height))
    return len(numbers)


def _is_pictured(clip: Clip, frame: int) -> bool:
    steps = {DETECTION_STEP} | {DETECTION_STEPS.get(actor.actions[frame], DETECTION_STEP) for actor in clip.actors}
    return any(frame % step == step // 2 for step in steps)


def yolo_text(seen: Sequence[Seen], width: int, height: int) -> str:
    """Return the visible boxes of clearly seen objects: class, centre x y, width, height, as shares of the picture."""
    lines = []
    for one in (one for one in seen if one.is_clear):
        x1, y1, x2, y2 = one.box
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{CLASSES.index(one.class_name)} {' '.join(f'{share:.6f}' for share in shares)}\n")
    return "".join(lines)
