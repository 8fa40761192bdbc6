"""`dvc repro` in this process, and its end: all that stages recorded is sent.

DVC reads params.yaml anew for every stage and walks all of it for every parameter, which is half of
what a rebuild with nothing to do takes. Here it is read when it has changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from crywatch.core import params
from crywatch.core.errors import ConfigError
from crywatch.core.project import say
from crywatch.tracking import journal, launch, store
from crywatch.tracking.store import TrackingConfig


def run(arguments: Sequence[str]) -> int:
    """`dvc repro` with these arguments; its exit code."""
    from dvc.cli import main
    from dvc.dependency import param

    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["PATH"] = programs  # dvc.yaml's `python` is this one
    param.read_param_file = _reader(param.read_param_file)
    code = main(["repro", *arguments])
    end_sender()
    return code


def end_sender() -> None:
    """Wait for what stages recorded to be sent, and tell what is left."""
    try:
        config = params.section("tracking", TrackingConfig)
    except ConfigError:  # of a project without tracking
        return
    address = store.target(config).address
    launch.end(address, config.wait_s)
    launch.tell_troubles()
    if left := len(journal.journals()):
        say(f"records of {left} stages are not sent yet; `crywatch deliver` sends them")


def _reader(read: Callable[..., Any]) -> Callable[..., Any]:
    """DVC's reader of parameters, which keeps what it has read while the file stays as it is."""

    @lru_cache(maxsize=8)
    def whole(path: str, stamp: tuple[int, ...]) -> Any:
        return read(_local(), path)

    @lru_cache(maxsize=1)
    def _local() -> Any:
        from dvc.fs import LocalFileSystem

        return LocalFileSystem()

    def kept(
        fs: Any, path: str, key_paths: list[str] | None = None, flatten: bool = False, **more: Any
    ) -> Any:
        if fs.protocol != "local" or not key_paths or not flatten or more:
            return read(fs, path, key_paths, flatten, **more)
        status = os.stat(path)
        values = whole(path, (status.st_mtime_ns, status.st_size, status.st_ino))
        found = {name: params.at(values, name) for name in key_paths}
        if None in found.values():  # null, or no such parameter, or DVC's patterns
            return read(fs, path, key_paths, flatten)
        return found

    return kept
