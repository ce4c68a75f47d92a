"""Runs in scripts: started, opened again, silent, and with the words of the command line where something is wrong."""

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import raypipe
from raypipe.cli.main import main
from raypipe.report.gather import gather
from raypipe.report.write import finding_lines
from tests.helpers.finished_run import LENGTHS, away, data_path
from tests.helpers.small_data import write_data


@pytest.fixture(scope="module")
def opened(finished_run):
    return raypipe.open_run(finished_run.output)


def test_facts(opened, finished_run):
    assert opened.path == finished_run.output
    assert opened.config == finished_run
    assert [(v.video_id, v.split, v.num_frames, v.fps, v.width, v.height, v.failure) for v in opened.videos] == [
        (name, name.partition("/")[0], LENGTHS[name], 25.0, 64, 48, None) for name in sorted(LENGTHS)
    ]
    assert opened.dead_letters == []


def test_what_is_shown(opened):
    value = opened.results.metrics["micro_auc"].value
    assert repr(opened) == f"<Run {opened.path}: 3 videos (2 test, 1 train), micro-AUC {value:.3f}>"


def test_results_are_those_of_the_file(opened):
    written = json.loads(Path(opened.path, "results.json").read_text())
    assert opened.results.document == written
    for name, row in written["metrics"].items():
        metric = opened.results.metrics[name]
        assert (metric.value, metric.low, metric.high) == (row["value"], row["low"], row["high"])
    assert [video.video_id for video in opened.results.videos] == ["test/0", "test/1"]


def test_scores_and_evaluate_agree_with_the_results(opened):
    scores = {name: opened.scores(name)["score"] for name in ("test/0", "test/1")}
    assert [len(scores[name]) for name in scores] == [260, 40]
    labels = {name: np.arange(len(scores[name])) >= len(scores[name]) // 2 for name in scores}
    found = raypipe.evaluate(scores, labels, bootstrap_samples=20, seed=opened.config.seed)
    assert found.document["metrics"] == opened.results.document["metrics"]


@pytest.mark.parametrize(
    ("video", "words"),
    [
        ("test/O", "unknown video 'test/O'; did you mean 'test/[01]'\\? there are: test/0, test/1, train/0"),
        ("train/0", "train/0 is in the split 'train': videos of the split 'test' have scores"),
    ],
)
def test_scores_of_other_videos(opened, video, words):
    with pytest.raises(raypipe.UserError, match=words):
        opened.scores(video)


def test_findings_are_those_of_the_report(opened):
    lines = finding_lines(gather(opened.config))[1:]
    findings = opened.findings(3)
    assert len(lines) == 3
    assert [f"  {rank}. {finding}" for rank, finding in enumerate(findings, start=1)] == lines
    for finding in findings:
        left, top, right, bottom = finding.box
        rows = opened.features(["frame_index", "track_id", "x1", "y1", "x2", "y2", "video_id"]).to_table().to_pylist()
        boxes = [
            (row["x1"], row["y1"], row["x2"], row["y2"])
            for row in rows
            if (row["video_id"], row["track_id"]) == (finding.video_id, finding.track_id)
            and abs(row["frame_index"] - finding.frame_index) <= opened.config.decode.stride
        ]
        assert (left, top, right, bottom) in boxes
        assert finding.is_abnormal == (finding.frame_index >= LENGTHS[finding.video_id] // 2)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_as_many_findings_as_are_wanted(opened, k):
    assert opened.findings(k) == opened.findings(3)[:k] or k == 2
    assert len(opened.findings(k)) == k


def test_many_findings_are_each_there_once(opened):
    findings = opened.findings(1000)
    assert len(findings) == len({(f.video_id, f.frame_index) for f in findings}) > 3
    assert [f.score for f in findings] == sorted((f.score for f in findings), reverse=True)


def test_findings_without_the_data_say_nothing_of_labels(opened, caplog):
    (before,) = opened.findings(1)
    with away(data_path(opened.config)):
        (finding,) = opened.findings(1)
    assert finding == dataclasses.replace(before, is_abnormal=None)
    assert before.is_abnormal is not None
    assert "The labels cannot be read" in caplog.text


def test_report(run_copy, tmp_path, capsys):
    run = raypipe.open_run(run_copy.output)
    path = run.report()
    assert path == f"{run.path}/report/index.html"
    assert "<html" in Path(path).read_text()
    shown = path._repr_html_()
    assert shown.count("<li>") >= 4
    assert f'href="{path}"' in shown
    assert "micro-AUC" in shown
    assert Path(run.report(tmp_path / "page.html")).exists()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("gone", "ask", "words"),
    [
        ("results.json", lambda run: run.results, "holds no results: run `raypipe evaluate` first"),
        ("models", lambda run: run.scores("test/0"), "holds no trained 'knn' model: run `raypipe train` first"),
        ("models", lambda run: run.findings(1), "holds no trained 'knn' model: run `raypipe train` first"),
        ("scores", lambda run: run.scores("test/0"), "test/0 has no scores in .*: run `raypipe score` first"),
        ("scores", lambda run: run.findings(1), "test/0 has no scores in .*: run `raypipe score` first"),
    ],
)
def test_what_was_not_made_yet(run_copy, gone, ask, words):
    path = Path(run_copy.output, gone)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(raypipe.UserError, match=words):
        ask(raypipe.open_run(run_copy.output))


def test_scores_made_otherwise_are_refused(run_copy):
    other = raypipe.Run(run_copy.model_copy(update={"score": run_copy.score.model_copy(update={"min_max": True})}))
    with pytest.raises(raypipe.UserError, match=r"made by another model or other settings \(min_max\)"):
        other.scores("test/0")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("api") / "data", {"train/0": 30, "test/0": 30})


