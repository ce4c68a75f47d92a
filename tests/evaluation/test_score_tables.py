import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.errors import UserError
from raypipe.evaluation.score_files import read_score_table
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import commit_scores
from raypipe.schema import SCORE

NAN = np.nan


def csv_file(tmp_path, text):
    path = tmp_path / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("video,frame,score\na,0,1\na,1,2.5\nb,0,-3e2\n", {"a": [1, 2.5], "b": [-300]}),
        ("video,frame,score\nb,0,3\na,1,2\na,0,1\n", {"a": [1, 2], "b": [3]}),  # in any order
        ("score,other,frame_index,video_id\n1,x,0,a\n", {"a": [1]}),  # our names, other columns
        ("\ufeffvideo,frame,score\r\n007,1,5\r\n", {"007": [NAN, 5]}),  # a name of digits stays a name
        ("video,frame,score\na,0,\na,2,4\n", {"a": [NAN, NAN, 4]}),  # empty, and left out
        ('video,frame,score\n"a,b",0,1\n', {"a,b": [1]}),
        ('"note, of ours","video","frame",score\n9,a,0,1\n', {"a": [1]}),
        ('"two\nlines",video,frame,score\n9,a,0,1\n', {"a": [1]}),
        ("video;frame;score\na;0;0.5\na;1;2\n", {"a": [0.5, 2]}),
        ("video;frame;score\na;0;0,5\na;1;-2,25\n", {"a": [0.5, -2.25]}),  # decimal commas
        ('video,frame,score\na,0,"0,5"\na,1,1\n', {"a": [0.5, 1]}),
        ("video\tframe\tscore\na\t0\t1\n", {"a": [1]}),
        ("sep=;\r\nvideo;frame;score\r\na;0;1,5\r\n", {"a": [1.5]}),  # as spreadsheets write
    ],
)
def test_csv(tmp_path, text, expected):
    table = read_score_table(csv_file(tmp_path, text))
    assert set(table.scores) == set(expected)
    for name, score in expected.items():
        np.testing.assert_array_equal(table.scores[name], score)
    assert table.fps == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a column 'video_id' or 'video'; found ''"),
        ("video,frame\na,0\n", "needs a column 'score'; found 'video', 'frame'"),
        ("video,frame,score,score\na,0,1,2\n", "2 columns may be the score: 'score', 'score'"),
        ("video,video_id,frame,score\na,b,0,1\n", "2 columns may be the video: 'video', 'video_id'"),
        ("video,frame,score\n", "holds no rows"),
        ("video,frame,score\na,0,1\na,0,2\n", "1 frames have two rows, the first is a frame 0"),
        ("video,frame,score\nb,0,1\na,3,1\nb,0,1\n", "1 frames have two rows, the first is b frame 0"),
        ("video,frame,score\na,0,nan\na,1,inf\n", "2 of 2 scores are NaN or infinite, the first is a frame 0"),
        ("video,frame,score\na,0,\na,1,inf\n", "1 of 2 scores are NaN or infinite, the first is a frame 1"),
        ("video,frame,score\na,-1,2\na,0,1\n", "a has a frame -1"),
        ("video,frame,score\na,0.5,2\n", "scores.csv: .*0.5"),
        ("video,frame,score\na,0,high\n", "scores.csv: .*high"),
        ("video,frame,score\na,,2\n", "1 rows without a frame"),
        ("video,frame,score\na,0\n", "scores.csv: .*Expected 3 columns, got 2"),
        ("video,frame,score\na,1700000000000,2\n", "a has 1 rows, but a frame 1,700,000,000,000: is it an index"),
    ],
)
def test_bad_csv_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_score_table(csv_file(tmp_path, text))
    assert "scores.csv" in str(error.value)


