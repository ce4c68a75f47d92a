import pytest
from PIL import Image

from raypipe.datasets.frame_faults import find_faults, find_gaps


@pytest.mark.parametrize(
    ("names", "gaps"),
    [
        ([], ()),
        (["7.jpg"], ()),
        (["001.jpg", "002.jpg", "004.jpg"], ("3",)),
        (["f9.png", "f10.png", "f14.png", "f15.png", "f17.png"], ("11 to 13", "16")),
        # Every fifth frame.
        (["0.jpg", "5.jpg", "10.jpg", "20.jpg"], ("15",)),
        # No series: other words, a number twice, a name without one, times.
        (["a1.jpg", "b3.jpg", "b4.jpg"], ()),
        (["1.jpg", "1.png", "3.jpg", "4.jpg"], ()),
        (["1.jpg", "cover.jpg", "3.jpg", "4.jpg"], ()),
        (["1000.jpg", "1041.jpg", "1083.jpg"], ()),
    ],
)
def test_numbers_that_are_missing(names, gaps):
    assert find_gaps(names) == gaps


def test_a_byte_that_changed_in_a_png(tmp_path):
    for name in ("1.png", "2.png"):
        Image.effect_noise((32, 32), 40).save(tmp_path / name)
    content = bytearray((tmp_path / "2.png").read_bytes())
    content[-20] ^= 1
    (tmp_path / "2.png").write_bytes(content)
    faults = find_faults(tmp_path)
    assert [fault.partition(":")[0] for fault in faults.broken] == ["2.png"]
    assert "checksum" in faults.broken[0] or "decoded" in faults.broken[0]
