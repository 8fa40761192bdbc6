"""Clips that share sound, at any offset, below other sounds and after any codec.

A clip becomes a constellation: the local maxima of its spectrogram below 3.4 kHz, where the level
moves; a steady tone has none. Neighbouring maxima, paired, are the keys of an inverted index; two
clips that agree in several keys at one offset are candidates (A. Wang, "An Industrial-Strength
Audio Search Algorithm", ISMIR 2003).

A candidate is judged by all maxima at its offset: the evidence is the sum of log-odds (nats) over
the best run of time, in which a maximum that the other clip has too speaks for shared sound and
one that it lacks against it (S. Karlin, S. Altschul, PNAS 87, 1990, on maximal segments), less
the same sum at the best of many other offsets: what repeats (ticks, beeps, a hum, the arches of a
voice) agrees there too and proves little. What happens at one instant (harmonics, a click) counts
as one event.

Memory: 35 maxima and 180 keys a second of sound, measured on the corpora, stay as 1.2 kB a second;
while they are sorted it is 4 kB. Keys that are common are left out, which bounds the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import clean_blocks
from crywatch.core.progress import progress

N_FFT = 1024  # 64 ms
HOP = 256  # 16 ms; `WINDOW` frames are a whole number of seconds
LOW_BIN, HIGH_BIN = 10, 218  # 156 Hz to 3.4 kHz, 15.6 Hz apart
WINDOW = 3750  # frames; 60 s, what is indexed as one piece
APART_FRAMES, APART_BINS = 5, 8  # no higher value within so much of a maximum
RISE_DB = 1.5  # above the lowest value at that frequency, as near; steady tones have less
FLOOR_DB = 60.0  # below the piece's loudest value; what is no higher than 6 dB above is no maximum
FLOOR_DBFS = -80.0  # and the amplitude of a sine below which nothing is

TARGETS = 6  # maxima that one is paired with: the next ones in the zone
ZONE_FRAMES, ZONE_BINS = 40, 40  # the zone: later by less than 0.64 s, within 625 Hz
KEYS = (HIGH_BIN - LOW_BIN) * 2 * ZONE_BINS * ZONE_FRAMES
COMMON = 1000  # a key that occurs more often is not looked up
VOTES = 4  # keys at one offset (two frames wide) that make a candidate
OFFSETS = 3  # judged of a pair of pieces, those of the most votes
SPAN = 1 << 13  # more than two pieces' frames

LIKELY = 0.4  # of a maximum to be found again in shared sound
CHANCE = 0.06  # of being found by chance, at least
# Offsets beside the one that is judged, in frames: 0.08 to 2 s.
DECOYS = np.array([sign * frames for frames in range(5, 125, 3) for sign in (-1, 1)])
INSTANT = 3  # frames that count as one event
EVENT_NATS = 3.0  # of one event, for or against, at most
SAME_OFFSET = 3  # frames
CONTAINED = 0.65  # of a clip's maxima found in the other: less evidence will do


@dataclass(frozen=True)
class Landmarks:
    """The maxima of one piece, in the order of time."""

    frames: np.ndarray  # [maxima] uint16
    bins: np.ndarray  # [maxima] uint8, from LOW_BIN
    n_frames: int


@dataclass(frozen=True)
class Match:
    """What two pieces share at one offset."""

    offset: int  # frames, at which the second begins on the clock of the first
    evidence: float  # nats, above the most that any other offset gives
    shared: int  # frames, from the first to the last event of the best run
    found: int  # maxima of the one piece that the other has too, in the run or not


@dataclass(frozen=True)
class Shared:
    """Two clips (row numbers) that may share sound."""

    first: int
    second: int
    offset_s: float  # at which the second begins on the clock of the first
    shared_s: float
    evidence: float  # nats
    whole: float  # maxima found in both, as a share of those of the richer clip, 0..1
    part: float  # and of the poorer clip


def landmarks(wave: np.ndarray) -> Landmarks:
    """The constellation of ``wave`` [samples] at 16 kHz; empty for silence and steady tones."""
    import scipy.fft
    from scipy.ndimage import maximum_filter1d, minimum_filter1d

    if len(wave) < N_FFT:
        wave = np.pad(wave, (0, N_FFT - len(wave)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, N_FFT)[::HOP]
    window = np.hanning(N_FFT).astype(np.float32)
    spectrum = scipy.fft.rfft(frames * window, axis=1)[:, LOW_BIN:HIGH_BIN]
    power = spectrum.real**2 + spectrum.imag**2
    faintest = (N_FFT / 4 * 10 ** (FLOOR_DBFS / 20)) ** 2
    floor = max(float(power.max()) * 10 ** (-FLOOR_DB / 10), faintest)
    # In float64, and then as both processors round it.
    level = (10 * np.log10((power + floor).astype(np.float64))).astype(np.float32)
    lowest = minimum_filter1d(level, 2 * APART_FRAMES + 1, axis=0, mode="nearest")
    highest = maximum_filter1d(level, 2 * APART_FRAMES + 1, axis=0, mode="nearest")
    highest = maximum_filter1d(highest, 2 * APART_BINS + 1, axis=1, mode="nearest")
    moving = level > lowest + RISE_DB
    at, bins = np.nonzero((level >= highest) & moving & (power > 4 * floor))
    return Landmarks(at.astype(np.uint16), bins.astype(np.uint8), len(frames))


def _keys(marks: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """Keys [pairs] int32 (below `KEYS`) and the frame [pairs] uint16 of each pair's first."""
    at, bins = marks.frames.astype(np.int32), marks.bins.astype(np.int32)
    paired = np.zeros(len(at), dtype=np.int32)
    keys, frames = [np.zeros(0, np.int32)], [np.zeros(0, np.uint16)]
    for step in range(1, len(at)):
        later, higher = at[step:] - at[:-step], bins[step:] - bins[:-step]
        if later.min() >= ZONE_FRAMES:
            break
        fits = (later > 0) & (later < ZONE_FRAMES) & (np.abs(higher) < ZONE_BINS)
        firsts = np.flatnonzero(fits & (paired[:-step] < TARGETS))
        paired[firsts] += 1
        zone = bins[firsts] * 2 * ZONE_BINS + higher[firsts] + ZONE_BINS
        key = zone * ZONE_FRAMES + later[firsts]
        keys.append(key)
        frames.append(marks.frames[firsts])
    return np.concatenate(keys), np.concatenate(frames)


