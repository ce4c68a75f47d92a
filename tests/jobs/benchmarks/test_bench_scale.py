import json

import numpy as np
import pytest

from jobs.benchmarks import bench_scale
from jobs.benchmarks.bench_scale import Figures, Run
from raypipe.schema import PACKED


def test_videos_are_as_many_and_as_long_as_those_of_ucf_crime():
    lengths = np.array(bench_scale.video_lengths())
    assert len(lengths) == 1900
    assert lengths.sum() == pytest.approx(13_800_000, rel=1e-4)
    # 128 h at 30 frames a second.
    assert lengths.sum() / 30 / 3600 == pytest.approx(128, rel=0.01)
    # A heavy tail: a tenth of the videos has half of the frames.
    assert np.sort(lengths)[-190:].sum() > 0.45 * lengths.sum()


def test_a_run_has_work_for_its_gpus():
    rows = bench_scale.planned_rows(Run(gpus=4, seconds=30.0, segment_seconds=1.5))
    assert len(rows) == 80
    lengths = [row["num_sampled"] for row in rows]
    assert lengths == sorted(lengths, reverse=True)
    # 128 MiB of 320x240.
    assert max(lengths) <= 128 * 2**20 // (320 * 240 * 3)
    assert len({(row["video_id"], row["segment_index"]) for row in rows}) == 80
    # The fields that grow with a segment are those of a real one.
    assert {"num_sampled", "pts_steps"} <= set(rows[0]) <= set(PACKED)


def test_where_the_time_goes():
    def row(actor, arrived, left):
        return {"actor": actor, "arrived": arrived, "left": left, "num_decoded": 100}

    # Segments of 100 frames of 10 ms: 1 s each, all but one with 0.2 s more.
    done = [row(1, 11.0, 12.2), row(1, 12.5, 13.7), row(2, 13.0, 14.2), row(2, 14.3, 15.3)]
    assert bench_scale.losses(done, 0.01, started=10.0, ended=16.0) == pytest.approx(
        {"fill_seconds": 2.0, "tail_seconds": 1.5, "gap_seconds": 0.2, "overhead_seconds": 0.2}
    )


def figures(efficiency, load):
    return Figures(8, efficiency, 100, 1.5, 60.0, 60.0 / efficiency, 20.0, 0.8, 0.5, 0.02, 0.01, 13.0, load)


def test_the_median_run_counts():
    median = bench_scale.median_of([figures(0.9, 1.0), figures(0.7, 5.0), figures(0.95, 2.0)])
    assert (median.efficiency, median.load) == (0.9, 5.0)
    assert "efficiency 0.900 (asked: at least 0.9)" in bench_scale.line_of(median)


@pytest.mark.parametrize(
    ("gpus", "drivers", "efficiency"),
    # Two tasks for every 2 s of a GPU: 64 GPUs need 64 tasks/s of one driver, 256 need 256 and have 100.
    [(64, 1, 0.9), (256, 1, 0.9 * 100 / 256), (256, 4, 0.9)],
)
def test_projections_are_bound_by_their_drivers(gpus, drivers, efficiency):
    row = bench_scale.projected(gpus, drivers, {"efficiency": 0.9, "mean_segment_seconds": 2.0}, 100.0)
    assert row == {"gpus": gpus, "efficiency": pytest.approx(efficiency), "projected": True, "drivers": drivers}


@pytest.mark.slow
def test_a_simulated_cluster_runs_through(tmp_path):
    out = tmp_path / "scale.json"
    assert bench_scale.main(["--quick", "--gpus", "2", "--no-real", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    measured = [row for row in rows if not row.get("projected")]
    assert [(row["gpus"], row["num_segments"]) for row in measured] == [(2, 20)]
    assert 0 < measured[0]["efficiency"] <= 1
    assert measured[0]["ideal_seconds"] >= 2.0
    assert all("efficiency" in row for row in rows)
