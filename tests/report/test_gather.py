"""Reports of a real run on small clips, complete and not."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypipe.anomaly_model.score import made_by
from raypipe.cli.main import main
from raypipe.config.run import parse_config
from raypipe.errors import UserError
from raypipe.ops.scores import frame_scores, nearest_sample
from raypipe.report import gather as report_module
from raypipe.report.findings import load_scorer, read_objects
from raypipe.report.gather import gather
from raypipe.report.page import render_page
from raypipe.report.render import render_video
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.run_folder.tables import read_scores
from raypipe.workflow import run_step
from tests.helpers.finished_run import LENGTHS, STRIDE, away, data_path, run_path


def test_a_complete_run(finished_run):
    found = gather(finished_run)
    assert found.notes == []
    assert {name: found.counts[name] for name in ("videos", "frames", "segments done", "dead letters")} == {
        "videos": "3 (1 train, 2 test)",
        "frames": "360",
        "segments done": "4 of 4",
        "dead letters": "0",
    }
    assert found.counts["scored test videos"] == "2 of 2 (300 frames)"
    results = json.loads(run_path(finished_run, "results.json").read_text())
    assert found.metrics[0].value == results["metrics"]["micro_auc"]["value"]
    assert set(found.timings) >= {"decode", "motion", "detect", "pool", "commit", "extract", "score"}
    assert {view.video_id: view.auc for view in found.videos} == {
        row["video_id"]: row["auc"] for row in results["videos"]
    }
    assert [view.max_score for view in found.videos] == sorted((v.max_score for v in found.videos), reverse=True)
    for view in found.videos:
        frames = LENGTHS[view.video_id]
        assert (view.num_frames, view.num_abnormal, view.num_unscored) == (frames, frames // 2, 0)
        assert view.truth == [pytest.approx((frames // 2 / 25, frames / 25))]
        assert view.is_pictured
        assert all(peak.picture.uri.startswith("data:image/webp") for peak in view.peaks)
        assert all(track.picture.uri.startswith("data:image/webp") for track in view.tracks)
        assert [peak.peak.score for peak in view.peaks][:1] == [view.max_score]
        assert all(
            peak.is_abnormal == (peak.peak.frame_index >= frames // 2) and "moves" in peak.words for peak in view.peaks
        )
        assert len(view.step_words) == len(view.step_score) == frames
    assert len(found.findings) == 3
    assert {finding.peak.video_id for finding, _ in found.findings} == {"test/0", "test/1"}
    assert render_page(found) == render_page(gather(finished_run))


def test_scores_of_objects_are_those_that_frames_were_scored_by(finished_run):
    folder = RunFolder(finished_run.output)
    scorer = load_scorer(finished_run, folder)
    for name, num_frames in (("test/0", 260), ("test/1", 40)):
        objects = read_objects(folder, name, folder.committed()[name], finished_run.feature_hash(), scorer)
        assert objects.spatial is None
        raw = frame_scores(objects.frame_index // STRIDE, objects.score, num_frames // STRIDE, floor=0.0)
        table = read_scores(folder, name, made_by(finished_run.score, scorer.model))
        nearest = nearest_sample(np.arange(0, num_frames, STRIDE), num_frames)
        assert table["top_track_id"].to_pylist() == objects.track_id[raw.top_object[nearest]].tolist()
        assert table["num_objects"].to_pylist() == raw.num_objects[nearest].tolist()


def test_segments_that_are_missing_are_told(run_copy):
    next(run_path(run_copy, "features", "test", "0").iterdir()).unlink()
    letter = DeadLetter("test/0", 0, "decode", "CorruptVideoError", "3 of 9 frames could not be decoded")
    RunFolder(run_copy.output).commit_dead(letter)
    found = gather(run_copy)
    assert "1 of 4 segments have no features, 1 of them as dead letters" in found.notes[0]
    assert found.counts["segments done"] == "3 of 4"
    assert found.dead == [letter]
    # Scored before the segment went, so its objects are not those of the scores any more.
    assert "have changed since they were scored, the first: test/0" in found.notes[1]
    assert [view.is_pictured for view in found.videos if view.video_id == "test/0"] == [False]


def test_a_segment_that_was_never_there_is_a_gap(run_copy):
    next(run_path(run_copy, "features", "test", "0").iterdir()).unlink()
    run_step("score", run_copy, lambda _: None)
    found = gather(run_copy)
    view = next(view for view in found.videos if view.video_id == "test/0")
    assert view.num_unscored > 0
    assert view.unscored == [(0.0, view.num_unscored / 25)]
    assert view.is_pictured
    assert any("results.json is of other scores or labels" in note for note in found.notes)
    assert found.metrics == []
    assert 'class="gap" x="0"' in render_page(found)


@pytest.mark.parametrize(
    ("removed", "note", "num_videos"),
    [
        (["scores"], "2 of 2 test videos have no scores yet: run raypipe score.", 0),
        (["scores/test/1.parquet"], "1 of 2 test videos have no scores yet", 1),
        (["models", "scores"], "There is no trained knn model yet: run raypipe train.", 0),
        (["results.json"], "have not been compared with the labels yet: run raypipe evaluate.", 2),
        (["features", "scores", "models", "results.json"], "4 of 4 segments have no features", 0),
        (["catalogue.jsonl"], "No video is known yet", 0),
    ],
)
def test_an_incomplete_run_says_what_is_missing(run_copy, removed, note, num_videos):
    for name in removed:
        path = run_path(run_copy, *name.split("/"))
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = gather(run_copy)
    assert any(note in said for said in found.notes), found.notes
    assert len(found.videos) == num_videos
    assert found.metrics == []
    page = render_page(found)
    assert all(said.partition(":")[0] in page for said in found.notes)


def test_scores_of_other_settings_are_left_out(run_copy):
    changed = run_copy.model_copy(update={"score": run_copy.score.model_copy(update={"smoothing_seconds": 0.1})})
    found = gather(changed)
    assert found.videos == []
    assert any("made by another model or other settings (smoothing_seconds)" in note for note in found.notes)


def test_without_labels_there_is_no_truth(run_copy):
    with away(data_path(run_copy, "labels.csv")):
        run_step("evaluate", run_copy, lambda _: None)
        found = gather(run_copy)
    assert found.metrics == []
    assert any("The data set has no labels" in note for note in found.notes)
    assert all(view.truth is None and view.auc is None for view in found.videos)
    assert found.findings[0][0].is_abnormal is None
    assert "labelled" not in found.findings[0][0].line()


def test_metrics_of_labels_that_are_gone_are_left_out(run_copy):
    with away(data_path(run_copy, "labels.csv")):
        found = gather(run_copy)
    assert found.metrics == []
    assert any("results.json is of other scores or labels" in note for note in found.notes)


def test_labels_that_changed_make_the_results_old(run_copy):
    labels = data_path(run_copy, "labels.csv")
    before = labels.read_text()
    labels.write_text("video,start_frame,end_frame\ntest/0,0,9\n")
    try:
        found = gather(run_copy)
    finally:
        labels.write_text(before)
    assert any("results.json is of other scores or labels" in note for note in found.notes)
    assert found.metrics == []


def test_labels_that_moved_make_the_results_old(run_copy):
    labels = data_path(run_copy, "labels.csv")
    before = labels.read_text()
    assert "test/0,130,260" in before
    labels.write_text(before.replace("test/0,130,260", "test/0,65,195"))
    try:
        found = gather(run_copy)
    finally:
        labels.write_text(before)
    assert any("results.json is of other scores or labels" in note for note in found.notes)


def test_labels_that_cannot_be_read_are_told(run_copy):
    labels = data_path(run_copy, "labels.csv")
    with away(labels):
        labels.mkdir()
        try:
            found = gather(run_copy)
        finally:
            labels.rmdir()
    assert "labels.csv cannot be read" in found.notes[0]


@pytest.mark.parametrize("kind", ["moved", "other size"])
def test_pictures_of_a_video_that_is_not_there_say_why(run_copy, kind):
    video = data_path(run_copy, "test/1.mp4")
    content = video.read_bytes()
    with away(video):
        if kind == "other size":
            video.write_bytes(content + b"\0")
        found = gather(run_copy)
        video.unlink(missing_ok=True)
    reason = "no such file" if kind == "moved" else "the file has changed since its features were extracted"
    pictures = {view.video_id: view.peaks[0].picture for view in found.videos}
    assert reason in pictures["test/1"].absent
    assert pictures["test/0"].uri
    assert any("1 video could not be opened for pictures" in note and reason in note for note in found.notes)
    assert f"No picture: {video}: {reason}" in render_page(found)


def test_a_data_set_that_moved_costs_labels_and_pictures_only(run_copy):
    with away(data_path(run_copy)):
        found = gather(run_copy)
    assert any(note.startswith("The labels cannot be read") for note in found.notes)
    assert found.metrics
    assert len(found.videos) == 2
    assert all("no such file" in peak.picture.absent for view in found.videos for peak in view.peaks)


def test_what_is_more_than_the_limits_is_left_out(run_copy, monkeypatch):
    monkeypatch.setattr(report_module, "MAX_PICTURED", 1)
    found = gather(run_copy)
    assert [view.is_pictured for view in found.videos] == [True, False]
    assert "Pictures, words and objects are shown for 1 of these 2 videos" in render_page(found)
    monkeypatch.setattr(report_module, "MAX_VIDEOS", 1)
    found = gather(run_copy)
    assert (len(found.videos), found.num_left_out) == (1, 1)
    assert "Left out: 1 video with lower scores." in render_page(found)


def test_the_command_takes_the_run_folder_alone(run_copy, capsys, tmp_path):
    assert main(["report", run_copy.output]) == 0
    said = capsys.readouterr().out.splitlines()
    page = run_path(run_copy, "report", "index.html")
    assert said[0].startswith(f"report: {page} (")
    assert said[1] == "strongest findings:"
    assert said[2].startswith("  1. test/")
    assert said[4].startswith("  3. test/")
    assert page.read_text().startswith("<!doctype html>")
    assert main(["report", run_copy.output, "--out", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").read_text() == page.read_text()


def test_a_run_folder_that_was_moved_is_found_where_it_is(run_copy, capsys, tmp_path):
    moved = tmp_path / "elsewhere" / "mine"
    moved.parent.mkdir()
    run_path(run_copy).rename(moved)
    assert main(["report", str(moved)]) == 0
    assert f"report: {moved}/report/index.html" in capsys.readouterr().out
    assert f"<h1>{moved.name}</h1>" in (moved / "report" / "index.html").read_text()


def test_a_variation_has_its_own_report(run_copy, capsys):
    score = run_copy.score.model_copy(update={"smoothing_seconds": 0.0})
    variation = run_copy.model_copy(update={"variation": "raw", "score": score})
    folder = run_path(run_copy, "variations", "raw")
    for step in ("train", "score"):
        run_step(step, variation, lambda _: None)
    assert main(["report", str(folder)]) == 2
    assert "Of a variation that was not evaluated, give its --config" in capsys.readouterr().err
    run_step("evaluate", variation, lambda _: None)
    assert main(["report", str(folder)]) == 0
    assert f"report: {folder}/report/index.html" in capsys.readouterr().out
    text = (folder / "report" / "index.html").read_text()
    assert "<h1>raw</h1>" in text
    assert "scores not smoothed" in text
    assert not run_path(run_copy, "report", "index.html").exists()
    found, base = gather(variation), gather(run_copy)
    assert found.notes == base.notes == []
    assert {view.video_id: view.auc for view in found.videos} != {view.video_id: view.auc for view in base.videos}
    assert main(["render", str(folder), "--video", "test/1"]) == 0
    assert (folder / "report" / "test" / "1.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report"], "report needs either RUN, the output folder of a run, or --config FILE"),
        (["report", "RUN", "--config", "c.yaml"], "report needs either RUN"),
        (["report", "RUN", "--set", "seed=1"], "--set goes with --config"),
        (["report", "none"], "none is not the output folder of a run: it has no run.json with a config"),
        (["report", "RUN", "--out", "RUN/run.json/x"], "run.json/x: cannot be written"),
        (["render", "RUN"], "the following arguments are required: --video"),
        (["render", "RUN", "--video", "test/2"], "has no such video; did you mean test/1, test/0"),
        (["render", "RUN", "--video", "zzz"], "has no such video; did you mean test/0, test/1, train/0?"),
        (["render", "RUN", "--video", "test/1", "--out", "RUN/run.json/x.mp4"], "x.mp4: cannot be written"),
    ],
)
def test_mistakes_are_told(finished_run, capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    try:
        code = main([word.replace("RUN", finished_run.output) for word in arguments])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2
    assert message in said
    assert "Traceback" not in said


def test_a_config_of_other_features_is_refused(finished_run):
    other = finished_run.model_copy(update={"decode": finished_run.decode.model_copy(update={"stride": 1})})
    for show in (gather, lambda config: render_video(config, "test/1")):
        with pytest.raises(UserError, match=r"holds features of another config: decode\.stride"):
            show(other)
    empty = finished_run.model_copy(update={"output": finished_run.output + "_none"})
    for show in (gather, lambda config: render_video(config, "test/1")):
        with pytest.raises(UserError, match="holds no run"):
            show(empty)


def test_a_run_folder_without_a_config_is_refused(run_copy, capsys):
    run_path(run_copy, "run.json").write_text("{}")
    assert main(["report", run_copy.output]) == 2
    assert "it has no run.json with a config" in capsys.readouterr().err


def test_a_config_that_is_not_valid_any_more_is_told(run_copy, capsys):
    path = run_path(run_copy, "run.json")
    document = json.loads(path.read_text())
    document["config"]["colour"] = "red"
    path.write_text(json.dumps(document))
    assert main(["report", run_copy.output]) == 2
    assert "unknown key 'colour'" in capsys.readouterr().err


def test_both_ways_to_name_a_run_give_one_report(run_copy, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps(run_copy.model_dump(mode="json")))
    assert main(["report", "--config", str(path), "--out", str(tmp_path / "a.html")]) == 0
    assert main(["report", run_copy.output, "--out", str(tmp_path / "b.html")]) == 0
    assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()
    assert parse_config(run_copy.model_dump(mode="json"), "test") == run_copy


def test_passwords_are_not_handed_on(run_copy):
    tracking = run_copy.tracking.model_copy(update={"uri": "postgresql://me:secret@host/runs"})
    page = render_page(gather(run_copy.model_copy(update={"tracking": tracking})))
    assert "secret" not in page
    assert "postgresql://***@host/runs" in page


def test_a_run_on_an_object_store(run_copy, capsys):
    import fsspec

    store = fsspec.filesystem("memory")
    store.put(run_copy.output, "/report_store", recursive=True)
    try:
        assert main(["report", "memory://report_store"]) == 0
        assert main(["render", "memory://report_store", "--video", "test/1"]) == 0
        assert store.cat_file("/report_store/report/index.html").startswith(b"<!doctype html>")
        assert store.cat_file("/report_store/report/test/1.mp4")[4:8] == b"ftyp"
    finally:
        store.rm("/report_store", recursive=True)
    assert "video: /report_store/report/test/1.mp4, 40 frames" in capsys.readouterr().out


def test_scores_that_cannot_be_are_found(run_copy):
    path = run_path(run_copy, "scores", "test", "1.parquet")
    table = pq.read_table(path)
    position = table.schema.get_field_index("num_objects")
    counts = pa.array(np.asarray(table["num_objects"]) + 1, pa.int32())
    pq.write_table(table.set_column(position, table.schema.field(position), counts), path)
    found = gather(run_copy)
    assert any("have changed since they were scored, the first: test/1" in note for note in found.notes)
