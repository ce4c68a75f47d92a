import json
import multiprocessing
import os
import time

import numpy as np
import pytest

from jobs.benchmarks.bench_extract import (
    MAX_GROWTH,
    QUICK,
    Measurement,
    Sampler,
    bench_config,
    main,
    measure,
    skewed_lengths,
    write_clips,
    write_long_video,
)
from raypipe.extraction.catalog import list_videos
from raypipe.video.probe import probe_video


def measurement(seconds, wall_seconds, startup_seconds):
    return Measurement(2, 100, 0, seconds, wall_seconds, startup_seconds, other_cores=0.0, peak_bytes=0, parts_bytes={})


@pytest.mark.parametrize(
    ("seconds", "cores", "wall", "startup", "expected"),
    [
        ({"decode": 4.0, "motion": 16.0}, 2, 20.0, 10.0, 1.0),
        ({"decode": 4.0, "motion": 16.0}, 2, 22.5, 10.0, 0.8),
        ({"decode": 10.0}, 1, 25.0, 5.0, 0.5),
    ],
)
def test_efficiency_is_ideal_over_measured_time_without_start_up(seconds, cores, wall, startup, expected):
    assert measurement(seconds, wall, startup).efficiency(cores) == pytest.approx(expected)


def test_lengths_are_skewed_and_have_the_mean_that_was_asked_for():
    lengths = skewed_lengths(24, 250)
    assert lengths == sorted(lengths, reverse=True)
    assert abs(np.mean(lengths) - 250) < 1
    assert 3.5 * 250 < lengths[0] < 4.5 * 250


def test_generated_clips_are_a_folder_data_set(tmp_path):
    config = bench_config(str(write_clips(tmp_path / "clips", QUICK)), tmp_path / "run", cores=1)
    videos = list_videos(config).videos
    assert {video.split for video in videos} == {"train", "test"}
    lengths = sorted((probe_video(video.uri).num_frames for video in videos), reverse=True)
    assert lengths == skewed_lengths(QUICK.num_clips, QUICK.mean_frames)


def test_the_long_video_has_its_length(tmp_path):
    frames = np.zeros((130, 48, 64, 3), np.uint8)
    index = probe_video(str(write_long_video(tmp_path / "long", iter(frames), 130, 2) / "test" / "long.mp4"))
    assert (index.num_frames, index.fps) == (130, 2)


def hold(num_bytes, is_held):
    block = np.ones(num_bytes, np.uint8)
    is_held.set()
    time.sleep(30)
    del block


def test_peak_memory_sees_what_a_process_holds():
    context = multiprocessing.get_context("spawn")
    is_held = context.Event()
    process = context.Process(target=hold, args=(200 * 2**20, is_held))
    process.start()
    try:
        with Sampler(process.pid) as sampler:
            assert is_held.wait(60)
            time.sleep(1.5)
    finally:
        process.kill()
        process.join()
    assert 200 * 2**20 < sampler.peak_bytes < 500 * 2**20
    assert sampler.parts_bytes["driver"] == sampler.peak_bytes
    assert sampler.parts_bytes["actors"] == 0
    assert 0 <= sampler.other_cores <= (os.cpu_count() or 1)


@pytest.mark.slow
def test_quick_measures_everything(tmp_path, capsys):
    assert main(["--quick", "--cores", "2", "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    result = figures["efficiency"]
    assert result["num_frames"] == sum(skewed_lengths(QUICK.num_clips, QUICK.mean_frames))
    assert result["num_dead"] == 0
    assert set(result["seconds"]) == {"decode", "motion", "detect", "pool", "commit"}
    assert 0 < result["startup_seconds"] < result["wall_seconds"]
    assert 0 < result["efficiency"] <= 1.05
    for name in ("short", "long"):
        assert figures[name]["parts_bytes"]["actors"] > 0
        assert figures[name]["peak_bytes"] > 100 * 2**20
    # Both fit one segment, so what differs is noise.
    assert figures["growth"] < MAX_GROWTH
    # The archive has three segments.
    assert [sum(figures[name]["actor_segments"]) for name in ("archive_short", "archive")] == [1, 3]
    assert len(figures["archive"]["actor_segments"]) == 2
    assert figures["archive_growth"] > 0
    printed = capsys.readouterr().out
    for words in (
        "start-up",
        "efficiency:",
        "meanwhile others took",
        "at least 0.75",
        "times the peak of the short video",
    ):
        assert words in printed


def test_an_extraction_that_fails_or_hangs_is_told_apart(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError, match="empty failed"):
        measure(str(tmp_path / "empty"), tmp_path / "run", cores=1, timeout_seconds=60)
    with pytest.raises(TimeoutError, match="more than 0 s"):
        measure(str(tmp_path / "empty"), tmp_path / "run", cores=1, timeout_seconds=0)
