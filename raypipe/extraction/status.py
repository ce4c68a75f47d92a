"""How a run stands, from its folder alone: what is done, dead and left, and what its drivers last told.

Needs neither Ray nor the videos. A driver is called alive only where it was heard of within the last minute; of any
other it is told when it was last heard of, since nobody can know more.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raypipe.config.run import RunConfig
from raypipe.extraction.catalog import read_catalogue, read_changes
from raypipe.extraction.changes import Changes
from raypipe.extraction.planning import plan_all
from raypipe.monitoring.drivers import Driver, read_drivers
from raypipe.monitoring.meter import stage_line
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.text import duration

SHOWN_REASONS = 5


@dataclass(frozen=True)
class Amount:
    """Segments and their source frames."""

    segments: int
    frames: int


@dataclass(frozen=True)
class Reason:
    """Why segments are dead: how many for the same kind of reason in the same step, and the first of them."""

    count: int
    stage: str
    error_type: str
    example: DeadLetter


@dataclass(frozen=True)
class Amounts:
    """What there is to do, and how far it is; of what is `left`, `unclaimed` is in no shard of a driver heard of."""

    total: Amount
    done: Amount
    dead: Amount
    left: Amount
    unclaimed: Amount


@dataclass(frozen=True)
class Status:
    """A run as it stands.

    `amounts` is None while the videos are still being looked at. `frames_per_second` and `seconds_left` are None where
    no driver that is heard of has told a rate; the time is that of the driver that needs longest. `changes` are those
    of the data that a start found last, at `changed_at`; None where none ever did.
    """

    root: str
    at: float
    num_videos: int
    num_unreadable: int
    amounts: Amounts | None
    reasons: list[Reason]
    changes: Changes
    changed_at: float | None
    frames_per_second: float | None
    seconds_left: float | None
    drivers: list[Driver]

    def is_heard(self, driver: Driver) -> bool:
        """Whether a driver is at work and was heard of lately."""
        return driver.is_heard(self.at)


def status_of(folder: RunFolder, config: RunConfig | None, *, now: float | None = None) -> Status:
    """Return how a run stands; `config` is None where no driver came so far as to write run.json."""
    now = time.time() if now is None else now
    drivers = read_drivers(folder)
    heard = [driver for driver in drivers if driver.is_heard(now)]
    rates = [driver.progress["frames_per_second"] for driver in heard if driver.progress["frames_per_second"]]
    times = [driver.progress["seconds_left"] for driver in heard if driver.progress["seconds_left"] is not None]
    entries = list(read_catalogue(folder).values())
    whole = plan_all(config, entries) if config is not None and entries else None
    letters = folder.read_dead()
    amounts = None
    if whole is not None:
        spans = {(s.video.video_id, s.segment_index): s.stop_frame - s.start_frame for s in whole.segments}
        committed = {(video, index) for video, indices in folder.committed().items() for index in indices}
        done = committed & spans.keys()
        # What is done is not dead, whatever another driver wrote of it.
        letters = [letter for letter in letters if (letter.video_id, letter.segment_index) in whole.places - done]
        dead = {(letter.video_id, letter.segment_index) for letter in letters} & spans.keys()
        left = spans.keys() - done - dead
        claimed = {place for driver in heard for place in whole.part(driver.share).places}
        parts = (set(spans), done, dead, left, left - claimed)
        amounts = Amounts(*(Amount(len(places), sum(spans[place] for place in places)) for places in parts))
    changed_at, changes = read_changes(folder) or (None, Changes())
    return Status(
        root=folder.root,
        at=now,
        num_videos=len(entries),
        num_unreadable=sum(entry.failure is not None for entry in entries),
        amounts=amounts,
        reasons=_reasons(letters),
        changes=changes,
        changed_at=changed_at,
        frames_per_second=sum(rates) if rates else None,
        seconds_left=max(times) if times else None,
        drivers=drivers,
    )


def _reasons(letters: Sequence[DeadLetter]) -> list[Reason]:
    """Return the kinds of reasons, the most frequent first."""
    counts = Counter((letter.stage, letter.error_type) for letter in letters)
    first = {(letter.stage, letter.error_type): letter for letter in reversed(letters)}
    ordered = sorted(counts, key=lambda kind: (-counts[kind], kind))
    return [Reason(counts[kind], *kind, example=first[kind]) for kind in ordered]


def status_document(status: Status) -> dict[str, Any]:
    """Return a status as JSON; times are seconds."""
    return {
        "run": status.root,
        "videos": {"total": status.num_videos, "unreadable": status.num_unreadable},
        "changes": status.changes.to_record() | {"at": status.changed_at},
        "amounts": status.amounts and asdict(status.amounts),
        "frames_per_second": status.frames_per_second,
        "seconds_left": status.seconds_left,
        "dead_letters": [asdict(reason) for reason in status.reasons],
        "drivers": [
            vars(driver) | {"is_heard": status.is_heard(driver), "heard_seconds_ago": status.at - driver.heard}
            for driver in status.drivers
        ],
    }


def status_lines(status: Status) -> list[str]:
    """Return a status in words."""
    lines = [f"run: {status.root}"]
    if status.changed_at is not None:
        ago = duration(max(0.0, status.at - status.changed_at))
        lines.append(f"data: {status.changes}; found {ago} ago by raypipe extract")
    amounts = status.amounts
    if amounts is None:
        lines.append("segments: not known yet; the first driver is still looking at the videos, or has ended before")
    else:
        share = f" ({amounts.done.frames / amounts.total.frames:.1%})" if amounts.total.frames else ""
        lines += [
            f"videos: {status.num_videos:,}"
            + (f", of which {status.num_unreadable:,} cannot be read" if status.num_unreadable else ""),
            f"done: {_amount(amounts.done)} of {_amount(amounts.total)}{share}",
            f"dead: {_amount(amounts.dead)}",
            f"left: {_amount(amounts.left)}",
        ]
        if amounts.left.segments:
            lines.append(_pace(status, amounts.unclaimed.segments))
    for reason in status.reasons[:SHOWN_REASONS]:
        example = reason.example
        lines.append(
            f"  {reason.count:,} x {reason.stage}, {reason.error_type}, as {example.video_id} segment "
            f"{example.segment_index}: {example.message}"
        )
    if len(status.reasons) > SHOWN_REASONS:
        lines.append(f"  and {len(status.reasons) - SHOWN_REASONS:,} more kinds of reasons")
    lines += _driver_lines(status)
    return lines


def _amount(amount: Amount) -> str:
    return f"{amount.segments:,} segments, {amount.frames:,} frames"


def _pace(status: Status, unclaimed: int) -> str:
    nobodys = f"; {unclaimed:,} segments are in the shard of no driver that is heard of" if unclaimed else ""
    if not any(status.is_heard(driver) for driver in status.drivers):
        return "rate: none, no driver is heard of; start one to go on"
    if status.frames_per_second is None or status.seconds_left is None:
        return f"rate: not known yet{nobodys}"
    return f"rate: {_rate(status.frames_per_second)}, {duration(status.seconds_left)} left{nobodys}"


def _driver_lines(status: Status) -> list[str]:
    """Return a line or two for each driver that matters: not of those after which another one took up their shard."""
    later = {driver.shard: driver.session for driver in status.drivers}
    shown = [d for d in status.drivers if status.is_heard(d) or later[d.shard] == d.session]
    lines = [f"drivers: {len(status.drivers):,} so far"] if status.drivers else ["drivers: none is known"]
    for driver in shown:
        progress = driver.progress
        ago = status.at - driver.heard
        what = f"{progress['segments_done']:,} of {progress['segments']:,} segments"
        if not progress["segments"]:
            what = "looking at the videos"
        who = f"shard {driver.shard}, process {driver.pid} on {driver.host}: {what}"
        lines.append(f"  {who}, {_state(driver, ago, status.is_heard(driver))}")
        if status.is_heard(driver):
            since = progress["seconds_since_last"]
            if since is not None:
                lines.append(f"    {_rate(progress['frames_per_second'])}, last segment {duration(since + ago)} ago")
            if stages := stage_line(progress):
                lines.append(f"    {stages}")
    return lines


def _state(driver: Driver, ago: float, is_heard: bool) -> str:
    when = f"{duration(max(0.0, ago))} ago" if ago > -1 else f"by a clock that is {duration(-ago)} ahead of this one"
    if is_heard:
        return f"at work, heard of {when}"
    if driver.is_working:
        return f"last heard of {when}: dead, or cut off"
    return f"{driver.state} {when}" + (f" ({driver.reason})" if driver.reason else "")


def _rate(rate: float) -> str:
    return f"{rate:,.0f} frames/s" if rate >= 10 else f"{rate:.2g} frames/s"
