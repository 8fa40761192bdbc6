"""Transfers from servers that misbehave."""

import hashlib
import io
import socket
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crywatch.core.errors import DownloadError
from crywatch.corpora.download import transfer
from crywatch.corpora.download.transfer import TransferConfig, fetch
from tests.helpers.http_cases import BODY, SHA256, asked_from, names, remote, server, status, whole

pytest_plugins = ["tests.helpers.download_fixtures"]

PATIENT = TransferConfig(timeout_s=5.0, retries=3, backoff_s=1.0)


def test_a_file_comes_whole_and_is_not_fetched_twice(tmp_path):
    with server(whole()) as web:
        file = fetch(remote(web.url), tmp_path, PATIENT)
        assert file.read_bytes() == BODY
        assert fetch(remote(web.url), tmp_path, PATIENT) == file
        assert len(web.seen) == 1
    assert names(tmp_path) == ["file.zip"]


def test_a_file_with_a_wrong_checksum_on_disk_is_fetched_again(tmp_path):
    (tmp_path / "file.zip").write_bytes(b"something else")
    with server(whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_a_cut_transfer_goes_on_at_the_byte_where_it_broke_off(tmp_path, waits):
    with server(whole(cut_at=100_001), whole(cut_at=70_000), whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY
        starts = [asked_from(seen) for seen in web.seen]
        assert starts[0] is None and web.seen[1]["If-Range"] == '"v1"'
        # Of what came, at most the last chunk is asked for again.
        assert 100_001 - transfer.CHUNK_BYTES <= starts[1] <= 100_001
        assert starts[1] + 70_000 - transfer.CHUNK_BYTES <= starts[2] <= starts[1] + 70_000
    assert waits == [1.0, 2.0]


def test_the_next_run_goes_on_where_the_last_one_gave_up(tmp_path, waits):
    impatient = TransferConfig(timeout_s=5.0, retries=0)
    with server(whole(cut_at=123_456), whole()) as web:
        with pytest.raises(DownloadError, match=r"gave up after 1 attempt.*run the stage again"):
            fetch(remote(web.url), tmp_path, impatient)
        kept = (tmp_path / "file.zip.part").stat().st_size
        assert kept >= transfer.CHUNK_BYTES
        assert not (tmp_path / "file.zip").exists()
        assert fetch(remote(web.url), tmp_path, impatient).read_bytes() == BODY
        assert asked_from(web.seen[1]) == kept
    assert names(tmp_path) == ["file.zip"]


def test_a_file_that_changed_meanwhile_starts_over(tmp_path, waits):
    changed = BODY[::-1]
    with server(whole(cut_at=70_000), whole(changed, etag='"v2"')) as web:
        file = fetch(remote(web.url, hashlib.sha256(changed).hexdigest()), tmp_path, PATIENT)
    assert file.read_bytes() == changed


def test_without_a_validator_a_broken_transfer_starts_over(tmp_path, waits):
    with server(whole(etag=None, cut_at=70_000), whole(etag=None)) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY
        assert "Range" not in web.seen[1]


def test_a_server_that_knows_no_ranges_starts_over(tmp_path, waits):
    with server(whole(cut_at=70_000), status(200, BODY, ETag='"v1"')) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_a_part_longer_than_the_file_starts_over(tmp_path, waits):
    with server(whole(cut_at=70_000), whole(BODY[:50]), whole(BODY[:50])) as web:
        file = fetch(remote(web.url, None), tmp_path, PATIENT)
    assert file.read_bytes() == BODY[:50]


def test_a_server_that_stalls_counts_as_broken(tmp_path, waits):
    release = threading.Event()

    def stall(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY)))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        request.wfile.write(BODY[:65536])
        request.wfile.flush()
        release.wait(10)

    with server(stall, whole()) as web:
        hasty = TransferConfig(timeout_s=0.3, retries=1)
        file = fetch(remote(web.url), tmp_path, hasty)
        release.set()
        assert file.read_bytes() == BODY
        assert web.seen[1]["Range"] == "bytes=65536-"


