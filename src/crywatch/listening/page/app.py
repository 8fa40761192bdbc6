"""What the page's server answers: the page, what is so now, a night, an infant, a clip, news."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from crywatch.core.errors import CrywatchError, StoreError
from crywatch.core.redact import redacted
from crywatch.listening.clips import ClipFolder
from crywatch.listening.clips.folder import path_of
from crywatch.listening.history import History, PastEvent
from crywatch.listening.page.access import COOKIE_S, LOGIN, Access
from crywatch.listening.page.board import Board
from crywatch.listening.page.document import page

LONGEST_S = 48 * 3600.0  # that is asked for at once
RETRY_MS = 2000  # until a page whose connection is lost comes again


class Token(BaseModel):
    """Of a login."""

    token: str


class Mark(BaseModel):
    """What a person says of an event."""

    event: str
    label: str


class Page:
    """The page's sources of knowledge; ``infants`` are those whose scores there are."""

    def __init__(
        self,
        board: Board,
        history: History,
        clips: ClipFolder | None = None,
        infants: Sequence[str] = (),
    ):
        self.board, self.history, self.clips = board, history, clips
        self.infants = list(dict.fromkeys(infants))

    def event(self, event: PastEvent) -> dict[str, Any]:
        """An event as the page shows it."""
        path = path_of(event.source, event.id)
        has_clip = self.clips is not None and self.clips.file(path).is_file()
        return asdict(event) | {"clip": has_clip}

    def find(self, event_id: str) -> PastEvent:
        """The event of that id; HTTP's 404 without one."""
        event = self.history.event(event_id)
        if event is None:
            raise HTTPException(404, "there is no such event")
        return event

    def label(self, event_id: str, label: str) -> PastEvent:
        """Keep what a person says of an event, with its clip where there is one."""
        event = self.find(event_id)
        if label not in ("cry", "other", "unknown"):
            raise HTTPException(422, "a label is cry, other or unknown")
        path = path_of(event.source, event.id)
        if self.clips is not None and self.clips.file(path).is_file():
            self.clips.label(path, label)
        self.history.label(event_id, label)
        return self.find(event_id)


def build(known: Page, token: str = "") -> Access:
    """The application, closed to whoever has not ``token`` where there is one."""
    app = FastAPI(openapi_url=None)  # no pages of its own, which load scripts from elsewhere
    document = page()
    access = Access(app, token, document.policy)

    @app.exception_handler(CrywatchError)
    async def told(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": redacted(str(error))}, 503)

    @app.get("/")
    def root() -> HTMLResponse:
        return HTMLResponse(document.html)

    @app.post(LOGIN)
    async def login(asked: Token, request: Request, response: Response) -> dict[str, bool]:
        cookie = await access.login(asked.token)
        if cookie is None:
            raise HTTPException(401, "this is not the token")
        secure = request.url.scheme == "https"
        response.set_cookie(
            *cookie, max_age=COOKIE_S, httponly=True, samesite="strict", secure=secure
        )
        return {"ok": True}

    @app.get("/api/now")
    def now() -> dict[str, Any]:
        return {
            "sources": known.board.sources(),
            "infants": known.infants,
            "clips": known.clips is not None,
        }

    @app.get("/api/night")
    def night(start: float, stop: float) -> dict[str, Any]:
        if not 0 <= start < stop <= start + LONGEST_S:
            raise HTTPException(422, "start and stop are at most two days apart")
        minutes = known.history.minutes(start, stop)
        events = known.history.events(start, stop)
        return {"minutes": list(map(asdict, minutes)), "events": list(map(known.event, events))}

    @app.get("/api/event")
    def event(id: Annotated[str, Query()]) -> dict[str, Any]:
        return known.event(known.find(id))

    @app.get("/api/infant")
    def infant(id: Annotated[str, Query()], start: float = 0.0) -> dict[str, Any]:
        return {"infant": id, "events": list(map(known.event, known.history.scored(id, start)))}

    @app.post("/api/label")
    def label(mark: Mark) -> dict[str, Any]:
        labelled = known.label(mark.event, mark.label)
        known.board.changed(labelled.id)
        return known.event(labelled)

    @app.get("/api/clip")
    def clip(id: Annotated[str, Query()]) -> FileResponse:
        found = known.find(id)
        path = path_of(found.source, found.id)
        if known.clips is None or not known.clips.file(path).is_file():
            raise HTTPException(404, "there is no clip of this event")
        return FileResponse(known.clips.file(path), media_type="audio/flac")

    @app.get("/api/live", response_class=EventSourceResponse)
    async def live() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(event="hello", data={}, retry=RETRY_MS)
        async for message in known.board.news():
            data = message.data
            if message.kind == "event":
                try:
                    past = known.history.event(data)
                except StoreError:  # it is told by the listener
                    past = None
                if past is None:
                    continue
                data = known.event(past)
            yield ServerSentEvent(event=message.kind, data=data)

    return access
