import re

import pytest

from raypipe.monitoring import progress as progress_module
from raypipe.monitoring.progress import progress


class Clock:
    """Stands still unless told."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def lines(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""  # stdout is for results
    return captured.err.splitlines()


def test_short_work_has_a_last_line_only(clock, capsys):
    with progress("extract", 1500) as advance:
        clock.now += 3
        advance(500)
        clock.now += 2
        advance(1000)
        assert lines(capsys) == []
    # From the first report on: 1000 frames in 2 seconds.
    assert lines(capsys) == ["extract: 1,500 of 1,500 frames in 5.0 s, 500 frames/s"]


def test_work_without_units(clock, capsys):
    with progress("score", 0, unit="videos"):
        clock.now += 1
    assert lines(capsys) == ["score: 0 of 0 videos in 1.0 s, 0 videos/s"]


def test_work_that_takes_no_time_at_all(clock, capsys):
    with progress("score", 3) as advance:
        advance(3)
    assert re.fullmatch(r"score: 3 of 3 frames in 0\.0 s, [\d,]+ frames/s", lines(capsys)[0])


def test_one_report_counts_from_the_start(clock, capsys):
    with progress("score", 20) as advance:
        clock.now += 4
        advance(20)
    assert lines(capsys) == ["score: 20 of 20 frames in 4.0 s, 5 frames/s"]


def test_long_work_has_a_line_now_and_then(clock, capsys):
    seen = []
    with progress("extract", 400) as advance:
        for second in range(1, 26):
            clock.now += 1
            advance(10)
            seen += [(second, line) for line in lines(capsys)]
    assert seen == [
        (10, "extract: 100 of 400 frames, 10 frames/s, 30 s left"),
        (20, "extract: 200 of 400 frames, 10 frames/s, 20 s left"),
    ]
    assert lines(capsys) == ["extract: 250 of 400 frames in 25.0 s, 10 frames/s"]


def test_how_often_is_one_setting(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "LINE_EVERY_SECONDS", 2.0)
    with progress("extract", 8) as advance:
        for _ in range(8):
            clock.now += 1
            advance(1)
    assert [line.partition(",")[0] for line in lines(capsys)] == [
        *(f"extract: {done} of 8 frames" for done in (2, 4, 6, 8)),
        "extract: 8 of 8 frames in 8.0 s",
    ]


def test_start_up_does_not_count_for_the_rate(clock, capsys):
    with progress("extract", 30) as advance:
        clock.now += 60  # a cluster starts, a first segment is read
        advance(10)
        assert lines(capsys) == ["extract: 10 of 30 frames, 0.17 frames/s, 120 s left"]
        clock.now += 10
        advance(10)
        assert lines(capsys) == ["extract: 20 of 30 frames, 1 frames/s, 10 s left"]
        clock.now += 10
        advance(10)
        assert lines(capsys) == ["extract: 30 of 30 frames, 1 frames/s, 0 s left"]
    assert lines(capsys) == ["extract: 30 of 30 frames in 80.0 s, 1 frames/s"]


def test_dead_letters_are_shown(clock, capsys):
    with progress("extract", 40) as advance:
        for dead in (0, 1, 2):
            clock.now += 10
            advance(10, dead=dead)
    found = lines(capsys)
    assert ["dead" in line for line in found] == [False, True, True, True]
    assert found[1] == "extract: 20 of 40 frames, 1 frames/s, 1 dead, 20 s left"
    assert found[3] == "extract: 30 of 40 frames in 30.0 s, 1 frames/s, 3 dead"


def test_work_that_fails_does_not_claim_to_be_done(clock, capsys):
    def work():
        with progress("extract", 10) as advance:
            advance(5)
            raise RuntimeError("the work")

    with pytest.raises(RuntimeError, match="the work"):
        work()
    assert lines(capsys) == []


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with progress("extract", 20, unit="videos") as advance:
        advance(5)
        advance(15, dead=2)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "\n".join(lines(capsys)))
    assert "20/20" in text
    assert "2 dead" in text
    assert "videos/s" in text
    assert " of 20 videos in " not in text
