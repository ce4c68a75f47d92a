import numpy as np
import pytest

from raypipe.config.workflow import EvaluateConfig
from raypipe.errors import UserError
from raypipe.evaluation.evaluate_files import evaluate_dataset, evaluate_labelled
from raypipe.evaluation.lengths import Lengths, factor_adding_up, factor_of, require_fitting, snippets_of
from tests.evaluation.test_evaluate_files import dataset
from tests.helpers.small_data import write_data

CONFIG = EvaluateConfig(bootstrap_samples=20)


def lengths_of(*pairs):
    return {f"v{number}": Lengths(*pair) for number, pair in enumerate(pairs)}


@pytest.mark.parametrize(
    "lengths",
    [
        [(160, 160)],
        [(155, 160), (165, 160)],
        [(145, 160, 16)],  # the last score of every 16th frame
    ],
)
def test_a_few_frames_are_forgiven(lengths):
    require_fitting(lengths_of(*lengths), "scores.csv")


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([(10, 160), (10, 160)], "2 of 2 videos .*v0 has 10 scores and 160 frames.*--repeat 16 repeats them"),
        ([(10, 160), (11, 167), (20, 327)], "one score for 16 frames; --repeat 16"),
        ([(20, 160), (100, 800)], "one score for 8 frames; --repeat 8"),
        ([(160, 160), (10, 160)], "1 of 2 videos .*v1 has 10 scores.*--repeat 16"),
        ([(184, 200)], "means another copy of the video"),
        ([(1000, 1008), (500, 560)], "means another copy of the video"),
        ([(250, 300), (500, 600)], "1.20 frames for a score: .* another frame rate"),
        ([(600, 300)], "0.50 frames for a score"),
        ([(150, 160), (700, 600)], "more than 5 frames means another copy"),
        ([(154, 160), (166, 160)], "more than 5 frames means another copy"),
    ],
)
def test_other_lengths_are_refused_saying_what_they_look_like(lengths, message):
    with pytest.raises(UserError, match=message):
        require_fitting(lengths_of(*lengths), "scores.csv")


def test_factors_and_counts():
    assert factor_of(lengths_of((10, 160), (7, 111))) == 16
    assert factor_of(lengths_of((250, 300))) is None
    assert snippets_of(17, {"a": 160, "b": 111}, 16) == {"a": 10, "b": 7}  # the last one of 15 frames
    assert snippets_of(16, {"a": 160, "b": 111}, 16) == {"a": 10, "b": 6}  # 15 frames without a score
    assert snippets_of(20, {"a": 160, "b": 111}, 16) is None
    assert factor_adding_up(17, {"a": 160, "b": 111}) == 16
    assert factor_adding_up(271, {"a": 160, "b": 111}) is None


