"""One display for long work: live on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY_SECONDS = 10.0

_is_hidden = ContextVar("is_hidden", default=False)


@contextmanager
def hidden_progress() -> Iterator[None]:
    """Show no progress of what is done in the block, for callers who print nothing of their own accord."""
    token = _is_hidden.set(True)
    try:
        yield
    finally:
        _is_hidden.reset(token)


class Advance(Protocol):
    """Reports finished work: so many units more, so many dead letters more."""

    def __call__(self, units: int, dead: int = 0) -> None:
        """Add finished units, `dead` of which are dead letters."""
        ...


def _show_nothing(units: int, dead: int = 0) -> None:
    pass


class _Display(Progress):
    """A bar, and below it a line that is asked for whenever the display is drawn."""

    def __init__(self, *columns: ProgressColumn, console: Console, detail: Callable[[], str] | None) -> None:
        self._detail = detail
        super().__init__(*columns, console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bar and the line."""
        yield from super().get_renderables()
        more = self._detail() if self._detail else ""
        if more:
            yield Text(more, style="dim")


@contextmanager
def progress(
    title: str, total: int, unit: str = "frames", detail: Callable[[], str] | None = None
) -> Iterator[Advance]:
    """Show work of `total` units under way on stderr: done, rate, time left, dead letters.

    The rate counts from the first report, so start-up does not blur it. What `detail` returns, where it returns
    something, stands below.
    """
    if _is_hidden.get():
        yield _show_nothing
        return
    started = time.monotonic()
    done = num_dead = 0
    first: tuple[float, int] | None = None

    def rate() -> float:
        if first is None or time.monotonic() - first[0] < 0.5 or done == first[1]:
            return done / max(time.monotonic() - started, 1e-9)
        return (done - first[1]) / (time.monotonic() - first[0])

    def note() -> str:
        value = rate()
        shown = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
        return f"{shown} {unit}/s" + (f", {num_dead} dead" if num_dead else "")

    console = Console(file=sys.stderr)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        last = (TextColumn("{task.fields[note]}"), TimeRemainingColumn())
        with _Display(*columns, *last, console=console, detail=detail) as display:
            task = display.add_task(title, total=total, note="starting")

            def advance_bar(units: int, dead: int = 0) -> None:
                nonlocal done, num_dead, first
                done, num_dead = done + units, num_dead + dead
                first = first or (time.monotonic(), done)
                display.update(task, advance=units, note=note())

            yield advance_bar
        return

    last_line = started

    def advance_line(units: int, dead: int = 0) -> None:
        nonlocal done, num_dead, first, last_line
        done, num_dead = done + units, num_dead + dead
        first = first or (time.monotonic(), done)
        now = time.monotonic()
        if now - last_line >= LINE_EVERY_SECONDS:
            last_line = now
            left = (total - done) / max(rate(), 1e-9)
            line = f"{title}: {done:,} of {total:,} {unit}, {note()}, {left:.0f} s left"
            more = detail() if detail else ""
            print(line + (f"\n  {more}" if more else ""), file=sys.stderr, flush=True)  # noqa: T201 the display itself

    yield advance_line
    elapsed = time.monotonic() - started
    print(f"{title}: {done:,} of {total:,} {unit} in {elapsed:.1f} s, {note()}", file=sys.stderr)  # noqa: T201
