"""What `raypipe plan` says: sums over hand-made timings, and a measurement on a small data set."""

import json
import os
import re
import signal

import pytest

from raypipe.cli import main as cli
from raypipe.errors import UserError
from raypipe.extraction import planning
from raypipe.extraction.capacity_plan import Costs, make_plan, plan_document, plan_lines, read_costs, sample_rows
from raypipe.extraction.probing import build_catalogue
from raypipe.extraction.ray_dataset import known_seconds
from raypipe.ops.run_time import Resources, Work
from raypipe.run_folder.folder import RunFolder
from tests.helpers.small_data import make_config, write_data

STEPS = ("decode", "motion", "detect", "pool", "commit")
LENGTHS = {"train/a": 150, "train/b": 40, "test/a": 260}


@pytest.fixture(scope="module")
def data(cluster, tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), LENGTHS)


@pytest.fixture
def timings(tmp_path):
    """450 frames: 1, 4, 2, 2 and 1 ms a frame, in the sum 10."""
    path = tmp_path / "timings.json"
    milliseconds = dict(zip(STEPS, (1, 4, 2, 2, 1), strict=True))
    rows = {name: {"seconds": 0.45 * value, "frames": 450} for name, value in milliseconds.items()}
    path.write_text(json.dumps(rows | {"extract": {"seconds": 99.0, "frames": 450}}))
    return path


def test_timings_of_a_run_in_either_file(tmp_path, timings):
    expected = {"decode": 0.001, "motion": 0.004, "detect": 0.002, "pool": 0.002, "commit": 0.001}
    assert read_costs(timings, STEPS).seconds_per_frame == pytest.approx(expected)
    results = tmp_path / "results.json"
    rates = {name: {"seconds": 1.0, "frames_per_second": 1 / value} for name, value in expected.items()}
    results.write_text(json.dumps({"metrics": {}, "timings": rates}))
    assert read_costs(results, STEPS).seconds_per_frame == pytest.approx(expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "says nothing of the step 'decode'"),
        ("[]", "says nothing of the step 'decode'"),
        ('{"timings": 3}', "says nothing of the step 'decode'"),
        ('{"decode": {"seconds": 1, "frames": 0}}', "says nothing of the step 'decode'"),
        ("decode", "is no JSON"),
    ],
)
def test_timings_that_say_nothing_are_refused(tmp_path, content, message):
    path = tmp_path / "timings.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_costs(path, STEPS)


