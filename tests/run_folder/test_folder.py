import errno
import os
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.errors import UserError
from raypipe.run_folder.folder import STALE_SECONDS, DeadLetter, RunFolder, escape, fitting, new_session, unescape


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return RunFolder(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


@pytest.mark.parametrize(
    ("video_id", "expected"),
    [
        ("test/01", "test/01"),
        ("a b/ü'\"", "a b/ü'%22"),
        ("..", "%2E."),
        ("a/../b", "a/%2E./b"),
        ("/etc/passwd", "%/etc/passwd"),
        (".hidden", "%2Ehidden"),
        ("50%", "50%25"),
        ("class=fight", "class%3Dfight"),
        ("a\\b:c", "a%5Cb%3Ac"),
    ],
)
def test_escape(video_id, expected):
    assert escape(video_id) == expected
    assert unescape(expected) == video_id


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(names, names)
def test_escape_is_reversible_and_never_leaves_its_folder(first, second):
    assert unescape(escape(first)) == first
    assert (escape(first) == escape(second)) == (first == second)
    parts = escape(first).split("/")
    assert not {"", ".", ".."} & set(parts)
    assert not any(part.startswith(".") or "\x00" in part for part in parts)


def test_commit_replaces_the_whole_file_and_leaves_nothing_else(folder):
    path = folder.path("features", "a", "00000.parquet")
    folder.commit(path, b"first, which is longer")
    folder.commit(path, b"second")
    assert folder.filesystem.cat_file(path) == b"second"
    assert folder.filesystem.find(folder.path()) == [path]


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, UserError, r"no space is left on its disk \(full\)\. What is committed stays"),
        (errno.EDQUOT, UserError, r"no space is left on its disk \(full\)"),
        # A broken disk is nobody's mistake.
        (errno.EIO, OSError, "full"),
    ],
)
def test_a_failed_commit_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, code, kind, words):
    folder = RunFolder(str(tmp_path))
    folder.commit(folder.path("a"), b"old")

    def fail(_):
        raise OSError(code, "full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind, match=words):
        folder.commit(folder.path("a"), b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_files_are_committed_together_the_last_one_saying_that_they_are_whole(folder, tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.bin", "card.json", "z.bin"):
        (source / name).write_text(f"first {name}")
    folder.commit_files(source, "model", last="card.json")
    for name in ("a.bin", "card.json", "z.bin"):
        (source / name).write_text(f"second {name}")
    written, commit = [], RunFolder.commit

    def die_at_the_second(self, path, content):
        assert not self.exists("model", "card.json")
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        commit(self, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "commit", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            folder.commit_files(source, "model", last="card.json")
    # Neither the old set nor the new one: nothing says that it is whole.
    assert not folder.exists("model", "card.json")
    folder.commit_files(source, "model", last="card.json")
    assert folder.filesystem.cat_file(folder.path("model", "card.json")) == b"second card.json"


def test_json_round_trip_and_its_errors(folder):
    assert folder.read_json("run.json") is None
    folder.commit_json("models/rm/model.json", {"name": "ü", "values": [1.5, None]})
    assert folder.read_json("models/rm/model.json") == {"name": "ü", "values": [1.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.commit_json("bad.json", {"value": float("nan")})
    folder.commit(folder.path("run.json"), b"{")
    with pytest.raises(UserError, match=r"run.json is damaged"):
        folder.read_json("run.json")


def test_committed_and_dead_segments_are_listed_by_video(folder):
    assert folder.committed() == {}
    for video, index in (("test/a b", 0), ("test/a b", 12), ("..", 1)):
        folder.commit(folder.feature_path(video, index), b"x")
    folder.commit(folder.path("features", "test", "notes.txt"), b"x")
    assert folder.committed() == {"test/a b": {0, 12}, "..": {1}}

    letters = [DeadLetter("b", 1, "decode", "CorruptVideoError", "broken"), DeadLetter("a=1", 0, "probe", "E", "m", 3)]
    for letter in letters:
        folder.commit_dead(letter)
    assert folder.dead() == {"b": {1}, "a=1": {0}}
    assert folder.read_dead() == letters[::-1]
    assert folder.clear_dead() == 2
    assert folder.read_dead() == []
    assert folder.clear_dead() == 0


def test_only_the_dead_letters_that_are_named_are_forgotten(folder):
    letters = [DeadLetter(video, index, "decode", "E", "m") for video, index in (("a[1]", 0), ("a[1]", 1), ("b", 0))]
    for letter in letters:
        folder.commit_dead(letter)
    assert folder.clear_dead({("a[1]", 1), ("c", 0)}) == 1
    assert folder.read_dead() == [letters[0], letters[2]]
    folder.remove(folder.dead_path("b", 0))
    folder.remove(folder.dead_path("b", 0))
    assert folder.read_dead() == [letters[0]]


def test_what_another_driver_removes_meanwhile_is_left_out(folder, monkeypatch):
    letters = [DeadLetter(video, 0, "decode", "E", "m") for video in "ab"]
    for letter in letters:
        folder.commit_dead(letter)
    monkeypatch.setattr(RunFolder, "dead", lambda self: {"a": {0}, "b": {0}, "gone": {0}})
    assert folder.read_dead() == letters


def test_a_store_that_does_not_answer_is_told(tmp_path):
    folder = RunFolder(str(tmp_path))
    (tmp_path / "file").write_bytes(b"x")
    assert folder.read_each([]) == []
    assert folder.read_each([str(tmp_path / "none"), str(tmp_path / "file")]) == [b"x"]
    with pytest.raises(UserError, match=r"cannot be read \(.*[Dd]irectory"):
        folder.read_each([str(tmp_path)])


def test_attempts_count_within_a_session_only(folder):
    first, second = new_session(), new_session()
    assert [folder.begin_attempt(first, "a", 0) for _ in range(3)] == [1, 2, 3]
    assert folder.begin_attempt(first, "a", 1) == 1
    assert folder.begin_attempt(second, "a", 0) == 1
    folder.end_session(first)
    folder.end_session("never begun")
    assert folder.begin_attempt(first, "a", 0) == 1
    assert folder.begin_attempt(second, "a", 0) == 2


def test_sweep_removes_only_what_is_stale(tmp_path):
    folder = RunFolder(str(tmp_path))
    folder.sweep()
    fresh, stale = new_session(), f"{int(time.time() - STALE_SECONDS - 60)}-dead"
    for session in (fresh, stale):
        folder.begin_attempt(session, "a", 0)
    old, new = tmp_path / "tmp" / "old", tmp_path / "tmp" / "new"
    old.write_bytes(b"")
    new.write_bytes(b"")
    os.utime(old, (0, 0))
    folder.sweep()
    assert [path.name for path in (tmp_path / "attempts").iterdir()] == [fresh]
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["new"]


def test_exists_and_paths(folder):
    assert not folder.exists("scores")
    folder.commit(folder.score_path("test/01"), b"x")
    assert folder.exists("scores", "test", "01.parquet")


def test_what_is_made_of_features_lies_with_its_variation(tmp_path):
    folder = RunFolder(str(tmp_path), "knn")
    assert folder.score_path("test/a") == f"{tmp_path}/variations/knn/scores/test/a.parquet"
    assert folder.product("results.json") == "variations/knn/results.json"
    assert folder.feature_path("test/a", 0) == RunFolder(str(tmp_path)).feature_path("test/a", 0)
    assert RunFolder(str(tmp_path)).product("results.json") == "results.json"


def test_require_space(tmp_path):
    RunFolder(str(tmp_path / "new")).require_space(1)
    RunFolder("memory://x").require_space(2**70)
    with pytest.raises(UserError, match="MiB free on its disk"):
        RunFolder(str(tmp_path)).require_space(2**70)
    # Nobody may write there, not even root.
    with pytest.raises(UserError, match="output: /proc cannot be written to"):
        RunFolder("/proc").require_space(1)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "tmp").write_text("where temporary files should lie")
    with pytest.raises(UserError, match=r"a\.txt cannot be written \(File exists"):
        RunFolder(str(tmp_path)).commit(str(tmp_path / "a.txt"), b"")


@pytest.mark.parametrize("name", ["plain", "a [1]*?", "a [x"])
@pytest.mark.parametrize("root", ["{tmp}", "memory://{id}"])
def test_a_folder_is_removed_whatever_its_name(tmp_path, root, name):
    folder = RunFolder(f"{root.format(tmp=tmp_path, id=uuid.uuid4().hex)}/{name}")
    session = new_session()
    assert folder.begin_attempt(session, "test/a", 0) == 1
    folder.commit(folder.feature_path("test/a", 0), b"x")
    folder.end_session(session)
    assert not folder.exists("attempts", session)
    assert folder.committed() == {"test/a": {0}}


@pytest.mark.parametrize(
    ("name", "max_bytes", "expected"),
    [
        ("a" * 40, 40, "a" * 40),
        # Escaped, a question mark takes three bytes; a tail of ~ and 12 digits 13.
        ("?" * 40, 40, "?" * 9 + "~"),
        ("ä" * 40, 40, "ä" * 13 + "~"),
    ],
)
def test_names_that_are_too_long_end_in_their_hash(name, max_bytes, expected):
    fitted = fitting(name, max_bytes)
    assert fitted.startswith(expected)
    assert len(escape(fitted).encode()) <= max_bytes
    assert fitting(fitted, max_bytes) == fitted
    assert fitting(name + "x", max_bytes) != fitted
    assert unescape(escape(fitted)) == fitted


def test_a_path_that_is_too_long_is_told_in_one_line(tmp_path):
    folder = RunFolder(str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be written \(File name too long\)"):
        folder.commit(folder.path("a" * 300), b"x")
