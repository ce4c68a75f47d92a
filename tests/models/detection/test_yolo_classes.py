import json

import pytest

from raypipe.errors import UserError
from raypipe.models.detection.yolo_classes import class_names, indices_of, read_metadata
from tests.helpers.yolo_checkpoints import NAMES


@pytest.mark.parametrize(
    ("classes", "indices"), [(["person"], [0]), (["skateboard", "bicycle"], [1, 3]), ([], []), (["a"], [0, 2])]
)
def test_classes_by_name(classes, indices):
    names = dict(enumerate(NAMES)) if classes != ["a"] else {0: "a", 1: "b", 2: "a"}
    assert indices_of(classes, names, "m.pt") == indices


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({0: "a", 1: "b"}, {0: "a", 1: "b"}),
        (["a", "b"], {0: "a", 1: "b"}),
        ({"0": "a", "1": "b"}, {0: "a", 1: "b"}),
        ({0: 7, 1: "b"}, {0: "7", 1: "b"}),
        (None, {0: "class_0", 1: "class_1"}),
        ({}, {0: "class_0", 1: "class_1"}),
        ({0: "0", 1: "1"}, {0: "class_0", 1: "class_1"}),  # what Ultralytics puts in
        ({0: "a"}, "names 1 classes, the model tells 2 apart"),
        ({0: "a", 1: "b", 2: "c"}, "names 3 classes, the model tells 2 apart"),
        ({1: "a", 2: "b"}, "names classes 1 to 2, the model has 0 to 1"),
        (dict.fromkeys(range(1, 81), "a"), "names classes 1 to 80, the model has 0 to 1"),
        ({0: "a", 2: "b"}, "names classes 0 to 2, 1 of them missing, the model has 0 to 1"),
    ],
)
def test_class_names(tmp_path, names, expected):
    if isinstance(expected, str):
        with pytest.raises(UserError, match=f"{expected}$"):
            class_names(names, 2, tmp_path)
    else:
        assert class_names(names, 2, tmp_path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "metadata.json cannot be read; is this a folder that"),
        ("{", "is damaged: metadata.json: "),
        ("[]", "metadata.json names no classes"),
        ('{"class_names": null}', "metadata.json names no classes"),
    ],
)
def test_metadata_that_cannot_be_read_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(UserError) as caught:
        read_metadata(tmp_path)
    assert message in str(caught.value)


def test_metadata(tmp_path):
    (tmp_path / "metadata.json").write_text(json.dumps({"class_names": ["a"]}))
    assert read_metadata(tmp_path) == {"class_names": ["a"]}
