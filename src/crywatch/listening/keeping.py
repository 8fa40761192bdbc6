"""What a listener keeps and shows where it is asked to: clips, an infant's scores, the page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from crywatch.core.errors import ConfigError
from crywatch.listening.clips import ClipFolder, ClipRecorder, ClipsConfig
from crywatch.listening.events import Sink
from crywatch.listening.history import History, HistoryRecorder
from crywatch.listening.infant_scores import InfantScorer, parse_infants

HISTORY = "crywatch/history.db"  # in the user's folder of state


@dataclass(frozen=True)
class Keeping:
    """What is asked for; all but ``history_days`` empty: nothing is kept, and no page is served."""

    clips: Path | None = None
    page: str = ""  # HOST:PORT
    history: Path | None = None  # by default in the user's folder of state
    infants: Sequence[str] = ()  # ID or SOURCE=ID
    history_days: float = 30.0


def history_file() -> Path:
    """Where nights are kept where nobody says so."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / HISTORY


@contextmanager
def keeping(
    asked: Keeping,
    config: ClipsConfig,
    sources: Sequence[str],
    project: Path,
    say: Callable[[str], None],
) -> Iterator[list[Sink]]:
    """The sinks that do it, for ``sources`` by name.

    ConfigError where an infant is to be compared without clips, or the page is not to be served.
    """
    infants = parse_infants(asked.infants, sources)
    if infants and asked.clips is None:
        raise ConfigError("--infant needs --keep-clips: what is compared is a recording")
    if asked.history is not None and not asked.page:
        raise ConfigError("--history goes with --page, which shows it")
    clips = None if asked.clips is None else ClipFolder(asked.clips.absolute())
    sinks: list[Sink] = []
    with ExitStack() as last:
        history, changed = None, _nothing
        if asked.page:
            from crywatch.listening.page.access import parse_address
            from crywatch.listening.page.app import Page
            from crywatch.listening.page.board import Board
            from crywatch.listening.page.server import PageServer

            address = parse_address(asked.page)
            history = History((asked.history or history_file()).absolute())
            board = Board()
            page = Page(board, history, clips, list(infants.values()))
            server = PageServer(page, address)
            last.callback(server.close)
            changed = board.changed
            recorder = HistoryRecorder(history, say, asked.history_days, changed, sources)
            sinks += [board, recorder]
            say(f"page: http://{server.address}/")
        if clips is not None:
            written = None
            if infants:
                scorer = InfantScorer(infants, clips.folder, project, say, history, changed)
                last.callback(scorer.close)
                written = scorer.clip
            sinks.append(ClipRecorder(clips, config, say, infants, written))
        yield sinks


def _nothing(event_id: str) -> None:
    """Nobody is told."""
