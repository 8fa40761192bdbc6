"""Servers on this machine, good and bad, for the tests of downloads."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from unittest.mock import patch

from crywatch.corpora import Remote

BODY = bytes(range(256)) * 1200  # several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()


@contextmanager
def serving(reply: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Answer every request by ``reply``; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            reply(self)

        do_HEAD = do_POST = do_GET

        def log_message(self, *args):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads, httpd.block_on_close = True, False  # an answer may never end
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with patch.dict(os.environ, NO_PROXY="127.0.0.1"):
            yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def whole(body=BODY, etag='"v1"', kind="application/zip", cut_at=None, extra=()):
    """Answer as a good file server; ``cut_at`` breaks the connection after so many bytes."""

    def reply(request):
        start = 0
        wanted = asked_from(request.headers)
        if wanted and request.headers.get("If-Range") in (None, etag):
            start = wanted
            if start >= len(body):
                request.send_response(416)
                request.end_headers()
                return
        rest = body[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(rest)))
        if etag:
            request.send_header("ETag", etag)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for key, value in extra:
            request.send_header(key, value)
        request.end_headers()
        request.wfile.write(rest if cut_at is None else rest[:cut_at])

    return reply


def answer(request, code, headers, body):
    """The whole answer to ``request``, without ``body`` where only the head was asked for."""
    request.send_response(code)
    for key, value in {"Content-Length": str(len(body)), **headers}.items():
        request.send_header(key, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def status(code, body=b"", **headers):
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda request: answer(request, code, named, body)


@contextmanager
def server(*replies):
    """Serve ``replies`` one after the other, the last one for ever; yields address and log."""
    seen = []

    def reply(request):
        seen.append(dict(request.headers))
        replies[min(len(seen), len(replies)) - 1](request)

    with serving(reply) as address:
        yield SimpleNamespace(url=f"{address}/file.zip", seen=seen)


def remote(url, sha256=SHA256):
    return Remote(url, "file.zip", sha256)


def asked_from(headers):
    """The byte from which a request wants the file, None for all of it."""
    wanted = headers.get("Range")
    return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else None


def names(folder):
    return sorted(path.name for path in folder.iterdir())
