"""`dvc repro` in this process, and its end: all that stages recorded is sent.

DVC reads params.yaml anew for every stage and walks all of it for every parameter, which is half of
what a rebuild with nothing to do takes; and dvc.lock before it writes one stage into it, which is
two thirds of its own part of a rebuild. Here both are read when another has changed them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from crywatch.core import params
from crywatch.core.atomic import atomic_path
from crywatch.core.errors import ConfigError
from crywatch.core.project import say
from crywatch.operations import lanes
from crywatch.tracking import journal, launch, store
from crywatch.tracking.store import TrackingConfig


def run(arguments: Sequence[str], jobs: int = 1) -> int:
    """`dvc repro` with these arguments, ``jobs`` stages at a time; its exit code."""
    from dvc import dvcfile
    from dvc.cli import main
    from dvc.dependency import param
    from dvc.repo import reproduce

    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.environ["PATH"] = programs  # dvc.yaml's `python` is this one
    param.read_param_file = _reader(param.read_param_file)
    dvcfile.modify_yaml = _modifier()
    reproduce._reproduce = lanes.beside(jobs, reproduce._reproduce)
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
        values = whole(path, _stamp(path))
        found = {name: params.at(values, name) for name in key_paths}
        if None in found.values():  # null, or no such parameter, or DVC's patterns
            return read(fs, path, key_paths, flatten)
        return found

    return kept


def _modifier() -> Callable[..., Any]:
    """DVC's writer of dvc.lock, which keeps what it wrote, and never leaves half a file."""
    written: dict[str, tuple[tuple[int, ...], Any]] = {}  # by path

    @contextmanager
    def modify(path: str, fs: Any = None) -> Iterator[Any]:
        from dvc.utils.serialize import dump_yaml
        from dvc.utils.serialize._yaml import parse_yaml_for_update

        stamp, content = written.get(path, ((), None))
        if not os.path.exists(path):
            content = {}
        elif stamp != _stamp(path):
            content = parse_yaml_for_update(Path(path).read_text(encoding="utf-8"), path)
        yield content
        content = _copied(content)  # what stages share would become YAML's anchors
        with atomic_path(path) as temp:
            dump_yaml(temp, content)
        written[path] = _stamp(path), content

    return modify


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _stamp(path: str) -> tuple[int, ...]:
    """What changes when a file is written."""
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size, status.st_ino
