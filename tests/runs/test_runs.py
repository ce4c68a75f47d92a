"""Whole runs through the command line, as a user starts them."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from raypipe.extraction.extract import extract
from raypipe.run_folder.folder import RunFolder
from tests.helpers.small_data import contents, make_config, write_data


def write_config(path, root, output, **changes):
    config = make_config(root, output, **changes).model_dump(mode="json")
    path.write_text(yaml.safe_dump(config))
    return str(path)


def command(*arguments):
    return [sys.executable, "-m", "raypipe", *arguments]


@pytest.mark.slow
def test_a_driver_that_is_killed_three_times_loses_and_doubles_nothing(cluster, tmp_path):
    lengths = {f"train/{number}": 400 for number in range(6)}
    root = write_data(tmp_path / "data", lengths)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert extract(make_config(root, undisturbed)).dead == []
    config = write_config(tmp_path / "killed.yaml", root, killed, ray={"num_cpus": 2})
    generator = random.Random(os.environ.get("RAYPIPE_KILL_SEED", "0"))
    for _ in range(3):
        before = len(contents(killed))
        driver = subprocess.Popen(command("extract", "--config", config))
        # Start-up differs from machine to machine, so the moment is counted from the first commit of this start.
        deadline = time.monotonic() + 120
        while len(contents(killed)) == before and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(generator.uniform(0, 0.6))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert len(contents(killed)) > 0
    assert subprocess.run(command("extract", "--config", config), timeout=300).returncode == 0
    assert contents(killed) == contents(undisturbed)
    assert RunFolder(str(killed)).read_dead() == []


@pytest.mark.slow
@pytest.mark.parametrize(("model", "least"), [("rm", 0.95), ("knn", 0.97)])
def test_real_surveillance_clips(shared, tmp_path_factory, model, least):
    """The recipe of UCSD Ped2: train 01-16, test 01-06, YOLOv3 boxes, motion alone."""
    output = tmp_path_factory.getbasetemp() / "ped2"
    root = shared / "data" / "ped2"
    recipe = str(Path(__file__).parents[2] / "jobs" / "ped2_motion.yaml")
    settings = {"dataset.root": root, "detector.boxes_root": root / "boxes", "output": output, "score.model": model}
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    subprocess.run(command("run", "--config", recipe, *overrides), check=True, timeout=600)
    results = json.loads((output / "results.json").read_text())
    assert results["metrics"]["micro_auc"]["value"] >= least
    assert results["counts"] | {"segments": 0, "objects": 0} == {
        "videos": 22,
        "segments": 0,
        "frames": 3570,
        "objects": 0,
        "dead": 0,
        "damaged": 0,
    }
    scores = pq.read_table(output / "scores" / "test" / "01.parquet")
    assert scores.num_rows == 180
    assert np.isfinite(scores["score"].to_numpy()).all()
