"""A listener's page with a made night behind it, served."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crywatch.listening.clips import ClipFolder
from crywatch.listening.clips.folder import path_of
from crywatch.listening.events import CryEvent, SecondScore, SourceState
from crywatch.listening.history import History, HistoryRecorder
from crywatch.listening.page.access import Address
from crywatch.listening.page.app import Page
from crywatch.listening.page.board import Board
from crywatch.listening.page.server import PageServer
from tests.helpers.page_cases import NIGHT, sound


class Night:
    """Board, history, clips and server; what is told to it is told at ``shift`` later."""

    def __init__(self, folder: Path, began: datetime = NIGHT):
        self.shift = began - NIGHT
        self.clips = ClipFolder(folder / "clips")
        self.board, self.history = Board(), History(folder / "history.db")
        self.sink = HistoryRecorder(self.history, print, 1e6, self.board.changed)
        self.page = Page(self.board, self.history, self.clips, ["Mia"])
        self.server = PageServer(self.page, Address("127.0.0.1", 0))
        self.url = f"http://{self.server.address}"

    def tell(self, news: CryEvent | SecondScore | SourceState) -> None:
        """As the listener does."""
        if isinstance(news, CryEvent):
            end = news.end and news.end + self.shift
            news = replace(news, onset=news.onset + self.shift, end=end)
        else:
            news = replace(news, at=news.at + self.shift)
        kind = {CryEvent: "event", SecondScore: "second", SourceState: "state"}[type(news)]
        for sink in (self.board, self.sink):
            getattr(sink, kind)(news)
        self.sink.wait()

    def keep_clip(self, event_id: str, seconds: float = 1.0) -> None:
        """Of an event of the camera."""
        samples = sound(10.0, seconds).samples
        self.clips.write(path_of("camera", event_id), samples, datetime.now(UTC))

    def close(self) -> None:
        self.board.close()
        self.sink.close()
        self.server.close()


def an_hour_ago() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
