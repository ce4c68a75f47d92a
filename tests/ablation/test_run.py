"""Ablations on the session's cluster: what is shared, what is resumed, and what a failure costs."""

import json
from pathlib import Path

import pytest
import yaml

import tests.helpers.faults
from raypipe.ablation import run as module
from raypipe.ablation.run import ablate
from raypipe.errors import UserError
from raypipe.run_folder.folder import DeadLetter, RunFolder
from tests.helpers.small_data import make_config, write_data
from tests.helpers.spatial_weights import write_weights

VARIATIONS = [
    {"name": "knn", "title": "nearest neighbours", "set": {"score.model": "knn"}, "published": {"ped2": 94.5}},
    {"name": "gmm", "set": {"score.model": "gmm", "score.gmm.num_components": 2}},
    {"name": "rm", "set": {"train.epochs": 2, "train.hidden_size": 16}},
    {"name": "mean", "set": {"score.model": "knn", "motion.pooling": "mean_per_bin"}},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), {"train/a": 60, "train/b": 40, "test/a": 60, "test/b": 30})


def write(tmp_path, data, variations=VARIATIONS, **changes):
    base = make_config(data, tmp_path / "out", **changes).model_dump(mode="json", exclude={"variation"})
    path = tmp_path / "ablation.yaml"
    path.write_text(yaml.safe_dump({"base": base, "published_as": "ped2", "variations": variations}))
    return str(path)


@pytest.fixture
def steps(monkeypatch):
    """The names of the steps that are done, in order, with the variation."""
    made = []
    for name in ("extract_step", "train_step", "score_step", "evaluate_step"):
        step = getattr(module, name)

        def counted(config, experiment, step=step, name=name):
            made.append((name.removesuffix("_step"), config.variation))
            return step(config, experiment)

        monkeypatch.setattr(module, name, counted)
    return made


def run(path, **options):
    said = []
    code = ablate(path, [], said.append, **options)
    return code, "\n".join(said)


def outcomes(tmp_path):
    document = json.loads((tmp_path / "out" / "ablation.json").read_text())
    return {row["name"]: row for row in document["variations"]}


def stamps(tmp_path):
    files = sorted((tmp_path / "out").glob("features-*/features/**/*.parquet"))
    return {str(path): path.stat().st_mtime_ns for path in files}


@pytest.mark.slow
def test_features_are_extracted_once_and_what_is_done_stays_done(cluster, tmp_path, data, steps):
    path = write(tmp_path, data)
    code, said = run(path)
    assert code == 0
    # Two extractions for four variations: another pooling is another feature.
    assert [name for name, _ in steps].count("extract") == 2
    folders = [folder.name for folder in (tmp_path / "out").glob("features-*")]
    assert len(folders) == 2
    assert said.count("190 frames in") == 2
    first = outcomes(tmp_path)
    assert {name: row["status"] for name, row in first.items()} == dict.fromkeys(["knn", "gmm", "rm", "mean"], "done")
    assert all(0 <= row["metrics"]["micro_auc"]["value"] <= 1 for row in first.values())
    assert first["knn"]["published"] == 0.945
    # Each has a folder of its own, beside those it shares features with.
    for row in first.values():
        found = {item.name for item in Path(row["folder"]).iterdir()}
        assert {"models", "scores", "results.json", "results.parquet", "results.md"} <= found
    assert Path(first["knn"]["folder"]).parent == Path(first["rm"]["folder"]).parent
    assert not (Path(first["knn"]["folder"]).parents[1] / "models").exists()
    table = (tmp_path / "out" / "ablation.md").read_text()
    assert "| knn | nearest neighbours | " in table
    assert " | 0.945 | done |" in table
    assert table.splitlines()[2] in said

    # Started again, nothing is done; one that lost its result, and one whose settings changed, are.
    before = stamps(tmp_path)
    steps.clear()
    (Path(first["gmm"]["folder"]) / "variation.json").unlink()
    changed = [
        row | {"set": row["set"] | {"score.smoothing_seconds": 2.0}} if row["name"] == "mean" else row
        for row in VARIATIONS
    ]
    code, said = run(write(tmp_path, data, changed))
    assert code == 0
    assert [step for step in steps if step[0] == "train"] == [("train", "gmm"), ("train", "mean")]
    assert {name: row["status"] for name, row in outcomes(tmp_path).items()} == {
        "knn": "done before",
        "gmm": "done",
        "rm": "done before",
        "mean": "done",
    }
    assert stamps(tmp_path) == before
    # The model was there; only what depends on smoothing was made anew.
    assert said.count("trained before on") == 2
    again = outcomes(tmp_path)
    for name in ("knn", "gmm", "rm"):
        assert again[name]["metrics"] == first[name]["metrics"]

    # Dead letters are told by the exit code, as by the other commands; one of a segment that is done is taken back.
    folder = RunFolder(str(Path(first["knn"]["folder"]).parents[1]))
    letter = DeadLetter("test/b", 0, "detect", "AnnotationError", "as if")
    folder.commit_dead(letter)
    assert run(write(tmp_path, data, changed), only=["knn"])[0] == 0
    folder.remove(folder.feature_path("test/b", 0))
    folder.commit_dead(letter)
    assert run(write(tmp_path, data, changed), only=["knn"])[0] == 3
    assert folder.read_dead() == [letter]


