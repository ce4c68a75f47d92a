"""A run folder is known by its content: copied, or made by two drivers at once, it is the same run."""

import shutil
from pathlib import Path

import pytest

from raypipe.anomaly_model.trained_model import read_model
from raypipe.extraction.extract import extract
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import commit_features, read_segment
from raypipe.workflow import run_step
from tests.helpers.small_data import contents


def steps(config, *names):
    said = []
    for name in names:
        run_step(name, config, said.append)
    return "\n".join(said)


def products(config):
    base = Path(config.output)
    return {str(path): path.stat().st_mtime_ns for kind in ("models", "scores") for path in (base / kind).rglob("*.*")}


def moved(config, output):
    return config.model_copy(update={"output": str(output)})


def test_a_copy_is_the_same_run(finished_run, tmp_path):
    # As `cp -r` copies: every file has the time of the copy.
    shutil.copytree(finished_run.output, tmp_path / "copy", copy_function=shutil.copy)
    copy = moved(finished_run, tmp_path / "copy")
    before = products(copy)
    said = steps(copy, "run")
    assert "model: knn, trained before on 60 objects" in said
    assert "2 videos were scored already" in said
    assert products(copy) == before
    # The time that scoring took stays what was measured.
    timings = [RunFolder(config.output).read_json("timings.json")["score"] for config in (finished_run, copy)]
    assert timings[0] == timings[1]


def test_a_second_driver_changes_nothing(run_copy, tmp_path):
    """Both extract everything; the second commits its own segments after the first has trained."""
    first = RunFolder(run_copy.output)
    second = moved(run_copy, tmp_path / "second")
    extract(second)
    assert contents(Path(second.output)) == contents(Path(first.root))
    before = products(run_copy)
    for path in contents(Path(second.output)):
        shutil.copy(Path(second.output) / "features" / path, Path(first.root) / "features" / path)
    assert "trained before on" in steps(run_copy, "train", "score", "evaluate")
    assert products(run_copy) == before


def test_what_changed_is_done_again(run_copy):
    """A test video's features: only its own scores. A train video's: the model, and with it all scores."""
    folder = RunFolder(run_copy.output)

    def change(video_id):
        record, table = read_segment(folder, video_id, 0)
        commit_features(folder, table.slice(0, table.num_rows - 1), record)

    change("test/1")
    said = steps(run_copy, "train", "score")
    assert "trained before on 60 objects" in said
    assert "1 videos were scored already" in said
    change("train/0")
    model = read_model(folder, "knn")
    said = steps(run_copy, "train", "score")
    assert "scored already" not in said
    assert read_model(folder, "knn").train_hash != model.train_hash


@pytest.mark.parametrize("damage", ["lost", "damaged", "of other settings"])
def test_scores_that_cannot_be_used_are_made_again(run_copy, damage):
    path = Path(RunFolder(run_copy.output).score_path("test/1"))
    whole = path.read_bytes()
    if damage == "lost":
        path.unlink()
    elif damage == "damaged":
        path.write_bytes(whole[:-20])
    else:
        other = run_copy.score.model_copy(update={"smoothing_seconds": 2.0})
        steps(run_copy.model_copy(update={"score": other}), "score")
    said = steps(run_copy, "score")
    assert ("1 videos were scored already" in said) == (damage != "of other settings")
    assert path.read_bytes() == whole
