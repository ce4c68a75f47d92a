"""What docs/security.md promises: nothing outside the run folder is written, nothing secret is shown."""

import json
import logging
import sys

import fsspec
import pytest
import yaml

import raypipe.cli.main
from raypipe.cli.main import main
from raypipe.config.stages import DecodeConfig
from raypipe.datasets.folder import read_folder
from raypipe.errors import CorruptVideoError, UserError
from raypipe.extraction.catalog import list_videos
from raypipe.extraction.planning import plan_video
from raypipe.extraction.probing import probe
from raypipe.extraction.stage_runner import StageRunner
from raypipe.pipeline import Stage
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.run_folder.record import claim_run_folder
from raypipe.stages.decode import DecodeFrames
from raypipe.video.probe import probe_video
from tests.helpers.small_data import make_config, write_data

HOSTILE = [
    "..",
    "../../etc/x",
    "/etc/x",
    "a/../../x",
    "a//b",
    ".",
    "",
    "~/x",
    "$HOME",
    "a;touch x",
    "`touch x`",
    "-rf",
    "C:\\x",
    "file:///etc/x",
    "a\nb\0c",
    "ü" * 80,
]


@pytest.mark.parametrize("video_id", HOSTILE)
def test_no_video_id_leads_out_of_the_run_folder(tmp_path, video_id):
    output = tmp_path / "run"
    folder = RunFolder(str(output))
    letter = DeadLetter(video_id, 3, "decode", "CorruptVideoError", "bad")
    folder.commit_dead(letter)
    folder.commit(folder.feature_path(video_id, 3), b"features")
    folder.commit(folder.score_path(video_id), b"scores")
    assert folder.begin_attempt("1-a/0", video_id, 3) == 1
    folder.note_hang("1-a/0", video_id, 3, "hung")
    assert folder.read_hang("1-a/0", video_id, 3) == "hung"
    assert folder.committed() == folder.dead() == {video_id: {3}}
    assert folder.read_dead() == [letter]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path.name for path in output.iterdir()} == {"features", "dead", "scores", "attempts", "tmp"}


def test_a_commit_replaces_a_link_and_not_what_it_points_to(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = RunFolder(str(tmp_path / "run"))
    folder.commit(folder.feature_path("a", 0), b"first")
    target = tmp_path / "run" / "features" / "a" / "00001.parquet"
    target.symlink_to(outside)
    folder.commit(str(target), b"second")
    assert outside.read_text() == "mine"
    assert target.read_bytes() == b"second"
    assert not target.is_symlink()


def test_keys_of_a_store_that_lead_upwards_are_refused():
    store = fsspec.filesystem("memory")
    store.pipe_file("/hostile/train/a.mp4", b"x")
    store.store["/hostile/train/../../b.mp4"] = store.store["/hostile/train/a.mp4"]
    try:
        with pytest.raises(UserError, match=r"a name with '\.\.' in it"):
            read_folder("memory://hostile")
    finally:
        store.store.clear()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("concat.mp4", "ffconcat version 1.0\nfile good.mp4\n"),
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ngood.mp4\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_playlist_is_no_video(tmp_path, name, text):
    write_data(tmp_path, {"good": 12})
    (tmp_path / name).write_text(text)
    with pytest.raises(CorruptVideoError, match=r"playlist|not a video"):
        probe_video(str(tmp_path / name))


def test_a_file_from_a_store_reads_no_files_of_this_machine(tmp_path):
    write_data(tmp_path, {"good": 12})
    store = fsspec.filesystem("memory")
    store.pipe_file("/list.mp4", f"ffconcat version 1.0\nfile 'file:{tmp_path}/good.mp4'\n".encode())
    try:
        with pytest.raises(CorruptVideoError):
            probe_video("memory://list.mp4")
    finally:
        store.store.clear()


SECRET = "hunter2"  # noqa: S105 nobody's
URI = f"postgresql://ray:{SECRET}@127.0.0.1:9/mlflow"


@pytest.mark.parametrize(
    "changes",
    [
        {"tracking": {"uri": URI}},
        {"output": f"ftp://ray:{SECRET}@127.0.0.1/run"},
        {"dataset": {"root": f"https://127.0.0.1/data?token={SECRET}"}},
        {"detector": {"kind": "boxes", "boxes_root": f"sftp://ray:{SECRET}@127.0.0.1/boxes"}},
        {"tracking": {"uri": URI, "unknown": 1}},
        {"tracking": URI},
        {"seed": URI},
    ],
)
@pytest.mark.parametrize("flags", [[], ["--debug"]])
def test_no_message_of_a_command_shows_a_password(tmp_path, capsys, monkeypatch, changes, flags):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    root = write_data(tmp_path / "data", {"train/a": 2, "test/a": 2})
    document = make_config(root, tmp_path / "run").model_dump(mode="json") | changes
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    assert main(["extract", "--config", str(path), *flags]) == 2
    assert SECRET not in "".join(capsys.readouterr())
    broken = tmp_path / "broken.yaml"
    broken.write_text(f"tracking: {{uri: {URI}\nseed: [")
    assert main(["extract", "--config", str(broken), *flags]) == 2
    assert SECRET not in "".join(capsys.readouterr())


def test_no_file_of_a_run_holds_a_password(tmp_path):
    config = make_config(tmp_path, tmp_path / "run", tracking={"uri": URI})
    folder = RunFolder(config.output)
    claim_run_folder(
        folder,
        config=config.model_dump(mode="json"),
        feature_keys=config.flat_features(),
        config_hash=config.feature_hash(),
        versions={},
        catalogue_hash="",
    )
    folder.commit_dead(DeadLetter("a", 0, "probe", "CorruptVideoError", f"https://h/a?X-Amz-Signature={SECRET}: bad"))
    content = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert b"postgresql://***@127.0.0.1:9/mlflow" in content
    assert SECRET.encode() not in content


def test_a_log_line_hides_what_a_library_says(monkeypatch, capsys):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(raypipe.cli.main, "_dispatch", lambda options: root.warning("no answer from %s", URI) or 0)
    assert main(["weights", "check", "x"]) == 0
    assert capsys.readouterr().err == "root: no answer from postgresql://***@127.0.0.1:9/mlflow\n"


def planned_row(tmp_path):
    root = write_data(tmp_path / "data", {"train/a": 12})
    config = make_config(root, tmp_path / "run")
    entry = probe(list_videos(config).videos[0], 25.0)
    return plan_video(config, entry)[0].row()


class Refuse:
    def __init__(self, message):
        self.message = message

    def __call__(self, row):
        raise UserError(self.message)


def test_a_users_mistake_in_an_actor_travels_as_a_row(tmp_path):
    folder = RunFolder(str(tmp_path / "run"))
    stages = [Stage("decode", DecodeFrames, (DecodeConfig(),)), Stage("refuse", Refuse, ("the disk is full",))]
    run = StageRunner(stages, folder, "1-a", 3, 0)
    row = planned_row(tmp_path)
    refused = run(row)
    assert refused["refusal"] == "the disk is full"
    assert (refused["num_frames"], refused["num_objects"]) == (0, 0)
    # Later pools let it pass.
    assert run(refused) is refused
    assert folder.dead() == {}
    assert json.loads(json.dumps(refused)) == refused
