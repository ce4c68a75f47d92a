import json
import uuid

import pytest

from raypipe.cli.main import main
from raypipe.errors import UserError
from raypipe.extraction.status import status_document, status_lines, status_of
from raypipe.monitoring.drivers import Driver
from raypipe.monitoring.meter import Meter
from raypipe.run_folder.folder import DeadLetter, RunFolder
from tests.helpers.catalogues import write_run

NOW = 1_000_000.0
# Segments of 100 frames at most, warm-up and look-ahead included: bodies are shorter.
LENGTHS = {"test/a": 100, "test/b": 60, "test/c": 90, "train/d": 40, "train/bad": None}


@pytest.fixture(params=["local", "memory"])
def run(request, tmp_path):
    return write_run(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}", LENGTHS)


def tell(folder, session, *, silence=1.0, shard="1/1", state="working", reason=None, **progress):
    heard = NOW - silence
    told = Driver(session, "node7", 4711, shard, state, heard - 60, heard, Meter().snapshot() | progress, reason)
    folder.commit_json(f"drivers/{session}.json", vars(told))


def under_way(**changes):
    return {"segments": 2, "segments_done": 1, "frames_per_second": 20.0, "seconds_left": 3.0} | changes


def lines_of(run):
    return status_lines(status_of(*run, now=NOW))


def test_a_run_that_nobody_works_on(run):
    folder, _ = run
    folder.commit(folder.feature_path("test/a", 0), b"features")
    folder.commit_dead(DeadLetter("test/c", 0, "decode", "CorruptVideoError", "frame 7 is broken"))
    assert lines_of(run) == [
        f"run: {folder.root}",
        "videos: 5, of which 1 cannot be read",
        "done: 1 segments, 100 frames of 4 segments, 290 frames (34.5%)",
        "dead: 1 segments, 90 frames",
        "left: 2 segments, 100 frames",
        "rate: none, no driver is heard of; start one to go on",
        "  1 x decode, CorruptVideoError, as test/c segment 0: frame 7 is broken",
        "  1 x probe, CorruptVideoError, as train/bad segment 0: no moov",
        "drivers: none is known",
    ]


def test_two_shards_of_three_are_at_work(run):
    """Dealt out longest first: a and d to the first, c and the unreadable one to the second, b to the third."""
    folder, _ = run
    tell(folder, "1-a", shard="1/3", **under_way(seconds_since_last=4.0))
    tell(folder, "2-b", shard="2/3", **under_way(frames_per_second=4.5, seconds_left=120.0))
    tell(folder, "3-c", shard="3/3", silence=840.0, **under_way())
    status = status_of(*run, now=NOW)
    assert (status.frames_per_second, status.seconds_left) == (24.5, 120.0)
    assert (status.amounts.left.segments, status.amounts.unclaimed.segments) == (4, 1)
    lines = status_lines(status)
    assert "rate: 24 frames/s, 2.0 min left; 1 segments are in the shard of no driver that is heard of" in lines
    # In the order in which they began.
    assert lines[-5:] == [
        "drivers: 3 so far",
        "  shard 3/3, process 4711 on node7: 1 of 2 segments, last heard of 14 min ago: dead, or cut off",
        "  shard 1/3, process 4711 on node7: 1 of 2 segments, at work, heard of 1 s ago",
        "    20 frames/s, last segment 5 s ago",
        "  shard 2/3, process 4711 on node7: 1 of 2 segments, at work, heard of 1 s ago",
    ]


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"state": "done", "silence": 7200.0}, "1 of 2 segments, done 2.0 h ago"),
        ({"state": "failed", "reason": "OSError: no room"}, "1 of 2 segments, failed 1 s ago (OSError: no room)"),
        ({"state": "interrupted", "silence": 300000.0}, "1 of 2 segments, interrupted 3.5 days ago"),
        ({"segments": 0}, "looking at the videos, at work, heard of 1 s ago"),
        ({"silence": -200.0}, "1 of 2 segments, at work, heard of by a clock that is 3.3 min ahead of this one"),
        ({"silence": 61.0}, "1 of 2 segments, last heard of 61 s ago: dead, or cut off"),
    ],
)
def test_what_is_told_of_a_driver(run, told, line):
    tell(run[0], "1-a", **under_way() | told)
    assert f"  shard 1/1, process 4711 on node7: {line}" in lines_of(run)


def test_a_driver_after_which_another_took_up_its_shard_is_only_counted(run):
    tell(run[0], "1-a", silence=5000.0, **under_way())
    tell(run[0], "2-b", silence=20.0, **under_way(segments=1))
    assert lines_of(run)[-2:] == [
        "drivers: 2 so far",
        "  shard 1/1, process 4711 on node7: 1 of 1 segments, at work, heard of 20 s ago",
    ]


def test_stages_of_a_driver_at_work(run):
    row = {"seconds": 1.0, "frames": 9, "actors": 1, "frames_per_second": 50.0, "busy": 0.4, "queue": 3}
    tell(run[0], "1-a", **under_way(stages={"decode": row}, object_store_bytes=2**21))
    assert lines_of(run)[-1] == "    decode 50/s 40% busy, 3 wait; object store 2 MiB"


def test_before_the_videos_are_known(tmp_path):
    folder = RunFolder(str(tmp_path))
    tell(folder, "1-a")
    lines = status_lines(status_of(folder, None, now=NOW))
    assert lines[1].startswith("segments: not known yet")
    assert lines[-1].endswith("looking at the videos, at work, heard of 1 s ago")
    assert status_document(status_of(folder, None, now=NOW))["amounts"] is None


def test_reasons_the_most_frequent_first(run):
    folder, _ = run
    folder.commit(folder.feature_path("test/a", 0), b"features")
    for name in ("test/a", "test/b", "test/c"):
        folder.commit_dead(DeadLetter(name, 0, "decode", "CorruptVideoError", f"{name} is broken"))
    folder.commit_dead(DeadLetter("train/gone", 0, "decode", "crashed", "of a video that is no more"))
    status = status_of(*run, now=NOW)
    assert [(r.count, r.stage, r.example.video_id) for r in status.reasons] == [
        (2, "decode", "test/b"),
        (1, "probe", "train/bad"),
    ]
    # Of what is done, an old dead letter does not count; that of a video that cannot be read is of no segment.
    assert (status.amounts.done.segments, status.amounts.dead.segments, status.amounts.left.segments) == (1, 2, 1)


def test_the_command(run, capsys):
    folder, _ = run
    tell(folder, "1-a", **under_way())
    assert main(["status", folder.root]) == 0
    assert "done: 0 segments, 0 frames of 4 segments, 290 frames (0.0%)" in capsys.readouterr().out
    assert main(["status", "--json", folder.root]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["amounts"]["left"] == {"segments": 4, "frames": 290}
    assert document["videos"] == {"total": 5, "unreadable": 1}
    (told,) = document["drivers"]
    assert (told["session"], told["is_heard"], told["heard_seconds_ago"] > 1000) == ("1-a", False, True)
    assert document["dead_letters"][0]["example"]["message"] == "no moov"


def test_what_is_no_run(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (f"raypipe: {tmp_path} is not the output folder of a run: it has no run.json\n")


def test_a_damaged_driver_file_is_told(run):
    folder, _ = run
    folder.commit(folder.path("drivers", "1-a.json"), b"{")
    with pytest.raises(UserError, match="damaged"):
        status_of(*run)
