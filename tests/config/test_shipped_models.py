import pytest

from raypipe.config import shipped_models as embedded
from raypipe.config.file import absolute
from raypipe.config.run import parse_config
from raypipe.config.shipped_models import embedded_folder
from raypipe.errors import UserError
from raypipe.pretraining.state_machine_config import load_smm_config


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """An installation with two models, and a file beside them."""
    for name in ("blip2", "yolo"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / "README").write_text("no model")
    monkeypatch.setattr(embedded, "MODELS_FOLDER", tmp_path / "models")
    return tmp_path / "models"


def test_a_config_names_what_is_shipped(shipped):
    document = {
        "dataset": {"root": "/data"},
        "output": "/out",
        "detector": {"kind": "yolo", "yolo": {"weights": "raypipe:models/yolo"}},
        "weights": {"blip2": "raypipe:models/blip2"},
        "features": {"spatial": "image"},
    }
    config = parse_config(document, "here")
    assert config.detector.yolo.weights == str(shipped / "yolo")
    assert config.weights.blip2 == str(shipped / "blip2")


def test_where_raypipe_is_installed_does_not_decide_the_features(shipped, tmp_path, monkeypatch):
    document = {
        "dataset": {"root": "/data"},
        "output": "/out",
        "detector": {"kind": "yolo", "yolo": {"weights": "raypipe:models/yolo"}},
    }
    here = parse_config(document, "here")
    assert here.flat_features()["detector.yolo.weights"] == "raypipe:models/yolo"
    before = here.feature_hash()
    shipped.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(embedded, "MODELS_FOLDER", tmp_path / "elsewhere")
    there = parse_config(document, "there")
    assert there.detector.yolo.weights != here.detector.yolo.weights
    assert there.feature_hash() == before
    own = document | {"detector": {"kind": "yolo", "yolo": {"weights": "/own/models/yolo"}}}
    assert parse_config(own, "own").feature_hash() != before


def test_a_training_names_what_is_shipped(shipped, tmp_path):
    path = tmp_path / "smm.yaml"
    path.write_text("output: /out\ndata: {annotations: /a, images: /i}\nmodel: {blip2: 'raypipe:models/blip2'}\n")
    assert load_smm_config(str(path), []).model.blip2 == str(shipped / "blip2")


@pytest.mark.parametrize("path", ["raypipe:models/smm", "raypipe:models/README", "raypipe:blip2", "raypipe:"])
def test_what_is_not_shipped_is_told(shipped, path):
    with pytest.raises(UserError) as caught:
        absolute(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: this installation of raypipe (")
    assert "has no such model; it has raypipe:models/blip2, raypipe:models/yolo" in message


def test_a_config_says_which_key_names_what_is_not_shipped(shipped):
    document = {"dataset": {"root": "/d"}, "output": "/o", "detector": {"kind": "sliding_window"}}
    with pytest.raises(UserError, match=r"^here: weights\.smm: raypipe:models/smm: this installation"):
        parse_config(document | {"weights": {"smm": "raypipe:models/smm"}}, "here")


def test_an_installation_without_any_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "MODELS_FOLDER", tmp_path / "none")
    with pytest.raises(UserError, match=r"it has none at all\. If it should be there, install raypipe again"):
        embedded_folder("raypipe:models/yolo")
