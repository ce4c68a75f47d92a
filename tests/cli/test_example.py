"""Examples of config files: right as they are printed, and right with every comment made a key."""

import re
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel, Field

from raypipe.ablation.plan import Ablation
from raypipe.cli.ablate import EXAMPLE
from raypipe.cli.example import example_yaml
from raypipe.cli.main import main
from raypipe.config.file import read_document, validate
from raypipe.config.run import RunConfig
from raypipe.pretraining.blip2_config import Blip2TrainingConfig
from raypipe.pretraining.detector import DetectorTrainingConfig
from raypipe.pretraining.labelling import LabelVqaConfig
from raypipe.pretraining.state_machine_config import SmmConfig


class Inner(BaseModel):
    size: int = Field(3, description="how large")
    names: tuple[str, ...] = ("a", "b")


class Outer(BaseModel):
    name: str = Field(description="who")
    rate: float = Field(1e-5, description="how fast")
    inner: Inner = Inner()
    other: Inner | None = Field(None, description="another one")
    kind: Literal["x", "y"] = "x"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"name": "me"},
            "name: me  # who\n# rate: 1.0e-05  # how fast\n# inner:\n#   size: 3  # how large\n"
            "#   names:\n#   - a\n#   - b\n# other: null  # another one\n# kind: x\n",
        ),
        (
            {"name": "me", "inner": {"size": 5}},
            "name: me  # who\n# rate: 1.0e-05  # how fast\ninner:\n  size: 5  # how large\n"
            "#   names:\n#   - a\n#   - b\n# other: null  # another one\n# kind: x\n",
        ),
    ],
)
def test_an_example_by_hand(values, expected):
    assert example_yaml(Outer, values) == expected


COMMANDS = {
    "run": RunConfig,
    "ablate": Ablation,
    "pretrain smm": SmmConfig,
    "pretrain blip2": Blip2TrainingConfig,
    "pretrain detector": DetectorTrainingConfig,
    "pretrain labels": LabelVqaConfig,
}


@pytest.mark.parametrize(("command", "model"), COMMANDS.items())
def test_what_a_command_prints_is_a_config(tmp_path, monkeypatch, capsys, command, model):
    monkeypatch.chdir(tmp_path)
    assert main([*command.split(), "--example"]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "example.yaml"
    path.write_text(text)
    config = validate(model, read_document(path, (), "none"), "the example")
    # Notes are no keys; every other comment is one, with its default.
    whole = re.sub(r"^# (?=[ \w]+:(\s|$)|  - )", "", text, flags=re.MULTILINE)
    assert whole != text
    path.write_text(whole)
    assert validate(model, read_document(path, (), "none"), "the whole example") == config
    assert set(model.model_fields) == set(yaml.safe_load(whole))


def test_an_example_of_an_ablation_has_what_its_help_names():
    assert {"neighbours"} <= {variation["name"] for variation in EXAMPLE["variations"]}
