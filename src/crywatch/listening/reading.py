"""What a source's process reads, by its kind: pieces as `audio.live` gives them."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from crywatch.audio.decode import BlockReader
from crywatch.audio.live import OPEN, PIECE_S, Piece, Pipe, decoded
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import Resampler, at_rate
from crywatch.core.errors import AudioError, EngineError

Request = Mapping[str, Any]
PROTOCOLS = {  # that an address may lead to: it never leads to a file
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtp,tcp,tls",
    "http": "http,https,tcp,tls",
    "https": "https,tcp,tls",
}


def read_file(request: Request) -> Iterator[Piece]:
    """A file as if live, or ``speed`` times as fast; 0 is as fast as can be."""
    reader = BlockReader(request["place"])
    yield OPEN
    yield from paced(at_rate(reader, RATE_HZ), request["speed"])


def paced(blocks: Iterable[np.ndarray], speed: float) -> Iterator[np.ndarray]:
    """``blocks`` [samples] at 16 kHz in pieces, none of which comes before it is over."""
    began, count = time.monotonic(), 0
    size = max(1, round(PIECE_S * RATE_HZ * max(1.0, speed))) if speed else RATE_HZ
    for block in blocks:
        for start in range(0, len(block), size):
            piece = block[start : start + size]
            count += len(piece)
            if speed:
                time.sleep(max(0.0, began + count / RATE_HZ / speed - time.monotonic()))
            yield piece


def read_input(request: Request) -> Iterator[Piece]:
    """Standard input: any container, or with ``pcm_hz`` bare samples, 16 bits, mono."""
    if not request["pcm_hz"]:
        yield from decoded(Pipe(request["fd"]), {"protocol_whitelist": "data"})
        return
    yield OPEN
    rest, resampler = b"", Resampler(request["pcm_hz"], RATE_HZ)
    size = 2 * round(PIECE_S * request["pcm_hz"])
    while data := os.read(request["fd"], size):
        data = rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        yield resampler(np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768)
    yield resampler(np.zeros(0, dtype=np.float32), last=True)


def read_microphone(request: Request) -> Iterator[Piece]:
    """A sound card's input, by PortAudio."""
    try:
        import sounddevice
    except OSError as error:
        raise EngineError(f"{error}: install it (Debian: apt-get install libportaudio2)") from error
    device = request["place"] or None
    if device and device.isdigit():
        device = int(device)
    blocks: queue.Queue[np.ndarray] = queue.Queue(maxsize=100)

    def hear(samples: np.ndarray, *_: Any) -> None:
        if not blocks.full():
            blocks.put_nowait(samples[:, 0].copy())

    try:
        rate_hz = int(sounddevice.query_devices(device, "input")["default_samplerate"])
        size = round(PIECE_S * rate_hz)
        with sounddevice.InputStream(
            rate_hz, size, device, channels=1, dtype="float32", callback=hear
        ) as stream:
            yield OPEN
            resampler = Resampler(rate_hz, RATE_HZ)
            while stream.active:
                yield resampler(blocks.get())
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"microphone: {error}") from error


def read_stream(request: Request) -> Iterator[Piece]:
    """RTSP over TCP, or whatever comes by HTTP."""
    address = request["place"]
    scheme = address.partition(":")[0].lower()
    options = {"protocol_whitelist": PROTOCOLS[scheme]}
    if scheme.startswith("rtsp"):
        options |= {"rtsp_transport": "tcp", "allowed_media_types": "audio"}
    yield from decoded(address, options, request["connect_s"])
