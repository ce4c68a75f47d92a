import json

import numpy as np
import pyarrow as pa
import pytest

import raypipe
from raypipe.cli.main import main

# AUC by hand: of the 2 x 2 pairs of an abnormal and a normal frame, 3 are in order.
SCORE, LABEL = [0.1, 0.8, 0.4, 0.9], [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (SCORE, LABEL),
        (np.array(SCORE, np.float32), np.array(LABEL, bool)),
        (pa.chunked_array([SCORE[:2], SCORE[2:]]), LABEL),
        ({"a": SCORE[:2], "b": SCORE[2:]}, {"a": LABEL[:2], "b": LABEL[2:]}),
        (SCORE, {"a": LABEL[:1], "b": LABEL[1:]}),
        ([*SCORE, np.nan], [*LABEL, 1]),
    ],
)
def test_figures_of_arrays(scores, labels):
    assert raypipe.evaluate(scores, labels).metrics["micro_auc"].value == 0.75


def test_what_results_tell():
    labels = {"a": [0, 0, 0, 1], "b": [0, 1, 0, 1], "c": [0, 0]}
    scores = {"a": [0, 0, np.nan, 1], "b": [0.0, 1, 0, 1], "c": [0, 0.5]}
    found = raypipe.evaluate(scores, labels, fps=1, bootstrap_samples=50)
    micro = found.metrics["micro_auc"]
    assert (micro.value, micro.low, micro.high) == (1.0, 1.0, 1.0)
    assert [(v.video_id, v.num_frames, v.num_abnormal, v.num_unscored, v.auc) for v in found.videos] == [
        ("a", 4, 1, 1, 1.0),
        ("b", 4, 2, 0, 1.0),
        ("c", 2, 0, 0, None),
    ]
    assert found.videos[1].num_events == 2
    assert str(found).splitlines()[0] == "micro-AUC: 1.000 [1.000, 1.000]"
    assert str(found).splitlines()[-1] == "3 videos, 10 frames, 3 abnormal, 1 not scored"
    # The unscored frame of c is normal; events: one of a, two of b, each found at once without a false alarm.
    at_one = found.alarms[1]
    assert (at_one.num_detected, at_one.num_missed, at_one.sensitivity.value) == (3, 0, 1.0)
    assert str(found).splitlines()[-2] == "at most 1 false alarms per hour: 3 of 3 events detected, 0.0 s late (median)"
    assert "micro-AUC: 1.000" in repr(found)
    json.dumps(found.document)


def test_one_video_has_no_interval_and_no_rate_no_alarms():
    found = raypipe.evaluate(SCORE, LABEL)
    assert found.alarms == []
    metric = found.metrics["micro_auc"]
    assert (metric.low, metric.high) == (None, None)


def test_the_seed_decides_the_interval():
    rng = np.random.default_rng(0)
    labels = {str(n): rng.random(30) < 0.4 for n in range(8)}
    scores = {name: label * 0.5 + rng.random(30) for name, label in labels.items()}

    def interval(seed):
        metric = raypipe.evaluate(scores, labels, seed=seed, bootstrap_samples=200).metrics["micro_auc"]
        return metric.low, metric.high

    assert interval(0) == interval(0) != interval(1)


def test_videos_without_scores():
    labels = {"a": [0, 1], "b": [0, 1]}
    with pytest.raises(raypipe.UserError, match="scores: 1 of 2 videos of labels have no scores: b"):
        raypipe.evaluate({"a": [0, 1]}, labels)
    found = raypipe.evaluate({"a": [0, 1]}, labels, partial=True)
    assert (found.missing_videos, found.metrics["micro_auc"].value) == (["b"], 1.0)


@pytest.mark.parametrize(
    ("scores", "labels", "options", "words"),
    [
        ([0.1, 0.2], [0, 1, 1], {}, "scores has 2 scores, but labels has 3 labels"),
        ({"x": [0.1]}, {"a": [0]}, {}, "scores: 1 videos are not in labels: x"),
        ([[0.1, 0.2]], [0, 1], {}, r"scores: scores must be one number per frame, not float64 of shape \(1, 2\)"),
        (["high", "low"], [0, 1], {}, "scores must be one number per frame"),
        ([0.1, np.inf], [0, 1], {}, "scores: 1 of 2 scores are infinite, the first is 1"),
        ({"a": [0.1, -np.inf]}, {"a": [0, 1]}, {}, "scores: 'a': 1 of 2 scores are infinite"),
        ([0.1, 0.2], [0, 2], {}, "labels: must be 0 or 1, but label 1 is 2"),
        ([0.1, 0.2], ["no", "yes"], {}, "labels: must be 0 or 1 per frame"),
        ([0.1, 0.2], [0, 1], {"fps": 0}, "fps: 0 is not a frame rate"),
        ([0.1, 0.2], [0, 1], {"bootstrap_samples": -1}, "evaluate: bootstrap_samples: -1 must be"),
    ],
)
def test_what_does_not_fit(scores, labels, options, words):
    with pytest.raises(raypipe.UserError, match=words):
        raypipe.evaluate(scores, labels, **options)


def write_labels(path):
    np.savez(path, labels=np.array([0, 1, 0, 1, 1]), video_names=["a", "b"], num_frames=[2, 3])
    return path


def write_scores(path, *values):
    np.save(path, np.array(values))
    return path


def test_files_give_what_the_command_gives(tmp_path, capsys):
    scores, labels = write_scores(tmp_path / "s.npy", 0.1, 0.9, 0.2, 0.3, 0.15), write_labels(tmp_path / "l.npz")
    assert main(["evaluate", "--scores", str(scores), "--labels", str(labels), "--json", str(tmp_path / "r.json")]) == 0
    written = json.loads((tmp_path / "r.json").read_text())
    capsys.readouterr()
    found = raypipe.evaluate(scores, str(labels))
    assert found.document["metrics"] == written["metrics"]
    assert found.document["evaluation"] == written["evaluation"]
    given = raypipe.evaluate([0.1, 0.9, 0.2, 0.3, 0.15], {"a": [0, 1], "b": [0, 1, 1]})
    assert given.document["metrics"] == written["metrics"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ("none.npy", "l.npz"),
        ("short.npy", "l.npz"),
        ("nan.npy", "l.npz"),
        ("s.npy", "s.npy"),
    ],
)
def test_mistakes_in_files_are_told_in_the_words_of_the_command(tmp_path, monkeypatch, capsys, scores, labels):
    monkeypatch.chdir(tmp_path)
    write_labels("l.npz")
    write_scores("short.npy", 0.1)
    write_scores("nan.npy", 0.1, np.nan, 0, 0, 0)
    write_scores("s.npy", 0.1, 0.2, 0, 0, 0)
    assert main(["evaluate", "--scores", scores, "--labels", labels]) == 2
    told = capsys.readouterr().err
    with pytest.raises(raypipe.UserError) as caught:
        raypipe.evaluate(scores, labels)
    assert f"raypipe: {caught.value}\n" == told
