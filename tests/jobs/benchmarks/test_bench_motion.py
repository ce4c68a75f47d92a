import os

from jobs.benchmarks.bench_motion import main, moving_textures
from tests.helpers.clips import moving_squares, write_clip


def test_report_names_the_versions_and_every_part(tmp_path, capsys):
    video = write_clip(tmp_path / "v.mp4", moving_squares(3, 64, 48))
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    for arguments in (["--frames", "2"], ["--video", str(video)]):
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert "x265" in printed
        assert "PyAV" in printed
        for name in ("320x240", "640x480", "encode", "parse", "total"):
            assert name in printed
    assert cores is None or os.sched_getaffinity(0) == cores


def test_textures_are_the_same_every_time():
    assert (moving_textures(2, 64, 48) == moving_textures(2, 64, 48)).all()