class _Index:
    """Key -> the pieces and frames that have it."""

    def __init__(self, pieces: Sequence[Landmarks]):
        keys, frames, owners = [np.zeros(0, np.int32)], [np.zeros(0, np.uint16)], []
        for marks in pieces:
            key, frame = _keys(marks)
            keys.append(key)
            frames.append(frame)
            owners.append(len(key))
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        self._starts = np.zeros(KEYS + 1, dtype=np.int64)
        np.cumsum(np.bincount(key, minlength=KEYS), out=self._starts[1:])
        self._frames = np.concatenate(frames)[order]
        self._owners = np.repeat(np.arange(len(pieces), dtype=np.int32), owners)[order]

    def candidates(self, marks: Landmarks, after: int) -> dict[int, list[int]]:
        """Offsets to judge, by piece, of the pieces from number ``after`` on."""
        keys, frames = _keys(marks)
        start = self._starts[keys]
        count = self._starts[keys + 1] - start
        count[count > COMMON] = 0
        own = np.repeat(np.arange(len(keys)), count)
        hits = np.arange(len(own)) - np.repeat(np.cumsum(count) - count, count) + start[own]
        others = self._owners[hits]
        later = others >= after
        hits, own = hits[later], own[later]
        offset = frames[own].astype(np.int64) - self._frames[hits] + SPAN // 2
        place, votes = np.unique(others[later] * np.int64(SPAN) + offset, return_counts=True)
        together = votes.copy()
        beside = np.flatnonzero(np.diff(place) == 1)
        together[beside] += votes[beside + 1]
        pairs = np.flatnonzero(together >= VOTES)
        partners: dict[int, list[int]] = defaultdict(list)
        for one in pairs[np.argsort(-together[pairs], kind="stable")].tolist():
            offsets = partners[int(place[one]) // SPAN]
            if len(offsets) < OFFSETS:
                offsets.append(int(place[one]) % SPAN - SPAN // 2)
        return dict(sorted(partners.items()))


def match(first: Landmarks, second: Landmarks, offset: int, least: float = 0.0) -> Match:
    """The evidence that both share sound where ``second`` begins at ``offset`` of ``first``.

    Each one's maxima are looked for in the other; the better answer counts, because a mixture has
    maxima that its parts lack. Less than ``least`` nats may be told as none, which is quicker.
    """
    best = _look_for(first, second, offset, least)
    other = _look_for(second, first, -offset, least)
    if other.evidence > best.evidence:
        return replace(other, offset=-other.offset)
    return best


def _look_for(marks: Landmarks, other: Landmarks, offset: int, least: float) -> Match:
    nothing = Match(offset, 0.0, 0, 0)
    at = marks.frames.astype(np.int64) - offset
    inside = (at >= 0) & (at < other.n_frames)
    at, bins = at[inside], marks.bins[inside].astype(np.int64) + 1
    if not len(at):
        return nothing
    # The other's maxima, a frame and a bin wider on each side, with a margin for the decoys.
    margin = int(DECOYS.max()) + SAME_OFFSET
    there = np.zeros((other.n_frames + 2 * margin, HIGH_BIN - LOW_BIN + 2), dtype=bool)
    for later in (-1, 0, 1):
        for higher in (0, 1, 2):
            there[other.frames.astype(np.int64) + margin + later, other.bins + higher] = True
    near = np.array(sorted(range(-2, 3), key=abs))
    best = int(near[np.argmax(there[at + near[:, None] + margin, bins].sum(axis=1))])
    at = at + best
    events, starts = np.unique(at // INSTANT, return_index=True)

    def sums(matches: np.ndarray, within: np.ndarray, chance: float) -> np.ndarray:
        """[offsets, events + 1] log-odds up to each event."""
        nats = np.where(matches, np.log(LIKELY / chance), np.log((1 - LIKELY) / (1 - chance)))
        of_event = np.add.reduceat(np.where(within, nats, 0.0), starts, axis=1)
        total = np.zeros((len(matches), len(events) + 1))
        np.cumsum(np.clip(of_event, -EVENT_NATS, EVENT_NATS), axis=1, out=total[:, 1:])
        return total

    matches = there[at + margin, bins][None]
    if _rise(sums(matches, matches | True, CHANCE)).max() < least:
        return nothing

    # The first row is the offset itself, the others tell what chance can do.
    moved = at + np.concatenate([[0], DECOYS])[:, None]
    within = (moved >= 0) & (moved < other.n_frames)
    matches = there[np.where(within, moved, 0) + margin, bins] & within
    usable = within.sum(axis=1) >= max(3, 0.3 * len(at))
    usable[0] = False
    chance = CHANCE
    if usable.any():
        rates = matches[usable].sum(axis=1) / within[usable].sum(axis=1)
        chance = max(chance, float(np.median(rates)))
    if chance >= 0.9 * LIKELY:
        return nothing
    total = sums(matches, within, chance)
    rise = _rise(total)
    end = int(np.argmax(rise[0]))
    evidence = round(float(rise[0, end] - rise[1:].max()), 6)
    if evidence <= 0:
        return nothing
    begin = int(np.argmin(total[0, :end]))
    shared = int(events[end - 1] - events[begin] + 1) * INSTANT
    return Match(offset - best, evidence, shared, int(matches[0].sum()))


def _rise(total: np.ndarray) -> np.ndarray:
    """How far the running sums [offsets, events + 1] are above their lowest value so far."""
    return total - np.minimum.accumulate(total, axis=1)


def find_shared(paths: Sequence[str], evidence: float) -> Iterator[Shared]:
    """Pairs of cleaned clips that share sound by ``evidence`` (nats); each clip is read once.

    Short sounds cannot give so much: half will do where most of the poorer clip's maxima are found
    in the other, and a quarter where most of both are; the caller has to confirm the latter.

    Clips longer than a minute are indexed in pieces of a minute, whose evidence at one offset is
    added up.
    """
    pieces: list[Landmarks] = []
    first_piece = [0]
    for path in progress(paths, "landmarks", unit="clip"):
        # The last frames of a piece reach into the next one.
        blocks = clean_blocks(path, WINDOW * HOP, N_FFT - HOP)
        pieces += [landmarks(block) for block in blocks]
        first_piece.append(len(pieces))
    index = _Index(pieces)
    clip_of = np.repeat(np.arange(len(paths)), np.diff(first_piece))
    sizes = [len(marks.frames) for marks in pieces]
    counts = np.bincount(clip_of, sizes, minlength=len(paths)).astype(int)

    for clip in progress(range(len(paths)), "shared sound", unit="clip"):
        matches: dict[int, list[tuple[Match, int, int]]] = defaultdict(list)
        for number in range(first_piece[clip], first_piece[clip + 1]):
            start = (number - first_piece[clip]) * WINDOW
            candidates = index.candidates(pieces[number], first_piece[clip + 1])
            for other, offsets in candidates.items():
                second = int(clip_of[other])
                other_start = (other - first_piece[second]) * WINDOW
                for offset in offsets:
                    matched = match(pieces[number], pieces[other], offset, evidence / 4)
                    clip_offset = matched.offset + start - other_start
                    matches[second].append((matched, clip_offset, number * len(pieces) + other))
        for second in sorted(matches):
            shared = _join(clip, second, matches[second], sorted(counts[[clip, second]].tolist()))
            needed = evidence
            if shared.part >= CONTAINED:
                needed = evidence / (4 if shared.whole >= CONTAINED else 2)
            if shared.evidence >= needed:
                yield shared


def _join(
    first: int, second: int, matches: Sequence[tuple[Match, int, int]], counts: Sequence[int]
) -> Shared:
    """The matches of two clips' pieces at the offset of the best one, each pair of pieces once."""
    ranked = sorted(matches, key=lambda entry: -entry[0].evidence)
    offset = ranked[0][1]
    parts: dict[int, Match] = {}
    for matched, clip_offset, pieces in ranked:
        if abs(clip_offset - offset) <= SAME_OFFSET:
            parts.setdefault(pieces, matched)
    n_found = sum(part.found for part in parts.values())
    poorer, richer = (max(count, 1) for count in counts)
    return Shared(
        first,
        second,
        offset_s=offset * HOP / RATE_HZ,
        shared_s=sum(part.shared for part in parts.values()) * HOP / RATE_HZ,
        evidence=sum(part.evidence for part in parts.values()),
        whole=min(n_found / richer, 1.0),
        part=min(n_found / poorer, 1.0),
    )
