import logging
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.extraction.other_drivers import meet_others, take_stock
from raypipe.extraction.planning import plan_all
from raypipe.monitoring.drivers import Driver
from raypipe.monitoring.meter import Meter
from raypipe.ops.shards import WHOLE, Shard
from raypipe.run_folder.folder import STALE_SECONDS, DeadLetter, RunFolder, new_session
from tests.helpers.catalogues import catalogue_config, make_entries


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return RunFolder(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def tell(folder, session, *, silence=0.0, shard="1/1", state="working"):
    heard = time.time() - silence
    told = Driver(session, "node7", 4711, shard, state, heard, heard, Meter().snapshot())
    folder.commit_json(f"drivers/{session}.json", vars(told))


CATALOGUE = make_entries({"test/long": 1000, "train/a": 60, "train/b": 95, "test/bad": None, "test/c": 130})


@given(
    lengths=st.lists(st.one_of(st.none(), st.integers(1, 700)), min_size=1, max_size=12),
    count=st.integers(1, 9),
    stride=st.integers(1, 3),
)
@settings(max_examples=30)
def test_every_segment_is_in_one_shard(lengths, count, stride):
    entries = make_entries({f"v{number}": length for number, length in enumerate(lengths)})
    whole = plan_all(catalogue_config(decode={"stride": stride}), entries)
    shares = [whole.part(Shard(number, count)) for number in range(1, count + 1)]
    places = [place for share in shares for place in share.places]
    assert len(places) == len(set(places))
    assert set(places) == whole.places
    assert len(whole.places) == len(whole.segments) + lengths.count(None)
    counts = [len(share.places) for share in shares]
    assert max(counts) - min(counts) <= 1
    sampled = [sum(segment.num_sampled for segment in share.segments) for share in shares]
    assert max(sampled) - min(sampled) <= max((segment.num_sampled for segment in whole.segments), default=0)


def test_a_shard_does_not_depend_on_the_order_of_the_catalogue():
    config = catalogue_config()
    there, back = plan_all(config, CATALOGUE), plan_all(config, CATALOGUE[::-1])
    assert [there.part(Shard(2, 3)).places] == [back.part(Shard(2, 3)).places]
    assert there.part(WHOLE).places == there.places


def test_a_long_video_is_shared_by_all():
    whole = plan_all(catalogue_config(), CATALOGUE)
    of_long = [[s for s in whole.part(Shard(n, 4)).segments if s.video.video_id == "test/long"] for n in (1, 2, 3, 4)]
    counts = [len(segments) for segments in of_long]
    # Its bodies differ by a frame, and so do the places in the order of lengths: a card more or less to each.
    assert sum(counts) == 13
    assert min(counts) >= 2
    assert [len(whole.part(Shard(n, 4)).failures) for n in (1, 2, 3, 4)].count(1) == 1
    lengths = [s.num_sampled for s in whole.part(Shard(1, 4)).segments]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    ("told", "is_warned"),
    [
        ({}, True),
        ({"silence": 30.0}, True),
        ({"silence": 600.0}, False),  # silent: it may be dead, and is nobody to wait for
        ({"state": "done"}, False),
        ({"shard": "2/2"}, False),
        ({"shard": "3/4"}, True),
    ],
)
def test_drivers_of_the_same_segments_are_warned_of(folder, caplog, told, is_warned):
    tell(folder, "1-a", **told)
    with caplog.at_level(logging.WARNING):
        meet_others(folder, Shard(1, 2))
    assert ("process 4711 on node7 was heard of" in caplog.text) == is_warned


def test_what_a_living_driver_counts_is_not_swept_however_long_ago_it_began(folder):
    began = int(time.time() - 3 * STALE_SECONDS)
    living, silent, gone, fresh = f"{began}-living", f"{began}-silent", f"{began}-gone", new_session()
    tell(folder, living, silence=5.0)
    tell(folder, silent, silence=STALE_SECONDS + 60)
    for session in (living, silent, gone, fresh):
        assert folder.begin_attempt(session, "a", 0) == 1
    meet_others(folder, WHOLE)
    assert [folder.begin_attempt(session, "a", 0) for session in (living, silent, gone, fresh)] == [2, 1, 1, 2]


def test_two_that_sweep_at_once_do_not_fail(folder, monkeypatch):
    folder.begin_attempt(f"{int(time.time() - 2 * STALE_SECONDS)}-gone", "a", 0)
    remove = type(folder.filesystem).rm

    def twice(self, path, **options):
        remove(self, path, **options)
        remove(self, path, **options)

    monkeypatch.setattr(type(folder.filesystem), "rm", twice)
    folder.sweep()
    assert not folder.filesystem.find(folder.path("attempts"))


def letter(video_id, index, stage="decode"):
    return DeadLetter(video_id, index, stage, "CorruptVideoError", "broken")


def test_what_another_driver_could_do_is_not_dead(folder):
    """Of the shard are the segments of test/a and the unreadable video; of the whole, also two of others."""
    whole = plan_all(catalogue_config(), make_entries({"test/a": 80, "test/b": 60, "test/c": 40, "test/bad": None}))
    share = whole.part(Shard(1, 2))
    assert share.places == {("test/a", 0), ("test/c", 0)}
    letters = [letter("test/a", 0), letter("test/bad", 0, "probe"), letter("test/c", 0), letter("test/gone", 0)]
    for dead in letters:
        folder.commit_dead(dead)
    stock = take_stock(folder, whole, share)
    assert (stock.dead, stock.num_left) == ([letters[0], letters[2]], 1)
    # Another driver could do both; of the video that nobody can read now there are features of earlier.
    for video_id in ("test/a", "test/c", "test/bad"):
        folder.commit(folder.feature_path(video_id, 0), b"features")
    stock = take_stock(folder, whole, share)
    assert (stock.dead, stock.num_left) == ([], 1)
    assert folder.read_dead() == [letters[1], letters[3]]
    assert take_stock(folder, whole, whole.part(Shard(2, 2))).dead == [letters[1]]
