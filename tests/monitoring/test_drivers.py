import json
import logging
import threading
import time
import uuid

import pytest

from raypipe.errors import UserError
from raypipe.monitoring import drivers as drivers_module
from raypipe.monitoring.drivers import SILENT_SECONDS, Driver, Heartbeat, living_sessions, read_drivers
from raypipe.monitoring.meter import Meter
from raypipe.ops.shards import Shard
from raypipe.run_folder.folder import STALE_SECONDS, RunFolder

PROGRESS = Meter().snapshot()


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return RunFolder(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def driver(session="1-a", *, heard=1000.0, state="working", shard="1/1"):
    return Driver(session, "host", 7, shard, state, heard - 50, heard, PROGRESS)


def log_lines(folder, session):
    paths = sorted(folder.filesystem.find(folder.path("log", session)))
    return [[json.loads(line) for line in folder.filesystem.cat_file(path).splitlines()] for path in paths]


def working_meter(segments=4):
    meter = Meter()
    meter.plan([("decode",)], segments, 40)
    return meter


@pytest.mark.parametrize(
    ("state", "silence", "is_heard", "is_living"),
    [
        ("working", 0, True, True),
        ("working", SILENT_SECONDS, True, True),
        ("working", SILENT_SECONDS + 1, False, True),
        ("working", STALE_SECONDS, False, False),
        ("done", 0, False, False),
        ("failed", 0, False, False),
        ("working", -5, True, True),  # its clock is ahead
    ],
)
def test_who_is_heard(state, silence, is_heard, is_living):
    told = driver(state=state)
    assert told.is_heard(1000.0 + silence) == is_heard
    assert living_sessions([told], 1000.0 + silence) == ({"1-a"} if is_living else set())


def test_a_driver_tells_of_itself_until_it_ends(folder, monkeypatch):
    monkeypatch.setattr(drivers_module, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(drivers_module, "LOG_BEATS", 1)
    beats, many = [], threading.Event()

    def publish(snapshot):
        beats.append(snapshot["segments_done"])
        if len(beats) >= 4:
            many.set()

    meter = working_meter()
    with Heartbeat(folder, "5-x", Shard(2, 3), meter, publish):
        (told,) = read_drivers(folder)
        assert (told.state, told.shard, told.share, told.progress["segments"]) == ("working", "2/3", Shard(2, 3), 4)
        assert told.is_heard(time.time())
        meter.add({"start_frame": 0, "stop_frame": 10})
        assert many.wait(30)
    (told,) = read_drivers(folder)
    assert (told.state, told.reason, told.progress["segments_done"]) == ("done", None, 1)
    assert beats[0] == 0
    assert beats[-1] == 1
    ((*lines, last),) = log_lines(folder, "5-x")
    assert [line["state"] for line in lines] == ["working"] * len(lines)
    assert len(lines) >= 3
    assert last == vars(told)
    assert sorted(line["heard"] for line in lines) == [line["heard"] for line in lines]


def test_the_log_has_every_third_heartbeat_and_the_last(folder, monkeypatch):
    monkeypatch.setattr(drivers_module, "HEARTBEAT_SECONDS", 1e6)
    meter = working_meter()
    with Heartbeat(folder, "5-x", Shard(), meter) as heartbeat:
        for _ in range(4):
            meter.add({"start_frame": 0, "stop_frame": 10})
            heartbeat._beat()
    ((*lines, last),) = log_lines(folder, "5-x")
    assert [line["progress"]["segments_done"] for line in (*lines, last)] == [0, 3, 4]
    assert last["state"] == "done"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (RuntimeError("first\nsecond"), "failed", "RuntimeError: first"),
        (OSError("at https://me:secret@host/x"), "failed", "OSError: at https://***@host/x"),
        (UserError("no room"), "failed", "UserError: no room"),
    ],
)
def test_how_a_driver_ended(folder, error, state, reason):
    def work():
        with Heartbeat(folder, "5-x", Shard(), working_meter()):
            raise error

    with pytest.raises(type(error)):
        work()
    (told,) = read_drivers(folder)
    assert (told.state, told.reason) == (state, reason)


def test_a_driver_without_work_leaves_no_trace(folder):
    with Heartbeat(folder, "5-x", Shard(), Meter()):
        assert len(read_drivers(folder)) == 1
    assert folder.filesystem.find(folder.path()) == []
    with pytest.raises(UserError, match="a mistake"), Heartbeat(folder, "5-x", Shard(), Meter()):
        raise UserError("a mistake")
    assert folder.filesystem.find(folder.path()) == []


def test_a_driver_that_broke_before_it_had_work_is_told_of(folder):
    with pytest.raises(RuntimeError, match="Ray"), Heartbeat(folder, "5-x", Shard(), Meter()):
        raise RuntimeError("Ray does not start")
    assert [(told.state, told.reason) for told in read_drivers(folder)] == [
        ("failed", "RuntimeError: Ray does not start")
    ]


def test_the_log_is_in_files_of_a_bounded_number_of_lines(folder, monkeypatch):
    monkeypatch.setattr(drivers_module, "LOG_LINES", 2)
    monkeypatch.setattr(drivers_module, "LOG_BEATS", 1)
    monkeypatch.setattr(drivers_module, "HEARTBEAT_SECONDS", 0.01)
    beats = threading.Semaphore(0)
    with Heartbeat(folder, "5-x", Shard(), working_meter(), lambda _: beats.release()):
        for _ in range(4):
            assert beats.acquire(timeout=30)
    lines = log_lines(folder, "5-x")
    assert {len(part) for part in lines[:-1]} == {2}
    assert len(lines) >= 2
    assert lines[-1][-1]["state"] == "done"


def test_a_heartbeat_that_cannot_be_written_is_told_and_costs_no_work(tmp_path, monkeypatch, caplog):
    def fail(self, target, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "_commit_locally", fail)
    with caplog.at_level(logging.WARNING), Heartbeat(RunFolder(str(tmp_path)), "5-x", Shard(), working_meter()):
        pass
    assert "heartbeat could not be written (" in caplog.text
    assert "no space is left on its disk (No space left on device)" in caplog.text


def test_drivers_are_read_in_the_order_of_their_starts(folder):
    assert read_drivers(folder) == []
    for session, heard in (("2-b", 2000.0), ("1-a", 1000.0)):
        folder.commit_json(f"drivers/{session}.json", vars(driver(session, heard=heard)))
    assert [told.session for told in read_drivers(folder)] == ["1-a", "2-b"]


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"session": "1"}', b"[]"])
def test_a_damaged_file_is_named(folder, content):
    folder.commit(folder.path("drivers", "1-a.json"), content)
    with pytest.raises(UserError, match=r"/drivers is damaged: .*\. Remove it\."):
        read_drivers(folder)
