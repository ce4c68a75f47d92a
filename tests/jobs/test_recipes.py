"""Every recipe in jobs/ is a valid config, and those of public data sets have the paper's settings."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from raypipe.config.run import load_config
from raypipe.datasets.specs import DATASET_NAMES, SPECS
from raypipe.demo import Demo, demo_config
from raypipe.pretraining.state_machine_config import load_smm_config

JOBS = Path(__file__).parents[2] / "jobs"
PUBLIC = [name for name in DATASET_NAMES if name != "folder"]
# Table 4.
WINDOWS = {"shanghaitech": 224, "avenue": 320, "ubnormal": 320, "ped2": 60, "nwpu_campus": 224}


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_loads(path):
    # What trains or labels other models than a run's has a config of its own.
    if "dataset" not in path.read_text() or "variations:" in path.read_text():
        pytest.skip("not a run")
    assert load_config(path).output


def test_the_demos_ablation_is_table_3_over_the_demos_own_clips():
    document = yaml.safe_load((JOBS / "demo_ablation.yaml").read_text())
    demo = demo_config(Path("runs/demo/data"), Path("runs/demo/ablation"), 0, Demo().models)
    assert document["base"] == demo
    table = yaml.safe_load((JOBS / "ablations" / "table3.yaml").read_text())
    assert document["set"] == table["set"]
    for ours, papers in zip(document["variations"], table["variations"], strict=True):
        assert (ours["name"], ours["title"]) == (papers["name"], papers["title"])
        keys = {key: value for key, value in papers.get("set", {}).items() if key != "weights.smm"}
        assert {key: value for key, value in ours.get("set", {}).items() if key != "weights.smm"} == keys
        assert ("needs" in ours) == ("needs" in papers)


@pytest.mark.parametrize(("setting", "count"), [("setting-9", 1), ("setting-10", 5)])
def test_the_demos_ablation_says_what_makes_its_state_machines(setting, count):
    document = yaml.safe_load((JOBS / "demo_ablation.yaml").read_text())
    row = next(row for row in document["variations"] if row["name"] == setting)
    words = row["needs"].split()
    overrides = [after for word, after in pairwise(words) if word == "--set"]
    assert words[:3] == ["raypipe", "pretrain", "smm"]
    assert f"model.num_machines={count}" in overrides
    assert f"output={Path(row['set']['weights.smm']).parent}" in overrides
    # Of the very tokens that the run makes.
    assert f"model.blip2={document['base']['weights']['blip2']}" in overrides


@pytest.mark.parametrize("name", PUBLIC)
def test_recipes_of_public_data_sets(name):
    config = load_config(JOBS / f"{name}.yaml")
    assert (config.dataset.name, config.features.columns) == (name, ("cross", "motion"))
    assert config.detector.kind == "yolo"
    assert config.needs_sentences
    assert config.sentence.memory == "replace"
    assert (config.encode_resolved().box_expansion, config.score.weighting) == (None, "balanced")
    assert Path(config.output).name == Path(config.dataset.root).name == name


@pytest.mark.parametrize("name", PUBLIC)
def test_the_overrides_that_a_recipe_names_are_valid(name):
    path = JOBS / f"{name}.yaml"
    overrides = re.findall(r"--set (\S+)", path.read_text())
    assert len(overrides) == 3
    config = load_config(path, overrides)
    assert config.detector.kind == "sliding_window"
    assert config.detector.window_pixels == WINDOWS.get(name, 224)
    assert config.encode_resolved().box_expansion == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_the_counts_in_a_recipe_are_the_official_ones(name):
    said = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", (JOBS / f"{name}.yaml").read_text())}
    videos = SPECS[name].videos
    train = videos["train"] + videos.get("train_abnormal", 0)
    assert {train, videos["train"], videos["test"]} <= said


@pytest.mark.parametrize("name", [*PUBLIC, "full"])
def test_the_state_machine_is_looked_for_where_its_recipe_writes_it(name):
    trained = Path(load_smm_config(JOBS / "train_smm.yaml").output) / "smm"
    assert Path(str(load_config(JOBS / f"{name}.yaml").weights.smm)) == trained


@pytest.mark.parametrize("name", PUBLIC)
def test_recipes_say_where_they_are_not_the_papers(name):
    text = (JOBS / f"{name}.yaml").read_text()
    assert "# Ours: " in text.split("  weighting: balanced")[0].splitlines()[-1]
    # Table 1 is that of the vision-language model; Table 2, of two data sets, names no detector.
    said = text.split("  kind: yolo")[0].splitlines()[-1]
    assert ("Table 2" if name in ("ucf_crime", "xd_violence") else "vision-language model") in said
