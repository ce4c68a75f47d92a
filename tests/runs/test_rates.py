"""A whole run over videos whose timestamps are odd."""

import json
import shutil

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from raypipe.config.run import load_config
from raypipe.workflow import run_step

STEP = 3600
HOUR = 3600 * 90_000
# The same pictures as `steady` in other files, whose encoders made other pixels of them; and its very packets again.
GIVEN = ("steady", "gap", "ticks")
AGAIN = {
    "same_gap": lambda frame: frame * STEP + (frame >= 80) * HOUR,
    "same_ticks": lambda frame: frame,
    # One step of a tick, and one as if twelve frames were lost.
    "same_uneven": lambda frame: frame * STEP - (frame >= 20) * (STEP - 1) + (frame >= 75) * 12 * STEP,
}
FILES = (*GIVEN, *AGAIN)


def write_again(source, path, time_of):
    """Write the packets of a video of 25 frames/s once more, shown at other times."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        packets = [packet for packet in given.demux(stream) if packet.pts is not None]
        frames = sorted(packet.pts for packet in packets)
        times = sorted(time_of(frame) for frame in range(len(frames)))
        for number, packet in enumerate(packets):
            packet.pts = times[frames.index(packet.pts)]
            # Without B-frames the order of storage is that of showing.
            packet.dts, packet.duration = times[number], 1
            assert packet.pts >= packet.dts
            packet.time_base, packet.stream = stream.time_base, copy
            made.mux(packet)


@pytest.fixture
def case(shared, tmp_path):
    """The data and boxes of the report, and `AGAIN`; skips where they are absent."""
    source = shared / "cases" / "reports" / "04-average-frame-rate"
    if not source.is_dir():
        pytest.skip("needs ../shared/cases, which is not there")
    case = tmp_path / "case"
    shutil.copytree(source, case)
    labels = (case / "data" / "labels.csv").read_text().splitlines()
    for name, time_of in AGAIN.items():
        write_again(case / "data/test/steady.mp4", case / f"data/test/{name}.mp4", time_of)
        shutil.copy(case / "boxes/test/steady.txt", case / f"boxes/test/{name}.txt")
        labels.append(f"test/{name},50,61")
    (case / "data" / "labels.csv").write_text("\n".join(labels) + "\n")
    return case


def scores_below(output):
    """The tables of scores of the test videos."""
    return {name: pq.read_table(output / f"scores/test/{name}.parquet") for name in FILES}


def test_a_pause_and_odd_timestamps_change_nothing_elsewhere(cluster, case, tmp_path):
    output = tmp_path / "run"
    places = {"dataset.root": case / "data", "output": output, "detector.boxes_root": case / "boxes"}
    overrides = [f"{key}={path}" for key, path in places.items()]
    lines = []
    run_step("run", load_config(case / "c.yaml", overrides), lines.append)
    said = "\n".join(lines)
    for name in ("gap", "same_gap"):
        assert said.count(f"test/{name}: a pause of 3,600.0 s after frame 79") == 1
    for name in ("ticks", "same_ticks"):
        assert said.count(f"test/{name}: its timestamps say 90,000 frames a second") == 1
    assert said.count("note: ") == 4
    # 6 x 89 normal frames at 25 a second, and the time of the lost ones.
    assert "22 s of normal video" in said

    tables = scores_below(output)
    score = {name: table["score"].to_numpy() for name, table in tables.items()}
    np.testing.assert_allclose(score["same_ticks"], score["steady"], rtol=1e-6)
    # The smoothing reaches over 4 sigma of 12.5 frames, and the window of motion over 10, up to the pause behind 79.
    np.testing.assert_allclose(score["same_gap"][:20], score["steady"][:20], rtol=1e-6)
    # The object runs from frame 50 to 60, in other pixels too.
    peaks = {name: int(np.argmax(of_one)) for name, of_one in score.items()}
    assert all(50 <= peak <= 62 for peak in peaks.values()), peaks
    time = tables["gap"]["time_seconds"].to_numpy()
    np.testing.assert_allclose(np.diff(time), [0.04] * 79 + [3600.04] + [0.04] * 19, atol=1e-6)
    alarms = json.loads((output / "results.json").read_text())["alarms"]
    # Twelve lost frames are no pause, and one step is nearly nothing.
    assert alarms["normal_hours"] == pytest.approx((6 * 89 + 12 - 1) / 25 / 3600, rel=1e-4)
    delays = [point["median_delay_seconds"] for point in alarms["points"]]
    assert max(delay for delay in delays if delay is not None) < 1

    run_step("score", load_config(case / "c.yaml", [*overrides, "score.smoothing_seconds=0"]), lines.append)
    raw = {name: table["score"].to_numpy() for name, table in scores_below(output).items()}
    np.testing.assert_allclose(raw["same_ticks"], raw["steady"], rtol=1e-6)
    # Without smoothing, ten frames on either side of the step over the pause, which frame 80 ends.
    far = np.r_[:70, 91:100]
    np.testing.assert_allclose(raw["same_gap"][far], raw["steady"][far], rtol=1e-6)
    # Ten frames on either side of the lost ones, which are twelve times as long: motion by time is that much slower.
    far = np.r_[:65, 86:100]
    np.testing.assert_allclose(raw["same_uneven"][far], raw["steady"][far], rtol=1e-6)