@pytest.mark.slow
def test_spatial_features_are_shared_by_the_rows_of_table_3(cluster, tmp_path, data, steps, tmp_path_factory):
    rows = [
        {"name": "setting-2", "set": {"features.spatial": "image", "features.motion": False}},
        {"name": "setting-6", "set": {}},
        {"name": "setting-7", "set": {"sentence.memory": "off"}},
        {"name": "setting-8", "set": {"features.spatial": "none"}},
    ]
    changes = {
        "weights": write_weights(tmp_path_factory.mktemp("weights") / "tiny"),
        "features": {"spatial": "cross"},
        "sentence": {"max_length": 12, "min_length": 4, "num_beams": 2},
        "score": {"model": "knn"},
    }
    code, said = run(write(tmp_path, data, rows, **changes))
    assert code == 0, said
    assert [name for name, _ in steps].count("extract") == 2
    assert "setting-2, setting-6, setting-8: features motion, image, cross" in said
    assert "setting-7: features motion, cross" in said
    cards = {
        name: json.loads((Path(row["folder"]) / "models" / "knn" / "model.json").read_text())
        for name, row in outcomes(tmp_path).items()
    }
    assert {name: card["columns"] for name, card in cards.items()} == {
        "setting-2": ["image"],
        "setting-6": ["cross", "motion"],
        "setting-7": ["cross", "motion"],
        "setting-8": ["motion"],
    }
    # What motion alone finds does not depend on what else was extracted with it.
    alone = tmp_path / "alone"
    alone.mkdir()
    assert run(write(alone, data, [rows[3]], **changes))[0] == 0
    assert outcomes(alone)["setting-8"]["metrics"] == outcomes(tmp_path)["setting-8"]["metrics"]


def test_a_variation_that_fails_costs_only_itself(cluster, tmp_path, data, steps):
    broken = {"name": "broken", "set": {"score.model": "gmm", "score.gmm.num_components": 100_000}}
    code, said = run(write(tmp_path, data, [broken, VARIATIONS[0]]))
    assert code == 1
    found = outcomes(tmp_path)
    assert {name: row["status"] for name, row in found.items()} == {"broken": "failed", "knn": "done"}
    assert "100000 components need" in found["broken"]["reason"]
    assert "failed: score.gmm: 100000 components need" in said
    assert "| broken |  | - | - | - | - | failed: score.gmm: 100000 components" in said


def test_an_extraction_that_fails_is_the_reason_of_its_variations(cluster, tmp_path, data, monkeypatch):
    extract = module.extract_step

    def fail(config, experiment):
        if config.motion.pooling == "area":
            raise OSError("the disk is full\nand more")
        return extract(config, experiment)

    monkeypatch.setattr(module, "extract_step", fail)
    code, _ = run(write(tmp_path, data, [VARIATIONS[0], VARIATIONS[3]]))
    found = outcomes(tmp_path)
    assert code == 1
    assert found["knn"]["reason"] == "extraction: OSError: the disk is full"
    assert found["mean"]["status"] == "done"


@pytest.mark.parametrize(
    "bug",
    [KeyError("absent"), ValueError("shapes do not fit"), RuntimeError("sizes of tensors must match")],
    ids=["key", "value", "runtime"],
)
def test_a_bug_ends_the_ablation(cluster, tmp_path, data, monkeypatch, bug):
    def fail(config, experiment):
        raise bug

    monkeypatch.setattr(module, "extract_step", fail)
    with pytest.raises(type(bug)):
        run(write(tmp_path, data))


def test_a_bug_in_a_task_ends_the_ablation(cluster, tmp_path, data, monkeypatch):
    monkeypatch.setattr("raypipe.anomaly_model.score.score_video", tests.helpers.faults.score_with_a_bug)
    with pytest.raises(ZeroDivisionError):
        run(write(tmp_path, data, VARIATIONS[:1]))


def test_a_mistake_that_a_task_finds_is_the_reason_in_one_line(cluster, tmp_path, data, steps):
    """The second variation's model is damaged between its training and its scores."""
    path = write(tmp_path, data, VARIATIONS[:2])
    assert run(path)[0] == 0
    folder = Path(outcomes(tmp_path)["gmm"]["folder"])
    (folder / "variation.json").unlink()
    (folder / "scores" / "test" / "a.parquet").unlink()
    (folder / "models" / "gmm" / "motion" / "density.safetensors").write_bytes(b"?")
    code, said = run(path)
    found = outcomes(tmp_path)
    assert (code, found["knn"]["status"], found["gmm"]["status"]) == (1, "done before", "failed")
    assert "density.safetensors" in found["gmm"]["reason"]
    assert not any(word in found["gmm"]["reason"] for word in ("pid=", "Traceback", "UserError"))
    assert f"failed: {found['gmm']['reason']}" in said.splitlines()


def test_only_some_and_their_record_in_mlflow(cluster, tmp_path, data):
    from mlflow.tracking import MlflowClient

    path = write(tmp_path, data, tracking={"enabled": True})
    code, said = run(path, only=["knn", "gmm"])
    assert code == 0
    assert said.count("190 frames in") == 1
    assert list(outcomes(tmp_path)) == ["knn", "gmm"]
    client = MlflowClient(f"sqlite:///{tmp_path}/out/mlflow.db")
    (experiment,) = [found for found in client.search_experiments() if found.name == "raypipe"]
    runs = {found.info.run_name: found for found in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"ablate", "extract for knn, gmm", "knn", "gmm"}
    parents = {name: found.data.tags.get("mlflow.parentRunId") for name, found in runs.items()}
    assert parents.pop("ablate") is None
    assert set(parents.values()) == {runs["ablate"].info.run_id}
    assert "micro_auc" in runs["knn"].data.metrics
    assert runs["knn"].data.params["score.model"] == "knn"


def test_mistakes_are_told_before_anything_is_made(tmp_path, data):
    path = write(tmp_path, data, dataset={"root": str(tmp_path / "none")})
    with pytest.raises(UserError, match="is not a folder"):
        run(path)
    assert not (tmp_path / "out").exists()
