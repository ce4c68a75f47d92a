"""The kill matrix: extractions that lose something at a random moment, and whether their features are as ever.

python -m jobs.benchmarks.bench_faults --repetitions 20 --json faults.json
python -m jobs.benchmarks.bench_faults --only node,driver --repetitions 3

Every scenario (`fault_scenarios`) starts drivers on a simulated cluster and breaks something, at a moment that a seeded
generator draws. Drivers that end are started again until one is done. Then the files of features must be those
of a run that nothing disturbed, byte for byte, and every segment that is missing must have a dead letter that says why.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.benchmarks.fault_scenarios import SCENARIOS, Field, contents, place_of
from raypipe.run_folder.folder import RunFolder


def try_once(it: Field, name: str, seed: int) -> str | None:
    """Run a scenario and return what is not as it must be, None where all is."""
    output = it.directory / f"{name}_{seed}"
    generator = random.Random(f"{name} {seed}")  # noqa: S311 moments, no secrets
    try:
        dead = SCENARIOS[name](it, output, generator)
    except (TimeoutError, RuntimeError) as error:
        return str(error)
    found = contents(output)
    expected = {path: content for path, content in it.expected.items() if place_of(path) not in dead}
    letters = {(letter.video_id, letter.segment_index): letter.message for letter in RunFolder(str(output)).read_dead()}
    if found != expected:
        missing, more = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
        return f"missing {missing}, too many {more}, others differ"
    if set(letters) != set(dead) or any(word not in letters[place] for place, word in dead.items()):
        return f"dead letters {letters}, expected {dead}"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the matrix, print a line per scenario, and write all as JSON where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20, help="of every scenario (default: %(default)s)")
    parser.add_argument("--only", help=f"scenarios, with commas between them: {', '.join(SCENARIOS)}")
    parser.add_argument("--seed", type=int, default=0, help="of the first repetition (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4 * 3600.0, help="after which no repetition is begun")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    arguments = parser.parse_args(argv)
    names = arguments.only.split(",") if arguments.only else list(SCENARIOS)
    began = time.monotonic()
    rows: dict[str, dict[str, Any]] = {name: {"equal": 0, "tried": 0, "faults": []} for name in names}
    with tempfile.TemporaryDirectory() as directory:
        it = Field(Path(directory))
        try:
            for seed in range(arguments.seed, arguments.seed + arguments.repetitions):
                for name in names:
                    if time.monotonic() - began > arguments.seconds:
                        continue
                    fault = try_once(it, name, seed)
                    rows[name]["tried"] += 1
                    rows[name]["equal"] += fault is None
                    rows[name]["faults"] += [f"seed {seed}: {fault}"] if fault else []
                    print(f"{time.monotonic() - began:6.0f} s  {name} {seed}: {fault or 'equal'}", flush=True)
        finally:
            it.cluster.shutdown()
    for name, row in rows.items():
        print(f"{name:>15}: {row['equal']} of {row['tried']} equal")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(row["equal"] == row["tried"] for row in rows.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
