import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.shards import Shard, parse_shard

shards = st.integers(1, 40).flatmap(lambda count: st.builds(Shard, st.integers(1, count), st.just(count)))


@pytest.mark.parametrize(
    ("text", "number", "count"), [("1/1", 1, 1), ("2/8", 2, 8), ("8/8", 8, 8), (" 3 / 16 ", 3, 16)]
)
def test_parse_shard(text, number, count):
    assert parse_shard(text) == Shard(number, count)
    assert str(parse_shard(text)) == f"{number}/{count}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no shard; write it as 2/8"),
        ("2", "'2' is no shard"),
        ("2 of 8", "is no shard"),
        ("-1/2", "is no shard"),
        ("1/2/3", "is no shard"),
        ("1.5/2", "is no shard"),
        ("0/0", "is no shard"),
        ("0/2", "there is no shard 0/2: of 2, the first is 1 and the last 2"),
        ("3/2", "there is no shard 3/2: of 2, the first is 1 and the last 2"),
    ],
)
def test_what_is_no_shard(text, message):
    with pytest.raises(ValueError, match=message):
        parse_shard(text)


def test_items_are_dealt_out_one_by_one():
    lengths = [9, 7, 7, 5, 4, 2, 1]
    assert [Shard(number, 3).take(lengths) for number in (1, 2, 3)] == [[9, 5, 1], [7, 4], [7, 2]]
    assert Shard().take(lengths) == lengths
    assert Shard(5, 8).take([3]) == []


@given(st.lists(st.integers(1, 1000), max_size=200), st.integers(1, 50))
def test_every_item_is_in_one_shard_and_shards_are_of_one_size(lengths, count):
    ordered = [(length, position) for position, length in enumerate(sorted(lengths, reverse=True))]
    taken = [Shard(number, count).take(ordered) for number in range(1, count + 1)]
    assert sorted(item for share in taken for item in share) == sorted(ordered)
    totals = [sum(length for length, _ in share) for share in taken]
    assert max(totals) - min(totals) <= max(lengths, default=0)
    assert all(share == sorted(share, key=lambda item: item[1]) for share in taken)


@given(shards, shards)
def test_shards_overlap_where_they_have_an_item_in_common(first, second):
    items = range(first.count * second.count)
    assert first.overlaps(second) == bool(set(first.take(items)) & set(second.take(items)))


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [("1/2", "1/2", True), ("1/2", "2/2", False), ("1/2", "3/4", True), ("1/2", "4/4", False), ("1/1", "7/9", True)],
)
def test_overlap(first, second, overlap):
    assert parse_shard(first).overlaps(parse_shard(second)) == overlap