def test_timings_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.json cannot be read \(No such file"):
        read_costs(tmp_path / "none.json", STEPS)


def test_a_sample_has_short_and_long_segments():
    rows = [{"num_sampled": n, "video_id": "a", "segment_index": n} for n in (5, 1, 4, 3, 6, 2)]
    assert [row["num_sampled"] for row in sample_rows(rows, 3)] == [2, 4, 6]
    assert [row["num_sampled"] for row in sample_rows(rows, 1)] == [4]
    assert len(sample_rows(rows, 9)) == 6


def test_a_plan_from_timings(data, tmp_path, timings):
    plan = make_plan(make_config(data, tmp_path / "run"), "4cpu", timings)
    # Six segments of at most 87 frames; four actors of 10 ms a frame.
    assert plan.work == Work(6, 450, 87)
    assert [(pool.size, pool.stages) for pool in plan.pools] == [(4, STEPS)]
    assert plan.estimate.limits == {"-".join(STEPS): pytest.approx(400.0)}
    assert plan.estimate.seconds == pytest.approx(450 / 400)
    assert plan.estimate.longest_segment_seconds == pytest.approx(0.87)
    text = "\n".join(plan_lines(plan, cost_per_hour=36.0))
    assert "catalogue: 3 videos, 450 frames, 6 segments" in text
    assert "expected: 400 frames/s, 1.1 s and start-up" in text
    # 1.125 s of 36 an hour.
    assert "cost: 0.01 at 36.00 an hour" in text
    document = plan_document(plan, cost_per_hour=36.0)
    assert document["cost"] == pytest.approx(1.125 / 100)
    assert document["bound_by"] == document["bottleneck"] == "-".join(STEPS)
    json.dumps(document, allow_nan=False)


def test_more_actors_than_segments_are_bound_by_the_longest(data, tmp_path, timings):
    plan = make_plan(make_config(data, tmp_path), "100cpu", timings)
    assert plan.pools[0].size == 6
    assert plan.estimate.bound_by == "longest segment"
    assert "bound by the longest segment" in "\n".join(plan_lines(plan))


def test_the_config_may_name_the_cluster(data, tmp_path, timings):
    plan = make_plan(make_config(data, tmp_path, ray={"cluster": "2xL4,8cpu"}), None, timings)
    assert plan.resources == Resources(8, 2, "L4")
    assert "no stage of this config uses them" in "\n".join(plan_lines(plan))


def test_gpu_stages_measured_on_a_cpu_are_pointed_out(data, tmp_path, monkeypatch):
    monkeypatch.setattr("raypipe.extraction.capacity_plan.gpu_tenths_of", lambda stages: {"detect": 2})
    seconds = dict.fromkeys(STEPS, 0.001)
    monkeypatch.setattr(
        "raypipe.extraction.capacity_plan.measure_costs",
        lambda config, rows: Costs(seconds, {"motion": 1.5}, "x", False),
    )
    plan = make_plan(make_config(data, tmp_path), "2xL4,8cpu", None)
    assert [(load.name, load.size, load.uses_gpu) for load in plan.loads] == [
        ("decode-motion", 6, False),
        ("detect-pool-commit", 2, True),
    ]
    # 113 frames of 64x48 are the most that is decoded of a segment, and vectors are half as much again.
    frames = max(row["num_sampled"] for row in planned(data, tmp_path))
    assert plan.loads[0].row_bytes == pytest.approx(1.5 * frames * 64 * 48 * 3)
    assert "GPU stages were measured on a CPU" in "\n".join(plan_lines(plan))


def planned(data, output):
    config = make_config(data, output)
    catalogue = build_catalogue(config, RunFolder(config.output))
    return [segment.row() for entry in catalogue.entries for segment in planning.plan_video(config, entry)]


def test_segments_are_measured_by_the_real_steps(data, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    document = make_config(data, tmp_path / "run").model_dump(mode="json")
    config.write_text(json.dumps(document))
    figures = tmp_path / "plan.json"
    assert cli.main(["plan", "--config", str(config), "--json", str(figures)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"costs: measured on 3 segments, \d+ frames, on a CPU", said)
    result = json.loads(figures.read_text())
    # The cluster of the tests.
    assert result["cluster"]["num_cpus"] == 3
    costs = result["costs"]["seconds_per_frame"]
    assert list(costs) == list(STEPS)
    assert all(0 < value < 1 for value in costs.values())
    assert result["pools"][0]["size"] == 3
    # What is handed on: the frames and 5 bytes for each of 8x6 blocks of 64x48x3; at the end, numbers.
    ratios = result["costs"]["bytes_per_decoded_byte"]
    assert ratios["decode"] == pytest.approx(1.0, abs=0.01)
    assert ratios["motion"] == pytest.approx(1 + 5 * 48 / (64 * 48 * 3), abs=0.01)
    assert ratios["commit"] == 0
    # A run knows it, and nothing else was written.
    assert known_seconds(RunFolder(str(tmp_path / "run"))) == costs
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == ["plan.json"]


def test_own_timings_go_before_a_plan(tmp_path, timings):
    folder = RunFolder(str(tmp_path))
    folder.commit_json("plan.json", {"seconds_per_frame": {"decode": 5.0, "encode": 7.0}})
    known = known_seconds(folder)
    assert (known["decode"], known["encode"]) == (pytest.approx(0.001), 7.0)


def test_segments_that_cannot_be_processed_are_told(cluster, tmp_path):
    broken = tmp_path / "data"
    write_data(broken, {"train/a": 40})
    config = make_config(broken, tmp_path / "other")
    boxes = broken / "boxes" / "train" / "a.txt"
    boxes.write_text("not,a,box\n")
    with pytest.raises(UserError, match=r"none of 1 segments that were tried can be processed: .*a\.txt"):
        make_plan(config, None, None)


def test_a_segment_that_ends_its_process_is_told(cluster, data, tmp_path, monkeypatch):
    def die(config, rows, on_gpu):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("raypipe.extraction.capacity_plan.run_sample", die)
    with pytest.raises(UserError, match=r"ended the process that measures: .* of one of test/a, train/a\. .*--timings"):
        make_plan(make_config(data, tmp_path / "run"), None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "plan needs --config FILE"),
        (["--config", "CONFIG", "--cluster", "8 H100"], "--cluster: '8 H100' is no cluster; write it as 8xH100,128cpu"),
        (["--config", "CONFIG", "--set", "ray.pools={encode: 2}"], "ray.pools: encode is no stage of this run"),
    ],
)
def test_mistakes_are_told(data, tmp_path, capsys, arguments, message):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(make_config(data, tmp_path / "run").model_dump(mode="json")))
    assert cli.main(["plan", *(str(config) if word == "CONFIG" else word for word in arguments)]) == 2
    assert message in capsys.readouterr().err
