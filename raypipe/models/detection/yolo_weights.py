"""Ultralytics checkpoints on disk, and the folder of safetensors that they are converted to.

A `.pt` is a pickle, which runs code of its author when it is read. It is read only where the caller names the sha256 of
the bytes, or says that the file is trusted. A converted folder holds the tensors, the architecture as YAML, and
metadata as JSON: nothing in it is executed.
"""

import json
import pickle
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from raypipe.errors import UserError
from raypipe.models.detection.quiet_ultralytics import (
    Detect,
    DetectionModel,
    guess_model_task,
    load_checkpoint,
    ultralytics_modules,
    ultralytics_version,
)
from raypipe.models.detection.trusted_pickle import read_trusted
from raypipe.models.detection.yolo_classes import METADATA_FILE, class_names, read_metadata
from raypipe.text import one_line

WEIGHTS_FILE = "model.safetensors"
ARCHITECTURE_FILE = "model.yaml"

# Ultralytics evaluates an activation as Python, so it may be no more than a layer of torch with plain arguments.
_ACTIVATION = re.compile(r"(torch\.)?nn\.[A-Z]\w*\([\w=., -]*\)")
# What a layer named in a YAML file may not be: it downloads weights by itself.
_NOT_A_LAYER = {"TorchVision"}


def load_yolo(weights: Path, *, sha256: str | None = None, trust_pickle: bool = False) -> Any:
    """Load a detection model in fp32, not fused, with its class names as `names` (a dict by index).

    `weights` is a folder that `raypipe weights convert --yolo` wrote, or a `.pt` with its `sha256` or `trust_pickle`.
    A model without names of its own gets "class_0", "class_1", ... Nothing is downloaded. Raises UserError where the
    file is missing, not trusted, damaged, or no detector.
    """
    if weights.is_dir():
        if sha256 or trust_pickle:
            raise UserError(f"{weights}: is a folder; sha256 and trust_pickle are for .pt files")
        return _load_folder(weights)
    model, _ = load_pickle(weights, sha256=sha256, trust_pickle=trust_pickle)
    return model


def load_pickle(weights: Path, *, sha256: str | None, trust_pickle: bool) -> tuple[Any, str]:
    """Load a `.pt`, see `load_yolo`; return the model and the file's sha256."""
    content, found = read_trusted(weights, sha256=sha256, trust_pickle=trust_pickle)
    # What is loaded are the bytes that were hashed: whoever replaces the file meanwhile changes nothing.
    private = Path(tempfile.mkdtemp(prefix="raypipe-yolo-"))
    try:
        copy = private / "checkpoint.pt"
        copy.write_bytes(content)
        model, _ = load_checkpoint(copy)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, EOFError, ImportError) as error:
        raise UserError(f"{weights}: {_reason(error, private, weights)}") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{weights}: is no checkpoint: {error}") from error
    finally:
        shutil.rmtree(private, ignore_errors=True)
    _require_detector(model, weights)
    model.names = class_names(getattr(model, "names", None), int(model.model[-1].nc), weights)
    return model, found


def save_yolo(model: Any, folder: Path, sources: dict[str, Any]) -> list[str]:
    """Write a model that `load_pickle` gave as a folder and return the names of its files.

    Raises UserError for models whose architecture YAML does not say all (open vocabulary, pruned ones).
    """
    if type(model) is not DetectionModel:
        raise UserError(f"a {type(model).__name__} is more than its YAML says, so it cannot be converted; use the .pt")
    architecture = {key: value for key, value in model.yaml.items() if key != "yaml_file"}
    weights = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    (folder / ARCHITECTURE_FILE).write_text(yaml.safe_dump(architecture, sort_keys=False), encoding="utf-8")
    metadata = {
        "task": "detect",
        "class_names": [model.names[index] for index in range(len(model.names))],
        "stride": int(model.stride.max()),
        "ultralytics": ultralytics_version,
        "sources": sources,
    }
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [WEIGHTS_FILE, ARCHITECTURE_FILE, METADATA_FILE]


def _load_folder(folder: Path) -> Any:
    metadata = read_metadata(folder)
    try:
        architecture = yaml.safe_load((folder / ARCHITECTURE_FILE).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS_FILE)
    except OSError as error:
        raise UserError(
            f"{folder}: {Path(error.filename or WEIGHTS_FILE).name} cannot be read; is this a folder that "
            "`raypipe weights convert --yolo` wrote?"
        ) from error
    except (ValueError, yaml.YAMLError, SafetensorError) as error:
        raise UserError(f"{folder}: is damaged: {one_line(error)}") from error
    try:
        _require_plain(architecture, folder)
        model = DetectionModel(architecture, verbose=False)
        model.load_state_dict(weights, strict=True)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError) as error:
        reason = one_line(error)[:300]
        raise UserError(f"{folder}: {WEIGHTS_FILE} and {ARCHITECTURE_FILE} do not fit: {reason}") from error
    _require_detector(model, folder)
    model.names = class_names(metadata["class_names"], int(model.model[-1].nc), folder)
    return model.eval()


def _require_plain(architecture: Any, folder: Path) -> None:
    """Refuse a YAML file that names anything but layers: Ultralytics looks names up and calls what it finds."""
    activation = architecture.get("activation")
    if activation is not None and not _ACTIVATION.fullmatch(str(activation)):
        raise UserError(f"{folder / ARCHITECTURE_FILE}: activation {str(activation)[:80]!r} is no layer of torch.nn")
    for _, _, name, _ in [*architecture["backbone"], *architecture["head"]]:
        of_torch = str(name).startswith("nn.")
        found = getattr(nn if of_torch else ultralytics_modules, str(name).removeprefix("nn."), None)
        if not (isinstance(found, type) and issubclass(found, nn.Module)) or name in _NOT_A_LAYER:
            raise UserError(f"{folder / ARCHITECTURE_FILE}: {str(name)[:80]!r} is no layer of Ultralytics or torch.nn")


def _require_detector(model: Any, where: Path) -> None:
    """Raise UserError naming the task of a model that finds no boxes."""
    architecture = getattr(model, "yaml", None)
    # The architecture, not what the checkpoint says of itself: that is "detect" wherever nothing was written.
    task = guess_model_task(architecture) if isinstance(architecture, dict) else "unknown"
    # RT-DETR's has no name there; its head tells.
    if task not in ("detect", None):
        raise UserError(f"{where}: is a model for the task {task!r}; the yolo detector needs one for 'detect'")
    if not isinstance(model.model[-1], Detect):
        raise UserError(f"{where}: its head is {type(model.model[-1]).__name__}, not that of a YOLO detector")
    channels = int(architecture.get("channels", 3)) if isinstance(architecture, dict) else 3
    if channels != 3:
        raise UserError(f"{where}: takes pictures of {channels} channels; frames have 3")


def _reason(error: Exception, private: Path, weights: Path) -> str:
    """Return what Ultralytics says of a file in one line, under the name that the user knows."""
    text = " ".join(str(error).replace(str(private / "checkpoint.pt"), weights.name).split())
    return f"Ultralytics cannot load it: {text.removeprefix('ERROR ❌️ ')[:300]}"
