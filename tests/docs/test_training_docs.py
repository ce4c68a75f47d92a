"""docs/training.md says of every key of the training jobs what its config says."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from raypipe.pretraining.blip2_config import Blip2TrainingConfig
from raypipe.pretraining.detector import DetectorTrainingConfig
from raypipe.pretraining.labelling import LabelVqaConfig
from raypipe.pretraining.state_machine_config import SmmConfig

# Described once, in the README.
SHARED = ("tracking", "ray")


def part_of(annotation: Any) -> type[BaseModel] | None:
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        part = part_of(field.annotation)
        if part and not (name in SHARED and not prefix):
            yield from rows(part, f"{prefix}{name}.")
        elif not part:
            default = "required" if field.is_required() else json.dumps(field.default).strip('"')
            yield f"{prefix}{name}", default, field.description or ""


@pytest.mark.parametrize(
    ("job", "config"),
    [
        ("jobs/train_smm.py", SmmConfig),
        ("jobs/train_blip2.py", Blip2TrainingConfig),
        ("jobs/label_vqa.py", LabelVqaConfig),
        ("jobs/train_detector.py", DetectorTrainingConfig),
    ],
)
def test_every_key_is_described(pytestconfig, job, config):
    text = (pytestconfig.rootpath / "docs" / "training.md").read_text()
    table = text.partition(f"## `{job}`")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| `([a-z0-9_.]+)` \| `?([^|`]+)`? \| (.+) \|$", table, flags=re.MULTILINE)
    assert shown == list(rows(config))
