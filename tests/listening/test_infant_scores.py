"""Events compared with an infant's own crying, by a command that may fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from crywatch.core.errors import ConfigError
from crywatch.listening.history import History, InfantScore
from crywatch.listening.infant_scores import InfantScorer, parse_infants
from tests.helpers.page_cases import at, cry

LINE = {
    "path": "x.flac",
    "recorded_at": "2030-01-02T01:00:00+00:00",
    "cries": 2,
    "cry_s": 3.1,
    "score": 4.0,
    "p": 0.02,
    "alarm": True,
    "accepted": False,
    "reason": None,
    "version": 3,
}
FAKE = """
import json, os, sys
from pathlib import Path
said = Path(sys.argv[1])
said.write_text(json.dumps([sys.argv[2:], os.getcwd(), os.getpriority(os.PRIO_PROCESS, 0)]))
answer = said.with_name("answer")
if answer.read_text() == "fail":
    sys.exit("crywatch: there is no infant 'Mia'")
sys.stdout.write(answer.read_text())
"""


class Scoring:
    """A scorer whose command is a script that writes down what it was asked."""

    def __init__(self, folder: Path):
        self.folder, self.lines, self.changed = folder, [], []
        self.history = History(folder / "history.db")
        self.history.put(cry(5.0))
        self.scorer = InfantScorer(
            {"camera": "Mia"},
            folder / "clips",
            folder,
            self.lines.append,
            self.history,
            self.changed.append,
            (sys.executable, "-c", FAKE, str(folder / "asked")),
        )

    def clip(self, answer: str, source: str = "camera") -> InfantScore | None:
        (self.folder / "answer").write_text(answer)
        self.scorer.clip(cry(5.0, source=source), "camera/x.flac", at(2.0))
        self.scorer._work.wait()
        return self.history.event("cry-5").score


@pytest.fixture
def scoring(tmp_path):
    made = Scoring(tmp_path)
    yield made
    made.scorer.close()


def test_the_command_is_asked_of_the_clip_and_its_answer_kept(scoring, tmp_path):
    assert scoring.clip(json.dumps(LINE)) == InfantScore("Mia", 0.02, True, "", 2)
    asked, folder, nice = json.loads((tmp_path / "asked").read_text())
    clip = str(tmp_path / "clips/camera/x.flac")
    assert asked == ["--at", "2030-01-02T01:00:02+00:00", "--", "Mia", clip]
    assert folder == str(tmp_path) and nice >= 10
    assert scoring.changed == ["cry-5"]
    assert scoring.lines == ["camera: event cry-5 is unusual for Mia, p = 0.020"]


def test_no_cry_in_a_clip_is_said_and_no_failure(scoring):
    assert scoring.clip("") == InfantScore("Mia", None, False, "no cry was found in it", 0)
    assert scoring.lines == []


def test_a_failure_is_told_once_and_the_next_clip_is_scored(scoring):
    assert scoring.clip("fail") is None
    assert scoring.clip("fail") is None
    assert scoring.lines == ["infant: Mia is not compared: there is no infant 'Mia'"]
    assert scoring.clip("not JSON") is None
    assert scoring.clip(json.dumps(LINE)) is not None


def test_a_source_without_an_infant_is_not_compared(scoring, tmp_path):
    assert scoring.clip(json.dumps(LINE), source="living-room") is None
    assert not (tmp_path / "asked").exists()


def test_infants_are_named_for_all_sources_or_for_one():
    sources = ["nursery", "living-room"]
    assert parse_infants([], sources) == {}
    assert parse_infants(["Mia"], sources) == {"nursery": "Mia", "living-room": "Mia"}
    assert parse_infants(["nursery=Mia"], sources) == {"nursery": "Mia"}
    assert parse_infants(["Ada", "nursery=Mia"], sources)["living-room"] == "Ada"
    assert parse_infants(["a=b"], sources)["nursery"] == "a=b"  # an id may have the sign
    for wrong in (["Mia", "Ada"], [" "], ["nursery="] * 2):
        with pytest.raises(ConfigError, match="one infant a source"):
            parse_infants(wrong, sources)


def test_what_takes_long_when_the_listener_ends_is_given_up(scoring, monkeypatch):
    monkeypatch.setattr("crywatch.listening.infant_scores.LAST_S", 0.1)
    scoring.scorer._command = (sys.executable, "-c", "import time; time.sleep(60)")
    for name in ("a", "b"):
        scoring.scorer.clip(cry(5.0, name=name), "camera/x.flac", at(2.0))
    scoring.scorer.close()
    assert scoring.lines == ["infant: the last events are not compared: the listener ended"]
