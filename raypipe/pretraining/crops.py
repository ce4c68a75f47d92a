"""Crops of a run's normal training objects with the captions that BLIP-2 wrote of them: the data of "D. 2" (Table 5).

The crops are cut as the encode stage cuts them, and written with their captions in COCO's format, so that
`raypipe pretrain blip2` can go on training the Q-Former on them.
"""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from raypipe.anomaly_model.training_data import training_videos
from raypipe.config.run import RunConfig
from raypipe.errors import DataError, UserError
from raypipe.extraction.catalog import Entry, require_features
from raypipe.models.blip2.preprocess import EXPANSION, crop_rectangles
from raypipe.monitoring.progress import progress
from raypipe.report.pictures import read_frames
from raypipe.run_folder.folder import RunFolder, escape, fitting
from raypipe.run_folder.tables import iterate_features

ANNOTATIONS_NAME = "captions.json"
IMAGES_FOLDER = "images"
JPEG_QUALITY = 95
# Of the 255 bytes that file systems allow a name, what the numbers of a crop leave.
MAX_STEM_BYTES = 225
# Frames of a video that are decoded at once.
FRAMES_AT_ONCE = 64


def export_crops(config: RunConfig, out: Path, every_seconds: float) -> tuple[int, dict[str, str]]:
    """Write crops of the normal training videos; return their number, and the videos left out with the reason.

    One frame in `every_seconds` is used of each video, with all its objects that have a caption. Raises UserError for
    a run without captions, and where `out` is not empty: crops of two runs would be mixed.
    """
    if not config.needs_sentences:
        raise UserError(
            f"features.spatial is {config.features.spatial!r}: the run has no captions; extract with text or cross"
        )
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; use another folder")
    folder = RunFolder(config.output)
    catalogue = require_features(config, folder)
    committed = folder.committed()
    names = set(training_videos(entry.video for entry in catalogue.entries))
    entries = [entry for entry in catalogue.entries if entry.video.video_id in names and entry.index]
    (out / IMAGES_FOLDER).mkdir(parents=True)
    document: dict[str, list[dict[str, str | int]]] = {"images": [], "annotations": []}
    left_out: dict[str, str] = {}
    with progress("crops", len(entries), "videos") as advance:
        for entry in entries:
            try:
                _add_video(
                    document, config, folder, entry, committed.get(entry.video.video_id, set()), out, every_seconds
                )
            except DataError as error:
                left_out[entry.video.video_id] = str(error)
            advance(1, dead=int(entry.video.video_id in left_out))
    if not document["images"]:
        raise UserError(f"{config.output} holds no captioned object of a normal training video")
    (out / ANNOTATIONS_NAME).write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(document["images"]), left_out


def _add_video(
    document: dict[str, list[dict[str, str | int]]],
    config: RunConfig,
    folder: RunFolder,
    entry: Entry,
    segments: set[int],
    out: Path,
    every_seconds: float,
) -> None:
    index, video_id = entry.index, entry.video.video_id
    assert index is not None  # noqa: S101 the caller knows
    step = max(config.decode.stride, round(every_seconds * index.fps / config.decode.stride) * config.decode.stride)
    objects: dict[int, list[tuple[list[float], str]]] = defaultdict(list)
    for _, table in iterate_features(folder, video_id, segments, config.feature_hash()):
        columns = (table[name].to_pylist() for name in ("frame_index", "x1", "y1", "x2", "y2", "caption"))
        for frame, x1, y1, x2, y2, caption in zip(*columns, strict=True):
            if frame % step == 0 and caption:
                objects[frame].append(([x1, y1, x2, y2], caption))
    expansion = config.encode_resolved().box_expansion
    size = (index.width, index.height)
    frames = sorted(objects)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        chosen = frames[start : start + FRAMES_AT_ONCE]
        for frame, picture in zip(chosen, read_frames(entry, np.array(chosen, np.int64)), strict=True):
            boxes = np.array([box for box, _ in objects[frame]], np.float32)
            rectangles = crop_rectangles(boxes, size, size, EXPANSION if expansion is None else expansion)
            for (x1, y1, x2, y2), (_, caption) in zip(rectangles.tolist(), objects[frame], strict=True):
                image_id = len(document["images"])
                stem = fitting(escape(video_id).replace("/", "_"), MAX_STEM_BYTES)
                name = f"{stem}-{frame:06d}-{image_id}.jpg"
                Image.fromarray(np.ascontiguousarray(picture[y1:y2, x1:x2])).save(
                    out / IMAGES_FOLDER / name, quality=JPEG_QUALITY
                )
                document["images"].append({"id": image_id, "file_name": name})
                document["annotations"].append({"image_id": image_id, "caption": caption})
