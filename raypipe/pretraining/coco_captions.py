"""Captioned images in COCO's format: one JSON of annotations, and a folder of images.

    {"images": [{"id": 9, "file_name": "9.jpg"}], "annotations": [{"image_id": 9, "caption": "A man runs."}]}

All other keys are ignored. `file_name` is relative to the image folder. Both places are local paths or fsspec URIs.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import fsspec

from raypipe.errors import UserError

ImageId = int | str

# So many of the names in a list are shown.
NUM_SHOWN = 3


@dataclass(frozen=True)
class CaptionedImage:
    """An image that is there, and its captions: at least one, none empty, none twice, in the file's order."""

    image_id: ImageId
    path: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class CaptionSet:
    """Captioned images in the order of the file, and what was left out of it.

    `missing_images` are the names of listed images that the folder does not have; their captions are left out.
    `num_empty_captions` have no word, `num_repeated_captions` stand twice at one image, `num_stray_captions` are of
    images that the file does not list, `num_uncaptioned_images` have no caption left.
    """

    images: tuple[CaptionedImage, ...]
    missing_images: tuple[str, ...] = ()
    num_empty_captions: int = 0
    num_repeated_captions: int = 0
    num_stray_captions: int = 0
    num_uncaptioned_images: int = 0

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every (image path, caption), those of one image together."""
        return [(image.path, caption) for image in self.images for caption in image.captions]

    def report(self) -> str:
        """Return one line for the user: what there is, and what was left out and why."""
        left_out = [
            f"{len(self.missing_images)} images are missing ({shown(self.missing_images)})"
            if self.missing_images
            else "",
            f"{self.num_uncaptioned_images} images without captions" if self.num_uncaptioned_images else "",
            f"{self.num_empty_captions} empty captions" if self.num_empty_captions else "",
            f"{self.num_repeated_captions} repeated captions" if self.num_repeated_captions else "",
            f"{self.num_stray_captions} captions of images not listed" if self.num_stray_captions else "",
        ]
        line = f"{len(self.images)} images with {len(self.pairs)} captions"
        reasons = ", ".join(reason for reason in left_out if reason)
        return f"{line}; left out: {reasons}" if reasons else line


def read_captions(annotations: str, images_root: str) -> CaptionSet:
    """Read an annotations file, keeping what can be used: images that are there, captions with words in them.

    White space in captions is made single. Raises UserError where a place cannot be read, where the file is not
    COCO captions (naming the entry at fault), and where nothing usable is left.
    """
    document = _read_json(annotations)
    names = _image_names(document, annotations)
    there, base, keep_protocol = _list_files(images_root)
    captions: dict[ImageId, dict[str, str]] = {image_id: {} for image_id in names}
    num_empty = num_repeated = num_stray = 0
    for index, entry in enumerate(_entries(document, "annotations", annotations)):
        image_id, caption = entry.get("image_id"), entry.get("caption")
        if not _is_id(image_id) or not isinstance(caption, str):
            raise UserError(f"{annotations}: annotations[{index}] has no image_id, or no caption that is text")
        words = " ".join(caption.split())
        if image_id not in captions:
            num_stray += 1
        elif not words:
            num_empty += 1
        elif words.casefold() in captions[image_id]:
            num_repeated += 1
        else:
            captions[image_id][words.casefold()] = words
    missing = tuple(name for name in names.values() if f"{base}/{name}" not in there)
    present = [(image_id, name) for image_id, name in names.items() if f"{base}/{name}" in there]
    if not present:
        raise UserError(
            f"none of the {len(names)} images that {annotations} lists is in {images_root} ({shown(missing)}); "
            "is it the folder of these images?"
        )
    images = tuple(
        CaptionedImage(image_id, f"{keep_protocol}{base}/{name}", tuple(captions[image_id].values()))
        for image_id, name in present
        if captions[image_id]
    )
    if not images:
        raise UserError(f"{annotations}: no image that is there has a caption with a word in it")
    return CaptionSet(images, missing, num_empty, num_repeated, num_stray, len(present) - len(images))


def split_images(captions: CaptionSet, held_out_fraction: float) -> tuple[CaptionSet, CaptionSet]:
    """Split by image into those to train on and those held out, always at least one of each.

    A hash of the image's id decides, so an image stays on its side whatever other images come or go, unless one side
    would be empty. Raises UserError for fewer than two images.
    """
    if len(captions.images) < 2:
        raise UserError(f"{len(captions.images)} captioned images: too few to hold any out")
    ranked = sorted(captions.images, key=lambda image: _share(image.image_id))
    count = sum(_share(image.image_id) < held_out_fraction for image in ranked)
    held_out = {image.image_id for image in ranked[: min(max(count, 1), len(ranked) - 1)]}
    return (
        replace(captions, images=tuple(image for image in captions.images if image.image_id not in held_out)),
        replace(captions, images=tuple(image for image in captions.images if image.image_id in held_out)),
    )


def shown(names: Iterable[str]) -> str:
    """Return the first few names, and that there are more."""
    names = list(names)
    return ", ".join(names[:NUM_SHOWN]) + (", ..." if len(names) > NUM_SHOWN else "")


def _share(image_id: ImageId) -> float:
    """Return a number in [0, 1) that only the id decides."""
    return int.from_bytes(hashlib.sha256(repr(image_id).encode()).digest()[:6], "big") / 2**48


def _read_json(annotations: str) -> dict[str, Any]:
    try:
        with fsspec.open(annotations, "rb") as file:
            content: bytes = file.read()
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{annotations}: cannot be read ({' '.join(str(error).split())})") from error
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{annotations}: is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{annotations}: is no JSON ({error})") from error
    if not isinstance(document, dict) or not {"images", "annotations"} <= set(document):
        raise UserError(f'{annotations}: is not COCO captions, which are an object with "images" and "annotations"')
    return document


def _entries(document: dict[str, Any], key: str, annotations: str) -> list[dict[str, Any]]:
    entries = document[key]
    if not isinstance(entries, list):
        raise UserError(f'{annotations}: "{key}" is not a list')
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise UserError(f"{annotations}: {key}[{index}] is not an object")
    return entries


def _image_names(document: dict[str, Any], annotations: str) -> dict[ImageId, str]:
    """Return the file name of every image by its id, in the file's order."""
    names: dict[ImageId, str] = {}
    for index, entry in enumerate(_entries(document, "images", annotations)):
        image_id, name = entry.get("id"), entry.get("file_name")
        if not _is_id(image_id) or not isinstance(name, str) or not name:
            raise UserError(f"{annotations}: images[{index}] has no id, or no file_name that is text")
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{annotations}: images[{index}]: {name} lies outside the image folder")
        if names.setdefault(image_id, name) != name:
            raise UserError(f"{annotations}: the id {image_id} is that of {names[image_id]} and of {name}")
    if not names:
        raise UserError(f"{annotations}: lists no images")
    return names


def _is_id(value: Any) -> TypeGuard[ImageId]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _list_files(images_root: str) -> tuple[set[str], str, str]:
    """Return the files below a folder, the folder as they name it, and what makes them addresses again."""
    try:
        fs, base = fsspec.core.url_to_fs(images_root)
        base = base.rstrip("/")
        if not fs.isdir(base):
            raise UserError(f"{images_root}: is not a folder")
        files = set(fs.find(base))
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{images_root}: cannot be read ({' '.join(str(error).split())})") from error
    protocol, separator, _ = images_root.partition("://")
    return files, base, protocol + separator if separator else ""