def test_a_web_page_instead_of_the_file_is_refused(tmp_path):
    with (
        server(whole(b"<html>log in</html>", kind="text/html; charset=utf-8")) as web,
        pytest.raises(DownloadError, match=r"127\.0\.0\.1.*web page"),
    ):
        fetch(remote(web.url, None), tmp_path, PATIENT)
    assert len(web.seen) == 1 and names(tmp_path) == []


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(code, tmp_path, waits):
    with (
        server(status(code)) as web,
        pytest.raises(DownloadError, match=rf"file\.zip: HTTP {code}"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert len(web.seen) == 1 and waits == []


def test_the_servers_retry_after_is_kept(tmp_path, waits):
    with server(status(429, Retry_After="7"), status(503), whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY
    assert waits == [7.0, 2.0]


def test_a_retry_after_of_hours_is_bounded(tmp_path, waits):
    with server(status(429, Retry_After="86400"), whole()) as web:
        fetch(remote(web.url), tmp_path, PATIENT)
    assert waits == [transfer.MAX_RETRY_AFTER_S]


def test_a_server_that_stays_down_is_given_up(tmp_path, waits):
    with (
        server(status(502)) as web,
        pytest.raises(DownloadError, match=r"HTTP 502.*gave up after 4 attempts"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert len(web.seen) == 4 and waits == [1.0, 2.0, 4.0]


def test_a_circle_of_redirects_is_told(tmp_path, waits):
    with (
        server(status(302, Location="/file.zip")) as web,
        pytest.raises(DownloadError, match=r"file\.zip: the server redirects in a circle"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert waits == []


def test_a_redirect_is_followed(tmp_path):
    with server(status(302, Location="/elsewhere.zip"), whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_no_server_is_told_with_the_address(tmp_path, waits):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.zip"
    with pytest.raises(DownloadError, match=r"^http://127\.0\.0\.1:\d+/file\.zip: .*gave up"):
        fetch(remote(url), tmp_path, PATIENT)


def test_a_wrong_checksum_removes_the_file(tmp_path):
    with (
        server(whole(BODY[:-1] + b"x")) as web,
        pytest.raises(DownloadError, match=rf"checksum.*expected {SHA256[:12]}"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert names(tmp_path) == []


def test_a_206_that_starts_elsewhere_is_not_joined(tmp_path, waits):
    def other_part(request):
        request.send_response(206)
        request.send_header("Content-Range", f"bytes 0-{len(BODY) - 1}/{len(BODY)}")
        request.send_header("Content-Length", str(len(BODY)))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        request.wfile.write(BODY)

    with server(whole(cut_at=70_000), other_part, whole()) as web:
        assert fetch(remote(web.url, None), tmp_path, PATIENT).read_bytes() == BODY


def test_a_206_that_nobody_asked_for_is_told(tmp_path):
    def part(request):
        request.send_response(206)
        request.send_header("Content-Range", f"bytes 0-9/{len(BODY)}")
        request.send_header("Content-Length", "10")
        request.end_headers()
        request.wfile.write(BODY[:10])

    with server(part) as web, pytest.raises(DownloadError, match="a part of the file unasked"):
        fetch(remote(web.url, None), tmp_path, PATIENT)
    assert names(tmp_path) == []


def http_date(seconds):
    """The moment in so many seconds, as a header writes it."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("value", "low_s", "high_s"),
    [
        (240, 100.0, 240.0),  # a date, in so many seconds from the request
        (-60, 0.0, 0.0),
        (86_400, transfer.MAX_RETRY_AFTER_S, transfer.MAX_RETRY_AFTER_S),
        ("soon", PATIENT.backoff_s, PATIENT.backoff_s),
        ("-5", PATIENT.backoff_s, PATIENT.backoff_s),
    ],
)
def test_a_retry_after_may_be_a_date(value, low_s, high_s, tmp_path, waits):
    text = value if isinstance(value, str) else http_date(value)
    with server(status(429, Retry_After=text), whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY
    assert len(waits) == 1 and low_s <= waits[0] <= high_s


def trickle(ended, start=0, every_s=0.02):
    """A byte at a time, until the test has ended."""

    def reply(request):
        begin = asked_from(request.headers) or start
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(BODY) - begin))
        request.send_header("ETag", '"v1"')
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(BODY) - 1}/{len(BODY)}")
        request.end_headers()
        for byte in BODY[begin:]:
            if ended.wait(every_s):
                return
            request.wfile.write(bytes([byte]))
            request.wfile.flush()

    return reply


def test_a_trickle_is_broken_off_and_resumed(tmp_path, waits):
    ended = threading.Event()
    hasty = TransferConfig(timeout_s=0.4, retries=2, min_bytes_s=1000.0)
    with server(trickle(ended), trickle(ended), whole()) as web:
        started = time.monotonic()
        try:
            assert fetch(remote(web.url), tmp_path, hasty).read_bytes() == BODY
        finally:
            ended.set()
        assert time.monotonic() - started < 5
        starts = [asked_from(seen) for seen in web.seen]
    assert starts[0] is None and 0 < starts[1] < starts[2] < 100
    assert waits == [1.0, 2.0]


def test_a_trickle_that_never_ends_is_told_with_its_rate(tmp_path, waits):
    ended = threading.Event()
    hasty = TransferConfig(timeout_s=0.3, retries=0, min_bytes_s=1000.0)
    with (
        server(trickle(ended)) as web,
        pytest.raises(DownloadError, match=r"only \d+ bytes a second came over 0 s; gave up"),
    ):
        try:
            fetch(remote(web.url), tmp_path, hasty)
        finally:
            ended.set()


def test_a_slow_server_above_the_least_rate_is_let_finish(tmp_path, waits):
    slow = TransferConfig(timeout_s=0.1, retries=0, min_bytes_s=10.0)
    body = BODY[:30]

    def reply(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        for byte in body:
            time.sleep(0.01)
            request.wfile.write(bytes([byte]))
            request.wfile.flush()

    with server(reply) as web:
        assert fetch(remote(web.url, None), tmp_path, slow).read_bytes() == body


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(BODY)), min_size=1, max_size=3))
def test_it_goes_on_after_a_cut_at_any_byte(cuts):
    quick = TransferConfig(timeout_s=5.0, retries=len(cuts), backoff_s=0.0)
    with (
        tempfile.TemporaryDirectory() as folder,
        server(*(whole(cut_at=cut) for cut in cuts), whole()) as web,
    ):
        assert fetch(remote(web.url), Path(folder), quick).read_bytes() == BODY
        # What had come was not asked for again.
        for cut, seen, following in zip(cuts, web.seen, web.seen[1:], strict=False):
            begin = asked_from(seen) or 0
            assert (asked_from(following) or 0) == min(begin + cut, len(BODY))


def ignores_if_range(body, etag):
    """A server that sends the rest of whatever file there is now."""

    def reply(request):
        begin = asked_from(request.headers) or 0
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(body) - begin))
        request.send_header("ETag", etag)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        request.end_headers()
        request.wfile.write(body[begin:])

    return reply


def test_the_rest_of_another_file_is_not_joined(tmp_path, waits):
    changed = BODY[::-1]
    with server(whole(cut_at=70_000), ignores_if_range(changed, '"v2"')) as web:
        # No checksum is known: only the ETag tells.
        assert fetch(remote(web.url, None), tmp_path, PATIENT).read_bytes() == changed
    assert [asked_from(seen) for seen in web.seen] == [None, 70_000, None]


@pytest.mark.parametrize("etag", [None, '"v1"'])
def test_a_content_length_that_is_too_long_counts_as_broken(etag, tmp_path, waits):
    def boasts(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY) + 100))
        if etag:
            request.send_header("ETag", etag)
        request.end_headers()
        request.wfile.write(BODY)

    with (
        server(boasts) as web,
        pytest.raises(DownloadError, match="broke off|of .* bytes came|starting over"),
    ):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert not (tmp_path / "file.zip").exists()


def test_a_content_length_that_is_too_short_is_found_by_the_checksum(tmp_path):
    def modest(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY) - 100))
        request.end_headers()
        request.wfile.write(BODY)

    with server(modest) as web, pytest.raises(DownloadError, match="checksum"):
        fetch(remote(web.url), tmp_path, PATIENT)
    assert names(tmp_path) == []


def test_a_body_without_a_length_comes_whole(tmp_path):
    def chunked(request):
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.send_header("Connection", "close")
        request.end_headers()
        for at in range(0, len(BODY), 50_000):
            piece = BODY[at : at + 50_000]
            request.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        request.wfile.write(b"0\r\n\r\n")
        request.close_connection = True

    with server(chunked) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_a_chunked_body_that_breaks_off_is_tried_again(tmp_path, waits):
    def cut(request):
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"ffff\r\n" + BODY[:1000])
        request.close_connection = True

    with server(cut, whole()) as web:
        assert fetch(remote(web.url), tmp_path, PATIENT).read_bytes() == BODY


def test_it_is_quiet_where_there_is_no_terminal(tmp_path, capfd):
    with server(whole()) as web:
        fetch(remote(web.url), tmp_path, PATIENT)
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    """Standard error of someone who looks on."""

    def isatty(self):
        return True


def test_on_a_terminal_it_tells_rate_and_time_left(tmp_path, monkeypatch, waits):
    ended = threading.Event()

    def halting(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(BODY)))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        for at in range(0, len(BODY), 60_000):
            request.wfile.write(BODY[at : at + 60_000])
            request.wfile.flush()
            ended.wait(0.06)

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with server(halting) as web:
        fetch(remote(web.url), tmp_path, PATIENT)
    said = screen.getvalue()
    assert "file.zip:" in said and "/307k [" in said
    # Some state between the first and the last: elapsed<left, rate.
    assert [part for part in said.split("\r") if "<00:" in part and "B/s]" in part]
