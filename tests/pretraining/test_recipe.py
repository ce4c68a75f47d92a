"""What all trainings share: their hash, their card, a result found again, and a loop that resumes and ends alike."""

import json
import sys

import pytest
from pydantic import BaseModel

from raypipe.config.file import digest, validate
from raypipe.errors import UserError
from raypipe.pretraining import blip2_worker, state_machine_worker
from raypipe.pretraining.blip2 import plan_blip2, train_blip2
from raypipe.pretraining.blip2_config import Blip2TrainingConfig
from raypipe.pretraining.detector import DetectorTrainingConfig
from raypipe.pretraining.recipe import (
    CARD_FILE,
    PLACEMENT,
    TrainingConfig,
    WorkersConfig,
    card_of,
    command,
    commit_result,
    load_config,
    train_once,
    training_hash,
)
from raypipe.pretraining.state_machine import plan_smm, train_smm
from raypipe.pretraining.state_machine_config import SmmConfig
from raypipe.run_folder.folder import RunFolder
from tests.helpers.captioned_shapes import write_shapes
from tests.helpers.spatial_weights import write_weights
from tests.helpers.training_configs import blip2_document, smm_document


def config_of(output, **changes):
    return validate(TrainingConfig, {"output": str(output)} | changes, "test")


class Settings(BaseModel):
    epochs: int = 2
    use_gpu: bool = False
    threads: int | None = None


def test_the_hash_is_of_what_decides_the_result(tmp_path):
    def name(settings, output=tmp_path, **changes):
        return training_hash(config_of(output, **changes), settings, "data", shape=[3])

    assert name(Settings()) == digest([{"seed": 0, "train": {"epochs": 2}, "shape": [3]}, "data"])
    assert name(Settings()) == name(Settings(use_gpu=True, threads=3), tmp_path / "elsewhere")
    assert len({name(Settings()), name(Settings(epochs=3)), name(Settings(), seed=1)}) == 3


@pytest.mark.parametrize("config", [Blip2TrainingConfig, SmmConfig, DetectorTrainingConfig])
def test_every_training_is_placed_by_settings_of_the_recipe(config):
    train = config.model_fields["train"].annotation
    assert issubclass(config, TrainingConfig)
    assert {"use_gpu", "threads"} <= set(train.model_fields) & set(PLACEMENT)
    if config is not DetectorTrainingConfig:
        assert issubclass(train, WorkersConfig)


def test_a_config_without_keys_names_the_command_that_prints_one(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(UserError, match=r"holds no keys; see `raypipe pretrain smm --example` for an example"):
        load_config(TrainingConfig, "smm", tmp_path / "empty.yaml", [])


def test_a_result_is_made_once_and_again_for_another_hash(tmp_path):
    config, made = config_of(tmp_path / "out"), []

    def train(name):
        def work(folder):
            made.append(name)
            card = card_of(config, name, {"read": "3 images"}, 4, {"loss": 0.5})
            commit_result(folder, "model", card, lambda out: (out.mkdir(), (out / "weights.bin").write_text(name)))
            return card

        return train_once(config, "model", name, work)

    first, is_new = train("a")
    assert is_new
    assert (first["training_hash"], first["steps"], first["metrics"]) == ("a", 4, {"loss": 0.5})
    assert train("a") == (json.loads(json.dumps(first)), False)
    assert train("b")[1]
    assert made == ["a", "b"]
    assert (tmp_path / "out" / "model" / "weights.bin").read_text() == "b"
    # Without its card, a result does not count.
    (tmp_path / "out" / "model" / CARD_FILE).unlink()
    assert train("b")[1]


def test_an_output_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        train_once(config_of(tmp_path / "file" / "out"), "model", "a", lambda _: pytest.fail("it trained"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/env/bin/raypipe", "pretrain", "smm"], "raypipe pretrain smm"),
        (["/site/raypipe/__main__.py", "pretrain", "smm"], "raypipe pretrain smm"),
        (["jobs/train_smm.py", "--set", "data=a b"], "jobs/train_smm.py --set 'data=a b'"),
        (["raypipe", "--set", "output=s3://me:secret@store/x"], "raypipe --set output=s3://***@store/x"),
    ],
)
def test_a_card_says_the_command_but_neither_its_place_nor_passwords(monkeypatch, arguments, expected):
    monkeypatch.setattr(sys, "argv", arguments)
    assert command() == expected


def die_after_the_last_epoch(worker, forbidden):
    """Return a loop of which the first attempt dies after its last epoch, and the next may prepare nothing."""
    train_loop = worker.train_loop

    def loop(settings):
        import ray.train

        module = sys.modules[worker.__name__]
        if ray.train.get_checkpoint() is None:
            train_loop(settings)
            raise RuntimeError("died after its last epoch")

        def fail(*_):
            raise AssertionError(f"{forbidden} was called")

        setattr(module, forbidden, fail)
        train_loop(settings)

    return loop


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blip2", "smm"])
def test_a_death_after_the_last_epoch_costs_nothing(cluster, tmp_path, monkeypatch, kind):
    data = write_shapes(tmp_path / "shapes", 60)
    train = {"max_failures": 1, "epochs": 1}
    if kind == "blip2":
        plan = plan_blip2(validate(Blip2TrainingConfig, blip2_document(data, tmp_path / "out", train=train), "test"))
        worker, work = blip2_worker, train_blip2
    else:
        weights = write_weights(tmp_path / "tiny")["blip2"]
        plan = plan_smm(validate(SmmConfig, smm_document(data, weights, tmp_path / "out", train=train), "test"))
        worker, work = state_machine_worker, train_smm
    monkeypatch.setattr(worker, "train_loop", die_after_the_last_epoch(worker, "read_pairs"))
    card, is_new = work(plan)
    assert is_new
    assert len(card["history"]) == 1
    assert RunFolder(plan.config.output).read_json(f"{kind}/{CARD_FILE}") == card
