import pytest

from raypipe.text import clock, counted, duration, first_line, named_line, number, one_line

MULTILINE = ValueError("\n  it is\n   broken  \nand worse")


@pytest.mark.parametrize(
    ("error", "one", "first", "named"),
    [
        (MULTILINE, "it is broken and worse", "it is", "ValueError: it is"),
        (OSError(), "OSError", "OSError", "OSError"),
        (KeyError(""), "''", "''", "KeyError: ''"),
        (OSError("s3://me:secret@host/x: no"), "s3://me:secret@host/x: no", "s3://***@host/x: no", None),
    ],
)
def test_an_error_in_a_line(error, one, first, named):
    assert (one_line(error), first_line(error)) == (one, first)
    assert named_line(error) == (named or f"OSError: {first}")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (1.25, "1.2 s"),
        (9.96, "10 s"),
        (59.6, "60 s"),
        (119, "119 s"),
        (120, "2.0 min"),
        (599, "10.0 min"),
        (600, "10 min"),
        (7200, "2.0 h"),
        (72000, "20 h"),
        (172_800, "2.0 days"),
        (86400 * 1234, "1,234 days"),
    ],
)
def test_durations(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "0"), (0.12345, "0.123"), (999.4, "999"), (1000, "1,000"), (-12345.6, "-12,346")]
)
def test_numbers(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 videos"), (1, "1 video"), (2, "2 videos"), (1234, "1,234 videos")]
)
def test_counts(count, expected):
    assert counted(count, "video") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00.0"), (7.44, "0:07.4"), (59.96, "1:00.0"), (3599.9, "59:59.9"), (3727.4, "1:02:07.4")],
)
def test_clocks(seconds, expected):
    assert clock(seconds) == expected
