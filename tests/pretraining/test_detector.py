import json
import sqlite3

import pytest
import torch
import yaml

from raypipe.cli.main import main
from raypipe.errors import UserError
from raypipe.models.detection.quiet_ultralytics import strip_optimizer
from raypipe.models.detection.yolo import YoloDetector
from raypipe.pretraining.detector import (
    METRICS,
    DetectorModelConfig,
    DetectorTrainingConfig,
    load_detector_config,
    measure,
    plan_detector,
    scaled_architecture,
    train_detector,
)
from raypipe.world.clips import WorldConfig
from raypipe.world.files import write_detection

SMALL = WorldConfig(width=96, height=72, num_frames=61, num_walkers=2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("detection") / "data"
    write_detection(root, SMALL, 5)
    return root


def document(data, output, **train):
    small = {"epochs": 2, "batch_size": 4, "image_size": 96, "plain_epochs": 1}
    return {
        "data": str(data / "data.yaml"),
        "output": str(output),
        "model": {"depth": 0.33, "width": 0.0625},
        "train": small | train,
    }


def run(folder, config):
    path = folder / "detector.yaml"
    path.write_text(yaml.safe_dump(config))
    return main(["pretrain", "detector", "--config", str(path)])


@pytest.mark.slow
def test_a_trained_detector_loads_without_a_pickle_and_is_found_again(pictures, tmp_path, capsys):
    config = document(pictures, tmp_path / "out")
    assert run(tmp_path, config) == 0
    said = capsys.readouterr().out
    assert "training data: 14 pictures" in said
    assert "epoch 2 of 2: box_loss" in said
    assert "detector of person, vehicle: trained, 8 steps" in said
    folder = tmp_path / "out" / "yolo"
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "metadata.json",
        "model.safetensors",
        "model.yaml",
    ]
    assert YoloDetector.load(folder, image_size=96).names == {0: "person", 1: "vehicle"}
    card = json.loads((folder / "card.json").read_text())
    assert card["data"]["pictures"] == {"train": 14, "val": 2}
    assert set(card["metrics"]) == {"ap50", "ap50_95", "precision", "recall"}
    with sqlite3.connect(tmp_path / "out" / "mlflow.db") as database:
        steps = dict(database.execute("select key, count(*) from metrics group by key"))
    assert steps["box_loss"] == 2
    assert steps["held_out_ap50"] == 1

    before = (folder / "model.safetensors").read_bytes()
    assert run(tmp_path, config) == 0
    assert "was trained already" in capsys.readouterr().out
    assert (folder / "model.safetensors").read_bytes() == before
    # Other settings are another training.
    other = load_detector_config(tmp_path / "detector.yaml", ["train.epochs=3"])
    assert plan_detector(other).training_hash != card["training_hash"]
    elsewhere = load_detector_config(tmp_path / "detector.yaml", ["train.threads=2", f"output={tmp_path}"])
    assert plan_detector(elsewhere).training_hash == card["training_hash"]


@pytest.mark.slow
def test_as_many_threads_train_as_are_asked_for(pictures, tmp_path):
    from ultralytics.utils import NUM_THREADS

    # What the trainer sets by itself is another number.
    asked, before, found = NUM_THREADS + 1, torch.get_num_threads(), []
    plan = plan_detector(
        DetectorTrainingConfig.model_validate(document(pictures, tmp_path / "out", epochs=1, threads=asked))
    )
    try:
        train_detector(plan, lambda _: found.append(torch.get_num_threads()))
    finally:
        torch.set_num_threads(before)
    assert found == [asked]


@pytest.mark.slow
def test_an_interrupted_training_goes_on_after_its_last_epoch(pictures, tmp_path, monkeypatch, capsys):
    from raypipe.models.detection.quiet_ultralytics import Bf16Loss, detection_trainer

    losses = []

    class Interrupted(detection_trainer()):
        def save_model(self):
            super().save_model()
            losses.append(type(self.model.loss))
            if self.epoch == 1:
                raise KeyboardInterrupt

    config = document(pictures, tmp_path / "out", epochs=3, precision="bf16") | {"tracking": {"enabled": False}}
    with monkeypatch.context() as patch:
        patch.setattr("raypipe.models.detection.quiet_ultralytics.detection_trainer", lambda: Interrupted)
        assert run(tmp_path, config) == 130
    assert losses == [Bf16Loss] * 2
    assert not (tmp_path / "out" / "yolo").exists()
    capsys.readouterr()
    assert run(tmp_path, config) == 0
    said = capsys.readouterr().out
    assert "epoch 3 of 3" in said
    assert "epoch 2 of 3" not in said


