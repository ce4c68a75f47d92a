import numpy as np

from jobs.benchmarks.bench_metrics import main, make_videos


def test_videos_have_as_many_frames_as_asked():
    videos = make_videos(20, 5000)
    assert abs(sum(len(video.score) for video in videos) - 5000) <= 20
    assert sum(video.label.any() for video in videos) == 10
    scores = np.concatenate([video.score for video in videos])
    assert len(np.unique(scores)) == len(scores)


def test_report_has_a_row_per_number_of_videos(capsys):
    assert main(["--videos", "4", "9", "--frames", "3000", "--slow-replicates", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == ["4", "9"]
    assert {len(row) for row in rows} == {9}
    assert sum("proven errors" in line for line in lines) == 2
