"""Demand a coverage of at least 95 % by lines and branches of the parts on which all else rests.

Usage: python tests/check_coverage.py COVERAGE.json (as `pytest --cov-report=json` writes it)
"""

import json
import sys
from pathlib import Path

LEAST_PERCENT = 95.0
PARTS = ("raypipe/ops/", "raypipe/schema.py", "raypipe/run_folder/folder.py")


def shortfalls(document):
    """Return a line for every file below the bar, and the figures of all files that count."""
    lines, figures = [], {}
    for name, entry in sorted(document["files"].items()):
        if name.startswith(PARTS):
            percent = entry["summary"]["percent_covered"]
            figures[name] = percent
            if percent < LEAST_PERCENT:
                lines.append(f"{name}: {percent:.1f} %, lines {entry['missing_lines']} are not covered")
    lines += [f"{part}: no figure at all" for part in PARTS if not any(name.startswith(part) for name in figures)]
    return lines, figures


def main(path):
    """Print the figures and return the exit code."""
    lines, figures = shortfalls(json.loads(Path(path).read_text()))
    print("coverage by lines and branches: " + ", ".join(f"{name} {value:.1f} %" for name, value in figures.items()))
    for line in lines:
        print(f"too low: {line} ({LEAST_PERCENT:g} % needed)")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
