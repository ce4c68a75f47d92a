import json

import pytest

from jobs import embed_models
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


def test_a_card_tells_of_the_trainings_before(folders, tmp_path):
    first, second = tmp_path / "weights" / "first", tmp_path / "weights" / "second"
    for folder, card in (
        (first, {"steps": 5, "started_from": None}),
        (second, {"steps": 3, "started_from": str(first)}),
    ):
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps(card))
    (folders["blip2"] / "card.json").write_text(json.dumps({"steps": 2, "started_from": str(second)}))
    embed_models.embed(folders, tmp_path / "assets", tmp_path)
    card = json.loads((tmp_path / "assets" / "blip2" / "card.json").read_text())
    before = {"folder": "weights/first", "steps": 5, "started_from": None}
    assert card == {"steps": 2, "started_from": {"folder": "weights/second", "steps": 3, "started_from": before}}


def test_a_card_keeps_the_trainings_that_a_shipped_start_tells_of(folders, tmp_path):
    shipped = tmp_path / "weights" / "shipped"
    shipped.mkdir()
    before = {"folder": "weights/first", "steps": 5, "started_from": None}
    (shipped / "card.json").write_text(json.dumps({"steps": 3, "started_from": before}))
    (folders["blip2"] / "card.json").write_text(json.dumps({"steps": 2, "started_from": str(shipped)}))
    embed_models.embed(folders, tmp_path / "assets", tmp_path)
    card = json.loads((tmp_path / "assets" / "blip2" / "card.json").read_text())
    assert card == {"steps": 2, "started_from": {"folder": "weights/shipped", "steps": 3, "started_from": before}}


def test_a_card_tells_of_the_models_that_one_is_the_mean_of(folders, tmp_path):
    parts = [tmp_path / "weights" / name for name in ("first", "second")]
    for steps, folder in enumerate(parts):
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps({"steps": steps, "started_from": None}))
    (parts[1] / "card.json").write_text(json.dumps({"steps": 1, "started_from": str(parts[0])}))
    (folders["blip2"] / "card.json").write_text(json.dumps({"mean_of": list(map(str, parts))}))
    embed_models.embed(folders, tmp_path / "assets", tmp_path)
    first = {"folder": "weights/first", "steps": 0, "started_from": None}
    second = {"folder": "weights/second", "steps": 1, "started_from": first}
    assert json.loads((tmp_path / "assets" / "blip2" / "card.json").read_text()) == {"mean_of": [first, second]}


def test_a_start_that_was_written_over_is_refused(folders, tmp_path):
    folder = folders["blip2"]
    (folder / "card.json").write_text(json.dumps({"steps": 2, "started_from": str(folder)}))
    with pytest.raises(UserError, match="started from itself"):
        embed_models.embed(folders, tmp_path / "assets", tmp_path)


def test_a_model_that_started_from_the_shipped_one_is_embedded_once(folders, tmp_path):
    out = tmp_path / "assets"
    embed_models.embed(folders, out, tmp_path)
    (out / "blip2" / "card.json").write_text(json.dumps({"training_hash": "a", "started_from": None}))
    card = {"training_hash": "b", "started_from": str(out / "blip2")}
    (folders["blip2"] / "card.json").write_text(json.dumps(card))
    embed_models.embed(folders, out, tmp_path)
    shipped = json.loads((out / "blip2" / "card.json").read_text())
    assert (shipped["training_hash"], shipped["started_from"]["training_hash"]) == ("b", "a")
    with pytest.raises(UserError, match="is this training's own result now"):
        embed_models.embed(folders, out, tmp_path)
    assert json.loads((out / "blip2" / "card.json").read_text()) == shipped
    with pytest.raises(UserError, match=r"--smm: .* is what is shipped already"):
        embed_models.embed({"smm": out / "smm"}, out, tmp_path)


def test_a_start_without_a_card_is_refused(folders, tmp_path):
    (folders["smm"] / "card.json").write_text(json.dumps({"steps": 2, "started_from": str(tmp_path)}))
    with pytest.raises(UserError, match=r"has no card\.json any more"):
        embed_models.embed(folders, tmp_path / "assets", tmp_path)
