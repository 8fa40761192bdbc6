"""Tell a program or a web address what a run did; what cannot be delivered waits for the next run.

A message lies in the outbox until it is delivered, so that a crash loses none. One can come twice
(killed after the delivery, before that was noted): its ``id`` tells.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crywatch.core.atomic import read_json, write_json
from crywatch.operations.retrain.config import NotifyConfig
from crywatch.operations.retrain.record import PRIVATE_FILE, Record

COMMAND, WEBHOOK = "command", "webhook"


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
    """Send what is in the outbox, oldest first; a note on each way that stays undelivered."""
    notes = []
    silent: set[str] = set()  # one that does not answer is not tried again for each message
    for path in sorted(outbox.glob("[0-9]*.json")):
        way = path.suffixes[-2].removeprefix(".")
        if way in silent:
            continue
        why = _try(way, read_json(path), config, sleep)
        if why:
            silent.add(way)
            waiting = len(list(outbox.glob(f"[0-9]*.{way}.json")))
            notes.append(f"{way}: {why}; {waiting} message(s) wait for the next run")
        else:
            path.unlink()
    return tuple(notes)


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
    try:
        answer = requests.post(address, json=message, timeout=config.timeout_s)
    except (requests.RequestException, ValueError) as error:
        return type(error).__name__  # its text holds the address, which may hold a secret
    return "" if answer.ok else f"answered {answer.status_code}"
