"""Fetch one file over HTTP: resume after a cut, retries, checksums, clear errors."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
import urllib3

from crywatch.core.atomic import read_json, write_json
from crywatch.core.digest import file_sha256
from crywatch.core.errors import DownloadError
from crywatch.core.progress import progress_bar
from crywatch.corpora.download import hosts
from crywatch.corpora.shared.base import Remote

CHUNK_BYTES = 1 << 16
MAX_RETRY_AFTER_S = 600.0
FINAL_STATUS = (400, 401, 403, 404, 410, 451)  # asking again changes nothing


@dataclass(frozen=True)
class TransferConfig:
    """How patient a transfer is."""

    timeout_s: float  # without a byte before it counts as broken
    retries: int
    backoff_s: float = 1.0  # before the first retry; doubles each time
    min_bytes_s: float = 1000.0  # over ``timeout_s``; a slower one counts as broken too


class _Broken(Exception):
    """A transfer that may be tried again; ``wait_s`` is what the server asked for."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


def fetch(remote: Remote, folder: Path, config: TransferConfig) -> Path:
    """Fetch ``remote`` into ``folder`` and return the file's path.

    A broken transfer leaves ``<name>.part`` (and the server's ETag beside it), from which the next
    attempt, or the next run, goes on; where the file has changed meanwhile, it starts over. A file
    that is there already and has the right checksum is not fetched again.

    Raises
    ------
    DownloadError
        The server refuses, sends a page instead of a file, keeps breaking off, or the checksum is
        wrong (the bad file is removed). The message names the address.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / remote.filename
    if final.is_file():
        if remote.sha256 is None or file_sha256(final) == remote.sha256:
            return final
        final.unlink()
    part = folder / f"{remote.filename}.part"
    wait_s = config.backoff_s
    expected = remote.sha256
    for attempt in range(config.retries + 1):
        try:
            address = hosts.locate(
                remote, lambda url: _get_json(remote, url, config), config.timeout_s
            )
            _attempt(remote, address, part, config)
            expected = remote.sha256 or address.sha256
            break
        except (
            _Broken,
            hosts.Unavailable,
            requests.ConnectionError,
            requests.Timeout,
        ) as error:
            reason = str(error) or type(error).__name__
            if attempt == config.retries:
                raise DownloadError(
                    f"{remote.url}: {reason}; gave up after {attempt + 1} attempts. What was "
                    f"fetched is kept in {part}: run the stage again to go on."
                ) from error
            wanted_s = getattr(error, "wait_s", None)  # by the server
            time.sleep(min(wait_s if wanted_s is None else wanted_s, MAX_RETRY_AFTER_S))
            wait_s *= 2
        except requests.TooManyRedirects as error:
            raise DownloadError(f"{remote.url}: the server redirects in a circle") from error
        except requests.RequestException as error:
            raise DownloadError(f"{remote.url}: {error}") from error
    if expected is not None and (digest := file_sha256(part)) != expected:
        _forget(part)
        raise DownloadError(
            f"{remote.url}: checksum {digest[:12]}..., expected {expected[:12]}...: the file "
            "was removed; run the stage again, and if it stays so the publisher changed the file"
        )
    part.replace(final)
    _forget(part)
    return final


def _state(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state(part).unlink(missing_ok=True)


def _get_json(remote: Remote, url: str, config: TransferConfig) -> Any:
    with requests.get(url, timeout=config.timeout_s) as reply:
        _check_status(remote, reply)
        try:
            return reply.json()
        except requests.JSONDecodeError as error:
            raise DownloadError(f"{url}: the server sent no JSON") from error


def _attempt(remote: Remote, address: hosts.Address, part: Path, config: TransferConfig) -> None:
    """Fetch what is not there yet."""
    have = part.stat().st_size if part.is_file() else 0
    state = _state(part)
    validator = read_json(state).get("validator") or "" if state.is_file() else ""
    if have and not validator:
        # Without a validator nobody can tell whether the rest belongs to the same file.
        _forget(part)
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    auth = hosts.Bearer(address.token) if address.token else None
    with requests.get(
        address.url, headers=headers, auth=auth, stream=True, timeout=config.timeout_s
    ) as reply:
        if reply.status_code == 416:
            _forget(part)
            raise _Broken("the part does not fit the file any more, starting over", 0.0)
        _check_status(remote, reply)
        resumed = reply.status_code == 206
        if resumed and not have:  # nothing was asked to be resumed
            raise DownloadError(f"{remote.url}: the server sent a part of the file unasked")
        if resumed and not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            _forget(part)
            raise _Broken("the server sent another range than asked for, starting over", 0.0)
        if resumed and _changed(validator, reply):
            # A server that does not know If-Range would mix two files.
            _forget(part)
            raise _Broken("the file changed on the server, starting over", 0.0)
        if not resumed:
            have = 0
            # Before the new validator is noted: it must never stand beside the old bytes.
            _forget(part)
        length = reply.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        if not resumed:
            validator = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
        write_json(_state(part), {"validator": validator})
        try:
            with (
                open(part, "ab" if resumed else "wb") as sink,
                progress_bar(remote.filename, total, unit="B", scale=True, done=have) as bar,
            ):
                pace = _Pace(config)
                # What has come, not a full chunk: that may take a slow server hours.
                while chunk := reply.raw.read1(CHUNK_BYTES, decode_content=True):
                    sink.write(chunk)
                    bar.update(len(chunk))
                    pace.add(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise _Broken(f"the connection broke off ({error})") from error
    if total is not None and part.stat().st_size != total:
        raise _Broken(f"{part.stat().st_size} of {total} bytes came")


class _Pace:
    """Raises `_Broken` once less than ``min_bytes_s`` came over ``timeout_s``."""

    def __init__(self, config: TransferConfig):
        self._window_s = config.timeout_s
        self._least = config.min_bytes_s * config.timeout_s
        self._start_s, self._came = time.monotonic(), 0

    def add(self, n_bytes: int) -> None:
        """Count what came."""
        self._came += n_bytes
        spent_s = time.monotonic() - self._start_s
        if spent_s < self._window_s:
            return
        if self._came < self._least:
            rate = self._came / spent_s
            raise _Broken(f"only {rate:.0f} bytes a second came over {spent_s:.0f} s")
        self._start_s, self._came = time.monotonic(), 0


def _changed(validator: str, reply: requests.Response) -> bool:
    """Whether ``reply`` is of another file than the one that ``validator`` stands for."""
    is_etag = validator.startswith(('"', "W/"))
    now = reply.headers.get("ETag" if is_etag else "Last-Modified")
    return now is not None and now != validator


def _check_status(remote: Remote, reply: requests.Response) -> None:
    status = reply.status_code
    if status in FINAL_STATUS:
        raise DownloadError(f"{remote.url}: HTTP {status} {reply.reason}")
    if status == 429 or status >= 500:
        raise _Broken(f"HTTP {status} {reply.reason}", _retry_after_s(reply))
    if status not in (200, 206):
        raise DownloadError(f"{remote.url}: unexpected HTTP {status} {reply.reason}")
    kind = reply.headers.get("Content-Type", "").lower()
    if kind.startswith("text/html") and not remote.filename.endswith((".html", ".htm")):
        raise DownloadError(f"{remote.url}: the server sent a web page instead of the file")


def _retry_after_s(reply: requests.Response) -> float | None:
    """The pause that the server asks for, as seconds or as an HTTP date; None where it does not."""
    text = reply.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:  # "-0000": UTC, of no known place
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
