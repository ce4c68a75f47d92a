import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from jobs.development import make_world
from raypipe.demo import Demo
from raypipe.errors import UserError
from raypipe.pretraining.coco_captions import read_captions
from raypipe.world import files
from raypipe.world.actions import NORMAL
from raypipe.world.clips import NOVELTIES, Seen, WorldConfig, make_clip
from raypipe.world.files import (
    CLASSES,
    _is_pictured,
    crop_rectangle,
    write_captions,
    write_detection,
    yolo_text,
)
from raypipe.world.folder import film

SMALL = WorldConfig(width=96, height=72, num_frames=40, num_walkers=2, novelties=("cycling",))
SEEN = Seen(3, (10.0, 20.0, 30.0, 60.0), (10.0, 20.0, 30.0, 60.0), 1.0, "vehicle", "driving", "a car is driving", True)


def test_text_of_boxes():
    assert yolo_text([SEEN], 100, 80) == "1 0.200000 0.500000 0.200000 0.500000\n"


def test_crops_are_widened_by_half_on_every_side():
    assert crop_rectangle(SEEN, SMALL) == (0, 0, 40, 72)


def test_captions_read_back(tmp_path):
    root = tmp_path / "captions"
    count = write_captions(root, SMALL, 2)
    found = read_captions(str(root / "captions.json"), str(root / "images"))
    assert len(found.images) == count > 3
    assert found.report().endswith("captions")  # nothing was left out
    assert all(image.captions[0].split()[-1] for image in found.images)
    with Image.open(found.images[0].path) as picture:
        assert picture.mode == "RGB"


def test_detection_data_is_as_ultralytics_wants_it(tmp_path):
    root = tmp_path / "detection"
    count = write_detection(root, SMALL, 5)
    data = yaml.safe_load((root / "data.yaml").read_text())
    assert data["names"] == dict(enumerate(CLASSES))
    assert data["path"] == str(root)
    pictures = {part: sorted((root / data[part]).glob("*.jpg")) for part in ("train", "val")}
    assert sum(map(len, pictures.values())) == count == 9
    assert len(pictures["val"]) == 1
    for picture in (path for paths in pictures.values() for path in paths):
        label = root / "labels" / picture.parent.name / f"{picture.stem}.txt"
        for line in label.read_text().splitlines():
            number, x, y, width, height = line.split()
            assert int(number) in data["names"]
            x, y, width, height = map(float, (x, y, width, height))
            assert -0.000001 <= x - width / 2 < x + width / 2 <= 1.000001
            assert -0.000001 <= y - height / 2 < y + height / 2 <= 1.000001


def test_pictures_are_frames_as_they_come_out_of_a_video_file(tmp_path):
    write_detection(tmp_path / "detection", SMALL, 1)
    film(make_clip(SMALL, "pretrain", 0), tmp_path / "clip.mp4", SMALL.fps)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames = list(make_clip(SMALL, "pretrain", 0).frames())
    pictures = sorted((tmp_path / "detection" / "images" / "train").glob("*.jpg"))
    assert len(pictures) == 3
    for picture in pictures:
        found, number = np.asarray(Image.open(picture), np.float64), int(picture.stem.split("_")[-1])
        assert np.abs(found - decoded[number]).mean() < np.abs(found - frames[number].image).mean()
        label = tmp_path / "detection" / "labels" / "train" / f"{picture.stem}.txt"
        assert label.read_text() == yolo_text(frames[number].seen, SMALL.width, SMALL.height)


WALKS = ("walking",) * 70
LIES = ("walking",) * 28 + ("falling",) * 10 + ("lying",) * 12 + ("walking",) * 20
LIES_AT_ONCE = ("falling",) * 10 + ("lying",) * 20 + ("walking",) * 40


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([], [15, 45]),
        ([WALKS, WALKS], [15, 45]),
        ([WALKS, LIES], [15, 35, 42, 45, 47]),
        ([LIES_AT_ONCE, WALKS], [5, 12, 15, 17, 22, 27, 45]),
        ([LIES_AT_ONCE, LIES], [5, 12, 15, 17, 22, 27, 35, 42, 45, 47]),
    ],
)
def test_pictures_are_closer_together_while_somebody_falls_or_lies(actions, expected):
    clip = make_clip(SMALL, "pretrain", 0)
    cast = tuple(SimpleNamespace(actions=one) for one in actions)
    assert [frame for frame in range(70) if _is_pictured(replace(clip, actors=cast), frame)] == expected


def test_clips_too_short_for_a_picture_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="clips of 15 frames: pictures are taken from frame 15 on"):
        write_detection(tmp_path / "detection", SMALL.model_copy(update={"num_frames": 15}), 1)
    assert not (tmp_path / "detection").exists()
    assert write_detection(tmp_path / "detection", SMALL.model_copy(update={"num_frames": 16}), 1) >= 1


