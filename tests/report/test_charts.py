import re

import numpy as np
import pytest

from raypipe import text
from raypipe.report import charts

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (0.12345, "0.123"), (3.4, "3.4"), (381.2, "381"), (999.4, "999"), (1234.5, "1,234"), (-0.5, "-0.5")],
)
def test_number(value, expected):
    assert text.number(value) == expected


@pytest.mark.parametrize(("count", "expected"), [(0, "0 frames"), (1, "1 frame"), (1234, "1,234 frames")])
def test_counted(count, expected):
    assert text.counted(count, "frame") == expected


def paths(svg, name):
    return re.findall(rf'<path class="{name}"[^>]* d="([^"]*)"', svg)


def test_a_timeline_is_drawn_on_its_own_range():
    # Four steps of 250 units: centres at 125, 375 ...; the lowest score is at 98, the highest 94 above it.
    svg = charts.timeline([0, 1, 2, 1], 4.0, (), (), (0.0, 2.0))
    assert paths(svg, "curve") == ["M-9 400V98H125L375 51L625 4L875 51H1009V400"]
    assert 'transform="matrix(1 0 0 1 0 0)"' in svg
    assert "<rect" not in svg


def test_a_timeline_is_moved_to_the_common_range():
    # 2..4 of a range of 0..8 is a quarter as high and begins a quarter up: 98 -> 74.5 and 4 -> 51.
    svg = charts.timeline([2, 4], 1.0, (), (), (0.0, 8.0))
    scale, shift = map(float, re.search(r"matrix\(1 0 0 (\S+) 0 (\S+)\)", svg).groups())
    np.testing.assert_allclose([98 * scale + shift, 4 * scale + shift], [74.5, 51])


def test_a_timeline_of_one_level_lies_on_it():
    svg = charts.timeline([3, 3], 1.0, (), (), (0.0, 6.0))
    scale, shift = map(float, re.search(r"matrix\(1 0 0 (\S+) 0 (\S+)\)", svg).groups())
    assert (scale, shift) == (0, 51)


def test_labels_are_hatched_and_gaps_break_the_line():
    svg = charts.timeline([1, NAN, 0, NAN], 10.0, [(2.0, 4.5)], [(5.0, 10.0)], (0.0, 1.0))
    assert '<rect class="truth" x="200" y="0" width="250" height="100"/>' in svg
    assert '<rect class="truth-cap" x="200" y="0" width="250" height="4"/>' in svg
    assert '<rect class="gap" x="500" y="0" width="500" height="100"/>' in svg
    assert paths(svg, "curve") == ["M-9 400V4H125V400M625 400V98V400"]


def test_a_timeline_without_scores_has_no_curve():
    assert paths(charts.timeline([NAN, NAN], 1.0, (), [(0, 1)], (0.0, 1.0)), "curve") == []
    assert paths(charts.timeline([], 0.0, (), (), (0.0, 1.0)), "curve") == []


def test_a_curve_keeps_its_corners_and_drops_what_cannot_be_seen():
    x, y = [0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0]
    svg = charts.curve(x, y, "x", "a <title>", with_chance=True)
    assert 'points="0,200 0,100 100,0 200,0"' in svg
    assert "chance" in svg
    assert "a &lt;title&gt;" in svg
    assert "<title>" not in svg
    many = np.linspace(0, 1, 100_000)
    assert len(charts.curve(many, many, "x", "y", with_chance=False)) < 10_000


def test_an_interval_is_on_its_line():
    svg = charts.interval(0.75, 0.5, 1.0, 0.9, 0.5)
    assert '<circle class="dot" cx="60" cy="9" r="4"/>' in svg
    assert '<rect class="range" x="0" y="6" width="120" height="6"/>' in svg
    assert 'class="paper" d="M96 3' in svg
    bare = charts.interval(0.25, None, None, None, 0.0)
    assert 'cx="30"' in bare
    assert "range" not in bare
    assert "paper" not in bare


def test_a_rose_has_a_wedge_for_each_bin():
    motion = [2.0, 0, 1.0, 0, 0, 0, 0, 0]
    svg = charts.rose(motion, [0.5] + [0] * 7, 2.0, "source_frame")
    # Bin 0 goes from the right 45 degrees clockwise, y pointing down, as far as the outer ring; bin 2 half as far.
    assert paths(svg, "wedge") == ["M0 0L40 0A40 40 0 0 1 28.3 28.3z", "M0 0L0 20A20 20 0 0 1 -14.1 14.1z"]
    assert paths(svg, "median") == ["M0 0L10 0A10 10 0 0 1 7.1 7.1z"]
    assert "2.0, 0.0, 1.0" in svg


def test_parts_of_a_score_stand_side_by_side():
    svg = charts.parts_bar(1.0, 3.0, 8.0)
    assert '<rect class="part-space" x="0" width="25" height="14"/>' in svg
    assert '<rect class="part-motion" x="25" width="75" height="14"/>' in svg
    assert "part-space" not in charts.parts_bar(None, 3.0, 3.0)


def test_stages_come_by_their_share():
    timings = {"a": {"share": 0.2}, "extract": {"seconds": 1.0}, "b": {"share": 0.8}}
    assert [name for name, _ in charts.sorted_shares(timings)] == ["b", "a"]
    assert 'width="160"' in charts.share_bar(0.8)
