"""How events compare with an infant's own crying: `crywatch infant score` on their clips.

It runs in a process of its own, and with low priority: networks are loaded for seconds, and what
goes wrong there must not end listening.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crywatch.core import gate
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.listening.background import Background
from crywatch.listening.events import CryEvent
from crywatch.listening.history import History, InfantScore

LONGEST_S = 300.0  # that a clip may take
LAST_S = 60.0  # that the last ones may take when the listener ends
NICE = 10
NO_CRY = "no cry was found in it"
COMMAND = (sys.executable, "-P", "-m", "crywatch.cli", "infant", "score", "--format", "jsonl")


@dataclass(frozen=True)
class _Line:
    """What is read of the command's answer (`crywatch.infants.enrolment.results.ScoredFile`)."""

    p: float
    alarm: bool
    cries: int
    reason: str | None


def parse_infants(words: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Infant by source, of ``SOURCE=ID``, or ``ID`` for all sources that are not named so."""
    named: dict[str, str] = {}
    everywhere = ""
    for word in words:
        source, sign, infant = word.partition("=")
        if sign and source in sources and infant:
            named[source] = infant
        elif word.strip() and not everywhere:
            everywhere = word
        else:
            raise ConfigError(f"--infant {word}: name one infant a source, as SOURCE=ID")
    return {source: everywhere for source in sources if everywhere} | named


class InfantScorer:
    """Scores clips in ``project`` one after the other and tells ``history``, if there is one."""

    def __init__(
        self,
        infants: Mapping[str, str],
        clips: Path,
        project: Path,
        say: Callable[[str], None],
        history: History | None = None,
        changed: Callable[[str], None] = lambda event_id: None,
        command: Sequence[str] = COMMAND,
    ):
        self._infants, self._clips, self._project = infants, clips, project
        self._say, self._history, self._changed = say, history, changed
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._ended = False
        self._work = Background("infant", say)

    def clip(self, event: CryEvent, path: str, at: datetime) -> None:
        """A clip below the folder of clips was written, which begins ``at``."""
        if infant := self._infants.get(event.source):
            self._work.do(self._score, event, infant, self._clips / path, at)

    def close(self) -> None:
        """Score what waits, if it does not take long."""
        last = threading.Timer(LAST_S, self._end)
        last.daemon = True
        last.start()
        self._work.close(LAST_S + 5.0)
        last.cancel()

    def _end(self) -> None:
        self._ended = True
        if self._process is not None:
            self._process.kill()

    def _score(self, event: CryEvent, infant: str, clip: Path, at: datetime) -> None:
        self._require_time()
        score = self._ask(infant, clip, at)
        if score.unusual and score.p is not None:
            self._say(
                f"{event.source}: event {event.id} is unusual for {infant}, p = {score.p:.3f}"
            )
        if self._history is not None:
            self._history.score(event.id, score)
            self._changed(event.id)

    def _require_time(self) -> None:
        if self._ended:
            raise CrywatchError("the last events are not compared: the listener ended")

    def _ask(self, infant: str, clip: Path, at: datetime) -> InfantScore:
        self._process = subprocess.Popen(
            [*self._command, "--at", at.isoformat(), "--", infant, str(clip.absolute())],
            cwd=self._project,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for the listener
        )
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
        try:
            said, errors = self._process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise CrywatchError(f"{clip.name} took more than {LONGEST_S:g} s") from None
        self._require_time()
        lines = said.splitlines()
        if self._process.returncode or len(lines) > 1:
            reason = errors.strip().splitlines()[-1:] or [f"exit {self._process.returncode}"]
            raise CrywatchError(f"{infant} is not compared: {reason[0].removeprefix('crywatch: ')}")
        if not lines:
            return InfantScore(infant, None, False, NO_CRY, 0)
        line: _Line = gate.parsed(_Line, lines[0], "crywatch infant score")
        return InfantScore(infant, line.p, line.alarm, line.reason or "", line.cries)
