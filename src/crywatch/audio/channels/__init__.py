"""Recording and transmission channels: what a sound goes through before a detector hears it.

A channel is a list of steps (conf/channels.yaml), each a transform of a wave at 16 kHz that keeps
its length and its time axis: seconds before and after are the same seconds. A number of a step that
is given as ``{min: a, max: b}`` is drawn for every clip; all that is drawn for a clip comes from
one generator, seeded by the names of the channel and of the clip. Equal clips in equal channels are
therefore equal bytes, whatever else is put through, and in which order.

    section = params.plain("channels")
    heard = apply(channel("telephone", section), wave, clip_id)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crywatch.audio.channels import steps
from crywatch.audio.channels.config import parsed
from crywatch.core.errors import ConfigError, named

SECTION = "channels"


@dataclass(frozen=True)
class Channel:
    """A named row of steps."""

    name: str
    steps: tuple[steps.Step, ...]


def channel(name: str, section: Mapping[str, Any]) -> Channel:
    """Channel ``name`` of parameter section ``channels``.

    Raises
    ------
    ConfigError
        There is no channel of that name; or a step is unknown, has an unknown, missing or
        impossible value, or needs a codec that this PyAV cannot encode. The message names the key.
    """
    listed = named(section, name, SECTION)
    key = f"{SECTION}.{name}"
    if not isinstance(listed, list | tuple):
        raise ConfigError(f"{key}: {listed!r} stands where a list of steps is expected")
    made = [_step(entry, f"{key}[{place}]") for place, entry in enumerate(listed)]
    return Channel(name, tuple(made))


def _step(entry: Any, key: str) -> steps.Step:
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ConfigError(f"{key}: {entry!r} is not one step, such as {{gain: {{db: -20}}}}")
    ((kind, values),) = entry.items()
    step = parsed(named(steps.KINDS, kind, key), values, f"{key}.{kind}")
    step.check(f"{key}.{kind}")
    return step


def apply(channel: Channel, wave: np.ndarray, clip_id: str) -> np.ndarray:
    """``wave`` [samples] at 16 kHz as ``channel`` lets it be heard: [samples] float32 in [-1, 1].

    What lies outside full scale in the end is clipped, as a file of 16 bits would. A wave without
    samples stays one.
    """
    out = np.asarray(wave, dtype=np.float32)
    if len(out):
        rng = _generator(channel.name, clip_id)
        for step in channel.steps:
            out = step.apply(out, rng)
    return np.clip(out, -1.0, 1.0).astype(np.float32)


def _generator(channel_name: str, clip_id: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{channel_name}\0{clip_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
