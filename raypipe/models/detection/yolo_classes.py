"""The class names of YOLO models; needs nothing heavy, so that a name can be checked before any work."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raypipe.errors import UserError

METADATA_FILE = "metadata.json"


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return what a converted folder says of itself. Raises UserError where it is none."""
    try:
        metadata = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{folder}: {METADATA_FILE} cannot be read; is this a folder that `raypipe weights convert --yolo` wrote?"
        ) from error
    except ValueError as error:
        raise UserError(f"{folder}: is damaged: {METADATA_FILE}: {error}") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get("class_names"), list):
        raise UserError(f"{folder}: is damaged: {METADATA_FILE} names no classes")
    return metadata


def class_names(names: Any, num_classes: int, where: Path) -> dict[int, str]:
    """Return class names by index. Where a model has none, or only the numbers that Ultralytics puts in for missing
    ones, they are "class_0", "class_1", ... Raises UserError where there are more or fewer than classes.
    """
    listed = dict(enumerate(names)) if isinstance(names, list | tuple) else dict(names or {})
    by_index = {int(index): str(name) for index, name in listed.items()}
    if not by_index or by_index == {index: str(index) for index in by_index}:
        return {index: f"class_{index}" for index in range(num_classes)}
    if sorted(by_index) != list(range(num_classes)):
        first, last = min(by_index), max(by_index)
        if len(by_index) == last - first + 1 and first == 0:
            raise UserError(f"{where}: names {len(by_index)} classes, the model tells {num_classes} apart")
        gaps = "" if len(by_index) == last - first + 1 else f", {last - first + 1 - len(by_index)} of them missing"
        raise UserError(f"{where}: names classes {first} to {last}{gaps}, the model has 0 to {num_classes - 1}")
    return by_index


def indices_of(classes: Sequence[str], names: dict[int, str], where: str) -> list[int]:
    """Return the indices of classes by name. Raises UserError naming one that the model lacks, with close matches."""
    for wanted in classes:
        if wanted not in names.values():
            every = list(dict.fromkeys(names.values()))
            close = difflib.get_close_matches(wanted, every, n=3)
            hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            shown = ", ".join(every[:100]) + (f", and {len(every) - 100} more" if len(every) > 100 else "")
            raise UserError(f"{where}: has no class {wanted!r}; {hint}it has: {shown}")
    return [index for index, name in names.items() if name in classes]
