"""What a run can lose, really lost: what is left is what a run that nothing disturbed has, and says what is missing."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from jobs.benchmarks import bench_poison
from jobs.benchmarks.bench_poison import KINDS
from jobs.benchmarks.bench_poison import main as many_videos
from jobs.benchmarks.extra_steps import FullDiskOn, FullGpuOn, HangingDecode
from raypipe import pipeline
from raypipe.errors import UserError
from raypipe.extraction.extract import extract
from tests.helpers.small_data import contents, make_config, write_data

LENGTHS = {"train/a": 150, "train/b": 40, "test/a": 260}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), LENGTHS)


@pytest.fixture(scope="module")
def undisturbed(cluster, data, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed")
    extract(make_config(data, output, ray={"actors": 1}))
    return contents(output)


@pytest.mark.slow
def test_hangs_and_a_full_gpu_cost_their_segments_and_nothing_else(undisturbed, data, tmp_path, monkeypatch):
    """One segment hangs once, one always; one finds no memory for a single object."""
    once, always, output = tmp_path / "once", tmp_path / "always", tmp_path / "run"
    once.mkdir()
    always.mkdir()
    original = pipeline.stages_of

    class TwoHangs(HangingDecode):
        def __init__(self, config):
            super().__init__(config, str(once), [("train/a", 0)], 1)
            self.always = HangingDecode(config, str(always), [("test/a", 1)], 99)

        def __call__(self, row):
            return (self.always if row["video_id"] == "test/a" else super()).__call__(row)

    def stages_of(config, folder):
        decode, *others = original(config, folder)
        return [replace(decode, make=TwoHangs), pipeline.Stage("gpu", FullGpuOn, ([("train/b", 0)],)), *others]

    monkeypatch.setattr(pipeline, "stages_of", stages_of)
    result = extract(make_config(data, output, decode={"timeout_seconds": 8.0}, ray={"actors": 2}))
    assert (len(list(once.iterdir())), len(list(always.iterdir()))) == (1, 3)
    dead = {(letter.video_id, letter.segment_index): letter for letter in result.dead}
    assert set(dead) == {("test/a", 1), ("train/b", 0)}
    hung = dead["test/a", 1]
    assert (hung.error_type, hung.attempts) == ("hung", 3)
    assert hung.message == (
        "hung: no packet or picture could be read or decoded for 8 s (decode.timeout_seconds), and its process was "
        "ended; 3 attempts"
    )
    full = dead["train/b", 0]
    assert (full.error_type, full.stage) == ("GpuMemoryError", "gpu")
    assert "at a batch of one of crops (CUDA out of memory)" in full.message
    others = {name: content for name, content in undisturbed.items() if name not in _names(dead)}
    assert contents(output) == others
    # Without the faults they are done when asked for.
    monkeypatch.setattr(pipeline, "stages_of", original)
    assert extract(make_config(data, output, ray={"actors": 2}), retry_dead=True).dead == []
    assert contents(output) == undisturbed


def _names(places):
    return {f"{video_id}/{index:05d}.parquet" for video_id, index in places}


def test_a_full_disk_ends_the_run_in_the_users_words_and_costs_nothing(undisturbed, data, tmp_path, monkeypatch):
    original = pipeline.stages_of

    def stages_of(config, folder):
        *others, last = original(config, folder)
        return [*others, pipeline.Stage("full", FullDiskOn, (("test/a", 1),)), last]

    monkeypatch.setattr(pipeline, "stages_of", stages_of)
    config = make_config(data, tmp_path / "run", ray={"actors": 1})
    with pytest.raises(UserError, match=r"/run: no space is left on its disk \(No space left .*make room and start"):
        extract(config)
    assert not (tmp_path / "run" / "dead").exists()
    assert contents(tmp_path / "run").items() <= undisturbed.items()
    monkeypatch.setattr(pipeline, "stages_of", original)
    extract(config)
    assert contents(tmp_path / "run") == undisturbed


def start(step, document, folder, **environment):
    path = folder / f"{step}.yaml"
    path.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "raypipe", step, "--config", str(path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=os.environ | environment, text=True, **pipes)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 100 MiB, which only root can make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(folder)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle(undisturbed, data, tmp_path, small_disk):
    output = small_disk / "run"
    document = make_config(data, output, ray={"num_cpus": 1}).model_dump(mode="json")
    driver = start("extract", document, tmp_path)
    while driver.poll() is None and not (output / "catalogue.jsonl").exists():
        time.sleep(0.02)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 2**16)
                file.flush()
        except OSError:
            file.truncate(file.tell() // 4096 * 4096)
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 2, said
    assert f"raypipe: {output}: no space is left on its disk" in said
    assert contents(output).items() <= undisturbed.items()
    ballast.unlink()
    again = start("extract", document, tmp_path)
    assert again.communicate(timeout=300)[1].count("Traceback") == 0
    assert again.returncode == 0
    assert contents(output) == undisturbed


@pytest.mark.slow
def test_an_object_store_that_is_too_small_costs_time_alone(cluster, tmp_path):
    """Rows of 25 MB, a copy of each for every pool that it passes, in an object store of 75."""
    root = write_data(tmp_path / "data", {f"train/{name}": 2700 for name in "abc"})
    changes = {"segment_bytes": 26 * 2**20}
    extract(make_config(root, tmp_path / "undisturbed", **changes))
    small = {"num_cpus": 2, "object_store_bytes": 78643200}
    document = make_config(root, tmp_path / "run", layout="staged", ray=small, **changes).model_dump(mode="json")
    driver = start("extract", document, tmp_path)
    _, said = driver.communicate(timeout=600)
    assert driver.returncode == 0, said
    assert contents(tmp_path / "run") == contents(tmp_path / "undisturbed")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_an_mlflow_server_that_dies_costs_the_record_and_not_the_run(undisturbed, data, tmp_path):
    port = _free_port()
    uri = f"http://127.0.0.1:{port}"
    store = f"sqlite:///{tmp_path}/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([*command, "--port", str(port), "--workers", "1"], start_new_session=True, **quiet)
    try:
        give_up = time.monotonic() + 180
        while time.monotonic() < give_up:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.2)
        output = tmp_path / "run"
        document = make_config(data, output, ray={"num_cpus": 2}, tracking={"uri": uri}).model_dump(mode="json")
        # One more try is enough of MLflow's patience here.
        driver = start("extract", document, tmp_path, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
        while driver.poll() is None and not (output / "catalogue.jsonl").exists():
            time.sleep(0.02)
    finally:
        os.killpg(server.pid, 9)
        server.wait()
    told, said = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert said.count("MLflow does not answer any more") == 1
    assert "MLflow: the record of this run is not complete" in told
    assert contents(output) == undisturbed


@pytest.mark.slow
def test_of_many_videos_the_good_are_complete_and_the_bad_say_why(tmp_path, capsys, cluster, monkeypatch):
    """One of every kind of poison in three videos each; the 1,000 of jobs/benchmarks/bench_poison.py are the same."""
    monkeypatch.setattr(bench_poison, "POISON_EVERY", 3)
    count = 3 * len(KINDS)
    done = many_videos(["--videos", str(count), "--json", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["faults"] == []
    assert figures["counts"] == {"good": count - len(KINDS), **dict.fromkeys(KINDS, 1)}
    assert (done, figures["exit_code"]) == (0, 3)
    assert re.search(rf"{count} videos in .* exit code 3, 0 not as they must be", capsys.readouterr().out)


@pytest.mark.slow
def test_a_part_of_the_kill_matrix_is_equal(tmp_path):
    """In a process of its own: its cluster is another."""
    command = [
        sys.executable,
        "-m",
        "jobs.benchmarks.bench_faults",
        "--repetitions",
        "1",
        "--only",
        "worker,node,driver",
    ]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "rows.json")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows == {name: {"equal": 1, "tried": 1, "faults": []} for name in ("worker", "node", "driver")}
