import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raypipe.errors import SchemaError, UserError
from raypipe.pretraining.vqa_labels import LABEL, read_labels, serialise_labels


def rows(*triples):
    """LABEL rows of (image_id, caption, answer)."""
    ids, captions, answers = zip(*triples, strict=True) if triples else ((), (), ())
    columns = [ids, captions, ["Is it?"] * len(ids), answers, ["so"] * len(ids)]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, LABEL, strict=True)], schema=LABEL)


def write_part(output, part, table, config_hash="a", num_parts=2):
    folder = output / "labels"
    folder.mkdir(exist_ok=True)
    (folder / f"{part:05d}.parquet").write_bytes(serialise_labels(table, config_hash, part, num_parts))


FIRST = (("7", "a man runs", True), ("7", "a dog sits", False))
SECOND = (("8", "a dog sits", True),)


def said(labels):
    return list(zip(labels.image_ids, labels.captions, labels.answers.tolist(), strict=True))


def test_parts_are_read_in_their_order(tmp_path):
    write_part(tmp_path, 1, rows(*SECOND))
    write_part(tmp_path, 0, rows(*FIRST))
    for place in (tmp_path, tmp_path / "labels"):
        labels = read_labels(str(place))
        assert said(labels) == [*FIRST, *SECOND]
        assert labels.report() == "3 labels, 66.7% yes"


def test_a_part_that_is_not_there_yet_is_counted(tmp_path):
    write_part(tmp_path, 1, rows(*SECOND))
    labels = read_labels(str(tmp_path))
    assert labels.num_missing_parts == 1
    assert labels.report() == "1 labels, 100.0% yes; left out: 1 parts not labelled yet"


def test_a_file_of_anybody_is_read(tmp_path):
    # Whole numbers for ids, other columns, long and dictionary-encoded text.
    table = pa.table(
        {
            "answer": [True, False],
            "image_id": [9, 139],
            "who": ["me", "you"],
            "caption": pa.array(["A man  runs.", "A dog."], pa.large_string()).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "mine.parquet")
    assert said(read_labels(str(tmp_path / "mine.parquet"))) == [("9", "A man runs.", True), ("139", "A dog.", False)]


def test_a_uri_is_read():
    fsspec.filesystem("memory").pipe("/vqa/labels/0.parquet", serialise_labels(rows(*FIRST), "a", 0, 1))
    assert said(read_labels("memory://vqa")) == list(FIRST)


@pytest.mark.parametrize(
    ("triples", "left", "counts"),
    [
        # unread, contradicting, repeated
        ([("1", "a", True), ("1", "b", None)], [("1", "a", True)], (1, 0, 0)),
        ([("1", "a", True), ("1", "a", True), ("1", " a ", True)], [("1", "a", True)], (0, 0, 2)),
        ([("1", "a", True), ("2", "a", False)], [("1", "a", True), ("2", "a", False)], (0, 0, 0)),
        # Said both ways: neither is believed.
        ([("1", "a", True), ("1", "a", False), ("1", "b", False)], [("1", "b", False)], (0, 1, 1)),
        # An answer that could not be read does not contradict one that could.
        ([("1", "a", None), ("1", "a", True)], [("1", "a", True)], (0, 0, 1)),
        ([("1", "a", None), ("1", "a", None), ("1", "b", True)], [("1", "b", True)], (1, 0, 1)),
        # Capitals may carry a meaning ("US").
        ([("1", "a", True), ("1", "A", False)], [("1", "a", True), ("1", "A", False)], (0, 0, 0)),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(tmp_path, triples, left, counts):
    write_part(tmp_path, 0, rows(*triples), num_parts=1)
    labels = read_labels(str(tmp_path))
    assert said(labels) == left
    assert (labels.num_unread, labels.num_contradicting, labels.num_repeated) == counts
    assert len(triples) == len(left) + counts[0] + counts[1] + counts[2]


def test_pairs_that_contradict_over_two_files_are_left_out(tmp_path):
    write_part(tmp_path, 0, rows(("1", "a", True), ("2", "a", True)))
    write_part(tmp_path, 1, rows(("1", "a", False)))
    labels = read_labels(str(tmp_path))
    assert said(labels) == [("2", "a", True)]
    assert "1 pairs answered both ways" in labels.report()


TEXT = pa.array(["a"])


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"caption": TEXT, "answer": [True]}, "lacks image_id; labels are rows of image_id, caption, answer"),
        ({"image_id": TEXT}, "lacks caption, answer"),
        ({"image_id": [1.5], "caption": TEXT, "answer": [True]}, "image_id is double, expected text"),
        ({"image_id": TEXT, "caption": [1], "answer": [True]}, "caption is int64, expected text"),
        ({"image_id": TEXT, "caption": TEXT, "answer": ["yes"]}, "answer is string, expected true or false"),
        ({"image_id": TEXT, "caption": TEXT, "answer": [1]}, "answer is int64, expected true or false"),
        ({"image_id": TEXT, "caption": pa.array([None], pa.string()), "answer": [True]}, "caption is null in 1 rows"),
        ({"image_id": pa.array([None], pa.int64()), "caption": TEXT, "answer": [True]}, "image_id is null in 1 rows"),
        ({"image_id": TEXT, "caption": TEXT, "answer": [None]}, r"no label that can be used \(1 rows, 1 unread\)"),
    ],
)
def test_other_tables_are_refused_in_one_line(tmp_path, columns, complaint):
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(UserError, match=complaint) as refused:
        read_labels(str(path))
    assert "labels.parquet" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_rows_are_no_labels(tmp_path):
    write_part(tmp_path, 0, rows(), num_parts=1)
    with pytest.raises(UserError, match=r"no label that can be used \(0 rows, 0 unread\)"):
        read_labels(str(tmp_path))


def test_only_contradictions_are_no_labels(tmp_path):
    write_part(tmp_path, 0, rows(("1", "a", True), ("1", "a", False)), num_parts=1)
    with pytest.raises(UserError, match=r"no label that can be used \(2 rows"):
        read_labels(str(tmp_path))


def test_parts_of_different_labellings_do_not_mix(tmp_path):
    write_part(tmp_path, 0, rows(*FIRST), config_hash="a")
    write_part(tmp_path, 1, rows(*SECOND), config_hash="b")
    with pytest.raises(UserError, match="of 2 different labellings"):
        read_labels(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("absent.parquet", None, "no such file or folder"),
        ("folder", {}, "holds no .parquet file"),
        ("text.parquet", b"image_id,caption,answer\n", "is no Parquet file"),
        ("empty.parquet", b"", "is no Parquet file"),
    ],
)
def test_places_without_labels_are_refused(tmp_path, name, content, complaint):
    if content == {}:
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=complaint) as refused:
        read_labels(str(tmp_path / name))
    assert name in str(refused.value)


def test_a_part_that_does_not_conform_is_not_written():
    with pytest.raises(SchemaError, match="labels part 3: missing columns"):
        serialise_labels(rows(*FIRST).drop_columns(["answer"]), "a", 3, 4)
