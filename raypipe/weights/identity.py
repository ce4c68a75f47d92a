"""The folders of model weights that a run names: are they there, do they fit, and are they still the same."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raypipe.config.stages import DetectorConfig
from raypipe.errors import UserError
from raypipe.language.vlm_answers import units_of
from raypipe.models.blip2.config import read_config
from raypipe.models.detection.trusted_pickle import read_trusted
from raypipe.models.detection.yolo_classes import indices_of, read_metadata
from raypipe.run_folder.store import Store

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig

# Of each file that many pieces are read: weights of another training differ everywhere, and 4 GB take long to read.
NUM_PIECES = 64
PIECE_BYTES = 1 << 16


# The files that decide what a model computes; others tell of it.
MODEL_FILES = ("config.json", "model.safetensors", "vocab.txt")
YOLO_FILES = ("model.safetensors", "model.yaml", "metadata.json")


def fingerprint(folder: Path, names: Sequence[str] = MODEL_FILES) -> str:
    """Return a hash of a folder's files of these names: of their sizes, and of pieces spread over each of them."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name in names):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            for number in range(NUM_PIECES):
                file.seek(max(0, size - PIECE_BYTES) * number // max(1, NUM_PIECES - 1))
                digest.update(file.read(PIECE_BYTES))
                if size <= PIECE_BYTES:
                    break
    return digest.hexdigest()[:16]


def models_of(config: "RunConfig") -> dict[str, str]:
    """Return what identifies the models behind a run's boxes and spatial features, by config key.

    Raises UserError, before any work, where a folder is missing or is none of the right kind; of a detector's weights
    `stages.detect.require_weights` does.
    """
    detector = _detector(config)
    if not any(name != "motion" for name in config.features.extracted):
        return detector
    blip2 = Path(str(config.weights.blip2))
    require_files("weights.blip2", blip2, "raypipe weights convert")
    read_config(blip2 / "config.json")
    found = detector | {"weights.blip2": fingerprint(blip2)}
    if config.needs_sentences and config.sentence.memory != "off":
        from raypipe.models.state_machine.questioner import Questioner

        smm = Path(str(config.weights.smm))
        require_files("weights.smm", smm, "raypipe pretrain smm")
        _require_made_for(smm, found["weights.blip2"], config)
        found |= {"weights.smm": fingerprint(smm), "sentence.tagger": Questioner().tagger_name}
    return found


def _detector(config: "RunConfig") -> dict[str, str]:
    """Return what identifies the weights of a YOLO detector: of a folder or a .pt."""
    if config.detector.kind != "yolo":
        return {}
    weights = Path(str(config.detector.yolo.weights))
    if weights.is_file():
        return {"detector.yolo.weights": fingerprint(weights.parent, (weights.name,))}
    return {"detector.yolo.weights": fingerprint(weights, YOLO_FILES)} if weights.is_dir() else {}


def _require_made_for(smm: Path, blip2: str, config: "RunConfig") -> None:
    """Raise UserError where a state machine's card says that it was trained on other tokens, or other questions."""
    card = Store(str(smm)).read_json("card.json") or {}
    trained_on = card.get("blip2") or {}
    if trained_on.get("fingerprint", blip2) != blip2:
        raise UserError(
            f"weights.smm: {smm} was trained on the tokens of another BLIP-2 ({trained_on.get('folder')}), which mean "
            f"something else than those of weights.blip2; train it on {config.weights.blip2}: raypipe pretrain smm"
        )
    asked = ((card.get("config") or {}).get("targets") or {}).get("questions", config.sentence.questions)
    if asked != config.sentence.questions:
        raise UserError(
            f"weights.smm: {smm} was trained on {asked} questions, sentence.questions is {config.sentence.questions}"
        )


def require_files(
    key: str, folder: Path, made_by: str, names: Sequence[str] = ("config.json", "model.safetensors")
) -> None:
    """Raise UserError, naming the config key, where a folder lacks a file."""
    for name in names:
        if not (folder / name).is_file():
            raise UserError(f"{key}: {folder} holds no {name}; expected a folder that {made_by} wrote")


def require_weights(config: DetectorConfig) -> None:
    """Raise UserError for what is wrong with a detector's weights and can be told without loading a model."""
    yolo, vlm = config.yolo, config.vlm
    if config.kind == "yolo":
        weights = Path(str(yolo.weights))
        if not weights.is_dir():
            read_trusted(weights, sha256=yolo.sha256, trust_pickle=yolo.trust_pickle)
        else:
            indices_of(yolo.classes or [], dict(enumerate(read_metadata(weights)["class_names"])), str(weights))
    if config.kind == "vlm":
        description = Path(str(vlm.model)) / "config.json"
        try:
            model_type = json.loads(description.read_text(encoding="utf-8"))["model_type"]
        except OSError as error:
            raise UserError(f"{description}: {error.strerror}; models are never downloaded") from error
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{description}: names no model_type") from error
        units_of(str(model_type), vlm.coordinates)