def write_labels(path):
    """Two videos of 160 and 111 frames; frames 64 to 95 are abnormal."""
    label = (np.arange(160) // 32 == 2).astype(int)
    np.savez(path, labels=np.append(label, label[:111]), video_names=["a", "b"], num_frames=[160, 111])
    return path


@pytest.mark.parametrize("is_padded", [True, False])
@pytest.mark.parametrize("layout", ["by_video", "one_array"])
def test_scores_of_snippets_are_refused_and_repeated_when_asked(tmp_path, is_padded, layout):
    labels, scores = write_labels(tmp_path / "labels.npz"), tmp_path / "scores.npz"
    snippet = (np.arange(10) // 2 == 2).astype(float)
    own = {"a": snippet, "b": snippet[: 7 if is_padded else 6]}
    np.savez(scores, **(own if layout == "by_video" else {"scores": np.concatenate(list(own.values()))}))
    with pytest.raises(UserError, match=r"it looks like one score for 16 frames; --repeat 16|It looks like"):
        evaluate_labelled(scores, labels, CONFIG, seed=0)
    result = evaluate_labelled(scores, labels, CONFIG, seed=0, repeat=16).evaluation
    assert result.metrics["micro_auc"].value == 1.0
    # What fills no whole snippet has no score.
    assert [video.num_frames for video in result.videos] == [160, 111 if is_padded else 96]


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "data", {"train/t": 12, "test/a": 160, "test/b": 112})


@pytest.mark.parametrize("has_lengths", [False, True])
def test_snippets_against_a_data_set(tmp_path, data, has_lengths):
    """Nothing tells the lengths but the videos themselves, unless they are given."""
    lengths = None
    if has_lengths:
        lengths = tmp_path / "lengths.csv"
        lengths.write_text("video,num_frames\ntest/a,160\ntest/b,112\n")
    rows = [
        f"test/{name},{frame},{int(frame >= count // 2)}"
        for name, count in (("a", 10), ("b", 7))
        for frame in range(count)
    ]
    (tmp_path / "s.csv").write_text("\n".join(["video,frame,score", *rows]))
    with pytest.raises(UserError, match=r"test/a has 10 scores and 160 frames.*--repeat 16"):
        evaluate_dataset(tmp_path / "s.csv", dataset(data), CONFIG, seed=0, lengths=lengths)
    found = evaluate_dataset(tmp_path / "s.csv", dataset(data), CONFIG, seed=0, lengths=lengths, repeat=16)
    assert found.evaluation.metrics["micro_auc"].value > 0.9
    assert [video.num_frames for video in found.evaluation.videos] == [160, 112]


def test_labels_that_go_past_the_video_are_no_fault_of_the_scores(tmp_path, data):
    (data / "labels.csv").write_text("video,start_frame,end_frame\ntest/a,80,100000\ntest/b,56,112\n")
    rows = [
        f"test/{name},{frame},{int(frame >= count // 2)}"
        for name, count in (("a", 160), ("b", 112))
        for frame in range(count)
    ]
    (tmp_path / "s.csv").write_text("\n".join(["video,frame,score", *rows]))
    result = evaluate_dataset(tmp_path / "s.csv", dataset(data), CONFIG, seed=0).evaluation
    assert result.metrics["micro_auc"].value == 1.0
    assert [(note.video_id, note.num_cut) for note in result.alignment] == [("test/a", 100000 - 160)]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        ({"test/NOT_b": 1.0}, "1 videos are not in .*: test/NOT_b"),
        ({"a": 1.0, "b": 1.0}, None),
    ],
)
def test_one_array_is_of_the_video_that_it_names(tmp_path, write, message):
    labels, scores = write_labels(tmp_path / "labels.npz"), tmp_path / "scores.npz"
    np.savez(scores, **{name: np.full({"b": 111}.get(name, 160), value) for name, value in write.items()})
    if message is None:
        evaluate_labelled(scores, labels, CONFIG, seed=0)
    else:
        with pytest.raises(UserError, match=message):
            evaluate_labelled(scores, labels, CONFIG, seed=0)


def test_accents_of_score_files_may_be_written_in_either_way(tmp_path):
    composed, decomposed = "test/cam\u00e9ra", "test/came\u0301ra"
    np.savez(tmp_path / "labels.npz", labels=[0, 1], video_names=[composed], num_frames=[2])
    np.savez(tmp_path / "scores.npz", **{decomposed: [0.1, 0.2]})
    found = evaluate_labelled(tmp_path / "scores.npz", tmp_path / "labels.npz", CONFIG, seed=0)
    assert [video.video_id for video in found.evaluation.videos] == [composed]
    np.savez(tmp_path / "scores.npz", **{decomposed: [0.1, 0.2], composed: [0.1, 0.2]})
    with pytest.raises(UserError, match="are two spellings of one name"):
        evaluate_labelled(tmp_path / "scores.npz", tmp_path / "labels.npz", CONFIG, seed=0)


@pytest.mark.parametrize(("file", "auc"), [("snippets.npz", None), ("repeated.npz", 0.982)])
def test_reported_snippets(shared, file, auc):
    folder = shared / "cases" / "reports" / "07-snippet-scores"
    if not folder.is_dir():
        pytest.skip("needs ../shared/cases")
    if auc is None:
        with pytest.raises(UserError, match="--repeat 16 repeats them"):
            evaluate_labelled(folder / file, folder / "labels.npz", CONFIG, seed=0)
    repeat = 16 if auc is None else 1
    found = evaluate_labelled(folder / file, folder / "labels.npz", CONFIG, seed=0, repeat=repeat)
    assert found.evaluation.metrics["micro_auc"].value == pytest.approx(0.982, abs=1e-3)
