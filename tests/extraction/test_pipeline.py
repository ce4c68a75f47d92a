"""Extraction on a real (small, local) Ray cluster."""

import json
import shutil

import pytest

from jobs.benchmarks.extra_steps import DieOn
from raypipe import pipeline
from raypipe.errors import UserError
from raypipe.extraction.extract import extract
from raypipe.extraction.status import status_of
from raypipe.monitoring.drivers import read_drivers
from raypipe.ops.shards import Shard
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import read_features, read_segment
from tests.helpers.small_data import contents, make_config, write_bad_data, write_data

LENGTHS = {"train/a": 150, "train/b": 40, "test/a": 260}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), LENGTHS)


@pytest.fixture(scope="module")
def undisturbed(cluster, data, tmp_path_factory):
    """A run with one actor that nothing disturbs: its output folder and result."""
    output = tmp_path_factory.mktemp("undisturbed")
    return output, extract(make_config(data, output, ray={"actors": 1}))


def test_every_frame_and_object_is_there_once(undisturbed):
    output, result = undisturbed
    assert (result.num_frames, result.processed_frames, result.num_segments, result.dead) == (450, 450, 6, [])
    assert result.num_objects == 2 * 450
    assert set(result.seconds) == {"decode", "motion", "detect", "pool", "commit"}
    folder = RunFolder(str(output))
    config_hash = folder.read_json("run.json")["config_hash"]
    for video_id, num_frames in LENGTHS.items():
        features = read_features(folder, video_id, folder.committed()[video_id], config_hash)
        frames = features.table["frame_index"].to_pylist()
        assert frames == [frame for frame in range(num_frames) for _ in range(2)]
        # Two objects over the whole video, across all borders of segments.
        assert features.table["track_id"].to_pylist() == [0, 1] * num_frames
        assert features.missing == ()
    assert not (output / "attempts").exists() or not any((output / "attempts").iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"ray": {"actors": 3}}, id="three actors"),
        pytest.param({"ray": {"actors": 2}, "layout": "staged"}, id="a pool for every stage", marks=pytest.mark.slow),
    ],
)
def test_actors_and_layout_do_not_change_a_byte(undisturbed, data, tmp_path, changes):
    extract(make_config(data, tmp_path, **changes))
    assert contents(tmp_path) == contents(undisturbed[0])


def test_a_second_start_does_only_what_is_missing(undisturbed, data, tmp_path):
    output = tmp_path / "run"
    shutil.copytree(undisturbed[0], output)
    lost = output / "features" / "test" / "a" / "00001.parquet"
    lost.unlink()
    stamps = {path: path.stat().st_mtime_ns for path in (output / "features").rglob("*.parquet")}
    result = extract(make_config(data, output))
    assert (result.num_done_before, result.processed_frames) == (5, 86)
    assert contents(output) == contents(undisturbed[0])
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_shards_together_are_the_whole(undisturbed, data, tmp_path):
    config, folder = make_config(data, tmp_path, ray={"actors": 2}), RunFolder(str(tmp_path))
    first = extract(config, shard=Shard(1, 2))
    assert (first.num_segments, first.num_left, first.dead) == (3, 3, [])
    # By falling length: test/a 1, 2 and 0, train/a 1 and 0, train/b 0.
    assert list(contents(tmp_path)) == ["test/a/00000.parquet", "test/a/00001.parquet", "train/a/00000.parquet"]
    status = status_of(folder, config)
    assert (status.amounts.done.segments, status.amounts.left.segments) == (3, 3)
    # Who comes again finds its own share done, whatever the others did.
    again = extract(config, shard=Shard(1, 2))
    assert (again.num_done_before, again.processed_frames, len(read_drivers(folder))) == (3, 0, 1)
    second = extract(config, shard=Shard(2, 2))
    assert (second.num_segments, second.num_done_before, second.num_left) == (3, 0, 0)
    assert first.num_frames + second.num_frames == 450
    assert contents(tmp_path) == contents(undisturbed[0])
    assert [driver.shard for driver in read_drivers(folder)] == ["1/2", "2/2"]
    assert {driver.state for driver in read_drivers(folder)} == {"done"}


