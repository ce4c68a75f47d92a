import importlib
import subprocess
import sys

import pytest

from raypipe import workflow
from raypipe.cli import main as cli
from raypipe.errors import EXIT_DEAD_LETTERS

STEPS = ("run", "extract", "train", "score", "evaluate")

CONFIG = """\
dataset: {root: data}
output: run
detector: {kind: sliding_window}
"""


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("num_dead", "code"), [(0, 0), (2, EXIT_DEAD_LETTERS)])
def test_a_script_does_its_step_with_the_overridden_config(monkeypatch, config_file, step, num_dead, code):
    done = []

    def run_step(name, config, say, *, retry_dead, shard):
        assert shard.is_whole
        done.append((name, config.score.model, config.seed, retry_dead))
        return num_dead

    monkeypatch.setattr(workflow, "run_step", run_step)
    script = importlib.import_module(f"jobs.{step}")
    arguments = ["--config", str(config_file), "--set", "score.model=knn", "--set", "seed=7"]
    assert cli.run_script(script.__doc__, script.main, arguments) == code
    assert done == [(step, "knn", 7, False)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "needs --config FILE"),
        (["--config", "absent.yaml"], "absent.yaml: No such file"),
        (["--config", "run.yaml", "--set", "score.modle=knn"], "unknown key 'score.modle'"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(monkeypatch, capsys, config_file, arguments, words):
    monkeypatch.chdir(config_file.parent)
    from jobs.extract import main

    assert cli.run_script("", main, arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("raypipe: ")
    assert words in errors[0]


@pytest.mark.parametrize("step", STEPS)
def test_a_script_runs_as_a_file_and_helps(pytestconfig, step):
    environment = {"PYTHONPATH": str(pytestconfig.rootpath), "PATH": ""}
    command = [sys.executable, f"jobs/{step}.py", "--help"]
    shown = subprocess.run(
        command, cwd=pytestconfig.rootpath, env=environment, capture_output=True, text=True, check=True
    )
    assert f"ray job submit --working-dir . -- python jobs/{step}.py" in shown.stdout
    assert "--set KEY=VALUE" in shown.stdout


TRAININGS = {
    "train_smm": "smm",
    "train_blip2": "blip2",
    "train_detector": "detector",
    "label_vqa": "labels",
    "export_crops": "crops",
}


@pytest.mark.parametrize(("script", "kind"), TRAININGS.items())
def test_a_training_script_is_its_command(pytestconfig, script, kind):
    environment = {"PYTHONPATH": str(pytestconfig.rootpath), "PATH": ""}
    command = [sys.executable, f"jobs/{script}.py"]
    done = subprocess.run(command, cwd=pytestconfig.rootpath, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"raypipe: pretrain {kind} needs --config FILE")
