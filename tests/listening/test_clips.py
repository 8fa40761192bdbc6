"""Clips around events: which sound they hold, their bounds, their table, and where they go."""

from __future__ import annotations

import os
import stat
from datetime import timedelta

import numpy as np
import pytest
from typer.testing import CliRunner

from crywatch import corpora
from crywatch.audio.decode import decode
from crywatch.audio.segments import RATE_HZ
from crywatch.cli.main import app
from crywatch.core.errors import ConfigError, CorpusError, CrywatchError
from crywatch.listening.clips import ClipFolder, ClipRecorder, ClipsConfig
from crywatch.listening.clips.folder import path_of
from crywatch.listening.clips.review import deliver
from crywatch.listening.events import SourceState, State
from tests.helpers.page_cases import NIGHT, at, cry, sound

CONFIG = ClipsConfig(before_s=2.0, after_s=1.0, longest_s=20.0)


@pytest.fixture
def recorder(tmp_path):
    lines: list[str] = []
    folder = ClipFolder(tmp_path / "clips")
    made = ClipRecorder(folder, CONFIG, lines.append, {"camera": "Mia"})
    made.lines = lines
    yield made
    made.close()


def heard(recorder, path: str) -> list[int]:
    """The levels of a clip's seconds, which say which seconds they are."""
    decoded = decode(recorder.clips.file(path))
    assert decoded.rate_hz == RATE_HZ
    seconds = decoded.wave[: len(decoded.wave) // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ)
    return [round(100 * float(np.abs(second).max())) - 1 for second in seconds]


def play(recorder, first: int, last: int) -> None:
    for start_s in range(first, last):
        recorder.sound(sound(start_s))


def test_a_clip_has_what_was_before_and_after_and_the_loader_reads_it(recorder):
    play(recorder, 0, 13)
    recorder.event(cry(10.0))
    play(recorder, 13, 16)
    recorder.event(cry(10.0, 15.0))
    play(recorder, 16, 18)
    recorder.close()
    [clip] = recorder.clips.clips()
    assert heard(recorder, clip.path) == [8, 9, 10, 11, 12, 13, 14, 15]
    assert (clip.label, clip.infant) == ("unknown", "Mia")
    folder = recorder.clips.folder
    [entry] = corpora.get("recordings").index(folder)
    assert (entry.source_path, entry.label) == (clip.path, "unknown")
    assert entry.recorded_at == at(8.0)
    for path in (folder, folder / "camera"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (folder / clip.path, folder / "recordings.csv"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_written_without_an_event(recorder):
    play(recorder, 0, 100)
    recorder.close()
    assert not recorder.clips.folder.exists()


def test_sound_is_held_no_longer_than_an_event_may_need(recorder):
    for start_s in range(0, 600):
        recorder.sound(sound(start_s))
    assert len(recorder._tracks["camera"].pieces) <= 34


def test_a_long_event_is_cut_and_its_end_writes_no_second_clip(recorder):
    play(recorder, 0, 6)
    recorder.event(cry(5.0))
    play(recorder, 6, 40)
    recorder.event(cry(5.0, 39.0))
    recorder.close()
    [clip] = recorder.clips.clips()
    assert heard(recorder, clip.path) == list(range(3, 23))


def test_what_is_open_when_a_source_or_the_listener_ends_is_written(recorder):
    play(recorder, 0, 4)
    recorder.event(cry(1.0))
    recorder.state(SourceState("camera", State.ENDED, at(4)))
    recorder.sound(sound(0.0, 3.0, "other room"))
    recorder.event(cry(1.0, name="second", source="other room"))
    recorder.close()
    first, second = recorder.clips.clips()
    assert heard(recorder, first.path) == [0, 1, 2, 3]
    assert heard(recorder, second.path) == [0, 1, 2]
    assert second.infant == "" and second.path.startswith("other-room/")


def test_a_gap_is_silence_of_its_length_and_a_clock_that_begins_anew_ends_a_clip(recorder):
    play(recorder, 0, 4)
    recorder.event(cry(3.0))
    play(recorder, 6, 8)
    recorder.event(cry(3.0, 7.0))
    play(recorder, 0, 2)
    recorder.close()
    [clip] = recorder.clips.clips()
    assert heard(recorder, clip.path) == [1, 2, 3, -1, -1, 6, 7]


def test_the_oldest_go_beyond_a_size_and_an_age(tmp_path):
    clips = ClipFolder(tmp_path / "clips")
    rng = np.random.default_rng(1)
    for number in range(4):
        clips.write(f"camera/{number}.flac", 0.5 * rng.standard_normal(RATE_HZ), NIGHT)
        then = (NIGHT + timedelta(days=number)).timestamp()
        os.utime(clips.folder / f"camera/{number}.flac", (then, then))
    (clips.folder / "camera" / "left by a kill.flac").write_bytes(b"x" * 1000)
    os.utime(clips.folder / "camera" / "left by a kill.flac", (0, 0))
    size_mb = (clips.folder / "camera/3.flac").stat().st_size / 2**20
    assert clips.prune(100.0, 2.5, NIGHT + timedelta(days=4)) == 3
    assert [clip.path for clip in clips.clips()] == ["camera/2.flac", "camera/3.flac"]
    assert clips.prune(1.5 * size_mb, 100.0, NIGHT + timedelta(days=4)) == 1
    assert sorted(path.name for path in clips.folder.glob("*/*")) == ["3.flac"]


def test_a_full_disk_is_told_once_and_listening_goes_on(recorder, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ClipFolder, "write", full)
    for name in ("a", "b"):
        play(recorder, 0, 6)
        recorder.event(cry(1.0, name=name))
        recorder.event(cry(1.0, 4.0, name))
    recorder.close()
    assert recorder.lines == ["clips: [Errno 28] No space left on device"]


def test_bounds_are_checked():
    with pytest.raises(ConfigError, match="longest_s"):
        ClipsConfig(before_s=10.0, longest_s=5.0)
    with pytest.raises(ConfigError, match="most_mb"):
        ClipsConfig(most_mb=0.0)


def test_names_of_sources_lead_nowhere():
    assert path_of("../../etc", "../x") == "etc/x.flac"


@pytest.fixture
def clips(tmp_path) -> ClipFolder:
    made = ClipFolder(tmp_path / "clips")
    for number, name in enumerate("abc"):
        made.write(f"camera/{name}.flac", np.full(RATE_HZ, 0.1 * number), at(number), "Mia")
    return made


def rows(folder) -> dict[str, tuple[str, str, str]]:
    entries = corpora.get("recordings").index(folder)
    return {e.source_path: (e.label, e.category, e.infant_id or "") for e in entries}


def test_labelled_clips_move_into_the_users_recordings(clips, tmp_path):
    corpus = tmp_path / "own"
    corpus.mkdir()
    (corpus / "mine.wav").write_bytes(b"RIFF")
    (corpus / "recordings.csv").write_text("path;infant;label\nmine.wav;Mia;cry\n")
    clips.label("camera/a.flac", "other", "television")
    clips.label("camera/b.flac", "cry")
    assert deliver(clips, corpus).clips == 2
    assert [clip.path for clip in clips.clips()] == ["camera/c.flac"]
    assert not (clips.folder / "camera/a.flac").exists()
    assert (corpus / "recordings.csv").read_text().startswith("path;label;infant")
    assert rows(corpus) == {
        "mine.wav": ("cry", "cry", "recordings/infant 01"),
        "clips/camera/a.flac": ("other", "television", ""),
        "clips/camera/b.flac": ("cry", "cry", "recordings/infant 01"),
    }
    # Again after a stop that left a clip in both places.
    clips.write("camera/a.flac", np.zeros(RATE_HZ), at(0))
    clips.label("camera/a.flac", "other")
    deliver(clips, corpus)
    assert len(rows(corpus)) == 3


def test_a_damaged_table_of_the_user_stays_as_it_is(clips, tmp_path):
    corpus = tmp_path / "own"
    corpus.mkdir()
    (corpus / "recordings.csv").write_text("path,label\ngone.wav,cry\n")
    clips.label("camera/a.flac", "other")
    with pytest.raises(CorpusError, match=r"gone\.wav"):
        deliver(clips, corpus)
    assert (corpus / "recordings.csv").read_text() == "path,label\ngone.wav,cry\n"
    assert [clip.label for clip in clips.clips()] == ["other", "unknown", "unknown"]


def test_what_is_no_clip_or_no_label_is_refused(clips):
    with pytest.raises(CrywatchError, match="has no clip 'camera/x.flac'"):
        clips.label("camera/x.flac", "cry")
    with pytest.raises(CrywatchError, match="'dog' is no label"):
        clips.label("camera/a.flac", "dog")


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["review", *words], catch_exceptions=False)
    return done.output


def test_review_lists_labels_and_moves(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus, folder = str(tmp_path / "own"), str(clips.folder)
    assert len(run(folder, "--list").splitlines()) == 3
    said = run(folder, "camera/a.flac", "--label", "other", "--category", "dog")
    assert "1 labelled clip(s) stay" in said and "--into" in said
    said = run(folder, "camera/b.flac", "--label", "cry", "--into", corpus)
    assert "1 cries and 1 other sounds more" in said and "1 clip(s) without a label" in said
    assert rows(tmp_path / "own")["clips/camera/a.flac"] == ("other", "dog", "")
    with pytest.raises(CrywatchError, match="--label goes with"):
        run(folder, "--label", "cry")


def test_review_asks_by_key_and_knows_the_projects_recordings(clips, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("corpus: {recordings: {folder: own}}\n")
    keys = iter("xosc")
    monkeypatch.setattr("typer.getchar", lambda: next(keys))
    monkeypatch.setattr("crywatch.cli.review._is_terminal", lambda: True)
    said = run(str(clips.folder))
    assert "1 of 3" in said and said.count("[c]ry") == 4
    assert sorted(rows(tmp_path / "own")) == ["clips/camera/a.flac", "clips/camera/c.flac"]
    keys = iter("q")
    assert "1 clip(s) without a label" in run(str(clips.folder))
