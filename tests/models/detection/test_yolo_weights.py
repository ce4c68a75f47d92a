import hashlib
import json
import os

import numpy as np
import pytest
import torch
import yaml

from raypipe.cli.main import main
from raypipe.errors import UserError
from raypipe.models.detection.quiet_ultralytics import DetectionModel
from raypipe.models.detection.yolo import YoloDetector
from raypipe.models.detection.yolo_weights import load_pickle, load_yolo
from raypipe.weights.convert_yolo import convert_yolo
from tests.helpers.yolo_checkpoints import NAMES, save_pt, tiny_yolo

FRAMES = np.random.default_rng(1).integers(0, 256, (2, 90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_pt(tiny_yolo(), tmp_path_factory.mktemp("yolo") / "tiny.pt")


@pytest.fixture(scope="module")
def converted(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "tiny"
    convert_yolo(checkpoint, folder, trust_pickle=True)
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Bomb:
    """Unpickling this leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("trust", [{}, {"sha256": "0" * 64}])
def test_a_pickle_that_is_not_trusted_is_not_read(tmp_path, trust):
    path = tmp_path / "bomb.pt"
    torch.save({"model": Bomb(tmp_path / "exploded")}, path)
    with pytest.raises(UserError) as caught:
        load_yolo(path, **trust)
    assert not (tmp_path / "exploded").exists()
    if trust:
        assert f"its sha256 is {digest(path)}, not the pinned {'0' * 64}" in str(caught.value)
    else:
        assert f"raypipe weights convert --yolo {path} --sha256 {digest(path)} --out DIR" in str(caught.value)
        assert "or set sha256 or trust_pickle" in str(caught.value)
    # The bomb is one: trusted, it goes off.
    with pytest.raises(UserError):
        load_yolo(path, trust_pickle=True)
    assert (tmp_path / "exploded").exists()


def test_a_pin_may_be_written_in_capitals(checkpoint):
    assert load_yolo(checkpoint, sha256=digest(checkpoint).upper()).names == dict(enumerate(NAMES))


def test_the_bytes_that_were_hashed_are_loaded(checkpoint, tmp_path, monkeypatch):
    # Whoever replaces the file after it was read, before it is unpickled, changes nothing.
    path = tmp_path / "tiny.pt"
    path.write_bytes(checkpoint.read_bytes())
    pinned = digest(path)

    class SwapAfterHashing:
        def __init__(self, content):
            self.found = hashlib.new("sha256", content)
            torch.save({"model": Bomb(tmp_path / "exploded")}, path)

        def hexdigest(self):
            return self.found.hexdigest()

    monkeypatch.setattr("raypipe.models.detection.trusted_pickle.hashlib.sha256", SwapAfterHashing)
    assert load_yolo(path, sha256=pinned).names == dict(enumerate(NAMES))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("architecture", "class_name", "task"),
    [
        ("yolov8n-seg.yaml", "SegmentationModel", "segment"),
        ("yolov8n-pose.yaml", "PoseModel", "pose"),
        ("yolov8n-cls.yaml", "ClassificationModel", "classify"),
        ("yolov8n-obb.yaml", "OBBModel", "obb"),
    ],
)
def test_models_of_other_tasks_are_named(tmp_path, architecture, class_name, task):
    import ultralytics.nn.tasks

    model = getattr(ultralytics.nn.tasks, class_name)(architecture, nc=4, verbose=False)
    # The file says "detect" of itself; what counts is the architecture.
    path = save_pt(model, tmp_path / "other.pt")
    with pytest.raises(UserError, match=f"is a model for the task '{task}'; the yolo detector needs one for 'detect'"):
        load_yolo(path, trust_pickle=True)


def test_a_head_that_is_not_of_yolo_is_refused(tmp_path):
    from ultralytics.nn.tasks import RTDETRDetectionModel

    path = save_pt(RTDETRDetectionModel("rtdetr-resnet50.yaml", nc=4, verbose=False), tmp_path / "rtdetr.pt")
    with pytest.raises(UserError, match="its head is RTDETRDecoder, not that of a YOLO detector"):
        load_yolo(path, trust_pickle=True)


def test_pictures_of_other_channels_are_refused(tmp_path):
    path = save_pt(DetectionModel("yolov8n.yaml", ch=4, nc=4, verbose=False), tmp_path / "four.pt")
    with pytest.raises(UserError, match="takes pictures of 4 channels"):
        load_yolo(path, trust_pickle=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty, truncated or corrupted"),
        (b"no checkpoint", "empty, truncated or corrupted"),
        ({"model": {"weight": torch.zeros(1)}}, "Ultralytics cannot load it"),
        ({}, "Ultralytics cannot load it"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "broken.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=message) as caught:
        load_yolo(path, trust_pickle=True)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_paths_that_are_neither(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(UserError, match=r"is neither a \.pt of Ultralytics nor a folder"):
        load_yolo(tmp_path / "model.onnx", trust_pickle=True)
    with pytest.raises(UserError, match=r"metadata\.json cannot be read; is this a folder"):
        load_yolo(tmp_path)
    with pytest.raises(UserError, match=r"sha256 and trust_pickle are for \.pt files"):
        load_yolo(tmp_path, trust_pickle=True)


@pytest.mark.parametrize(
    "architecture",
    [
        "yolov8n.yaml",
        "yolo11n.yaml",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("yolo26n.yaml", "yolov10n.yaml")),
    ],
)
def test_a_converted_folder_finds_the_same_boxes(tmp_path, architecture):
    checkpoint = save_pt(tiny_yolo(architecture), tmp_path / "tiny.pt")
    convert_yolo(checkpoint, tmp_path / "out", sha256=digest(checkpoint))
    options = {"image_size": 160, "min_confidence": 0.05}
    before = YoloDetector.load(checkpoint, trust_pickle=True, **options)(FRAMES, (120, 90))
    after = YoloDetector.load(tmp_path / "out", **options)(FRAMES, (120, 90))
    assert len(before.boxes) > 0
    np.testing.assert_array_equal(after.boxes, before.boxes)
    np.testing.assert_array_equal(after.confidence, before.confidence)
    assert after.class_name.tolist() == before.class_name.tolist()


def test_a_converted_folder_says_what_it_is(checkpoint, converted):
    metadata = json.loads((converted / "metadata.json").read_text())
    assert metadata["class_names"] == NAMES
    assert (metadata["task"], metadata["stride"]) == ("detect", 32)
    assert metadata["sources"] == {"tiny.pt": {"bytes": checkpoint.stat().st_size, "sha256": digest(checkpoint)}}
    assert sorted(path.name for path in converted.iterdir()) == ["metadata.json", "model.safetensors", "model.yaml"]


def test_a_converted_folder_is_read_without_pickle(converted, checkpoint, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a pickle was read")

    for name in ("torch.load", "torch.serialization._load", "pickle.load", "pickle.loads", "pickle.Unpickler"):
        monkeypatch.setattr(name, refuse)
    assert load_yolo(converted).names == dict(enumerate(NAMES))
    with pytest.raises(AssertionError, match="a pickle was read"):
        load_yolo(checkpoint, trust_pickle=True)


def test_converting_needs_trust_and_checks_itself(checkpoint, tmp_path):
    with pytest.raises(UserError, match=r"a \.pt is a pickle"):
        convert_yolo(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # A checkpoint whose module is not what its YAML builds, as after pruning by hand.
    model = tiny_yolo()
    model.model[0].act = torch.nn.ReLU()
    odd = save_pt(model, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=r"odd\.pt: is not the model that its own YAML describes"):
        convert_yolo(odd, tmp_path / "out", trust_pickle=True)
    assert not (tmp_path / "out" / "model.yaml").exists()


def change_yaml(folder, change):
    architecture = yaml.safe_load((folder / "model.yaml").read_text())
    change(architecture)
    (folder / "model.yaml").write_text(yaml.safe_dump(architecture))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y.update(activation="__import__('os').mkdir('exploded')"), "activation .* is no layer of torch.nn"),
        (lambda y: y.update(activation="nn.SiLU(print(1))"), "is no layer of torch.nn"),
        (lambda y: y["backbone"][0].__setitem__(2, "load_checkpoint"), "'load_checkpoint' is no layer"),
        (lambda y: y["backbone"][0].__setitem__(2, "TorchVision"), "'TorchVision' is no layer"),
        (lambda y: y["backbone"][0].__setitem__(2, "nn.init"), "'nn.init' is no layer"),
        (lambda y: y["backbone"][0].__setitem__(2, "torchvision.ops.nms"), "is no layer"),
        (lambda y: y.update(nc=7), "do not fit"),
        (lambda y: y.pop("head"), "do not fit"),
        (lambda y: y["head"].pop(), "do not fit"),
    ],
)
def test_an_architecture_can_only_name_layers(converted, tmp_path, monkeypatch, change, message):
    for path in converted.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    change_yaml(tmp_path, change)
    with pytest.raises(UserError, match=message):
        load_yolo(tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("activation", ["nn.SiLU()", "torch.nn.LeakyReLU(0.1)", "nn.Hardswish(inplace=True)"])
def test_activations_of_published_models_are_taken(converted, tmp_path, activation):
    for path in converted.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    change_yaml(tmp_path, lambda y: y.update(activation=activation))
    load_yolo(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.yaml", "metadata.json"])
def test_damaged_folders_are_named(converted, tmp_path, name):
    for path in converted.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() if path.name != name else b"{")
    with pytest.raises(UserError, match="is damaged"):
        load_yolo(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        load_yolo(tmp_path)


def test_the_sha256_of_a_pickle_is_returned(checkpoint):
    assert load_pickle(checkpoint, sha256=None, trust_pickle=True)[1] == digest(checkpoint)


def test_the_command_converts(checkpoint, tmp_path, capsys):
    arguments = ["weights", "convert", "--yolo", str(checkpoint), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert f"--sha256 {digest(checkpoint)}" in capsys.readouterr().err
    assert main([*arguments, "--sha256", digest(checkpoint)]) == 0
    told = capsys.readouterr().out
    assert "4 classes: person, bicycle, car, skateboard" in told
    assert "model.safetensors, model.yaml, metadata.json" in told
    assert main([*arguments, "--trust-pickle"]) == 0
    assert main([*arguments, "--trust-pickle", "--vit", "x"]) == 2
    assert main(["weights", "convert", "--qformer", "x.pth", "--trust-pickle", "--out", str(tmp_path)]) == 2
    assert "--sha256 and --trust-pickle belong to --yolo" in capsys.readouterr().err
