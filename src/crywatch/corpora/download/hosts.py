"""Where a file really is: Hugging Face's gates and tokens, OSF's listings.

The hub is asked over plain HTTP, so that its files resume and retry like all others. The token
comes from the environment or from the hub's own login (`hf auth login`), never from a parameter:
params.yaml is committed and logged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from crywatch.core.errors import DownloadError
from crywatch.corpora.base import Remote

HUB = "https://huggingface.co"
TOKEN_PAGE = f"{HUB}/settings/tokens"
TOKEN_NAMES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
MAX_PAGES = 100  # of an OSF listing
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Address:
    """What to ask for, and what the host says of it."""

    url: str
    sha256: str | None = None  # as listed by the host
    token: str | None = field(default=None, repr=False)


class Bearer(requests.auth.AuthBase):
    """The token as a header; requests drops it where a redirect leads to another server."""

    def __init__(self, token: str):
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def locate(remote: Remote, get_json: Callable[[str], Any]) -> Address:
    """The address of ``remote``; ``get_json`` fetches a listing and raises for a bad status."""
    if remote.host == "huggingface":
        token = hub_token()
        if token is None:
            raise DownloadError(f"{remote.url}: no token. {_how_to_enter(remote)}")
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")  # a mirror, as the hub reads it
        return Address(remote.url.replace(HUB, endpoint or HUB, 1), token=token)
    if remote.host == "osf":
        return _find_on_osf(remote, get_json)
    return Address(remote.url)


def hub_token() -> str | None:
    """The token of the environment, or of the hub's login, where there is one."""
    for name in TOKEN_NAMES:
        if token := os.environ.get(name, "").strip():
            return token
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = os.environ.get("HF_HOME") or Path(cache) / "huggingface"
    file = Path(os.environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser()
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def refusal(remote: Remote, status: int) -> str:
    """What a user can do where the host refuses with ``status``; empty where nothing is known."""
    if remote.host == "huggingface" and status == 401:
        return f". The token is not valid. {_how_to_enter(remote)}"
    if remote.host == "huggingface" and status == 403:
        return f". The token's account has no access. {_how_to_enter(remote)}"
    return ""


def _how_to_enter(remote: Remote) -> str:
    page = remote.url.partition("/resolve/")[0]
    return (
        f"Accept the terms at {page}, make a token at {TOKEN_PAGE} and set HF_TOKEN in the "
        "environment, or log in with `hf auth login`"
    )


def announced_sha256(remote: Remote, reply: requests.Response) -> str | None:
    """The digest that the hub sends in the header of a large file, before it redirects."""
    if remote.host != "huggingface":
        return None
    for step in (*reply.history, reply):
        etag = step.headers.get("X-Linked-ETag", "").strip('W/"')
        if _SHA256.fullmatch(etag):
            return etag
    return None


def _find_on_osf(remote: Remote, get_json: Callable[[str], Any]) -> Address:
    """Search the project's listing, folders included, for a file whose name ends as asked.

    OSF gives files addresses of their own and publishers prefix their names; the listing holds
    both, and the digest (https://developer.osf.io, "List all node files").
    """
    pages, seen, names = [remote.url], set(), []
    try:
        while pages and len(seen) < MAX_PAGES:
            page = pages.pop(0)
            if page in seen:
                continue
            seen.add(page)
            listing = get_json(page)
            for entry in listing["data"]:
                about = entry["attributes"]
                if about["kind"] == "folder":
                    pages.append(entry["relationships"]["files"]["links"]["related"]["href"])
                    continue
                names.append(about["name"])
                if about["name"].endswith(remote.filename):
                    hashes = (about.get("extra") or {}).get("hashes") or {}
                    return Address(entry["links"]["download"], hashes.get("sha256"))
            if following := (listing.get("links") or {}).get("next"):
                pages.append(following)
    except (AttributeError, KeyError, TypeError) as error:
        raise DownloadError(
            f"{remote.url}: the listing is not in OSF's form ({error!r})"
        ) from error
    found = ", ".join(sorted(names)) or "no files"
    raise DownloadError(f"{remote.url}: no file ends in {remote.filename!r}; there are: {found}")
