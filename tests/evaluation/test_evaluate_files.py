import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from raypipe.config.file import validate
from raypipe.config.run import DatasetConfig
from raypipe.config.workflow import EvaluateConfig
from raypipe.datasets.readers import read_dataset
from raypipe.errors import UserError
from raypipe.evaluation.evaluate_files import evaluate_dataset, evaluate_labelled
from tests.helpers.miniatures import WRITERS
from tests.helpers.small_data import write_data

ORACLES = Path(__file__).parents[3] / "shared" / "oracles" / "scoring"
NAN = np.nan
CONFIG = EvaluateConfig(bootstrap_samples=50)


@pytest.mark.skipif(not ORACLES.is_dir(), reason="needs ../shared/oracles/scoring")
def test_real_scores_reach_their_published_figures():
    expected = json.loads((ORACLES / "expected.json").read_text())
    file = ORACLES / "shanghaitech_stgnf.npz"
    result = evaluate_labelled(file, file, CONFIG, seed=0).evaluation
    names = {"micro_auc": "micro_auc", "macro_auc_anchored": "macro_auc_anchored"}
    for name, key in (names | {"macro_auc_skip": "macro_auc_skip_single_class"}).items():
        assert result.metrics[name].value == pytest.approx(expected[key], abs=1e-9)
    assert (len(result.videos), result.num_frames, len(result.one_class_videos)) == (107, 40791, 1)


GOOD = {"labels": np.array([0, 1, 0]), "video_names": np.array(["a", "b"]), "num_frames": np.array([2, 1])}


def write_labels(path, **changes):
    np.savez(path, **{key: value for key, value in (GOOD | changes).items() if value is not None})
    return path


@pytest.mark.parametrize("layout", ["npy", "named", "single", "by_video", "integers"])
def test_every_layout_of_arrays_is_read(tmp_path, layout):
    labels = write_labels(tmp_path / "labels.npz", labels=np.array([0.0, 1.0, 0.0]))
    scores = tmp_path / ("scores.npy" if layout in ("npy", "integers") else "scores.npz")
    values = np.array([1, 3, 2] if layout == "integers" else [0.1, 0.9, 0.2], int if layout == "integers" else "f4")
    if layout == "named":
        np.savez(scores, scores=values, other=np.zeros(2))
    elif layout == "by_video":
        np.savez(scores, b=values[2:], a=values[:2])
    elif layout == "single":
        np.savez(scores, values)
    else:
        np.save(scores, values)
    result = evaluate_labelled(scores, labels, CONFIG, seed=0).evaluation
    assert result.metrics["micro_auc"].value == 1.0
    assert [v.video_id for v in result.videos] == ["a", "b"]
    assert [v.num_frames for v in result.videos] == [2, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "'labels' missing, found 'video_names', 'num_frames'"),
        ({"num_frames": None, "video_names": None}, "'video_names', 'num_frames' missing, found 'labels'"),
        ({"labels": np.array([0, 2, 0])}, "label 1 is 2"),
        ({"labels": np.array([0, NAN, 0])}, "label 1 is nan"),
        ({"labels": np.array(["0", "1", "0"])}, "must be 0 or 1 per frame, not <U1"),
        ({"labels": np.array([0, 1, None])}, "'labels' holds Python objects"),
        ({"video_names": np.array(["a", "b"], object)}, "'video_names' holds Python objects"),
        ({"video_names": np.array([1, 2])}, "must be text"),
        ({"video_names": np.array(["a", "a"])}, "twice"),
        ({"video_names": np.array(["a"])}, "1 'video_names', but 2"),
        ({"num_frames": np.array([2, 2])}, "add up to 4, but there are 3"),
        ({"num_frames": np.array([4, -1])}, "whole numbers"),
        ({"num_frames": np.array([2.0, 1.0])}, "whole numbers"),
        (
            {"labels": np.array([0, 1]), "num_frames": np.array([1, 1])},
            "has 3 scores, but .* has 2 labels",
        ),
    ],
)
def test_bad_labels_are_refused_by_name(tmp_path, changes, message):
    scores, labels = tmp_path / "scores.npy", write_labels(tmp_path / "labels.npz", **changes)
    np.save(scores, np.arange(3.0))
    with pytest.raises(UserError, match=message) as error:
        evaluate_labelled(scores, labels, CONFIG, seed=0)
    assert str(labels) in str(error.value)
    assert "\n" not in str(error.value)


