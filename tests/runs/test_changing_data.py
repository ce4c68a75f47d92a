"""Data that change between two starts: only what changed is done again, and nothing outdated is used.

The videos have 30 frames and one segment each, so that counts of frames are counts of videos.
"""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from raypipe.anomaly_model.trained_model import read_model
from raypipe.cli.main import main
from raypipe.errors import UserError
from raypipe.extraction import extract as extraction
from raypipe.extraction.catalog import read_changes, require_features
from raypipe.extraction.changes import Changes
from raypipe.extraction.extract import extract
from raypipe.extraction.probing import build_catalogue
from raypipe.extraction.settling import clear_old_names, make_way
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.run_folder.tables import commit_features, read_segment
from raypipe.workflow import run_step
from tests.helpers.clips import moving_squares, write_clip
from tests.helpers.object_store import BUCKET, object_store
from tests.helpers.small_data import contents, make_config, write_boxes, write_data
from tests.video.test_folder import write_frames

CASES = Path(__file__).parents[3] / "shared" / "cases" / "media"
FRAMES = 30
VIDEOS = ("train/a", "train/b", "test/a", "test/b")


def config_for(root, output, **changes):
    return make_config(root, output, score={"model": "knn", "knn": {"num_neighbours": 2}}, **changes)


def add(root, video_id, seed=7):
    write_clip(root / f"{video_id}.mp4", moving_squares(FRAMES, 64, 48, seed), options={"g": "12"})
    write_boxes(root, video_id, FRAMES)


def replace(root, video_id):
    add(root, video_id)


def replace_by_same_size(root, video_id):
    """Another content of the same size and time, and boxes that stay."""
    path = root / f"{video_id}.mp4"
    before = path.stat()
    write_clip(path, moving_squares(FRAMES, 64, 48, 9), options={"g": "12", "crf": "40"})
    with path.open("ab") as file:
        # What follows the last box of an MP4 is skipped, if it says that it is free.
        missing = before.st_size - file.tell()
        assert missing >= 8
        file.write(missing.to_bytes(4, "big") + b"free" + bytes(missing - 8))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def replace_boxes(root, video_id):
    path = root / "boxes" / f"{video_id}.txt"
    path.write_text(path.read_text().replace("24,0.9", "20,0.9"))


def rename(root, video_id, name=None):
    new = name or f"{video_id}2"
    shutil.move(root / f"{video_id}.mp4", root / f"{new}.mp4")
    (root / "boxes" / f"{new}.txt").parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "boxes" / f"{video_id}.txt", root / "boxes" / f"{new}.txt")


def remove(root, video_id):
    (root / f"{video_id}.mp4").unlink()


def touch(root, video_id):
    for path in (root / f"{video_id}.mp4", root / "boxes" / f"{video_id}.txt"):
        os.utime(path, (1, 1))


# What is done to a video, how many frames are processed then, and what is told of it.
TABLE = [
    (add, "c", FRAMES, "1 video is new"),
    (replace, "a", FRAMES, "1 video changed"),
    (replace_by_same_size, "a", FRAMES, "1 video changed"),
    (replace_boxes, "a", FRAMES, "1 video changed"),
    (rename, "a", 0, "1 video renamed ({0} -> {0}2)"),
    (remove, "a", 0, "1 video removed"),
    (touch, "a", 0, ""),
]


@pytest.fixture(scope="module")
def made(cluster, tmp_path_factory):
    """Data without labels and a finished run of them, kept at another place."""
    base = tmp_path_factory.mktemp("made")
    root = write_data(base / "data", dict.fromkeys(VIDEOS, FRAMES))
    (root / "labels.csv").unlink()
    assert run_step("run", config_for(root, base / "run"), lambda line: None) == 0
    for name in ("data", "run"):
        shutil.copytree(base / name, base / "kept" / name)
    return base


@pytest.fixture
def copy(made):
    """The data and the run as they were made, of which all files were copied since."""
    for name in ("data", "run"):
        shutil.rmtree(made / name)
        shutil.copytree(made / "kept" / name, made / name)
    return made / "data", config_for(made / "data", made / "run")


def state(config):
    """Return the bytes of what was made, by kind and name."""
    base = Path(config.output)
    scores = {path.stem: path.read_bytes() for path in sorted((base / "scores").rglob("*.parquet"))}
    return contents(base), scores, (base / "models" / "knn" / "motion" / "density.safetensors").read_bytes()


def steps(config, *names):
    said = []
    codes = [run_step(name, config, said.append) for name in names]
    return codes, "\n".join(said)


def extracted(config):
    """Extract again and return the result, and what is told of the data."""
    result = extract(config)
    assert (result.dead, result.num_left) == ([], 0)
    return result.processed_frames, str(result.catalogue.changes)


