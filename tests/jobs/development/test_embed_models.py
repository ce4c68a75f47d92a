import json

import pytest

from jobs.development import embed_models
from raypipe.errors import UserError


@pytest.fixture
def folders(tmp_path):
    """Three folders of models below a root, with cards that name it."""
    found = {}
    for name, files in embed_models.FILES.items():
        found[name] = tmp_path / "weights" / name
        found[name].mkdir(parents=True)
        for file in files:
            (found[name] / file).write_bytes(file.encode())
        card = {"config": {"output": f"{tmp_path}/weights/{name}", "seed": 3}, "data": [f"{tmp_path}/a", 1.5]}
        (found[name] / "card.json").write_text(json.dumps(card))
    return found


def test_models_are_copied_and_their_cards_name_no_folder_of_this_machine(folders, tmp_path):
    out = tmp_path / "assets"
    (out / "yolo").mkdir(parents=True)
    (out / "yolo" / "old.bin").write_text("of an earlier version")
    assert embed_models.embed(folders, out, tmp_path) == sum(
        len(n) for files in embed_models.FILES.values() for n in files
    )
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == sorted(
        f"{name}/{file}" for name, files in embed_models.FILES.items() for file in (*files, "card.json")
    )
    card = json.loads((out / "smm" / "card.json").read_text())
    assert card == {"config": {"output": "weights/smm", "seed": 3}, "data": ["a", 1.5]}


def test_what_is_missing_or_too_large_is_refused_before_anything_is_copied(folders, tmp_path, monkeypatch, capsys):
    arguments = [part for name, folder in folders.items() for part in (f"--{name}", str(folder))]
    monkeypatch.setattr(embed_models, "EMBEDDED", tmp_path / "assets")
    monkeypatch.setattr(embed_models, "MAX_BYTES", 10)
    with pytest.raises(UserError, match=r"the models take 0.0 MB; 0 MB may be shipped"):
        embed_models.embed(folders, tmp_path / "assets", tmp_path)
    (folders["blip2"] / "vocab.txt").unlink()
    assert embed_models.main(arguments) == 2
    assert "--blip2" in capsys.readouterr().err
    assert not (tmp_path / "assets").exists()


def test_a_model_that_was_trained_on_from_another_is_refused(folders, tmp_path):
    (folders["blip2"] / "card.json").write_text(json.dumps({"steps": 2, "started_from": "weights/first/blip2"}))
    with pytest.raises(UserError, match=r"--blip2: .* was trained on from weights/first/blip2; what is shipped is"):
        embed_models.embed(folders, tmp_path / "assets", tmp_path)
    assert not (tmp_path / "assets").exists()
    (folders["blip2"] / "card.json").write_text(json.dumps({"steps": 2, "started_from": None}))
    embed_models.embed(folders, tmp_path / "assets", tmp_path)
    assert json.loads((tmp_path / "assets" / "blip2" / "card.json").read_text())["steps"] == 2


def test_what_is_shipped_already_is_refused(folders, tmp_path):
    out = tmp_path / "assets"
    embed_models.embed(folders, out, tmp_path)
    with pytest.raises(UserError, match=r"--smm: .* is what is shipped already"):
        embed_models.embed({"smm": out / "smm"}, out, tmp_path)
    assert (out / "smm" / "model.safetensors").is_file()
