import shutil
from pathlib import Path

import pytest

from jobs.benchmarks import bench_decode
from tests.helpers.clips import moving_squares, write_clip

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def one_round(monkeypatch):
    monkeypatch.setattr(bench_decode, "NUM_ROUNDS", 1)


def test_a_file_beside_a_baseline(tmp_path, capsys):
    path = write_clip(tmp_path / "a.mp4", moving_squares(20, 64, 48))
    shutil.copytree(ROOT / "raypipe" / "video", tmp_path / "base" / "raypipe" / "video")
    for name in ("__init__.py", "errors.py", "ops"):
        source, target = ROOT / "raypipe" / name, tmp_path / "base" / "raypipe" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    assert bench_decode.main([str(path), "--baseline", str(tmp_path / "base"), "--most", "1000"]) == 0
    assert bench_decode.main([str(path), "--baseline", str(tmp_path / "base"), "--most", "0.001"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["a.mp4", "20"]
    assert lines[2].startswith("largest ratio to the baseline: ")


def test_libraries_that_are_not_there_are_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = write_clip(tmp_path / "a.mp4", moving_squares(12, 64, 48))
    assert bench_decode.main([str(path)]) == 0
    assert "decord: not installed, not compared" in capsys.readouterr().out


def test_clips_made_on_the_spot(tmp_path):
    names = [Path(path).name for path in bench_decode.make_clips(tmp_path, 3, (64, 48))]
    assert names == [name for name, _, _ in bench_decode.CLIPS]
