"""Frames as a player shows them: turned and mirrored by the display matrix."""

from typing import Any, cast

import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def _unknown(kind: type[Type], value: int) -> Type:
    """Stand in for kinds of side data that PyAV has no name for: one of them (EXIF) hides all of a frame's others."""
    member: Any = object.__new__(kind)
    member._name_, member._value_ = f"UNKNOWN_{value}", value
    return cast(Type, member)


Type._missing_ = classmethod(_unknown)  # type: ignore[assignment]


def orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Return what makes a decoded frame upright: whether to transpose it, then to flip columns, then rows.

    The display matrix, as it is in MP4 (ISO 14496-12, 8.5.2): a pixel (x, y) is shown at (ax + cy, bx + dy). Other
    angles than quarter turns are taken for the nearest one.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def quarter_turns(frame: Any) -> int:
    """Return a frame's rotation, counter-clockwise in degrees, as one of 0, 90, 180, 270; flips come on top of it."""
    is_transposed, flips_columns, flips_rows = orientation(frame)
    if is_transposed:
        return 90 if flips_rows else 270
    return 180 if flips_columns and flips_rows else 0


def write_rgb(frame: Any, out: U8, reformatter: VideoReformatter) -> None:
    """Write a decoded frame, scaled and made upright, into `out`, uint8 (H, W, 3)."""
    is_transposed, flips_columns, flips_rows = orientation(frame)
    height, width = out.shape[1::-1] if is_transposed else out.shape[:2]
    # AREA averages when shrinking and equals bilinear when a clip grows in its middle.
    rgb: Any = reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA)
    plane = rgb.planes[0]
    if plane.line_size < 0:
        # RGB that is stored from the bottom up comes back as it was; PyAV reads such planes only of other formats.
        bgr: Any = reformatter.reformat(frame, width, height, "bgr24", interpolation=Interpolation.AREA)
        picture = bgr.to_ndarray()[..., ::-1]
    else:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, : width * 3]
        picture = rows.reshape(height, width, 3)
    if is_transposed:
        picture = picture.transpose(1, 0, 2)
    out[...] = picture[:: -1 if flips_rows else 1, :: -1 if flips_columns else 1]
