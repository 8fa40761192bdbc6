"""Output for people: the terminal's lines, subtitles, and the picture of a recording."""

import re
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image
from typer.testing import CliRunner

from crywatch.cli import main as cli
from crywatch.core.errors import CrywatchError
from crywatch.detection import terminal
from crywatch.detection.decisions import DetectedEvent
from crywatch.detection.detect import Detection, Second
from crywatch.detection.formats import to_srt
from crywatch.detection.plot import LEFT, RIGHT, SHADE, WIDTH, draw, overview

SCORES = (0.0, 0.1, 0.9, 1.0, 0.2, 0.0)
DETECTION = Detection(
    path="a\x1bb.wav",
    duration_s=6.0,
    cry=1.0,
    seconds=tuple(Second(float(i), score) for i, score in enumerate(SCORES)),
    events=(DetectedEvent(2.0, 4.0, 1.0),),
)


def plain(text):
    return re.sub(r"\x1b\[\d+m", "", text)


def test_subtitles_are_numbered_captions_with_times():
    late = DetectedEvent(3661.0, 3663.25, 0.876)
    assert to_srt(Detection("", events=(DETECTION.events[0], late))).splitlines() == [
        "1",
        "00:00:02,000 --> 00:00:04,000",
        "cry 1.00",
        "",
        "2",
        "01:01:01,000 --> 01:01:03,250",
        "cry 0.88",
    ]
    assert to_srt(Detection("")) == ""


def test_a_terminal_has_a_bar_and_a_line_an_event():
    lines = terminal.to_terminal(DETECTION, columns=80).splitlines()
    assert "\x1bb" not in lines[0]  # a name gives no orders
    assert plain(lines[0]).endswith("cry  1 event, 0:02 of 0:06")
    assert plain(lines[1]).strip() == "| ▁▇█▂ |"
    assert plain(lines[2]).split() == ["0:02", "to", "0:04", "1.00"]
    assert lines[1].count("\x1b[31m") == 2  # the event's cells
    assert "no cry" in terminal.to_terminal(Detection("x", 1.0, seconds=(Second(0.0, 0.1),)), 80)
    assert "why" in terminal.to_terminal(Detection("x", error="x: why"), 80)


def test_a_night_fits_into_the_width():
    seconds = tuple(Second(float(i), float(i == 30_000)) for i in range(36_000))
    bar = plain(terminal.to_terminal(Detection("x", 36_000.0, seconds=seconds), 40)).splitlines()[1]
    assert len(bar) <= 40 and bar.count("█") == 1


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colours_has_none(monkeypatch, variable):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.is_terminal()
    monkeypatch.setenv(*variable)
    assert not terminal.is_terminal()


def test_an_overview_is_the_sound_in_columns():
    time_s = np.arange(4 * 16_000) / 16_000
    wave = np.where(time_s < 2, 0.0, 0.5 * np.sin(2 * np.pi * 1000 * time_s))
    parts = overview(np.array_split(wave, 7), 4.0, columns=40)
    assert np.abs(parts.high[:19]).max() == 0 and parts.high[21:].min() > 0.45
    assert parts.low[21:].max() < -0.45
    assert np.all(parts.levels_db[21:].argmax(axis=1) == round(1000 / 16_000 * 512) - 1)
    short = overview([wave[-1000:]], 1000 / 16_000, columns=40)  # fewer spectra than columns
    assert short.high.min() > 0.45


def test_events_are_shaded_where_they_are(tmp_path):
    draw(DETECTION, [np.zeros(6 * 16_000)], tmp_path / "a.png", threshold=0.5)
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    shaded = np.flatnonzero((picture[60] == SHADE).all(axis=1))
    per_second = (WIDTH - LEFT - RIGHT) / 6
    assert abs(shaded.min() - (LEFT + 2 * per_second)) <= 1
    assert abs(shaded.max() - (LEFT + 4 * per_second)) <= 1


def test_the_command_draws_one_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, np.zeros(16_000), 16_000)
    result = CliRunner().invoke(cli.app, ["detect", "a.wav", "--plot", "a.png"])
    assert result.exit_code == 0 and Image.open("a.png").width == WIDTH
    for option in (["--plot", "b.png"], ["--format", "srt"]):
        refused = CliRunner().invoke(cli.app, ["detect", ".", *option])
        assert isinstance(refused.exception, CrywatchError)
        assert "one recording" in str(refused.exception)
