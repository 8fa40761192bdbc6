"""An RTSP server on this machine, in a thread of its own, that can be started again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def camera(folder: Path, port: int) -> Iterator[str]:
    """Serve the files of ``folder``, each at the speed of sound; yields the address of all."""
    server = pytest.importorskip("aio_rtsp_toolkit.server")
    server.logger = logging.getLogger("camera")
    loop, ready = asyncio.new_event_loop(), threading.Event()
    task: list[asyncio.Task] = []

    async def serve() -> None:
        camera = server.RtspServer(str(folder), "127.0.0.1", port)
        await camera.start()
        ready.set()
        try:
            await camera.serve_forever()
        finally:
            await camera.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task.append(loop.create_task(serve()))
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task[0])
        for one in asyncio.all_tasks(loop):
            one.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"rtsp://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(task[0].cancel)
        thread.join(10)
