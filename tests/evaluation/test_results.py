import json

import pytest

from raypipe.config.workflow import EvaluateConfig
from raypipe.errors import UserError
from raypipe.evaluation.evaluate import evaluate_videos
from raypipe.evaluation.results import PER_VIDEO, metric_table, per_video_table, results_document
from raypipe.run_folder.store import write_json
from tests.evaluation.test_evaluate import CONFIG, small_evaluation, video


def test_long_lists_of_notes_are_cut_in_the_table():
    videos = [video(str(i), [1, 2], [0]) for i in range(7)]
    assert "and 2 more videos" in metric_table(evaluate_videos(videos, CONFIG, seed=0))


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
        *("evaluation", "alarms", "groups", "videos", "curves"),
    }
    assert set(read["metrics"]) == {
        *("micro_auc", "macro_auc_anchored", "macro_auc_skip", "average_precision", "pr_auc"),
    }
    assert read["metrics"]["micro_auc"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert read["evaluation"]["one_class_videos"] == ["c"]
    assert read["videos"][3]["auc"] is None
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_results_document_of_a_score_file_has_no_run():
    assert set(results_document(small_evaluation())) == {
        *("metrics", "evaluation", "alarms", "groups", "videos", "curves")
    }


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
