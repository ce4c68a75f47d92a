"""A mistake that only a Ray task can find reaches the user as its one line, with exit code 2."""

from pathlib import Path

import pytest
import yaml

from raypipe.cli.main import main
from raypipe.demo import Demo
from raypipe.extraction.extract import extract
from raypipe.world.folder import open_folder
from tests.helpers.small_data import make_config, write_data
from tests.helpers.spatial_weights import write_weights


@pytest.fixture(scope="module")
def data(cluster, tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), {"train/a": 60, "test/a": 60})


@pytest.fixture(scope="module")
def damaged_weights(tmp_path_factory):
    """Weights of which the files are there, but cannot be loaded."""
    weights = write_weights(tmp_path_factory.mktemp("weights") / "tiny")
    (Path(weights["blip2"]) / "model.safetensors").write_bytes(b"no weights")
    return weights


def write(tmp_path, config):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return str(path)


def told(capsys, arguments, expected_code=2):
    """Run a command and return its last line on stderr, which is all that a mistake may write."""
    capsys.readouterr()
    assert main(arguments) == expected_code
    errors = capsys.readouterr().err
    for word in ("Traceback", "pid=", "RayTaskError", "ray::"):
        assert word not in errors
    lines = [line for line in errors.splitlines() if line.startswith("raypipe: ")]
    assert len(lines) == 1, errors
    return lines[0]


def test_score(data, tmp_path, capsys):
    config = make_config(data, tmp_path / "run", score={"model": "knn"})
    path = write(tmp_path, config)
    extract(config)
    assert main(["train", "--config", path]) == 0
    model = tmp_path / "run" / "models" / "knn" / "motion" / "density.safetensors"
    model.write_bytes(b"no model")
    assert "density.safetensors" in told(capsys, ["score", "--config", path])


@pytest.mark.parametrize("command", ["plan", "extract", "run"])
def test_weights_that_cannot_be_loaded(data, damaged_weights, tmp_path, capsys, command):
    changes = {"weights": damaged_weights, "features": {"spatial": "image"}, "score": {"model": "knn"}}
    path = write(tmp_path, make_config(data, tmp_path / "run", **changes))
    assert "model.safetensors" in told(capsys, [command, "--config", path])
    assert not (tmp_path / "run" / "features").exists()


def test_ablate(data, damaged_weights, tmp_path, capsys):
    """A variation's mistake is its result, and the same line."""
    base = make_config(data, tmp_path / "out", weights=damaged_weights, score={"model": "knn"})
    document = {
        "base": base.model_dump(mode="json", exclude={"variation"}),
        "variations": [{"name": "spatial", "set": {"features.spatial": "image"}}],
    }
    path = tmp_path / "ablation.yaml"
    path.write_text(yaml.safe_dump(document))
    assert main(["ablate", "--config", str(path)]) == 1
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: "))
    assert "model.safetensors" in line
    assert not any(word in line for word in ("pid=", "Traceback", "UserError"))


def test_demo(cluster, tmp_path, capsys):
    out = tmp_path / "demo"
    open_folder(out / "data", Demo().world(0))
    (out / "data" / "train").write_text("in the way")
    line = told(capsys, ["demo", "--out", str(out)])
    assert line.startswith(f"raypipe: {out}/data/train/")
    assert "mend that, and start it again" in line
