"""Two real drivers at work in one output folder at the same time, on the same segments by mistake."""

import json
import os
import subprocess
import sys
import time

import pytest
import yaml

from raypipe.extraction.extract import extract
from raypipe.extraction.status import status_of
from raypipe.monitoring.drivers import read_drivers
from raypipe.monitoring.timings import TIMINGS_NAME, read_timings
from raypipe.run_folder.folder import RunFolder
from tests.helpers.small_data import contents, make_config, write_boxes, write_data


@pytest.mark.slow
def test_two_drivers_of_the_same_segments_lose_and_double_nothing(cluster, tmp_path):
    root = write_data(tmp_path / "data", {f"train/{name}": 300 for name in "abc"} | {"test/a": 200})
    (root / "train" / "bad.mp4").write_bytes(b"this is no video")
    write_boxes(root, "train/bad", 1)
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "shared"
    expected = extract(make_config(root, undisturbed))
    config = make_config(root, output, ray={"num_cpus": 2, "object_store_bytes": 100 * 2**20})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    # Both retry what the other may be working on. RAY_ADDRESS is that of this process's cluster.
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    drivers = [
        subprocess.Popen(
            [sys.executable, "-m", "raypipe", "extract", "--retry-dead", "--config", str(path), *shard],
            env=environment,
        )
        for shard in (["--shard", "2/2"], [])
    ]
    folder, heard = RunFolder(str(output)), set()
    deadline = time.monotonic() + 300
    while any(driver.poll() is None for driver in drivers) and time.monotonic() < deadline:
        heard |= {driver.shard for driver in read_drivers(folder) if driver.is_heard(time.time())}
        time.sleep(0.2)
    assert heard == {"2/2", "1/1"}
    # Four segments a video, three of the shorter one, and last the video that cannot be read: the 16th, of 2/2, too.
    assert [driver.wait(timeout=10) for driver in drivers] == [3, 3]
    assert contents(output) == contents(undisturbed)
    assert folder.read_dead() == expected.dead
    told = read_drivers(folder)
    assert {driver.state for driver in told} == {"done"}
    assert sum(driver.progress["frames_done"] for driver in told) >= expected.num_frames == 1100
    assert folder.read_json(TIMINGS_NAME) == read_timings(folder)
    assert read_timings(folder)["decode"]["frames"] == sum(driver.progress["frames_done"] for driver in told)
    assert folder.read_json("run.json")["config_hash"] == config.feature_hash()
    assert len([json.loads(line) for line in (output / "catalogue.jsonl").read_text().splitlines()]) == 5
    assert not list((output / "tmp").iterdir())
    assert not (output / "attempts").exists() or not list((output / "attempts").iterdir())
    status = status_of(folder, config)
    assert (status.amounts.done, status.amounts.left.segments) == (status.amounts.total, 0)
