"""Which files are videos: by their ending where it is a known one, by their first bytes otherwise."""

import io
import re
from collections.abc import Callable

from raypipe.video.pictures import PICTURE_SUFFIXES

# Files of these endings are videos, whatever they hold: one that cannot be read is told as a dead letter.
_VIDEOS = """
.mp4 .m4v .mov .qt .f4v .3gp .3gpp .3g2 .avi .divx .xvid .mkv .mk3d .webm .mpg .mpeg .mpe .mpv .m1v .m2v .m2p
.ps .vob .ts .m2ts .mts .m2t .tp .trp .tod .wmv .asf .flv .ogv .ogm .rm .rmvb .mxf .gxf .gif .dav .dv .nut .y4m
.ivf .amv .nsv .wtv .mj2 .mjpg .mjpeg .h264 .264 .avc .h265 .265 .hevc .vc1 .av1 .obu
"""
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())
# What cameras and web pages keep beside a video of the same name: a smaller copy, a moving preview.
PREVIEW_SUFFIXES = frozenset([".gif", ".lrv"])
# Files of these endings are no videos, and are not looked into.
_OTHERS = """
.txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .conf .log .md .rst .html .htm .pdf .doc .docx .xls
.xlsx .ods .odt .ppt .pptx .mat .m .npy .npz .pkl .pickle .pt .pth .ckpt .onnx .safetensors .h5 .hdf5 .parquet
.arrow .db .sqlite .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .py .ipynb .sh .bat .c .h .cpp .js .css .srt .ass
.vtt .sub .idx .ifo .bup .mp3 .wav .m4a .aac .flac .opus .wma .md5 .sha1 .sha256 .part .crdownload .download
.tmp .bak .aria2 .heic .heif .avif .exr .hdr .psd .dng .cr2 .nef .arw .svg .ico .thm .eps
"""
OTHER_SUFFIXES = frozenset(_OTHERS.split())
# Bytes of a file that are looked at, and files of one ending of which none is a video before the rest is left alone.
HEAD_BYTES = 256 * 1024
MAX_LOOKED_AT = 32
# Brands of MP4's kin that are sound or single pictures.
_NO_VIDEO_BRANDS = (b"M4A ", b"M4B ", b"heic", b"heix", b"mif1", b"avif", b"crx ", b"jp2 ", b"jpx ")
# Formats of FFmpeg that take text, pictures or lists of other files for videos.
_NO_VIDEO_FORMATS = re.compile(r".*_pipe|image2|tty|hls|concat|dash|imf|sdp|rtsp|webvtt|srt|ass")


def ending(path: str) -> str:
    """Return the ending of a file's name, lowered, with its point; empty where it has none."""
    stem, point, suffix = path.rpartition("/")[2].rpartition(".")
    found = f"{point}{suffix}".lower()
    # "cam.2" and "cam.2024-01-01" have none.
    is_one = found in VIDEO_SUFFIXES or re.fullmatch(r"\.[a-z][a-z0-9_]{0,11}", found)
    return found if stem and is_one else ""


def holds_video(head: bytes) -> bool:
    """Whether a file that begins with `head` is a video that FFmpeg can open, as far as this tells."""
    import av

    if head[4:8] == b"ftyp":
        # The index of such a file may lie at its end.
        return head[8:12] not in _NO_VIDEO_BRANDS
    if b"\0" not in head[:4096] and not head.startswith(b"YUV4MPEG2"):
        return False
    try:
        with av.open(io.BytesIO(head), options={"protocol_whitelist": "none"}, metadata_errors="replace") as container:
            streams = container.streams.video
            is_other = _NO_VIDEO_FORMATS.fullmatch(container.format.name)
            return bool(streams and streams[0].codec_context and streams[0].width and not is_other)
    except (av.FFmpegError, ValueError, OSError):
        return False


class Looking:
    """Tells which files are videos; `read_head` returns the first bytes of a file, given its path and their number.

    A file without a known ending is opened, until `MAX_LOOKED_AT` of its ending have turned out to be none.
    """

    def __init__(self, read_head: Callable[[str, int], bytes]) -> None:
        self._read_head = read_head
        self._num_others: dict[str, int] = {}
        self._with_videos: set[str] = set()

    def is_video(self, path: str) -> bool:
        """Whether a file is a video."""
        suffix = ending(path)
        if suffix in VIDEO_SUFFIXES or suffix in PREVIEW_SUFFIXES:
            return True
        if suffix in OTHER_SUFFIXES or suffix in PICTURE_SUFFIXES:
            return False
        if suffix not in self._with_videos and self._num_others.get(suffix, 0) >= MAX_LOOKED_AT:
            return False
        try:
            found = holds_video(self._read_head(path, HEAD_BYTES))
        except OSError:
            found = False
        if found:
            self._with_videos.add(suffix)
        else:
            self._num_others[suffix] = self._num_others.get(suffix, 0) + 1
        return found
