"""The trainings as a user runs them, one after the other: BLIP-2 from nothing, then the state machine."""

import re
import sqlite3

import pytest
import yaml

from raypipe.cli.main import main
from raypipe.models.blip2.model import Blip2
from raypipe.stages.caption import load_state_machine
from tests.helpers.blip2_checkpoints import figure
from tests.helpers.captioned_shapes import write_shapes
from tests.helpers.training_configs import blip2_document, smm_document


def run(kind, document, folder):
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(document))
    return main(["pretrain", kind, "--config", str(path)])


def recorded(output):
    """Return MLflow's metrics of the run in this folder: {name: number of steps}."""
    with sqlite3.connect(output / "mlflow.db") as database:
        return dict(database.execute("select key, count(*) from metrics group by key"))


@pytest.mark.slow
def test_the_state_machine_learns_on_tokens_of_a_blip2_trained_before(cluster, tmp_path, capsys):
    """It answers at least 0.90 of held-out pairs rightly with N_SMM = 3; the machine as printed stays near chance."""
    data = write_shapes(tmp_path / "shapes", 1500)
    train = {"epochs": 24, "batch_size": 50, "learning_rate": 2e-3}
    document = blip2_document(data, tmp_path / "blip2", train=train, tracking={"enabled": True})
    assert run("blip2", document, tmp_path) == 0
    told = {"blip2": capsys.readouterr().out}
    said = told["blip2"]
    assert "training data: 14" in said
    assert "BLIP-2: trained, " in said
    recall = float(re.search(r"caption found by its image ([\d.]+)", said)[1])
    tokens = float(re.search(r"next tokens right ([\d.]+)", said)[1])
    assert (recall > 0.3, tokens > 0.75) == (True, True)
    assert recorded(tmp_path / "blip2")["held_out_caption_tokens"] == 24

    blip2 = tmp_path / "blip2" / "blip2"
    accuracy = {}
    for variant in ("gated", "printed"):
        train = {"epochs": 20, "batch_size": 32}
        model = {"variant": variant}
        document = smm_document(
            data, blip2, tmp_path / variant, train=train, model=model, tracking={"enabled": variant == "gated"}
        )
        assert run("smm", document, tmp_path) == 0
        told[variant] = capsys.readouterr().out
        accuracy[variant] = float(re.search(r"answered rightly: ([\d.]+)", told[variant])[1])
    # What follows reads, and so takes away, what was captured up to there.
    with capsys.disabled():
        figure("".join(told.values()))
    assert accuracy["gated"] >= 0.90
    # A sum of two scores may hold up to 0.75 of the pairs, see tests/models/state_machine/test_machine.py.
    assert accuracy["printed"] < 0.75
    assert recorded(tmp_path / "gated")["held_out_accuracy"] == 20
    model = Blip2.load(blip2)
    machine = load_state_machine(str(tmp_path / "gated" / "smm"), model, str(blip2))
    assert machine.shape.num_machines == 3

    assert run("smm", document, tmp_path) == 0
    assert "state machine: was trained already" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["blip2", "smm"])
def test_mistakes_are_told_before_anything_is_started(tmp_path, monkeypatch, capsys, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.yaml").write_text("")
    assert main(["pretrain", kind, "--config", "empty.yaml"]) == 2
    assert f"`raypipe pretrain {kind} --example`" in capsys.readouterr().err
    data = {"annotations": "no.json", "images": "."}
    documents = {
        "blip2": blip2_document(data, tmp_path / "out"),
        "smm": smm_document(data, tmp_path, tmp_path / "out"),
    }
    assert run(kind, documents[kind] | {"tracking": {"enabled": True}}, tmp_path) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert not (tmp_path / "out").exists()
