import json
from dataclasses import replace

import pytest
import torch

from jobs import average_weights
from jobs.bench_blip2 import TINY, random_weights
from raypipe.models.blip2 import Blip2
from raypipe.models.blip2_weights import Translation
from raypipe.weights import write_folder
from tests.blip2_checkpoints import VOCAB


@pytest.fixture
def folders(tmp_path):
    """Two trained models of one structure, and one of another."""
    found = []
    for number, config in enumerate((TINY, TINY, replace(TINY, layers=3))):
        folder = tmp_path / f"model-{number}"
        write_folder(folder, Translation(config, random_weights(config, seed=number)), list(VOCAB), [], [])
        (folder / "card.json").write_text("{}")
        found.append(folder)
    return found


def test_the_mean_of_two_models(folders, tmp_path):
    out = tmp_path / "mean"
    assert average_weights.main(["--out", str(out), *map(str, folders[:2])]) == 0
    first, second = (random_weights(TINY, seed=seed) for seed in (0, 1))
    mean = Blip2.load(out).state_dict()
    for name, value in mean.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)
    card = json.loads((out / "card.json").read_text())
    assert card["mean_of"] == [str(folder) for folder in folders[:2]]
    assert "--out" in card["command"]


def test_mistakes_are_told(folders, tmp_path, capsys):
    def said(*arguments):
        assert average_weights.main(list(map(str, arguments))) == 2
        return capsys.readouterr().err

    out = tmp_path / "mean"
    assert "two folders or more" in said("--out", out, folders[0])
    assert "is there already" in said("--out", folders[1], *folders[:2])
    assert "differs from" in said("--out", out, folders[0], folders[2])
    (folders[1] / "card.json").unlink()
    assert f"{folders[1]}: has no card.json" in said("--out", out, *folders[:2])
    assert not out.exists()
