"""Recordings written packet by packet, with whatever time stamps a case needs."""

from fractions import Fraction

import av
import numpy as np


def tone(seconds, rate_hz=16_000, hz=440.0, gain=0.4):
    """[samples] float32."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (gain * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def write(path, container, tracks, rate_hz=16_000, video_s=0.0):
    """Tracks as ``(codec, [(start_s, wave)], settings)``; a wave is [(channels,) samples].

    Settings: ``layout``, ``metadata``, ``disposition``. With ``video_s`` there is a picture too.
    """
    with av.open(str(path), "w", format=container) as sink:
        packets = _video(sink, video_s) if video_s else []
        streams = []
        for codec, parts, settings in tracks:
            layout = settings.get("layout", "mono")
            stream = sink.add_stream(codec, rate=rate_hz, layout=layout)
            stream.codec_context.format = av.Codec(codec, "w").audio_formats[0].name
            stream.codec_context.open()
            stream.metadata.update(settings.get("metadata", {}))
            if "disposition" in settings:
                stream.disposition = settings["disposition"]
            streams.append((stream, parts, layout))
        for stream, parts, layout in streams:
            for start_s, wave in parts:
                packets += _encoded(stream, np.atleast_2d(wave), layout, start_s, rate_hz)
            packets += stream.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            sink.mux(packet)
    return path


def _encoded(stream, wave, layout, start_s, rate_hz):
    size = stream.codec_context.frame_size or 1024
    shaper = av.AudioResampler(stream.codec_context.format, layout, rate_hz)
    packed = np.ascontiguousarray(wave.T)  # PyAV reads no more than seven planes
    packets = []
    for first in range(0, len(packed) - size + 1, size):
        samples = packed[first : first + size].reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="flt", layout=layout)
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = round(start_s * rate_hz) + first
        for piece in shaper.resample(frame):
            packets += stream.encode(piece)
    return packets


def _video(sink, seconds):
    stream = sink.add_stream("mpeg4", rate=5)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    packets = []
    for number in range(round(5 * seconds)):
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 5)
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))


def packets_of(path):
    """Position and size in the file of each packet of its first sound track."""
    with av.open(str(path)) as file:
        return [(p.pos, p.size) for p in file.demux(file.streams.audio[0]) if p.size]


def overwrite(path, first, last, value=b"\0"):
    """Bytes ``first`` to ``last`` of a file, damaged."""
    content = bytearray(path.read_bytes())
    content[first:last] = value * (last - first)
    path.write_bytes(content)
    return path
