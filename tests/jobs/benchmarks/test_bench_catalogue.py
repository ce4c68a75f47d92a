import numpy as np

from jobs.benchmarks.bench_catalogue import FPS, SETS, entries, main


def test_a_small_catalogue_is_generated_read_and_planned(tmp_path, capsys):
    assert main(["--videos", "20", "--folder", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    for name in ("20 videos", "read catalogue", "list what is there", "plan", "peak memory"):
        assert name in first
    # What is there is used again: the same plan, half of which is committed.
    assert main(["--videos", "20", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == first.splitlines()[:2]


def test_lengths_add_up_and_no_video_has_frames_out_of_order():
    found = list(entries(100))
    hours = sum(entry.index.num_frames for entry in found) / FPS / 3600
    assert abs(hours - 345 * 100 / sum(count for count, *_ in SETS)) < 0.1
    assert all((np.diff(entry.index.pts) > 0).all() for entry in found)
    assert len({len(set(np.diff(entry.index.pts))) > 1 for entry in found}) == 2