@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize(("change", "name", "frames", "told"), TABLE, ids=[row[0].__name__ for row in TABLE])
def test_only_what_changed_is_done_again(copy, split, change, name, frames, told):
    root, config = copy
    video_id = f"{split}/{name}"
    features, scores, _ = state(config)
    trained = read_model(RunFolder(config.output), "knn")
    change(root, video_id)
    if change in (touch, remove):
        require_features(config, RunFolder(config.output))
    else:
        with pytest.raises(UserError, match="Run it again"):
            require_features(config, RunFolder(config.output))
    # Of the others nothing is told, though they were copied since.
    assert extracted(config) == (frames, told.format(video_id))
    assert extracted(config) == (0, "")
    now = contents(Path(config.output))
    others = {path: content for path, content in features.items() if not path.startswith(f"{video_id}/")}
    assert {path: now.get(path) for path in others} == others
    path = f"{video_id}/00000.parquet"
    assert (path in now) == (change is not rename)
    assert (now.get(path) == features.get(path)) == (change in (touch, remove))

    codes, said = steps(config, "train", "score", "evaluate")
    assert codes == [0, 0, 0]
    is_trained_anew = split == "train" and change is not touch
    assert ("trained before" in said) == (not is_trained_anew)
    assert (read_model(RunFolder(config.output), "knn").train_hash == trained.train_hash) == (not is_trained_anew)
    expected = {"test/a", "test/b"}
    if split == "test":
        expected = {add: expected | {"test/c"}, rename: {"test/a2", "test/b"}, remove: {"test/b"}}.get(change, expected)
    assert set(pq.read_table(Path(config.output) / "results.parquet")["video_id"].to_pylist()) == expected
    num_new = len(expected) if is_trained_anew else int(split == "test" and change not in (touch, remove))
    assert (f"{len(expected) - num_new} videos were scored already" in said) == (num_new < len(expected))
    if split == "test":
        _, scored, _ = state(config)
        assert scored["b"] == scores["b"]
        assert (scored.get("a") == scores["a"]) == (change in (add, touch, remove))


@pytest.mark.parametrize(
    ("video_id", "words"),
    [
        ("train/a", "trained with other settings or on other features: run `raypipe train` again"),
        ("test/a", "test/a has no scores"),
        ("test/b", "1 videos have other features than those that were scored, the first: test/b"),
    ],
)
def test_outdated_scores_are_not_evaluated(copy, video_id, words):
    root, config = copy
    if video_id == "test/b":
        record, table = read_segment(RunFolder(config.output), video_id, 0)
        commit_features(RunFolder(config.output), table.slice(1), record)
    else:
        replace_by_same_size(root, video_id)
    extract(config)
    with pytest.raises(UserError, match=words):
        run_step("evaluate", config, print)


@pytest.mark.parametrize(("split", "step"), [("train", "run"), ("train", "train"), ("test", "run"), ("test", "score")])
def test_a_split_that_was_emptied_is_told_before_any_work(copy, split, step):
    root, config = copy
    shutil.rmtree(root / split)
    before = state(config)
    with pytest.raises(UserError, match=rf"no video is in the split {split}, which `raypipe {step}` needs"):
        run_step(step, config, print)
    assert state(config) == before


def test_what_is_renamed_keeps_its_features_in_another_split_too(copy):
    """train/b takes the name of test/a, and nothing of what that held; test/a, whose name is not free, is made anew."""
    root, config = copy
    folder = RunFolder(config.output)
    before = {name: read_segment(folder, name, 0) for name in ("test/a", "train/b")}
    rename(root, "test/a", "train/d")
    rename(root, "train/b", "test/a")
    frames, told = extracted(config)
    assert (frames, told) == (FRAMES, "1 video is new, 1 renamed (train/b -> test/a)")
    assert set(contents(Path(config.output))) == {
        f"{name}/00000.parquet" for name in ("train/a", "train/d", "test/a", "test/b")
    }
    for old, new in (("test/a", "train/d"), ("train/b", "test/a")):
        record, table = read_segment(folder, new, 0)
        assert set(table["video_id"].to_pylist()) == {new}
        assert table.drop_columns("video_id").equals(before[old][1].drop_columns("video_id"))
        same = {"video_id": new, "digest": record.digest}
        assert record == dataclasses.replace(before[old][0], **same)
    assert not Path(folder.score_path("test/a")).exists()
    assert Path(folder.score_path("test/b")).exists()