def save_npy(value):
    return lambda path: np.save(path.open("wb"), value, allow_pickle=True)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (None, "no such file"),
        (lambda path: path.mkdir(), "no .parquet files in this folder"),
        (lambda path: path.write_bytes(b""), "an empty file"),
        (lambda path: path.write_text("0.1\n0.2\n0.3\n"), "a text file"),
        (lambda path: path.write_bytes(b"\x80\x04K\x01."), "a Python pickle"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "a damaged [.]npz"),
        (lambda path: path.write_bytes(bytes(range(200, 250))), "something else"),
        (save_npy(np.array([0.1, None, 0.2])), "holds Python objects"),
        (save_npy(np.array([0.1, NAN, np.inf])), "2 of 3 scores are NaN or infinite, the first is 1"),
        (save_npy(np.zeros((3, 1))), r"not float64 of shape \(3, 1\)"),
        (save_npy(np.array(["a", "b", "c"])), "one number per frame"),
        (lambda path: np.savez(path.open("wb"), a=np.zeros(2), c=np.zeros(3)), "1 videos are not in .*labels.npz: c"),
        (lambda path: np.savez(path.open("wb"), a=np.zeros(2), b=[NAN]), "'b': 1 of 1 scores are NaN"),
        (lambda path: np.savez(path.open("wb")), "holds no arrays"),
    ],
)
def test_bad_scores_are_refused_by_name(tmp_path, write, message):
    scores, labels = tmp_path / "scores.npy", write_labels(tmp_path / "labels.npz")
    if write:
        write(scores)
    with pytest.raises(UserError, match=message) as error:
        evaluate_labelled(scores, labels, CONFIG, seed=0)
    assert str(scores) in str(error.value)


def test_damaged_files_are_refused(tmp_path):
    labels = write_labels(tmp_path / "labels.npz")
    scores = tmp_path / "scores.npy"
    np.save(scores, np.arange(3.0))
    whole = scores.read_bytes()
    scores.write_bytes(whole[:-4])
    with pytest.raises(UserError, match=r"a damaged \.npy"):
        evaluate_labelled(scores, labels, CONFIG, seed=0)
    scores.write_bytes(whole)
    # A flipped byte inside a member shows only when it is read: the checksum fails.
    damaged = bytearray(labels.read_bytes())
    damaged[damaged.index(b"NUMPY") + 140] ^= 0xFF
    labels.write_bytes(damaged)
    with pytest.raises(UserError, match="'labels': not a readable NumPy file"):
        evaluate_labelled(scores, labels, CONFIG, seed=0)


def test_a_foreign_member_is_refused(tmp_path):
    scores = tmp_path / "scores.npz"
    with zipfile.ZipFile(scores, "w") as archive:
        archive.writestr("scores", "0.1 0.2")
    with pytest.raises(UserError, match="'scores' is not a NumPy array"):
        evaluate_labelled(scores, write_labels(tmp_path / "labels.npz"), CONFIG, seed=0)


def test_labels_that_are_one_array(tmp_path):
    scores = tmp_path / "scores.npy"
    np.save(scores, np.arange(3.0))
    with pytest.raises(UserError, match="found a single array"):
        evaluate_labelled(scores, scores, CONFIG, seed=0)


@pytest.fixture
def data(tmp_path):
    """Two test videos of 30 and 20 frames, of which the second halves are abnormal, and a training video."""
    return write_data(tmp_path / "data", {"train/t": 12, "test/b": 20, "test/a": 30})


def dataset(root):
    return validate(DatasetConfig, {"root": str(root)}, "test")


def perfect_rows(names=("test/a", "test/b")):
    lengths = {"test/a": 30, "test/b": 20, "train/t": 12}
    rows = [f"{name},{frame},{int(frame >= lengths[name] // 2)}" for name in names for frame in range(lengths[name])]
    return "\n".join(["video,frame,score", *rows]) + "\n"


def evaluate(tmp_path, root, text=None, **options):
    scores = tmp_path / "scores.csv"
    if text is not None:
        scores.write_text(text)
    return evaluate_dataset(scores, dataset(root), CONFIG, seed=0, **options)


