"""A run folder that version 0.1 made (`tests/fixtures/run_0_1`) is opened, resumed, scored, evaluated and reported.

Its data set lies at a path from the checkout's root, by which its config is known; the absolute places in its catalogue
are put in here. `mtimes.json` holds the times of its features, by which version 0.1 knew what a model was trained on.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from raypipe.anomaly_model.trained_model import read_model
from raypipe.api.config import config_of_run
from raypipe.cli.main import main
from raypipe.errors import UserError
from raypipe.run_folder.folder import RunFolder
from raypipe.workflow import run_step
from tests.helpers.small_data import contents

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "run_0_1"


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """A copy of the run as it was left: the features have their times."""
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "run"
    shutil.copytree(FIXTURE / "run", folder)
    catalogue = folder / "catalogue.jsonl"
    catalogue.write_text(catalogue.read_text().replace("file://ROOT/", f"{ROOT.as_uri()}/"))
    for name, time in json.loads((FIXTURE / "mtimes.json").read_text()).items():
        os.utime(folder / "features" / name, ns=(time, time))
    return folder


def steps(config, *names):
    said = []
    for name in names:
        assert run_step(name, config, said.append) == 0
    return "\n".join(said)


def metrics(folder):
    return json.loads((folder / "results.json").read_text())["metrics"]


def model_bytes(folder):
    return (folder / "models" / "knn" / "motion" / "density.safetensors").read_bytes()


def test_it_is_small_and_of_0_1():
    assert sum(path.stat().st_size for path in FIXTURE.rglob("*") if path.is_file()) < 300_000
    assert json.loads((FIXTURE / "run" / "run.json").read_text())["versions"]["raypipe"] == "0.1.0"
    assert b'"digest"' not in b"".join(contents(FIXTURE / "run").values())


def test_it_is_opened_and_reported(old_run, capsys):
    assert main(["status", str(old_run)]) == 0
    assert "4 of 4" in capsys.readouterr().out
    assert main(["report", str(old_run)]) == 0
    assert (old_run / "report" / "index.html").exists()


def test_it_goes_on(cluster, old_run):
    """Nothing is done again: features, model and metrics are those of 0.1; scores are made once more, and are equal."""
    features, model, before = contents(old_run), model_bytes(old_run), metrics(old_run)
    config = config_of_run(str(old_run))
    said = steps(config, "run")
    assert "4 segments were there already" in said
    assert "model: knn, trained before on 120 objects" in said
    assert (contents(old_run), model_bytes(old_run), metrics(old_run)) == (features, model, before)
    # From now on its model is known by content, also where the times are lost.
    shutil.copytree(old_run, old_run.with_name("copy"), copy_function=shutil.copy)
    said = steps(config_of_run(str(old_run.with_name("copy"))), "run")
    assert "trained before on 120 objects" in said
    assert "2 videos were scored already" in said


def test_what_is_missing_is_resumed(cluster, old_run):
    """A segment of the test split: the model stays, and the scores are those of before."""
    (old_run / "features" / "test" / "b" / "00000.parquet").unlink()
    before, model = metrics(old_run), model_bytes(old_run)
    said = steps(config_of_run(str(old_run)), "run")
    assert "3 segments were there already" in said
    assert "trained before on 120 objects" in said
    assert (metrics(old_run), model_bytes(old_run)) == (before, model)


def test_a_copy_without_its_times(cluster, old_run):
    """It cannot be told what the model was trained on: evaluation goes on, scoring says why not, training trains."""
    for path in (old_run / "features").rglob("*.parquet"):
        os.utime(path, (0, 0))
    config = config_of_run(str(old_run))
    before = metrics(old_run)
    steps(config, "evaluate")
    assert metrics(old_run) == before
    with pytest.raises(
        UserError, match=r"'knn' model in .* was trained by raypipe 0\.1, .*: run `raypipe train` again"
    ):
        run_step("score", config, print)
    said = steps(config, "train", "score", "evaluate")
    assert "model: knn, 120 objects in " in said
    assert metrics(old_run) == before
    model = read_model(RunFolder(str(old_run)), "knn")
    assert model.content_hash == model.train_hash
