"""Runs whose data and output lie in an object store that fails some of its requests: nothing is lost or doubled."""

import io
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml

from raypipe.extraction.extract import extract
from tests.helpers.blip2_checkpoints import figure
from tests.helpers.object_store import BUCKET, FAULTS, object_store
from tests.helpers.small_data import make_config, write_data

SETTINGS = {"ray": {"num_cpus": 2}, "train": {"epochs": 1}}


def run(step, document, folder, environment):
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "raypipe", step, "--config", str(config)]
    return subprocess.run(command, env=os.environ | environment, timeout=400, capture_output=True, text=True)


def local_features(output):
    base = output / "features"
    return {str(path.relative_to(base)): pq.read_table(path) for path in sorted(base.rglob("*.parquet"))}


def stored_features(client):
    base = f"{BUCKET}/run/features/"
    return {path.removeprefix(base): pq.read_table(io.BytesIO(client.cat_file(path))) for path in client.find(base)}


@pytest.mark.slow
def test_a_store_that_fails_one_request_in_twenty_loses_and_doubles_nothing(cluster, tmp_path):
    root = write_data(tmp_path / "data", {f"train/{name}": 120 for name in "abcdef"} | {"test/a": 60})
    config = make_config(root, tmp_path / "local", **SETTINGS)
    assert extract(config).dead == []
    document = config.model_dump(mode="json")
    expected = local_features(tmp_path / "local")
    with object_store() as (environment, client, faults):
        client.put(str(root), f"{BUCKET}/data", recursive=True)
        document["output"] = f"s3://{BUCKET}/run"
        document["dataset"]["root"] = f"s3://{BUCKET}/data"
        document["detector"]["boxes_root"] = f"s3://{BUCKET}/data/boxes"
        faults.share = 0.05
        done = run("run", document, tmp_path, environment)
        assert done.returncode == 0, done.stderr
        assert "micro-AUC" in done.stdout
        assert f"results: s3://{BUCKET}/run/results.json" in done.stdout
        injected = sum(faults.counts[fault] for fault in FAULTS)
        figure(f"{injected} of {faults.counts.total()} requests failed: {dict(faults.counts)}")
        assert injected >= 10
        faults.share = 0.0
        found = stored_features(client)
        assert not client.exists(f"{BUCKET}/run/dead")
        assert not client.exists(f"{BUCKET}/run/attempts")
    assert list(found) == list(expected)
    for name, table in found.items():
        assert table.equals(expected[name]), name


@pytest.mark.slow
def test_a_store_that_answers_too_late_is_asked_again():
    """Half of the answers come after the client has given up waiting, of reads and of commits."""
    code = (
        "from raypipe.run_folder.folder import RunFolder\n"
        f"folder = RunFolder('s3://{BUCKET}/run')\n"
        "for number in range(6):\n"
        "    folder.commit(folder.feature_path('a', number), b'x' * number)\n"
        "found = [folder.filesystem.cat_file(folder.feature_path('a', number)) for number in range(6)]\n"
        "assert found == [b'x' * number for number in range(6)]\n"
        "assert folder.committed() == {'a': set(range(6))}"
    )
    with object_store(seed=1) as (environment, client, faults):
        faults.kinds, faults.share = ("stalled",), 0.5
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)
        faults.share = 0.0
        assert done.returncode == 0, done.stderr
        assert faults.counts["stalled"] >= 4
        assert len(client.find(f"{BUCKET}/run")) == 6


def mistaken(tmp_path, step, output):
    """Return what a run says whose output is where nothing can be."""
    root = write_data(tmp_path / "data", {"train/a": 2, "test/a": 2})
    document = make_config(root, tmp_path / "local", **SETTINGS).model_dump(mode="json") | {"output": output}
    return lambda environment: run(step, document, tmp_path, environment)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["extract", "score"])
def test_a_store_that_is_gone_is_told_in_one_line(tmp_path, step):
    with object_store() as (environment, _, _):
        pass
    done = mistaken(tmp_path, step, f"s3://{BUCKET}/run")(environment)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert f"s3://{BUCKET}/run" in done.stderr
    assert "Could not connect to the endpoint" in done.stderr


def test_a_bucket_that_is_not_there_is_told_in_one_line(tmp_path):
    with object_store() as (environment, _, _):
        done = mistaken(tmp_path, "extract", "s3://buckte/run")(environment)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "output: s3://buckte/run cannot be written to (The specified bucket does not exist)" in done.stderr
