"""Runs with the spatial features, on random weights: what they are does not depend on how the work is laid out."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import ndimage

from raypipe.cli.main import main
from raypipe.extraction.extract import extract
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import read_features
from raypipe.schema import FEATURE
from tests.helpers.blip2_checkpoints import figure
from tests.helpers.small_data import contents, make_config, write_data
from tests.helpers.spatial_weights import write_weights

SENTENCE = {"max_length": 12, "min_length": 4, "num_beams": 2}
ALL = ["motion", "backbone", "image", "text", "cross"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), {"train/0": 120, "train/1": 20, "test/0": 60})


def spatial_config(root, output, weights, **changes):
    values = {"weights": weights, "features": {"spatial": "cross", "keep": ALL}, "sentence": SENTENCE}
    return make_config(root, output, **(values | changes))


@pytest.mark.slow
def test_layout_and_actors_change_nothing(cluster, tmp_path, data, weights):
    found = {}
    for name, changes in {
        "fused": {"layout": "fused", "ray": {"actors": 1}},
        "two": {"layout": "fused", "ray": {"actors": 2}},
        "staged": {"layout": "staged", "ray": {"actors": 1}},
    }.items():
        result = extract(spatial_config(data, tmp_path / name, weights, **changes))
        assert not result.dead
        assert {"encode", "caption", "attend"} <= set(result.seconds)
        found[name] = contents(tmp_path / name)
    # The longest video is cut in two.
    assert len(found["fused"]) == 4
    assert found["fused"] == found["two"] == found["staged"]

    tables = [pq.read_table(path) for path in sorted((tmp_path / "fused" / "features").rglob("*.parquet"))]
    assert set(FEATURE.names) <= set(tables[0].column_names)
    rows = {name: [value for table in tables for value in table[name].to_pylist()] for name in tables[0].column_names}
    assert not any(None in values for values in rows.values())
    assert {len(rows[name][0]) for name in ("image", "text", "cross")} == {48}
    assert (len(rows["backbone"][0]), len(rows["motion"][0])) == (64, 8)
    assert any(rows["caption"])


@pytest.mark.slow
def test_a_spatial_run_trains_and_scores(cluster, tmp_path, data, weights, capsys):
    config = tmp_path / "config.yaml"
    changes = {"train": {"epochs": 2}, "ray": {"num_cpus": 2}, "warmup_frames": 8}
    document = spatial_config(data, tmp_path / "run", weights, **changes).model_dump(mode="json")
    config.write_text(yaml.safe_dump(document))
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "raypipe", "run", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert "micro-AUC" in done.stdout
    assert "; 0 frames in" not in done.stdout
    # Other models on the features that are there; in this process, whose cluster is up already.
    for setting in ("features.spatial=image", "score.model=knn"):
        assert main(["run", "--config", str(config), "--set", setting]) == 0
        said = capsys.readouterr().out
        assert "micro-AUC" in said
        assert "; 0 frames in" in said
    results = yaml.safe_load((tmp_path / "run" / "results.json").read_text())
    stages = {name: row["share"] for name, row in results["timings"].items() if "share" in row}
    assert set(stages) == {"decode", "motion", "detect", "pool", "encode", "caption", "attend", "commit"}
    assert sum(stages.values()) == pytest.approx(1)


def moving_boxes(path, stride):
    """Boxes of what differs from the scene's median, in MOT text: blobs of people who walk near and far."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray8") for frame in container.decode(video=0)]
    median = np.median(np.stack(frames[:: len(frames) // 40]), axis=0)
    lines = []
    for number in range(0, len(frames), stride):
        changed = ndimage.binary_opening(np.abs(frames[number] - median) > 30, iterations=2)
        labels, _ = ndimage.label(ndimage.binary_dilation(changed, iterations=6))
        for rows, columns in ndimage.find_objects(labels):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            if height >= 24 and width >= 12:
                lines.append(f"{number + 1},-1,{columns.start},{rows.start},{width},{height},0.9,-1,-1,-1")
    return "\n".join(lines) + "\n"


@pytest.mark.slow
def test_the_full_recipe_runs_on_real_clips(shared, tmp_path, weights):
    """jobs/full.yaml as it is shipped, with tiny random weights, on clips of Ped2 and the street of vtest.avi."""
    clips, root = shared / "data", tmp_path / "data"
    boxes = root / "boxes"
    for folder in (root / "train", root / "test", boxes / "train", boxes / "test"):
        folder.mkdir(parents=True)
    for name in ("train/01", "train/02", "test/01"):
        (root / f"{name}.mp4").symlink_to(clips / "ped2" / f"{name}.mp4")
        (boxes / f"{name}.txt").symlink_to(clips / "ped2" / "boxes" / f"{name}.txt")
    (root / "test" / "vtest.avi").symlink_to(clips / "vtest.avi")
    (boxes / "test" / "vtest.txt").write_text(moving_boxes(clips / "vtest.avi", 1))
    (root / "labels.csv").write_text("video,start_frame,end_frame\ntest/01,60,180\n")
    recipe = Path(__file__).parents[2] / "jobs" / "full.yaml"
    settings = {"weights.blip2": weights["blip2"], "weights.smm": weights["smm"], "decode.stride": 4, "train.epochs": 1}
    settings |= {"sentence.max_length": 12, "sentence.min_length": 4}
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "raypipe", "run", "--config", str(recipe), *overrides]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = str(recipe.parents[1])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    assert "time: decode " in done.stdout
    output = tmp_path / "runs" / "full"
    tables = [pq.read_table(path) for path in sorted((output / "features").rglob("*.parquet"))]
    assert sum(table.num_rows for table in tables) > 1000
    for table in tables:
        assert set(FEATURE.names) | {"cross"} <= set(table.column_names)
        assert not any(table[name].null_count for name in table.column_names)
    results = json.loads((output / "results.json").read_text())
    assert sum(row.get("share", 0) for row in results["timings"].values()) == pytest.approx(1)
    assert results["counts"]["dead"] == 0


@pytest.mark.slow
def test_segments_of_an_eighth_tell_the_same_sentences(cluster, tmp_path, shared, weights):
    root = tmp_path / "data"
    (root / "train").mkdir(parents=True)
    (root / "test").mkdir()
    (root / "boxes" / "test").mkdir(parents=True)
    (root / "test" / "vtest.avi").symlink_to(shared / "data" / "vtest.avi")
    (root / "boxes" / "test" / "vtest.txt").write_text(moving_boxes(shared / "data" / "vtest.avi", 1))
    # Frames of half the size in a quarter of the recipe's bytes: as many a segment, and quicker. Motion says nothing.
    decode, features = {"max_side": 384}, {"spatial": "cross", "motion": False}
    recipe = {"warmup_frames": 32, "decode": decode, "features": features}
    tables = []
    for name, segment_bytes in (("whole", 2**26), ("eighth", 2**23)):
        began = time.monotonic()
        config = spatial_config(root, tmp_path / name, weights, **(recipe | {"segment_bytes": segment_bytes}))
        result = extract(config)
        assert not result.dead
        folder = RunFolder(str(tmp_path / name))
        features = read_features(folder, "test/vtest", folder.committed()["test/vtest"], config.feature_hash())
        assert not features.missing
        tables.append(features.table)
        figure(
            f"{name}: {len(features.records)} segments, {features.table.num_rows} objects, "
            f"{time.monotonic() - began:.0f} s, stages {dict(result.seconds)}"
        )
    whole, eighth = tables
    for column in ("frame_index", "x1", "caption"):
        assert whole[column].equals(eighth[column]), column
    same = np.array([a == b for a, b in zip(*(t["sentence"].to_pylist() for t in tables), strict=True)])
    carried = np.array(whole["sentence_is_carried"].to_pylist())
    ids = [table["track_id"].to_numpy() for table in tables]
    pairs = {(a, b) for a, b in zip(*ids, strict=True)}
    figure(
        f"sentences the same: {same.mean():.4%} of {len(same)}, {carried.mean():.1%} carried, "
        f"{len(set(whole['sentence'].to_pylist()))} distinct; tracks {len(set(ids[0]))} and {len(set(ids[1]))}"
    )
    assert carried.mean() > 0.2
    assert same.mean() >= 0.99
    assert len(pairs) == len(set(ids[0])) == len(set(ids[1]))
