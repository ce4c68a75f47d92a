import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.errors import AnnotationError, UserError
from raypipe.evaluate import (
    PER_VIDEO,
    AlignmentNote,
    EvaluateConfig,
    VideoScores,
    align_labels,
    evaluate_files,
    evaluate_videos,
    metric_table,
    per_video_table,
    results_document,
    write_json,
)

ORACLES = Path(__file__).parents[2] / "shared" / "oracles" / "scoring"
NAN = np.nan
CONFIG = EvaluateConfig(bootstrap_samples=50)


def video(name, score, label, num_cut=0):
    return VideoScores(name, np.array(score, float), np.array(label, bool), num_cut)


def small_evaluation(**options):
    videos = [
        video("a", [1, 2, 4, NAN], [0, 0, 1, 1]),
        video("b", [1, 3, 2], [0, 1, 0]),
        video("c", [1, 2], [0, 0]),
        video("d", [NAN], [0]),
    ]
    return evaluate_videos(videos, CONFIG, seed=0, **options)


@pytest.mark.skipif(not ORACLES.is_dir(), reason="needs ../shared/oracles/scoring")
def test_real_scores_reach_their_published_figures():
    expected = json.loads((ORACLES / "expected.json").read_text())
    file = ORACLES / "shanghaitech_stgnf.npz"
    result = evaluate_files(file, file, CONFIG, seed=0)
    names = {"micro_auc": "micro_auc", "macro_auc_anchored": "macro_auc_anchored"}
    for name, key in (names | {"macro_auc_skip": "macro_auc_skip_single_class"}).items():
        assert result.metrics[name].value == pytest.approx(expected[key], abs=1e-9)
    assert (len(result.videos), result.num_frames, len(result.one_class_videos)) == (107, 40791, 1)


@pytest.mark.parametrize(
    ("intervals", "expected", "num_cut"),
    [
        ([], [0, 0, 0, 0], 0),
        ([(1, 3)], [0, 1, 1, 0], 0),
        ([(0, 1), (3, 4)], [1, 0, 0, 1], 0),
        ([(0, 2), (1, 3)], [1, 1, 1, 0], 0),  # overlapping
        ([(2, 9)], [0, 0, 1, 1], 5),
        ([(6, 9), (7, 10)], [0, 0, 0, 0], 4),  # wholly past the end, counted once
        ([(2, 2)], [0, 0, 0, 0], 0),
    ],
)
def test_align_labels(intervals, expected, num_cut):
    label, cut = align_labels(intervals, 4)
    np.testing.assert_array_equal(label, expected)
    assert (label.dtype, cut) == (bool, num_cut)


@pytest.mark.parametrize("interval", [(-1, 2), (3, 2)])
def test_align_labels_refuses(interval):
    with pytest.raises(AnnotationError, match="not a range"):
        align_labels([interval], 4)


def test_unscored_frames_are_left_out_and_counted():
    result = small_evaluation()
    # 6 normal frames 1 2 | 1 2 | 1 2 and 2 abnormal ones 4 | 3
    assert result.metrics["micro_auc"].value == 1.0
    assert (result.num_frames, result.num_abnormal, result.num_unscored) == (10, 3, 2)
    assert result.one_class_videos == ["c"]
    assert [v.auc for v in result.videos] == [1.0, 1.0, None, None]
    assert [(v.min_score, v.max_score) for v in result.videos] == [(1, 4), (1, 3), (1, 2), (None, None)]


def test_labels_of_another_length_are_aligned_and_listed():
    result = evaluate_videos(
        [video("a", [1, 2, 3], [0, 1]), video("b", [1, 2], [0, 1, 1]), video("c", [1], [0], num_cut=4)], CONFIG, seed=0
    )
    assert result.alignment == [AlignmentNote("a", 0, 1), AlignmentNote("b", 1, 0), AlignmentNote("c", 4, 0)]
    assert "a (1 padded), b (1 cut), c (4 cut)" in metric_table(result)
    assert [v.num_abnormal for v in result.videos] == [1, 1, 0]


def test_long_lists_of_notes_are_cut_in_the_table():
    videos = [video(str(i), [1, 2], [0]) for i in range(7)]
    assert "and 2 more videos" in metric_table(evaluate_videos(videos, CONFIG, seed=0))


def test_no_videos_and_one_class_have_no_figures():
    for videos in ([], [video("a", [1, 2], [0, 0])]):
        result = evaluate_videos(videos, CONFIG, seed=0)
        assert result.metrics["micro_auc"].value is None
        assert "not defined" in metric_table(result)
        assert results_document(result)["curves"]["roc"] is None


@pytest.mark.parametrize(
    ("videos", "message"),
    [([video("a", [1], [0])] * 2, "given twice"), ([video("a", [np.inf], [0])], "a: 1 scores are infinite")],
)
def test_evaluate_videos_refuses(videos, message):
    with pytest.raises(ValueError, match=message):
        evaluate_videos(videos, CONFIG, seed=0)


def test_the_seed_decides_the_intervals():
    assert small_evaluation().metrics == small_evaluation().metrics


@pytest.mark.parametrize(
    ("smoothing", "expected"),
    [(None, "as given"), (0.0, "off"), (0.5, "0.5 s")],
)
def test_metric_table(smoothing, expected):
    lines = metric_table(small_evaluation(smoothing_seconds=smoothing)).splitlines()
    assert lines[0].split() == ["metric", "value", "[95", "%", "interval]", "smoothing"]
    assert lines[1].startswith("micro-AUC")
    assert "1.000 [1.000, 1.000]" in lines[1]
    assert lines[1].endswith(expected)
    assert len({line.index(expected) for line in lines[1:6]}) == 1
    assert lines[6] == "4 videos (1 of one class), 10 frames: 3 abnormal, 2 unscored"
    assert "replicates had one class only" in lines[7]