def test_normal_actions_are_less_than_half_of_the_crops_and_novel_ones_are_all_there(tmp_path):
    write_captions(tmp_path / "captions", WorldConfig(num_frames=40), len(NOVELTIES))
    crops = json.loads((tmp_path / "captions" / "captions.json").read_text())["images"]
    counts = Counter(crop["action"] for crop in crops)
    assert 0.2 < sum(counts[action] for action in NORMAL) / counts.total() < 0.5
    assert min(counts[action] for action in NOVELTIES) > 3


def test_a_clip_of_nobody_has_no_crops(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "make_clip", lambda *which: replace(make_clip(*which), actors=()))
    assert write_captions(tmp_path / "captions", SMALL, 1) == 0


def test_crops_are_of_frames_as_they_come_out_of_a_video_file(tmp_path):
    write_captions(tmp_path / "captions", SMALL, 1)
    clip = make_clip(SMALL, "pretrain", 0)
    film(clip, tmp_path / "clip.mp4", SMALL.fps)
    drawn = [frame.image for frame in clip.frames()]
    with av.open(str(tmp_path / "clip.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    seen = {(number, one.track_id): one for number, frame in enumerate(clip.frames()) for one in frame.seen}
    crops = sorted((tmp_path / "captions" / "images").glob("*.jpg"))
    assert crops
    for crop in crops:
        number, track = crop.stem.split("_")[-2:]
        x1, y1, x2, y2 = crop_rectangle(seen[int(number), int(track)], SMALL)
        found = np.asarray(Image.open(crop), np.float64)
        far_from = [np.abs(found - images[int(number)][y1:y2, x1:x2]).mean() for images in (decoded, drawn)]
        assert far_from[0] < far_from[1]


@pytest.mark.parametrize("write", [write_captions, write_detection])
def test_several_processes_write_the_same_bytes(tmp_path, write):
    def content(processes):
        root = tmp_path / str(processes) / "world"
        write(root, SMALL, 3, processes)
        files = {path.relative_to(root): path for path in root.rglob("*") if path.is_file()}
        # The folder's own path is in data.yaml.
        return {name: path.read_bytes().replace(str(root).encode(), b"") for name, path in files.items()}

    assert content(1) == content(2)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty"):
        write_detection(tmp_path, SMALL, 1)
    with pytest.raises(UserError, match="Not a directory"):
        write_captions(tmp_path / "mine.txt" / "below", SMALL, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "1"], "--frames"),
        (["--novelties", "flying"], "--novelties"),
        (["--test-clips", "0"], "at least 1"),
        (["--width", "97"], "--width"),
        (["--far-fraction", "1.5"], "--far-fraction"),
        (["--train-frames", "1"], "train clips of 1 frames"),
    ],
)
def test_the_command_tells_mistakes(tmp_path, capsys, arguments, message):
    assert make_world.main(["--out", str(tmp_path / "w"), "--split", "folder", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_the_command_writes(tmp_path, capsys):
    arguments = ["--split", "detection", "--clips", "1", "--frames", "31", "--width", "96", "--height", "72"]
    assert make_world.main(["--out", str(tmp_path / "w"), *arguments]) == 0
    assert "2 pictures with boxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said", "train_frames"),
    [
        (["--split", "folder", "--train-clips", "1"], "1 train and 1 test clips, 155 frames", 75),
        (["--split", "folder", "--train-clips", "1", "--train-frames", "5"], "1 train and 1 test clips, 85 frames", 5),
        (["--split", "shrinking", "--train-clips", "1"], "1 train and 1 test clips, 160 frames", None),
    ],
)
def test_the_command_writes_train_clips_of_their_own_length(tmp_path, capsys, arguments, said, train_frames):
    size = ["--test-clips", "1", "--frames", "80", "--width", "96", "--height", "72"]
    assert make_world.main(["--out", str(tmp_path / "w"), *arguments, *size]) == 0
    assert said in capsys.readouterr().out
    assert json.loads((tmp_path / "w/world.json").read_text())["train_frames"] == train_frames


def test_the_command_draws_as_many_train_clips_as_the_demo():
    assert (make_world.TRAIN_CLIPS["folder"], make_world.TRAIN_FRAMES) == (Demo().num_train, Demo().train_frames)


def test_all_can_be_far_away(tmp_path):
    def mean_height(far_fraction):
        out = tmp_path / far_fraction
        arguments = ["--split", "captions", "--clips", "2", "--frames", "31", "--processes", "1"]
        assert make_world.main(["--out", str(out), "--far-fraction", far_fraction, *arguments]) == 0
        return np.mean([image["height"] for image in json.loads((out / "captions.json").read_text())["images"]])

    assert mean_height("1") < 0.7 * mean_height("0")
