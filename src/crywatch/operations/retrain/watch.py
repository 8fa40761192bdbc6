"""What the corpora and the recent recordings consist of, so that a change is seen and named.

A folder is listed by size and time of change; only files whose listing is new are read. What counts
is the content: a file that was only touched, or copied anew, is no change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crywatch.core.atomic import read_json, write_json
from crywatch.core.digest import file_sha256, value_sha256
from crywatch.core.errors import ConfigError
from crywatch.corpora.base import is_named

# A file that changed so shortly ago may change again without a new time: it is read next time too.
SETTLED_NS = 2_000_000_000
FOLDER, GENERATED, PUBLISHERS = "folder", "generated", "publishers"


@dataclass(frozen=True)
class Seen:
    """What a source consists of."""

    kind: str  # folder, generated, publishers
    files: dict[str, str]  # name to digest; of publishers what their server says of a file
    said: str = ""  # what could not be found out

    @property
    def digest(self) -> str:
        """Of all."""
        return value_sha256([self.kind, self.files])


@dataclass(frozen=True)
class Changes:
    """Of one source, by name."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.removed)

    @property
    def said(self) -> str:
        """Numbers, without names."""
        parts = [f"{len(v)} {k}" for k, v in vars(self).items() if v]
        return ", ".join(parts) + " file(s)" if parts else "no file changed"


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Changes:
    """From one listing to another."""
    return Changes(
        new=tuple(sorted(now.keys() - before.keys())),
        changed=tuple(sorted(n for n in now.keys() & before.keys() if now[n] != before[n])),
        removed=tuple(sorted(before.keys() - now.keys())),
    )


def listing(folder: Path, cache: Path, write: bool = True) -> dict[str, str]:
    """Name below ``folder`` to SHA-256 of all its files; links are followed.

    ``cache`` is a file that keeps what was read; without ``write`` it stays as it is.
    """
    known: dict[str, list] = read_json(cache) if cache.is_file() else {}
    found: dict[str, list] = {}
    for path in _files(folder):
        told = path.stat()
        name = path.relative_to(folder).as_posix()
        old = known.get(name)
        if old is not None and old[:2] == [told.st_size, told.st_mtime_ns]:
            found[name] = old
        else:
            settled = abs(time.time_ns() - told.st_mtime_ns) > SETTLED_NS
            found[name] = [told.st_size, told.st_mtime_ns if settled else 0, file_sha256(path)]
    if write and found != known:
        write_json(cache, found)
    return {name: entry[2] for name, entry in sorted(found.items())}


def _files(folder: Path) -> list[Path]:
    found = []
    for top, folders, names in os.walk(folder, followlinks=True):
        here = Path(top)
        above = {here.resolve(), *here.resolve().parents}
        folders[:] = [name for name in folders if (here / name).resolve() not in above]
        found += [path for name in names if (path := here / name).is_file()]
    return sorted(found)


def corpus(
    name: str, values: Mapping[str, Any], ask: bool, before: Seen | None, cache: Path, write: bool
) -> Seen:
    """What corpus ``name`` is read from under ``values``, those of params.yaml.

    Publishers are only asked with ``ask``; what they do not answer stands as in ``before``.
    """
    data = values["data"]
    own = values.get("corpus", {}).get(name, {}).get("folder") or ""
    if is_named(own):
        folder = Path(own).expanduser()
        if not folder.is_absolute():
            raise ConfigError(
                f"corpus.{name}.folder: {str(folder)!r} is relative: name it (or data.mirror) from "
                "the root on, a rebuild runs in another folder"
            )
        if not folder.is_dir():
            return Seen(FOLDER, {}, "its folder is not there")
        return Seen(FOLDER, listing(folder, cache, write))
    if data["source"] == "generated":
        # Its code and its configuration are what DVC sees: nothing else goes into it.
        return Seen(GENERATED, {})
    return _publishers(name, values, before) if ask else before or Seen(PUBLISHERS, {})


def _publishers(name: str, values: Mapping[str, Any], before: Seen | None) -> Seen:
    import requests
    from omegaconf import OmegaConf

    from crywatch import corpora
    from crywatch.core import params

    loader = corpora.get(name)
    section = OmegaConf.create(dict(values.get("corpus", {}).get(name, {"folder": ""})))
    options = params.typed(section, loader.options, f"params.yaml: corpus.{name}")
    found, silent = {}, []
    for remote in loader.files(options):
        try:
            answer = requests.head(remote.url, timeout=10, allow_redirects=True)
            answer.raise_for_status()
        except requests.RequestException:
            silent.append(remote.filename)
            if before is not None and remote.filename in before.files:
                found[remote.filename] = before.files[remote.filename]
            continue
        told = [answer.headers.get(key, "") for key in ("ETag", "Last-Modified", "Content-Length")]
        found[remote.filename] = value_sha256(told)
    said = f"no answer from its publisher for {', '.join(silent)}" if silent else ""
    return Seen(PUBLISHERS, found, said)
