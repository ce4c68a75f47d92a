"""Writes the report of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig
    from raypipe.report.gather import Report


REPORT_PATH = "report/index.html"


def write_report(config: "RunConfig", out: Path | None = None) -> "tuple[Report, str, str]":
    """Write the report of a run; return what it says, where it is and its size in words."""
    from raypipe.report.gather import gather
    from raypipe.report.page import render_page
    from raypipe.run_folder.folder import RunFolder
    from raypipe.run_folder.store import write_file

    report = gather(config)
    # A name may hold what is no text, if a disk was read that knows nothing of UTF-8.
    content = render_page(report).encode("utf-8", "replace")
    folder = RunFolder(config.output, config.variation)
    where = str(out or folder.path(folder.product(REPORT_PATH)))
    if out is None:
        folder.commit(where, content)
    else:
        write_file(out, content)
    return report, where, f"{len(content) / 1e6:.1f} MB"


def finding_lines(report: "Report") -> list[str]:
    """Return the strongest findings as lines of text, none where there are none."""
    lines = [f"  {rank}. {finding.line()}" for rank, (finding, _) in enumerate(report.findings, start=1)]
    return ["strongest findings:", *lines] if lines else []
