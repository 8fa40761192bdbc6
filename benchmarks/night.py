"""The figure of a night in README: ``python -m benchmarks.night --out docs/night.png``.

Eight generated hours of a nursery go through a detector once, minute by minute: a room with a fan,
bouts of crying, and what else sounds at night. Drawn are the levels of the bands, the probability
of a cry, the events that the model's own rule makes of it, and what really sounded.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from crywatch.audio.mel import mel_filters
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.corpora.generate import synthesis
from crywatch.detection.decisions import DetectedEvent, merge_events
from crywatch.detection.detectors import load_detector

BEDTIME = datetime(2024, 3, 4, 22, 0)
HOURS = 8
CHUNK_S = 60
COLUMN_S = 10  # of the figure
BANDS = 48
OTHERS = {
    "speech": synthesis.speech,
    "cat": synthesis.meow,
    "dog": synthesis.animal,
    "siren": synthesis.siren,
    "clock": synthesis.ticks,
}


@dataclass(frozen=True)
class Sound:
    """Something that sounds in the night."""

    kind: str  # "cry", or a name of `OTHERS`
    start_s: int
    seconds: int
    gain: float  # of a sound whose peak is 1


def plan(rng: np.random.Generator) -> list[Sound]:
    """Five bouts of crying and fifteen other sounds, in order; none overlap."""
    starts = np.sort(rng.choice(np.arange(8, HOURS * 60 - 8, 8), size=20, replace=False)) * 60
    crying = set(rng.choice(20, size=5, replace=False).tolist())
    night = []
    for number, start in enumerate(starts):
        kind = "cry" if number in crying else rng.choice(list(OTHERS))
        seconds = rng.integers(120, 420) if kind == "cry" else rng.integers(10, 60)
        gain = 10 ** rng.uniform(-1.2, -0.4)
        night.append(Sound(str(kind), int(start), int(seconds), float(gain)))
    return night


def chunks(night: Sequence[Sound], seed: int) -> Iterator[np.ndarray]:
    """The night, `CHUNK_S` by `CHUNK_S`, [samples] at 16 kHz."""
    rng = np.random.default_rng([seed, 1])
    voice = synthesis.infant_voice(rng)
    fan = 0.004 * resample(synthesis.hum(CHUNK_S, rng), synthesis.RATE_HZ, RATE_HZ)
    waves = {}  # of what sounds now: a night of them does not fit into memory
    for begin in range(0, HOURS * 3600, CHUNK_S):
        chunk = fan + 0.001 * rng.standard_normal(len(fan))
        for number, sound in enumerate(night):
            first = max(begin, sound.start_s)
            last = min(begin + CHUNK_S, sound.start_s + sound.seconds)
            if first >= last:
                waves.pop(number, None)
                continue
            if number not in waves:
                own = np.random.default_rng([seed, 2, number])
                dry = (
                    synthesis.varied_cry(sound.seconds, voice, own)
                    if sound.kind == "cry"
                    else OTHERS[sound.kind](sound.seconds, own)
                )
                heard = synthesis.room(dry, own)
                waves[number] = sound.gain * resample(heard, synthesis.RATE_HZ, RATE_HZ)
            part = waves[number][(first - sound.start_s) * RATE_HZ :][: (last - first) * RATE_HZ]
            at = (first - begin) * RATE_HZ
            chunk[at : at + len(part)] += part
        yield chunk.astype(np.float32)


def band_levels(chunk: np.ndarray) -> np.ndarray:
    """[bands, columns] dB, the loudest frame of each `COLUMN_S`."""
    frames = chunk.reshape(-1, 1000)
    power = np.abs(np.fft.rfft(frames * np.hanning(frames.shape[1]))) ** 2
    filters = mel_filters(RATE_HZ, frames.shape[1], BANDS, 60.0, 7600.0)
    level = 10 * np.log10(power @ filters.T + 1e-9)
    return level.reshape(len(chunk) // RATE_HZ // COLUMN_S, -1, BANDS).max(axis=1).T


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the night, detect, draw, and print the events."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a model folder (default: that of detect)")
    parser.add_argument("--out", type=Path, default=Path("docs/night.png"))
    parser.add_argument("--seed", type=int, default=6)
    options = parser.parse_args(arguments)
    night = plan(np.random.default_rng(options.seed))
    levels = []

    def heard() -> Iterator[np.ndarray]:
        for chunk in chunks(night, options.seed):
            levels.append(band_levels(chunk))
            yield chunk

    detector = load_detector(options.model)
    detector.speed_up()
    if detector.decision is None:
        parser.error(f"{options.model}: the model is not calibrated and has no rule for events")
    scores = detector.decision.calibration(detector.score_stream(heard()))
    events = merge_events(scores, float(HOURS * 3600), detector.decision.rated(None).rule)
    draw(options.out, np.concatenate(levels, axis=1), scores, events, night)
    for sound in night:
        print(f"{clock(sound.start_s):%H:%M:%S} {sound.seconds:4d} s {sound.kind}")
    for event in events:
        print(f"event {clock(event.onset_s):%H:%M:%S} to {clock(event.offset_s):%H:%M:%S}")
    return 0


def clock(second: float) -> datetime:
    """What the clock shows ``second`` s after bedtime."""
    return BEDTIME + timedelta(seconds=second)


def draw(
    path: Path,
    levels: np.ndarray,
    scores: np.ndarray,
    events: Sequence[DetectedEvent],
    night: Sequence[Sound],
) -> None:
    """Band levels [bands, columns], probabilities [seconds], events and the truth, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import dates
    from matplotlib import pyplot as plt

    figure, (band, curve, spans) = plt.subplots(
        3, 1, figsize=(11, 5), sharex=True, height_ratios=(2.2, 2, 1), layout="constrained"
    )
    ends = dates.date2num([BEDTIME, clock(HOURS * 3600)])
    band.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(*ends, 0, BANDS),
        cmap="magma",
        vmin=np.quantile(levels, 0.02),
        vmax=np.quantile(levels, 0.998),
    )
    band.set(ylabel="mel bands\n60 Hz to 7.6 kHz", yticks=[])
    columns = scores.reshape(-1, COLUMN_S).max(axis=1)
    times = [clock(COLUMN_S * number) for number in range(len(columns))]
    curve.fill_between(times, columns, step="post", color="#2563eb", linewidth=0)
    curve.set(ylabel="probability\nof a cry", ylim=(0, 1.02), yticks=[0, 0.5, 1])
    rows = [("event", [(e.onset_s, e.offset_s) for e in events], "#dc2626")]
    for name, wanted, colour in (("crying", True, "#111827"), ("other sound", False, "#9ca3af")):
        lengths = [(s.start_s, s.start_s + s.seconds) for s in night]
        kept = [(s.kind == "cry") is wanted for s in night]
        rows.append((name, [x for x, keep in zip(lengths, kept, strict=True) if keep], colour))
    for height, (_, parts, colour) in enumerate(reversed(rows)):
        bars = [(dates.date2num(clock(a)), max(b - a, 40) / 86_400) for a, b in parts]
        spans.broken_barh(bars, (height + 0.15, 0.7), facecolors=colour)
    spans.set(yticks=[0.5, 1.5, 2.5], yticklabels=[name for name, *_ in reversed(rows)])
    spans.set(ylim=(0, 3), xlim=ends)
    spans.xaxis.set_major_locator(dates.HourLocator())
    spans.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    for axes in (band, curve, spans):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