@pytest.mark.slow
@pytest.mark.parametrize("is_stripped", [False, True], ids=["saved", "stripped"])
def test_a_training_that_ended_after_its_last_epoch_is_only_measured(
    pictures, tmp_path, monkeypatch, capsys, is_stripped
):
    """Before or after Ultralytics takes the optimizer away: both were started again, and the former crashed."""
    from raypipe.models.detection.quiet_ultralytics import detection_trainer

    class Killed(detection_trainer()):
        def final_eval(self):
            if is_stripped:
                strip_optimizer(self.last)
            raise KeyboardInterrupt

    config = document(pictures, tmp_path / "out") | {"tracking": {"enabled": False}}
    assert run(tmp_path, config) == 0
    card = json.loads((tmp_path / "out" / "yolo" / "card.json").read_text())
    config["output"] = str(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr("raypipe.models.detection.quiet_ultralytics.detection_trainer", lambda: Killed)
        assert run(tmp_path, config) == 130
    assert not (tmp_path / "killed" / "yolo").exists()
    capsys.readouterr()
    assert run(tmp_path, config) == 0
    said = capsys.readouterr().out
    assert "only measuring" in said
    assert "epoch" not in said.replace("last epoch", "")
    found = json.loads((tmp_path / "killed" / "yolo" / "card.json").read_text())
    assert found["metrics"] == card["metrics"]
    name = "yolo/model.safetensors"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.slow
def test_measuring_gives_the_figures_that_the_trainer_ends_with(pictures, tmp_path):
    """On the pictures that it was trained on, so that it finds something in little time."""
    data = yaml.safe_load((pictures / "data.yaml").read_text()) | {"val": "images/train"}
    (pictures / "same.yaml").write_text(yaml.safe_dump(data))
    config = document(pictures, tmp_path / "out", epochs=40, learning_rate=0.01, image_size=160)
    config |= {"data": str(pictures / "same.yaml"), "model": {"depth": 0.33, "width": 0.25}}
    plan = plan_detector(DetectorTrainingConfig.model_validate(config))
    before = torch.get_num_threads()
    try:
        card, _ = train_detector(plan, lambda _: None)
        place = tmp_path / "out" / "training" / plan.training_hash
        found = measure(plan, place, place / "weights" / "last.pt")
    finally:
        torch.set_num_threads(before)
    assert card["metrics"]["ap50"] > 0
    assert {ours: round(float(found[theirs]), 4) for theirs, ours in METRICS.items()} == card["metrics"]


def test_an_architecture_is_scaled():
    found = scaled_architecture(DetectorModelConfig(depth=0.25, width=0.5), 2)
    assert (found["nc"], found["depth_multiple"], found["width_multiple"]) == (2, 0.25, 0.5)
    assert "scales" not in found
    with pytest.raises(UserError, match=r"model.architecture: 11/nothing is not one of Ultralytics': .*11/yolo11"):
        scaled_architecture(DetectorModelConfig(architecture="11/nothing"), 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("names: [", "data.yaml"),
        ("path: .", "names no classes"),
        ("names: {0: person}\ntrain: images/train\nval: images/val\n", "train has no pictures"),
    ],
)
def test_data_that_are_not_as_ultralytics_wants_them_are_refused(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "data.yaml").write_text(content)
    assert run(tmp_path, document(tmp_path, tmp_path / "out")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def test_pictures_without_boxes_are_refused(pictures, tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "images" / "val").mkdir()
    for part in ("train", "val"):
        picture = next((pictures / "images" / part).glob("*.jpg"))
        (tmp_path / "images" / part / picture.name).write_bytes(picture.read_bytes())
    (tmp_path / "data.yaml").write_text("names: [person]\n")
    with pytest.raises(UserError, match="train has no boxes"):
        plan_detector(DetectorTrainingConfig.model_validate(document(tmp_path, tmp_path / "out")))
