"""Words for people: errors in one line, durations, counts and times."""

from raypipe.credentials import without_credentials


def one_line(error: BaseException) -> str:
    """Return an error's message in one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def duration(seconds: float) -> str:
    """Return a time in the unit that a person would take."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}" if seconds < 10 * unit else f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.0f} s"


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


def first_line(error: BaseException) -> str:
    """Return the first line of a message that says something, without credentials."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return without_credentials(line)