def settings(data, output):
    return {
        "dataset": {"name": "folder", "root": data},
        "output": output,
        "detector": {"kind": "boxes", "boxes_root": str(Path(data, "boxes"))},
        "tracking": {"enabled": False},
        "evaluate": {"bootstrap_samples": 10},
    }


async def in_a_loop(*arguments, **named):
    """Do a run as a cell of a notebook does, while a loop is running."""
    return raypipe.run(*arguments, **named)


def test_a_run_of_a_dict_in_a_cluster_that_is_there(cluster, data, tmp_path, capfd, caplog):
    before = cluster.get_runtime_context().get_node_id()
    context = cluster.data.DataContext.get_current()
    bars = context.enable_progress_bars = True
    levels = [logging.getLogger(name).level for name in ("ray.data", "ray.train")]
    with caplog.at_level(logging.INFO, "raypipe.api.run"):
        run = raypipe.run(
            settings(data, tmp_path / "run"), **{"score.model": "knn"}, evaluate={"alarm_gap_seconds": 3.0}
        )
    assert capfd.readouterr() == ("", "")
    assert (run.config.score.model, run.config.evaluate.bootstrap_samples) == ("knn", 10)
    assert run.config.evaluate.alarm_gap_seconds == 3.0
    assert run.results.metrics["micro_auc"].value is not None
    assert caplog.messages[0].startswith("features: 2 videos, 60 frames")
    assert cluster.is_initialized()
    assert cluster.get_runtime_context().get_node_id() == before
    assert context.enable_progress_bars is bars
    assert [logging.getLogger(name).level for name in ("ray.data", "ray.train")] == levels

    # The same features for another model, beside the first one's results; nothing is extracted again.
    other = raypipe.run(run.config, variation="gmm", **{"score.model": "gmm"}, progress=True)
    assert other.path == f"{run.path}/variations/gmm"
    assert other.features().to_table().equals(run.features().to_table())
    assert raypipe.open_run(other.path).config.score.model == "gmm"
    out, err = capfd.readouterr()
    assert out == ""
    assert "score: 30 of 30 frames" in err

    # A step alone, of a file.
    document = yaml.safe_load(yaml.safe_dump(run.config.model_dump(mode="json")))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    Path(run.path, "results.json").unlink()
    assert raypipe.run(tmp_path / "mine.yaml", step="evaluate").results.metrics == run.results.metrics
    assert raypipe.run(str(tmp_path / "mine.yaml"), seed=5, step="extract").config.seed == 5