def test_absent_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: No such file"):
        read_score_table(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"none\.parquet: no such file"):
        read_score_table(tmp_path / "none.parquet")
    (tmp_path / "pickle.parquet").write_bytes(b"\x80\x04K\x01." * 9)
    with pytest.raises(UserError, match="not readable as Parquet but a Python pickle"):
        read_score_table(tmp_path / "pickle.parquet")
    (tmp_path / "bytes.csv").write_bytes(b"video,frame,score\n\xff\xfe,0,1\n")
    with pytest.raises(UserError, match=r"bytes\.csv"):
        read_score_table(tmp_path / "bytes.csv")
    pq.write_table(pa.table({"video": ["a"], "frame": ["x"], "score": [1.0]}), tmp_path / "text.parquet")
    with pytest.raises(UserError, match=r"text\.parquet: .*x"):
        read_score_table(tmp_path / "text.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no \.parquet files in this folder"):
        read_score_table(tmp_path / "empty")


def test_our_own_scores_come_with_their_frame_rates(tmp_path):
    folder = RunFolder(str(tmp_path))
    for video_id, count, fps in (("test/a", 5, 25.0), ("test/b", 1, 25.0)):
        columns = {"video_id": [video_id] * count, "frame_index": range(count)}
        columns |= {
            "time_seconds": np.arange(count) / fps,
            "score": [None, *range(1, count)],
            "num_objects": [0] * count,
        }
        columns |= {"top_track_id": pa.nulls(count, pa.int64()), "top_sentence": pa.nulls(count, pa.string())}
        commit_scores(folder, video_id, pa.table(columns).cast(SCORE), {"model": "rm"})
    table = read_score_table(tmp_path / "scores")
    np.testing.assert_array_equal(table.scores["test/a"], [NAN, 1, 2, 3, 4])
    np.testing.assert_array_equal(table.scores["test/b"], [NAN])
    assert table.fps == {"test/a": pytest.approx(25.0)}  # one frame tells none


def test_a_pause_between_scores_is_no_rate(tmp_path):
    times = np.arange(40) / 25 + 3600 * (np.arange(40) >= 30)
    for step, name in ((1, "a"), (4, "b")):
        rows = [f"v,{frame},0.5,{float(times[frame])!r}" for frame in range(4, 40, step)]
        table = read_score_table(csv_file(tmp_path, "\n".join(["video,frame,score,time_seconds", *rows])))
        assert table.fps == {"v": pytest.approx(25)}, name
        known = table.times_of("v")
        assert known.shape == table.scores["v"].shape
        # The times of frames between two that are given lie between theirs, and of those before at the rate.
        np.testing.assert_allclose(known[::step], times[: len(known) : step], atol=1e-9)
    assert table.times_of("w") is None


ROWS = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b/c", "ü"]), st.integers(0, 9)), st.floats(-9, 9), min_size=1, max_size=20
)


@given(ROWS, st.randoms())
@settings(max_examples=60, deadline=None)
def test_any_order_of_rows_gives_the_same_scores(tmp_path_factory, rows, random):
    items = list(rows.items())
    random.shuffle(items)
    folder = tmp_path_factory.mktemp("table")
    columns = {
        "video": [video for (video, _), _ in items],
        "frame": [frame for (_, frame), _ in items],
        "score": [score for _, score in items],
    }
    pq.write_table(pa.table(columns), folder / "s.parquet")
    lines = [f"{video},{frame},{score!r}" for (video, frame), score in items]
    for path in (folder / "s.parquet", csv_file(folder, "\n".join(["video,frame,score", *lines]))):
        table = read_score_table(path)
        found = {(name, i): s for name, score in table.scores.items() for i, s in enumerate(score) if not np.isnan(s)}
        assert found == rows
        assert all(len(score) == 1 + max(f for v, f in rows if v == name) for name, score in table.scores.items())


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    ids=["string", "large", "view", "dictionary"],
)
def test_every_kind_of_text_in_parquet(tmp_path, kind):
    text = pa.array(["b", "a", "a"])
    column = text.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else text.cast(kind)
    pq.write_table(pa.table({"video": column, "frame": [0, 1, 0], "score": [1.0, 2.0, 3.0]}), tmp_path / "s.parquet")
    table = read_score_table(tmp_path / "s.parquet")
    assert {name: score.tolist() for name, score in table.scores.items()} == {"a": [3, 2], "b": [1]}