def test_what_was_gone_comes_back(copy, tmp_path):
    root, config = copy
    shutil.copytree(root, tmp_path / "kept")
    remove(root, "test/a")
    assert extracted(config) == (0, "1 video removed")
    assert extracted(config) == (0, "")
    shutil.copy(tmp_path / "kept" / "test" / "a.mp4", root / "test" / "a.mp4")
    assert extracted(config) == (0, "1 video is back")
    # Under another name, in a later start.
    remove(root, "test/a")
    assert extracted(config) == (0, "1 video removed")
    shutil.copy(tmp_path / "kept" / "test" / "a.mp4", root / "train" / "x.mp4")
    shutil.copy(tmp_path / "kept" / "boxes" / "test" / "a.txt", root / "boxes" / "train" / "x.txt")
    assert extracted(config) == (0, "1 video renamed (test/a -> train/x)")
    # Another video of that name is another video.
    add(root, "test/a")
    assert extracted(config) == (FRAMES, "1 video is new")


def test_a_repaired_video_is_looked_at_again(copy, tmp_path, capsys):
    """By the command line, with its exit codes: 3 with dead letters, 2 for outdated features, 0 when all is well."""
    root, config = copy
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = ["--config", str(file)]
    whole = (root / "test" / "a.mp4").read_bytes()
    # The head is whole, so that it is probed; what follows cannot be decoded.
    data = whole.index(b"mdat") + 4
    (root / "test" / "a.mp4").write_bytes(whole[:data] + b"\xff" * 600 + whole[data + 600 :])
    assert main(["score", *command]) == 2
    assert "1 videos are new, or have changed" in capsys.readouterr().err
    assert main(["extract", *command]) == 3
    assert "data: 1 video changed" in capsys.readouterr().out
    assert RunFolder(config.output).dead() == {"test/a": {0}}
    # Nothing is tried again that is as it was.
    assert main(["extract", *command]) == 3
    assert "0 frames in" in capsys.readouterr().out
    (root / "test" / "a.mp4").write_bytes(b"no video at all")
    assert main(["extract", *command]) == 3
    assert "not a video" in RunFolder(config.output).read_dead()[0].message
    (root / "test" / "a.mp4").write_bytes(whole)
    assert main(["run", *command]) == 0
    assert "30 frames in" in capsys.readouterr().out
    assert RunFolder(config.output).dead() == {}
    assert main(["status", config.output]) == 0
    assert "data: 1 video changed; found " in capsys.readouterr().out


