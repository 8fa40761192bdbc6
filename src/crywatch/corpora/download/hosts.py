"""Where a file really is: Hugging Face's gates and tokens, OSF's listings.

`huggingface_hub` knows the token and what the hub says of a file; the bytes come by `transfer`, as
all others do: the library's own download begins anew after a kill (release 2.4,
``_download_to_tmp_and_move``), and archives are of many gigabytes. The token comes from the
environment or from the hub's own login (`hf auth login`), never from a parameter: params.yaml is
committed and logged.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests

from crywatch.core.errors import DownloadError
from crywatch.corpora.shared.base import Remote

HUB = "https://huggingface.co"
TOKEN_PAGE = f"{HUB}/settings/tokens"
MAX_PAGES = 100  # of an OSF listing
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Unavailable(Exception):
    """A host that does not answer now, and may do later."""


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


def locate(remote: Remote, get_json: Callable[[str], Any], timeout_s: float) -> Address:
    """The address of ``remote``; ``get_json`` fetches a listing and raises for a bad status.

    Raises
    ------
    DownloadError
        The host refuses, or has no such file.
    Unavailable
        The hub may be asked again.
    """
    if remote.host == "huggingface":
        return _find_on_hub(remote, timeout_s)
    if remote.host == "osf":
        return _find_on_osf(remote, get_json)
    return Address(remote.url)


def _find_on_hub(remote: Remote, timeout_s: float) -> Address:
    """Where the hub sends those who may have the file, and its digest where it is a large one."""
    from huggingface_hub import get_hf_file_metadata, get_token
    from huggingface_hub.errors import HfHubHTTPError

    token = get_token()
    if token is None:
        raise DownloadError(f"{remote.url}: no token. {_how_to_enter(remote)}")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")  # a mirror, as the hub reads it
    url = remote.url.replace(HUB, endpoint or HUB, 1)
    try:
        about = get_hf_file_metadata(url, token=token, timeout=timeout_s)
    except HfHubHTTPError as error:
        status, reason = error.response.status_code, error.response.reason_phrase
        if status == 429 or status >= 500:
            raise Unavailable(f"HTTP {status} {reason}") from error
        hints = {401: "The token is not valid. ", 403: "The token's account has no access. "}
        hint = f". {hints[status]}{_how_to_enter(remote)}" if status in hints else ""
        raise DownloadError(f"{remote.url}: HTTP {status} {reason}{hint}") from error
    except Exception as error:  # of the library's HTTP client, which its releases change
        raise Unavailable(str(error) or type(error).__name__) from error
    digest = about.etag if _SHA256.fullmatch(about.etag or "") else None
    # The store behind the hub must not see the token: its addresses are signed.
    stays = urlsplit(about.location).netloc == urlsplit(url).netloc
    return Address(about.location, digest, token if stays else None)


def _how_to_enter(remote: Remote) -> str:
    page = remote.url.partition("/resolve/")[0]
    return (
        f"Accept the terms at {page}, make a token at {TOKEN_PAGE} and set HF_TOKEN in the "
        "environment, or log in with `hf auth login`"
    )


def _find_on_osf(remote: Remote, get_json: Callable[[str], Any]) -> Address:
    """Search the project's listing, folders included, for a file whose name ends as asked.

    OSF gives files addresses of their own and publishers prefix their names; the listing holds
    both, and the digest (https://developer.osf.io, "List all node files").
    """
    pages, visited = [remote.url], set[str]()
    names: list[str] = []
    try:
        while pages and len(visited) < MAX_PAGES:
            page = pages.pop(0)
            if page in visited:
                continue
            visited.add(page)
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
    files = ", ".join(sorted(names)) or "no files"
    raise DownloadError(f"{remote.url}: no file ends in {remote.filename!r}; there are: {files}")
