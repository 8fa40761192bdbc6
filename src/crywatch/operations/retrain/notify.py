"""Tell a program or a web address what a run did; what cannot be delivered waits for the next run.

A message lies in the outbox until it is delivered, so that a crash loses none. One can come twice
(killed after the delivery, before that was noted): its ``id`` tells.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crywatch.core import gate
from crywatch.core.atomic import TEMP_PREFIX, write_json
from crywatch.core.digest import value_sha256
from crywatch.core.gate import Shape
from crywatch.operations.retrain.config import NotifyConfig
from crywatch.operations.retrain.record import PRIVATE_FILE, Record

COMMAND, WEBHOOK = "command", "webhook"
MESSAGE = Shape("a message's name", re.compile(r"[0-9][0-9A-Za-z-]{0,99}\.(command|webhook)\.json"))
ASIDE = "aside-"  # how the names of what is set aside begin
SHOWN = 60  # characters of a name
MOST_BYTES = 1 << 24  # of a message


def wanted(record: Record, config: NotifyConfig) -> bool:
    """Whether this record is sent."""
    drifted = record.drift is not None and bool(record.drift.drifted)
    return record.outcome in config.outcomes or (drifted and "drift" in config.outcomes)


def post(record: Record, config: NotifyConfig, outbox: Path, name: str) -> None:
    """Put a message into the outbox, one for each way; a second of that name replaces it."""
    ways = [way for way, on in ((COMMAND, config.command), (WEBHOOK, config.webhook_env)) if on]
    for way in ways:
        path = outbox / f"{name}.{way}.json"
        write_json(path, json.loads(json.dumps(record.public())))
        os.chmod(path, PRIVATE_FILE)


def deliver(
    config: NotifyConfig, outbox: Path, sleep: Callable[[float], None] = time.sleep
) -> tuple[str, ...]:
    """Send what is in the outbox, oldest first; a note on each way that stays undelivered.

    What is no message, or a damaged one, is set aside with a note, and stops no other.
    """
    notes = []
    silent: set[str] = set()  # one that does not answer is not tried again for each message
    for path in _waiting(outbox):
        try:
            way = MESSAGE(path.name, "its name").split(".")[-2]
            if path.is_symlink() or not path.is_file():  # a pipe would be waited for
                raise gate.GateError("a link, or no file")
            if path.stat().st_size > MOST_BYTES:
                raise gate.GateError(f"of more than {MOST_BYTES} bytes")
            message: dict[str, Any] = gate.read(dict[str, Any], path)
        except (gate.GateError, OSError) as error:
            notes.append(_set_aside(path, str(error).removeprefix(f"{path}: ")))
            continue
        if way in silent:
            continue
        why = _try(way, message, config, sleep)
        if why:
            silent.add(way)
            waiting = len(list(outbox.glob(f"[0-9]*.{way}.json")))
            notes.append(f"{way}: {why}; {waiting} message(s) wait for the next run")
        else:
            path.unlink()
    return tuple(notes)


def _waiting(outbox: Path) -> list[Path]:
    """All that lies there, but what was set aside or is being written."""
    if not outbox.is_dir():
        return []
    passed = (TEMP_PREFIX, ASIDE)
    return sorted(path for path in outbox.iterdir() if not path.name.startswith(passed))


def _set_aside(path: Path, why: str) -> str:
    """Move what is no message out of the way; a note on it."""
    name = path.name.encode(errors="replace")[:SHOWN].decode(errors="replace")
    aside = path.with_name(f"{ASIDE}{value_sha256(path.name)[:12]}")
    try:
        path.rename(aside)
    except OSError as error:
        return f"outbox: {name!r} is no message ({why}), and stays ({error.strerror})"
    return f"outbox: {name!r} is no message ({why}): set aside as {aside.name}"


def _try(
    way: str, message: dict[str, Any], config: NotifyConfig, sleep: Callable[[float], None]
) -> str:
    """Why it could not be delivered; "" if it was."""
    why = ""
    for attempt in range(config.retries + 1):
        if attempt:
            sleep(config.backoff_s * 2 ** (attempt - 1))
        why = _command(message, config) if way == COMMAND else _webhook(message, config)
        if not why:
            break
    return why


def _command(message: dict[str, Any], config: NotifyConfig) -> str:
    if not config.command:
        return "retrain.notify.command names none any more"
    try:
        ended = subprocess.run(
            list(config.command),
            input=json.dumps(message).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=config.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {config.timeout_s:g} s"
    except OSError as error:
        return f"cannot be started ({error.strerror})"
    return f"ended with code {ended.returncode}" if ended.returncode else ""


def _webhook(message: dict[str, Any], config: NotifyConfig) -> str:
    import requests

    address = os.environ.get(config.webhook_env, "") if config.webhook_env else ""
    if not address:
        return f"the environment has no {config.webhook_env or 'retrain.notify.webhook_env'}"

    def post() -> str:
        try:
            # Nothing of the answer's body is read: it may be endless.
            with requests.post(
                address,
                json=message,
                timeout=config.timeout_s,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except (requests.RequestException, ValueError) as error:
            return type(error).__name__  # its text holds the address, which may hold a secret
        if answer.is_redirect or 300 <= status < 400:
            # requests would make a GET without the message of it, or tell it to another host.
            return f"answered {status}: a redirect, which is not followed; set the new address"
        return "" if answer.ok else f"answered {status}"

    return _within(post, config.timeout_s)


def _within(call: Callable[[], str], seconds: float) -> str:
    """What ``call`` gives, or that it took longer: a server may send a byte now and then."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    return said[0] if said else f"did not answer within {seconds:g} s"
