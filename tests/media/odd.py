"""Oddities that no encoder here makes: packets encoded once, changed, and written by hand."""

from fractions import Fraction

import av

from tests.helpers.clips import moving_squares

# MPEG-4 of a picture that is not coded: P, time increment of 5 bits, no coded bit, stuffing.
NOT_CODED = b"\0\0\1\xb6" + bytes([0b01010000, 0b01010111, 0xFF])
# What tells a decoder that B-frames are packed with the frame before.
PACKED = b"\0\0\1\xb2DivX503b1393p"


def encode(codec, options, num_frames=60, size=(96, 64), pix_fmt="yuv420p"):
    """Return the packets' bytes, with their times and whether they are keyframes, and the encoder."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt = *size, pix_fmt
    encoder.time_base, encoder.framerate, encoder.thread_count = Fraction(1, 25), Fraction(25), 1
    encoder.options = options
    packets = []
    for number, picture in enumerate([*moving_squares(num_frames, *size), None]):
        frame = None
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(picture).reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
        packets += [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in encoder.encode(frame)]
    return packets, encoder


def mux(path, packets, encoder, *, muxer=None, codec=None):
    """Write packets, (bytes, pts, dts, is_keyframe), as they are."""
    with av.open(str(path), "w", format=muxer) as output:
        stream = output.add_stream(codec or encoder.codec.name, rate=25)
        stream.width, stream.height, stream.pix_fmt = encoder.width, encoder.height, encoder.pix_fmt
        stream.time_base = Fraction(1, 25)
        if encoder.extradata:
            stream.codec_context.extradata = encoder.extradata
        output.start_encoding()
        for data, pts, dts, is_keyframe in packets:
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts, packet.dts, packet.is_keyframe = pts, dts, is_keyframe
            output.mux(packet)
    return path


def packed(packets):
    """Return MPEG-4 with each B-frame in the packet of the frame before, and a packet without a picture for it."""
    datas, result = [], []
    for data, *_ in packets:
        at = data.index(b"\0\0\1\xb6")
        if data[at + 4] >> 6 == 2:
            datas[-1][1] = data
        else:
            datas.append([data, b""])
    datas[0][0] = (
        datas[0][0][: datas[0][0].index(b"\0\0\1\xb6")] + PACKED + datas[0][0][datas[0][0].index(b"\0\0\1\xb6") :]
    )
    for first, second in datas:
        result.append(first + second)
        if second:
            result.append(NOT_CODED)
    return [
        (data, number, number, number == 0 or (packets[0][3] and is_intra(data))) for number, data in enumerate(result)
    ]


def is_intra(data):
    """Tell whether the first picture of MPEG-4 is intra coded."""
    at = data.index(b"\0\0\1\xb6")
    return data[at + 4] >> 6 == 0
