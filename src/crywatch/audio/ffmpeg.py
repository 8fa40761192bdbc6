"""FFmpeg's libraries without their code for particular processors: equal bytes on all of them.

Its decoders and encoders of AAC, MP3 and Vorbis compute in float32 and add up in another order with
each set of instructions; one 16-bit sample in some hundred then differs by one.
"""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache


@cache
def force_plain_code() -> None:
    """For the whole process, before a codec is opened."""
    import av

    # The symbol is libavutil's, which PyAV's own module brings; a build may not export it.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(av._core.__file__).av_force_cpu_flags(0)
