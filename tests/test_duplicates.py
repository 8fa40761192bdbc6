"""The finder of duplicates: copies are found whatever was done to them, other sounds are not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from crywatch.audio import decode, resample
from crywatch.segments import RATE_HZ
from crywatch.split.duplicates import Comparison, describe, find_pairs, similarity
from split_cases import clips_table, cry_like, noise, row, tone

THRESHOLD, EVIDENCE = 0.8, 16.0  # as in conf/split.yaml
CORPORA = Path(os.environ.get("CRYWATCH_CORPORA", Path(__file__).parents[2] / "shared" / "corpora"))


def _found(folder: Path, waves: dict[str, np.ndarray]) -> dict[tuple[str, str], bool]:
    """Whether it is a duplicate, for each pair that shares sound."""
    clips = clips_table([row(folder, f"toy/{name}", wave) for name, wave in waves.items()])
    names = list(waves)
    pairs = list(find_pairs(clips, THRESHOLD, EVIDENCE))
    assert all(0.0 <= pair.similarity <= 1.0 for pair in pairs)
    return {(names[pair.first], names[pair.second]): pair.duplicate for pair in pairs}


def _recoded(wave: np.ndarray, folder: Path, kind: str, rate_hz: int) -> np.ndarray:
    path = folder / f"copy.{kind}"
    coding = {"ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III"), "wav": ("WAV", "PCM_16")}
    file_format, subtype = coding[kind]
    if file_format not in soundfile.available_formats():
        pytest.skip(f"this libsndfile has no {file_format}")
    there = soxr.resample(wave, RATE_HZ, rate_hz)
    soundfile.write(path, there, rate_hz, format=file_format, subtype=subtype)
    back = decode(path)
    return resample(back.wave, back.rate_hz, RATE_HZ)


@pytest.mark.parametrize(
    ("kind", "rate_hz"),
    [("ogg", 44_100), ("ogg", 22_050), ("mp3", 16_000), ("mp3", 44_100), ("wav", 8_000)],
)
@pytest.mark.parametrize("sound", [cry_like, noise])
def test_recoded_copy_is_found(tmp_path, sound, kind, rate_hz):
    wave = sound(1)
    copy = _recoded(wave, tmp_path, kind, rate_hz)
    assert _found(tmp_path, {"a": wave, "other": sound(2), "copy": copy}) == {("a", "copy"): True}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda wave: 0.05 * wave, id="26 dB softer"),
        pytest.param(lambda wave: -wave, id="inverted"),
        pytest.param(lambda wave: wave[round(0.5 * RATE_HZ) :], id="begins 0.5 s later"),
        pytest.param(lambda wave: np.pad(wave, (round(0.5 * RATE_HZ), 0)), id="0.5 s of nothing"),
        pytest.param(lambda wave: np.pad(wave, (3000, 5000)), id="padded at both ends"),
        pytest.param(lambda wave: wave[: -round(0.5 * RATE_HZ)], id="ends early"),
    ],
)
def test_changed_copy_is_found(tmp_path, change):
    wave = cry_like(1)
    waves = {"a": wave, "other": cry_like(2), "copy": change(wave)}
    assert _found(tmp_path, waves) == {("a", "copy"): True}


def test_everything_at_once_is_found(tmp_path):
    wave = cry_like(1)
    copy = _recoded(0.2 * np.pad(wave, (4000, 0)), tmp_path, "mp3", 8_000)
    assert _found(tmp_path, {"a": wave, "copy": copy}) == {("a", "copy"): True}


def test_other_sounds_are_no_duplicates(tmp_path):
    waves = {
        f"{make.__name__}{seed}": make(seed)
        for make in (cry_like, noise, tone)
        for seed in range(6)
    }
    assert _found(tmp_path, waves) == {}


def test_takes_of_one_recording_are_no_duplicates(tmp_path):
    recording = cry_like(7, seconds=12.0)
    takes = {f"take{k}": recording[k * 64_000 : (k + 1) * 64_000] for k in range(3)}
    assert _found(tmp_path, takes) == {}


def test_silence_is_a_duplicate_by_its_samples_only(tmp_path):
    silence = np.zeros(32_000, np.float32)
    faint = np.random.default_rng(0).choice([-1, 0, 1], (2, 32_000)).astype(np.float32) / 32_767
    waves = {"a": silence, "b": silence, "longer": np.zeros(48_000, np.float32)}
    waves |= {"faint1": faint[0], "faint2": faint[1]}
    assert _found(tmp_path, waves) == {("a", "b"): True}


def test_equal_samples_are_found_with_full_similarity(tmp_path):
    wave = noise(3, seconds=0.3)
    clips = clips_table([row(tmp_path, f"toy/{name}", wave) for name in "ab"])
    pairs = list(find_pairs(clips, THRESHOLD, EVIDENCE))
    assert {(pair.first, pair.second) for pair in pairs} == {(0, 1)}
    assert max(pair.similarity for pair in pairs) == 1.0


def test_clips_shorter_than_a_frame_and_of_one_clip(tmp_path):
    assert _found(tmp_path, {"a": noise(1, seconds=0.01)}) == {}
    assert _found(tmp_path, {"a": noise(1, 0.01), "b": noise(2)}) == {}


def test_similarity_is_the_normalised_correlation_at_the_best_shift():
    first, second = describe(cry_like(1)), describe(cry_like(1)[1600:])
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    slow = max(
        float(
            (
                first[:, max(s, 0) : first.shape[1] + min(s, 0)]
                * second[:, max(-s, 0) : second.shape[1] + min(-s, 0)]
            ).sum()
        )
        for s in range(-60, 61)
    )
    assert similarity(first, second) == pytest.approx(slow, abs=1e-5)
    assert similarity(second, first) == pytest.approx(slow, abs=1e-5)


def _esc50_key(name: str) -> str | None:
    match = re.match(r"^(\d-\d+-[A-Z])", name)
    return match.group(1) if match else None


def test_esc50_cries_in_baby_cry_detection(tmp_path):
    """All ESC-50 cries are found under their other names, and nothing else is taken for a copy."""
    esc50 = CORPORA / "esc50/ESC-50-master/audio"
    other = CORPORA / "baby_cry_detection/baby_cry_detection-master/data"
    if not esc50.is_dir() or not other.is_dir():
        pytest.skip(f"no corpora in {CORPORA} (set CRYWATCH_CORPORA)")
    cries = sorted(esc50.glob("*-20.wav"))
    noises = sorted(esc50.glob("*-1[0-2].wav"))
    folders = (other / "301 - Crying baby", other / "902 - Noise", other / "901 - Silence")
    others = [sorted(folder.iterdir()) for folder in folders]
    files = cries + noises[::4] + others[0] + others[1][::4] + others[2][::8]

    rows = []
    for number, file in enumerate(files):
        decoded = decode(file)
        wave = resample(decoded.wave, decoded.rate_hz, RATE_HZ)
        rows.append(row(tmp_path, f"toy/{number}", wave, source_path=file.as_posix()))
    pairs = list(find_pairs(clips_table(rows), THRESHOLD, EVIDENCE))

    keys = [_esc50_key(file.name) for file in files]
    found = {(pair.first, pair.second) for pair in pairs}
    n_cries = len(cries)
    expected = {
        (i, j) for i in range(n_cries) for j in range(n_cries, len(files)) if keys[i] == keys[j]
    }
    assert len(expected) == n_cries > 0, "every ESC-50 cry has its copy in baby_cry_detection"
    assert found >= expected
    wrong = [
        (files[i].name, files[j].name) for i, j in found if keys[i] is None or keys[i] != keys[j]
    ]
    # ESC-50 itself holds this fire twice (correlation of the waveforms 0.97).
    assert [pair for pair in wrong if "2-28314-A" not in pair[0]] == []


def test_generated_tones_are_duplicates_by_their_samples_only(tmp_path):
    """A tone without any noise has no fluctuation of its own that could be compared."""
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    first, second = (0.3 * np.sin(2 * np.pi * 441 * t + phase) for phase in (0, 1))
    assert _found(tmp_path, {"a": first, "b": second}) == {}
    assert _found(tmp_path, {"a": first, "b": first}) == {("a", "b"): True}


def test_two_clips_are_compared_when_asked(tmp_path):
    sound = cry_like(1, 2.0)
    rows = [row(tmp_path, f"a/{n}", wave) for n, wave in enumerate((sound, sound, sound * 0.5))]
    rows.append(row(tmp_path, "a/3", noise(1, 2.0)))
    compare = Comparison(clips_table(rows))
    assert compare(0, 1) == 1.0
    assert 0.95 < compare(0, 2) <= 1.0
    assert 0.0 <= compare(0, 3) < 0.5
