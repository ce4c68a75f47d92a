import numpy as np
import pytest

from raypipe.datasets.mot import parse_mot, read_mot
from raypipe.errors import AnnotationError

WHERE = "boxes/v.txt"


@pytest.mark.parametrize(
    ("text", "frames", "boxes", "confidence"),
    [
        ("1,-1,10,20,30,40,0.5,-1,-1,-1\n", [0], [[10, 20, 40, 60]], [0.5]),
        ("1,7,10,20,30,40,0.5", [0], [[10, 20, 40, 60]], [0.5]),  # no last newline, no further fields
        ("\n 1,-1,1,2,3,4,1\n  \n\n2,-1,1,2,3,4,1\n", [0, 1], [[1, 2, 4, 6]] * 2, [1, 1]),
        ("1,-1,1,2,3,4,1\r\n2,-1,1,2,3,4,1\r\n", [0, 1], [[1, 2, 4, 6]] * 2, [1, 1]),
        # In any order; boxes of one frame keep theirs.
        ("3,-1,0,0,1,1,.3\n1,-1,0,0,1,1,.1\n3,-1,5,0,1,1,.4", [0, 2, 2], None, [0.1, 0.3, 0.4]),
        ("1.0, -1, 1e1, 2.5e+0, 3, 4e-1, 1E-2", [0], [[10, 2.5, 13, 2.9]], [0.01]),
        ("1,-1,-5,-6,3,4,1", [0], [[-5, -6, -2, -2]], [1]),  # clipped later
        ("", [], np.zeros((0, 4)), []),
        ("\n\n", [], np.zeros((0, 4)), []),
    ],
)
def test_parse_mot(text, frames, boxes, confidence):
    frame_index, found, found_confidence, names = parse_mot(text, WHERE)
    assert (frame_index.dtype, found.dtype, found_confidence.dtype) == (np.int64, np.float32, np.float32)
    assert frame_index.tolist() == frames
    assert found.shape == (len(frames), 4)
    if boxes is not None:
        np.testing.assert_allclose(found, boxes, rtol=1e-6)
    np.testing.assert_allclose(found_confidence, confidence, rtol=1e-6)
    assert names.tolist() == ["object"] * len(frames)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,-1,10,20,30", "is not frame,id,left,top,width,height,confidence"),
        ("1,-1,10,20,30,40", "is not frame,id"),
        ("just text", "could not convert string to float"),
        ("1,-1,10,twenty,30,40,1", "could not convert string to float: 'twenty'"),
        ("1,-1,,20,30,40,1", "could not convert string to float: ''"),
        ("1;-1;10;20;30;40;1", "could not convert string to float"),
        ("0,-1,10,20,30,40,1", "is not frame,id"),
        ("-3,-1,10,20,30,40,1", "is not frame,id"),
        ("1.5,-1,10,20,30,40,1", "is not frame,id"),
        ("nan,-1,10,20,30,40,1", "is not frame,id"),
        ("inf,-1,10,20,30,40,1", "is not frame,id"),
        ("1e300,-1,10,20,30,40,1", "is not frame,id"),
        ("1,-1,10,nan,30,40,1", "is not frame,id"),
        ("1,-1,10,20,30,40,inf", "is not frame,id"),
    ],
)
def test_lines_that_are_not_mot_are_named(line, message):
    with pytest.raises(AnnotationError) as caught:
        parse_mot(f"1,-1,1,2,3,4,1\n\n{line}\n", WHERE)
    assert str(caught.value).startswith(f"{WHERE}:3: ")
    assert message in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(AnnotationError, match=r"v\.txt: there is no such file of boxes"):
        read_mot(str(tmp_path), "v")
    (tmp_path / "w.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(AnnotationError, match=r"w\.txt is not text"):
        read_mot(str(tmp_path), "w")


@pytest.mark.parametrize("name", ["a b", "ü'\"", "a::b", "a[1]*", "a#b?c", "50%"])
def test_files_of_odd_names_are_read(tmp_path, name):
    (tmp_path / f"{name}.txt").write_text("\ufeff1,-1,1,2,3,4,1\n")
    assert read_mot(str(tmp_path), name)[1].tolist() == [[1, 2, 4, 6]]


def test_boxes_that_were_replaced_are_read_anew(tmp_path):
    for left in (1, 23):
        (tmp_path / "a.txt").write_text(f"1,-1,{left},2,3,4,0.5\n")
        assert read_mot(str(tmp_path), "a")[1].tolist() == [[left, 2, left + 3, 6]]
