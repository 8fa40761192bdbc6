"""Landmarks: shared sound is found at any offset, below other sounds, after a codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.cleaned import write_flac
from crywatch.data.split import landmarks
from crywatch.data.split.landmarks import HOP, Shared, find_shared, match
from tests.helpers.split_cases import beeps, cry_like, noise, recoded, ticks, tone

EVIDENCE = 16.0  # as in conf/stage/split.yaml


def _shared(folder: Path, *waves: np.ndarray) -> list[Shared]:
    paths = []
    for number, wave in enumerate(waves):
        paths.append(str(folder / f"{number}.flac"))
        write_flac(paths[-1], wave)
    return list(find_shared(paths, EVIDENCE))


def _at(wave: np.ndarray, start_s: float, seconds: float) -> np.ndarray:
    return wave[round(start_s * RATE_HZ) : round((start_s + seconds) * RATE_HZ)]


def _mixed(sound: np.ndarray, background: np.ndarray, at_s: float, snr_db: float) -> np.ndarray:
    """``sound`` from ``at_s`` over ``background``, of the given ratio of the mean powers."""
    gain = np.sqrt(np.mean(sound**2) / np.mean(background**2)) * 10 ** (-snr_db / 20)
    wave = gain * background
    start = round(at_s * RATE_HZ)
    wave[start : start + len(sound)] += sound
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def test_an_excerpt_is_found_where_it_was(tmp_path):
    wave = cry_like(1, 10.0)
    (found,) = _shared(tmp_path, wave, cry_like(2, 10.0), 0.2 * _at(wave, 4.0, 3.0))
    assert (found.first, found.second) == (0, 2)
    assert found.offset_s == pytest.approx(4.0, abs=0.03)
    assert found.shared_s == pytest.approx(3.0, abs=0.5)
    assert found.part > 0.65 > found.whole


@pytest.mark.parametrize("snr_db", [10.0, 5.0])
@pytest.mark.parametrize("other", [noise, cry_like])
def test_a_mixture_is_found(tmp_path, other, snr_db):
    sound = cry_like(1, 4.0)
    mixture = _mixed(sound, other(9, 10.0), 3.0, snr_db)
    (found,) = _shared(tmp_path, mixture, noise(3, 10.0), cry_like(2, 10.0), sound)
    assert (found.first, found.second) == (0, 3)
    assert found.offset_s == pytest.approx(3.0, abs=0.03)


@pytest.mark.parametrize(("kind", "rate_hz"), [("ogg", 22_050), ("mp3", 16_000), ("wav", 8_000)])
def test_a_recoded_excerpt_in_a_mixture_is_found(tmp_path, kind, rate_hz):
    wave = cry_like(1, 10.0)
    copy = recoded(_mixed(_at(wave, 4.0, 4.0), noise(9, 8.0), 2.0, 10.0), tmp_path, kind, rate_hz)
    (found,) = _shared(tmp_path, wave, cry_like(2), copy)
    assert (found.first, found.second) == (0, 2)
    assert found.offset_s == pytest.approx(2.0, abs=0.15)  # a codec may add silence


@pytest.mark.parametrize("make", [cry_like, noise, tone, ticks, beeps])
def test_sounds_of_one_kind_share_nothing(tmp_path, make):
    found = _shared(tmp_path, *(make(seed) for seed in range(8)))
    # A quarter of the evidence is for copies only, which similarity has to confirm.
    assert [shared for shared in found if shared.evidence >= EVIDENCE / 2] == []


def test_what_has_nothing_that_moves_has_no_landmarks():
    steady = 0.3 * np.sin(2 * np.pi * 441 * np.arange(RATE_HZ) / RATE_HZ)
    for wave in (np.zeros(RATE_HZ), steady, 1e-6 * noise(1, 1.0), np.zeros(0), np.zeros(10)):
        assert len(landmarks.landmarks(wave.astype(np.float32)).frames) == 0


def test_evidence_grows_with_what_is_shared_and_is_symmetric():
    whole = landmarks.landmarks(cry_like(1, 8.0))
    parts = [landmarks.landmarks(cry_like(1, 8.0)[: n * RATE_HZ]) for n in (1, 2, 4, 8)]
    evidence = [match(whole, part, 0).evidence for part in parts]
    assert evidence == sorted(evidence) and evidence[0] > EVIDENCE
    moved = landmarks.landmarks(cry_like(1, 8.0)[100 * HOP :])
    there, back = match(whole, moved, 100), match(moved, whole, -100)
    assert (there.offset, back.offset) == (100, -100)
    assert there.evidence == pytest.approx(back.evidence)
    assert match(whole, moved, 300).evidence < EVIDENCE


def test_long_clips_are_indexed_in_pieces(tmp_path, monkeypatch):
    """A section over a border of pieces counts as a whole, at the clip's own time."""
    wave = cry_like(1, 12.0)
    waves = (noise(5, 3.0), wave, _at(wave, 4.3, 6.0), noise(6, 0.2))
    (whole,) = _shared(tmp_path, *waves)
    monkeypatch.setattr(landmarks, "WINDOW", 125)  # 2 s
    (pieces,) = _shared(tmp_path, *waves)
    assert (pieces.first, pieces.second) == (whole.first, whole.second) == (1, 2)
    assert pieces.offset_s == pytest.approx(4.3, abs=0.03)
    # Seven pairs of pieces share something, of which the shortest may show too little.
    assert whole.shared_s == pytest.approx(6.0, abs=0.5)
    assert 4.0 < pieces.shared_s < 6.5


def test_keys_that_are_too_common_are_not_looked_up(tmp_path, monkeypatch):
    wave = cry_like(1)
    assert len(_shared(tmp_path, wave, 0.5 * wave)) == 1
    monkeypatch.setattr(landmarks, "COMMON", 1)  # each key of a copy occurs twice
    assert _shared(tmp_path, wave, 0.5 * wave) == []


def test_few_clips(tmp_path):
    assert _shared(tmp_path) == []
    assert _shared(tmp_path, cry_like(1)) == []
    assert _shared(tmp_path, np.zeros(100, np.float32), np.zeros(100, np.float32)) == []
