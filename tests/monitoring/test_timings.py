from raypipe.monitoring import timings as timings_module
from raypipe.monitoring.drivers import Driver
from raypipe.monitoring.meter import Meter
from raypipe.monitoring.timings import TIMINGS_NAME, read_timings, stage_timings, write_timings
from raypipe.run_folder.folder import RunFolder


def tell(folder, session, seconds, frames, **stages):
    """Write what a driver tells of its stages, as {stage: seconds}."""
    progress = Meter().snapshot() | {"seconds": seconds, "frames_done": frames}
    progress["stages"] = {name: {"seconds": value, "frames": frames} for name, value in stages.items()}
    told = Driver(session, "host", 1, "1/1", "done", float(session), float(session), progress)
    folder.commit_json(f"drivers/{session}.json", vars(told))


def test_the_timings_of_all_drivers_are_summed(tmp_path):
    folder = RunFolder(str(tmp_path))
    assert read_timings(folder) == {}
    folder.commit_json(TIMINGS_NAME, {"train": {"seconds": 9.0, "frames": 3}, "decode": {"seconds": 1, "frames": 1}})
    tell(folder, "1", 10.0, 100, decode=4.0, detect=12.0)
    tell(folder, "2", 20.0, 300, decode=8.0, detect=24.0)
    tell(folder, "3", 5.0, 0)  # it came to nothing
    expected = {
        "decode": {"seconds": 12.0, "frames": 400},
        "detect": {"seconds": 36.0, "frames": 400},
        "extract": {"seconds": 30.0, "frames": 400},
        "train": {"seconds": 9.0, "frames": 3},
    }
    assert read_timings(folder) == expected
    write_timings(folder)
    assert folder.read_json(TIMINGS_NAME) == expected
    found = stage_timings(folder)
    assert found["decode"] == {"seconds": 12.0, "frames_per_second": 400 / 12, "share": 0.25}
    assert found["detect"]["share"] == 0.75
    assert found["extract"] == {"seconds": 30.0, "frames_per_second": 400 / 30}


def test_a_driver_that_ends_while_another_writes_is_not_lost(tmp_path, monkeypatch):
    """The other wrote what it had read before ours was there; whoever writes looks again afterwards."""
    folder = RunFolder(str(tmp_path))
    tell(folder, "1", 10.0, 100, decode=4.0)
    original = RunFolder.commit_json

    def meanwhile(self, name, document):
        original(self, name, document)
        if name == TIMINGS_NAME and not folder.exists("drivers", "2.json"):
            tell(folder, "2", 20.0, 300, decode=8.0)

    monkeypatch.setattr(timings_module.RunFolder, "commit_json", meanwhile)
    write_timings(folder)
    assert folder.read_json(TIMINGS_NAME)["decode"] == {"seconds": 12.0, "frames": 400}


def test_timings_from_before_drivers_told_them(tmp_path):
    folder = RunFolder(str(tmp_path))
    told = {"decode": {"seconds": 2.0, "frames": 10}}
    folder.commit_json(TIMINGS_NAME, told)
    assert read_timings(folder) == told


def test_those_of_a_variation_go_first(tmp_path):
    RunFolder(str(tmp_path)).commit_json(TIMINGS_NAME, {"score": {"seconds": 2.0, "frames": 10}})
    folder = RunFolder(str(tmp_path), "knn")
    folder.commit_json(folder.product(TIMINGS_NAME), {"score": {"seconds": 1.0, "frames": 10}})
    assert stage_timings(folder)["score"]["seconds"] == 1.0