def test_metric_table_says_that_scores_were_scaled():
    assert "scaled to 0..1" in metric_table(small_evaluation(min_max=True))


def test_figures_without_intervals():
    result = evaluate_videos([video("a", [1, 2], [0, 1])], EvaluateConfig(bootstrap_samples=0), seed=0)
    assert "1.000\n" in metric_table(result).replace(" ", "").replace("asgiven", "")


def test_results_document_has_the_agreed_layout(tmp_path):
    document = results_document(
        small_evaluation(smoothing_seconds=0.5),
        counts={"videos": 4, "dead": 0},
        timings={"score": {"seconds": 1.5, "frames_per_second": 6.0}},
        config_hash="abc",
        versions={"raypipe": "0.1.0"},
    )
    file = tmp_path / "new" / "results.json"
    write_json(document, file)
    read = json.loads(file.read_text())
    assert read == document
    assert set(read) == {
        *("metrics", "counts", "timings", "config_hash", "versions"),
        *("evaluation", "videos", "curves"),
    }
    assert set(read["metrics"]) == {
        *("micro_auc", "macro_auc_anchored", "macro_auc_skip", "average_precision", "pr_auc"),
    }
    assert read["metrics"]["micro_auc"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert read["evaluation"]["one_class_videos"] == ["c"]
    assert read["videos"][3]["auc"] is None
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_results_document_of_a_score_file_has_no_run():
    assert set(results_document(small_evaluation())) == {"metrics", "evaluation", "videos", "curves"}


def test_write_json_nowhere(tmp_path):
    write_json({}, None)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_json({}, tmp_path / "file" / "results.json")
    with pytest.raises(UserError, match="cannot be written"):
        write_json({}, tmp_path)


def test_per_video_table():
    table = per_video_table(small_evaluation())
    assert table.schema == PER_VIDEO
    assert table["auc"].to_pylist() == [1.0, 1.0, None, None]
    assert table["num_unscored"].to_pylist() == [1, 0, 0, 1]


@pytest.mark.parametrize("values", [{"bootstrap_samples": -1}, {"samples": 5}])
def test_config_refuses(values):
    with pytest.raises(ValidationError):
        EvaluateConfig(**values)


GOOD = {"labels": np.array([0, 1, 0]), "video_names": np.array(["a", "b"]), "num_frames": np.array([2, 1])}


def write_labels(path, **changes):
    np.savez(path, **{key: value for key, value in (GOOD | changes).items() if value is not None})
    return path


@pytest.mark.parametrize("layout", ["npy", "named", "single", "integers"])
def test_evaluate_files_reads_every_layout(tmp_path, layout):
    labels = write_labels(tmp_path / "labels.npz", labels=np.array([0.0, 1.0, 0.0]))
    scores = tmp_path / ("scores.npy" if layout in ("npy", "integers") else "scores.npz")
    values = np.array([1, 3, 2] if layout == "integers" else [0.1, 0.9, 0.2], int if layout == "integers" else "f4")
    if layout == "named":
        np.savez(scores, scores=values, other=np.zeros(2))
    elif layout == "single":
        np.savez(scores, values)
    else:
        np.save(scores, values)
    result = evaluate_files(scores, labels, CONFIG, seed=0)
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
        evaluate_files(scores, labels, CONFIG, seed=0)
    assert str(labels) in str(error.value)
    assert "\n" not in str(error.value)


def save_npy(value):
    return lambda path: np.save(path.open("wb"), value, allow_pickle=True)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (None, "no such file"),
        (lambda path: path.mkdir(), "cannot be read"),
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
        (lambda path: np.savez(path.open("wb"), a=np.zeros(3), b=np.zeros(3)), "no key 'scores' .* found 'a', 'b'"),
        (lambda path: np.savez(path.open("wb")), "holds no arrays"),
    ],
)
def test_bad_scores_are_refused_by_name(tmp_path, write, message):
    scores, labels = tmp_path / "scores.npy", write_labels(tmp_path / "labels.npz")
    if write:
        write(scores)
    with pytest.raises(UserError, match=message) as error:
        evaluate_files(scores, labels, CONFIG, seed=0)
    assert str(scores) in str(error.value)


def test_damaged_files_are_refused(tmp_path):
    labels = write_labels(tmp_path / "labels.npz")
    scores = tmp_path / "scores.npy"
    np.save(scores, np.arange(3.0))
    whole = scores.read_bytes()
    scores.write_bytes(whole[:-4])
    with pytest.raises(UserError, match=r"a damaged \.npy"):
        evaluate_files(scores, labels, CONFIG, seed=0)
    scores.write_bytes(whole)
    # A flipped byte inside a member shows only when it is read: the checksum fails.
    damaged = bytearray(labels.read_bytes())
    damaged[damaged.index(b"NUMPY") + 140] ^= 0xFF
    labels.write_bytes(damaged)
    with pytest.raises(UserError, match="'labels': not a readable NumPy file"):
        evaluate_files(scores, labels, CONFIG, seed=0)


def test_a_foreign_member_is_refused(tmp_path):
    scores = tmp_path / "scores.npz"
    with zipfile.ZipFile(scores, "w") as archive:
        archive.writestr("scores", "0.1 0.2")
    with pytest.raises(UserError, match="'scores' is not a NumPy array"):
        evaluate_files(scores, write_labels(tmp_path / "labels.npz"), CONFIG, seed=0)


def test_labels_that_are_one_array(tmp_path):
    scores = tmp_path / "scores.npy"
    np.save(scores, np.arange(3.0))
    with pytest.raises(UserError, match="found a single array"):
        evaluate_files(scores, scores, CONFIG, seed=0)
