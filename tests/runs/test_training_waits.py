"""Training where its workers would take every CPU, and Ctrl-C while it trains; both as a user starts them."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.helpers.small_data import make_config, write_data

SMALL = {"hidden_size": 16, "batch_size": 64}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), {"train/a": 40, "test/a": 30})


def start(tmp_path, data, **changes):
    config = make_config(data, tmp_path / "run", **changes).model_dump(mode="json")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-m", "raypipe", "run", "--config", str(tmp_path / "c.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("num_cpus", "workers"), [(1, 1), (2, 2)])
def test_as_many_workers_as_cpus_train(tmp_path, data, num_cpus, workers):
    process = start(tmp_path, data, ray={"num_cpus": num_cpus}, train=SMALL | {"epochs": 1, "workers": workers})
    try:
        output, errors = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    # Two workers have an equal share each.
    assert "model: rm, 80 objects in " in output


@pytest.mark.slow
@pytest.mark.alone
def test_an_interrupted_training_says_so_and_goes_on(tmp_path, data):
    changes = {"ray": {"num_cpus": 2}, "train": SMALL | {"epochs": 100_000}}
    process = start(tmp_path, data, **changes)
    try:
        deadline = time.monotonic() + 180
        while not list((tmp_path / "run" / "training").glob("*.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=60)
        seconds = time.monotonic() - began
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "raypipe: interrupted; start it again to go on"
    assert "Traceback" not in errors
    assert seconds < 10, f"{seconds:.1f} s"
    # What was done is in the run folder, and the next start goes on there.
    assert list((tmp_path / "run" / "features").rglob("*.parquet"))
    assert list((tmp_path / "run" / "training").glob("*/checkpoint_*"))
