"""What DVC and git know of a stage: its lock entry, the digests of its outputs, the commit."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Commit:
    """Of the working tree; ``sha`` is empty outside git."""

    sha: str
    dirty: bool


def commit() -> Commit:
    """The commit that is checked out."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    status = git("status", "--porcelain", "--untracked-files=no", "--", ":!dvc.lock")
    return Commit(git("rev-parse", "HEAD"), bool(status))


def lock_stages() -> dict[str, dict[str, Any]]:
    """Stage name to its entry in dvc.lock."""
    if not LOCK.is_file():
        return {}
    return (yaml.safe_load(LOCK.read_text()) or {}).get("stages") or {}


def entry_digest(entry: dict[str, Any]) -> str:
    """SHA-256 of a lock entry."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def outs_digest(outs: dict[str, str]) -> str:
    """One digest for a stage's outputs, path to DVC digest."""
    return hashlib.sha256(json.dumps(outs, sort_keys=True).encode()).hexdigest()


def lock_outs(entry: dict[str, Any]) -> dict[str, str]:
    """Path to DVC digest of a lock entry's outputs."""
    return {out["path"]: out.get("md5", "") for out in entry.get("outs", [])}


def dvc_digest(path: Path) -> str:
    """The digest that DVC writes into dvc.lock for a file or folder."""
    if path.is_file():
        return _md5(path)
    listing = [
        {"md5": _md5(file), "relpath": file.relative_to(path).as_posix()}
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    listing.sort(key=lambda item: tuple(item["relpath"].split("/")))
    return hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def upstream(stage: str, stages: dict[str, dict[str, Any]]) -> list[str]:
    """Stages of dvc.lock whose outputs ``stage`` needs, directly or not."""
    producer = {out["path"]: name for name, body in stages.items() for out in body.get("outs", [])}
    found: list[str] = []
    queue = [stage]
    while queue:
        for dep in stages.get(queue.pop(), {}).get("deps", []):
            for path, name in producer.items():
                inside = f"{dep['path']}/".startswith(f"{path}/")
                around = path.startswith(f"{dep['path']}/")
                if (inside or around) and name not in found and name != stage:
                    found.append(name)
                    queue.append(name)
    return sorted(found)
