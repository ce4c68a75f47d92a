import json

import numpy as np
import pytest

from raypipe.config.run import parse_config
from raypipe.errors import UserError
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import claim_run_folder
from raypipe.weights.identity import PIECE_BYTES, fingerprint, models_of


def config_of(weights, **changes):
    document = {
        "dataset": {"root": "d"},
        "output": "o",
        "detector": {"kind": "sliding_window"},
        "features": {"spatial": "cross"},
        "weights": weights,
    }
    return parse_config(document | changes, "test")


@pytest.fixture
def folders(tmp_path):
    for name in ("blip2", "smm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"config": {}}')
        (tmp_path / name / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(10 * PIECE_BYTES))
    return tmp_path


def test_a_fingerprint_is_of_names_sizes_and_contents(folders):
    first = fingerprint(folders / "blip2")
    assert first == fingerprint(folders / "smm")
    # What only tells of the weights does not count.
    (folders / "smm" / "card.json").write_text("{}")
    path = folders / "smm" / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(np.random.default_rng(1).bytes(len(content)))
    changed = fingerprint(folders / "smm")
    path.write_bytes(content + b"x")
    longer = fingerprint(folders / "smm")
    path.write_bytes(content)
    assert fingerprint(folders / "smm") == first
    path.rename(path.with_name("other.safetensors"))
    assert len({first, changed, longer, fingerprint(folders / "smm")}) == 4
    (folders / "empty").mkdir()
    (folders / "empty" / "none").write_bytes(b"")
    assert fingerprint(folders / "empty")


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("blip2/config.json", r"weights\.blip2: .*blip2 holds no config\.json; .* `?raypipe weights convert"),
        ("blip2/model.safetensors", r"weights\.blip2: .* holds no model\.safetensors"),
        ("smm/model.safetensors", r"weights\.smm: .* holds no model\.safetensors; .*raypipe pretrain smm"),
    ],
)
def test_missing_weights_are_told_before_any_work(folders, monkeypatch, missing, message):
    monkeypatch.setattr("raypipe.weights.identity.read_config", lambda path: None)
    (folders / missing).unlink()
    with pytest.raises(UserError, match=message):
        models_of(config_of({"blip2": str(folders / "blip2"), "smm": str(folders / "smm")}))


def test_only_what_is_used_is_needed(folders, monkeypatch):
    monkeypatch.setattr("raypipe.weights.identity.read_config", lambda path: None)
    weights = {"blip2": str(folders / "blip2"), "smm": str(folders / "smm")}
    assert set(models_of(config_of(weights))) == {"weights.blip2", "weights.smm", "sentence.tagger"}
    assert set(models_of(config_of(weights, sentence={"memory": "off"}))) == {"weights.blip2"}
    assert set(models_of(config_of(weights, features={"spatial": "image"}))) == {"weights.blip2"}
    assert models_of(config_of({}, features={"spatial": "none"})) == {}


@pytest.mark.parametrize("kind", ["folder", "pt"])
def test_a_detectors_weights_are_known_by_their_content(tmp_path, kind):
    weights = tmp_path / "yolo" if kind == "folder" else tmp_path / "yolo.pt"
    file = weights / "model.safetensors" if kind == "folder" else weights
    file.parent.mkdir(exist_ok=True)

    def found():
        detector = {"kind": "yolo", "yolo": {"weights": str(weights)}}
        return models_of(config_of({}, features={"spatial": "none"}, detector=detector))

    if kind == "pt":
        assert found() == {}  # a missing one is told elsewhere
    file.write_bytes(b"one")
    first = found()
    assert set(first) == {"detector.yolo.weights"}
    (tmp_path / "beside.pt").write_bytes(b"other")
    assert found() == first
    file.write_bytes(b"two")
    assert found() != first


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (
            {"blip2": {"folder": "/other", "fingerprint": "0"}},
            r"tokens of another BLIP-2 \(/other\).* raypipe pretrain smm",
        ),
        ({"config": {"targets": {"questions": "literal"}}}, "trained on literal questions, .* is repaired"),
        ({}, None),
        (None, None),
    ],
)
def test_a_state_machine_of_other_tokens_or_questions_is_refused(folders, monkeypatch, card, message):
    monkeypatch.setattr("raypipe.weights.identity.read_config", lambda path: None)
    if card is not None:
        (folders / "smm" / "card.json").write_text(json.dumps(card))
    config = config_of({"blip2": str(folders / "blip2"), "smm": str(folders / "smm")})
    if message is None:
        assert models_of(config)
        own = {"blip2": {"folder": "/x", "fingerprint": fingerprint(folders / "blip2")}}
        (folders / "smm" / "card.json").write_text(json.dumps(own))
        assert models_of(config)
        return
    with pytest.raises(UserError, match=message):
        models_of(config)


def test_weights_in_an_object_store_are_refused_with_what_to_do():
    with pytest.raises(UserError, match=r"weights.blip2: s3://b/w is a URI, .* copy it there first"):
        config_of({"blip2": "s3://b/w"})


def test_features_of_other_weights_are_refused(tmp_path):
    folder = RunFolder(str(tmp_path / "run"))

    def claim(models):
        claim_run_folder(
            folder, config={}, feature_keys={}, config_hash="h", versions={}, catalogue_hash="c", models=models
        )

    claim({"weights.blip2": "1"})
    claim({"weights.blip2": "2"})  # nothing is extracted yet
    folder.commit(folder.feature_path("v", 0), b"features")
    claim({"weights.blip2": "2"})
    claim(None)  # a step that needs no weights
    claim({"weights.blip2": "2", "detector.yolo.weights": "1"})  # of which nothing was known
    with pytest.raises(UserError, match=r"made with other weights \(detector\.yolo\.weights\)"):
        claim({"weights.blip2": "2", "detector.yolo.weights": "2"})
    with pytest.raises(UserError, match=r"made with other weights \(weights\.blip2\)"):
        claim({"weights.blip2": "3"})
    claim({"weights.blip2": "2"})