def test_what_a_driver_tells_of_its_stages(undisturbed):
    output, _ = undisturbed
    (driver,) = read_drivers(RunFolder(str(output)))
    assert driver.progress["frames_done"] == 450
    assert driver.progress["object_store_bytes"] is not None
    stages = driver.progress["stages"]
    assert list(stages) == ["decode", "motion", "detect", "pool", "commit"]
    for row in stages.values():
        assert row["frames"] == 450
        assert 0 < row["busy"] <= 1
        assert row["frames_per_second"] > 0
    (log,) = (output / "log" / driver.session).iterdir()
    assert json.loads(log.read_text().splitlines()[-1]) == vars(driver)


def test_features_of_another_config_are_refused_before_any_work(undisturbed, data):
    config = make_config(data, undisturbed[0], tracks={"min_iou": 0.5})
    with pytest.raises(UserError, match=r"another config: tracks.min_iou \(was 0.3, now 0.5\)"):
        extract(config)


def with_stage(monkeypatch, *arguments):
    """Put a stage that kills its process before the motion stage."""
    original = pipeline.stages_of

    def stages_of(config, folder):
        first, *others = original(config, folder)
        return [first, pipeline.Stage("fault", DieOn, arguments), *others]

    monkeypatch.setattr(pipeline, "stages_of", stages_of)


@pytest.mark.slow
def test_a_killed_actor_costs_nothing(undisturbed, data, tmp_path, monkeypatch):
    deaths, output = tmp_path / "deaths", tmp_path / "run"
    deaths.mkdir()
    with_stage(monkeypatch, str(deaths), "test/a", 1, 1)
    result = extract(make_config(data, output, ray={"actors": 2}))
    assert len(list(deaths.iterdir())) == 1
    assert result.dead == []
    assert contents(output) == contents(undisturbed[0])


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["fused", "staged"])
def test_a_segment_that_kills_every_process_is_given_up(undisturbed, data, tmp_path, monkeypatch, layout):
    deaths, output = tmp_path / "deaths", tmp_path / "run"
    deaths.mkdir()
    with_stage(monkeypatch, str(deaths), "test/a", 1, 99)
    result = extract(make_config(data, output, layout=layout, ray={"actors": 2}))
    assert len(list(deaths.iterdir())) == 3
    assert [(d.video_id, d.segment_index, d.error_type, d.attempts) for d in result.dead] == [
        ("test/a", 1, "crashed", 3)
    ]
    others = contents(undisturbed[0])
    del others["test/a/00001.parquet"]
    assert contents(output) == others


@pytest.mark.slow
def test_broken_videos_become_dead_letters_and_their_neighbours_are_complete(cluster, tmp_path):
    root, output = tmp_path / "data", tmp_path / "run"
    root.mkdir()
    expected = write_bad_data(root)
    before = sorted(tmp_path.rglob("*"))
    config = make_config(root, output)
    result = extract(config)
    reasons = {letter.video_id: letter.message for letter in result.dead}
    assert set(reasons) == {video_id for video_id, word in expected.items() if word}
    for video_id, word in expected.items():
        assert word is None or word in reasons[video_id], reasons[video_id]
    folder = RunFolder(str(output))
    committed = folder.committed()
    assert {video_id for video_id, word in expected.items() if word is None} <= set(committed)
    # The video with a corrupt middle has its other segments.
    middle = [letter.segment_index for letter in result.dead if letter.video_id == "train/middle"]
    planned = read_segment(folder, "train/middle", 0)[0].num_segments
    assert committed["train/middle"] == set(range(planned)) - set(middle)
    written = set(tmp_path.rglob("*")) - set(before)
    assert all(output in (path, *path.parents) for path in written)

    # Repaired files are done when asked for, and nothing is tried again when not.
    shutil.copy(root / "train" / "good.mp4", root / "train" / "zero.mp4")
    again = extract(config)
    assert "train/zero" not in {letter.video_id for letter in again.dead}
    assert again.processed_frames == 40
    assert len(extract(config, retry_dead=True).dead) == len(again.dead)
