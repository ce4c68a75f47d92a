"""Training by Ray Train, scoring and evaluation on a real (small, local) cluster."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from ray.train.v2.api.exceptions import TrainingFailedError

from raypipe.anomaly_model.score import made_by
from raypipe.anomaly_model.train import train
from raypipe.anomaly_model.trained_model import model_files, read_model
from raypipe.errors import UserError
from raypipe.extraction.catalog import require_features
from raypipe.extraction.extract import extract
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import commit_features, read_scores, read_segment
from raypipe.workflow import run_step
from tests.helpers.faults import break_in_epoch_2
from tests.helpers.small_data import make_config, write_data

SMALL = {"epochs": 3, "hidden_size": 32, "batch_size": 64}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), {"train/a": 60, "train/b": 40, "test/a": 60, "test/b": 30})


@pytest.fixture(scope="module")
def features(cluster, data, tmp_path_factory):
    """A run folder that holds features only."""
    output = tmp_path_factory.mktemp("features")
    extract(make_config(data, output))
    return output


@pytest.fixture
def run(features, data, tmp_path):
    """A function that makes a config for a fresh copy of the features."""

    def make(name="run", **changes):
        output = tmp_path / name
        shutil.copytree(features, output)
        return make_config(data, output, **({"train": SMALL} | changes))

    return make


def fit(config):
    folder = RunFolder(config.output)
    trained, is_new = train(config, require_features(config, folder))
    return trained, is_new, model_files(folder, trained.kind)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(run):
    first, again = fit(run("a")), fit(run("b"))
    assert first[0].history == again[0].history
    assert first[2]["model.safetensors"] == again[2]["model.safetensors"]
    assert len(first[0].history) == 3
    assert first[0].history[-1]["loss"] < first[0].history[0]["loss"]
    # train/b is held out: 120 of the 200 objects are left to fit.
    assert first[0].num_objects == 120


@pytest.mark.slow
def test_training_resumes_after_the_last_checkpoint(run, monkeypatch):
    settings = SMALL | {"max_failures": 0}
    whole = fit(run("whole", train=settings))
    config = run("broken", train=settings)
    with monkeypatch.context() as patch:
        patch.setattr("raypipe.anomaly_model.train_worker.train_loop", break_in_epoch_2)
        with pytest.raises(TrainingFailedError, match="broken in epoch 2"):
            fit(config)
    assert read_model(RunFolder(config.output), "rm") is None
    resumed = fit(config)
    assert resumed[0].history == whole[0].history
    assert resumed[2]["model.safetensors"] == whole[2]["model.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_train_on_all_objects(run, workers):
    """Three of them would take every CPU of the cluster, and leave none to the tasks that read for them."""
    trained, _, _ = fit(run(train=SMALL | {"workers": workers}))
    assert trained.num_objects == 120
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]


@pytest.mark.parametrize("kind", ["rm", "knn", "gmm"])
def test_every_model_scores_every_frame(run, kind, capsys):
    config = run(score={"model": kind})
    for step in ("train", "score", "evaluate"):
        assert run_step(step, config, print) == 0
    folder = RunFolder(config.output)
    trained, is_new, _ = fit(config)
    assert (trained, is_new) == (read_model(folder, kind), False)
    for video_id, num_frames in (("test/a", 60), ("test/b", 30)):
        scores = read_scores(folder, video_id, made_by(config.score, trained))
        assert scores["frame_index"].to_pylist() == list(range(num_frames))
        assert np.isfinite(scores["score"].to_numpy()).all()
        assert set(scores["num_objects"].to_pylist()) == {2}
    results = folder.read_json("results.json")
    assert set(results["metrics"]) == {
        "micro_auc",
        "macro_auc_anchored",
        "macro_auc_skip",
        "average_precision",
        "pr_auc",
    }
    assert results["counts"] == {"videos": 4, "segments": 4, "frames": 190, "objects": 380, "dead": 0, "damaged": 0}
    assert {"train", "score"} <= set(results["timings"])
    assert "micro-AUC" in capsys.readouterr().out
    other = config.model_copy(update={"score": config.score.model_copy(update={"smoothing_seconds": 2.0})})
    with pytest.raises(UserError, match=r"other settings \(smoothing_seconds\): run `raypipe score` again"):
        run_step("evaluate", other, print)
    with pytest.raises(UserError, match="trained with other settings or on other features"):
        run_step("score", config.model_copy(update={"seed": 5}), print)
    # Written again, as by a second driver, it is what it was; with another box, it is not.
    record, table = read_segment(folder, "train/a", 0)
    commit_features(folder, table, record)
    assert run_step("score", config, print) == 0
    assert "2 videos were scored already" in capsys.readouterr().out
    boxes = [*table["x1"].to_pylist()[:-1], 1.5]
    commit_features(
        folder, table.set_column(table.schema.get_field_index("x1"), "x1", [pa.array(boxes, pa.float32())]), record
    )
    with pytest.raises(UserError, match="trained with other settings or on other features"):
        run_step("score", config, print)


def test_workers_that_can_never_be_placed_are_refused(run):
    with pytest.raises(UserError, match=r"train.use_gpu: training needs 1 GPUs, the cluster has 0"):
        fit(run("gpu", train=SMALL | {"use_gpu": True}))
    with pytest.raises(UserError, match=r"train.workers: training needs 99 CPUs"):
        fit(run("many", train=SMALL | {"workers": 99}))


def test_a_data_set_that_changed_since_extraction_is_refused(run, data, tmp_path):
    config = run()
    root = tmp_path / "data"
    shutil.copytree(data, root)
    catalogue = RunFolder(config.output).path("catalogue.jsonl")
    text = Path(catalogue).read_text().replace(str(data), str(root)).replace('"split": "test"', '"split": "train"', 1)
    Path(catalogue).write_text(text)
    moved = make_config(root, Path(config.output))
    document = json.loads(Path(config.output, "run.json").read_text())
    document |= {"config_hash": moved.feature_hash(), "feature_keys": moved.flat_features()}
    Path(config.output, "run.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"1 videos are new, or have changed .* Run it again"):
        run_step("train", moved, print)


def test_steps_out_of_order_are_named(run, data, tmp_path):
    with pytest.raises(UserError, match="holds no features: run `raypipe extract` first"):
        run_step("train", make_config(data, tmp_path / "empty"), print)
    config = run()
    with pytest.raises(UserError, match="holds no trained 'rm' model: run `raypipe train` first"):
        run_step("score", config, print)
    fit(config.model_copy(update={"score": config.score.model_copy(update={"model": "knn"})}))
    config = config.model_copy(update={"score": config.score.model_copy(update={"model": "knn"})})
    with pytest.raises(UserError, match=r"has no scores .* run `raypipe score` first"):
        run_step("evaluate", config, print)


@pytest.mark.parametrize(("here", "note"), [("fp32", " (in fp32: the CPU has no bf16)"), ("bf16", "")])
def test_the_precision_that_was_taken_is_told_and_kept(run, monkeypatch, here, note):
    def taken(loop):
        return lambda settings: loop(settings | {"train": settings["train"] | {"precision": here}})

    monkeypatch.setattr("raypipe.anomaly_model.train.with_products_here", taken)
    config, said = run(train=SMALL | {"epochs": 1, "precision": "bf16"}), []
    run_step("train", config, said.append)
    (line,) = (line for line in said if line.startswith("model: rm, 120 objects in "))
    assert line.partition(" s")[2].partition(", loss")[0] == note
    assert read_model(RunFolder(config.output), "rm").precision == here
