"""Clips of videos by yt-dlp: slowly, going on where it stopped, and nothing asked twice.

A clip that is on disk is not asked for again, nor is one that the ledger says is gone. Only what
the host says plainly of a video counts as gone; all else (a timeout, an error that nobody knows) is
tried again, and by the next run too. Where the host blocks, the run stops and says so.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crywatch.audio.decode import excerpt
from crywatch.audio.guard import GuardedReader
from crywatch.audio.waves.cleaned import write_flac
from crywatch.core.errors import AudioError, DownloadError
from crywatch.core.progress import progress
from crywatch.corpora.shared.base import WantedClip
from crywatch.corpora.shared.ledger import FILE as LEDGER
from crywatch.corpora.shared.ledger import Gone, Ledger

PART = "part"  # folder of what yt-dlp is fetching; the next run goes on from it
MIN_SHARE = 0.5  # of the stretch asked for; a video that has less of it was cut
MAX_MESSAGE = 300  # characters of a message in the ledger

# The host's words (as yt-dlp 2026.10 hands them on), in the order in which they are looked for.
BLOCKED = re.compile(
    r"HTTP Error 429|too many requests|not a bot|captcha|rate-limited|try again later", re.I
)
GONE = {
    "terminated": re.compile(r"account.*(terminated|closed)|channel.*terminated", re.I),
    "geo": re.compile(r"in your country|in your region|from your location|geo.?restrict", re.I),
    "private": re.compile(r"private video|video is private", re.I),
    "age": re.compile(r"confirm your age|age.restricted|inappropriate for some users", re.I),
    "copyright": re.compile(r"copyright", re.I),
    "removed": re.compile(r"been removed|been deleted|removed by|no longer available", re.I),
    "payment": re.compile(r"members.only|join this channel|requires payment|rental", re.I),
    "unavailable": re.compile(
        r"video unavailable|(video|recording) is(n't| not) available|drm protected", re.I
    ),
}
# What is found out here: the file has no sound, or ends before the clip does.
REASONS = (*GONE, "no_audio", "cut")

YoutubeDL = Callable[[dict[str, Any]], Any]  # yt_dlp.YoutubeDL, or what stands for it


@dataclass
class ClipsConfig:
    """Section ``download.clips``: how patient and how polite."""

    sleep_s: float = 5.0  # before each clip
    sleep_requests_s: float = 1.0  # between the requests for one clip
    bandwidth_kb_s: float = 2000.0  # 0: no limit
    retries: int = 2  # of a clip that fails for no lasting reason, or while the host blocks
    backoff_s: float = 60.0  # before the first retry; doubles each time
    max_failures: int = 10  # clips in a row before the run stops


@dataclass(frozen=True)
class ClipsFetched:
    """What became of the clips that were wanted."""

    gone: dict[str, Gone]  # by clip
    failed: dict[str, str]  # clip -> why; the next run asks again


class _Gone(Exception):
    """Not to be had: reason and message."""


class _Failed(Exception):
    """Perhaps to be had another time."""


class _Blocked(_Failed):
    """The host wants no more requests."""


def fetch_clips(
    wanted: Sequence[WantedClip],
    work_dir: Path,
    config: ClipsConfig,
    timeout_s: float,
    youtube_dl: YoutubeDL | None = None,
) -> ClipsFetched:
    """Fetch ``wanted`` into ``work_dir`` (mono FLAC at ``source_path``), one after the other.

    ``youtube_dl`` makes the downloader from its options (default: ``yt_dlp.YoutubeDL``).

    Raises
    ------
    DownloadError
        The host blocks, or ``max_failures`` clips in a row failed. What came is kept in
        ``work_dir``, and the next call goes on from it.
    """
    if youtube_dl is None:
        import yt_dlp

        youtube_dl = yt_dlp.YoutubeDL
    ledger = Ledger(work_dir / LEDGER)
    failed: dict[str, str] = {}
    in_a_row = 0
    for clip in progress(wanted, "fetch clips", len(wanted), "clip"):
        if clip.clip in ledger.gone or (work_dir / clip.source_path).is_file():
            continue
        try:
            _with_retries(clip, work_dir, config, timeout_s, youtube_dl)
        except _Gone as error:
            reason, message = error.args
            today = datetime.now(UTC).date().isoformat()
            ledger.add(Gone(clip.clip, reason, message[:MAX_MESSAGE], today))
        except _Failed as error:
            failed[clip.clip] = str(error)
            in_a_row += 1
            if isinstance(error, _Blocked) or in_a_row >= config.max_failures:
                raise _stop(clip, error, in_a_row, wanted, work_dir) from error
            continue
        in_a_row = 0
        shutil.rmtree(work_dir / PART, ignore_errors=True)
    return ClipsFetched(
        {clip.clip: ledger.gone[clip.clip] for clip in wanted if clip.clip in ledger.gone}, failed
    )


def _stop(
    clip: WantedClip, error: _Failed, in_a_row: int, wanted: Sequence[WantedClip], work_dir: Path
) -> DownloadError:
    have = sum((work_dir / clip_to_fetch.source_path).is_file() for clip_to_fetch in wanted)
    why = "the host blocks" if isinstance(error, _Blocked) else f"{in_a_row} clips in a row failed"
    return DownloadError(
        f"{clip.url}: {why} ({error}). {have} of {len(wanted)} clips are kept in {work_dir}: run "
        "the stage again to go on, later or with a larger download.clips.sleep_s; where it stays "
        "so, update yt-dlp"
    )


def _with_retries(
    clip: WantedClip, work_dir: Path, config: ClipsConfig, timeout_s: float, make: YoutubeDL
) -> None:
    wait_s = config.backoff_s
    for attempt in range(config.retries + 1):
        try:
            return _fetch(clip, work_dir, config, timeout_s, make)
        except _Failed:
            if attempt == config.retries:
                raise
            time.sleep(wait_s)
            wait_s *= 2


def _fetch(
    clip: WantedClip, work_dir: Path, config: ClipsConfig, timeout_s: float, make: YoutubeDL
) -> None:
    """One attempt: the file from the host, and the clip cut from it."""
    # Without FFmpeg the whole sound track comes, and is cut here.
    by_host = shutil.which("ffmpeg") is not None
    folder = work_dir / PART
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with make(_options(clip, folder, work_dir, config, timeout_s, by_host)) as downloader:
            info = downloader.extract_info(clip.url, download=True)
        file = Path(info["requested_downloads"][0]["filepath"])
    except (KeyError, IndexError, TypeError) as error:
        raise _Failed(f"yt-dlp names no file ({error!r})") from error
    except Exception as error:  # yt-dlp passes on whatever its extractors raise
        raise _verdict(error) from error
    start_s, end_s = (0.0, clip.end_s - clip.start_s) if by_host else (clip.start_s, clip.end_s)
    try:
        sound = excerpt(GuardedReader(file), start_s, end_s)
    except AudioError as error:
        file.unlink(missing_ok=True)  # the next attempt must not go on from it
        if "no audio stream" in str(error):
            raise _Gone("no_audio", str(error).removeprefix(f"{file}: ")) from error
        raise _Failed(str(error)) from error
    have_s = len(sound.wave) / sound.rate_hz
    if have_s < MIN_SHARE * (clip.end_s - clip.start_s):
        if sound.truncated:
            file.unlink(missing_ok=True)
            raise _Failed("the file breaks off")
        raise _Gone("cut", f"{have_s:.1f} s of the clip are left in the video")
    write_flac(work_dir / clip.source_path, sound.wave, sound.rate_hz)


def _verdict(error: Exception) -> Exception:
    """What an error of yt-dlp means for its clip."""
    message = " ".join(re.sub(r"\x1b\[[\d;]*m", "", str(error)).split())
    message = message.removeprefix("ERROR: ") or type(error).__name__
    if BLOCKED.search(message):
        return _Blocked(message)
    for reason, words in GONE.items():
        if words.search(message):
            return _Gone(reason, message)
    return _Failed(message)


def _options(
    clip: WantedClip,
    folder: Path,
    work_dir: Path,
    config: ClipsConfig,
    timeout_s: float,
    by_host: bool,
) -> dict[str, Any]:
    """Of yt_dlp.YoutubeDL; its retries are few, for `_with_retries` waits longer."""
    options: dict[str, Any] = {
        "format": "bestaudio/best",
        "outtmpl": {"default": f"{folder / clip.clip}".replace("%", "%%") + ".%(ext)s"},
        "cachedir": str(work_dir / "cache"),
        "noplaylist": True,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Silent(),
        "socket_timeout": timeout_s,
        "retries": 2,
        "sleep_interval": config.sleep_s,
        "sleep_interval_requests": config.sleep_requests_s,
    }
    if config.bandwidth_kb_s:
        options["ratelimit"] = 1000 * config.bandwidth_kb_s
    if by_host:
        from yt_dlp.utils import download_range_func

        options["download_ranges"] = download_range_func(None, [(clip.start_s, clip.end_s)])
    return options


class _Silent:
    """Errors are raised; what else yt-dlp would print is dropped."""

    def debug(self, message: str) -> None:
        pass

    warning = error = info = debug
