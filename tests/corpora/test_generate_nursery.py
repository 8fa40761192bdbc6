"""The generated nursery: stable voices, sessions apart, planted changes that are named."""

import numpy as np
import pytest

from crywatch import corpora
from crywatch.audio.decode import decode
from crywatch.corpora.generate import GeneratorConfig, generate
from crywatch.corpora.generate.config import NurseryConfig
from crywatch.corpora.generate.synthesis import infant_voice
from crywatch.corpora.samples.recordings import PLANTED, changed, in_pain

NURSERY = NurseryConfig(
    long_infants=4, short_infants=2, sessions=3, changed_sessions=1, seconds=1.0
)


def config(seed):
    return GeneratorConfig(seed, 1, 1, 1, 1, nursery=NURSERY)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nursery")
    generate("recordings", folder, config(3))
    return folder


def test_the_loader_reads_it_with_its_sessions_and_changes(nursery):
    clips = [clip for clip in corpora.get("recordings").index(nursery) if clip.infant_id]
    assert len(clips) == 4 * 3 * 2 + 2 * 2 * 2
    sessions = {}
    for clip in clips:
        sessions.setdefault(clip.infant_id, set()).add(clip.session_id)
    assert sorted(map(len, sessions.values())) == [2, 2, 3, 3, 3, 3]
    planted = {clip.infant_id: clip.category for clip in clips if clip.category[:7] == "planted"}
    assert planted == {
        "recordings/infant 01": "planted pitch +20 %",
        "recordings/infant 04": "planted formants +15 %",
    }
    last = [clip for clip in clips if clip.category.startswith("planted")]
    assert len(last) == 4 and all("/003 " in clip.source_path for clip in last)


def test_equal_seeds_give_equal_bytes(nursery, tmp_path):
    generate("recordings", tmp_path, config(3))
    for file in sorted(nursery.rglob("*.*")):
        assert file.read_bytes() == (tmp_path / file.relative_to(nursery)).read_bytes()
    generate("recordings", tmp_path / "other", config(4))
    name = "infant 01/001 a.wav"
    assert (tmp_path / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_recordings_of_a_session_share_a_room_and_are_not_silent(nursery):
    floors = []
    for name in ("infant 01/001 a.wav", "infant 01/001 b.wav"):
        wave = decode(nursery / name).wave
        assert np.abs(wave).max() > 0.05
        floors.append(np.sqrt(np.mean(np.square(wave[:400]))))
    assert floors[0] > 0


@pytest.mark.parametrize("change", PLANTED)
def test_a_change_changes_one_thing(change):
    voice = infant_voice(np.random.default_rng(0))
    after = changed(voice, change)
    differs = [name for name in vars(voice) if vars(voice)[name] != vars(after)[name]]
    assert differs == [{"p": "f0_hz", "f": "formants_hz", "b": "breathiness"}[change[0]]]
    assert in_pain(voice).f0_hz > voice.f0_hz