def test_dead_letters_do_not_raise(cluster, data, tmp_path):
    copied = shutil.copytree(data, tmp_path / "data")
    (copied / "train/bad.mp4").write_bytes(b"")
    shutil.copy(copied / "boxes/train/0.txt", copied / "boxes/train/bad.txt")
    run = raypipe.run(settings(copied, tmp_path / "run"), step="extract")
    assert [(letter.video_id, letter.stage) for letter in run.dead_letters] == [("train/bad", "probe")]
    bad = run.videos[-1]
    assert (bad.video_id, bad.num_frames) == ("train/bad", None)
    assert "empty" in bad.failure
    assert "1 dead letter" in repr(run)


SCRIPT = """
import sys
import ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
         object_store_memory=100 * 2**20)
node = ray.get_runtime_context().get_node_id()
import raypipe
run = raypipe.run(sys.argv[1])
assert ray.is_initialized() and ray.get_runtime_context().get_node_id() == node
assert ray.get(ray.remote(lambda: 7).remote()) == 7
assert run.features().to_ray().count() == run.features().count_rows() > 0
"""


@pytest.mark.slow
def test_in_a_script_that_started_ray_before_it_imported_raypipe(data, tmp_path):
    document = settings(str(data), str(tmp_path / "run"))
    document["score"] = {"model": "knn"}
    # With a record in MLflow, which prints where it can.
    document["tracking"] = {"enabled": True}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(document))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "mine.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scor": {}, "scor.model": "knn"}, "config: unknown key 'scor'; did you mean 'score'\\?"),
        ({"score": {"modle": "knn"}}, "config: unknown key 'score.modle'; did you mean 'score.model'\\?"),
        ({"score.model": "svm"}, 'config: score.model: "svm" must be'),
        ({"seed": "3"}, 'config: seed: "3" must be a whole number'),
        ({"output.x": 1}, "config: output.x: output holds a value, not keys"),
        ({"detector": {"boxes_root": "/nowhere"}}, "detector.boxes_root: 2 of 2 videos have no boxes"),
    ],
)
def test_mistakes_in_a_config(data, tmp_path, changes, words):
    with pytest.raises(raypipe.UserError, match=words):
        raypipe.run(settings(data, tmp_path / "run"), **changes)
    with pytest.raises(raypipe.UserError, match=words):
        raypipe.run(settings(data, tmp_path / "run") | {k: v for k, v in changes.items() if "." in k}, **changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("config", [3, ["mine.yaml"], None])
def test_what_is_no_config(config):
    with pytest.raises(raypipe.UserError, match="expected the path of a YAML file, a dict or a config, not"):
        raypipe.run(config)


def test_an_unknown_step():
    with pytest.raises(raypipe.UserError, match="step: 'trian' is none of run, extract, train, score, evaluate"):
        raypipe.run({}, step="trian")


@pytest.mark.parametrize(
    ("content", "overrides"),
    [
        (None, {}),
        ("score: [", {}),
        ("a: 1\na: 2", {}),
        ("just text", {}),
        ("scor: 1", {}),
        ("WHOLE", {"dataset.root": "/nowhere"}),
        ("WHOLE", {"score.modle": "knn"}),
    ],
)
def test_mistakes_are_told_in_the_words_of_the_command(data, tmp_path, monkeypatch, capsys, content, overrides):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        document = settings(str(data), "run")
        Path("mine.yaml").write_text(yaml.safe_dump(document) if content == "WHOLE" else content)
    sets = [part for key, value in overrides.items() for part in ("--set", f"{key}={value}")]
    assert main(["extract", "--config", "mine.yaml", *sets]) == 2
    told = capsys.readouterr().err
    with pytest.raises(raypipe.UserError) as caught:
        raypipe.run("mine.yaml", step="extract", **overrides)
    assert "".join(f"raypipe: {line}\n" for line in str(caught.value).splitlines()) == told


def test_a_folder_that_is_no_run(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    with pytest.raises(raypipe.UserError) as caught:
        raypipe.open_run(tmp_path)
    assert f"raypipe: {caught.value}\n" == told
    with pytest.raises(raypipe.UserError, match=r"token.*\*\*\*|\*\*\*") as caught:
        raypipe.open_run("s3://me:secret@host/run")
    assert "secret" not in str(caught.value)
