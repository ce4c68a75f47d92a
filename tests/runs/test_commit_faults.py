"""Processes that die inside a commit, at every step of it: what is there is whole, and what is done again is equal."""

import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest
import yaml

from jobs.benchmarks.extra_steps import COMMIT_STEPS, DieInCommit
from raypipe import pipeline
from raypipe.extraction.extract import extract
from raypipe.run_folder.folder import RunFolder
from tests.helpers.small_data import contents, make_config, write_data

ROOT = Path(__file__).parents[2]
# What a killed commit leaves of the file: the old content, or the new one.
IS_NEW = {"before the write": False, "before the fsync": False, "before the rename": False}


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("step", COMMIT_STEPS)
@pytest.mark.parametrize("has_old", [False, True])
def test_a_commit_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path, step, has_old):
    folder = RunFolder(str(tmp_path))
    path = folder.path("features", "a", "00000.parquet")
    if has_old:
        folder.commit(path, b"old")
    done = run_python(
        "from jobs.benchmarks.extra_steps import die_in_commit; from raypipe.run_folder.folder import RunFolder\n"
        f"die_in_commit(0, {step!r}); RunFolder({str(tmp_path)!r}).commit({path!r}, b'new' * 10000)"
    )
    assert done.returncode == -9, done.stderr
    is_new = IS_NEW.get(step, True)
    assert folder.committed() == ({"a": {0}} if has_old or is_new else {})
    if has_old or is_new:
        assert Path(path).read_bytes() == (b"new" * 10000 if is_new else b"old")
    folder.commit(path, b"again")
    assert Path(path).read_bytes() == b"again"
    # What the dead process was writing lies apart until it is swept, and is nobody's segment.
    left = {file.parent.name for file in tmp_path.rglob("*") if file.is_file() and str(file) != path}
    assert left <= {"tmp"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), {"train/a": 150, "train/b": 40, "test/a": 260})


@pytest.fixture(scope="module")
def undisturbed(cluster, data, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed")
    extract(make_config(data, output, ray={"actors": 1}))
    return contents(output)


@pytest.mark.slow
def test_actors_that_die_in_their_commits_lose_and_double_nothing(undisturbed, data, tmp_path, monkeypatch):
    marks, output = tmp_path / "marks", tmp_path / "run"
    marks.mkdir()
    names = [(name.rpartition("/")[0], int(Path(name).stem)) for name in undisturbed]
    steps = dict(zip(names, cycle(COMMIT_STEPS), strict=False))
    assert set(steps.values()) == set(COMMIT_STEPS)
    original = pipeline.stages_of

    def stages_of(config, folder):
        *others, last = original(config, folder)
        return [*others, pipeline.Stage("fault", DieInCommit, (str(marks), steps)), last]

    monkeypatch.setattr(pipeline, "stages_of", stages_of)
    result = extract(make_config(data, output, ray={"actors": 2}, max_attempts=9))
    assert len(list(marks.iterdir())) == len(steps)
    assert result.dead == []
    assert contents(output) == undisturbed


@pytest.mark.slow
def test_drivers_that_die_in_their_commits_lose_and_double_nothing(undisturbed, data, tmp_path):
    """Start after start, the driver dies one commit later, each time at another step, until it has nothing left."""
    output, config = tmp_path / "run", tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(make_config(data, output, ray={"num_cpus": 2}).model_dump(mode="json")))
    code = (
        "import sys; from jobs.benchmarks.extra_steps import die_in_commit; from raypipe.cli.main import main\n"
        "if {step!r}: die_in_commit({number}, {step!r})\n"
        "sys.exit(main(['extract', '--config', {config!r}]))"
    )
    deaths = 0
    for number, step in enumerate(COMMIT_STEPS):
        done = run_python(code.format(number=number, step=step, config=str(config)))
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        deaths += 1
    assert deaths >= 3
    done = run_python(code.format(number=0, step="", config=str(config)))
    assert done.returncode == 0, done.stderr
    assert contents(output) == undisturbed
    assert RunFolder(str(output)).read_dead() == []
