"""The finder of duplicates: copies are found whatever was done to them, other sounds are not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from crywatch.audio.decode import decode
from crywatch.audio.segments import RATE_HZ
from crywatch.audio.waves.resampling import resample
from crywatch.data.split.duplicates import Comparison, covered, describe, find_pairs, similarity
from tests.helpers.generated import generated
from tests.helpers.split_cases import beeps, clips_table, cry_like, noise, recoded, row, ticks, tone

THRESHOLD, EVIDENCE = 0.8, 16.0  # as in conf/stage/split.yaml
CORPORA = Path(os.environ.get("CRYWATCH_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))


def _found(folder: Path, waves: dict[str, np.ndarray]) -> dict[tuple[str, str], bool]:
    """Whether it is a duplicate, for each pair that shares sound."""
    clips = clips_table([row(folder, f"toy/{name}", wave) for name, wave in waves.items()])
    names = list(waves)
    pairs = list(find_pairs(clips, THRESHOLD, EVIDENCE))
    assert all(0.0 <= pair.similarity <= 1.0 for pair in pairs)
    return {(names[pair.first], names[pair.second]): pair.duplicate for pair in pairs}


@pytest.mark.parametrize(
    ("kind", "rate_hz"),
    [("ogg", 44_100), ("ogg", 22_050), ("mp3", 16_000), ("mp3", 44_100), ("wav", 8_000)],
)
@pytest.mark.parametrize("sound", [cry_like, noise])
def test_recoded_copy_is_found(tmp_path, sound, kind, rate_hz):
    wave = sound(1)
    copy = recoded(wave, tmp_path, kind, rate_hz)
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
    copy = recoded(0.2 * np.pad(wave, (4000, 0)), tmp_path, "mp3", 8_000)
    assert _found(tmp_path, {"a": wave, "copy": copy}) == {("a", "copy"): True}


def test_other_sounds_are_no_duplicates(tmp_path):
    waves = {
        f"{make.__name__}{seed}": make(seed)
        for make in (cry_like, noise, tone, ticks, beeps)
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


def test_a_common_beginning_is_an_overlap(tmp_path):
    first = cry_like(1, 24.0)
    second = np.concatenate([first[: 10 * RATE_HZ], cry_like(2, 14.0)])
    assert _found(tmp_path, {"a": first, "b": second}) == {("a", "b"): False}


def test_an_excerpt_is_an_overlap_and_with_silence_a_duplicate(tmp_path):
    wave = cry_like(1, 10.0)
    cut = wave[4 * RATE_HZ : 7 * RATE_HZ]
    assert _found(tmp_path, {"a": wave, "cut": cut}) == {("a", "cut"): False}
    padded = np.pad(cut, (2 * RATE_HZ, 5 * RATE_HZ))
    assert _found(tmp_path, {"cut": cut, "padded": padded}) == {("cut", "padded"): True}


def test_windows_that_slide_by_a_second_are_overlaps(tmp_path):
    """Else all of a recording that is cut so (baby_cry_detection's are) would be one clip."""
    wave = cry_like(1, 7.0)
    cuts = {str(n): wave[n * RATE_HZ : (n + 5) * RATE_HZ] for n in range(3)}
    assert _found(tmp_path, cuts) == {("0", "1"): False, ("0", "2"): False, ("1", "2"): False}


def test_a_mixture_of_the_same_length_is_an_overlap(tmp_path):
    one, other = cry_like(1, 6.0), cry_like(2, 6.0)
    waves = {"one": one, "other": other, "mixture": one + 0.9 * other}
    found = {("one", "mixture"): False, ("other", "mixture"): False}
    assert _found(tmp_path, waves) == found


@pytest.mark.parametrize("seed", [1, 7])
def test_short_cries_of_like_voices_share_nothing(tmp_path, seed):
    generated("cryceleb", tmp_path, seed, 8)
    waves = {}
    for path in sorted((tmp_path / "audio").rglob("*.wav")):
        decoded = decode(path)
        waves[path.stem] = resample(decoded.wave, decoded.rate_hz, RATE_HZ)
    assert len(waves) > 40
    assert _found(tmp_path, waves) == {}


def test_a_very_short_sound_in_silence_has_its_copy(tmp_path):
    """Two of ESC-50's barks last a tenth of a second."""
    silence = np.zeros(4 * RATE_HZ, np.float32)
    waves = {str(n): np.concatenate([cry_like(n, 0.25), silence]) for n in range(6)}
    waves["copy"] = recoded(0.5 * waves["3"], tmp_path, "ogg", 22_050)
    assert _found(tmp_path, waves) == {("3", "copy"): True}


def _described(wave: np.ndarray) -> np.ndarray:
    return describe(iter([wave]))


def test_similarity_is_the_normalised_correlation():
    first, second = _described(cry_like(1)), _described(cry_like(1)[1600:])
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)

    def slow(shift: int) -> float:
        one = first[:, max(shift, 0) : max(shift, 0) + second.shape[1]]
        other = second[:, max(-shift, 0) :]
        frames = min(one.shape[1], other.shape[1])
        return float((one[:, :frames] * other[:, :frames]).sum())

    best = max(slow(shift) for shift in range(-380, 390))
    assert best == slow(10) > 0.9
    assert similarity(first, second) == pytest.approx(best, abs=1e-5)
    assert similarity(second, first) == pytest.approx(best, abs=1e-5)
    assert similarity(first, second, 12) == pytest.approx(best, abs=1e-5)
    assert similarity(second, first, -12) == pytest.approx(best, abs=1e-5)
    around = max(slow(shift) for shift in range(200 - 6, 200 + 7))
    assert similarity(first, second, 200) == pytest.approx(max(around, 0.0), abs=1e-5)


def test_described_in_blocks_is_described_at_once(monkeypatch):
    wave = cry_like(1, 3.0)
    blocks = [wave[start : start + 16_000 + 480] for start in range(0, len(wave), 16_000)]
    np.testing.assert_allclose(describe(iter(blocks)), _described(wave), atol=1e-6)


def test_covered_counts_what_sounds():
    first, second = np.ones((2, 100)), np.ones((2, 100))
    second[:, 50:] = 0
    assert covered(first, first, 0) == 1.0
    assert covered(first, first, 20) == pytest.approx(0.8)
    assert covered(first, first, 300) == 0.0
    assert covered(first[:, :50], second, 0) == 1.0
    assert covered(first, second, 50) == pytest.approx(0.5)


def _esc50_key(name: str) -> str | None:
    match = re.match(r"^(\d-\d+-[A-Z])", name)
    return match.group(1) if match else None


def test_esc50_cries_in_baby_cry_detection(tmp_path):
    """All ESC-50 cries are found under their other names, and nothing else is taken for a copy.

    What else shares sound is cut from one recording, but for two pairs of ESC-50 itself.
    """
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
    found = {(pair.first, pair.second) for pair in pairs if pair.duplicate}
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

    names = [file.name for file in files]
    recordings = [
        key or re.sub(r"_\d+\.wav$", "", name) for key, name in zip(keys, names, strict=True)
    ]
    across = {
        tuple(sorted((recordings[pair.first], recordings[pair.second])))
        for pair in pairs
        if recordings[pair.first] != recordings[pair.second]
    }
    # Uploads of one day: one begins 0.64 s into the other, in another of ESC-50's folds.
    assert across - {("2-28314-A", "2-30322-A"), ("2-28314-B", "2-30322-B")} == {
        ("3-151080-A", "5-151085-A")
    }


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
