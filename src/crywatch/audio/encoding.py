"""Compressed sound: whole files in memory, by the encoders of PyAV's FFmpeg."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from crywatch.audio.ffmpeg import force_plain_code

FRAME_SIZE = 4096  # samples, of encoders that take any
BIT_EXACT = 0x400  # AVFMT_FLAG_BITEXACT: no date or version in the file


def encodes(encoder: str) -> bool:
    """Whether this PyAV has that encoder."""
    import av

    try:
        av.codec.Codec(encoder, "w")
    except ValueError:  # PyAV's error of an unknown codec is one
        return False
    return True


def encoded(
    samples: np.ndarray,
    rate_hz: int,
    container: str,
    encoder: str,
    *,
    bit_rate: int = 0,
    options: Mapping[str, str] | None = None,
) -> bytes:
    """int16 ``samples`` [samples], mono, as a file of FFmpeg's ``container`` and ``encoder``.

    ``bit_rate`` is in bits a second, 0 for the encoder's own; ``options`` are the encoder's.
    """
    import av

    force_plain_code()
    content = io.BytesIO()
    with av.open(content, "w", format=container) as file:
        file.flags |= BIT_EXACT
        stream = file.add_stream(encoder, rate=rate_hz, options=dict(options or {}))
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout="mono",
            rate=rate_hz,
            frame_size=stream.codec_context.frame_size or FRAME_SIZE,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return content.getvalue()
