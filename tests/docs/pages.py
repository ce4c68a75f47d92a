"""The Markdown that users read: what the tests of the docs look at."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str | None = None) -> Iterator[str]:
    """Yield the fenced blocks of a page, of one language or all."""
    for found, text in FENCE.findall(page.read_text()):
        if language is None or found == language:
            yield text


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def command_lines(page: Path) -> Iterator[str]:
    """Yield the lines of the blocks that show a shell or its output, those that end in a backslash joined."""
    for language in ("", "text"):
        for text in blocks(page, language):
            yield from text.replace("\\\n", " ").splitlines()
