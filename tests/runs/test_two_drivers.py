"""Two drivers in one run folder, the second in the middle of the first; Ray's part is played by a loop.

Which segment falls between which is so decided, as it is not between processes (tests/runs/test_shards.py has these).
"""

import json
from types import SimpleNamespace

import pytest

from raypipe.errors import CorruptVideoError, UserError
from raypipe.extraction import extract as extraction
from raypipe.extraction.catalog import list_videos, write_catalogue
from raypipe.extraction.extract import extract
from raypipe.extraction.pools import Pool
from raypipe.extraction.probing import probe
from raypipe.extraction.stage_runner import StageRunner
from raypipe.monitoring.drivers import read_drivers
from raypipe.monitoring.timings import read_timings
from raypipe.ops.shards import WHOLE, Shard
from raypipe.pipeline import Stage, stages_of
from raypipe.run_folder.folder import RunFolder
from tests.helpers.small_data import contents, make_config, write_data

# Five segments, longest first: test/a 1, test/a 0, train/a 1, train/a 0, train/b 0.
LENGTHS = {"train/a": 150, "train/b": 40, "test/a": 180}
STUBBORN = ("train/a", 0)


class FailOn:
    """A stage in which one segment cannot be done, as on a machine with too little memory."""

    def __call__(self, row):
        if (row["video_id"], row["segment_index"]) == STUBBORN:
            raise CorruptVideoError("too large for this machine")
        return row


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), LENGTHS)


@pytest.fixture
def drive(data, monkeypatch):
    """Return a function that extracts; `meanwhile` is called before its segment of the number `at`."""
    plans = []

    def dataset_of(config, folder, rows, session):
        plan = plans.pop()
        stages = stages_of(config, folder)
        if plan["fails"]:
            stages.insert(1, Stage("fault", FailOn))

        def iter_rows():
            run = StageRunner(stages, folder, session, config.max_attempts, 0)
            for number, row in enumerate(rows):
                if number == plan["at"]:
                    plan["meanwhile"]()
                yield run(row)

        context = SimpleNamespace(custom_execution_callback_classes=[])
        pool = Pool(tuple(stage.name for stage in stages), 1, 1.0, 0.0)
        return SimpleNamespace(iter_rows=iter_rows, context=context), [pool]

    monkeypatch.setattr(extraction, "connect", lambda config: None)
    monkeypatch.setattr(extraction, "dataset_of", dataset_of)

    def drive(output, *, shard=WHOLE, retry_dead=False, fails=False, at=None, meanwhile=None):
        config = make_config(data, output)
        if not (output / "catalogue.jsonl").exists():
            write_catalogue(RunFolder(str(output)), [probe(video, 25.0) for video in list_videos(config).videos])
        plans.append({"fails": fails, "at": at, "meanwhile": meanwhile})
        return extract(config, shard=shard, retry_dead=retry_dead)

    return drive


@pytest.fixture
def undisturbed(drive, tmp_path):
    result = drive(tmp_path / "undisturbed")
    assert (result.num_segments, result.processed_frames, result.num_left, result.dead) == (5, 370, 0, [])
    return contents(tmp_path / "undisturbed")


def check_rest(output, num_drivers):
    """Nothing but the product is left, and what both told is there."""
    assert not list((output / "tmp").iterdir())
    assert not list((output / "attempts").iterdir())
    folder = RunFolder(str(output))
    told = read_drivers(folder)
    assert [driver.state for driver in told] == ["done"] * num_drivers
    assert read_timings(folder)["extract"]["frames"] == sum(driver.progress["frames_done"] for driver in told)
    assert len((output / "catalogue.jsonl").read_text().splitlines()) == len(LENGTHS)
    assert json.loads((output / "run.json").read_text())["config_hash"]


@pytest.mark.parametrize(
    ("first", "second", "frames_twice"),
    [
        (WHOLE, WHOLE, 370 - 180),  # all but the two of test/a, which were there when the second came
        (Shard(1, 2), Shard(1, 2), None),
        (Shard(1, 2), Shard(2, 2), 0),
    ],
)
def test_the_same_bytes_whoever_comes_between(drive, undisturbed, tmp_path, first, second, frames_twice):
    output, seen = tmp_path / "run", []
    outer = drive(output, shard=first, at=2, meanwhile=lambda: seen.append(drive(output, shard=second)))
    (inner,) = seen
    if first != second:
        assert (outer.num_left, inner.num_segments + outer.num_segments) == (0, 5)
    elif first != WHOLE:
        drive(output, shard=Shard(2, 2))
    assert contents(output) == undisturbed
    done = sum(driver.progress["frames_done"] for driver in read_drivers(RunFolder(str(output))))
    if frames_twice is not None:
        assert done == 370 + frames_twice
    check_rest(output, 3 if first == second != WHOLE else 2)


@pytest.mark.parametrize("retry_dead", [False, True])
def test_what_the_second_can_do_is_not_dead(drive, undisturbed, tmp_path, retry_dead):
    """The first gives a segment up before the second comes; only `--retry-dead` makes that try again."""
    output, seen = tmp_path / "run", []
    outer = drive(output, fails=True, at=4, meanwhile=lambda: seen.append(drive(output, retry_dead=retry_dead)))
    places = [] if retry_dead else [STUBBORN]
    for result in (outer, *seen):
        assert [(letter.video_id, letter.segment_index) for letter in result.dead] == places
    assert (contents(output) == undisturbed) == retry_dead
    check_rest(output, 2)


def test_what_the_first_can_do_is_not_dead(drive, undisturbed, tmp_path):
    """The second gives a segment up on which the first is still to work."""
    output, seen = tmp_path / "run", []
    outer = drive(output, at=1, meanwhile=lambda: seen.append(drive(output, fails=True)))
    assert [(letter.video_id, letter.segment_index) for letter in seen[0].dead] == [STUBBORN]
    assert outer.dead == []
    assert RunFolder(str(output)).read_dead() == []
    assert contents(output) == undisturbed
    check_rest(output, 2)


def test_a_shard_tries_only_its_own_dead_again(drive, undisturbed, tmp_path):
    output = tmp_path / "run"
    assert len(drive(output, fails=True).dead) == 1
    other = drive(output, shard=Shard(1, 2), retry_dead=True)
    assert (other.dead, other.processed_frames, other.num_left) == ([], 0, 0)
    assert len(RunFolder(str(output)).read_dead()) == 1
    own = drive(output, shard=Shard(2, 2), retry_dead=True)
    assert (own.dead, own.processed_frames) == ([], 75)
    assert contents(output) == undisturbed


def test_the_run_folder_is_claimed_once_and_checked_before_any_work(drive, data, tmp_path, monkeypatch):
    happened = []
    for name in ("require_weights", "models_of", "require_same_run", "build_catalogue", "claim"):
        original = getattr(extraction, name)

        def noted(*arguments, name=name, original=original):
            happened.append(name)
            return original(*arguments)

        monkeypatch.setattr(extraction, name, noted)
    for _ in range(2):
        drive(tmp_path / "run")
        assert happened == ["require_weights", "models_of", "require_same_run", "build_catalogue", "claim"]
        happened.clear()
    other = make_config(data, tmp_path / "run", tracks={"min_iou": 0.5})
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(UserError, match="features of another config"):
        extract(other)
    assert happened == ["require_weights", "models_of", "require_same_run"]
    assert (tmp_path / "run" / "run.json").read_bytes() == before
