import csv

import av
import numpy as np
import pytest

from raypipe import demo
from raypipe.config import parse_config
from raypipe.datasets.folder import read_folder
from raypipe.datasets.mot import read_mot
from raypipe.demo import HEIGHT, WIDTH, Figure, demo_config, render_clip, write_demo
from raypipe.errors import UserError
from raypipe.video.encode import write_video
from raypipe.video.probe import probe_video

NUM_FRAMES = 80
NAMES = ["train/01", "test/01_runner", "test/02_wrong_way"]


def draw(root, seed=0):
    """The demo with fewer and shorter clips, one of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NUM_TRAIN": 1, "NUM_TEST": 2, "NUM_FRAMES": NUM_FRAMES}.items():
            patch.setattr(demo, name, value)
        write_demo(root, seed)
    return root


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("demo") / "data")


def odd_figure(number, anomaly):
    return render_clip(500 + number, anomaly)[2]


def test_everything_that_a_data_set_has_is_written(drawn):
    files = ["labels.csv", *(f"{name}.mp4" for name in NAMES), *(f"boxes/{name}.txt" for name in NAMES)]
    assert sorted(contents(drawn)) == sorted(files)
    listing = read_folder(str(drawn))
    assert sorted(video.video_id for video in listing.videos) == sorted(NAMES)
    config = parse_config(demo_config(drawn, drawn / "run"), "demo")
    assert config.detector.boxes_root == str(drawn / "boxes")


def test_a_seed_gives_its_bytes(drawn, tmp_path):
    assert contents(draw(tmp_path / "same")) == contents(drawn)
    other = contents(draw(tmp_path / "other", seed=1))
    assert all(other[name] != content for name, content in contents(drawn).items())


def test_coding_the_same_frames_again_gives_the_same_file(tmp_path):
    # Memory is used differently each time; with x264's macroblock tree that showed in the file.
    frames = [frame for frame, _ in zip(render_clip(0, None)[0], range(60), strict=False)]
    rng = np.random.default_rng(0)

    def coded(attempt):
        def feed():
            for frame in frames:
                junk = rng.random(int(rng.integers(1000, 300_000)))
                yield frame
                del junk

        path = tmp_path / f"{attempt}.mp4"
        write_video(path, feed())
        return path.read_bytes()

    assert len({coded(attempt) for attempt in range(6)}) == 1


def test_clips_are_video_of_the_demos_size(drawn):
    for name in NAMES:
        index = probe_video(str(drawn / f"{name}.mp4"))
        assert (index.width, index.height, index.num_frames, index.fps) == (WIDTH, HEIGHT, NUM_FRAMES, demo.FPS)
        assert index.damage is None
    # What was drawn is what is seen, but for the loss of the coding.
    with av.open(str(drawn / "train/01.mp4")) as container:
        seen = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:2]
    frames, _, odd = render_clip(0, None)
    assert odd is None
    for image, expected in zip(seen, frames, strict=False):
        assert np.abs(image.astype(float) - expected).mean() < 6


def test_boxes_lie_inside_the_frames(drawn):
    for name in NAMES:
        frame, boxes, confidence, _ = read_mot(str(drawn / "boxes"), name)
        assert len(frame) > NUM_FRAMES
        assert (frame.min(), frame.max()) == (0, NUM_FRAMES - 1)
        assert (boxes >= 0).all()
        assert (boxes[:, [0, 2]] <= WIDTH + 0.01).all()
        assert (boxes[:, [1, 3]] <= HEIGHT).all()
        assert (boxes[:, 2:] - boxes[:, :2] > 4).all()
        assert (confidence == 1).all()


@pytest.mark.parametrize(("number", "anomaly"), [(0, "runner"), (1, "wrong_way")])
def test_labels_are_where_the_odd_figures_boxes_are(drawn, number, anomaly):
    with (drawn / "labels.csv").open(newline="") as file:
        label = next(row for row in csv.DictReader(file) if row["video"].endswith(anomaly))
    odd = odd_figure(number, anomaly)
    expected = {frame: odd.box(frame) for frame in range(NUM_FRAMES) if odd.box(frame)}
    assert list(expected) == list(range(int(label["start_frame"]), int(label["end_frame"])))
    assert 0 < len(expected) < NUM_FRAMES
    frame, boxes, _, _ = read_mot(str(drawn / "boxes"), label["video"])
    for number_of_frame, (left, top, width, height) in expected.items():
        box = np.array([left, top, left + width, top + height])
        distance = np.abs(boxes[frame == number_of_frame] - box).max(axis=1).min()
        assert distance < 0.02  # two digits


def test_only_test_clips_are_labelled(drawn):
    with (drawn / "labels.csv").open(newline="") as file:
        assert [row["video"] for row in csv.DictReader(file)] == NAMES[1:]


@pytest.mark.parametrize(("anomaly", "speed"), [("runner", 4.0), ("wrong_way", -2.4)])
def test_an_odd_figure_is_not_like_the_others(anomaly, speed):
    _, figures, odd = render_clip(1, anomaly)
    assert odd is figures[-1]
    assert odd.speed == pytest.approx(speed)
    assert all(0.96 <= figure.speed <= 1.44 for figure in figures[:-1])


@pytest.mark.parametrize(
    ("x", "speed", "frame", "expected"),
    [
        (100, 2, 10, (100, 30, 10, 20)),
        (100, 2, 13, (106, 30, 10, 20)),
        (100, -2, 13, (94, 30, 10, 20)),
        (100, 2, 9, None),  # not there yet
        (-4, 2, 10, (0, 30, 6, 20)),
        (-5, 2, 10, (0, 30, 5, 20)),  # half of it
        (-6, 2, 10, None),
        (WIDTH - 6, 1, 10, (WIDTH - 6, 30, 6, 20)),
        (WIDTH - 6, 1, 12, None),
        (WIDTH + 50, 1, 10, None),
    ],
)
def test_boxes_of_a_figure(x, speed, frame, expected):
    mask = np.ones((20, 10), np.float32)
    assert Figure(np.zeros((20, 10, 3), np.float32), mask, x, 30.0, speed, first_frame=10).box(frame) == expected


def test_what_is_there_is_left_alone(drawn, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    (root / "labels.csv").write_text("mine")
    write_demo(root)
    assert contents(root) == {"labels.csv": b"mine"}


def test_a_start_that_was_cut_off_is_done_again(drawn, tmp_path):
    root = draw(tmp_path / "data")
    (root / "labels.csv").unlink()
    (root / "test/01_runner.mp4").write_bytes(b"half")
    assert contents(draw(root)) == contents(drawn)


@pytest.mark.parametrize("name", ["file", "file/data", "x" * 300])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="the demo needs a folder it can write to") as caught:
        draw(tmp_path / name)
    assert name in str(caught.value)
