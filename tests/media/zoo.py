"""One small file of every container and codec that PyAV writes here, made on the spot from the same moving squares."""

import os
from fractions import Fraction

import av

from tests.helpers.clips import moving_squares

# Its encoder prints its settings otherwise.
os.environ.setdefault("SVT_LOG", "0")

NUM_FRAMES = 40
# Ending and muxer options of a container, by muxer; "m2ts" is a manner of writing "mpegts".
CONTAINERS = {
    "mp4": ("mp4", {}),
    "fragmented": ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "mov": ("mov", {}),
    "matroska": ("mkv", {}),
    "webm": ("webm", {}),
    "avi": ("avi", {}),
    "mpegts": ("ts", {}),
    "m2ts": ("m2ts", {"mpegts_m2ts_mode": "1"}),
    "mpeg": ("mpg", {}),
    "vob": ("vob", {}),
    "dvd": ("mpg", {}),
    "flv": ("flv", {}),
    "f4v": ("f4v", {}),
    "3gp": ("3gp", {}),
    "asf": ("wmv", {}),
    "gif": ("gif", {}),
    "apng": ("apng", {}),
    "ogg": ("ogv", {}),
    "mxf": ("mxf", {}),
    "nut": ("nut", {}),
    "rm": ("rm", {}),
    "swf": ("swf", {}),
    "wtv": ("wtv", {}),
    "ivf": ("ivf", {}),
    "obu": ("obu", {}),
    "ismv": ("ismv", {}),
    "avif": ("avif", {}),
    "roq": ("roq", {}),
    "film_cpk": ("cpk", {}),
    "yuv4mpegpipe": ("y4m", {}),
    "h264": ("h264", {}),
    "hevc": ("hevc", {}),
    "h263": ("h263", {}),
    "h261": ("h261", {}),
    "m4v": ("m4v", {}),
    "mjpeg": ("mjpeg", {}),
    "mpeg1video": ("m1v", {}),
    "mpeg2video": ("m2v", {}),
    "dv": ("dv", {}),
}
MUXERS = {"fragmented": "mp4", "m2ts": "mpegts"}
_B = {"g": "12", "bf": "2"}
_P = {"g": "12"}
_X265 = "pools=none:log-level=none:keyint=12:min-keyint=12:bframes=2"
# Encoder, its options, pixel format, and the containers that take it.
CODECS = {
    "h264": ("libx264", _B, "yuv420p", "mp4 fragmented mov matroska avi mpegts m2ts mpeg flv f4v 3gp asf mxf nut h264"),
    "h264 without B": ("libx264", {"g": "12", "bf": "0"}, "yuv420p", "mp4 matroska avi mpegts vob flv h264 wtv"),
    "h264 open": ("libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}, "yuv420p", "mp4 matroska mpegts h264"),
    "h264 interlaced": ("libx264", _B | {"x264-params": "tff=1"}, "yuv420p", "mp4 mpegts avi"),
    "h264 refresh": ("libx264", {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}, "yuv420p", "mp4 mpegts avi"),
    "h264 lossless 4:4:4": ("libx264", _B | {"crf": "0"}, "yuv444p", "mp4 matroska"),
    "h264 RGB": ("libx264rgb", _B, "rgb24", "mp4 matroska"),
    "h264 10 bit": ("libx264", _B, "yuv420p10le", "mp4 mpegts"),
    "hevc": ("libx265", {"x265-params": f"{_X265}:open-gop=0"}, "yuv420p", "mp4 mov matroska mpegts m2ts mpeg flv nut"),
    "hevc open": ("libx265", {"x265-params": f"{_X265}:open-gop=1"}, "yuv420p", "mp4 matroska mpegts hevc ismv"),
    "hevc 10 bit": ("libx265", {"x265-params": _X265}, "yuv420p10le", "mp4"),
    "vp8": (
        "libvpx",
        _P | {"auto-alt-ref": "1", "lag-in-frames": "10"},
        "yuv420p",
        "matroska webm avi asf ogg nut ivf",
    ),
    "vp9": (
        "libvpx-vp9",
        _P | {"auto-alt-ref": "1", "lag-in-frames": "10", "deadline": "good", "cpu-used": "8"},
        "yuv420p",
        "mp4 matroska webm flv nut ivf avi",
    ),
    "av1": (
        "libsvtav1",
        _P | {"preset": "11", "svtav1-params": "lp=1"},
        "yuv420p",
        "mp4 matroska webm flv ivf obu avif",
    ),
    "mpeg1": ("mpeg1video", _B, "yuv420p", "mp4 mov matroska avi mpegts mpeg vob asf nut mpeg1video wtv"),
    "mpeg2": ("mpeg2video", _B, "yuv420p", "mp4 mov matroska avi mpegts m2ts mpeg vob dvd asf mxf nut mpeg2video"),
    "mpeg2 closed": ("mpeg2video", _B | {"flags": "+cgop", "sc_threshold": "1000000000"}, "yuv420p", "mpeg mov mpegts"),
    "mpeg2 interlaced": ("mpeg2video", _B | {"flags": "+ildct+ilme"}, "yuv420p", "mpeg mpegts mxf"),
    "mpeg4": ("mpeg4", _P, "yuv420p", "mp4 mov matroska avi mpegts mpeg 3gp asf nut m4v"),
    "mpeg4 B": ("mpeg4", _B, "yuv420p", "mp4 mov matroska avi mpegts mpeg 3gp asf nut m4v"),
    "h261": ("h261", _P, "yuv420p", "avi asf nut h261"),
    "h263": ("h263", _P, "yuv420p", "mov avi 3gp asf nut h263"),
    "h263p": ("h263p", _P, "yuv420p", "avi asf"),
    "flv1": ("flv", _P, "yuv420p", "flv avi swf nut"),
    "msmpeg4v2": ("msmpeg4v2", _P, "yuv420p", "avi asf"),
    "msmpeg4": ("msmpeg4", _P, "yuv420p", "avi asf mov matroska"),
    "wmv1": ("wmv1", _P, "yuv420p", "avi asf"),
    "wmv2": ("wmv2", _P, "yuv420p", "avi asf"),
    "rv10": ("rv10", _P, "yuv420p", "rm"),
    "rv20": ("rv20", _P, "yuv420p", "rm"),
    "svq1": ("svq1", _P, "yuv410p", "mov"),
    "cinepak": ("cinepak", _P, "rgb24", "mov avi film_cpk"),
    "msvideo1": ("msvideo1", _P, "rgb555le", "avi"),
    "rpza": ("rpza", _P, "rgb555le", "mov"),
    "qtrle": ("qtrle", _P, "rgb24", "mov"),
    "flashsv": ("flashsv", _P, "bgr24", "flv avi"),
    "flashsv2": ("flashsv2", _P, "bgr24", "flv"),
    "roq": ("roqvideo", _P, "yuvj444p", "roq"),
    "snow": ("snow", _P, "yuv420p", "matroska avi"),
    "gif": ("gif", {}, "rgb8", "gif mov nut"),
    "apng": ("apng", {}, "rgb24", "apng"),
    "ffv1": ("ffv1", _P, "yuv420p", "matroska avi mp4 nut mxf"),
    "mjpeg": ("mjpeg", {}, "yuvj420p", "mov avi matroska mp4 mjpeg nut asf"),
    "amv": ("amv", {}, "yuvj420p", "avi"),
    "prores": ("prores_ks", {}, "yuv422p10le", "mov matroska mxf"),
    "dnxhd": ("dnxhd", {"profile": "dnxhr_lb"}, "yuv422p", "mov mxf"),
    "dv": ("dvvideo", {}, "yuv420p", "avi mov dv"),
    "jpeg2000": ("jpeg2000", {}, "rgb24", "mov avi mxf mp4"),
    "png": ("png", {}, "rgb24", "mov avi"),
    "huffyuv": ("huffyuv", {}, "yuv422p", "avi"),
    "ffvhuff": ("ffvhuff", {}, "yuv420p", "avi"),
    "utvideo": ("utvideo", {}, "yuv420p", "avi"),
    "magicyuv": ("magicyuv", {}, "yuv420p", "avi mov"),
    "raw": ("rawvideo", {}, "yuv420p", "avi matroska nut yuv4mpegpipe"),
    "raw RGB": ("rawvideo", {}, "bgr24", "avi nut"),
    "v210": ("v210", {}, "yuv422p10le", "mov avi"),
    "tiff": ("tiff", {}, "rgb24", "mov"),
    "zlib": ("zlib", {}, "bgr24", "avi"),
}
# What some codecs ask for; others take this size.
_SIZES = {"h261": (176, 144), "dvvideo": (720, 576), "dnxhd": (256, 128)}
_SIZE = (96, 64)
_FEW = {"dvvideo": 6, "amv": 20}
ALL = [(codec, container) for codec, recipe in CODECS.items() for container in recipe[3].split()]


def write(folder, codec, container):
    """Write the file of a codec in a container into a folder and return its path."""
    encoder, options, pix_fmt, _ = CODECS[codec]
    ending, muxer_options = CONTAINERS[container]
    path = folder / f"{codec}.{container}.{ending}".replace(" ", "_").replace(":", "")
    width, height = (128, 96) if encoder in ("h263", "h263p") else _SIZES.get(encoder, _SIZE)
    rate = Fraction(30000, 1001) if encoder == "h261" else Fraction(30 if encoder == "roqvideo" else 25)
    with av.open(str(path), "w", format=MUXERS.get(container, container), options=muxer_options) as output:
        stream = output.add_stream(encoder, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(moving_squares(_FEW.get(encoder, NUM_FRAMES), width, height)):
            frame = av.VideoFrame.from_ndarray(picture).reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, 1 / rate
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