def test_a_table_of_scores_against_the_labels_of_a_data_set(tmp_path, data):
    found = evaluate(tmp_path, data, perfect_rows(("test/b", "train/t", "test/a")), fps=10.0)
    result = found.evaluation
    assert result.metrics["micro_auc"].value == 1.0
    assert [(v.video_id, v.num_frames, v.num_abnormal) for v in result.videos] == [
        ("test/a", 30, 15),
        ("test/b", 20, 10),
    ]
    assert (found.missing, found.num_other_videos) == ([], 1)
    assert result.alarms.num_events == 2


def test_one_array_is_cut_at_the_lengths_of_the_videos(tmp_path, data):
    score = np.concatenate([np.arange(30) >= 15, np.arange(20) >= 10]).astype(float)
    np.save(tmp_path / "scores.npy", score)
    result = evaluate_dataset(tmp_path / "scores.npy", dataset(data), CONFIG, seed=0).evaluation
    assert result.metrics["micro_auc"].value == 1.0
    assert [v.num_frames for v in result.videos] == [30, 20]
    # Opened to find their lengths, the videos also told their frame rates.
    assert result.alarms is not None
    np.save(tmp_path / "scores.npy", score[:-1])
    with pytest.raises(UserError, match=r"49 scores, but the 2 videos have 50 frames as they decode.*--lengths"):
        evaluate_dataset(tmp_path / "scores.npy", dataset(data), CONFIG, seed=0)


def test_lengths_that_are_given_need_no_videos(tmp_path, data):
    for name in ("a", "b"):
        (data / "test" / f"{name}.mp4").write_bytes(b"no video")
    # In the order of the lengths, which is that of the scores.
    np.save(tmp_path / "scores.npy", np.concatenate([np.arange(21) >= 10, np.arange(29) >= 15]).astype(float))
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("video,num_frames\ntest/b,21\ntest/a,29\n")
    result = evaluate_dataset(tmp_path / "scores.npy", dataset(data), CONFIG, seed=0, lengths=lengths).evaluation
    # In another order of the videos the same scores would be worth about a half.
    assert result.metrics["micro_auc"].value > 0.95
    # One labelled frame of a is cut; that of b behind its labelled end is normal.
    assert [(v.num_frames, v.num_abnormal) for v in result.videos] == [(29, 14), (21, 10)]
    assert [(note.video_id, note.num_cut, note.num_padded) for note in result.alignment] == [("test/a", 1, 0)]
    with pytest.raises(UserError, match=r"the length of test/a cannot be found: .*--lengths"):
        evaluate_dataset(tmp_path / "scores.npy", dataset(data), CONFIG, seed=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,frames\n", "its first line must be 'video,num_frames'"),
        ("video,num_frames\ntest/a,30\n", "has 50 scores, but the 1 videos have 30 frames by .*lengths"),
        ("video,num_frames\ntest/a,50\n", "1 of 2 videos of the test split .* have no scores: test/b"),
        ("video,num_frames\ntest/a,30\ntest/c,20\n", "1 videos are not in the test split .*: test/c"),
        ("video,num_frames\ntest/a,-3\n", "lengths.csv:2: expected a video and its number of frames, not 'test/a,-3'"),
        ("video,num_frames\ntest/a,1\ntest/a,2\n", "lengths.csv:3: test/a appears twice"),
        (
            "video,num_frames\ntest/a,30\ntest/b,21\n",
            "has 50 scores, but the 2 videos have 51 frames by .*lengths",
        ),
    ],
)
def test_bad_lengths_are_refused(tmp_path, data, text, message):
    np.save(tmp_path / "scores.npy", np.zeros(50))
    lengths = tmp_path / "lengths.csv"
    lengths.write_text(text)
    with pytest.raises(UserError, match=message):
        evaluate_dataset(tmp_path / "scores.npy", dataset(data), CONFIG, seed=0, lengths=lengths)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (perfect_rows() + "test/c,0,1\n", "1 videos are not in the test split of .*: test/c"),
        (perfect_rows(("test/b",)), "1 of 2 videos of the test split of .* have no scores: test/a. .*--partial"),
    ],
)
def test_videos_that_do_not_fit_are_refused(tmp_path, data, text, message):
    with pytest.raises(UserError, match=message):
        evaluate(tmp_path, data, text)


