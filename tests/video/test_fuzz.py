"""Bytes of every container changed at random: a file is decoded or refused, and never takes its process with it."""

import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.helpers.clips import moving_squares, write_clip

ROOT = Path(__file__).parents[2]
HANG_SECONDS = 60
CONTAINERS = {
    "h264.mp4": {"options": {"g": "6", "bf": "2"}},
    "h264.mkv": {"options": {"g": "6", "bf": "2"}},
    "h264.ts": {"options": {"g": "6"}},
    "h264_b.avi": {"options": {"g": "6", "bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "6"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "6"}},
    "hevc.mov": {"codec": "libx265", "options": {"x265-params": "keyint=6:pools=none:log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "6", "deadline": "realtime", "cpu-used": "8"}},
    "h264.flv": {"options": {"g": "6", "bf": "0"}},
}
# What is done to a file, places in fractions of its length.
PLACE = st.floats(0, 1, exclude_max=True)
CHANGES = st.one_of(
    st.tuples(st.just("byte"), PLACE, st.integers(0, 255)),
    st.tuples(st.just("cut"), PLACE, st.just(0)),
    st.tuples(st.just("drop"), PLACE, st.integers(1, 64)),
    st.tuples(st.just("repeat"), PLACE, st.integers(1, 64)),
    st.tuples(st.just("noise"), PLACE, st.binary(min_size=1, max_size=32)),
    # Sizes and counts stand in four bytes each; the head is where most of them are.
    st.tuples(st.just("size"), st.floats(0, 0.1), st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000])),
)


def change(content, kind, place, value):
    """Return a file's bytes with one change."""
    at = int(place * len(content))
    if kind == "byte":
        return content[:at] + bytes([value]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "drop":
        return content[:at] + content[at + value :]
    if kind == "repeat":
        return content[: at + value] + content[at:]
    new = value if kind == "noise" else value.to_bytes(4, "big")
    return content[:at] + new + content[at + len(new) :]


class Worker:
    """A process that looks at files; it is made anew where it died."""

    def __init__(self):
        self.process = None

    def look_at(self, path):
        if self.process is None:
            command = [sys.executable, "-m", "tests.helpers.fuzz_worker"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
        # Where it is dead already, its output is at an end, which is told below.
        with suppress(BrokenPipeError):
            print(path, file=self.process.stdin, flush=True)
        is_there, _, _ = select.select([self.process.stdout], [], [], HANG_SECONDS)
        said = self.process.stdout.readline() if is_there else ""
        if said:
            return said.strip()
        self.process.kill()
        trace = self.process.communicate()[1]
        code, self.process = self.process.returncode, None
        return f"{'crashed' if is_there else 'hung'}, exit code {code}: {trace}"

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    frames = moving_squares(18, 64, 48)
    return {name: write_clip(folder / name, frames, **how).read_bytes() for name, how in CONTAINERS.items()}


@pytest.fixture(scope="module")
def worker():
    worker = Worker()
    yield worker
    worker.end()


def test_the_worker_tells_what_is_good_bad_and_fatal(whole, worker, tmp_path):
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
        assert worker.look_at(tmp_path / name) == "decoded 9", name
    (tmp_path / "text.mp4").write_text("text")
    assert worker.look_at(tmp_path / "text.mp4") == "refused CorruptVideoError"
    worker.process.kill()
    worker.process.wait()
    assert worker.look_at(tmp_path / "text.mp4").startswith("crashed, exit code -9")


@pytest.mark.parametrize("name", CONTAINERS)
@settings(
    max_examples=25,
    derandomize=True,
    database=None,
    # A hang costs a minute: it is told as it is found.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(changes=st.lists(CHANGES, min_size=1, max_size=4))
def test_no_bytes_take_their_process_with_them(whole, worker, tmp_path, name, changes):
    content = whole[name]
    for one in changes:
        content = change(content, *one) or b"\0"
    path = tmp_path / name
    path.write_bytes(content)
    said = worker.look_at(path)
    # Not by an assertion, which would print all bytes of all files.
    if said.partition(" ")[0] not in ("decoded", "refused"):
        pytest.fail(f"{name} with {changes}: {said[-2000:]}")
