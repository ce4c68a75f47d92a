"""Words for people: errors in one line, durations, counts and times."""

from raypipe.credentials import without_credentials


def one_line(error: BaseException) -> str:
    """Return an error's message in one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without credentials; its type where it says nothing."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return without_credentials(line) or type(error).__name__


def named_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message, without credentials."""
    name, line = type(error).__name__, first_line(error)
    return name if line == name else f"{name}: {line}"


def duration(seconds: float) -> str:
    """Return a span of time in the unit that a person would take, as 9.5 s, 90 min, 2.0 h or 12 days."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}" if seconds < 10 * unit else f"{seconds / unit:,.0f} {name}"
    return f"{round(seconds, 1):g} s" if seconds < 10 else f"{seconds:.0f} s"


def number(value: float) -> str:
    """Return a number to three digits, in full from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, which is in the plural but for 1."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def clock(seconds: float) -> str:
    """Return a time in a video as 0:07.4, or 1:02:07.4 past an hour."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{tenths / 10:04.1f}"
