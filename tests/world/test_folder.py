import csv
import hashlib
import json
import subprocess
import sys

import pytest

from raypipe.datasets.folder import read_folder
from raypipe.datasets.mot import read_mot
from raypipe.errors import UserError
from raypipe.video.probe import probe_video
from raypipe.world import folder as folder_module
from raypipe.world.clips import Seen, WorldConfig
from raypipe.world.folder import FolderPlan, intervals, missing_clips, mot_text, open_folder, write_clip, write_folder

SMALL = WorldConfig(width=96, height=72, num_frames=40, num_walkers=2, novelties=("cycling",))
PLAN = FolderPlan(SMALL, 1, 1)
SEEN = Seen(3, (10.0, 20.0, 30.0, 60.0), (10.0, 20.0, 30.0, 60.0), 1.0, "vehicle", "driving", "a car is driving", True)


@pytest.mark.parametrize(
    ("novel", "gap", "expected"),
    [
        ([], 0, []),
        ([False, False], 0, []),
        ([True, True], 0, [(0, 2)]),
        ([False, True, False, True, True], 0, [(1, 2), (3, 5)]),
        ([False, True, False, True, True], 1, [(1, 5)]),
        ([True, False, False, True], 1, [(0, 1), (3, 4)]),
    ],
)
def test_intervals(novel, gap, expected):
    assert intervals(novel, gap) == expected


def test_text_of_boxes():
    assert mot_text([[], [SEEN]]) == "2,3,10.00,20.00,20.00,40.00,1,-1,-1,1.000\n"


def hashes(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("world") / "whole"
    write_folder(root, PLAN)
    return root


def test_a_folder_reads_back(drawn):
    listing = read_folder(str(drawn))
    assert [video.video_id for video in listing.videos] == ["test/001_cycling", "train/001"]
    index = probe_video(str(drawn / "test/001_cycling.mp4"))
    assert (index.num_frames, index.width, index.height) == (40, 96, 72)
    with (drawn / "truth/test/001_cycling.csv").open() as file:
        rows = list(csv.DictReader(file))
    novel = {int(row["frame"]) for row in rows if row["action"] == "cycling"}
    assert listing.labels
    ((start, end),) = listing.labels["test/001_cycling"]
    assert {start, end - 1} <= novel
    frames, boxes, _, _ = read_mot(str(drawn / "boxes"), "test/001_cycling")
    assert 0 < len(frames) <= len(rows)
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_folder_has_the_same_bytes_again(drawn, tmp_path):
    write_folder(tmp_path / "again", PLAN)
    assert hashes(tmp_path / "again") == hashes(drawn)


def test_shrinking_clips_are_a_folder_too(tmp_path):
    write_folder(tmp_path / "world", FolderPlan(SMALL, 1, 2, shrinking=True))
    videos = read_folder(str(tmp_path / "world")).videos
    assert [video.video_id for video in videos] == ["test/001_walking", "test/002_cycling", "train/001"]


def test_train_clips_may_be_shorter_than_the_others(tmp_path):
    plan = FolderPlan(SMALL, 2, 1, train_frames=12)
    write_folder(tmp_path / "world", plan)
    lengths = {
        name: probe_video(str(tmp_path / f"world/{name}.mp4")).num_frames
        for name in ("train/001", "train/002", "test/001_cycling")
    }
    assert lengths == {"train/001": 12, "train/002": 12, "test/001_cycling": 40}
    assert plan.num_frames(plan.clips()) == 64
    assert FolderPlan(SMALL, 1, 1, train_frames=40).document() == PLAN.document()
    with pytest.raises(UserError, match="train clips of 1 frames"):
        FolderPlan(SMALL, 1, 1, train_frames=1)


def test_what_was_cut_off_is_gone_on_with(drawn, tmp_path, monkeypatch):
    root = tmp_path / "world"
    open_folder(root, PLAN)
    train, test = PLAN.clips()
    write_clip(root, PLAN, *train)
    before = (root / "train/001.mp4").stat().st_mtime_ns
    # Killed in the middle of the second clip: half a video, and no labels.
    (root / "test").mkdir()
    (root / "test/.001_cycling.mp4").write_bytes(b"half")
    (root / "test/001_cycling.mp4").write_bytes(b"half")
    assert missing_clips(root, PLAN) == [test]
    assert not (root / "labels.csv").exists()
    write_folder(root, PLAN)
    assert hashes(root) == hashes(drawn)
    assert (root / "train/001.mp4").stat().st_mtime_ns == before
    # And once all is there, nothing is drawn any more.
    monkeypatch.setattr(folder_module, "write_video", None)
    write_folder(root, PLAN)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (FolderPlan(SMALL.model_copy(update={"seed": 4}), 1, 1), "seed was 0, now 4"),
        (FolderPlan(SMALL, 2, 1), "num_train was 1, now 2"),
        (FolderPlan(SMALL, 1, 1, shrinking=True), "shrinking was False, now True"),
        (FolderPlan(SMALL, 1, 1, train_frames=20), "train_frames was None, now 20"),
    ],
)
def test_another_world_is_refused(drawn, plan, words):
    with pytest.raises(UserError, match="holds another world") as caught:
        write_folder(drawn, plan)
    assert words in str(caught.value)


def test_a_damaged_description_is_told(drawn, tmp_path):
    root = tmp_path / "world"
    root.mkdir()
    (root / "world.json").write_text("{half")
    with pytest.raises(UserError, match=r"world\.json is damaged"):
        write_folder(root, PLAN)


@pytest.mark.parametrize("name", ["file", "file/data", "x" * 300])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError) as caught:
        write_folder(tmp_path / name, PLAN)
    assert name in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


FULL = """
import resource, signal, sys
from pathlib import Path
from raypipe.world.folder import write_folder
from tests.world.test_folder import PLAN
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
write_folder(Path(sys.argv[1]), PLAN)
"""


@pytest.mark.parametrize("largest", [200, 3000])
def test_a_disk_that_is_full_costs_nothing_that_was_drawn(drawn, tmp_path, largest):
    """Files may not grow past a size, which is told as a full disk is: in world.json, and in the middle of a clip."""
    root = tmp_path / "world"
    done = subprocess.run([sys.executable, "-c", FULL, str(root), str(largest)], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"raypipe.errors.UserError: {root}")
    assert "File too large; clips that were drawn stay: mend that, and start it again" in last
    if largest > 200:
        assert json.loads((root / "world.json").read_text())["num_frames"] == 40
        assert missing_clips(root, PLAN) == PLAN.clips()
    write_folder(root, PLAN)
    assert hashes(root) == hashes(drawn)
