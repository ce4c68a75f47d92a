import pytest

from raypipe.errors import DataError, UserError
from raypipe.extraction.stage_runner import StageRunner
from raypipe.pipeline import Stage
from raypipe.run_folder.folder import RunFolder
from raypipe.stages.commit import CommitFeatures
from tests.stages.test_commit import segment

RUNS = []


class Count:
    """A stage that notes how often it is run, and dies of every row where it is told to."""

    def __init__(self, name, *, dies=False):
        self.name, self.dies = name, dies

    def __call__(self, row):
        RUNS.append(self.name)
        if self.dies:
            raise ProcessLookupError("as if the process were gone")
        return row


@pytest.fixture
def folder(tmp_path):
    RUNS.clear()
    return RunFolder(str(tmp_path))


def pool(folder, position, *, max_attempts=2):
    """Stages of which the one before the commit, or after it, does not come back."""
    stages = [Stage("before", Count, ("before",)), Stage("commit", CommitFeatures, (folder, "hash"))]
    stages.insert(position, Stage("die", lambda: Count("die", dies=True)))
    return StageRunner(stages, folder, "1-a", max_attempts, 0)


def test_what_dies_after_its_commit_is_done(folder):
    run = pool(folder, 2)
    with pytest.raises(ProcessLookupError):
        run(segment())
    again = run(segment())
    assert RUNS == ["before", "die"]
    assert (again["num_frames"], again["num_objects"], again["num_unparsed"]) == (3, 3, 0)
    assert (again["video_id"], again["segment_index"], again["start_frame"], again["stop_frame"]) == ("a", 1, 8, 14)
    assert folder.dead() == {}
    assert folder.committed() == {"a": {1}}
    # However often it comes back.
    assert run(segment()) == run(segment()) == again


def test_what_dies_before_its_commit_is_dead_in_the_end(folder):
    run = pool(folder, 1)
    for _ in range(2):
        with pytest.raises(ProcessLookupError):
            run(segment())
    assert run(segment())["is_dead"]
    assert folder.dead() == {"a": {1}}
    assert folder.committed() == {}
    (letter,) = folder.read_dead()
    assert (letter.stage, letter.attempts) == ("before-die-commit", 2)
    assert "died 2 times" in letter.message


class Refuse:
    def __call__(self, row):
        raise DataError("no keyframe")


def test_a_data_error_names_its_stage_at_once(folder):
    run = StageRunner([Stage("decode", Refuse), Stage("commit", CommitFeatures, (folder, "hash"))], folder, "1-a", 3, 0)
    dead = run(segment())
    assert dead["is_dead"]
    assert run(dead) is dead
    (letter,) = folder.read_dead()
    assert (letter.stage, letter.message) == ("decode", "no keyframe")


def test_a_stage_that_cannot_be_made_refuses_every_row(folder):
    def make():
        raise UserError("weights.blip2: model.safetensors is damaged")

    run = StageRunner([Stage("before", Count, ("before",)), Stage("encode", make)], folder, "1-a", 2, 0)
    assert [run(segment())["refusal"] for _ in range(2)] == ["weights.blip2: model.safetensors is damaged"] * 2
    assert RUNS == []
    assert (folder.dead(), folder.committed()) == ({}, {})
