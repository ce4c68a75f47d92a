"""The wheel in an environment of its own: what a checkout has beside the package must not be needed."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METADATA = """
import json
from importlib.metadata import metadata, requires, version
import raypipe
needed = [line for line in requires("raypipe") if "extra ==" not in line]
found = [raypipe.__version__, version("raypipe"), metadata("raypipe").get_all("Provides-Extra"), needed]
print(json.dumps(found))
"""
# Two clips each way of two seconds: the shipped models, but not the whole demo.
SMALL_DEMO = """
import sys
from pathlib import Path
from raypipe.demo import Demo, run_demo
sys.exit(run_demo(Path("demo"), 7, print, Demo(num_train=2, train_frames=50, num_test=2, num_frames=50)))
"""


def run(command, cwd):
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=900, env=kept)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The scripts of a new environment that holds the wheel, and sees of this one the packages it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "raypipe", source / "raypipe", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    run([sys.executable, "-c", build], source)
    (wheel,) = folder.glob("raypipe-*.whl")
    assert wheel.stat().st_size < 25e6
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    run(
        [Path(sys.executable).with_name("uv"), "pip", "install", "--no-deps", "--offline", "--python", python, wheel],
        folder,
    )
    # A path file adds a folder after the environment's own, and reads none of the path files in it: this checkout's
    # package, which is installed there as editable, stays out of sight.
    packages = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    (packages / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.mark.slow
def test_the_wheel_tells_its_version_and_its_extras(installed, tmp_path):
    of_package, of_wheel, extras, needed = json.loads(run([installed / "python", "-c", METADATA], tmp_path))
    assert of_package == of_wheel
    assert sorted(extras) == ["dev", "docs", "s3"]
    names = {re.split(r"[^a-z0-9-]", line.lower())[0] for line in needed}
    assert {"ray", "torch", "av", "ultralytics", "mlflow"} <= names
    # What only the checks, the benchmarks or the docs need.
    assert not names & {"psutil", "pytest", "mkdocs-material", "s3fs", "ipykernel"}


@pytest.mark.slow
def test_the_wheel_runs_the_demo(installed, tmp_path):
    where = run([installed / "python", "-c", "import raypipe; print(raypipe.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert "Draw a small world" in run([installed / "raypipe", "demo", "--help"], tmp_path)
    said = run([installed / "python", "-c", SMALL_DEMO], tmp_path)
    assert "strongest findings:" in said
    assert (tmp_path / "demo/run/report/index.html").exists()
