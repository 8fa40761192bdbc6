"""The page's server: who may ask, what it answers, and that it tells what is new."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from crywatch.audio.decode import decode_bytes
from crywatch.core.errors import ConfigError, CrywatchError
from crywatch.listening.events import SourceState, State
from crywatch.listening.history import InfantScore
from crywatch.listening.page.access import TOKEN_ENV, Address, parse_address, token_for
from crywatch.listening.page.board import Board
from crywatch.listening.page.server import PageServer
from tests.helpers.night_cases import Night
from tests.helpers.page_cases import NIGHT, at, cry, second

START = NIGHT.timestamp()
TOKEN = "a-token-of-the-test"


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Iterator[Night]:
    """A camera that cried twice, with a clip of the first."""
    made = Night(tmp_path_factory.mktemp("night"))
    made.tell(SourceState("camera", State.LISTENING, at(0)))
    for start_s in range(120):
        made.tell(second(float(start_s)))
    for event in (cry(10.0), cry(10.0, 20.0), cry(100.0)):
        made.tell(event)
    made.keep_clip("cry-10")
    made.history.score("cry-10", InfantScore("Mia", 0.02, True, "", 2))
    yield made
    made.close()


@pytest.fixture
def ask(night) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=night.url) as client:
        yield client


def test_what_is_so_now(ask):
    now = ask.get("/api/now").json()
    [camera] = now["sources"]
    assert (camera["name"], camera["state"], camera["event"]) == ("camera", "listening", "cry-100")
    assert camera["level_dbfs"] == pytest.approx(-38.0) and camera["at"] == START + 119
    assert now["infants"] == ["Mia"] and now["clips"] is True


def test_a_night_has_its_minutes_and_events(ask):
    told = ask.get("/api/night", params={"start": START, "stop": START + 3600}).json()
    assert [minute["start"] - START for minute in told["minutes"]] == [0.0]
    first, second = told["events"]
    assert (first["id"], first["clip"], first["end"]) == ("cry-10", True, START + 20)
    assert first["score"] == {
        "infant": "Mia", "p": 0.02, "unusual": True, "reason": "", "cries": 2
    }  # fmt: skip
    assert (second["clip"], second["end"], second["score"]) == (False, None, None)
    assert ask.get("/api/night", params={"start": 0, "stop": 1e9}).status_code == 422
    assert ask.get("/api/night", params={"start": "x", "stop": 1}).status_code == 422


def test_an_infants_events(ask):
    told = ask.get("/api/infant", params={"id": "Mia"}).json()
    assert [event["id"] for event in told["events"]] == ["cry-10"]
    assert ask.get("/api/infant", params={"id": "Ada"}).json()["events"] == []


def test_a_clip_is_played_also_in_parts(ask):
    answer = ask.get("/api/clip", params={"id": "cry-10"})
    assert answer.headers["content-type"] == "audio/flac"
    assert len(decode_bytes(answer.content, "clip.flac").wave) == 16000
    part = ask.get("/api/clip", params={"id": "cry-10"}, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"fLaC")
    for unknown in ("cry-100", "../../history.db"):
        assert ask.get("/api/clip", params={"id": unknown}).status_code == 404


def test_a_mark_labels_event_and_clip(night, ask):
    said = ask.post("/api/label", json={"event": "cry-10", "label": "other"}).json()
    assert said["label"] == "other"
    assert [clip.label for clip in night.clips.clips()] == ["other"]
    ask.post("/api/label", json={"event": "cry-10", "label": "unknown"})
    assert [clip.label for clip in night.clips.clips()] == ["unknown"]
    assert ask.post("/api/label", json={"event": "cry-10", "label": "dog"}).status_code == 422
    assert ask.post("/api/label", json={"event": "x", "label": "cry"}).status_code == 404
    # Of an event without a clip the history keeps it.
    assert ask.post("/api/label", json={"event": "cry-100", "label": "cry"}).json()["clip"] is False
    ask.post("/api/label", json={"event": "cry-100", "label": "unknown"})


def test_what_is_new_is_told_at_once(night, ask):
    got: list[tuple[str, dict]] = []
    is_open = threading.Event()

    def follow() -> None:
        with ask.stream("GET", "/api/live", timeout=10) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            kind = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                kind = value if name == "event" else kind
                if name == "data":
                    got.append((kind, json.loads(value)))
                    is_open.set()
                    if len(got) == 4:
                        return

    thread = threading.Thread(target=follow)
    thread.start()
    assert is_open.wait(10)
    while not night.board._pages:
        pass
    night.tell(second(130.0, cry=0.5))
    night.tell(cry(10.0, 20.0))
    thread.join(10)
    assert [kind for kind, _ in got] == ["hello", "source", "source", "event"]
    assert got[1][1]["cry"] == 0.5
    assert (got[3][1]["id"], got[3][1]["end"]) == ("cry-10", START + 20)
    night.tell(cry(100.0))


def test_a_page_that_does_not_follow_is_let_go(night):
    async def slow() -> list:
        news = asyncio.ensure_future(_all(night.board.news()))
        await asyncio.sleep(0.01)
        for number in range(1000):
            night.board.changed(f"{number}")
        return await asyncio.wait_for(news, 5)

    assert asyncio.run(slow()) == []
    assert not night.board._pages


async def _all(news) -> list:
    return [message async for message in news]


def test_nothing_may_be_loaded_framed_or_kept(ask):
    answer = ask.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in answer.headers
    text = answer.text.replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in text and "https:" not in text and "/*" not in text.split("<script>")[0]
    for path in ("/docs", "/openapi.json", "/redoc", "/nothing"):
        assert ask.get(path).status_code == 404
    assert ask.get("/api/now").headers["content-security-policy"] == policy


SITE = {"Sec-Fetch-Site": "cross-site"}
MARK = {"event": "cry-10", "label": "other"}


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        (SITE, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8550"}, 403),
        ({"Host": "localhost:8550"}, 200),
        ({"Host": "[::1]:8550"}, 200),
    ],
)
def test_another_site_reads_nothing(ask, headers, status):
    assert ask.get("/api/now", headers=headers).status_code == status


def test_another_site_changes_nothing(night, ask):
    def post(**more):
        return ask.post("/api/label", **({"json": MARK} | more)).status_code

    assert post(headers=SITE) == 403
    assert post(headers={"Origin": "http://evil.example"}) == 403
    assert post(headers={"Origin": "null"}) == 403
    # What a form of another site can send without asking first.
    assert ask.post("/api/label", data=MARK).status_code == 415
    assert post(json=None, content=json.dumps(MARK), headers={"Content-Type": "text/plain"}) == 415
    assert post(json=MARK | {"label": "x" * 10_000}) == 413
    assert night.history.event("cry-10").label == "unknown"
    assert post(headers={"Origin": night.url}) == 200
    assert ask.get("/", headers=SITE).status_code == 200  # a link to the page
    night.page.label("cry-10", "unknown")


@pytest.fixture
def closed(night, monkeypatch) -> Iterator[httpx.Client]:
    """As elsewhere than on loopback."""
    monkeypatch.setenv(TOKEN_ENV, TOKEN)
    monkeypatch.setattr("crywatch.listening.page.access.WRONG_S", 0.05)
    server = PageServer(night.page, Address("127.0.0.1", 0))
    with httpx.Client(base_url=f"http://{server.address}") as client:
        yield client
    server.close()


def test_a_token_opens_the_page(closed):
    for path in ("/api/now", "/api/live", "/api/clip?id=cry-10", "/api/night?start=0&stop=1"):
        assert closed.get(path).status_code == 401
    assert closed.post("/api/label", json=MARK).status_code == 401
    assert closed.get("/").status_code == 200  # it says nothing
    assert closed.post("/api/login", json={"token": "wrong"}).status_code == 401
    answer = closed.post("/api/login", json={"token": TOKEN})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert closed.get("/api/now").status_code == 200
    closed.cookies.clear()
    assert closed.get("/api/now", headers={"Cookie": "crywatch=x"}).status_code == 401
    for token, status in ((TOKEN, 200), ("wrong", 401)):
        headers = {"Authorization": f"Bearer {token}"}
        assert closed.get("/api/now", headers=headers).status_code == status
    # Under whatever name the machine has.
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "nursery.local"}
    assert closed.get("/api/now", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8550", "localhost:8550", "[::1]:8550", ":8550", "8550"]
)
def test_loopback_needs_no_token(text):
    assert token_for(parse_address(text), {}) == ""


@pytest.mark.parametrize("text", ["0.0.0.0:8550", "192.168.1.2:8550", "[::]:8550", "nursery:8550"])
def test_elsewhere_it_is_not_served_without_a_token(text):
    with pytest.raises(ConfigError, match=f"{TOKEN_ENV} is not set"):
        token_for(parse_address(text), {})
    with pytest.raises(ConfigError, match="less than 16 characters"):
        token_for(parse_address(text), {TOKEN_ENV: "short"})
    assert token_for(parse_address(text), {TOKEN_ENV: TOKEN}) == TOKEN


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:x", "1:2:3", "host:99999"])
def test_what_is_no_address_is_told(text):
    with pytest.raises(ConfigError, match="such as 127.0.0.1:8550"):
        parse_address(text)


def test_a_port_that_is_taken_is_told(night):
    with pytest.raises(CrywatchError, match=r"--page 127\.0\.0\.1:\d+: Address already in use"):
        PageServer(night.page, night.server.address)


def test_reasons_on_the_page_have_no_passwords():
    board = Board()
    reason = "rtsp://me:secret-word@camera/1 does not answer"
    board.state(SourceState("camera", State.STALLED, NIGHT, reason))
    [camera] = board.sources()
    assert "secret-word" not in json.dumps(camera) and "***@camera" in camera["reason"]
