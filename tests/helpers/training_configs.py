"""Configs of tiny trainings on generated pictures, for tests."""

from pathlib import Path
from typing import Any

TINY_BLIP2: dict[str, Any] = {
    "vocab": "auto",
    "num_query": 6,
    "hidden": 48,
    "layers": 2,
    "heads": 4,
    "intermediate": 96,
    "cross_attention_freq": 1,
    "embed_dim": 16,
    "max_txt_len": 14,
    "vit": {"image_size": 48, "patch_size": 8, "width": 48, "depth": 2, "heads": 4, "mlp_ratio": 2.0},
}


def blip2_document(data: dict[str, Any], output: Path, /, **changes: Any) -> dict[str, Any]:
    train = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "dropout": 0.0, "threads": 1}
    document = {"data": data, "output": str(output), "model": TINY_BLIP2, "train": train}
    return merged(document | {"tracking": {"enabled": False}}, changes)


def smm_document(data: dict[str, Any], blip2: Path, output: Path, /, **changes: Any) -> dict[str, Any]:
    train = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "threads": 1}
    document = {"data": data, "output": str(output), "model": {"blip2": str(blip2)}, "train": train}
    return merged(document | {"tracking": {"enabled": False}}, changes)


def merged(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the document with changed keys, parts merged one level down."""
    result = dict(document)
    for key, value in changes.items():
        result[key] = result.get(key, {}) | value if isinstance(value, dict) else value
    return result