@pytest.mark.parametrize("at", ["make_way", "write_catalogue", "clear_old_names"])
@pytest.mark.parametrize("is_after", [False, True])
def test_a_start_that_is_killed_between_is_done_again(copy, monkeypatch, at, is_after):
    root, config = copy
    replace_by_same_size(root, "train/b")
    rename(root, "test/a")
    do = getattr(extraction, at)

    def dying(*arguments):
        if is_after:
            do(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(extraction, at, dying)
        with pytest.raises(KeyboardInterrupt):
            extract(config)
    told = "1 video changed, 1 renamed (test/a -> test/a2)"
    is_known = at == "clear_old_names" or (at, is_after) == ("write_catalogue", True)
    assert extracted(config) == (FRAMES, "" if is_known else told)
    assert read_changes(RunFolder(config.output))[1] == Changes(changed=("train/b",), renamed=(("test/a", "test/a2"),))
    # What is left under the old name is not taken for the features of another video of that name.
    add(root, "test/a")
    assert extracted(config) == (FRAMES, "1 video is new")
    assert steps(config, "train", "score", "evaluate")[0] == [0, 0, 0]


def test_a_second_driver_leaves_what_the_first_made_of_the_change(copy, monkeypatch):
    """It found the same change before the first had told of it, and goes on after the first is done."""
    root, config = copy
    replace_by_same_size(root, "test/a")
    rename(root, "train/b")
    folder = RunFolder(config.output)
    late = build_catalogue(config, folder)
    assert str(late.changes) == "1 video changed, 1 renamed (train/b -> train/b2)"
    assert extracted(config)[0] == FRAMES
    made = {path: path.stat().st_mtime_ns for path in (Path(config.output) / "features").rglob("*.parquet")}
    make_way(folder, late)
    clear_old_names(folder, late.changes)
    assert {path: path.stat().st_mtime_ns for path in (Path(config.output) / "features").rglob("*.parquet")} == made


def test_frames_in_a_folder_that_change(cluster, tmp_path):
    for number, name in enumerate(("train/a", "test/a")):
        write_frames(tmp_path / "data" / name, moving_squares(4, 64, 48, number), "{}.bmp")
    config = make_config(tmp_path / "data", tmp_path / "run", detector={"kind": "sliding_window", "window_pixels": 32})
    assert extracted(config) == (8, "")
    frame = sorted((tmp_path / "data" / "test" / "a").iterdir())[2]
    content = bytearray(frame.read_bytes())
    content[len(content) // 2] ^= 255
    frame.write_bytes(content)
    assert extracted(config) == (4, "1 video changed")
    sorted((tmp_path / "data" / "test" / "a").iterdir())[-1].unlink()
    assert extracted(config) == (3, "1 video changed")
    shutil.move(tmp_path / "data" / "test" / "a", tmp_path / "data" / "test" / "b")
    assert extracted(config) == (0, "1 video renamed (test/a -> test/b)")


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(
    ("case", "first", "second"),
    [
        ("10-same-size", "monday.mp4", "tuesday.mp4"),
        pytest.param("11-dead-letter", "broken.mts", "repaired.mp4", marks=pytest.mark.slow),
    ],
)
def test_the_cases(cluster, tmp_path, case, first, second):
    for folder, file in (("train", "train.mp4"), ("test", first)):
        (tmp_path / "data" / folder).mkdir(parents=True)
        name = "cam" + Path(file).suffix if folder == "test" else file
        shutil.copy(CASES / case / file, tmp_path / "data" / folder / name)
    settings = {"detector": {"kind": "sliding_window", "window_pixels": 32}, "decode": {"max_side": 128}}
    config = config_for(tmp_path / "data", tmp_path / "run", **settings)
    folder = RunFolder(config.output)
    steps(config, "extract")
    if case == "11-dead-letter":
        # What earlier versions could not decode of it; this one may.
        folder.commit_dead(DeadLetter("test/cam", 0, "decode", "CorruptVideoError", "Invalid data found"))
    features = contents(tmp_path / "run")
    for path in (tmp_path / "data" / "test").iterdir():
        path.unlink()
    shutil.copy(CASES / case / second, tmp_path / "data" / "test" / f"cam{Path(second).suffix}")
    codes, said = steps(config, "run")
    assert codes == [0]
    assert "data: 1 video changed" in said
    assert folder.dead() == {}
    now = contents(tmp_path / "run")
    assert set(now) > {"train/train/00000.parquet"}
    assert {path for path in now if now[path] == features.get(path)} == {p for p in now if p.startswith("train/")}


@pytest.mark.slow
def test_in_a_store_too(tmp_path):
    """Data and output in a store: added, replaced by the same size, repaired, renamed and removed, in both splits."""
    names = [f"{split}/{name}" for split in ("train", "test") for name in "abcd"]
    root = write_data(tmp_path / "data", dict.fromkeys(names, FRAMES))
    (root / "labels.csv").unlink()
    document = config_for(root, tmp_path / "unused").model_dump(mode="json")
    document["output"] = f"s3://{BUCKET}/run"
    document["dataset"]["root"] = f"s3://{BUCKET}/data"
    document["detector"]["boxes_root"] = f"s3://{BUCKET}/data/boxes"
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(document))
    with object_store() as (environment, client, _):

        def raypipe(step):
            command = [sys.executable, "-m", "raypipe", step, "--config", str(file)]
            done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=400)
            return done.returncode, done.stdout + done.stderr

        client.put(str(root), f"{BUCKET}/data", recursive=True)
        client.pipe_file(f"{BUCKET}/data/test/d.mp4", b"no video")
        code, said = raypipe("run")
        assert code == 3, said
        whole = (root / "test" / "d.mp4").read_bytes()
        for split in ("train", "test"):
            replace_by_same_size(root, f"{split}/a")
            client.put(str(root / split / "a.mp4"), f"{BUCKET}/data/{split}/a.mp4")
            for folder, ending in (("", "mp4"), ("boxes/", "txt")):
                client.mv(f"{BUCKET}/data/{folder}{split}/b.{ending}", f"{BUCKET}/data/{folder}{split}/b2.{ending}")
            client.rm(f"{BUCKET}/data/{split}/c.mp4")
            add(root, f"{split}/e", seed=11)
            client.put(str(root / split / "e.mp4"), f"{BUCKET}/data/{split}/e.mp4")
            client.put(str(root / "boxes" / split / "e.txt"), f"{BUCKET}/data/boxes/{split}/e.txt")
        client.pipe_file(f"{BUCKET}/data/test/d.mp4", whole)
        code, said = raypipe("score")
        assert code == 2, said
        code, said = raypipe("run")
        assert code == 0, said
        assert (
            "data: 2 videos are new, 3 changed, 2 renamed (test/b -> test/b2, train/b -> train/b2), 2 removed" in said
        )
        # Both of a and e, and the repaired one.
        assert f"{5 * FRAMES} frames in" in said
        found = {path.split("features/")[1].rpartition("/")[0] for path in client.find(f"{BUCKET}/run/features")}
        # What was removed stays, in case it comes back.
        assert found == {f"{split}/{name}" for split in ("train", "test") for name in ("a", "b2", "c", "d", "e")}
        code, said = raypipe("run")
        assert code == 0, said
        assert ("data:" in said, "trained before" in said, "4 videos were scored already" in said) == (
            False,
            True,
            True,
        )
