"""Convert an Ultralytics checkpoint, a pickle, into a folder that is read without one."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from raypipe.errors import UserError
from raypipe.models.detection.yolo import YoloDetector
from raypipe.models.detection.yolo_weights import load_pickle, load_yolo, save_yolo

# Where a folder is written, inside it, before it takes the place of an earlier one.
_PARTIAL = ".partial"


def convert_yolo(checkpoint: Path, out: Path, *, sha256: str | None = None, trust_pickle: bool = False) -> list[str]:
    """Write a `.pt` as model.safetensors, model.yaml and metadata.json. Returns lines that say what was done.

    Converting reads the pickle, once, so it needs the file's sha256 or trust as well. The folder is read back, and must
    find the boxes of the checkpoint in a generated frame, bit for bit. Raises UserError where the checkpoint is
    not trusted, no detector, or not what its own YAML describes.
    """
    model, found = load_pickle(checkpoint, sha256=sha256, trust_pickle=trust_pickle)
    partial = out / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        files = save_yolo(model, partial, {checkpoint.name: {"bytes": checkpoint.stat().st_size, "sha256": found}})
        parameters = sum(parameter.numel() for parameter in model.parameters())
        if not _find_the_same(model, load_yolo(partial)):
            raise UserError(f"{checkpoint}: is not the model that its own YAML describes (pruned?); use the .pt itself")
        for name in files:
            (partial / name).replace(out / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    names = [model.names[index] for index in range(len(model.names))]
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return [
        f"{parameters / 1e6:.1f} million parameters, {len(names)} classes: {shown}",
        "finds the same boxes as the checkpoint in a generated frame, bit for bit",
        f"wrote {out}: {', '.join(files)}",
    ]


def _find_the_same(checkpoint: Any, converted: Any) -> bool:
    frame = np.random.default_rng(0).integers(0, 256, (1, 96, 128, 3), dtype=np.uint8)
    frame = frame.repeat(4, axis=1).repeat(4, axis=2)
    before, after = (YoloDetector(model, min_confidence=0.0)(frame, (512, 384)) for model in (checkpoint, converted))
    return all(
        np.array_equal(getattr(before, name), getattr(after, name)) for name in ("boxes", "confidence", "class_name")
    )
