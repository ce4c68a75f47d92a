"""The demo, with tiny random models in the places of the shipped ones; tests/test_wheel.py runs the real ones."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raypipe import demo as demo_module
from raypipe.config import shipped_models as embedded
from raypipe.config.run import parse_config
from raypipe.config.runtime import RayConfig
from raypipe.demo import Demo, demo_config, demo_state, draw, run_demo
from raypipe.errors import UserError
from raypipe.world.folder import FolderPlan, missing_clips, open_folder, write_clip
from tests.helpers.demo_models import write_models
from tests.world.test_folder import PLAN, SMALL, hashes

RAY = RayConfig()


def test_the_demo_shows_every_novelty_twice():
    plan = Demo().world(seed=3)
    assert plan.config.seed == 3
    assert plan.num_test == 2 * len(plan.config.novelties)
    assert (plan.config.width, plan.config.height, plan.config.fps) == (320, 240, 25)
    assert plan.num_frames(plan.clips()) == 40 * 75 + 14 * 150


def test_the_demo_watches_with_all_stages():
    models = {"yolo": "/m/yolo", "blip2": "/m/blip2", "smm": "/m/smm"}
    config = parse_config(demo_config(Path("/data"), Path("/run"), 5, models), "demo")
    assert (config.detector.kind, config.detector.yolo.weights, config.tracks.kind) == ("yolo", "/m/yolo", "iou")
    assert (config.features.columns, config.sentence.memory) == (("cross", "motion"), "replace")
    assert (config.weights.blip2, config.weights.smm, config.score.model) == ("/m/blip2", "/m/smm", "rm")
    assert (config.seed, config.tracking.enabled) == (5, True)


def test_without_shipped_models_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "MODELS_FOLDER", tmp_path / "none")
    with pytest.raises(UserError) as caught:
        run_demo(tmp_path / "out", 0, print)
    assert re.match(r"demo: [a-z0-9.]+: raypipe:models/\w+: this installation of raypipe \(", str(caught.value))
    assert not (tmp_path / "out").exists()


def test_clips_that_are_missing_are_drawn(cluster, tmp_path, capsys):
    root, said = tmp_path / "data", []
    plan = FolderPlan(SMALL, 2, 1)
    open_folder(root, plan)
    first = plan.clips()[0]
    write_clip(root, plan, *first)
    stamp = (root / "train/001.mp4").stat().st_mtime_ns
    draw(root, plan, RAY, said.append)
    assert said == [f"world: drawing 2 of 3 clips, 80 frames, in {root}"]
    assert "draw: 80 of 80 frames" in capsys.readouterr().err
    assert missing_clips(root, plan) == []
    assert (root / "labels.csv").read_text().startswith("video,start_frame,end_frame\ntest/001_cycling,")
    assert (root / "train/001.mp4").stat().st_mtime_ns == stamp
    before = hashes(root)
    draw(root, plan, RAY, said.append)
    assert len(said) == 1
    assert hashes(root) == before


def test_a_clip_that_cannot_be_written_is_told_in_one_line(cluster, tmp_path):
    root = tmp_path / "data"
    open_folder(root, PLAN)
    (root / "test").write_text("in the way")
    with pytest.raises(UserError) as caught:
        draw(root, PLAN, RAY, print)
    assert str(caught.value).startswith(f"{root / 'test/001_cycling.mp4'}: ")
    assert "clips that were drawn stay: mend that, and start it again" in str(caught.value)
    assert "\n" not in str(caught.value)
    (root / "test").unlink()
    draw(root, PLAN, RAY, print)
    assert missing_clips(root, PLAN) == []


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "models"
    return folder, write_models(folder)


def test_another_demo_in_the_same_folder_is_refused(tmp_path, models):
    open_folder(tmp_path / "data", Demo().world(0))
    with pytest.raises(UserError, match=r"holds another world .*seed was 0, now 1"):
        run_demo(tmp_path, 1, print, Demo(models=models[1]))


def test_a_disk_without_room_is_told_at_the_start(tmp_path, models, monkeypatch):
    monkeypatch.setattr(demo_module, "FREE_BYTES", 2**60)
    with pytest.raises(UserError, match="MiB free on its disk"):
        run_demo(tmp_path, 0, print, Demo(models=models[1]))


def start(out, folder):
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "tests.helpers.demo_models", str(out), "0", str(folder)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def kill_once_there_is(out, pattern, folder):
    process = start(out, folder)
    deadline = time.monotonic() + 600
    while not list(out.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_demo_that_is_killed_again_and_again_is_done_in_the_end(tmp_path, models):
    out, folder = tmp_path / "out", models[0]
    kill_once_there_is(out, "data/labels/*/*.csv", folder)
    drawn = {path: path.stat().st_mtime_ns for path in out.glob("data/labels/*/*.csv")}
    kill_once_there_is(out, "run/features/*/*/*.parquet", folder)
    extracted = {path: path.stat().st_mtime_ns for path in out.glob("run/features/*/*/*.parquet")}
    last = start(out, folder)
    text, errors = last.communicate(timeout=900)
    assert last.returncode == 0, errors
    for path, stamp in (drawn | extracted).items():
        assert path.stat().st_mtime_ns == stamp
    assert "segments were there already" in text
    assert "micro-AUC" in text
    *findings, report, took = text.partition("\nstrongest findings:\n")[2].splitlines()
    assert [line[:12] for line in sorted(findings)[:2]] == ["  1. test/00", "  2. test/00"]
    assert all("(score " in line for line in findings)
    assert report.startswith(f"report: {out}/run/report/index.html (")
    assert (out / "run/report/index.html").read_text().startswith("<!doctype html>")
    assert took.startswith("what was left of the demo took ")
    # Once more: it says the same, and neither draws nor starts anything.
    began = time.monotonic()
    again = start(out, folder)
    said, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert (
        said.splitlines()[0] == f"{out}: this demo is done, and this is what it said; to do it anew, remove the folder"
    )
    assert said.splitlines()[1:] == text.splitlines()
    assert errors == ""
    assert time.monotonic() - began < 60
    # What somebody took away is made again.
    (out / "run/report/index.html").unlink()
    shutil.rmtree(out / "data")
    once_more = start(out, folder)
    said, errors = once_more.communicate(timeout=600)
    assert once_more.returncode == 0, errors
    assert "4 segments were there already" in said
    assert "\nwhat was left of the demo took " in said
    assert (out / "run/report/index.html").exists()
    assert len(list(out.glob("data/test/*.mp4"))) == 2


@pytest.mark.parametrize("gone", ["run/report/index.html", "run/results.json", "run/scores/a", "data/test/001.mp4"])
def test_a_demo_of_which_something_was_taken_away_is_not_done(tmp_path, gone):
    for name in (gone, "run/features/b", "data/labels.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    demo = Demo()
    config = parse_config(demo_config(tmp_path / "data", tmp_path / "run", 0, demo.models), "demo")
    whole = demo_state(config, demo.world(0), demo.models)
    assert demo_state(config, demo.world(0), demo.models) == whole
    (tmp_path / gone).unlink()
    assert demo_state(config, demo.world(0), demo.models) != whole
