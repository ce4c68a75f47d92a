import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from raypipe.video.probe import probe_video
from raypipe.video.watchdog import ending_hangs
from tests.helpers.clips import write_clip

PREAMBLE = """
import sys, time
from raypipe.video import watchdog
from raypipe.video.probe import probe_video
from raypipe.video.watchdog import ending_hangs, note_progress

def note(reason):
    print(reason, flush=True)
"""


def run(code, *arguments):
    command = [sys.executable, "-c", PREAMBLE + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_read_that_hangs_in_c_ends_its_process_after_a_note(tmp_path):
    os.mkfifo(tmp_path / "video.mp4")
    done = run("with ending_hangs(0.4, note): probe_video(sys.argv[1])", tmp_path / "video.mp4")
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "hung: no packet or picture could be read or decoded for 0.4 s\n"


def test_progress_puts_it_off_and_its_end_ends_the_watch():
    done = run(
        """
        with ending_hangs(1.0, note):
            for _ in range(8):
                time.sleep(0.3)
                note_progress()
        time.sleep(1.5)
        print("done")
        """
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_note_that_hangs_too_does_not_keep_the_process():
    done = run(
        """
        watchdog.NOTE_SECONDS = 1
        with ending_hangs(0.2, lambda reason: time.sleep(60)):
            time.sleep(60)
        """
    )
    assert done.returncode not in (0, -signal.SIGKILL)
    assert "Timeout" in done.stderr


def test_what_is_raised_inside_goes_on():
    with pytest.raises(ValueError, match="bad"), ending_hangs(60, print):
        raise ValueError("bad")


def test_every_packet_is_progress(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr("raypipe.video.container.note_progress", lambda: steps.append(1))
    probe_video(str(write_clip(tmp_path / "a.mp4", np.zeros((7, 48, 64, 3), np.uint8))))
    assert len(steps) >= 7