def test_a_part_of_the_videos_is_evaluated_only_when_asked(tmp_path, data):
    found = evaluate(tmp_path, data, perfect_rows(("test/b",)), is_partial=True)
    assert found.missing == ["test/a"]
    assert [v.video_id for v in found.evaluation.videos] == ["test/b"]


def test_lengths_of_scores_that_name_their_videos_are_held_against_them(tmp_path, data):
    """test/a has 30 frames, of which the last 15 are abnormal, and 30 scores; here it is said to have 28, and b 25."""
    plain = evaluate(tmp_path, data, perfect_rows())
    assert plain.evaluation.alignment == []
    assert any("lengths of 2 videos are not known" in note for note in plain.notes)
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("video,num_frames\ntest/a,28\ntest/b,25\n")
    found = evaluate(tmp_path, data, perfect_rows(), lengths=lengths)
    notes = {note.video_id: (note.num_cut, note.num_padded) for note in found.evaluation.alignment}
    # Two scores of a lie behind its end; five frames of b have no score.
    assert notes == {"test/a": (2, 2), "test/b": (5, 0)}
    assert not any("are not known" in note for note in found.notes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("video,start_frame,end_frame\ntest/a,20,10\n", "labels.csv:2: frames 20 to 10 are not an interval"),
        ("video,start_frame,end_frame\ntest/x,1,10\n", "there is no video 'test/x'"),
        (None, "has no labels: nothing to compare"),
    ],
)
def test_labels_that_make_no_sense_are_refused(tmp_path, data, labels, message):
    path = data / "labels.csv"
    path.unlink()
    if labels:
        path.write_text(labels)
    with pytest.raises(UserError, match=message):
        evaluate(tmp_path, data, perfect_rows())


def test_scores_by_video_are_aligned_to_labels_of_another_length(tmp_path):
    np.savez(tmp_path / "scores.npz", a=[0.1, 0.9, 0.8], b=[0.2, 0.3])
    labels = write_labels(tmp_path / "labels.npz", labels=np.array([0, 1, 0, 1]), num_frames=np.array([2, 2]))
    result = evaluate_labelled(tmp_path / "scores.npz", labels, CONFIG, seed=0).evaluation
    assert [(note.video_id, note.num_cut, note.num_padded) for note in result.alignment] == [("a", 0, 1)]
    assert [v.num_frames for v in result.videos] == [3, 2]


def test_a_public_data_set_brings_its_classes_scenes_and_frame_rates(tmp_path):
    WRITERS["shanghaitech"](tmp_path / "st")
    config = validate(DatasetConfig, {"name": "shanghaitech", "root": str(tmp_path / "st")}, "test")
    mask = np.load(tmp_path / "st" / "testing" / "test_frame_mask" / "01_0014.npy")
    tests = [video for video in read_dataset(config.name, config.root).videos if video.split == "test"]
    rows = [f"{video.video_id},{frame},{frame}" for video in tests for frame in range(len(mask))]
    (tmp_path / "s.csv").write_text("\n".join(["video,frame,score", *rows]))
    found = evaluate_dataset(tmp_path / "s.csv", config, CONFIG, seed=0)
    assert {group.name for group in found.evaluation.groups if group.kind == "scene"} == {"01", "12"}
    first = next(video for video in found.evaluation.videos if video.video_id == "test/01_0014")
    assert (first.num_frames, first.num_abnormal, first.fps) == (len(mask), mask.sum(), 24.0)
    assert found.notes[0].startswith("labels: ")


def test_scores_of_another_length_than_frame_labels_are_aligned(tmp_path):
    WRITERS["shanghaitech"](tmp_path / "st")
    config = validate(DatasetConfig, {"name": "shanghaitech", "root": str(tmp_path / "st")}, "test")
    tests = [video for video in read_dataset(config.name, config.root).videos if video.split == "test"]
    num_labelled = read_dataset(config.name, config.root).label_frames
    rows = [f"{v.video_id},{frame},1" for v in tests for frame in range(num_labelled[v.video_id] + 2)]
    (tmp_path / "s.csv").write_text("\n".join(["video,frame,score", *rows]))
    result = evaluate_dataset(tmp_path / "s.csv", config, CONFIG, seed=0).evaluation
    assert {note.num_padded for note in result.alignment} == {2}
    assert len(result.alignment) == len(tests)
