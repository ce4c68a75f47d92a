"""Whatever the groups of pictures, B-frames, edit lists, gaps and starts: segments are those of the whole."""

from fractions import Fraction

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.helpers.clips import moving_squares, write_clip
from tests.media.whole import assert_same_as_whole

CLIP = moving_squares(70, 64, 48, seed=5)
TIME_BASE = Fraction(1, 1000)
# Steps between frames in milliseconds: mostly even, some of one tick, some long pauses.
STEPS = st.lists(
    st.one_of(st.just(40), st.just(40), st.just(40), st.just(1), st.integers(2, 5000)), min_size=70, max_size=70
)


@st.composite
def recipes(draw):
    """Draw how a clip is encoded and when its frames are shown."""
    codec = draw(st.sampled_from(["libx264", "libx264", "libx265", "mpeg4", "mpeg2video", "libvpx-vp9"]))
    group, b_frames = draw(st.integers(1, 40)), draw(st.integers(0, 4))
    is_open = draw(st.booleans())
    options = {"g": str(group), "bf": str(b_frames)}
    if codec == "libx264":
        options = {
            "preset": "veryfast",
            "x264-params": f"keyint={group}:min-keyint={draw(st.integers(1, group))}:bframes={b_frames}:"
            f"open-gop={int(is_open)}:b-pyramid={draw(st.sampled_from(['none', 'strict', 'normal']))}:"
            f"ref={draw(st.integers(1, 5))}:weightp=0",
        }
    elif codec == "libx265":
        options = {
            "preset": "ultrafast",
            "x265-params": f"pools=none:log-level=none:keyint={group}:bframes={b_frames}:open-gop={int(is_open)}",
        }
    elif codec == "mpeg4":
        options["bf"] = str(min(1, b_frames))
    elif codec == "mpeg2video":
        options["flags"] = "+cgop" if not is_open else "+ilme"
        options["sc_threshold"] = "1000000000"
    elif codec == "libvpx-vp9":
        options = {"g": str(group), "deadline": "realtime", "cpu-used": "8"}
    containers = ["mp4", "mkv", "ts", "mov"] if codec != "libvpx-vp9" else ["webm", "mp4"]
    # A time before zero becomes an edit list in MP4.
    start = draw(st.one_of(st.just(0), st.integers(-800, 100_000)))
    pts = np.cumsum([start, *draw(STEPS)[1:]]).tolist()
    if codec in ("mpeg4", "mpeg2video"):
        # These know of a constant rate only.
        pts = [start + 40 * number for number in range(70)]
    return codec, options, draw(st.sampled_from(containers)), pts


@settings(max_examples=150, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(recipe=recipes(), num_frames=st.integers(1, 70), seed=st.integers(0, 1000))
def test_segments_of_any_structure_are_those_of_the_whole(tmp_path, recipe, num_frames, seed):
    codec, options, container, pts = recipe
    # An edit list may leave out some frames, not all.
    assume(pts[num_frames - 1] > 40)
    constant = codec in ("mpeg4", "mpeg2video")
    path = write_clip(
        tmp_path / f"a.{container}",
        CLIP[:num_frames],
        codec=codec,
        options=options,
        pts=[number + pts[0] // 40 for number in range(num_frames)] if constant else pts[:num_frames],
        time_base=Fraction(1, 25) if constant else TIME_BASE,
    )
    assert_same_as_whole(path, num_segments=5, seed=seed)
