"""The page in a browser, by clicks and keys, on a phone's screen and on a large one."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator

import pytest

from crywatch.listening.events import SourceState, State
from crywatch.listening.history import InfantScore
from crywatch.listening.page.access import TOKEN_ENV, Address
from crywatch.listening.page.server import PageServer
from tests.helpers.night_cases import Night, an_hour_ago
from tests.helpers.page_cases import at, cry, second

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium"),
]
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: pip install 'crywatch[test]'"
)
SIZES = [(390, 844), (1400, 900)]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def night(tmp_path) -> Iterator[Night]:
    """An hour ago a camera heard a cry, then another, which goes on; Mia is enrolled."""
    made = Night(tmp_path, an_hour_ago())
    made.tell(SourceState("camera", State.LISTENING, at(0)))
    for start_s in range(0, 600, 30):
        made.tell(second(float(start_s)))
    for event in (cry(100.0), cry(100.0, 160.0), cry(500.0)):
        made.tell(event)
    made.keep_clip("cry-100")
    made.history.score("cry-100", InfantScore("Mia", 0.02, True, "", 2))
    yield made
    made.close()


@pytest.fixture(params=SIZES, ids=["phone", "large"])
def screen(request, browser):
    width, height = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height},
        has_touch=width < 500,
        timezone_id="Europe/Berlin",
    )
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.troubles = []
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on(
        "console",
        lambda line: page.troubles.append(line.text) if line.type == "error" else None,
    )
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


def is_told(locator, text: str) -> None:
    playwright.expect(locator).to_contain_text(re.compile(text))


def test_a_night_is_seen_heard_and_marked(night, screen):
    screen.goto(night.url)
    camera = screen.locator(".card")
    is_told(camera, r"Crying since \d\d:\d\d")
    is_told(screen.locator("#bands"), "cried 2 times")
    is_told(screen.locator("#infants"), "1 events? .*Mia.* 1 unusual")
    is_told(screen.locator("#infants"), "no diagnosis")
    rows = screen.locator("#events > li")
    playwright.expect(rows).to_have_count(2)
    is_told(rows.nth(1), "Unusual for Mia: only about 2 in 100")
    # Nothing is wider than the screen, and what is tapped is no smaller than a finger.
    wide = screen.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    for button in screen.get_by_role("button").all():
        box = button.bounding_box()
        assert box["width"] >= 44 and box["height"] >= 44, button.inner_text()

    rows.nth(1).get_by_role("button", name="Play").click()
    playwright.expect(rows.nth(1).get_by_role("button", name="Stop")).to_be_visible()
    until_s = time.monotonic() + 10
    while not screen.evaluate("player.currentTime > 0.2 || player.ended"):
        assert time.monotonic() < until_s
    playwright.expect(rows.nth(1).get_by_role("button", name="Play")).to_be_visible()

    false_alarm = rows.nth(1).get_by_role("button", name="False alarm")
    false_alarm.tap() if screen.viewport_size["width"] < 500 else false_alarm.click()
    playwright.expect(false_alarm).to_have_attribute("aria-pressed", "true")
    is_told(screen.locator("#bands"), "cried once.*1 false alarm")
    assert [clip.label for clip in night.clips.clips()] == ["other"]
    false_alarm.click()
    playwright.expect(false_alarm).to_have_attribute("aria-pressed", "false")
    assert night.history.event("cry-100").label == "unknown"

    screen.get_by_role("button", name="The night before").click()
    playwright.expect(screen.locator("#no-events")).to_be_visible()
    screen.get_by_role("button", name="The next night").click()
    playwright.expect(rows).to_have_count(2)

    assert screen.troubles == []
    assert {url for url in screen.asked if not url.startswith((night.url, "data:"))} == set()


def test_what_is_new_is_there_at_once_and_a_lost_connection_comes_again(night, screen):
    screen.goto(night.url)
    rows = screen.locator("#events > li")
    playwright.expect(rows).to_have_count(2)
    night.tell(cry(500.0, 560.0))
    is_told(screen.locator(".card"), "Listening")
    is_told(screen.get_by_role("status").nth(1), "the crying has ended")
    night.tell(cry(700.0, name="third"))
    playwright.expect(rows).to_have_count(3)
    playwright.expect(screen).to_have_title(re.compile("crying"))
    night.tell(SourceState("camera", State.STALLED, at(800), "no sound for 10 s <b>"))
    is_told(screen.locator(".meter + .numbers"), "no sound")
    assert screen.locator("main b", has_text="no sound").count() == 0

    address = night.server.address
    night.board.close()
    night.server.close()
    is_told(screen.locator("#connection"), "not connected")
    night.board._closed = False
    night.server = PageServer(night.page, address)
    is_told(screen.locator("#connection"), "live")
    playwright.expect(rows).to_have_count(3)


def test_it_is_worked_by_keyboard_and_read_by_a_screen_reader(night, screen):
    screen.goto(night.url)
    rows = screen.locator("#events > li")
    playwright.expect(rows).to_have_count(2)
    playwright.expect(screen.get_by_role("region", name="Mia")).to_be_visible()
    tree = screen.locator("body").aria_snapshot()
    for part in (
        'heading "Now"',
        'meter "Level of camera"',
        'figure "camera cried 2 times',
        'list "Events"',
        'region "Mia"',
    ):
        assert part in tree, tree
    names = []
    for _ in range(12):
        screen.keyboard.press("Tab")
        focused = screen.locator(":focus")
        names.append(focused.get_attribute("aria-label") or "")
        style = focused.evaluate("element => getComputedStyle(element).outlineStyle")
        assert style == "solid"
        if names[-1].startswith("False alarm") and len(names) > 4:
            break
    assert names[0] == "The night before" and names[-1].startswith("False alarm"), names
    screen.keyboard.press("Space")
    playwright.expect(screen.locator(":focus")).to_have_attribute("aria-pressed", "true")
    assert screen.locator(":focus").get_attribute("aria-label") == names[-1]


def test_elsewhere_the_token_opens_it(night, screen, monkeypatch):
    monkeypatch.setenv(TOKEN_ENV, "a-token-of-the-test")
    server = PageServer(night.page, Address("127.0.0.1", 0))
    screen.goto(f"http://{server.address}")
    token = screen.get_by_label("Token", exact=True).locator("visible=true").last
    playwright.expect(screen.get_by_role("dialog")).to_be_visible()
    assert screen.locator("#events > li").count() == 0
    token.fill("a-wrong-token-of-it")
    screen.keyboard.press("Enter")
    is_told(screen.locator("#login-trouble"), "not the token")
    token.fill("a-token-of-the-test")
    screen.get_by_role("button", name="Open").click()
    playwright.expect(screen.locator("#events > li")).to_have_count(2)
    screen.reload()
    playwright.expect(screen.locator("#events > li")).to_have_count(2)
    assert screen.evaluate("document.cookie") == ""  # no script has it
    server.close()
