import pytest
from pydantic import BaseModel, ConfigDict

from raypipe.config.file import validate
from raypipe.config.old_keys import REMOVED_KEYS, stored_config, without_removed_keys
from raypipe.errors import UserError


class Model(BaseModel):
    """A part of a config that lacks the key."""

    model_config = ConfigDict(extra="forbid")

    num_neighbours: int = 16


class Score(BaseModel):
    """Has such parts."""

    model_config = ConfigDict(extra="forbid")

    knn: Model = Model()
    gmm: Model = Model()


class Run(BaseModel):
    """Has the other."""

    model_config = ConfigDict(extra="forbid")

    score: Score = Score()


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"score": {"knn": {"kind": "knn", "num_neighbours": 3}}}, {"score": {"knn": {"num_neighbours": 3}}}),
        ({"score": {"gmm": {"kind": "gmm"}, "model": "gmm"}}, {"score": {"gmm": {}, "model": "gmm"}}),
        ({"detector": {"kind": "boxes"}}, {"detector": {"kind": "boxes"}}),
        ({"score": {"knn": 3}}, {"score": {"knn": 3}}),
        ({"score": None}, {"score": None}),
    ],
)
def test_a_stored_config_is_read_without_keys_that_are_gone(stored, expected):
    before = repr(stored)
    assert without_removed_keys(stored) == expected
    assert repr(stored) == before


@pytest.mark.parametrize("key", REMOVED_KEYS)
def test_who_still_writes_such_a_key_is_told(key):
    *_, part, last = key.split(".")
    with pytest.raises(UserError) as caught:
        validate(Run, {"score": {part: {last: part}}}, "mine.yaml")
    assert str(caught.value) == f"mine.yaml: {key} is gone: it had one value only: remove it"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"motion": {"window_seconds": 0.4}}, {"motion": {"window_seconds": 0.4, "unit": "source_frame"}}),
        ({"motion": {"unit": "second"}}, {"motion": {"unit": "second"}}),
        ({}, {"motion": {"unit": "source_frame"}}),
        ({"motion": None}, {"motion": None}),
        (
            {"motion": {}, "score": {"knn": {"kind": "knn"}}},
            {"motion": {"unit": "source_frame"}, "score": {"knn": {}}},
        ),
    ],
)
def test_a_stored_config_without_a_new_key_has_what_was_done_then(stored, expected):
    before = repr(stored)
    assert stored_config(stored) == expected
    assert repr(stored) == before
